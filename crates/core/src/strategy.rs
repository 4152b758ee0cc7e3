//! Strategies are lists of steps; one stepper walks any list.

use crate::model::{DeployRules, Order, Spec, Step, Strategy};

/// How many instances of a process may run beyond the wanted number, and how many of these may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// May run beyond the wanted number.
    pub surge: u32,
    /// May be missing from the wanted number.
    pub unavailable: u32,
    /// Even the last one that serves may be taken away.
    pub to_none: bool,
}

/// The limits of a process of a release. One that stops first is replaced in its place.
#[must_use]
pub fn limits(spec: &Spec, process: &str) -> Limits {
    let rules = &spec.deploy;
    let stops_first = spec.processes.get(process).is_some_and(|p| p.exclusive || p.order == Order::StopFirst);
    if stops_first {
        return Limits { surge: 0, unavailable: rules.max_unavailable.max(1), to_none: true };
    }
    Limits { surge: rules.max_surge, unavailable: rules.max_unavailable, to_none: false }
}

/// The steps from `old` running instances to `wanted` new ones.
///
/// Whether a new instance starts before an old one leaves is not part of a step: the planner starts as long
/// as no more than `wanted + max_surge` run, and withdraws as long as `wanted - max_unavailable` serve.
#[must_use]
pub fn steps(rules: &DeployRules, limits: Limits, old: u32, wanted: u32) -> Vec<Step> {
    match rules.strategy {
        Strategy::Rolling => rolling(limits, old, wanted),
    }
}

fn rolling(limits: Limits, old: u32, wanted: u32) -> Vec<Step> {
    let last = Step { ready: wanted, keep_old: 0, hold: 0 };
    if old == 0 {
        return vec![last];
    }
    let batch = (limits.surge + limits.unavailable).max(1);
    let mut steps = Vec::new();
    let mut ready = batch;
    while ready < wanted {
        // Scaling down with the deployment keeps no more than still fit.
        steps.push(Step { ready, keep_old: old.min(wanted - ready), hold: 0 });
        ready += batch;
    }
    steps.push(last);
    steps
}

#[cfg(test)]
mod tests {
    use super::{Limits, steps};
    use crate::model::DeployRules;

    fn check(surge: u32, unavailable: u32, old: u32, wanted: u32, expected: &[(u32, u32)]) {
        let limits = Limits { surge, unavailable, to_none: false };
        let got: Vec<_> = steps(&DeployRules::default(), limits, old, wanted)
            .iter()
            .map(|s| (s.ready, s.keep_old))
            .collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn rolling_replaces_a_batch_at_a_time() {
        check(1, 0, 0, 3, &[(3, 0)]);
        check(1, 0, 1, 1, &[(1, 0)]);
        check(1, 0, 2, 2, &[(1, 1), (2, 0)]);
        check(1, 0, 3, 3, &[(1, 2), (2, 1), (3, 0)]);
        check(1, 1, 5, 5, &[(2, 3), (4, 1), (5, 0)]);
        check(0, 1, 3, 3, &[(1, 2), (2, 1), (3, 0)]);
        check(1, 0, 5, 2, &[(1, 1), (2, 0)]);
        check(1, 0, 1, 3, &[(1, 1), (2, 1), (3, 0)]);
        check(9, 0, 3, 3, &[(3, 0)]);
    }
}
