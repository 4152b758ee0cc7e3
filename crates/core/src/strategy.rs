//! Strategies are lists of steps; one stepper walks any list.

use crate::model::{CanaryStep, DeployRules, Order, Spec, Step, Strategy};

/// How many instances of a process may run beyond the wanted number, and how many of these may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// May run beyond the wanted number.
    pub surge: u32,
    /// May be missing from the wanted number.
    pub unavailable: u32,
    /// Even the last one that serves may be taken away.
    pub to_none: bool,
    /// Instances of two releases never run at the same time.
    pub alone: bool,
}

/// The most steps of a canary.
pub const CANARY_STEPS_MAX: usize = 20;

/// Whether this can be the name of the cookie by which clients of a canary stay: at most 64 characters of a token
/// (RFC 6265, section 4.1.1).
#[must_use]
pub fn is_cookie_name(name: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (1..=64).contains(&name.len()) && name.bytes().all(token)
}

/// The limits of a process of a release. One that stops first is replaced in its place.
#[must_use]
pub fn limits(spec: &Spec, process: &str) -> Limits {
    let rules = &spec.deploy;
    if rules.strategy == Strategy::Recreate {
        return Limits { surge: 0, unavailable: u32::MAX, to_none: true, alone: true };
    }
    if stops_first(spec, process) {
        let unavailable = rules.max_unavailable.max(1);
        return Limits { surge: 0, unavailable, to_none: true, alone: false };
    }
    Limits { surge: rules.max_surge, unavailable: rules.max_unavailable, to_none: false, alone: false }
}

/// Whether an instance of a process ends before the one that takes its place starts, whatever the strategy.
#[must_use]
pub fn stops_first(spec: &Spec, process: &str) -> bool {
    spec.processes.get(process).is_some_and(|p| p.exclusive || p.order == Order::StopFirst)
}

/// The steps of one process from `old` running instances to `wanted` new ones. `weighs`: its requests can be
/// given to a release by shares, which is so where it answers HTTP.
///
/// Whether a new instance starts before an old one leaves is not part of a step: the planner starts as long
/// as no more than [`peak`] run, and withdraws as long as `wanted - max_unavailable` serve.
#[must_use]
pub fn steps(rules: &DeployRules, limits: Limits, weighs: bool, old: u32, wanted: u32) -> Vec<Step> {
    let weighs = weighs && old > 0 && !limits.to_none;
    match rules.strategy {
        Strategy::BlueGreen if weighs => blue_green(old, wanted),
        Strategy::Canary if weighs => canary(&rules.canary, limits, old, wanted),
        Strategy::Rolling | Strategy::BlueGreen | Strategy::Canary | Strategy::Recreate => {
            rolling(limits, 0, old, wanted)
        }
    }
}

/// The same steps, with all `old` instances kept until watching ends. At the end they get no requests any more.
/// Where they cannot run beside the new ones nothing changes.
#[must_use]
pub fn keep_warm(mut steps: Vec<Step>, limits: Limits, weighs: bool, old: u32) -> Vec<Step> {
    if !weighs || old == 0 || limits.to_none {
        return steps;
    }
    for step in &mut steps {
        step.keep_old = old;
    }
    if let Some(last) = steps.last_mut() {
        last.weight = Some(100);
    }
    steps.dedup();
    steps
}

/// The most instances that may run at once while steps are walked.
#[must_use]
pub fn peak(steps: &[Step], limits: Limits, wanted: u32) -> u32 {
    let together = steps.iter().map(|step| step.ready.saturating_add(step.keep_old)).max().unwrap_or(0);
    wanted.saturating_add(limits.surge).max(together)
}

/// From `ready` new ones on.
fn rolling(limits: Limits, ready: u32, old: u32, wanted: u32) -> Vec<Step> {
    let last = Step { ready: wanted, keep_old: 0, weight: None, hold: 0 };
    if old == 0 {
        return vec![last];
    }
    let batch = limits.surge.saturating_add(limits.unavailable).max(1);
    let mut steps = Vec::new();
    let mut ready = ready.saturating_add(batch);
    while ready < wanted {
        // Scaling down with the deployment keeps no more than still fit.
        steps.push(Step { ready, keep_old: old.min(wanted - ready), ..last });
        ready = ready.saturating_add(batch);
    }
    steps.push(last);
    steps
}

fn blue_green(old: u32, wanted: u32) -> Vec<Step> {
    let beside = Step { ready: wanted, keep_old: old, weight: Some(0), hold: 0 };
    let switched = Step { weight: Some(100), ..beside };
    vec![beside, switched, Step { keep_old: 0, ..switched }]
}

/// As many new instances as their share needs, at least one; the rest is replaced as in [`rolling`].
fn canary(shares: &[CanaryStep], limits: Limits, old: u32, wanted: u32) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut ready = 1;
    for share in shares {
        let needed = u64::from(wanted).saturating_mul(share.weight.into()).div_ceil(100);
        ready = u32::try_from(needed).unwrap_or(wanted).clamp(ready, wanted.max(ready));
        steps.push(Step { ready, keep_old: old, weight: Some(share.weight), hold: share.hold });
    }
    steps.extend(rolling(limits, ready, old, wanted));
    steps
}

#[cfg(test)]
mod tests {
    use super::{Limits, keep_warm, peak, steps};
    use crate::model::{CanaryStep, DeployRules, Strategy};

    type Told = (u32, u32, Option<u32>);

    fn told(rules: &DeployRules, limits: Limits, old: u32, wanted: u32) -> Vec<Told> {
        let steps = steps(rules, limits, true, old, wanted);
        steps.iter().map(|step| (step.ready, step.keep_old, step.weight)).collect()
    }

    fn rolls(surge: u32, unavailable: u32, old: u32, wanted: u32, expected: &[(u32, u32)]) {
        let limits = Limits { surge, unavailable, ..Limits::default() };
        let expected: Vec<Told> = expected.iter().map(|(ready, keep)| (*ready, *keep, None)).collect();
        assert_eq!(told(&DeployRules::default(), limits, old, wanted), expected);
    }

    #[test]
    fn rolling_replaces_a_batch_at_a_time() {
        rolls(1, 0, 0, 3, &[(3, 0)]);
        rolls(1, 0, 1, 1, &[(1, 0)]);
        rolls(1, 0, 2, 2, &[(1, 1), (2, 0)]);
        rolls(1, 0, 3, 3, &[(1, 2), (2, 1), (3, 0)]);
        rolls(1, 1, 5, 5, &[(2, 3), (4, 1), (5, 0)]);
        rolls(0, 1, 3, 3, &[(1, 2), (2, 1), (3, 0)]);
        rolls(1, 0, 5, 2, &[(1, 1), (2, 0)]);
        rolls(1, 0, 1, 3, &[(1, 1), (2, 1), (3, 0)]);
        rolls(9, 0, 3, 3, &[(3, 0)]);
    }

    /// The table in ARCHITECTURE.md.
    #[test]
    fn the_steps_of_every_strategy() {
        let one = Limits { surge: 1, ..Limits::default() };
        let all = |strategy, limits| {
            let canary =
                [(5, 120_000), (25, 120_000)].map(|(weight, hold)| CanaryStep { weight, hold }).into();
            let rules = DeployRules { strategy, canary, ..DeployRules::default() };
            [1, 2, 3, 5].map(|n| {
                let steps = steps(&rules, limits, true, n, n);
                (peak(&steps, limits, n), told(&rules, limits, n, n))
            })
        };
        let (none, half, full) = (Some(0), Some(5), Some(100));
        assert_eq!(
            all(Strategy::Rolling, one),
            [
                (2, vec![(1, 0, None)]),
                (3, vec![(1, 1, None), (2, 0, None)]),
                (4, vec![(1, 2, None), (2, 1, None), (3, 0, None)]),
                (6, vec![(1, 4, None), (2, 3, None), (3, 2, None), (4, 1, None), (5, 0, None)]),
            ]
        );
        assert_eq!(
            all(Strategy::BlueGreen, one),
            [1, 2, 3, 5].map(|n| (2 * n, vec![(n, n, none), (n, n, full), (n, 0, full)]))
        );
        let quarter = Some(25);
        assert_eq!(
            all(Strategy::Canary, one),
            [
                (2, vec![(1, 1, half), (1, 1, quarter), (1, 0, None)]),
                (3, vec![(1, 2, half), (1, 2, quarter), (2, 0, None)]),
                (4, vec![(1, 3, half), (1, 3, quarter), (2, 1, None), (3, 0, None)]),
                (7, vec![(1, 5, half), (2, 5, quarter), (3, 2, None), (4, 1, None), (5, 0, None)]),
            ]
        );
        let recreate = Limits { surge: 0, unavailable: u32::MAX, to_none: true, alone: true };
        assert_eq!(all(Strategy::Recreate, recreate), [1, 2, 3, 5].map(|n| (n, vec![(n, 0, None)])));
    }

    #[test]
    fn what_is_kept_warm_gets_no_requests_at_the_end() {
        let limits = Limits { surge: 1, ..Limits::default() };
        let warm = |strategy| {
            let canary = vec![CanaryStep { weight: 5, hold: 1 }];
            let rules = DeployRules { strategy, canary, ..DeployRules::default() };
            let steps = keep_warm(steps(&rules, limits, true, 2, 2), limits, true, 2);
            steps.iter().map(|step| (step.ready, step.keep_old, step.weight)).collect::<Vec<_>>()
        };
        assert_eq!(warm(Strategy::Rolling), [(1, 2, None), (2, 2, Some(100))]);
        assert_eq!(warm(Strategy::BlueGreen), [(2, 2, Some(0)), (2, 2, Some(100))]);
        assert_eq!(warm(Strategy::Canary), [(1, 2, Some(5)), (2, 2, Some(100))]);
        let none = keep_warm(steps(&DeployRules::default(), limits, true, 0, 2), limits, true, 0);
        assert_eq!(none.last().map(|step| step.weight), Some(None), "nothing was there before");
    }

    #[test]
    fn what_cannot_be_weighed_is_rolled() {
        let limits = Limits { surge: 1, ..Limits::default() };
        let canary = vec![CanaryStep { weight: 5, hold: 1 }];
        for strategy in [Strategy::BlueGreen, Strategy::Canary] {
            let rules = DeployRules { strategy, canary: canary.clone(), ..DeployRules::default() };
            assert_eq!(told(&rules, limits, 0, 3), [(3, 0, None)], "nothing was there before");
            let in_place = Limits { surge: 0, unavailable: 1, to_none: true, alone: false };
            assert_eq!(told(&rules, in_place, 2, 2), [(1, 1, None), (2, 0, None)], "it stops first");
            assert!(steps(&rules, limits, false, 2, 2).iter().all(|step| step.weight.is_none()), "no HTTP");
        }
    }
}
