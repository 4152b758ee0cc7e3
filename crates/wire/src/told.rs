//! How people are told what the API answers: the command line and the dashboard say the same.
//!
//! What somebody wrote is in these texts as it was written; whoever shows them escapes it.

use temps_core::access::{self, Standing};
use temps_core::model::Share;
use temps_core::text::duration;
use time::OffsetDateTime;

use crate::proto::notification::Told;
use crate::proto::{
    Certificate, Domain, Grant, HistoryTraffic, Instance, Notification, Person, Reached, ReleaseMetrics,
    VerifyDomainResponse,
};

/// What is allowed; nothing where nothing is.
#[must_use]
pub fn grant(grant: Option<&Grant>) -> String {
    grant.map(|grant| access::grant(&grant.role, &grant.projects)).unwrap_or_default()
}

/// What keeps somebody from signing in, where something does.
#[must_use]
pub fn standing(person: &Person) -> Standing {
    match person.disabled {
        true => Standing::Disabled,
        false => Standing::of(person.code_expires_in_ms, person.has_password),
    }
}

/// How an instance ended, or else what its last health check brought.
#[must_use]
pub fn last(instance: &Instance) -> &str {
    if instance.exit.is_empty() { &instance.last_check } else { &instance.exit }
}

/// Requests of a release that failed, whatever failed them, of all that it got.
#[must_use]
pub fn failed(r: &ReleaseMetrics) -> Share {
    Share { count: r.app_errors.saturating_add(r.refused).saturating_add(r.reset), of: r.requests }
}

/// Requests that failed, whatever failed them: those of releases, and those that reached none.
#[must_use]
pub fn failed_in_all(t: &HistoryTraffic) -> u64 {
    [t.app_errors, t.refused, t.reset, t.cut, t.shed].iter().fold(0, |sum, n| sum.saturating_add(*n))
}

/// Where an environment has a name from.
#[must_use]
pub fn origin(domain: &Domain) -> &str {
    match domain.origin.as_str() {
        "release" => "temps.toml",
        "default" => "every environment has one",
        other => other,
    }
}

/// How it stands with the certificate of a name; nothing where there is none and none is ordered. `ordered`: whether
/// the cluster orders certificates.
#[must_use]
pub fn certificate(domain: &Domain, ordered: bool) -> Option<String> {
    let order = domain.order.as_ref();
    let failed = order.filter(|order| !order.failure.is_empty()).map(|order| {
        let again = order.retry_ms.map_or_else(String::new, |at| format!(", again at {}", moment(at)));
        format!("failed: {}{again}", order.failure)
    });
    let until = |c: &Certificate| format!("{}, until {}", c.issuer, day(c.not_after_ms));
    match (&domain.certificate, failed) {
        (Some(c), Some(failed)) if c.origin == "acme" => Some(format!("{} (renewal {failed})", until(c))),
        (Some(c), _) if c.origin == "uploaded" => Some(format!("{} (yours)", until(c))),
        (Some(c), _) => Some(until(c)),
        (None, Some(failed)) => Some(failed),
        (None, None) if !domain.certifiable => Some("none can be ordered for such a name".to_owned()),
        (None, None) if order.is_some() || ordered => Some("being ordered".to_owned()),
        (None, None) => None,
    }
}

/// Whether a name leads here: it has an address, and a node of the cluster answers at each.
#[must_use]
pub fn leads_here(answer: &VerifyDomainResponse) -> bool {
    !answer.reached.is_empty() && answer.reached.iter().all(|reached| reached.here)
}

/// What answered at an address.
#[must_use]
pub fn found(reached: &Reached) -> &str {
    if reached.here { "a node of this cluster" } else { &reached.problem }
}

/// Of what somebody is told: `rolled_back, failed of shop`.
#[must_use]
pub fn about(n: &Notification) -> String {
    let topics = if n.topics.is_empty() { "everything".to_owned() } else { n.topics.join(", ") };
    if n.projects.is_empty() { topics } else { format!("{topics} of {}", n.projects.join(", ")) }
}

/// Whether what somebody is told arrives.
#[must_use]
pub fn arrives(n: &Notification) -> String {
    let mut parts = Vec::new();
    match &n.last_failure {
        Some(failure) if n.failing > 0 => parts.push(format!("failing: {}", failure.why)),
        Some(_) | None => {}
    }
    match (&n.last_sent, n.sent) {
        (Some(Told { wall_ms, .. }), sent) => {
            parts.push(format!("{sent} sent, the last at {}", moment(*wall_ms)));
        }
        (None, _) if parts.is_empty() && n.pending == 0 => parts.push("nothing sent yet".to_owned()),
        (None, _) => {}
    }
    match (n.pending, n.retry_in_ms) {
        (0, _) => {}
        (waiting, Some(millis)) => parts.push(format!("{waiting} waiting, again in {}", duration(millis))),
        (waiting, None) => parts.push(format!("{waiting} waiting")),
    }
    for (count, word) in [(n.given_up, "given up"), (n.dropped, "dropped")] {
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    parts.join("; ")
}

/// A moment by UTC: `2027-01-15T08:00:00Z`.
fn moment(wall_ms: u64) -> String {
    let Some(at) = calendar(wall_ms) else { return "?".to_owned() };
    format!("{}T{:02}:{:02}:{:02}Z", date(at), at.hour(), at.minute(), at.second())
}

fn day(wall_ms: u64) -> String {
    calendar(wall_ms).map_or_else(|| "?".to_owned(), date)
}

fn date(at: OffsetDateTime) -> String {
    format!("{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day())
}

/// Nothing where no calendar has such a moment: that is from a damaged answer.
fn calendar(wall_ms: u64) -> Option<OffsetDateTime> {
    let seconds = i64::try_from(wall_ms / 1_000).ok()?;
    OffsetDateTime::from_unix_timestamp(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::{about, arrives, certificate, leads_here};
    use crate::proto::notification::Told;
    use crate::proto::{Certificate, CertificateOrder, Domain, Notification, Reached, VerifyDomainResponse};

    #[test]
    fn a_certificate_is_told_as_it_stands() {
        let plain = Domain { certifiable: true, ..Domain::default() };
        let ordered = |failure: &str| CertificateOrder {
            attempts: 1,
            failure: failure.to_owned(),
            retry_ms: (!failure.is_empty()).then_some(1_800_000_000_000),
        };
        let of = |origin: &str| Certificate {
            issuer: "Let's Encrypt R11".to_owned(),
            origin: origin.to_owned(),
            not_after_ms: 1_800_000_000_000,
            ..Certificate::default()
        };
        let with = |certificate: Option<Certificate>, order: Option<CertificateOrder>| Domain {
            certificate,
            order,
            ..plain.clone()
        };
        for (domain, acme, told) in [
            (plain.clone(), false, None),
            (plain.clone(), true, Some("being ordered")),
            (Domain::default(), true, Some("none can be ordered for such a name")),
            (with(None, Some(ordered(""))), true, Some("being ordered")),
            (with(None, Some(ordered("no A"))), true, Some("failed: no A, again at 2027-01-15T08:00:00Z")),
            (with(Some(of("acme")), None), true, Some("Let's Encrypt R11, until 2027-01-15")),
            (with(Some(of("uploaded")), None), true, Some("Let's Encrypt R11, until 2027-01-15 (yours)")),
            (
                with(Some(of("acme")), Some(ordered("no A"))),
                true,
                Some(
                    "Let's Encrypt R11, until 2027-01-15 (renewal failed: no A, again at 2027-01-15T08:00:00Z)",
                ),
            ),
        ] {
            assert_eq!(certificate(&domain, acme).as_deref(), told);
        }
    }

    #[test]
    fn a_name_leads_here_where_all_of_its_addresses_do_and_it_has_some() {
        let reached = |here| Reached { here, ..Reached::default() };
        for (reached, leads) in
            [(vec![], false), (vec![reached(true)], true), (vec![reached(true), reached(false)], false)]
        {
            let answer = VerifyDomainResponse { reached, ..VerifyDomainResponse::default() };
            assert_eq!(leads_here(&answer), leads);
        }
    }

    #[test]
    fn what_arrives_is_told_as_it_stands() {
        let told = |why: &str| {
            let title = "Node n2 lost.".to_owned();
            Some(Told { wall_ms: 1_800_000_000_000, title, why: why.to_owned() })
        };
        let plain = Notification::default();
        for (notification, said) in [
            (plain.clone(), "nothing sent yet"),
            (Notification { pending: 2, ..plain.clone() }, "2 waiting"),
            (
                Notification { sent: 3, last_sent: told(""), ..plain.clone() },
                "3 sent, the last at 2027-01-15T08:00:00Z",
            ),
            // What failed once and went well since is no news.
            (
                Notification {
                    sent: 3,
                    last_sent: told(""),
                    last_failure: told("x"),
                    dropped: 1,
                    ..plain.clone()
                },
                "3 sent, the last at 2027-01-15T08:00:00Z; 1 dropped",
            ),
            (
                Notification {
                    failing: 2,
                    pending: 5,
                    retry_in_ms: Some(12_000),
                    last_failure: told("it answered 404"),
                    given_up: 4,
                    ..plain.clone()
                },
                "failing: it answered 404; 5 waiting, again in 12s; 4 given up",
            ),
        ] {
            assert_eq!(arrives(&notification), said);
        }
        assert_eq!(about(&plain), "everything");
        let (topics, projects) = (vec!["failed".to_owned()], vec!["shop".to_owned(), "blog".to_owned()]);
        assert_eq!(about(&Notification { topics, projects, ..plain }), "failed of shop, blog");
    }
}
