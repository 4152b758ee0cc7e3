//! From what is written to what is deployed: defaults, overrides of an environment, checks.

use temps_core::host;
use temps_core::model::{
    DeployRules, HEALTH_TIMEOUT_MAX, Health, Opaque, Placement, RouteRules, Spec, Variables,
};
use temps_core::text;
use toml::Spanned;

use super::found::{Found, INSTANCES_MAX, millis};
use super::problem::Problem;
use super::{ProjectFile, making, placing, process, raw, routing, safety, strategy};
use crate::names;

/// The file for one environment; the overrides of the others are checked all the same.
pub(super) fn resolve(raw: &raw::Raw, environment: &str) -> Result<ProjectFile, Vec<Problem>> {
    let mut found = Found::default();
    let project = raw.project.name.as_ref().map(|name| {
        found.name("project", name);
        name.get_ref().clone()
    });
    let base = Spec {
        processes: process::processes(raw, &mut found),
        health: health(&raw.health, &mut found),
        deploy: deploy(&raw.deploy, &mut found),
        rollback: safety::rollback(&raw.rollback, &mut found),
        routes: routing::routes(RouteRules::default(), &raw.routes, &mut found),
        variables: variables(&raw.env, &mut found),
        release: making::release(raw.release.as_ref(), &mut found),
        schema: raw.schema.as_ref().and_then(|schema| safety::schema(schema, &mut found)),
        volumes: placing::volumes(&raw.volumes, &mut found),
        placement: placing::placement(&Placement::default(), &raw.placement, &mut found),
    };
    let build = making::build(&raw.build, &mut found);
    fits_deadline(raw, &base, &mut found);
    let mut spec = base.clone();
    for (name, overrides) in &raw.environments {
        found.name("environment", name);
        let merged = merge(base.clone(), overrides, &mut found);
        if name.get_ref() == environment {
            spec = merged;
        }
    }
    if found.0.is_empty() { Ok(ProjectFile { project, build, spec }) } else { Err(found.0) }
}

fn health(raw: &raw::Health, found: &mut Found) -> Health {
    let default = Health::default();
    let health = Health {
        path: raw.path.as_ref().map_or(default.path, |path| {
            url_path("path", path, found);
            path.get_ref().clone()
        }),
        interval: found.longer_than_zero("interval", &raw.interval, default.interval),
        timeout: found.longer_than_zero("timeout", &raw.timeout, default.timeout),
        healthy_threshold: found.at_least_one(
            "healthy_threshold",
            &raw.healthy_threshold,
            default.healthy_threshold,
        ),
        unhealthy_threshold: found.at_least_one(
            "unhealthy_threshold",
            &raw.unhealthy_threshold,
            default.unhealthy_threshold,
        ),
        start_period: millis(&raw.start_period, default.start_period),
        expect: raw.expect.as_ref().map_or(default.expect, |status| status.get_ref().0),
        host: raw.host.as_ref().map(|host| normal_host(host, found)),
    };
    if let Some(timeout) = raw.timeout.as_ref().filter(|timeout| timeout.get_ref().0 > HEALTH_TIMEOUT_MAX) {
        found.at(timeout.span(), format!("timeout must be at most {}", text::duration(HEALTH_TIMEOUT_MAX)));
    }
    health
}

fn deploy(raw: &raw::Deploy, found: &mut Found) -> DeployRules {
    let default = DeployRules::default();
    let (strategy, canary, sticky) = strategy::strategy(raw, found);
    let number = |number: &raw::Number, default| number.as_ref().map_or(default, |n| *n.get_ref());
    let rules = DeployRules {
        strategy,
        canary,
        sticky,
        max_surge: number(&raw.max_surge, default.max_surge),
        max_unavailable: number(&raw.max_unavailable, default.max_unavailable),
        drain_timeout: millis(&raw.drain_timeout, default.drain_timeout),
        stop_grace: millis(&raw.stop_grace, default.stop_grace),
        deadline: found.longer_than_zero("deadline", &raw.deadline, default.deadline),
    };
    if rules.max_surge == 0 && rules.max_unavailable == 0 {
        let span = raw.max_surge.as_ref().or(raw.max_unavailable.as_ref()).map(Spanned::span);
        let message = "max_surge and max_unavailable cannot both be 0: no instance could ever be replaced";
        found.0.push(
            Problem::at(span, message)
                .help("write `max_surge = 1` to start a new instance before an old one stops"),
        );
    }
    for (name, number) in [("max_surge", &raw.max_surge), ("max_unavailable", &raw.max_unavailable)] {
        if let Some(number) = number.as_ref().filter(|n| *n.get_ref() > INSTANCES_MAX) {
            found.at(number.span(), format!("{name} must be at most {INSTANCES_MAX}"));
        }
    }
    rules
}

/// A release that becomes healthy as late as it may must do so before the deadline.
fn fits_deadline(raw: &raw::Raw, spec: &Spec, found: &mut Found) {
    let checks = spec.health.interval.saturating_mul(u64::from(spec.health.healthy_threshold));
    let least = spec.health.start_period.saturating_add(checks);
    if spec.deploy.deadline == 0 || least <= spec.deploy.deadline {
        return;
    }
    let durations = [&raw.deploy.deadline, &raw.health.start_period, &raw.health.interval];
    let span = durations.into_iter().flatten().map(Spanned::span).next();
    let span = span.or_else(|| raw.health.healthy_threshold.as_ref().map(Spanned::span));
    let message = format!(
        "no release could become healthy in time: deadline is {}, but start_period ({}) and {} checks every {} take {}",
        text::duration(spec.deploy.deadline),
        text::duration(spec.health.start_period),
        spec.health.healthy_threshold,
        text::duration(spec.health.interval),
        text::duration(least),
    );
    let help = format!("write `deadline = \"{}\"` or more in [deploy]", text::duration(least));
    found.0.push(Problem::at(span, message).help(help));
}

pub(super) fn normal_host(written: &Spanned<String>, found: &mut Found) -> String {
    match host::normalise(written.get_ref()) {
        Ok(normal) => normal,
        Err(why) => {
            found.at(written.span(), format!("\"{}\": {why}", written.get_ref()));
            written.get_ref().clone()
        }
    }
}

pub(super) fn url_path(what: &str, path: &Spanned<String>, found: &mut Found) {
    if !path.get_ref().starts_with('/') {
        let problem = Problem::at(Some(path.span()), format!("{what} must start with `/`"));
        found.0.push(problem.help(format!("write \"/{}\"", path.get_ref())));
    } else if !path.get_ref().bytes().all(|b| b.is_ascii_graphic()) {
        found.at(
            path.span(),
            format!("{what} must be printable ASCII without spaces; write other characters as %XX"),
        );
    }
}

fn variables(raw: &raw::Variables, found: &mut Found) -> Variables {
    let mut all = Variables::new();
    for (name, value) in raw {
        if let Err(why) = names::variable(name.get_ref()) {
            found.at(name.span(), why);
        }
        if value.get_ref().0.contains('\0') {
            let message = format!(
                "the value of {} contains a NUL character, which no environment can hold",
                name.get_ref()
            );
            found.at(value.span(), message);
        }
        all.insert(name.get_ref().clone(), Opaque(value.get_ref().0.clone()));
    }
    all
}

fn merge(mut spec: Spec, overrides: &raw::Environment, found: &mut Found) -> Spec {
    for (name, overridden) in &overrides.processes {
        process::merge(&mut spec.processes, name, overridden, found);
    }
    spec.placement = placing::placement(&spec.placement, &overrides.placement, found);
    spec.routes = routing::routes(spec.routes, &overrides.routes, found);
    spec.variables.extend(variables(&overrides.env, found));
    spec
}
