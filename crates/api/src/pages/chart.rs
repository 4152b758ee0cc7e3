//! What was counted over time, as lines. What is not known is a gap.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use temps_core::text;
use temps_wire::proto::{GetHistoryResponse, HistoryPoint, HistoryTraffic, ReleaseMetrics};

const WIDTH: u64 = 880;
const HEIGHT: u64 = 130;
/// Room above the highest point.
const HEAD: u64 = 10;
/// Values are drawn in thousandths, so that few requests in a long time are no straight line.
const SCALE: u64 = 1_000;

/// The drawing: paths of SVG, in units of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chart {
    pub(super) name: &'static str,
    pub(super) lines: Vec<Line>,
    /// What deployments did, and where.
    pub(super) marks: Vec<(u64, String)>,
    /// The value at the top, for people.
    pub(super) top: String,
    pub(super) width: u64,
    pub(super) height: u64,
}

/// A line of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) name: String,
    /// How it looks: one of the classes of the sheet.
    pub(super) class: &'static str,
    pub(super) path: String,
}

/// What a chart counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    EachSecond,
    Milliseconds,
    AtOnce,
}

/// A value of a line at a point, in thousandths; nothing where it is not known.
type Value<'a> = Box<dyn Fn(&HistoryPoint) -> Option<u64> + 'a>;

impl Chart {
    fn new(
        history: &GetHistoryResponse,
        name: &'static str,
        unit: Unit,
        lines: Vec<(String, &'static str, Value<'_>)>,
    ) -> Self {
        // Nothing is drawn of the time before anything was known.
        let begin = history.points.first().map_or(history.from_ms, |point| point.at_ms.max(history.from_ms));
        let end = history.to_ms.max(begin + 1);
        let x = |at: u64| (at.clamp(begin, end) - begin) * WIDTH / (end - begin);
        let values = |value: &Value<'_>| {
            let known = history.points.iter().filter_map(|point| Some((point.at_ms, value(point)?)));
            known.collect::<Vec<_>>()
        };
        let lines: Vec<_> =
            lines.into_iter().map(|(name, class, value)| (name, class, values(&value))).collect();
        let most = lines
            .iter()
            .flat_map(|(_, _, values)| values)
            .map(|(_, value)| *value)
            .max()
            .unwrap_or(0)
            .max(SCALE);
        let y = |value: u64| {
            let part = u128::from(value.min(most)) * u128::from(HEIGHT - HEAD) / u128::from(most);
            HEIGHT - u64::try_from(part).unwrap_or_default()
        };
        let line = |(name, class, values): (String, &'static str, Vec<(u64, u64)>)| {
            let (mut path, mut last) = (String::new(), None);
            for (at, value) in values {
                let goes_on =
                    last.is_some_and(|last: u64| at.saturating_sub(last) <= history.step_ms * 3 / 2);
                // Writing to a text cannot fail.
                let _ = write!(path, "{}{} {}", if goes_on { 'L' } else { 'M' }, x(at), y(value));
                if !goes_on {
                    // A single point is seen, too.
                    let _ = write!(path, "h1");
                }
                last = Some(at);
            }
            Line { name, class, path }
        };
        let shown = history.markers.iter().filter(|mark| mark.at_ms >= begin);
        let marks = shown.map(|mark| (x(mark.at_ms), format!("#{} {}", mark.deployment, mark.text)));
        let top = match unit {
            Unit::EachSecond => format!("{}/s", most.div_ceil(SCALE)),
            Unit::Milliseconds => text::duration(most / SCALE),
            Unit::AtOnce => (most / SCALE).to_string(),
        };
        Self {
            name,
            lines: lines.into_iter().map(line).collect(),
            marks: marks.collect(),
            top,
            width: WIDTH,
            height: HEIGHT,
        }
    }

    /// Of one environment, whatever its release.
    pub(super) fn of_environment(history: &GetHistoryResponse) -> Vec<Self> {
        let traffic = |count: fn(&HistoryTraffic) -> u64| -> Value<'_> {
            Box::new(move |point| Some(each_second(count(point.traffic.as_ref()?), point)))
        };
        let slow: Value<'_> = Box::new(|point| {
            point.releases.iter().filter_map(|r| r.p95_ms).max().map(|ms| ms.saturating_mul(SCALE))
        });
        vec![
            Self::new(
                history,
                "Requests a second",
                Unit::EachSecond,
                vec![
                    ("requests".to_owned(), "new", traffic(|t| t.requests)),
                    ("failed".to_owned(), "failed", traffic(failed)),
                ],
            ),
            Self::new(
                history,
                "Within what time 95 of 100 answers began",
                Unit::Milliseconds,
                vec![("p95".to_owned(), "new", slow)],
            ),
        ]
    }

    /// Of one deployment, by release: what it brought, and what was there before.
    pub(super) fn of_deployment(
        history: &GetHistoryResponse,
        release: u64,
        before: Option<u64>,
    ) -> Vec<Self> {
        let mut ids: BTreeSet<u64> = history.releases.iter().map(|r| r.release).collect();
        ids.extend(history.points.iter().flat_map(|point| &point.in_flight).map(|of| of.release));
        let all = |name, unit, value: fn(&HistoryPoint, u64) -> Option<u64>| {
            let line = |id: &u64| {
                let id = *id;
                let class = match id {
                    id if id == release => "new",
                    id if before == Some(id) => "old",
                    _ => "other",
                };
                let value: Value<'_> = Box::new(move |point: &HistoryPoint| value(point, id));
                (format!("r{id}"), class, value)
            };
            Self::new(history, name, unit, ids.iter().map(line).collect())
        };
        vec![
            all("Requests a second", Unit::EachSecond, |point, id| {
                of_release(point, id).map(|r| each_second(r.requests, point))
            }),
            all("In flight at once", Unit::AtOnce, |point, id| {
                point.in_flight.iter().find(|of| of.release == id).map(|of| of.most.saturating_mul(SCALE))
            }),
            all("Failed a second", Unit::EachSecond, |point, id| {
                of_release(point, id).map(|r| {
                    each_second(r.app_errors.saturating_add(r.refused).saturating_add(r.reset), point)
                })
            }),
            all("Within what time 95 of 100 answers began", Unit::Milliseconds, |point, id| {
                of_release(point, id)?.p95_ms.map(|ms| ms.saturating_mul(SCALE))
            }),
        ]
    }
}

fn of_release(point: &HistoryPoint, id: u64) -> Option<&ReleaseMetrics> {
    point.releases.iter().find(|r| r.release == id)
}

fn each_second(n: u64, point: &HistoryPoint) -> u64 {
    n.saturating_mul(SCALE) / point.seconds.max(1)
}

/// What clients did not get as they should.
pub(super) fn failed(t: &HistoryTraffic) -> u64 {
    [t.app_errors, t.refused, t.reset, t.cut, t.shed].iter().fold(0, |sum, n| sum.saturating_add(*n))
}

#[cfg(test)]
mod tests {
    use temps_wire::proto::{
        GetHistoryResponse, HistoryInFlight, HistoryPoint, HistoryTraffic, ReleaseMetrics,
    };

    use super::Chart;

    fn point(at_ms: u64, requests: u64) -> HistoryPoint {
        HistoryPoint {
            at_ms,
            seconds: 1,
            traffic: Some(HistoryTraffic { requests, ..HistoryTraffic::default() }),
            ..HistoryPoint::default()
        }
    }

    fn history(points: Vec<HistoryPoint>) -> GetHistoryResponse {
        GetHistoryResponse {
            from_ms: 0,
            to_ms: 8_000,
            step_ms: 1_000,
            points,
            ..GetHistoryResponse::default()
        }
    }

    #[test]
    fn what_is_not_known_is_a_gap() {
        let charts = Chart::of_environment(&history(vec![point(0, 10), point(1_000, 5), point(6_000, 10)]));
        assert_eq!(charts[0].lines[0].path, "M0 10h1L110 70M660 10h1");
        assert_eq!((charts[0].top.as_str(), charts[0].lines[1].path.matches('M').count()), ("10/s", 2));
        assert_eq!(Chart::of_environment(&GetHistoryResponse::default())[0].lines[0].path, "");
    }

    #[test]
    fn a_drain_is_a_line_down_to_nothing() {
        let at = |at_ms, most| HistoryPoint {
            in_flight: vec![HistoryInFlight { release: 1, most }],
            ..point(at_ms, 0)
        };
        let history = history(vec![at(0, 12), at(1_000, 6), at(2_000, 0)]);
        let chart = &Chart::of_deployment(&history, 2, Some(1))[1];
        assert_eq!((chart.name, chart.top.as_str()), ("In flight at once", "12"));
        assert_eq!(chart.lines[0].path, "M0 10h1L110 70L220 130");
    }

    #[test]
    fn each_release_has_its_line() {
        let of = |release, requests| ReleaseMetrics { release, requests, ..ReleaseMetrics::default() };
        let at = |at_ms, releases| HistoryPoint { releases, ..point(at_ms, 0) };
        let mut history = history(vec![at(0, vec![of(1, 4)]), at(1_000, vec![of(1, 2), of(2, 2)])]);
        history.releases = vec![of(1, 6), of(2, 2)];
        let charts = Chart::of_deployment(&history, 2, Some(1));
        let lines: Vec<_> =
            charts[0].lines.iter().map(|line| (line.name.as_str(), line.class, line.path.as_str())).collect();
        assert_eq!(lines, [("r1", "old", "M0 10h1L110 70"), ("r2", "new", "M110 70h1")]);
    }
}
