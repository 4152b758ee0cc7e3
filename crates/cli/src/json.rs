//! The shapes of `--json`. Their field names are stable.

use serde_json::{Value, json};
use temps_wire::proto::{
    CoveredSetting, Deployment, DeploymentDetail, EnvironmentStatus, Event, Instance, InstanceStory,
    LeftOnNode, LogLine, Node, NodeDetail, ProcessStatus, StoryLine,
};

use crate::timeline::timestamp;

/// An RFC 3339 time in UTC, or null where there is none.
pub(crate) fn time(wall_ms: Option<u64>) -> Value {
    wall_ms.and_then(timestamp).map_or(Value::Null, |at| json!(at.to_string()))
}

pub(crate) fn text(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

pub(crate) fn event(e: &Event) -> Value {
    let id = e.id.unwrap_or_default();
    json!({
        "id": { "index": id.index, "place": id.place },
        "time": time(Some(e.wall_ms)),
        "kind": e.kind,
        "text": e.text,
        "instance": text(&e.instance),
        "node": text(&e.node),
        "deployment": e.deployment,
    })
}

pub(crate) fn deployment(d: &Deployment) -> Value {
    json!({
        "deployment": d.number,
        "project": d.project,
        "environment": d.environment,
        "kind": d.kind,
        "release": d.release,
        "from_release": d.from_release,
        "phase": d.phase,
        "ended": d.ended,
        "by": d.by,
        "created_at": time(Some(d.created_ms)),
        "ended_at": time(d.ended_ms),
        "duration_ms": d.duration_ms,
        "reason": text(&d.reason),
        "log_tail": d.log_tail,
        "requests": d.requests,
        "app_errors": d.app_errors,
        "platform_errors": d.platform_errors,
        "rollback_target": d.rollback_target,
        "source": text(&d.source),
        "image": text(&d.image),
        "paused": text(&d.paused),
        "covered": covered(&d.covered),
    })
}

/// Settings of the cluster in place of what the file says.
pub(crate) fn covered(all: &[CoveredSetting]) -> Value {
    all.iter().map(|c| json!({ "key": c.key, "value": c.value, "file": c.file })).collect()
}

pub(crate) fn instance(i: &Instance) -> Value {
    json!({
        "id": i.id,
        "project": i.project,
        "environment": i.environment,
        "process": i.process,
        "slot": i.slot,
        "node": i.node,
        "release": i.release,
        "state": i.state,
        "attempts": i.attempts,
        "last_check": text(&i.last_check),
        "exit": text(&i.exit),
        "deployment": i.deployment,
    })
}

/// A deployment with its instances and events.
pub(crate) fn detail(d: &DeploymentDetail) -> Value {
    let mut value = deployment(&d.deployment.clone().unwrap_or_default());
    value["instances"] = d.instances.iter().map(instance).collect();
    value["events"] = d.events.iter().map(event).collect();
    value
}

pub(crate) fn node(n: &Node) -> Value {
    json!({
        "id": n.id,
        "name": n.name,
        "status": n.status,
        "leader": n.leader,
        "cordoned": n.cordoned,
        "draining": n.draining,
        "drained": n.drained,
        "control": n.control,
        "edge_http": n.edge_http,
        "version": n.version,
        "instances": n.instances,
        "runtime": text(&n.runtime),
        "labels": n.labels,
        "free_bytes": n.free_bytes,
        "trouble": text(&n.trouble),
    })
}

/// Something that is still on a machine.
pub(crate) fn left(l: &LeftOnNode) -> Value {
    json!({
        "instance": text(&l.instance),
        "project": text(&l.project),
        "environment": text(&l.environment),
        "process": text(&l.process),
        "state": l.state,
        "why": l.why,
        "stuck": l.stuck,
    })
}

/// A machine with what is on it and what happened to it.
pub(crate) fn node_detail(d: &NodeDetail) -> Value {
    let mut value = node(&d.node.clone().unwrap_or_default());
    value["left"] = d.left.iter().map(left).collect();
    value["events"] = d.events.iter().map(event).collect();
    value
}

/// An instance with what was decided about it and what became of it.
pub(crate) fn story(s: &InstanceStory) -> Value {
    let line = |l: &StoryLine| json!({ "time": time(Some(l.wall_ms)), "kind": l.kind, "text": l.text });
    let mut value = instance(&s.instance.clone().unwrap_or_default());
    value["story"] = s.lines.iter().map(line).collect();
    value
}

/// A line of the log of a build; among events it is told by its kind.
pub(crate) fn build_line(number: u64, line: &LogLine) -> Value {
    json!({
        "kind": "build_log",
        "deployment": number,
        "time": time(Some(line.wall_ms)),
        "node": text(&line.node),
        "stream": text(&line.stream),
        "text": String::from_utf8_lossy(&line.text),
    })
}

pub(crate) fn environment(e: &EnvironmentStatus) -> Value {
    let process = |p: &ProcessStatus| json!({ "name": p.name, "wanted": p.wanted, "serving": p.serving });
    json!({
        "project": e.project,
        "environment": e.environment,
        "release": e.release,
        "live_deployment": e.live.as_ref().map(deployment),
        "hosts": e.hosts,
        "maintenance": e.maintenance.as_ref().map(|m| json!({
            "message": text(&m.message),
            "retry_after_s": m.retry_after_s,
        })),
        "processes": e.processes.iter().map(process).collect::<Vec<_>>(),
        "instances": e.instances.iter().map(instance).collect::<Vec<_>>(),
    })
}
