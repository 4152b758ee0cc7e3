//! `temps deployments metrics`: what a deployment did to requests.

use serde_json::{Value, json};
use temps_core::model::percent;
use temps_core::text;
use temps_wire::proto::{DeploymentMetrics, GetMetricsRequest, MetricsReceipt, ReleaseMetrics};
use temps_wire::told::failed;

use super::Desk;
use crate::exit::{Code, Failure};
use crate::screen::{Table, escape};
use crate::{json, verdict};

pub(super) async fn show(desk: &mut Desk, number: u64) -> Result<Code, Failure> {
    let request = GetMetricsRequest { number };
    let metrics = desk.client()?.call(|mut api| async move { api.get_metrics(request).await }).await?;
    if desk.screen.is_json() {
        desk.screen.object(&object(&metrics))?;
    } else {
        desk.screen.say(&text_of(&metrics))?;
    }
    Ok(Code::Live)
}

fn object(m: &DeploymentMetrics) -> Value {
    let mut object = json!({
        "build_ms": m.build_ms,
        "time_to_healthy_ms": m.time_to_healthy_ms,
        "drain_ms": m.drain_ms,
        "before_span_ms": m.before_span_ms,
        "before": m.before.iter().map(release).collect::<Vec<_>>(),
        "during": m.during.iter().map(release).collect::<Vec<_>>(),
        "after": m.after.iter().map(release).collect::<Vec<_>>(),
        "receipt": m.receipt.as_ref().map(receipt),
    });
    let deployment = m.deployment.as_ref().map(json::deployment);
    if let Some(Value::Object(deployment)) = deployment {
        for (key, value) in deployment {
            object[key] = value;
        }
    }
    object
}

pub(super) fn release(r: &ReleaseMetrics) -> Value {
    let failed = failed(r);
    json!({
        "release": r.release,
        "requests": r.requests,
        "failed": failed.count,
        "error_rate_percent": percent(failed.rate()),
        "app_errors": r.app_errors,
        "refused": r.refused,
        "reset": r.reset,
        "aborted_by_client": r.aborted,
        "p50_ms": r.p50_ms,
        "p95_ms": r.p95_ms,
        "p99_ms": r.p99_ms,
    })
}

fn receipt(r: &MetricsReceipt) -> Value {
    let served = |s: &temps_wire::proto::Served| json!({ "release": s.release, "node": s.node, "requests": s.requests });
    json!({
        "requests": r.requests,
        "served": r.served.iter().map(served).collect::<Vec<_>>(),
        "app_errors": r.app_errors,
        "refused": r.refused,
        "reset": r.reset,
        "cut": r.cut,
        "shed": r.shed,
        "platform_caused": r.platform_caused,
    })
}

fn text_of(m: &DeploymentMetrics) -> String {
    let deployment = m.deployment.clone().unwrap_or_default();
    let mut lines = vec![verdict::headline_of(&deployment), String::new()];
    let times = [
        ("Duration", Some(deployment.duration_ms)),
        ("Build time", m.build_ms),
        ("Time to healthy", m.time_to_healthy_ms),
        ("Drain time", m.drain_ms),
    ];
    let known = times.iter().filter_map(|(name, time)| Some((name, (*time)?)));
    lines.extend(known.map(|(name, time)| format!("  {name:<16} {}", text::duration(time))));
    lines.push(String::new());
    lines.push(table(m));
    lines.push(String::new());
    match &m.receipt {
        None => lines.push("No edge has told what it served.".to_owned()),
        Some(receipt) => lines.extend(receipt_of(receipt)),
    }
    lines.join("\n")
}

fn table(m: &DeploymentMetrics) -> String {
    let mut table = Table::new(["", "RELEASE", "REQUESTS", "FAILED", "ERROR RATE", "P50", "P95", "P99"]);
    let before = match m.before_span_ms {
        0 => "before".to_owned(),
        span => format!("{} before", text::duration(span)),
    };
    for (when, releases) in [(before.as_str(), &m.before), ("during", &m.during), ("after", &m.after)] {
        for (place, r) in releases.iter().enumerate() {
            let failed = failed(r);
            let time = |time: Option<u64>| time.map(text::duration).unwrap_or_default();
            let when = if place == 0 { when } else { "" };
            table.row([
                when.to_owned(),
                format!("r{}", r.release),
                r.requests.to_string(),
                failed.count.to_string(),
                percent(failed.rate()),
                time(r.p50_ms),
                time(r.p95_ms),
                time(r.p99_ms),
            ]);
        }
        if releases.is_empty() {
            let none = String::new;
            table.row([when.to_owned(), "-".to_owned(), none(), none(), none(), none(), none(), none()]);
        }
    }
    table.text()
}

fn receipt_of(r: &MetricsReceipt) -> Vec<String> {
    let mut lines = vec![format!("Receipt: {} requests", r.requests)];
    for served in &r.served {
        lines.push(format!("  r{} on {}: {}", served.release, escape(&served.node), served.requests));
    }
    lines.push(format!(
        "  failed: {} answered 5xx by the application, {} broken off by it, {} refused, {} cut, {} without an instance",
        r.app_errors, r.reset, r.refused, r.cut, r.shed
    ));
    lines.push(format!("  caused by the platform: {}", r.platform_caused));
    lines
}

#[cfg(test)]
mod tests {
    use temps_wire::proto::{Deployment, DeploymentMetrics, MetricsReceipt, ReleaseMetrics, Served};

    use super::{object, text_of};

    fn metrics() -> DeploymentMetrics {
        let release = |release, requests, app_errors| ReleaseMetrics {
            release,
            requests,
            app_errors,
            p50_ms: Some(5),
            p95_ms: Some(30),
            p99_ms: Some(1_500),
            ..ReleaseMetrics::default()
        };
        DeploymentMetrics {
            deployment: Some(Deployment {
                number: 42,
                project: "my-app".to_owned(),
                environment: "production".to_owned(),
                phase: "succeeded".to_owned(),
                release: 4,
                duration_ms: 78_000,
                ..Deployment::default()
            }),
            time_to_healthy_ms: Some(14_000),
            drain_ms: Some(15_000),
            before_span_ms: 300_000,
            before: vec![release(3, 4_011, 12)],
            during: vec![release(3, 200, 1), release(4, 90, 0)],
            receipt: Some(MetricsReceipt {
                requests: 290,
                app_errors: 1,
                served: vec![Served { release: 3, node: "n\x1b1".to_owned(), requests: 200 }],
                ..MetricsReceipt::default()
            }),
            ..DeploymentMetrics::default()
        }
    }

    #[test]
    fn what_a_person_reads() {
        assert_eq!(
            text_of(&metrics()),
            "\
Deployment #42 of my-app (production) is succeeded.

  Duration         1m18s
  Time to healthy  14s
  Drain time       15s

           RELEASE  REQUESTS  FAILED  ERROR RATE  P50  P95   P99
5m before  r3       4011      12      0.2%        5ms  30ms  1.5s
during     r3       200       1       0.5%        5ms  30ms  1.5s
           r4       90        0       0%          5ms  30ms  1.5s
after      -

Receipt: 290 requests
  r3 on n\\x1b1: 200
  failed: 1 answered 5xx by the application, 0 broken off by it, 0 refused, 0 cut, 0 without an instance
  caused by the platform: 0"
        );
    }

    #[test]
    fn what_a_program_reads() {
        let object = object(&metrics());
        assert_eq!(object["deployment"], 42);
        assert_eq!(object["receipt"]["platform_caused"], 0);
        assert_eq!(object["during"][1]["requests"], 90);
        assert_eq!(object["before"][0]["p99_ms"], 1_500);
    }
}
