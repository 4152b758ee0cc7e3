//! The application in the containers of this crate's tests; it is linked statically, so that it is all an
//! image needs.
//!
//! `dump` writes the environment, values in hexadecimal digits. `serve` answers HTTP on `$PORT` with its
//! name. `ignore` does not react to SIGTERM. `finish MS` ends so long after SIGTERM. `flood MB` writes so
//! much. `eat` uses up memory. `say CODE WORDS` speaks and ends. `wait` does nothing. Called as `sh -c`, it is
//! a shell that only knows `;`, and that keeps signals to itself.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        [name, "-c", line] if name.ends_with("sh") => shell(line),
        [_, "dump"] => dump(),
        [_, "serve"] => serve(),
        [_, "ignore"] => ignore(),
        [_, "finish", ms] => finish(ms.parse().unwrap_or(0)),
        [_, "flood", mb] => flood(mb.parse().unwrap_or(0)),
        [_, "eat"] => eat(),
        [_, "say", code, said @ ..] => {
            say(&format!("{}\n", said.join(" "))).map(|()| ExitCode::from(code.parse::<u8>().unwrap_or(0)))
        }
        [_, "wait"] => forever(),
        _ => Err(io::Error::other("unknown words")),
    };
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "contained: {error}");
        ExitCode::FAILURE
    })
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn forever() -> io::Result<ExitCode> {
    say("ready\n")?;
    loop {
        std::thread::sleep(Duration::from_secs(3_600));
    }
}

fn shell(line: &str) -> io::Result<ExitCode> {
    let mut last = 0;
    for command in line.split(';') {
        let words: Vec<&str> = command.split_whitespace().collect();
        if let [program, arguments @ ..] = words.as_slice() {
            last = Command::new(program).args(arguments).status()?.code().unwrap_or(1);
        }
    }
    Ok(ExitCode::from(u8::try_from(last).unwrap_or(1)))
}

fn dump() -> io::Result<ExitCode> {
    let digits = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let all: String = std::env::vars_os()
        .map(|(name, value)| format!("{} {}\n", name.to_string_lossy(), digits(value.as_bytes())))
        .collect();
    say(&all)?;
    Ok(ExitCode::SUCCESS)
}

fn ignore() -> io::Result<ExitCode> {
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGTERM);
    blocked.thread_block()?;
    forever()
}

fn finish(ms: u64) -> io::Result<ExitCode> {
    let mut awaited = SigSet::empty();
    awaited.add(Signal::SIGTERM);
    awaited.add(Signal::SIGUSR1);
    awaited.thread_block()?;
    say("ready\n")?;
    let got = awaited.wait()?;
    say(&format!("got {got}\n"))?;
    std::thread::sleep(Duration::from_millis(ms));
    say("job done\n")?;
    Ok(ExitCode::SUCCESS)
}

fn flood(mb: usize) -> io::Result<ExitCode> {
    for n in 0..mb * 1024 {
        say(&format!("{n:07} {}\n", "x".repeat(1_015)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn eat() -> io::Result<ExitCode> {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        eaten.push(vec![1; 1024 * 1024]);
        if eaten.len() > 4_096 {
            return Err(io::Error::other("there is no limit"));
        }
    }
}

fn serve() -> io::Result<ExitCode> {
    let port: u16 = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(0);
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    say("ready\n")?;
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::spawn(move || answer(&stream));
    }
    Ok(ExitCode::SUCCESS)
}

fn answer(stream: &TcpStream) -> io::Result<()> {
    for line in BufReader::new(stream).lines() {
        if line?.is_empty() {
            break;
        }
    }
    let name = std::env::var("TEMPS_INSTANCE").unwrap_or_default();
    let mut out = stream;
    write!(out, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{name}", name.len())
}
