//! What runs and where.

use serde_json::json;
use temps_wire::machine;
use temps_wire::proto::{EnvironmentStatus, Node, StatusRequest};
use temps_wire::told;

use super::Desk;
use crate::exit::{Code, Failure};
use crate::screen::{Table, escape};
use crate::settings::Target;
use crate::{json, verdict};

/// Arguments of `status`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Without -p and without a temps.toml here, all projects are shown.")]
pub struct Status {
    #[command(flatten)]
    target: Target,
}

pub(super) async fn run(desk: &mut Desk, args: Status) -> Result<Code, Failure> {
    let request = StatusRequest {
        project: desk.project_if_any(&args.target)?.unwrap_or_default(),
        // Only one that was asked for: without it, all environments are shown.
        environment: args.target.environment.clone().unwrap_or_default(),
    };
    let answer = desk
        .client()?
        .call(|mut api| {
            let request = request.clone();
            async move { api.status(request).await }
        })
        .await?;
    if desk.screen.is_json() {
        let all: Vec<_> = answer.environments.iter().map(json::environment).collect();
        let nodes: Vec<_> = answer.nodes.iter().map(json::node).collect();
        desk.screen.object(&json!({ "environments": all, "nodes": nodes }))?;
        return Ok(Code::Live);
    }
    if answer.environments.is_empty() {
        desk.screen.note("nothing is deployed");
    }
    let mut texts: Vec<String> = answer.environments.iter().map(text).collect();
    texts.extend(answer.nodes.iter().map(node));
    if !texts.is_empty() {
        desk.screen.say(&texts.join("\n\n"))?;
    }
    Ok(Code::Live)
}

/// A machine that does not simply take part.
fn node(n: &Node) -> String {
    let noun = if n.instances == 1 { "instance" } else { "instances" };
    format!("node {} is {} ({} {noun})", escape(&n.name), machine::status(n), n.instances)
}

/// One environment.
fn text(e: &EnvironmentStatus) -> String {
    let release = e.release.map_or("no release".to_owned(), |release| format!("r{release}"));
    let mut lines = vec![format!("{} ({})  {release}", escape(&e.project), escape(&e.environment))];
    if !e.hosts.is_empty() {
        lines.push(format!("  hosts: {}", escape(&e.hosts.join(", "))));
    }
    if let Some(maintenance) = &e.maintenance {
        let message = Some(&maintenance.message).filter(|message| !message.is_empty());
        let message = message.map_or_else(String::new, |message| format!(" ({})", escape(message)));
        lines.push(format!("  in maintenance: requests are answered 503{message}"));
    }
    if let Some(live) = &e.live {
        let by = escape(&live.by);
        lines.push(format!(
            "  {} #{} to r{} is {} (by {by})",
            live.kind,
            live.number,
            live.release,
            verdict::stands(live)
        ));
    }
    for process in &e.processes {
        lines.push(format!("  {}: {} of {} serving", escape(&process.name), process.serving, process.wanted));
    }
    if !e.instances.is_empty() {
        let mut table = Table::new(["INSTANCE", "PROCESS", "NODE", "RELEASE", "STATE", "LAST CHECK"]);
        for i in &e.instances {
            let last = told::last(i).to_owned();
            let release = format!("r{}", i.release);
            table.row([i.id.clone(), i.process.clone(), i.node.clone(), release, i.state.clone(), last]);
        }
        lines.extend(table.text().lines().map(|line| format!("  {line}")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use temps_wire::proto::{Deployment, EnvironmentStatus, Instance, Maintenance, ProcessStatus};

    use super::text;

    #[test]
    fn one_environment() {
        let status = EnvironmentStatus {
            project: "my-app".to_owned(),
            environment: "production".to_owned(),
            release: Some(6),
            live: Some(Deployment {
                number: 42,
                kind: "deploy".to_owned(),
                release: 7,
                phase: "stepping".to_owned(),
                paused: "bob".to_owned(),
                by: "ci".to_owned(),
                ..Deployment::default()
            }),
            hosts: vec!["a.test".to_owned(), "b.test".to_owned()],
            maintenance: Some(Maintenance { message: "back soon".to_owned(), retry_after_s: 60 }),
            processes: vec![ProcessStatus { name: "web".to_owned(), wanted: 2, serving: 1 }],
            instances: vec![Instance {
                id: "i3".to_owned(),
                process: "web".to_owned(),
                node: "n1".to_owned(),
                release: 6,
                state: "serving".to_owned(),
                last_check: "200 in 3ms".to_owned(),
                ..Instance::default()
            }],
        };
        assert_eq!(
            text(&status),
            "\
my-app (production)  r6
  hosts: a.test, b.test
  in maintenance: requests are answered 503 (back soon)
  deploy #42 to r7 is stepping, paused (by ci)
  web: 1 of 2 serving
  INSTANCE  PROCESS  NODE  RELEASE  STATE    LAST CHECK
  i3        web      n1    r6       serving  200 in 3ms"
        );
    }
}
