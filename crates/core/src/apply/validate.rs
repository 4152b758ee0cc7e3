//! What names and settings must look like. Every client is checked here, whatever it checked itself.

use super::invalid;
use crate::command::Rejection;
use crate::model::{Spec, Variables};

/// The longest name.
const NAME_MAX: usize = 40;
/// The most instances of one process.
pub(super) const INSTANCES_MAX: u32 = 1_000;
/// The largest sum of names and values of variables, in bytes.
const VARIABLES_MAX: usize = 1 << 20;

pub(super) fn name(what: &str, name: &str) -> Result<(), Rejection> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let fits = !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(inner);
    if fits && !name.starts_with('-') && !name.ends_with('-') {
        return Ok(());
    }
    Err(invalid(format!(
        "the {what} name {name:?} must be 1 to {NAME_MAX} lower-case letters, digits and inner dashes"
    )))
}

pub(super) fn spec(spec: &Spec) -> Result<(), Rejection> {
    if spec.processes.is_empty() {
        return Err(invalid("a release needs at least one process"));
    }
    if spec.processes.values().filter(|p| p.http).count() > 1 {
        return Err(invalid("only one process of a release can answer HTTP"));
    }
    for (process, p) in &spec.processes {
        name("process", process)?;
        instances(process, p.instances)?;
        if p.command.trim().is_empty() || p.command.contains('\0') {
            return Err(invalid(format!("process {process:?} needs a command")));
        }
    }
    rules(spec)?;
    for domain in &spec.routes.domains {
        match crate::host::normalise(domain) {
            Ok(normal) if normal == *domain => {}
            Ok(normal) => return Err(invalid(format!("the domain {domain:?} must be written {normal:?}"))),
            Err(e) => return Err(invalid(format!("the domain {domain:?}: {e}"))),
        }
    }
    if !spec.routes.path_prefix.starts_with('/') {
        return Err(invalid("routes.path_prefix must start with /"));
    }
    variables(&spec.variables)
}

fn rules(spec: &Spec) -> Result<(), Rejection> {
    let (health, deploy, rollback) = (&spec.health, &spec.deploy, &spec.rollback);
    let printable = |s: &str| s.bytes().all(|b| b.is_ascii_graphic());
    if !health.path.starts_with('/') || !printable(&health.path) {
        return Err(invalid("health.path must start with / and contain no spaces"));
    }
    if health.host.as_ref().is_some_and(|h| h.is_empty() || !printable(h)) {
        return Err(invalid("health.host must be a host name"));
    }
    if health.interval == 0 || health.timeout == 0 {
        return Err(invalid("health.interval and health.timeout must be longer than 0"));
    }
    if health.healthy_threshold == 0 || health.unhealthy_threshold == 0 {
        return Err(invalid("health.healthy_threshold and health.unhealthy_threshold must be at least 1"));
    }
    if !(100..=599).contains(&health.expect) {
        return Err(invalid("health.expect must be a status from 100 to 599"));
    }
    if deploy.max_surge == 0 && deploy.max_unavailable == 0 {
        return Err(invalid(
            "deploy.max_surge and deploy.max_unavailable cannot both be 0: nothing could move",
        ));
    }
    let checks = health.interval.saturating_mul(u64::from(health.healthy_threshold));
    let least = health.start_period.saturating_add(checks);
    if deploy.deadline < least {
        return Err(invalid(format!(
            "deploy.deadline ({}) is shorter than health.start_period and the checks that make an instance healthy ({}); no release could succeed",
            crate::text::duration(deploy.deadline),
            crate::text::duration(least),
        )));
    }
    if rollback.crash_limit == 0 || rollback.keep == 0 {
        return Err(invalid("rollback.crash_limit and rollback.keep must be at least 1"));
    }
    Ok(())
}

pub(super) fn instances(process: &str, n: u32) -> Result<(), Rejection> {
    if (1..=INSTANCES_MAX).contains(&n) {
        return Ok(());
    }
    Err(invalid(format!("process {process:?} must have 1 to {INSTANCES_MAX} instances, not {n}")))
}

pub(super) fn variables(variables: &Variables) -> Result<(), Rejection> {
    let mut total = 0;
    for (name, value) in variables {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let fits = !name.is_empty() && name.bytes().all(word) && !name.as_bytes()[0].is_ascii_digit();
        if !fits {
            return Err(invalid(format!(
                "the variable name {name:?} must be letters, digits and _, and not start with a digit"
            )));
        }
        if value.0.contains('\0') {
            return Err(invalid(format!(
                "the value of {name} contains a NUL byte, which no environment can hold"
            )));
        }
        total += name.len() + value.0.len();
    }
    if total > VARIABLES_MAX {
        return Err(invalid(format!("the variables take {total} bytes, at most {VARIABLES_MAX} fit")));
    }
    Ok(())
}
