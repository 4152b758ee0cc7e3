//! A resolved file as it is shown: every default filled in, every value of a variable hidden.

use std::collections::BTreeMap;

use serde::Serialize;
use temps_core::model::{Spec, Strategy};

use super::duration::write;

/// A resolved file as it is shown. Written as TOML it is a `temps.toml` again.
#[derive(Debug, Serialize)]
pub(crate) struct Shown<'a> {
    project: Project<'a>,
    processes: BTreeMap<&'a str, Process<'a>>,
    health: Health<'a>,
    deploy: Deploy,
    rollback: Rollback,
    routes: Routes<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<&'a str, &'static str>,
}

#[derive(Debug, Serialize)]
struct Project<'a> {
    name: &'a str,
}

#[derive(Debug, Serialize)]
struct Process<'a> {
    command: &'a str,
    http: bool,
    instances: u32,
}

#[derive(Debug, Serialize)]
struct Health<'a> {
    path: &'a str,
    interval: String,
    timeout: String,
    healthy_threshold: u32,
    unhealthy_threshold: u32,
    start_period: String,
    expect: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Deploy {
    strategy: &'static str,
    max_surge: u32,
    max_unavailable: u32,
    drain_timeout: String,
    stop_grace: String,
    deadline: String,
}

#[derive(Debug, Serialize)]
struct Rollback {
    watch: String,
    crash_limit: u32,
    keep: u32,
}

#[derive(Debug, Serialize)]
struct Routes<'a> {
    domains: &'a [String],
    path_prefix: &'a str,
}

impl<'a> Shown<'a> {
    pub(crate) fn of(project: &'a str, spec: &'a Spec) -> Self {
        let process = |p: &'a temps_core::model::ProcessSpec| Process {
            command: &p.command,
            http: p.http,
            instances: p.instances,
        };
        Self {
            project: Project { name: project },
            processes: spec.processes.iter().map(|(name, p)| (name.as_str(), process(p))).collect(),
            health: Health {
                path: &spec.health.path,
                interval: write(spec.health.interval),
                timeout: write(spec.health.timeout),
                healthy_threshold: spec.health.healthy_threshold,
                unhealthy_threshold: spec.health.unhealthy_threshold,
                start_period: write(spec.health.start_period),
                expect: spec.health.expect,
                host: spec.health.host.as_deref(),
            },
            deploy: Deploy {
                strategy: match spec.deploy.strategy {
                    Strategy::Rolling => "rolling",
                },
                max_surge: spec.deploy.max_surge,
                max_unavailable: spec.deploy.max_unavailable,
                drain_timeout: write(spec.deploy.drain_timeout),
                stop_grace: write(spec.deploy.stop_grace),
                deadline: write(spec.deploy.deadline),
            },
            rollback: Rollback {
                watch: write(spec.rollback.watch),
                crash_limit: spec.rollback.crash_limit,
                keep: spec.rollback.keep,
            },
            routes: Routes { domains: &spec.routes.domains, path_prefix: &spec.routes.path_prefix },
            env: spec.variables.keys().map(|name| (name.as_str(), "***")).collect(),
        }
    }
}
