//! What processes take of the machine.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};
use temps_tests::trouble::{Context, Result, Trouble};
use temps_tests::{faults, wait};

/// Connections among which memory is divided.
const IDLE: u64 = 800;

/// Processor time of processes until now.
pub(super) fn cpu(pids: &[u32]) -> Result<Duration> {
    let per_second = sysconf(SysconfVar::CLK_TCK)?.unwrap_or(100);
    let mut ticks = 0.0;
    for pid in pids {
        let fields = faults::stat(Path::new(&format!("/proc/{pid}")));
        let fields = fields.ok_or_else(|| Trouble::new(format!("process {pid} is gone")))?;
        for field in [11, 12] {
            ticks += fields.get(field).and_then(|n| n.parse::<f64>().ok()).unwrap_or_default();
        }
    }
    Ok(Duration::from_secs_f64(ticks / per_second as f64))
}

/// The memory of a process in bytes, its share of what it shares with others included.
pub(super) fn memory(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).context(format!("process {pid}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|n| n.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| Trouble::new(format!("no Pss of process {pid}")))
}

/// Bytes for one connection on which one request was answered, and which waits for another.
pub(super) fn of_idle_connection(port: u16, host: &str, pid: u32) -> Result<u64> {
    let before = memory(pid)?;
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(format!("GET /small HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())?;
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes)?;
        if !bytes[..read].starts_with(b"HTTP/1.1 200") {
            return Err(Trouble::new(format!("port {port}: {}", String::from_utf8_lossy(&bytes[..read]))));
        }
        idle.push(stream);
    }
    wait::nap(Duration::from_millis(500))?;
    Ok(memory(pid)?.saturating_sub(before) / IDLE)
}
