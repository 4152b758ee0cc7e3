//! The log of a build, after it or while it goes on.

use std::io;

use temps_wire::proto::LogLine;

use super::Desk;
use crate::exit::{Code, Failure};
use crate::screen::{Screen, Tone, escape_bytes};
use crate::watch::{Ask, BuildLog, interrupted};
use crate::{json, timeline};

/// Prints it.
pub(super) async fn show(
    desk: &mut Desk,
    number: u64,
    follow: bool,
    tail: Option<u32>,
) -> Result<Code, Failure> {
    let ask = Ask { deployment: number, follow, tail: tail.unwrap_or(0), waits: false };
    let mut log = BuildLog::open(&desk.client()?, ask);
    loop {
        let line = tokio::select! {
            biased;
            () = interrupted(), if follow => return Ok(Code::Interrupted),
            line = log.next() => line,
        };
        match line {
            Some(line) => print(&mut desk.screen, number, &line?)?,
            None => return Ok(Code::Live),
        }
    }
}

fn print(screen: &mut Screen, number: u64, line: &LogLine) -> io::Result<()> {
    if screen.is_json() {
        return screen.object_line(&json::build_line(number, line));
    }
    let time = timeline::clock(line.wall_ms, &screen.look.zone);
    let time = screen.look.out.tone(Tone::Quiet, &time);
    if screen.look.terminals.stdout {
        return screen.say(&format!("{time}  {}", escape_bytes(&line.text)));
    }
    // Who reads a pipe wants the bytes as they are.
    let mut bytes = format!("{time}  ").into_bytes();
    bytes.extend_from_slice(&line.text);
    bytes.push(b'\n');
    screen.raw(&bytes)
}
