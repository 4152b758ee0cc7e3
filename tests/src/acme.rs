//! A real server of ACME, and a name server that knows every name: Debian's pebble, on loopback.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;

use crate::browser::Browser;
use crate::node::free;
use crate::trouble::{Context, Result, Trouble};
use crate::wait;

/// How long it may take to start.
const START: Duration = Duration::from_secs(20);

/// A server of ACME; it ends when this is dropped.
#[derive(Debug)]
pub struct Pebble {
    /// The URL of its directory.
    pub directory: String,
    /// A file with the root certificate of its web server.
    pub root: PathBuf,
    /// The root of what it issues, in PEM.
    pub issues: String,
    children: Vec<Child>,
}

impl Pebble {
    /// Starts one that looks at names at these ports of loopback, and whose certificates are valid for `valid`.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub fn start(parent: &Path, http: u16, https: u16, valid: Duration) -> Result<Self> {
        let dir = parent.join("pebble");
        fs::create_dir_all(&dir)?;
        let authority = identity(&dir)?;
        let [listen, management, names, unused] = free()?;
        let config = json!({ "pebble": {
            "listenAddress": listen.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": dir.join("own.pem"),
            "privateKey": dir.join("own.key"),
            "httpPort": http,
            "tlsPort": https,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": valid.as_secs(),
        }});
        fs::write(dir.join("config.json"), serde_json::to_vec(&config)?)?;
        let mut pebble = Self {
            directory: format!("https://localhost:{}/dir", listen.port()),
            root: dir.join("root.pem"),
            issues: String::new(),
            children: Vec::new(),
        };
        let (names, unused) = (names.to_string(), unused.to_string());
        let resolver: [&str; 12] = [
            "-dns01",
            &names,
            "-management",
            &unused,
            "-defaultIPv4",
            "127.0.0.1",
            "-defaultIPv6",
            "",
            "-http01",
            "",
            "-https01",
            "",
        ];
        pebble.child(&dir, "pebble-challtestsrv", &[&resolver[..], &["-tlsalpn01", ""]].concat())?;
        let config = dir.join("config.json");
        pebble.child(&dir, "pebble", &["-config", &config.to_string_lossy(), "-dnsserver", &names])?;
        pebble.issues = wait::find("the server of ACME to answer", START, || {
            let mut browser = Browser::open_secure(management, "localhost", &authority).ok()?;
            browser.get("/roots/0").ok().filter(|page| page.status == 200).map(|page| page.text())
        })?;
        Ok(pebble)
    }

    fn child(&mut self, dir: &Path, program: &str, arguments: &[&str]) -> Result {
        let log = File::create(dir.join(format!("{program}.log")))?;
        let child = Command::new(program)
            .args(arguments)
            .env("PEBBLE_VA_NOSLEEP", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn();
        match child {
            Ok(child) => self.children.push(child),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Trouble::skip(format!("{program} is not installed (Debian's package pebble)")));
            }
            Err(error) => return Err(error).context(program),
        }
        Ok(())
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The certificate of its web server, and the root of that in PEM.
fn identity(dir: &Path) -> Result<String> {
    let [own, key, root] = certificate(&["localhost"])?;
    fs::write(dir.join("own.pem"), own)?;
    fs::write(dir.join("own.key"), key)?;
    fs::write(dir.join("root.pem"), &root)?;
    Ok(root)
}

/// A certificate for names by an authority of its own: the chain, its key, and the authority, in PEM.
///
/// # Errors
/// When it cannot be made.
pub fn certificate(names: &[&str]) -> Result<[String; 3]> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let root = params.self_signed(&key)?.pem();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate()?;
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names)?.signed_by(&own, &issuer)?;
    Ok([certificate.pem(), own.serialize_pem(), root])
}
