//! `[processes.NAME]`: what runs, how many of it, and how it is replaced.

use std::collections::BTreeMap;

use temps_core::model::{Order, ProcessSpec, Protocol, RELEASE_PROCESS};
use toml::Spanned;

use super::found::Found;
use super::problem::Problem;
use super::raw;

/// The process that answers HTTP unless the file says otherwise, and the only one where it names none.
const WEB: &str = "web";
/// The signals that can ask a process to end; the others end or stop it whether it wants or not, or mean
/// something else.
const SIGNALS: [&str; 11] = [
    "SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGABRT", "SIGALRM", "SIGWINCH",
    "SIGPWR", "SIGIO",
];

/// All processes. A file that names none means the one that an image runs by itself.
pub(super) fn processes(raw: &raw::Raw, found: &mut Found) -> BTreeMap<String, ProcessSpec> {
    if raw.processes.is_empty() {
        let web = ProcessSpec { http: true, instances: 1, ..ProcessSpec::default() };
        return [(WEB.to_owned(), web)].into();
    }
    let mut all = BTreeMap::new();
    let mut answering: Option<&Spanned<String>> = None;
    for (name, process) in &raw.processes {
        found.name("process", name);
        if name.get_ref() == RELEASE_PROCESS {
            let message = format!(
                "a process cannot be called `{RELEASE_PROCESS}`: that is how the release command runs"
            );
            let help = "for what runs once before new instances start, write it as `command` in [release]";
            found.with_help(name.span(), message, help);
        }
        let http = process.http.unwrap_or(name.get_ref() == WEB);
        if http {
            if let Some(other) = answering {
                two_answer(other, name, found);
            }
            answering = Some(name);
        }
        all.insert(name.get_ref().clone(), one(process, http, found));
    }
    all
}

fn two_answer(other: &Spanned<String>, name: &Spanned<String>, found: &mut Found) {
    let message = format!(
        "both `{}` and `{}` answer HTTP, and requests can only go to one process",
        other.get_ref(),
        name.get_ref()
    );
    let idle = if name.get_ref() == WEB { name } else { other };
    found.with_help(name.span(), message, format!("write `http = false` in [processes.{}]", idle.get_ref()));
}

fn one(process: &raw::Process, http: bool, found: &mut Found) -> ProcessSpec {
    let exclusive = process.exclusive.as_ref().is_some_and(|exclusive| *exclusive.get_ref());
    let spec = ProcessSpec {
        command: process.command.as_ref().map_or(String::new(), |c| found.command("the command", c)),
        http,
        instances: found.instances(&process.instances).unwrap_or(1),
        port: port(process, http, found),
        memory: process.memory.as_ref().map(|memory| memory.get_ref().0),
        cpus: process.cpus.as_ref().map(|cpus| cpus.get_ref().0),
        drain_timeout: process.drain_timeout.as_ref().map(|duration| duration.get_ref().0),
        stop_signal: process.stop_signal.as_ref().map(|signal| stop_signal(signal, found)),
        order: order(process, exclusive, found),
        exclusive,
        protocol: protocol(process, http, found),
        check: check(process, http, found),
    };
    exclusive_has_one(&spec, &process.instances, found);
    spec
}

/// A process that may never run twice has one instance.
pub(super) fn exclusive_has_one(process: &ProcessSpec, written: &raw::Number, found: &mut Found) {
    if let Some(instances) = written.as_ref().filter(|n| process.exclusive && *n.get_ref() > 1) {
        let message = "an exclusive process never runs twice, so it has one instance";
        found.with_help(instances.span(), message, "leave `instances` out, or `exclusive`");
    }
}

fn port(process: &raw::Process, http: bool, found: &mut Found) -> Option<u16> {
    let written = process.port.as_ref()?;
    let port = u16::try_from(*written.get_ref()).ok().filter(|port| *port > 0);
    if port.is_none() {
        found.at(written.span(), "port must be from 1 to 65535");
    } else if !http {
        let message = "only a process that answers HTTP has a port";
        found.with_help(written.span(), message, "write `http = true` if it does, or leave `port` out");
    }
    port
}

/// `SIGQUIT`, `QUIT` and `quit` are the same.
fn stop_signal(written: &Spanned<String>, found: &mut Found) -> String {
    let upper = written.get_ref().to_ascii_uppercase();
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    if matches!(name.as_str(), "SIGKILL" | "SIGSTOP") {
        let message = format!("no process can react to {name}, so it would lose what it is doing");
        found.with_help(written.span(), message, "write a signal that it handles, such as \"SIGTERM\"");
    } else if !SIGNALS.contains(&name.as_str()) {
        let message = format!("\"{}\" is not a signal that asks a process to end", written.get_ref());
        found.with_help(written.span(), message, format!("known: {}", SIGNALS.join(", ")));
    }
    name
}

fn order(process: &raw::Process, exclusive: bool, found: &mut Found) -> Order {
    let Some(written) = &process.order else {
        return if exclusive { Order::StopFirst } else { Order::default() };
    };
    match written.get_ref().as_str() {
        "stop_first" => Order::StopFirst,
        "start_first" => {
            if exclusive {
                let message = "an exclusive process never runs twice, so the old instance has to stop first";
                found.with_help(written.span(), message, "leave `order` out, or `exclusive`");
            }
            Order::StartFirst
        }
        other => {
            let message = format!("there is no order \"{other}\"");
            found.with_help(written.span(), message, "write \"start_first\", the default, or \"stop_first\"");
            Order::default()
        }
    }
}

fn protocol(process: &raw::Process, http: bool, found: &mut Found) -> Protocol {
    let Some(written) = &process.protocol else { return Protocol::default() };
    if !http {
        let message = "only a process that answers HTTP has a protocol";
        found.with_help(written.span(), message, "write `http = true` if it does, or leave `protocol` out");
    }
    match written.get_ref().as_str() {
        "http1" => Protocol::Http1,
        "h2c" => Protocol::Http2,
        other => {
            let message = format!("there is no protocol \"{other}\"");
            found.with_help(
                written.span(),
                message,
                "write \"http1\", the default, or \"h2c\", such as for gRPC",
            );
            Protocol::default()
        }
    }
}

fn check(process: &raw::Process, http: bool, found: &mut Found) -> Option<String> {
    let written = process.check.as_ref()?;
    if http {
        let message = "a process that answers HTTP is checked by requests, as [health] says";
        found.with_help(written.span(), message, "leave `check` out");
    }
    Some(found.command("the check", written))
}

/// What an environment changes about a process.
pub(super) fn merge(
    processes: &mut BTreeMap<String, ProcessSpec>,
    name: &Spanned<String>,
    overrides: &raw::Override,
    found: &mut Found,
) {
    let Some(known) = processes.get_mut(name.get_ref()) else {
        let message = format!("there is no [processes.{}] that could be overridden", name.get_ref());
        found.0.push(Problem::at(Some(name.span()), message));
        return;
    };
    if let Some(instances) = found.instances(&overrides.instances) {
        known.instances = instances;
    }
    if let Some(memory) = &overrides.memory {
        known.memory = Some(memory.get_ref().0);
    }
    if let Some(cpus) = &overrides.cpus {
        known.cpus = Some(cpus.get_ref().0);
    }
    exclusive_has_one(known, &overrides.instances, found);
}
