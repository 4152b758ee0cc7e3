//! A resolved file as it is shown: every default filled in, every value of a variable hidden.

use std::collections::BTreeMap;

use serde::Serialize;
use temps_core::model::{CanaryStep, Https, Order, ProcessSpec, Protocol, Spec};
use temps_core::written::duration::write;
use temps_core::written::write_percent;

use super::{ProjectFile, amount};

/// A resolved file as it is shown. Written as TOML it is a `temps.toml` again.
#[derive(Debug, Serialize)]
pub(crate) struct Shown<'a> {
    project: Project<'a>,
    build: Build<'a>,
    processes: BTreeMap<&'a str, Process<'a>>,
    health: Health<'a>,
    deploy: Deploy<'a>,
    rollback: Rollback,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<Schema>,
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<Release<'a>>,
    routes: Routes<'a>,
    placement: Placement<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    volumes: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<&'a str, &'static str>,
}

#[derive(Debug, Serialize)]
struct Project<'a> {
    name: &'a str,
}

#[derive(Debug, Serialize)]
struct Build<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    dockerfile: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    builder: Option<&'static str>,
    timeout: String,
}

#[derive(Debug, Serialize)]
struct Process<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    command: &'a str,
    http: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    instances: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain_timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: Option<&'a str>,
    order: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    exclusive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<&'a str>,
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
struct Deploy<'a> {
    strategy: &'static str,
    max_surge: u32,
    max_unavailable: u32,
    drain_timeout: String,
    stop_grace: String,
    deadline: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<Canary<'a>>,
}

#[derive(Debug, Serialize)]
struct Canary<'a> {
    steps: Vec<Share>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sticky: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Share {
    weight: u32,
    hold: String,
}

#[derive(Debug, Serialize)]
struct Rollback {
    watch: String,
    crash_limit: u32,
    keep: u32,
    error_rate_factor: u32,
    error_rate_floor: String,
    latency_floor: String,
    min_requests: u64,
    warm: bool,
}

#[derive(Debug, Serialize)]
struct Schema {
    provides: u64,
    requires: String,
}

#[derive(Debug, Serialize)]
struct Release<'a> {
    command: &'a str,
    timeout: String,
}

#[derive(Debug, Serialize)]
struct Routes<'a> {
    domains: &'a [String],
    path_prefix: &'a str,
    https: Https,
    #[serde(skip_serializing_if = "Option::is_none")]
    hsts: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Placement<'a> {
    spread: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    require: &'a BTreeMap<String, String>,
}

impl<'a> Shown<'a> {
    pub(crate) fn of(project: &'a str, file: &'a ProjectFile) -> Self {
        let ProjectFile { build, spec, .. } = file;
        Self {
            project: Project { name: project },
            build: Build {
                dockerfile: build.dockerfile.as_deref(),
                builder: build.builder.map(super::Builder::word),
                timeout: write(build.timeout),
            },
            processes: spec.processes.iter().map(|(name, p)| (name.as_str(), process(p))).collect(),
            health: health(spec),
            deploy: Deploy {
                strategy: spec.deploy.strategy.word(),
                max_surge: spec.deploy.max_surge,
                max_unavailable: spec.deploy.max_unavailable,
                drain_timeout: write(spec.deploy.drain_timeout),
                stop_grace: write(spec.deploy.stop_grace),
                deadline: write(spec.deploy.deadline),
                canary: (!spec.deploy.canary.is_empty()).then(|| Canary {
                    steps: spec.deploy.canary.iter().map(canary_step).collect(),
                    sticky: spec.deploy.sticky.as_deref(),
                }),
            },
            rollback: Rollback {
                watch: write(spec.rollback.watch),
                crash_limit: spec.rollback.crash_limit,
                keep: spec.rollback.keep,
                error_rate_factor: spec.rollback.error_rate_factor,
                error_rate_floor: write_percent(spec.rollback.error_rate_floor),
                latency_floor: write(spec.rollback.latency_floor),
                min_requests: spec.rollback.min_requests,
                warm: spec.rollback.warm,
            },
            schema: spec.schema.map(|schema| Schema {
                provides: schema.provides,
                requires: format!("{}..{}", schema.from, schema.to),
            }),
            release: spec
                .release
                .as_ref()
                .map(|release| Release { command: &release.command, timeout: write(release.timeout) }),
            routes: Routes {
                domains: &spec.routes.domains,
                path_prefix: &spec.routes.path_prefix,
                https: spec.routes.https,
                hsts: spec.routes.hsts,
            },
            placement: Placement { spread: &spec.placement.spread, require: &spec.placement.require },
            volumes: &spec.volumes,
            env: spec.variables.keys().map(|name| (name.as_str(), "***")).collect(),
        }
    }
}

fn canary_step(step: &CanaryStep) -> Share {
    Share { weight: step.weight, hold: write(step.hold) }
}

fn process(p: &ProcessSpec) -> Process<'_> {
    Process {
        command: &p.command,
        http: p.http,
        port: p.port,
        instances: p.instances,
        memory: p.memory.map(amount::write_memory),
        cpus: p.cpus.map(|thousandths| f64::from(thousandths) / 1_000.0),
        drain_timeout: p.drain_timeout.map(write),
        stop_signal: p.stop_signal.as_deref(),
        order: match p.order {
            Order::StartFirst => "start_first",
            Order::StopFirst => "stop_first",
        },
        protocol: (p.protocol == Protocol::Http2).then_some("h2c"),
        exclusive: p.exclusive,
        check: p.check.as_deref(),
    }
}

fn health(spec: &Spec) -> Health<'_> {
    Health {
        path: &spec.health.path,
        interval: write(spec.health.interval),
        timeout: write(spec.health.timeout),
        healthy_threshold: spec.health.healthy_threshold,
        unhealthy_threshold: spec.health.unhealthy_threshold,
        start_period: write(spec.health.start_period),
        expect: spec.health.expect,
        host: spec.health.host.as_deref(),
    }
}
