//! One sample: `wrk` asks for some seconds.

use std::fmt;
use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use temps_tests::trouble::{Context, Result, Trouble};

use super::OTHER_CORE;
use super::peers::Peers;
use super::usage;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Workload {
    /// 100 bytes, on connections that stay open.
    Small,
    /// 100 KiB, on connections that stay open.
    Large,
    /// 100 bytes, each on a connection of its own.
    Close,
}

impl Workload {
    pub(super) const ALL: [Self; 3] = [Self::Small, Self::Large, Self::Close];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Large => "large",
            Self::Close => "close",
        }
    }

    fn path(self) -> &'static str {
        if self == Self::Large { "large" } else { "small" }
    }
}

/// What one sample showed.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) rps: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// Of the proxy; 0 where there is none.
    pub(super) cpu_us: f64,
    pub(super) failed: u64,
}

/// Tells the numbers that are not in `wrk`'s text, or rounded there.
const TELL: &str = r#"
done = function(summary, latency, requests)
    local e = summary.errors
    local failed = e.connect + e.read + e.write + e.timeout + e.status
    io.write(string.format("\nTOLD %d %d %d %d %d\n", summary.requests, summary.duration,
        latency:percentile(50), latency:percentile(99), failed))
end
"#;

pub(super) fn measure(
    peers: &Peers,
    work: Workload,
    port: u16,
    host: &str,
    pids: &[u32],
    time: Duration,
) -> Result<Sample> {
    let script = peers.directory().join("tell.lua");
    fs::write(&script, TELL)?;
    let mut wrk = Command::new("taskset");
    wrk.args(["-c", OTHER_CORE, "wrk", "-t1", "-c64", &format!("-d{}s", time.as_secs()), "-s"]).arg(script);
    wrk.args(["-H", &format!("Host: {host}")]);
    if work == Workload::Close {
        wrk.args(["-H", "Connection: close"]);
    }
    wrk.arg(format!("http://127.0.0.1:{port}/{}", work.path()));
    let before = usage::cpu(pids)?;
    let output = wrk.output().context("wrk")?;
    let used = usage::cpu(pids)? - before;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = text.lines().find_map(|line| line.strip_prefix("TOLD "));
    let numbers: Vec<f64> =
        told.unwrap_or_default().split(' ').filter_map(|number| number.parse().ok()).collect();
    let &[requests, duration_us, p50_us, p99_us, failed] = numbers.as_slice() else {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Trouble::new(format!("wrk told nothing: {text}{said}")));
    };
    if requests < 1.0 {
        return Err(Trouble::new(format!("nobody answered at port {port}: {text}")));
    }
    Ok(Sample {
        rps: requests / (duration_us / 1e6),
        p50_us,
        p99_us,
        cpu_us: used.as_secs_f64() * 1e6 / requests,
        failed: failed as u64,
    })
}

impl Sample {
    /// Each number's own median.
    pub(super) fn median(samples: &[Self]) -> Self {
        let of = |number: fn(&Self) -> f64| {
            let mut all: Vec<f64> = samples.iter().map(number).collect();
            all.sort_by(f64::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or_default()
        };
        Self {
            rps: of(|s| s.rps),
            p50_us: of(|s| s.p50_us),
            p99_us: of(|s| s.p99_us),
            cpu_us: of(|s| s.cpu_us),
            failed: samples.iter().map(|s| s.failed).sum(),
        }
    }

    /// Requests that a whole core would answer in a second: where the client's core is the narrow one, a proxy does
    /// not use all of its own.
    pub(super) fn per_core(&self) -> f64 {
        1e6 / self.cpu_us
    }

    pub(super) fn row(&self, proxy: &str, workload: &str) -> Value {
        json!({
            "proxy": proxy,
            "workload": workload,
            "rps": self.rps.round(),
            "p50_us": self.p50_us,
            "p99_us": self.p99_us,
            "cpu_us_per_request": (self.cpu_us * 100.0).round() / 100.0,
            "failed": self.failed,
        })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rps, p50_us, p99_us, cpu_us, failed } = self;
        write!(
            f,
            "{rps:>8.0}/s  p50 {p50_us:>6.0} us  p99 {p99_us:>6.0} us  cpu {cpu_us:>6.2} us  failed {failed}"
        )
    }
}
