//! The application, and the supervisor, of this crate's tests.
//!
//! `supervise DIR` is what the server's binary does under that name. `serve` answers HTTP on `$PORT` as
//! `$STATUS`, `$LOCATION`, `$ONLY_HOST`, `$START_MS` and `$EXIT_MS` say. `dump FILE` writes the
//! environment as JSON.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["supervise", dir] => return temps_agent::supervise(Path::new(dir)),
        ["dump", file] => dump(Path::new(file)),
        ["serve"] => serve(),
        _ => Err(io::Error::other("unknown words")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "testapp: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dump(file: &Path) -> io::Result<()> {
    let text = |s: &OsStr| s.to_string_lossy().into_owned();
    let all: BTreeMap<String, String> = std::env::vars_os().map(|(k, v)| (text(&k), text(&v))).collect();
    let unfinished = file.with_extension("new");
    std::fs::write(&unfinished, serde_json::to_vec(&all)?)?;
    std::fs::rename(unfinished, file)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn serve() -> io::Result<()> {
    if let Some(ms) = number("EXIT_MS") {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(ms));
            let _ = writeln!(io::stderr(), "giving up");
            std::process::exit(3);
        });
    }
    std::thread::sleep(Duration::from_millis(number("START_MS").unwrap_or(0)));
    let port = u16::try_from(number("PORT").unwrap_or(0)).unwrap_or(0);
    for stream in TcpListener::bind(("127.0.0.1", port))?.incoming() {
        let stream = stream?;
        std::thread::spawn(move || answer(&stream));
    }
    Ok(())
}

fn answer(stream: &TcpStream) -> io::Result<()> {
    let mut host = String::new();
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("host")
        {
            value.trim().clone_into(&mut host);
        }
    }
    let mut status = number("STATUS").unwrap_or(200);
    if std::env::var("ONLY_HOST").is_ok_and(|only| only != host) {
        status = 400;
    }
    let location = std::env::var("LOCATION").map(|l| format!("location: {l}\r\n")).unwrap_or_default();
    let name = std::env::var("TEMPS_INSTANCE").unwrap_or_default();
    let body = if matches!(status, 204 | 304) {
        String::new()
    } else {
        format!("content-length: {}\r\n", name.len())
    };
    let mut out = stream;
    write!(out, "HTTP/1.1 {status} X\r\n{location}{body}connection: close\r\n\r\n")?;
    if !body.is_empty() {
        out.write_all(name.as_bytes())?;
    }
    out.flush()
}
