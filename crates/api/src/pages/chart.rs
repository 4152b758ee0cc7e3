//! What was counted over time, as lines. What is not known is a gap.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use temps_core::text;
use temps_wire::proto::{GetHistoryResponse, HistoryMarker, HistoryPoint, HistoryTraffic, ReleaseMetrics};
use temps_wire::told::failed_in_all;

const WIDTH: u64 = 880;
const HEIGHT: u64 = 150;
/// Room above the highest point, for the numbers of deployments.
const HEAD: u64 = 30;
/// A letter's width: the drawing is shown smaller than it is, so its letters are large.
const LETTER: u64 = 14;
/// Parts of the time in the table, and of what deployments did in one of them so much is told.
const PARTS: u64 = 12;
const TOLD: usize = 6;
/// What is said of a time of which nothing is recorded.
const UNKNOWN: &str = "nothing is known";
/// Values are drawn in thousandths, so that few requests in a long time are no straight line.
const SCALE: u64 = 1_000;

/// The drawing: paths of SVG, in units of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chart {
    pub(super) name: &'static str,
    pub(super) lines: Vec<Line>,
    /// What deployments did, and where.
    pub(super) marks: Vec<(u64, String)>,
    /// The numbers of these deployments, where there is room for them.
    pub(super) labels: Vec<(u64, String)>,
    /// The highest value, for people.
    pub(super) top: String,
    /// The same for whoever does not see it.
    pub(super) told: String,
    /// The same in numbers, by parts of the time.
    pub(super) parts: Vec<Part>,
    pub(super) width: u64,
    pub(super) height: u64,
}

/// A part of the time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) at_ms: u64,
    /// The most of each line; `–` where it is not known.
    pub(super) most: Vec<String>,
    /// What deployments did, with their numbers.
    pub(super) did: Vec<(u64, String)>,
    /// What they did beside that.
    pub(super) more: usize,
}

/// A line of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) name: String,
    /// How it looks: one of the classes of the sheet.
    pub(super) class: &'static str,
    pub(super) path: String,
}

/// What is known of a line: moments, and values in thousandths.
struct Series {
    name: String,
    class: &'static str,
    values: Vec<(u64, u64)>,
}

impl Series {
    /// The highest value of some moments.
    fn most(&self, within: impl Fn(u64) -> bool) -> Option<u64> {
        self.values.iter().filter(|(at, _)| within(*at)).map(|(_, value)| *value).max()
    }
}

/// What a chart counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    EachSecond,
    Milliseconds,
    AtOnce,
}

impl Unit {
    /// A value in thousandths, for people.
    fn told(self, value: u64) -> String {
        match self {
            Self::EachSecond => match (value / SCALE, value % SCALE / 100) {
                (0, 0) if value > 0 => "<0.1/s".to_owned(),
                (whole, 0) => format!("{whole}/s"),
                (whole, tenths) => format!("{whole}.{tenths}/s"),
            },
            Self::Milliseconds => text::duration(value / SCALE),
            Self::AtOnce => (value / SCALE).to_string(),
        }
    }
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
        let series = |(name, class, value): (String, &'static str, Value<'_>)| {
            let known = history.points.iter().filter_map(|point| Some((point.at_ms, value(point)?)));
            Series { name, class, values: known.collect() }
        };
        let lines: Vec<_> = lines.into_iter().map(series).collect();
        let known = lines.iter().filter_map(|series| series.most(|_| true)).max();
        let most = known.unwrap_or(0).max(SCALE);
        let y = |value: u64| {
            let part = u128::from(value.min(most)) * u128::from(HEIGHT - HEAD) / u128::from(most);
            HEIGHT - u64::try_from(part).unwrap_or_default()
        };
        let line = |Series { name, class, values }: Series| {
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
        let shown: Vec<_> = history.markers.iter().filter(|mark| mark.at_ms >= begin).collect();
        let marks = shown.iter().map(|mark| (x(mark.at_ms), format!("#{} {}", mark.deployment, mark.text)));
        let top = known.map_or_else(|| UNKNOWN.to_owned(), |known| format!("at most {}", unit.told(known)));
        let of_series = |series: &Series| {
            let (most, (_, last)) = (series.most(|_| true)?, series.values.last()?);
            Some(format!("{} at most {}, in the end {}", series.name, unit.told(most), unit.told(*last)))
        };
        let told: Vec<_> = lines.iter().filter_map(of_series).collect();
        let told = if told.is_empty() { UNKNOWN.to_owned() } else { told.join("; ") };
        Self {
            name,
            marks: marks.collect(),
            labels: labels(shown.iter().map(|mark| (x(mark.at_ms), mark.deployment))),
            top,
            told: format!("{name}: {told}"),
            parts: parts(&lines, unit, &shown, (begin, end)),
            lines: lines.into_iter().map(line).collect(),
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
                    ("failed".to_owned(), "failed", traffic(failed_in_all)),
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

/// The number of each deployment at the first thing it did, where the one before leaves room.
fn labels(marks: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, String)> {
    let (mut seen, mut room, mut labels) = (BTreeSet::new(), 0, Vec::new());
    for (x, deployment) in marks {
        let label = format!("#{deployment}");
        let wide = label.len() as u64 * LETTER;
        let begins = (x + 4).min(WIDTH.saturating_sub(wide));
        if begins >= room && seen.insert(deployment) {
            room = begins + wide + LETTER;
            labels.push((begins, label));
        }
    }
    labels
}

/// What is known, by parts of the time.
fn parts(lines: &[Series], unit: Unit, marks: &[&HistoryMarker], (begin, end): (u64, u64)) -> Vec<Part> {
    let step = (end - begin).div_ceil(PARTS).max(1);
    let part = |n: u64| {
        let at_ms = begin + n * step;
        let within = |at: u64| at >= at_ms && (at - at_ms < step || n + 1 == PARTS);
        let most: Vec<_> = lines.iter().map(|series| series.most(within)).collect();
        let did: Vec<_> = marks.iter().filter(|mark| within(mark.at_ms)).collect();
        let is_known = most.iter().any(Option::is_some) || !did.is_empty();
        is_known.then(|| Part {
            at_ms,
            most: most
                .into_iter()
                .map(|value| value.map_or_else(|| "–".to_owned(), |value| unit.told(value)))
                .collect(),
            more: did.len().saturating_sub(TOLD),
            did: did.iter().take(TOLD).map(|mark| (mark.deployment, mark.text.clone())).collect(),
        })
    };
    (0..PARTS).filter_map(part).collect()
}

fn of_release(point: &HistoryPoint, id: u64) -> Option<&ReleaseMetrics> {
    point.releases.iter().find(|r| r.release == id)
}

fn each_second(n: u64, point: &HistoryPoint) -> u64 {
    n.saturating_mul(SCALE) / point.seconds.max(1)
}

#[cfg(test)]
mod tests {
    use temps_wire::proto::{
        GetHistoryResponse, HistoryInFlight, HistoryMarker, HistoryPoint, HistoryTraffic, ReleaseMetrics,
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
        assert_eq!(charts[0].lines[0].path, "M0 30h1L110 90M660 30h1");
        assert_eq!(
            (charts[0].top.as_str(), charts[0].lines[1].path.matches('M').count()),
            ("at most 10/s", 2)
        );
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
        assert_eq!((chart.name, chart.top.as_str()), ("In flight at once", "at most 12"));
        assert_eq!(chart.lines[0].path, "M0 30h1L110 90L220 150");
    }

    #[test]
    fn whoever_does_not_see_it_is_told_the_same() {
        let mut history = history(vec![point(0, 10), point(1_000, 0), point(6_000, 3)]);
        let mark = |at_ms, deployment, text: &str| HistoryMarker {
            at_ms,
            deployment,
            text: text.to_owned(),
            ..HistoryMarker::default()
        };
        history.markers = vec![
            mark(900, 12, "Begun"),
            mark(1_000, 12, "Half"),
            mark(1_100, 13, "Begun"),
            mark(5_000, 12, "Done"),
            mark(8_004, 14, "Late"),
        ];
        history.to_ms = 8_004;
        let chart = &Chart::of_environment(&history)[0];
        assert_eq!(
            chart.told,
            "Requests a second: requests at most 10/s, in the end 3/s; failed at most 0/s, in the end 0/s"
        );
        let labels: Vec<_> = chart.labels.iter().map(|(x, label)| (*x, label.as_str())).collect();
        assert_eq!(labels, [(102, "#12"), (838, "#14")], "once each, apart and inside");
        let rows: Vec<_> = chart.parts.iter().map(|part| (part.at_ms, part.most.join(" "))).collect();
        let row = |at_ms, most: &str| (at_ms, most.to_owned());
        let unknown = |at_ms| row(at_ms, "– –");
        assert_eq!(rows[..3], [row(0, "10/s 0/s"), row(667, "0/s 0/s"), unknown(4_669)]);
        assert_eq!(rows[3..], [row(5_336, "3/s 0/s"), unknown(7_337)]);
        let did: Vec<_> = chart.parts[1].did.iter().map(|(n, text)| (*n, text.as_str())).collect();
        assert_eq!(did, [(12, "Begun"), (12, "Half"), (13, "Begun")]);
        assert_eq!(
            Chart::of_environment(&GetHistoryResponse::default())[1].told.split(": ").nth(1),
            Some("nothing is known")
        );
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
        assert_eq!(lines, [("r1", "old", "M0 30h1L110 90"), ("r2", "new", "M110 90h1")]);
    }
}
