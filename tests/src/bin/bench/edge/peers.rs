//! The application, and the proxies that others made.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use temps_tests::trouble::{Context, Result};
use temps_tests::wait;

use super::{OTHER_CORE, PROXY_CORE};

/// A program that ends with this.
pub(super) struct Program {
    child: Child,
}

impl Program {
    fn start(core: &str, words: &[&str], log: &Path) -> Result<Self> {
        let log = fs::File::create(log)?;
        let mut command = Command::new("taskset");
        command.args(["-c", core]).args(words);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Self { child: command.spawn().context(words.first().copied().unwrap_or_default())? })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An application that nginx plays, and the other proxies in front of it.
pub(super) struct Peers {
    directory: TempDir,
    pub(super) application: u16,
    pub(super) nginx: u16,
    pub(super) haproxy: u16,
    programs: Vec<Program>,
}

impl Peers {
    pub(super) fn start() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("temps-bench-").tempdir()?;
        let at = directory.path().to_owned();
        let [application, nginx, haproxy] = [free_port()?, free_port()?, free_port()?];
        fs::create_dir_all(at.join("files"))?;
        fs::write(at.join("files/large"), vec![b'x'; 100 * 1024])?;
        let files = [
            ("application.conf", nginx_conf(&at, "application", &application_conf(&at, application))),
            ("nginx.conf", nginx_conf(&at, "nginx", &proxy_conf(nginx, application))),
            ("haproxy.cfg", haproxy_conf(haproxy, application)),
        ];
        for (name, text) in &files {
            fs::write(at.join(name), text)?;
        }
        let path = |name: &str| at.join(name).to_string_lossy().into_owned();
        let prefix = format!("{}/", at.display());
        let nginx_of = |name: &str| {
            ["nginx", "-p", &prefix, "-e", "stderr", "-c"]
                .map(str::to_owned)
                .into_iter()
                .chain([path(name)])
                .collect()
        };
        let commands: [(&str, Vec<String>); 3] = [
            (OTHER_CORE, nginx_of("application.conf")),
            (PROXY_CORE, nginx_of("nginx.conf")),
            (PROXY_CORE, vec!["haproxy".to_owned(), "-db".to_owned(), "-f".to_owned(), path("haproxy.cfg")]),
        ];
        let mut programs = Vec::new();
        for (n, (core, words)) in commands.iter().enumerate() {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            programs.push(Program::start(core, &words, &at.join(format!("{n}.log")))?);
        }
        for (n, port) in [application, nginx, haproxy].into_iter().enumerate() {
            wait::until("a proxy to listen", Duration::from_secs(10), || {
                TcpStream::connect(("127.0.0.1", port)).is_ok()
            })
            .with_log(&at.join(format!("{n}.log")))?;
        }
        Ok(Self { directory, application, nginx, haproxy, programs })
    }

    pub(super) fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    pub(super) fn nginx_pid(&self) -> u32 {
        self.programs[1].child.id()
    }

    pub(super) fn haproxy_pid(&self) -> u32 {
        self.programs[2].child.id()
    }
}

/// Adds what a program said.
trait WithLog {
    fn with_log(self, log: &Path) -> Result;
}

impl WithLog for Result {
    fn with_log(self, log: &Path) -> Result {
        self.context(fs::read_to_string(log).unwrap_or_default())
    }
}

/// A port that nobody listens on; that stays so for as long as nobody else looks for one.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// One process that serves until it is killed, without logs, on connections that stay open for as long as clients
/// like.
fn nginx_conf(at: &Path, name: &str, http: &str) -> String {
    let at = at.display();
    format!(
        "daemon off; master_process off; worker_processes 1; pid {at}/{name}.pid; error_log stderr crit;\n\
         events {{ worker_connections 8192; }}\n\
         http {{\n\
         access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;\n\
         client_body_temp_path {at}/{name}-body; proxy_temp_path {at}/{name}-proxy;\n\
         fastcgi_temp_path {at}/{name}-fastcgi; uwsgi_temp_path {at}/{name}-uwsgi; scgi_temp_path {at}/{name}-scgi;\n\
         {http}\n}}\n"
    )
}

fn application_conf(at: &Path, port: u16) -> String {
    let small = "x".repeat(100);
    format!(
        "sendfile on; tcp_nopush on; open_file_cache max=10;\n\
         server {{ listen 127.0.0.1:{port} backlog=4096; root {}/files;\n\
         location = /small {{ return 200 \"{small}\"; }} }}",
        at.display()
    )
}

/// What its manual says a proxy needs to reuse connections, and the lines that ours writes.
fn proxy_conf(port: u16, application: u16) -> String {
    format!(
        "upstream app {{ server 127.0.0.1:{application}; keepalive 256; keepalive_requests 1000000000; }}\n\
         server {{ listen 127.0.0.1:{port} backlog=4096;\n\
         location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;\n\
         proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host; }} }}"
    )
}

fn haproxy_conf(port: u16, application: u16) -> String {
    format!(
        "global\n    nbthread 1\n    maxconn 8192\n\
         defaults\n    mode http\n    timeout connect 5s\n    timeout client 600s\n    timeout server 600s\n\
         \x20   option forwardfor\n    http-reuse always\n\
         frontend front\n    bind 127.0.0.1:{port} backlog 4096\n    http-request set-header X-Forwarded-Proto http\n\
         \x20   http-request set-header X-Forwarded-Host %[req.hdr(host)]\n    default_backend app\n\
         backend app\n    server app 127.0.0.1:{application}\n"
    )
}
