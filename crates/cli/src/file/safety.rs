//! When a deployment is taken back, and which releases may run beside each other: `[rollback]` and `[schema]`.

use temps_core::model::{RollbackRules, Schema};
use toml::Spanned;

use super::found::{Found, millis};
use super::raw;

pub(super) fn rollback(raw: &raw::Rollback, found: &mut Found) -> RollbackRules {
    let default = RollbackRules::default();
    let factor = raw.error_rate_factor.as_ref();
    if let Some(factor) = factor.filter(|factor| *factor.get_ref() < 2) {
        found.at(factor.span(), "error_rate_factor must be at least 2");
    }
    RollbackRules {
        watch: millis(&raw.watch, default.watch),
        crash_limit: found.at_least_one("crash_limit", &raw.crash_limit, default.crash_limit),
        keep: found.at_least_one("keep", &raw.keep, default.keep),
        error_rate_factor: factor.map_or(default.error_rate_factor, |factor| *factor.get_ref()),
        error_rate_floor: raw.error_rate_floor.as_ref().map_or(default.error_rate_floor, |p| p.get_ref().0),
        latency_floor: millis(&raw.latency_floor, default.latency_floor),
        min_requests: raw.min_requests.as_ref().map_or(default.min_requests, |n| u64::from(*n.get_ref())),
        warm: raw.warm.as_ref().map_or(default.warm, |warm| *warm.get_ref()),
    }
}

pub(super) fn schema(raw: &Spanned<raw::Schema>, found: &mut Found) -> Option<Schema> {
    let raw::Schema { provides, requires } = raw.get_ref();
    let Some(provides) = provides else {
        let help = "write the version of the database's schema after this release's migrations, such as `provides = 12`";
        found.with_help(raw.span(), "[schema] needs `provides`", help);
        return None;
    };
    let version = *provides.get_ref();
    let Some(requires) = requires else {
        return Some(Schema { provides: version, from: version, to: version });
    };
    let Some((from, to)) = range(requires.get_ref()) else {
        let message = format!("\"{}\" is not a range of versions", requires.get_ref());
        found.with_help(
            requires.span(),
            message,
            "write for example `requires = \"11..12\"`: runs with 11 and with 12",
        );
        return None;
    };
    if !(from..=to).contains(&version) {
        let message = format!("the release would not run with the schema {version} that it provides itself");
        found.with_help(requires.span(), message, format!("`requires` must include {version}"));
    }
    Some(Schema { provides: version, from, to })
}

/// `11..12`, both included, or `12`.
fn range(text: &str) -> Option<(u64, u64)> {
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
    (from <= to).then_some((from, to))
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_include_both_ends() {
        for (text, expected) in [
            ("11..12", Some((11, 12))),
            ("7", Some((7, 7))),
            ("12..11", None),
            ("..", None),
            ("1..x", None),
            ("", None),
        ] {
            assert_eq!(range(text), expected, "{text}");
        }
    }
}
