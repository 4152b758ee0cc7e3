//! What a load has seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::shot::{Ending, Shot};
use super::strike::Strike;
use super::{Cause, Kind};

/// How many failures are told in full.
const FAILURES_TOLD: usize = 20;

/// What a load has seen.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Everything that was sent, WebSockets included.
    pub requests: usize,
    /// What failed; a WebSocket that was open and then cut is counted apart.
    pub failed: usize,
    /// 5xx answers of the application itself.
    pub app_errors: usize,
    /// WebSockets among the requests.
    pub websockets: usize,
    /// WebSockets that were open and did not end by the client.
    pub websockets_cut: usize,
    /// What could not but be lost with what a fault destroyed; in none of the numbers above.
    pub cut_by_hand: usize,
    /// Failures by cause.
    pub causes: BTreeMap<Cause, usize>,
    /// Numbers by kind.
    pub kinds: BTreeMap<Kind, KindReport>,
    /// The first failures in full.
    pub failures: Vec<String>,
    /// Versions that answered, by second since the begin.
    pub versions: BTreeMap<u64, BTreeMap<String, usize>>,
    /// Numbers of counted POSTs that were answered.
    #[serde(skip)]
    pub counted: BTreeSet<u64>,
    /// Numbers of counted POSTs that were sent.
    #[serde(skip)]
    pub count_sent: BTreeSet<u64>,
}

/// Numbers of one kind of request.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KindReport {
    /// Sent.
    pub requests: usize,
    /// Failed or cut.
    pub failed: usize,
    /// Half were answered within this time, in milliseconds.
    pub p50_ms: f64,
    /// 99 % were answered within this time, in milliseconds.
    pub p99_ms: f64,
    /// The slowest answer, in milliseconds.
    pub max_ms: f64,
}

impl Report {
    pub(super) fn of(shots: &[Shot], strikes: &[Strike]) -> Self {
        let mut report = Self { requests: shots.len(), ..Self::default() };
        let mut latencies: BTreeMap<Kind, Vec<Duration>> = BTreeMap::new();
        for shot in shots {
            if strikes.iter().any(|strike| strike.took(shot)) {
                report.cut_by_hand += 1;
                report.kinds.entry(shot.kind).or_default().requests += 1;
            } else {
                report.add(shot);
            }
            latencies.entry(shot.kind).or_default().push(shot.latency);
        }
        for (kind, mut latencies) in latencies {
            latencies.sort_unstable();
            let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
            let numbers = report.kinds.entry(kind).or_default();
            (numbers.p50_ms, numbers.p99_ms, numbers.max_ms) = (at(50), at(99), at(100));
        }
        report
    }

    fn add(&mut self, shot: &Shot) {
        let numbers = self.kinds.entry(shot.kind).or_default();
        numbers.requests += 1;
        if shot.kind == Kind::WebSocket {
            self.websockets += 1;
        }
        if shot.kind == Kind::Count {
            self.count_sent.insert(shot.number);
        }
        match &shot.ending {
            Ending::Answered(answer) => {
                self.app_errors += usize::from(answer.is_error);
                let second = self.versions.entry(shot.at.as_secs()).or_default();
                *second.entry(answer.version.clone()).or_default() += 1;
                if shot.kind == Kind::Count && !answer.is_error {
                    self.counted.insert(shot.number);
                }
            }
            Ending::Failed(miss) => {
                numbers.failed += 1;
                *self.causes.entry(miss.cause).or_default() += 1;
                if shot.is_cut_socket() {
                    self.websockets_cut += 1;
                } else {
                    self.failed += 1;
                }
                if self.failures.len() < FAILURES_TOLD {
                    self.failures.push(shot.to_string());
                }
            }
        }
    }

    /// Nothing failed and nothing was cut.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failed == 0 && self.websockets_cut == 0
    }

    /// Answers of other applications.
    #[must_use]
    pub fn strangers(&self) -> usize {
        self.causes.get(&Cause::Stranger).copied().unwrap_or(0)
    }

    /// All versions that answered at or after a second since the begin.
    #[must_use]
    pub fn versions_since(&self, second: u64) -> BTreeSet<&str> {
        self.versions.range(second..).flat_map(|(_, seen)| seen.keys().map(String::as_str)).collect()
    }

    /// A table for people, then the first failures.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:<22}{:>9}{:>8}{:>11}{:>11}{:>11}\n",
            "load", "requests", "failed", "p50 ms", "p99 ms", "max ms"
        );
        for (kind, n) in &self.kinds {
            let (word, requests, failed) = (kind.word(), n.requests, n.failed);
            let KindReport { p50_ms, p99_ms, max_ms, .. } = n;
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{word:<22}{requests:>9}{failed:>8}{p50_ms:>11.1}{p99_ms:>11.1}{max_ms:>11.1}"
            );
        }
        let all = self.failed + self.websockets_cut;
        let _ = writeln!(text, "{:<22}{:>9}{all:>8}", "all", self.requests);
        if self.cut_by_hand > 0 {
            let _ = writeln!(text, "{:<22}{:>9}", "cut by hand", self.cut_by_hand);
        }
        for failure in &self.failures {
            let _ = writeln!(text, "  {failure}");
        }
        text
    }
}
