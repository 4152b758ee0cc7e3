//! `temps metrics`: what clients got and releases did over time.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use temps_core::text;
use temps_wire::proto::{
    GetHistoryRequest, GetHistoryResponse, HistoryInFlight, HistoryMarker, HistoryOfNode, HistoryPoint,
    HistoryTraffic,
};
use temps_wire::told::{failed, failed_in_all};

use super::{Desk, duration, metrics};
use crate::exit::{Code, Failure};
use crate::json::time;
use crate::screen::{Look, Table, Tone, escape};
use crate::settings::Target;
use crate::timeline;

/// Arguments of `metrics`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Seconds are kept for two hours, ten seconds for a day, five minutes for 30 days. IN FLIGHT is the \
    most at one moment, 0 where a release had instances and nothing to do: with --step 1s it shows how one drains while \
    another takes over. Percentiles are upper bounds. What a single deployment did is told by `temps deployments metrics`.\n\n\
    Examples:\n  temps metrics -p my-app\n  temps metrics -p my-app --since 10m --step 1s\n  temps metrics --since 7d --json"
)]
pub struct Metrics {
    /// How far back
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration)]
    since: Duration,
    /// The time of a row: whole seconds; so many that there are 60 rows or fewer unless given
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    step: Option<Duration>,
    #[command(flatten)]
    target: Target,
}

/// The most rows that a person is shown unasked.
const ROWS: u64 = 60;
/// Steps that a person can reckon with, in milliseconds.
const STEPS: [u64; 9] =
    [1_000, 10_000, 60_000, 300_000, 900_000, 3_600_000, 10_800_000, 43_200_000, 86_400_000];
/// The longest bar.
const BAR: u64 = 24;
/// Beyond this, in milliseconds, times are shown with their day.
const DAY: u64 = 86_400_000;

pub(super) async fn run(desk: &mut Desk, args: Metrics) -> Result<Code, Failure> {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let since_ms = millis(args.since);
    if since_ms == 0 {
        return Err(Failure::usage("--since 0 is no time").help("name one such as 10m, 6h or 7d"));
    }
    let step_ms = args.step.map_or_else(|| fitting(since_ms), millis);
    if step_ms == 0 || !step_ms.is_multiple_of(1_000) {
        return Err(Failure::usage("--step must be whole seconds").help("name them such as 1s, 10s or 5m"));
    }
    let request = GetHistoryRequest {
        project: desk.project(&args.target)?,
        environment: desk.environment(&args.target)?,
        since_ms,
        step_ms,
        ..GetHistoryRequest::default()
    };
    let answer = desk
        .client()?
        .call(|mut api| {
            let request = request.clone();
            async move { api.get_history(request).await }
        })
        .await?;
    let (project, environment) = (&request.project, &request.environment);
    if desk.screen.is_json() {
        desk.screen.object(&object(project, environment, &answer))?;
        return Ok(Code::Live);
    }
    let text = text_of(&format!("{project} ({environment})"), &answer, &desk.screen.look);
    desk.screen.say(&text)?;
    if answer.step_ms > step_ms {
        let kept = text::duration(answer.step_ms);
        desk.screen.note(&format!("Nothing finer than {kept} is kept of all of that time."));
    }
    for missing in &answer.missing {
        let (node, why) = (escape(&missing.node), escape(&missing.why));
        desk.screen.warn(&format!("what {node} counted is missing: {why}"));
    }
    Ok(Code::Live)
}

/// The shortest step that gives few rows.
fn fitting(since_ms: u64) -> u64 {
    let few = STEPS.into_iter().find(|step| since_ms.div_ceil(*step) <= ROWS);
    few.unwrap_or_else(|| since_ms.div_ceil(ROWS).next_multiple_of(DAY))
}

fn object(project: &str, environment: &str, h: &GetHistoryResponse) -> Value {
    let missing = |m: &temps_wire::proto::HistoryMissing| json!({ "node": m.node, "why": m.why });
    let marker = |m: &HistoryMarker| {
        json!({
            "time": time(Some(m.at_ms)),
            "deployment": m.deployment,
            "kind": m.kind,
            "text": m.text,
        })
    };
    json!({
        "project": project,
        "environment": environment,
        "from": time(Some(h.from_ms)),
        "to": time(Some(h.to_ms)),
        "step_ms": h.step_ms,
        "points": h.points.iter().map(point).collect::<Vec<_>>(),
        "total": traffic(&h.total.unwrap_or_default()),
        "releases": h.releases.iter().map(metrics::release).collect::<Vec<_>>(),
        "markers": h.markers.iter().map(marker).collect::<Vec<_>>(),
        "missing": h.missing.iter().map(missing).collect::<Vec<_>>(),
    })
}

fn point(p: &HistoryPoint) -> Value {
    let node = |of: &HistoryOfNode| {
        let mut value = traffic(&of.traffic.unwrap_or_default());
        value["node"] = json!(of.node);
        value
    };
    let in_flight = |of: &HistoryInFlight| json!({ "release": of.release, "most": of.most });
    let mut value = traffic(&p.traffic.unwrap_or_default());
    if let (None, Value::Object(unknown)) = (&p.traffic, &mut value) {
        unknown.values_mut().for_each(|number| *number = Value::Null);
    }
    value["time"] = time(Some(p.at_ms));
    value["seconds"] = json!(p.seconds);
    value["nodes"] = p.nodes.iter().map(node).collect();
    value["releases"] = p.releases.iter().map(metrics::release).collect();
    value["in_flight"] = p.in_flight.iter().map(in_flight).collect();
    value
}

fn traffic(t: &HistoryTraffic) -> Value {
    json!({
        "requests": t.requests,
        "failed": failed_in_all(t),
        "app_errors": t.app_errors,
        "refused": t.refused,
        "reset": t.reset,
        "cut": t.cut,
        "shed": t.shed,
        "platform_caused": t.platform_caused,
    })
}

fn text_of(whose: &str, h: &GetHistoryResponse, look: &Look) -> String {
    let t = h.total.unwrap_or_default();
    let span = text::duration(h.to_ms.saturating_sub(h.from_ms));
    let step = text::duration(h.step_ms);
    let mut lines = vec![
        format!("{}, {span} in steps of {step}", escape(whose)),
        format!(
            "{} requests; {} answered 5xx by the application, {} broken off by it, {} refused, {} cut, {} without an instance",
            t.requests, t.app_errors, t.reset, t.refused, t.cut, t.shed
        ),
        String::new(),
    ];
    let clock = |at: u64| match h.to_ms.saturating_sub(h.from_ms) {
        0..DAY => timeline::clock(at, &look.zone),
        _ => timeline::date(at, &look.zone),
    };
    // What belongs between rows comes after the rows before it.
    let (rows, starts) = rows(h, look.terminals.stdout, &clock);
    let mut between = gaps(h)
        .chain(h.markers.iter().map(|m| {
            let text = look.out.tone(Tone::Strong, &format!("#{} {}", m.deployment, escape(&m.text)));
            (m.at_ms, text)
        }))
        .collect::<Vec<_>>();
    between.sort_by_key(|(at, _)| *at);
    let mut between = between.into_iter().peekable();
    let mut put = |lines: &mut Vec<String>, until: u64| {
        while let Some((at, text)) = between.next_if(|(at, _)| *at < until) {
            lines.push(format!("{}  {text}", clock(at)));
        }
    };
    let mut table = rows.lines();
    lines.extend(table.next().map(str::to_owned));
    for (row, start) in table.zip(starts) {
        if let Some(start) = start {
            put(&mut lines, start);
        }
        lines.push(row.to_owned());
    }
    put(&mut lines, u64::MAX);
    lines.join("\n")
}

/// The rows with their headings; and for each row that begins a step when that begins.
fn rows(h: &GetHistoryResponse, bars: bool, clock: &dyn Fn(u64) -> String) -> (String, Vec<Option<u64>>) {
    let heading = if bars { "# REQUESTS, ! FAILED" } else { "" };
    let mut table = Table::new([
        "TIME",
        "REQUESTS",
        "PER SECOND",
        "FAILED",
        "RELEASE",
        "SERVED",
        "ERRORS",
        "IN FLIGHT",
        "P50",
        "P95",
        "P99",
        heading,
    ]);
    let most = h.points.iter().map(rate).max().unwrap_or_default();
    let mut starts = Vec::new();
    for p in &h.points {
        let (first, bar) = clients(p, most);
        let known = p.traffic.map(|_| first).unwrap_or_default();
        let bar = if bars && p.traffic.is_some() { bar } else { String::new() };
        let mut begin = Some((clock(p.at_ms), known, bar));
        for of in releases(p) {
            let start = begin.is_some();
            let (at, [requests, rate, failed], bar) = begin.take().unwrap_or_default();
            let [number, served, errors, in_flight, p50, p95, p99] = of;
            table.row([at, requests, rate, failed, number, served, errors, in_flight, p50, p95, p99, bar]);
            starts.push(start.then_some(p.at_ms));
        }
    }
    (table.text(), starts)
}

/// What clients got in a step, and the bar of it.
fn clients(p: &HistoryPoint, most: u64) -> ([String; 3], String) {
    let t = p.traffic.unwrap_or_default();
    let numbers = [t.requests.to_string(), tenths(rate(p)), failed_in_all(&t).to_string()];
    (numbers, bar(rate(p), most, failed_in_all(&t), t.requests))
}

/// Number, served, errors, in flight and percentiles of each release that something reached in a step, or that had an
/// instance; one row of nothing where there is none.
fn releases(p: &HistoryPoint) -> Vec<[String; 7]> {
    let reached = p.releases.iter().map(|of| of.release);
    let numbers: BTreeSet<u64> = reached.chain(p.in_flight.iter().map(|of| of.release)).collect();
    let row = |number: &u64| {
        let release = p.releases.iter().find(|of| of.release == *number).copied();
        let of = release.unwrap_or_default();
        let in_flight = p.in_flight.iter().find(|of| of.release == *number);
        let time = |time: Option<u64>| time.map(text::duration).unwrap_or_default();
        [
            format!("r{number}"),
            of.requests.to_string(),
            failed(&of).count.to_string(),
            in_flight.map(|of| of.most.to_string()).unwrap_or_default(),
            time(of.p50_ms),
            time(of.p95_ms),
            time(of.p99_ms),
        ]
    };
    if numbers.is_empty() { vec![Default::default()] } else { numbers.iter().map(row).collect() }
}

/// Tenths of requests a second.
fn rate(p: &HistoryPoint) -> u64 {
    let requests = p.traffic.unwrap_or_default().requests;
    requests.saturating_mul(10) / p.seconds.max(1)
}

fn tenths(n: u64) -> String {
    format!("{}.{}", n / 10, n % 10)
}

/// So long beside the longest; what failed at its end, and never none of it where something did.
fn bar(rate: u64, most: u64, failed: u64, requests: u64) -> String {
    let part = |n: u64, of: u64, all: u64| {
        let part = u128::from(n) * u128::from(of) / u128::from(all.max(1));
        u64::try_from(part).unwrap_or(BAR).min(of).max(u64::from(n > 0))
    };
    let long = part(rate, BAR, most).max(u64::from(requests > 0 || failed > 0));
    let bad = if failed > 0 { part(failed, long, requests).max(1) } else { 0 };
    let n = |n: u64| usize::try_from(n).unwrap_or_default();
    format!("{}{}", "#".repeat(n(long.saturating_sub(bad))), "!".repeat(n(bad)))
}

/// Times of which nothing is known.
fn gaps(h: &GetHistoryResponse) -> impl Iterator<Item = (u64, String)> {
    let step = h.step_ms.max(1);
    let begins = std::iter::once(h.from_ms).chain(h.points.iter().map(move |p| p.at_ms.saturating_add(step)));
    let ends = h.points.iter().map(|p| p.at_ms).chain([h.to_ms]);
    let gap = |(from, to): (u64, u64)| {
        (to > from).then(|| (from, format!("nothing is known of {}", text::duration(to - from))))
    };
    begins.zip(ends).filter_map(gap)
}

#[cfg(test)]
mod tests {
    use super::{BAR, bar, fitting, text_of};
    use crate::screen::{Look, Terminals};
    use temps_wire::proto::{
        GetHistoryResponse, HistoryInFlight, HistoryMarker, HistoryPoint, HistoryTraffic, ReleaseMetrics,
    };

    /// 14:31:00 on some day.
    const AT: u64 = 52_260_000;

    fn point(minute: u64, requests: u64, app_errors: u64, releases: &[(u64, u64)]) -> HistoryPoint {
        let release = |(release, requests): &(u64, u64)| ReleaseMetrics {
            release: *release,
            requests: *requests,
            p50_ms: Some(5),
            p95_ms: Some(30),
            p99_ms: Some(1_500),
            ..ReleaseMetrics::default()
        };
        HistoryPoint {
            at_ms: AT + minute * 60_000,
            seconds: 60,
            traffic: Some(HistoryTraffic { requests, app_errors, ..HistoryTraffic::default() }),
            releases: releases.iter().map(release).collect(),
            ..HistoryPoint::default()
        }
    }

    fn history() -> GetHistoryResponse {
        let marker = |seconds: u64, text: &str| HistoryMarker {
            at_ms: AT + seconds * 1_000,
            deployment: 42,
            text: text.to_owned(),
            ..HistoryMarker::default()
        };
        GetHistoryResponse {
            from_ms: AT - 120_000,
            to_ms: AT + 360_000,
            step_ms: 60_000,
            points: vec![
                point(0, 600, 0, &[(3, 600)]),
                point(1, 1_200, 1, &[(3, 1_000), (4, 200)]),
                point(4, 0, 0, &[]),
                point(5, 3, 3, &[(4, 3)]),
            ],
            total: Some(HistoryTraffic { requests: 1_803, app_errors: 4, ..HistoryTraffic::default() }),
            markers: vec![marker(70, "Traffic shifting\x1b"), marker(400, "Deployment complete.")],
            ..GetHistoryResponse::default()
        }
    }

    #[test]
    fn what_a_person_reads() {
        assert_eq!(
            text_of("my-app (production)", &history(), &Look::default()),
            "\
my-app (production), 8m in steps of 1m
1803 requests; 4 answered 5xx by the application, 0 broken off by it, 0 refused, 0 cut, 0 without an instance

TIME      REQUESTS  PER SECOND  FAILED  RELEASE  SERVED  ERRORS  IN FLIGHT  P50  P95   P99
14:29:00  nothing is known of 2m
14:31:00  600       10.0        0       r3       600     0                  5ms  30ms  1.5s
14:32:00  1200      20.0        1       r3       1000    0                  5ms  30ms  1.5s
                                        r4       200     0                  5ms  30ms  1.5s
14:32:10  #42 Traffic shifting\\x1b
14:33:00  nothing is known of 2m
14:35:00  0         0.0         0
14:36:00  3         0.0         3       r4       3       0                  5ms  30ms  1.5s
14:37:40  #42 Deployment complete."
        );
    }

    #[test]
    fn a_person_sees_a_release_drain() {
        let second = |second: u64, traffic: Option<u64>, releases: &[(u64, u64)], most: &[(u64, u64)]| {
            let in_flight = |(release, most): &(u64, u64)| HistoryInFlight { release: *release, most: *most };
            let traffic = traffic.map(|n| HistoryTraffic { requests: n, ..HistoryTraffic::default() });
            HistoryPoint {
                at_ms: AT + second * 1_000,
                seconds: 1,
                traffic,
                in_flight: most.iter().map(in_flight).collect(),
                ..point(0, 0, 0, releases)
            }
        };
        let history = GetHistoryResponse {
            from_ms: AT,
            to_ms: AT + 5_000,
            step_ms: 1_000,
            points: vec![
                second(0, Some(20), &[(3, 20)], &[(3, 12)]),
                second(1, Some(17), &[(4, 17)], &[(3, 9), (4, 2)]),
                second(2, Some(0), &[], &[(3, 3), (4, 2)]),
                second(3, Some(0), &[], &[(3, 0), (4, 0)]),
                second(4, None, &[], &[(4, 0)]),
            ],
            ..GetHistoryResponse::default()
        };
        let text = text_of("my-app", &history, &Look::default());
        assert_eq!(
            text.split_once("\n\n").unwrap().1,
            "\
TIME      REQUESTS  PER SECOND  FAILED  RELEASE  SERVED  ERRORS  IN FLIGHT  P50  P95   P99
14:31:00  20        20.0        0       r3       20      0       12         5ms  30ms  1.5s
14:31:01  17        17.0        0       r3       0       0       9
                                        r4       17      0       2          5ms  30ms  1.5s
14:31:02  0         0.0         0       r3       0       0       3
                                        r4       0       0       2
14:31:03  0         0.0         0       r3       0       0       0
                                        r4       0       0       0
14:31:04                                r4       0       0       0"
        );
    }

    #[test]
    fn bars_are_for_terminals_and_tell_failures_by_another_sign() {
        let terminals = Terminals { stdout: true, ..Terminals::default() };
        let text = text_of("my-app", &history(), &Look { terminals, ..Look::default() });
        let ends = |start: &str, end: &str| {
            let line = text.lines().find(|line| line.starts_with(start)).unwrap();
            assert!(line.ends_with(end), "{line}");
        };
        ends("14:31:00", &format!("  {}", "#".repeat(12)));
        ends("14:32:00", &format!("  {}!", "#".repeat(23)));
        ends("14:35:00", "0.0         0");
        ends("14:36:00", "  !");
        assert!(bar(u64::MAX, u64::MAX, u64::MAX, u64::MAX).len() as u64 <= BAR);
        assert_eq!(bar(0, 0, 0, 0), "");
        assert_eq!(bar(1, 1_000_000, 0, 1), "#");
        assert_eq!(bar(10, 10, 5, 10), format!("{}{}", "#".repeat(12), "!".repeat(12)));
    }

    #[test]
    fn few_rows_are_shown_unasked() {
        for (since, step) in [
            (1_000, 1_000),
            (60_000, 1_000),
            (61_000, 10_000),
            (3_600_000, 60_000),
            (86_400_000, 3_600_000),
            (30 * 86_400_000, 43_200_000),
            (365 * 86_400_000, 7 * 86_400_000),
        ] {
            assert_eq!(fitting(since), step, "{since} ms");
        }
    }
}
