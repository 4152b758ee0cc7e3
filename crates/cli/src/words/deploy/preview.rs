//! What the cluster would do: the planner's own answer to "what if".

use serde_json::{Value, json};
use temps_core::model::Source;
use temps_core::text;
use temps_wire::proto::{DeploymentPreview, PreviewStep, ProcessPreview};

use super::{Desk, Job};
use crate::exit::Failure;
use crate::json;
use crate::screen::escape;

/// Asks what would become of a deployment.
pub(super) async fn ask(desk: &Desk, job: &Job, source: &Source) -> Result<DeploymentPreview, Failure> {
    let request = job.request(source);
    let client = desk.client()?;
    let answer = client.call(|mut api| {
        let request = request.clone();
        async move { api.preview_deployment(request).await }
    });
    Ok(answer.await?)
}

pub(super) fn object(p: &DeploymentPreview) -> Value {
    let step = |s: &PreviewStep| json!({ "ready": s.ready, "keep_old": s.keep_old, "weight": s.weight, "hold_ms": s.hold_ms });
    let process = |p: &ProcessPreview| {
        json!({
            "name": p.name,
            "steps": p.steps.iter().map(step).collect::<Vec<_>>(),
            "nodes": p.nodes,
            "peak_instances": p.peak,
            "least_serving": p.least_serving,
            "critical_nodes": p.critical_nodes,
        })
    };
    json!({
        "no_change": p.no_change,
        "after": p.after,
        "release_command_last": p.contracts,
        "processes": p.processes.iter().map(process).collect::<Vec<_>>(),
        "covered": json::covered(&p.covered),
        "stuck": (!p.stuck.is_empty()).then_some(&p.stuck),
    })
}

pub(super) fn text_of(p: &DeploymentPreview) -> String {
    if p.no_change {
        return "The environment runs this release already: nothing would be done.".to_owned();
    }
    let mut lines = Vec::new();
    if let Some(after) = p.after {
        lines.push(format!("It would wait for deployment #{after}."));
    }
    for process in &p.processes {
        lines.push(format!("{}:", escape(&process.name)));
        let steps: Vec<String> = process.steps.iter().map(step).collect();
        lines.push(format!("  Steps     {}", steps.join(", then ")));
        lines.push(format!("  Nodes     {}", escape(&process.nodes.join(", "))));
        lines.push(format!(
            "  Instances at most {} at once, at least {} serving",
            process.peak, process.least_serving
        ));
        let critical = escape(&process.critical_nodes.join(" or "));
        lines.push(match process.critical_nodes.is_empty() {
            true => "  Loss      of any one node leaves some serving".to_owned(),
            false => format!("  Loss      of {critical} could leave none serving"),
        });
    }
    if p.contracts {
        lines.push("The release command runs last, once nothing of the release before is left.".to_owned());
    }
    if !p.stuck.is_empty() {
        lines.push(format!("It would not get done: {}.", escape(&p.stuck)));
    }
    lines.join("\n")
}

/// `2 new beside 1 old (25% of requests for 2m)`.
fn step(s: &PreviewStep) -> String {
    let beside = if s.keep_old == 0 { String::new() } else { format!(" beside {} old", s.keep_old) };
    let hold = if s.hold_ms == 0 { String::new() } else { format!(" for {}", text::duration(s.hold_ms)) };
    let share = s.weight.map(|weight| format!(" ({weight}% of requests{hold})")).unwrap_or_default();
    format!("{} new{beside}{share}", s.ready)
}

#[cfg(test)]
mod tests {
    use temps_wire::proto::{DeploymentPreview, PreviewStep, ProcessPreview};

    use super::text_of;

    #[test]
    fn a_plan_reads_like_a_sentence() {
        let step = |ready, keep_old, weight, hold_ms| PreviewStep { ready, keep_old, weight, hold_ms };
        let web = ProcessPreview {
            name: "web".to_owned(),
            steps: vec![step(1, 3, Some(5), 120_000), step(3, 0, None, 0)],
            nodes: vec!["n1".to_owned(), "n2".to_owned(), "n3".to_owned()],
            peak: 4,
            least_serving: 3,
            critical_nodes: Vec::new(),
        };
        let lonely = ProcessPreview {
            name: "worker".to_owned(),
            critical_nodes: vec!["n1".to_owned(), "n2".to_owned()],
            ..web.clone()
        };
        let preview = DeploymentPreview {
            after: Some(41),
            processes: vec![web, lonely],
            stuck: "deployment #41, which is paused".to_owned(),
            ..DeploymentPreview::default()
        };
        assert_eq!(
            text_of(&preview),
            "\
It would wait for deployment #41.
web:
  Steps     1 new beside 3 old (5% of requests for 2m), then 3 new
  Nodes     n1, n2, n3
  Instances at most 4 at once, at least 3 serving
  Loss      of any one node leaves some serving
worker:
  Steps     1 new beside 3 old (5% of requests for 2m), then 3 new
  Nodes     n1, n2, n3
  Instances at most 4 at once, at least 3 serving
  Loss      of n1 or n2 could leave none serving
It would not get done: deployment #41, which is paused."
        );
    }
}
