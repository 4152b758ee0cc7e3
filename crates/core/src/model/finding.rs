//! What was found about a release by its requests, with the numbers that it was found by.

use serde::{Deserialize, Serialize};

use super::evidence::{MILLION, Share};
use super::id::Millis;
use crate::text;

/// What the numbers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Too few requests to say anything.
    TooFew,
    /// No more failures than allowed.
    Fine,
    /// More than allowed, but only for a moment, or while the release before did no better.
    Unsure,
    /// More requests fail than allowed.
    Failing,
    /// More answers take too long than allowed.
    Slow,
}

/// What was found about a release by its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What the numbers say.
    pub verdict: Verdict,
    /// The new release: failed requests, or slow answers.
    pub new: Share,
    /// In how much time, where that is less than since it began.
    pub within: Option<Millis>,
    /// The same of the release before, until the deployment began and since then.
    pub old: Share,
    /// The limit, in millionths.
    pub limit: u64,
    /// How many requests are needed to say anything.
    pub needed: u64,
    /// What an answer had to exceed to be slow.
    pub slower_than: Option<Millis>,
    /// Of the failed ones: answered 5xx, connections refused, answers broken off; since it began.
    pub kinds: [u64; 3],
    /// Within what time 95 of 100 answers began, of the new release and of the one before.
    pub p95: [Option<Millis>; 2],
}

impl Finding {
    /// One sentence for a person, without a full stop.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Share { count, of } = self.new;
        let within = self.within.map(|time| format!(" within {}", text::duration(time))).unwrap_or_default();
        let limit = percent(self.limit);
        match self.verdict {
            Verdict::TooFew if of == 0 => {
                "No requests to judge the new release by: health checks decided".to_owned()
            }
            Verdict::TooFew => format!(
                "Only {of} of the {} requests needed to judge the new release, {count} of them failed: health checks decided",
                self.needed
            ),
            Verdict::Fine => {
                let [new, old] = self.p95.map(|time| time.map(text::duration));
                let old = old.map(|old| format!(", before {old}")).unwrap_or_default();
                let times = new.map(|new| format!("; 95% of answers within {new}{old}")).unwrap_or_default();
                format!(
                    "Error rate {} ({count} of {of} requests), before {}: within the limit of {limit}{times}",
                    percent(self.new.rate()),
                    self.before()
                )
            }
            Verdict::Unsure => format!(
                "Error rate {} ({count} of {of} requests), before {}: above the limit of {limit}, but only for a moment or as before it at the same time",
                percent(self.new.rate()),
                self.before()
            ),
            Verdict::Failing => {
                let [errors, refused, reset] = self.kinds;
                format!(
                    "error rate {} ({count} of {of} requests{within}), before {}, the limit is {limit}; in all {errors} were answered 5xx, {refused} refused, {reset} broken off",
                    percent(self.new.rate()),
                    self.before()
                )
            }
            Verdict::Slow => {
                let slower = text::duration(self.slower_than.unwrap_or_default());
                format!(
                    "{} of answers took longer than {slower} ({count} of {of}{within}), before {}, the limit is {limit}",
                    percent(self.new.rate()),
                    self.before()
                )
            }
        }
    }

    fn before(&self) -> String {
        match self.old {
            Share { of: 0, .. } => "none is known".to_owned(),
            old => format!("{} ({} of {})", percent(old.rate()), old.count, old.of),
        }
    }
}

/// `5%`, `0.3%`, `<0.1%`, of millionths.
#[must_use]
pub fn percent(millionths: u64) -> String {
    let tenths = millionths.saturating_mul(1_000) / MILLION;
    match (millionths, tenths) {
        (1.., 0) => "<0.1%".to_owned(),
        _ if tenths.is_multiple_of(10) => format!("{}%", tenths / 10),
        _ => format!("{}.{}%", tenths / 10, tenths % 10),
    }
}
