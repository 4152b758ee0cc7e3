//! What recording costs: processor time a second and bytes on the disk, for so many environments (100 by default)
//! that have requests in every second, each with two releases.
//!
//! `cargo run -p temps-history --example cost -- 100`

use std::error::Error;
use std::fs;
use std::io::{Write, stdout};
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use temps_core::history::{Span, Step};
use temps_core::model::{Counts, EnvironmentId, Measured, ReleaseId, Times, Traffic};
use temps_core::table::EdgeReport;
use temps_history::History;

/// Seconds that are recorded.
const SECONDS: u64 = 7_200;

fn main() -> Result<(), Box<dyn Error>> {
    let environments = std::env::args().nth(1).map_or(Ok(100), |text| text.parse::<u64>())?;
    let dir = tempfile::tempdir()?;
    let history = History::open(dir.path().to_owned())?;
    let mut report = EdgeReport { pid: 1, ..EdgeReport::default() };
    history.record(&report, 1_700_000_000);
    let (begun, processor) = (Instant::now(), processor()?);
    for second in 1..=SECONDS {
        for id in 1..=environments {
            report.traffic.entry(EnvironmentId(id)).or_default().add(&counted(id, second));
            let in_flight = [(ReleaseId(2 * id), second % 9 + 1), (ReleaseId(2 * id + 1), second % 7 + 1)];
            report.by_release.insert(EnvironmentId(id), in_flight.into());
        }
        // As often as an edge reports.
        (0..4).for_each(|_| history.see(&report));
        history.record(&report, 1_700_000_000 + second);
        if second.is_multiple_of(5) {
            history.flush();
        }
    }
    let (wall, used) = (begun.elapsed(), self::processor()? - processor);
    let mut disk = (0, 0);
    for entry in fs::read_dir(dir.path())? {
        let data = entry?.metadata()?;
        disk = (disk.0 + data.len(), disk.1 + data.blocks() * 512);
    }
    let asked = Instant::now();
    let span = Span { from: 1_700_000_000 + SECONDS - 3_600, to: u64::MAX, step: Step::Second };
    let points = history.recorded(EnvironmentId(1), span).traffic.len();
    let mut out = stdout();
    writeln!(out, "{environments} environments with two releases each, {SECONDS} seconds in {wall:.1?}")?;
    writeln!(out, "{} us of processor time for each second", used * 1_000_000 / 100 / SECONDS)?;
    writeln!(out, "{} kB of files, {} kB on the disk then", disk.0 / 1_000, disk.1 / 1_000)?;
    writeln!(out, "{points} points of one environment and its releases in {:.1?}", asked.elapsed())?;
    Ok(())
}

fn counted(id: u64, second: u64) -> Measured {
    let n = 1 + (id + second) % 50;
    let counts = |class| Counts { requests: n, times: Times([(class, n)].into()), ..Counts::default() };
    let releases = [(ReleaseId(2 * id), counts(3)), (ReleaseId(2 * id + 1), counts(5))];
    let traffic = Traffic { requests: 2 * n, ..Traffic::default() };
    Measured { traffic, releases: releases.into() }
}

/// Processor time of this process in hundredths of a second, its own and the kernel's for it.
fn processor() -> Result<u64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after = stat.rsplit(')').next().unwrap_or_default();
    let times = after.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(times.sum::<Result<u64, _>>()?)
}
