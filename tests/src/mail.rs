//! A real mail server on loopback: Debian's aiosmtpd. What it takes lies in a directory.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::acme::certificate;
use crate::node::free;
use crate::trouble::{Context, Result, Trouble};
use crate::wait;

/// How long it may take to start.
const START: Duration = Duration::from_secs(20);

/// How a mail server wants to be talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talk {
    /// By TLS from the first byte.
    Tls,
    /// By TLS after STARTTLS, and not without.
    Starttls,
}

/// A mail server; it ends when this is dropped.
#[derive(Debug)]
pub struct MailServer {
    /// Its port at `localhost`.
    pub port: u16,
    /// A file with the root of its certificate, which is for `localhost`.
    pub root: PathBuf,
    mails: PathBuf,
    child: Child,
}

impl MailServer {
    /// Starts one.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub fn start(parent: &Path, talk: Talk) -> Result<Self> {
        let dir = parent.join(format!("mail-{talk:?}").to_lowercase());
        fs::create_dir_all(&dir)?;
        let [chain, key, root] = certificate(&["localhost"])?;
        for (name, text) in [("own.pem", &chain), ("own.key", &key), ("root.pem", &root)] {
            fs::write(dir.join(name), text)?;
        }
        let [address] = free()?;
        let (certificate, key) = match talk {
            Talk::Tls => ("--smtpscert", "--smtpskey"),
            Talk::Starttls => ("--tlscert", "--tlskey"),
        };
        let (mails, log) = (dir.join("mails"), File::create(dir.join("aiosmtpd.log"))?);
        let child = Command::new("aiosmtpd")
            .args(["-n", "-l", &format!("localhost:{}", address.port())])
            .arg(certificate)
            .arg(dir.join("own.pem"))
            .arg(key)
            .arg(dir.join("own.key"))
            .args(["-c", "aiosmtpd.handlers.Mailbox"])
            .arg(&mails)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Trouble::skip("aiosmtpd is not installed (Debian's package python3-aiosmtpd)"));
            }
            Err(error) => return Err(error).context("aiosmtpd"),
        };
        let server = Self { port: address.port(), root: dir.join("root.pem"), mails, child };
        wait::until("the mail server to listen", START, || {
            TcpStream::connect(("localhost", server.port)).is_ok()
        })?;
        Ok(server)
    }

    /// The texts of all mails that it took.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn mails(&self) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        let Ok(entries) = fs::read_dir(self.mails.join("new")) else { return Ok(texts) };
        for entry in entries {
            texts.push(fs::read_to_string(entry?.path())?);
        }
        Ok(texts)
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
