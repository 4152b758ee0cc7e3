//! Lines of a timeline, in the layout of the article "Zero-Downtime Deployments".

use jiff::Timestamp;
use jiff::tz::TimeZone;
use temps_wire::proto::Event;

use crate::screen::{Paint, Tone, escape};

/// `14:31:03  Old container draining (12 active connections)  i7 on n2`.
#[must_use]
pub(crate) fn line(event: &Event, zone: &TimeZone, paint: Paint) -> String {
    let time = paint.tone(Tone::Quiet, &clock(event.wall_ms, zone));
    let text = escape(&event.text);
    let text = match tone(&event.kind) {
        Some(tone) => paint.tone(tone, &text),
        None => text,
    };
    let mut line = format!("{time}  {text}");
    if !event.instance.is_empty() {
        line.push_str("  ");
        line.push_str(&paint.tone(Tone::Quiet, &place(event)));
    }
    line
}

/// `i7 on n2`.
pub(crate) fn place(event: &Event) -> String {
    format!("{} on {}", escape(&event.instance), escape(&event.node))
}

/// `14:31:03`, of Unix milliseconds.
pub(crate) fn clock(wall_ms: u64, zone: &TimeZone) -> String {
    match timestamp(wall_ms) {
        Some(at) => at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string(),
        None => "--:--:--".to_owned(),
    }
}

/// `2026-02-12 14:31:03`, of Unix milliseconds.
pub(crate) fn date(wall_ms: u64, zone: &TimeZone) -> String {
    match timestamp(wall_ms) {
        Some(at) => at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => "-".to_owned(),
    }
}

/// What the clock says now, in Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default()
}

/// A moment that a calendar has; anything else came from a damaged answer.
pub(crate) fn timestamp(wall_ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(wall_ms).ok()?).ok()
}

fn tone(kind: &str) -> Option<Tone> {
    match kind {
        "crashed" | "reverting" => Some(Tone::Bad),
        "unhealthy" | "drain_timed_out" | "node_lost" => Some(Tone::Warn),
        "ended" => Some(Tone::Strong),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use temps_core::model::{InstanceId, NodeId, Phase, What};
    use temps_wire::proto::Event;

    use super::{clock, line};
    use crate::screen::Paint;

    /// An event as a node sends it, at a time of 12 February 2026.
    fn event(time: &str, what: &What) -> Event {
        let at: jiff::Timestamp = format!("2026-02-12T{time}Z").parse().unwrap();
        let place = what.instance();
        Event {
            wall_ms: u64::try_from(at.as_millisecond()).unwrap(),
            text: what.line(),
            instance: place.map_or(String::new(), |(instance, _)| instance.to_string()),
            node: place.map_or(String::new(), |(_, node)| node.to_string()),
            ..Event::default()
        }
    }

    #[test]
    fn the_timeline_of_the_article() {
        let (old, new, node) = (InstanceId(3), InstanceId(7), NodeId(2));
        let events = [
            ("14:30:48", What::Starting { instance: new, node }),
            ("14:31:02", What::Healthy { instance: new, node, attempts: 3 }),
            ("14:31:03", What::Admitted { instance: new, node }),
            ("14:31:03", What::Draining { instance: old, node, in_flight: 12, new: false }),
            ("14:31:18", What::Drained { instance: old, node }),
            ("14:31:18", What::Removed { instance: old, node, killed: false, new: false }),
            ("14:31:18", What::Ended { phase: Phase::Succeeded, errors: Some(0) }),
        ];
        let lines: Vec<String> =
            events.iter().map(|(time, what)| line(&event(time, what), &TimeZone::UTC, Paint::Off)).collect();
        assert_eq!(
            lines.join("\n"),
            "\
14:30:48  New container starting  i7 on n2
14:31:02  Health check passed (attempt 3)  i7 on n2
14:31:03  Traffic shifting to new container  i7 on n2
14:31:03  Old container draining (12 active connections)  i3 on n2
14:31:18  All connections drained  i3 on n2
14:31:18  Old container removed  i3 on n2
14:31:18  Deployment complete. Zero errors."
        );
    }

    #[test]
    fn times_are_those_of_the_zone_and_damaged_ones_harm_nobody() {
        let what = What::Drained { instance: InstanceId(1), node: NodeId(1) };
        let berlin = TimeZone::fixed(jiff::tz::offset(1));
        assert!(line(&event("23:30:00", &what), &berlin, Paint::Off).starts_with("00:30:00  All"));
        assert_eq!(clock(u64::MAX, &TimeZone::UTC), "--:--:--");
    }

    #[test]
    fn hostile_text_is_inert() {
        let hostile = Event {
            text: "Health check failing (\x1b[2J\n14:00:00  Deployment complete.)".to_owned(),
            instance: "i1\x07".to_owned(),
            node: "n\u{202e}1".to_owned(),
            ..Event::default()
        };
        assert_eq!(
            line(&hostile, &TimeZone::UTC, Paint::Off),
            "00:00:00  Health check failing (\\x1b[2J\\n14:00:00  Deployment complete.)  i1\\x07 on n\\u{202e}1"
        );
    }
}
