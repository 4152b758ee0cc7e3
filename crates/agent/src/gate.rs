//! From health checks to readiness: pure, and without a clock.
//!
//! The rules: a success counts at once; a failure counts only when its check began after the start
//! period; what has been ready is unready only after `unhealthy_threshold` failures in a row. How a check
//! is made, and that a process has ended, is not known here.

use temps_core::model::{Health, Millis, Seen};

/// The longest wait before a failed check is made again inside the start period.
const RETRY: Millis = 1_000;

/// What one instance's checks add up to.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    health: Health,
    seen: Seen,
    good: u32,
    bad: u32,
}

impl Gate {
    /// A gate that continues from what was seen before; [`Seen::Starting`] for a new instance.
    pub(crate) fn new(health: Health, seen: Seen) -> Self {
        let seen = match seen {
            Seen::Ready => Seen::Ready,
            Seen::Unready => Seen::Unready,
            Seen::Pending | Seen::Starting | Seen::Exited | Seen::Gone => Seen::Starting,
        };
        Self { health, seen, good: 0, bad: 0 }
    }

    /// Starting, ready or unready.
    pub(crate) fn seen(&self) -> Seen {
        self.seen
    }

    /// Counts a check that began `began` after the start, and answers how long after its beginning the
    /// next one begins.
    pub(crate) fn record(&mut self, began: Millis, passed: bool) -> Millis {
        let forgiven = self.seen == Seen::Starting && began < self.health.start_period;
        if passed {
            self.good = self.good.saturating_add(1);
            self.bad = 0;
            if self.good >= self.health.healthy_threshold {
                self.seen = Seen::Ready;
            }
        } else {
            self.good = 0;
            if !forgiven {
                self.bad = self.bad.saturating_add(1);
            }
            if self.bad >= self.health.unhealthy_threshold {
                self.seen = Seen::Unready;
            }
        }
        if forgiven && !passed { self.health.interval.min(RETRY) } else { self.health.interval }
    }
}

#[cfg(test)]
mod tests {
    use super::Gate;
    use temps_core::model::{Health, Millis, Seen};

    fn health() -> Health {
        Health { interval: 1_000, timeout: 3_000, start_period: 10_000, ..Health::default() }
    }

    /// Runs checks on virtual time until something is decided: what, when, and after how many checks.
    /// `app` tells for a moment whether the check passes and how long its answer takes.
    fn decide(gate: &mut Gate, app: impl Fn(Millis) -> (bool, Millis)) -> (Seen, Millis, u32) {
        let before = gate.seen();
        let (mut now, mut checks) = (0, 0);
        while now < 120_000 {
            let began = now;
            let (passes, takes) = app(began);
            let passed = passes && takes <= 3_000;
            now += takes.min(3_000);
            checks += 1;
            let pause = gate.record(began, passed);
            if gate.seen() != before {
                return (gate.seen(), now, checks);
            }
            now = now.max(began + pause);
        }
        (gate.seen(), now, checks)
    }

    #[test]
    fn a_start_is_judged_by_one_clock() {
        type App = fn(Millis) -> (bool, Millis);
        let rows: [(&str, App, Seen, std::ops::RangeInclusive<Millis>); 6] = [
            ("refused for 8 s, then good", |t| (t >= 8_000, 1), Seen::Ready, 8_000..=10_000),
            ("503 for 8 s, then good", |t| (t >= 8_000, 5), Seen::Ready, 8_000..=10_000),
            ("never", |_| (false, 1), Seen::Unready, 12_000..=13_500),
            ("good at once", |_| (true, 5), Seen::Ready, 0..=1_100),
            (
                "first answer after 6 s",
                |t| (true, 6_000_u64.saturating_sub(t).max(5)),
                Seen::Ready,
                4_000..=8_000,
            ),
            ("hangs for ever", |_| (true, 60_000), Seen::Unready, 15_000..=21_000),
        ];
        for (name, app, seen, when) in rows {
            let (decided, at, _) = decide(&mut Gate::new(health(), Seen::Starting), app);
            assert_eq!(decided, seen, "{name}");
            assert!(when.contains(&at), "{name}: decided after {at} ms");
        }
    }

    #[test]
    fn two_good_checks_in_a_row_are_needed_and_enough() {
        let (seen, _, checks) = decide(&mut Gate::new(health(), Seen::Starting), |_| (true, 1));
        assert_eq!((seen, checks), (Seen::Ready, 2));

        let mut gate = Gate::new(health(), Seen::Starting);
        for passed in [true, false, true, false] {
            gate.record(0, passed);
            assert_eq!(gate.seen(), Seen::Starting);
        }
    }

    #[test]
    fn what_is_ready_stays_so_until_it_fails_three_times_in_a_row_also_inside_the_start_period() {
        let mut gate = Gate::new(health(), Seen::Ready);
        for passed in [false, false, true, false, false] {
            gate.record(0, passed);
            assert_eq!(gate.seen(), Seen::Ready);
        }
        gate.record(0, false);
        assert_eq!(gate.seen(), Seen::Unready);
        gate.record(0, true);
        assert_eq!(gate.seen(), Seen::Unready);
        gate.record(0, true);
        assert_eq!(gate.seen(), Seen::Ready);
    }

    #[test]
    fn a_failure_inside_the_start_period_is_retried_soon_and_otherwise_at_the_interval() {
        let mut gate = Gate::new(Health { interval: 5_000, ..health() }, Seen::Starting);
        assert_eq!(gate.record(0, false), 1_000);
        assert_eq!(gate.record(1_000, true), 5_000);
        assert_eq!(gate.record(12_000, false), 5_000);
        let mut quick = Gate::new(Health { interval: 200, ..health() }, Seen::Starting);
        assert_eq!(quick.record(0, false), 200);
    }
}
