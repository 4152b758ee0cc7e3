//! One audit entry for each change that somebody asked for; none for what the planner decides and nodes report.

use std::sync::Arc;

use crate::audit::{ENTRIES_KEPT, hash, who};
use crate::command::{Access, Command, Entry, Made, Outcome, SettingsChange};
use crate::domains;
use crate::model::{
    AuditEntry, AuditKind, AuditOutcome, ClusterState, DeploymentId, Grant, Index, NodeId, PersonId,
};

/// The longest text of an entry, in characters: all settings fit.
const TEXT_MAX: usize = 2_000;
/// The longest value of a setting in it, in characters.
const VALUE_MAX: usize = 40;

/// What somebody asks for, in words.
struct Asked {
    operation: &'static str,
    project: Option<String>,
    object: String,
}

/// An entry to which only the outcome is missing. It is made before the command is applied, since that may take
/// away what it is about, or who asks.
pub(super) struct Draft {
    kind: AuditKind,
    by: String,
    from: Option<String>,
    asked: Asked,
}

pub(super) fn draft(state: &ClusterState, entry: &Entry) -> Option<Draft> {
    let asked = asked(state, &entry.command)?;
    let (by, from) = who(&entry.by);
    let known = |name: &str| state.tokens.values().any(|token| token.name == name);
    let (kind, by) = match &entry.command {
        Command::AddNode(node) => (AuditKind::Node, node.name.as_str()),
        Command::Access(Access::Redeem { .. }) => (AuditKind::Person, by),
        _ if known(by) => (AuditKind::Token, by),
        _ if state.people.named(by).is_some() => (AuditKind::Person, by),
        _ => (AuditKind::Cluster, by),
    };
    Some(Draft { kind, by: plain(by), from: from.map(plain), asked })
}

/// Puts the entry at the end of the chain.
pub(super) fn note(
    state: &mut ClusterState,
    (index, wall): (Index, u64),
    command: &Command,
    draft: Draft,
    outcome: &Outcome,
) {
    // A machine asks again until it is a full member, and each time it is the same join.
    if matches!((command, outcome), (Command::AddNode(_), Outcome::NoChange(_))) {
        return;
    }
    let Draft { kind, by, from, asked } = draft;
    let Asked { operation, project, object } = asked;
    let object = match outcome {
        Outcome::Done(Made::Deployment(id)) if !object.contains('#') => format!("{object} {id}"),
        Outcome::Done(_) | Outcome::NoChange(_) | Outcome::Rejected(_) => object,
    };
    let outcome = match outcome {
        Outcome::Done(_) => AuditOutcome::Done,
        Outcome::NoChange(_) => AuditOutcome::NoChange,
        Outcome::Rejected(why) => AuditOutcome::Refused { why: plain(&why.to_string()) },
    };
    let mut entry = AuditEntry {
        index,
        wall,
        kind,
        by,
        from,
        operation: operation.to_owned(),
        project: project.map(|project| plain(&project)),
        object: plain(&object),
        outcome,
        hash: String::new(),
    };
    let audit = &mut state.audit;
    entry.hash = hash(audit.entries.last_key_value().map_or(&audit.before, |(_, last)| &last.hash), &entry);
    audit.entries.insert(index, Arc::new(entry));
    while audit.entries.len() > ENTRIES_KEPT {
        if let Some((_, oldest)) = audit.entries.pop_first() {
            audit.before.clone_from(&oldest.hash);
            audit.forgotten += 1;
        }
    }
}

/// A text that fits and does nothing to a terminal.
fn plain(text: &str) -> String {
    cut(&text.chars().filter(|c| !c.is_control()).collect::<String>(), TEXT_MAX)
}

/// The beginning of a text, with a sign where more follows.
fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}

fn asked(state: &ClusterState, command: &Command) -> Option<Asked> {
    Some(match command {
        Command::UpdateNode { .. }
        | Command::Certify(_)
        | Command::Plan { .. }
        | Command::Report { .. }
        | Command::Liveness { .. }
        | Command::Notify(_) => return None,
        Command::Access(access) => return self::access(state, access),
        Command::Found { domain, .. } => of_cluster("cluster found", domain.clone()),
        Command::AddNode(node) => of_cluster("node join", node.name.clone()),
        Command::CreateJoinToken { uses, .. } => {
            of_cluster("join token create", format!("for {uses} machines"))
        }
        Command::CreateToken(new) => of_cluster("token create", granted(&new.name, &new.grant)),
        Command::CordonNode { node } => of_cluster("node cordon", named(state, *node)),
        Command::UncordonNode { node } => of_cluster("node uncordon", named(state, *node)),
        Command::DrainNode { node } => of_cluster("node drain", named(state, *node)),
        Command::RemoveNode { node, force } => {
            let name = named(state, *node);
            of_cluster("node remove", if *force { format!("{name}, forced") } else { name })
        }
        Command::AddChannel(channel) => of_cluster("notification add", channel.name.clone()),
        Command::RemoveChannel { name } => of_cluster("notification remove", name.clone()),
        Command::TestChannel { name } => of_cluster("notification test", name.clone()),
        Command::SetAcme { acme: None } => of_cluster("acme off", String::new()),
        Command::SetAcme { acme: Some(acme) } => of_cluster("acme set", host(&acme.directory)),
        Command::CreateProject { name } => of_project("project create", name, name.clone()),
        Command::Deploy { project, environment, .. } => {
            of_project("deploy", project, place(project, environment))
        }
        Command::Rollback { project, environment, to } => {
            let to = to.map_or_else(String::new, |to| format!(" to {}", to.0));
            of_project("rollback", project, place(project, environment) + &to)
        }
        Command::Redeploy { deployment } => match place_of(state, *deployment) {
            Some((project, place)) => of_project("redeploy", project, format!("{place} as {}", deployment.0)),
            None => of_deployment(state, "redeploy", *deployment),
        },
        Command::Cancel { deployment } => of_deployment(state, "deployment cancel", *deployment),
        Command::Pause { deployment } => of_deployment(state, "deployment pause", *deployment),
        Command::Resume { deployment } => of_deployment(state, "deployment resume", *deployment),
        Command::Promote { deployment, .. } => of_deployment(state, "deployment promote", *deployment),
        Command::Scale { project, environment, instances } => {
            let wish: Vec<_> = instances.iter().map(|(process, n)| format!("{process}={n}")).collect();
            of_project("scale", project, format!("{}: {}", place(project, environment), wish.join(" ")))
        }
        Command::SetVariables { project, environment, set, remove } => {
            let mut changes: Vec<_> = set.keys().map(|name| format!("set {name}")).collect();
            changes.extend(remove.iter().map(|name| format!("remove {name}")));
            let object = format!("{}: {}", place(project, environment), changes.join(", "));
            of_project("variables set", project, object)
        }
        Command::SetSettings(SettingsChange { project, environment, set, unset }) => {
            let set = set.0.iter().map(|(setting, value)| {
                format!("set {} = {}", setting.key(), cut(&setting.write(value), VALUE_MAX))
            });
            let unset = unset.iter().map(|setting| format!("unset {}", setting.key()));
            let changes: Vec<_> = set.chain(unset).collect();
            let object = format!("{}: {}", place(project, environment), changes.join(", "));
            of_project("settings set", project, object)
        }
        Command::SetMaintenance { project, environment, on } => {
            let operation = if on.is_some() { "maintenance on" } else { "maintenance off" };
            of_project(operation, project, place(project, environment))
        }
        Command::AddDomain { project, environment, name } => {
            of_project("domain add", project, format!("{name} for {}", place(project, environment)))
        }
        Command::RemoveDomain { name } => of_domain(state, "domain remove", name, name.clone()),
        Command::PutCertificate(certificate) => {
            let names: Vec<_> = certificate.names.iter().map(String::as_str).collect();
            of_domain(state, "certificate put", names.first().unwrap_or(&""), names.join(", "))
        }
        Command::RetryCertificate { name } => of_domain(state, "certificate retry", name, name.clone()),
    })
}

fn access(state: &ClusterState, access: &Access) -> Option<Asked> {
    let person = |id: &PersonId| {
        state.people.persons.get(id).map_or_else(|| id.to_string(), |person| person.name.clone())
    };
    Some(match access {
        Access::KeepSession { .. } => return None,
        Access::RevokeToken { token } => {
            let name = state.tokens.get(token).map_or_else(|| token.to_string(), |t| t.name.clone());
            of_cluster("token revoke", name)
        }
        Access::AddPerson { name, grant, .. } => of_cluster("person add", granted(name, grant)),
        Access::SetPerson { person: id, grant, disabled, code } => {
            let mut changes: Vec<String> = grant.iter().map(Grant::to_string).collect();
            changes.extend(disabled.map(|off| if off { "disabled" } else { "enabled" }.to_owned()));
            changes.extend(code.as_ref().map(|_| "password reset".to_owned()));
            of_cluster("person set", format!("{}: {}", person(id), changes.join(", ")))
        }
        Access::RemovePerson { person: id } => of_cluster("person remove", person(id)),
        Access::SetupCode(_) => of_cluster("setup code create", String::new()),
        Access::Redeem { code, name, .. } => {
            let has_it =
                state.people.persons.values().find(|p| p.code.as_ref().is_some_and(|c| c.hash == *code));
            let name = has_it.map(|person| &person.name).or(name.as_ref());
            of_cluster("password set", name.cloned().unwrap_or_default())
        }
        Access::SignIn { person: id, .. } => of_cluster("sign in", person(id)),
        Access::SignOut { session } => {
            let of = state.people.sessions.get(session).map(|session| session.person);
            of_cluster("sign out", of.as_ref().map(person).unwrap_or_default())
        }
    })
}

fn of_cluster(operation: &'static str, object: String) -> Asked {
    Asked { operation, project: None, object }
}

fn of_project(operation: &'static str, project: &str, object: String) -> Asked {
    Asked { operation, project: Some(project.to_owned()), object }
}

fn of_deployment(state: &ClusterState, operation: &'static str, id: DeploymentId) -> Asked {
    Asked { operation, project: state.project_of(id).map(str::to_owned), object: id.to_string() }
}

fn of_domain(state: &ClusterState, operation: &'static str, name: &str, object: String) -> Asked {
    let owner = domains::names(state).get(name).and_then(|of| of.keys().next().copied());
    let project = owner.and_then(|id| state.project_of_environment(id)).map(str::to_owned);
    Asked { operation, project, object }
}

fn named(state: &ClusterState, node: NodeId) -> String {
    state.node_name(node)
}

fn place(project: &str, environment: &str) -> String {
    format!("{project} ({environment})")
}

/// The project of a deployment, and where it is in words.
fn place_of(state: &ClusterState, id: DeploymentId) -> Option<(&str, String)> {
    let project = state.project_of(id)?;
    let environment = state.environments.get(&state.deployments.get(&id)?.environment)?;
    Some((project, place(project, &environment.name)))
}

fn granted(name: &str, grant: &Grant) -> String {
    format!("{name}: {grant}")
}

/// The host of a URL; its path may hold what is nobody's business.
fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default().to_owned()
}
