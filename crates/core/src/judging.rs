//! Whether a release does worse than the one before it, by the requests that reached its instances.
//!
//! Failures are those of instances: what breaks between two edges or is ended by a client is none, so a fault of one
//! path to a node is not the fault of the release that runs there. What is allowed follows from the release
//! before: its counts of the minutes before the deployment and since it began. What failed in between and was taken
//! back does not count.
//!
//! With few requests of its own little is known, and much is allowed: to what was counted 2 failures in 40 requests
//! are added. So without any the limit is a quarter of all requests, and after 180 good ones the configured floor. The
//! limit is never more than half of what could still get worse. It lies half-way to the factor, so that what fails as
//! often as that is found for sure; nobody is taken back for what is within the limit.

use crate::model::{
    Allowed, CLASSES, Counts, Deployment, Evidence, Finding, MILLION, Measured, Millis, Pair, Phase,
    RollbackRules, Score, Share, Times, Verdict, class_of,
};

/// Added to what was counted of the release before.
const DOUBT: Share = Share { count: 2, of: 40 };

/// What is known of the release before, and what follows from it.
#[derive(Clone, Debug)]
pub(crate) struct Baseline {
    counts: Counts,
    /// The class of time beyond which an answer is slow; unknown as long as there is nothing to compare with.
    class: Option<u8>,
}

impl Baseline {
    pub(crate) fn of(deployment: &Deployment, rules: &RollbackRules) -> Self {
        let counted = &deployment.counted;
        let mut counts = Counts::default();
        if let Some(from) = deployment.from {
            counts.add(&counted.past_of(from));
            counts.add(&counted.of(from));
        }
        let half = counts.times.within(500).filter(|_| counts.times.count() >= rules.min_requests);
        let slow =
            half.map(|half| half.saturating_mul(rules.error_rate_factor.into()).max(rules.latency_floor));
        Self { counts, class: slow.map(class_of) }
    }

    fn slow(&self) -> Share {
        self.class.map_or_else(Share::default, |class| slow(&self.counts.times, class))
    }

    /// So much may fail, in millionths.
    fn failing_limit(&self, rules: &RollbackRules) -> u64 {
        let before = doubted(self.counts.failing()).rate();
        let times = before.saturating_mul(rules.error_rate_factor.into());
        before.midpoint(times).min(worse(before)).max(rules.error_rate_floor)
    }

    /// So many answers may be slow, in millionths: at least half, as slow is 10 times the old half.
    fn slow_limit(&self) -> u64 {
        worse(doubted(self.slow()).rate())
    }

    fn allowed(&self, rules: &RollbackRules) -> Allowed {
        Allowed {
            failing: Some(self.failing_limit(rules)).filter(|limit| *limit < MILLION),
            slow: self.class.map(|_| self.slow_limit()),
        }
    }
}

fn doubted(mut share: Share) -> Share {
    share.add(DOUBT);
    share
}

/// Half of what could still get worse.
fn worse(rate: u64) -> u64 {
    rate.midpoint(MILLION)
}

fn slow(times: &Times, class: u8) -> Share {
    Share { count: times.beyond(class), of: times.count() }
}

/// Takes in what one node has counted since its last report.
pub(crate) fn note(deployment: &mut Deployment, rules: &RollbackRules, news: &Measured, now: Millis) {
    if !matches!(deployment.phase, Phase::Stepping | Phase::Watching) {
        return;
    }
    let baseline = Baseline::of(deployment, rules);
    let (mut failing, mut times) = (Pair::default(), Pair::default());
    for (id, counts) in &news.releases {
        let (failing, times) = if *id == deployment.to {
            (&mut failing.new, &mut times.new)
        } else if Some(*id) == deployment.from {
            (&mut failing.old, &mut times.old)
        } else {
            continue;
        };
        failing.add(counts.failing());
        if let Some(class) = baseline.class {
            times.add(slow(&counts.times, class));
        }
    }
    let allowed = baseline.allowed(rules);
    deployment.evidence.settle(now, allowed);
    if failing != Pair::default() || times != Pair::default() {
        deployment.evidence.note(now, failing, times);
    }
}

/// What the evidence says now, all seconds that are known by then included.
pub(crate) fn finding(deployment: &Deployment, rules: &RollbackRules, now: Millis) -> Finding {
    let baseline = Baseline::of(deployment, rules);
    let mut evidence: Evidence = deployment.evidence.clone();
    evidence.settle(now, baseline.allowed(rules));
    let counts = deployment.counted.of(deployment.to);
    let whole = Finding {
        verdict: Verdict::Fine,
        new: counts.failing(),
        within: None,
        old: baseline.counts.failing(),
        limit: baseline.failing_limit(rules),
        needed: rules.min_requests,
        slower_than: None,
        kinds: [counts.errors, counts.refused, counts.reset],
        p95: [counts.times.within(950), baseline.counts.times.within(950)],
    };
    if counts.requests < rules.min_requests {
        return Finding { verdict: Verdict::TooFew, ..whole };
    }
    let of_score = |verdict, score: &Score| Finding {
        verdict,
        new: score.seen.new,
        within: Some(now.saturating_sub(score.since)),
        ..whole
    };
    if evidence.failing.is_breach(whole.limit) {
        return of_score(Verdict::Failing, &evidence.failing);
    }
    if evidence.slow.is_breach(baseline.slow_limit()) {
        return Finding {
            old: baseline.slow(),
            limit: baseline.slow_limit(),
            slower_than: baseline.class.map(bound),
            ..of_score(Verdict::Slow, &evidence.slow)
        };
    }
    let verdict = if whole.new.rate() > whole.limit { Verdict::Unsure } else { Verdict::Fine };
    Finding { verdict, ..whole }
}

fn bound(class: u8) -> Millis {
    CLASSES.get(usize::from(class)).or(CLASSES.last()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
