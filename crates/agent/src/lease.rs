//! Whether what is exclusive may still run here: pure, but for the file that outlives the server.
//!
//! A question that a quorum answered proves that this node belonged to the cluster when it was asked. Once
//! the last such moment is longer ago than the lease, others may have started what is exclusive. Who else
//! runs it is not known here.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use temps_core::model::Millis;

use crate::files;
use crate::proc;

/// How long this node has not been proven to belong to the cluster.
#[derive(Debug)]
pub(crate) struct Lease {
    limit: Duration,
    /// When the last question was asked that a quorum answered.
    proven: Instant,
    asked: Option<Instant>,
    asking: bool,
}

/// A moment that outlives the server, though not the machine's run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    boot: String,
    uptime: Millis,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self { boot: proc::boot_id(), uptime: proc::uptime() }
    }

    pub(crate) fn write(&self, file: &Path) -> io::Result<()> {
        files::write_json(file, self)
    }

    /// How long ago the moment in `file` was; `None` where nobody knows.
    pub(crate) fn age(file: &Path) -> Option<Duration> {
        let then: Self = files::read_json(file).ok()?.value()?;
        let now = Self::now();
        (then.boot == now.boot).then(|| Duration::from_millis(now.uptime.saturating_sub(then.uptime)))
    }
}

impl Lease {
    /// `age` is how long ago an earlier server had its last proof. A server that starts is left the time for
    /// one question in any case.
    pub(crate) fn new(limit: Duration, age: Option<Duration>, now: Instant) -> Self {
        let longest = limit.saturating_sub(limit / 5);
        let age = age.unwrap_or(longest).min(longest);
        Self { limit, proven: now.checked_sub(age).unwrap_or(now), asked: None, asking: false }
    }

    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Others may run what is exclusive.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.proven) > self.limit
    }

    /// Whether to ask now; then [`Lease::answered`] is to follow.
    pub(crate) fn asks(&mut self, now: Instant) -> bool {
        let due = self.asked.is_none_or(|at| now.saturating_duration_since(at) >= self.limit / 5);
        if self.asking || !due {
            return false;
        }
        self.asked = Some(now);
        self.asking = true;
        true
    }

    /// The question has an answer, or gets none.
    pub(crate) fn answered(&mut self) {
        self.asking = false;
    }

    /// A quorum answered a question that was asked at `asked`.
    pub(crate) fn prove(&mut self, asked: Instant) {
        self.proven = self.proven.max(asked);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Lease, Moment};

    const LIMIT: Duration = Duration::from_secs(15);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn it_runs_from_the_moment_of_the_question_and_not_from_that_of_the_answer() {
        let start = Instant::now();
        let mut lease = Lease::new(LIMIT, None, start);
        assert!(lease.asks(start) && !lease.asks(start + s(9)), "one question at a time");
        // The answer took ten seconds.
        lease.answered();
        lease.prove(start);
        assert!(!lease.is_over(start + s(15)));
        assert!(lease.is_over(start + s(16)));
        assert!(lease.asks(start + s(10)));
        lease.answered();
        assert!(!lease.asks(start + s(12)), "every fifth of the lease");
        lease.prove(start + s(10));
        lease.prove(start);
        assert!(!lease.is_over(start + s(25)));
        assert!(lease.is_over(start + s(26)));
    }

    #[test]
    fn a_new_server_goes_on_with_what_the_last_one_knew() {
        let start = Instant::now();
        let rows = [
            (Some(s(5)), 10),
            // Time for one question.
            (Some(s(14)), 3),
            (Some(s(1_000)), 3),
            (None, 3),
        ];
        for (age, left) in rows {
            let lease = Lease::new(LIMIT, age, start);
            assert!(!lease.is_over(start + s(left)), "{age:?}");
            assert!(lease.is_over(start + s(left + 1)), "{age:?}");
        }
    }

    #[test]
    fn a_moment_is_remembered_within_one_run_of_the_machine() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("quorum.json");
        assert_eq!(Moment::age(&file), None);
        Moment::now().write(&file).expect("written");
        assert!(Moment::age(&file).expect("known") < s(5));
        Moment { boot: "another".to_owned(), uptime: 0 }.write(&file).expect("written");
        assert_eq!(Moment::age(&file), None);
        std::fs::write(&file, b"{").expect("written");
        assert_eq!(Moment::age(&file), None);
    }
}
