//! What names and settings must look like. Every client is checked here, whatever it checked itself.

use super::invalid;
use crate::command::Rejection;
use crate::model::{
    DeployRules, Form, MILLION, Maintenance, Order, Placement, ProcessSpec, Protocol, RELEASE_PROCESS,
    Source, Spec, Strategy, Variables,
};
use crate::strategy::{CANARY_STEPS_MAX, is_cookie_name};

/// The least memory that Docker accepts as a limit, in bytes.
const MEMORY_MIN: u64 = 6 << 20;

/// The longest name.
const NAME_MAX: usize = 40;
/// The most instances of one process.
pub(super) const INSTANCES_MAX: u32 = 1_000;
/// The longest message of an environment in maintenance, in characters.
const MESSAGE_MAX: usize = 500;
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
        self::process(process, p)?;
    }
    extras(spec)?;
    rules(spec)?;
    for name in &spec.routes.domains {
        domain(name)?;
    }
    if !spec.routes.path_prefix.starts_with('/') {
        return Err(invalid("routes.path_prefix must start with /"));
    }
    variables(&spec.variables)
}

pub(super) fn domain(name: &str) -> Result<(), Rejection> {
    match crate::host::normalise(name) {
        Ok(normal) if normal == *name => Ok(()),
        Ok(normal) => Err(invalid(format!("the domain {name:?} must be written {normal:?}"))),
        Err(e) => Err(invalid(format!("the domain {name:?}: {e}"))),
    }
}

fn process(name: &str, p: &ProcessSpec) -> Result<(), Rejection> {
    let wrong = |why: String| Err(invalid(format!("process {name:?} {why}")));
    if name == RELEASE_PROCESS {
        return Err(invalid(format!(
            "a process cannot be named {name:?}: that is what the release command is called; choose another name"
        )));
    }
    if p.command.contains('\0') || p.check.as_ref().is_some_and(|c| c.contains('\0')) {
        return wrong("has a NUL byte in a command, which no command line can hold".to_owned());
    }
    if p.check.as_ref().is_some_and(|c| c.trim().is_empty()) {
        return wrong("has an empty check; leave it out".to_owned());
    }
    if p.check.is_some() && p.http {
        return wrong("answers HTTP, so its health check is that of [health]; leave `check` out".to_owned());
    }
    if p.protocol != Protocol::default() && !p.http {
        return wrong("speaks a protocol of HTTP, so it must answer HTTP".to_owned());
    }
    if p.port == Some(0) {
        return wrong("must have a port from 1 to 65535".to_owned());
    }
    if p.memory.is_some_and(|bytes| bytes < MEMORY_MIN) {
        return wrong(format!("must have at least {} of memory", crate::text::bytes(MEMORY_MIN)));
    }
    if p.cpus.is_some_and(|cpus| !(10..=1_000_000).contains(&cpus)) {
        return wrong("must have from 0.01 to 1000 cpus".to_owned());
    }
    if p.exclusive && (p.instances != 1 || p.order != Order::StopFirst) {
        return wrong("is exclusive, so it must have one instance and order = \"stop_first\"".to_owned());
    }
    let is_signal = |s: &String| {
        s.strip_prefix("SIG").is_some_and(|rest| {
            !rest.is_empty()
                && rest.len() <= 10
                && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        })
    };
    if p.stop_signal.as_ref().is_some_and(|s| !is_signal(s)) {
        return wrong("must have a stop signal such as \"SIGTERM\"".to_owned());
    }
    Ok(())
}

fn extras(spec: &Spec) -> Result<(), Rejection> {
    if let Some(release) = &spec.release
        && (release.command.trim().is_empty() || release.command.contains('\0') || release.timeout == 0)
    {
        return Err(invalid("the release command must not be empty, and its timeout longer than 0"));
    }
    for (volume, path) in &spec.volumes {
        name("volume", volume)?;
        let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        let fits = path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain))
            && path.len() <= 255
            && path.bytes().all(|b| b.is_ascii_graphic() && b != b':' && b != b',');
        if !fits {
            return Err(invalid(format!(
                "the volume {volume:?} must be mounted at an absolute path such as \"/var/lib/app\", not {path:?}"
            )));
        }
    }
    let label =
        |text: &str| !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic());
    let Placement { spread, require } = &spec.placement;
    if !label(spread) || !require.iter().all(|(name, value)| label(name) && label(value)) {
        return Err(invalid(
            "placement.spread and the labels of placement.require must be 1 to 64 printable characters without spaces",
        ));
    }
    Ok(())
}

/// What is to run, and that it can hold to the specification.
pub(super) fn source(source: &Source, spec: &Spec) -> Result<(), Rejection> {
    let is_hex = |text: &str| {
        text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    if source.stored().is_some_and(|file| !is_hex(&file.digest) || file.form != Form::Bundle) {
        return Err(invalid("the digest of what is deployed must be a SHA-256 in hex"));
    }
    match source {
        Source::Bundle { .. } => {
            for (name, p) in &spec.processes {
                if p.command.trim().is_empty() {
                    return Err(invalid(format!("process {name:?} needs a command")));
                }
                if p.memory.is_some() || p.cpus.is_some() {
                    return Err(invalid(format!(
                        "process {name:?} has limits of memory or processor time, which only containers can hold to; deploy an image, or leave them out"
                    )));
                }
            }
            if !spec.volumes.is_empty() {
                return Err(invalid("volumes need containers; deploy an image, or leave them out"));
            }
        }
        Source::Build { dockerfile, timeout, .. } => {
            let plain = |part: &str| !part.is_empty() && part != "..";
            if !dockerfile.split('/').all(plain) || dockerfile.contains('\0') || *timeout == 0 {
                return Err(invalid(
                    "the Dockerfile must be a path inside the directory, and the time for building longer than 0",
                ));
            }
        }
        Source::Image { id, reference, .. } => {
            if !id.strip_prefix("sha256:").is_some_and(is_hex) || reference.is_empty() {
                return Err(invalid("an image must be known by sha256: and 64 hexadecimal digits"));
            }
        }
    }
    Ok(())
}

/// How releases are checked, replaced and taken back.
pub(super) fn rules(spec: &Spec) -> Result<(), Rejection> {
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
    strategy(deploy)?;
    let checks = health.interval.saturating_mul(u64::from(health.healthy_threshold));
    let least = health.start_period.saturating_add(checks);
    if deploy.deadline < least {
        return Err(invalid(format!(
            "deploy.deadline ({}) is shorter than health.start_period and the checks that make an instance healthy ({}); no release could succeed",
            crate::text::duration(deploy.deadline),
            crate::text::duration(least),
        )));
    }
    if rollback.error_rate_factor < 2 || rollback.error_rate_floor > MILLION {
        return Err(invalid(
            "rollback.error_rate_factor must be at least 2, and rollback.error_rate_floor at most 100%",
        ));
    }
    if spec.schema.is_some_and(|schema| !schema.takes(schema.provides)) {
        return Err(invalid("schema.requires must include schema.provides"));
    }
    if rollback.crash_limit == 0 || rollback.keep == 0 {
        return Err(invalid("rollback.crash_limit and rollback.keep must be at least 1"));
    }
    Ok(())
}

fn strategy(deploy: &DeployRules) -> Result<(), Rejection> {
    let is_canary = deploy.strategy == Strategy::Canary;
    if !is_canary && (!deploy.canary.is_empty() || deploy.sticky.is_some()) {
        return Err(invalid("deploy.canary needs deploy.strategy = \"canary\""));
    }
    if is_canary && !(1..=CANARY_STEPS_MAX).contains(&deploy.canary.len()) {
        return Err(invalid(format!("a canary has 1 to {CANARY_STEPS_MAX} steps")));
    }
    let weights = || deploy.canary.iter().map(|step| step.weight);
    if !weights().all(|weight| (1..=99).contains(&weight)) || !weights().is_sorted_by(|a, b| a < b) {
        return Err(invalid("the weights of a canary's steps must be from 1 to 99 percent and grow"));
    }
    if deploy.sticky.as_ref().is_some_and(|cookie| !is_cookie_name(cookie)) {
        return Err(invalid("deploy.canary.sticky must be the name of a cookie, at most 64 characters"));
    }
    Ok(())
}

pub(super) fn maintenance(maintenance: &Maintenance) -> Result<(), Rejection> {
    let Maintenance { message, retry_after } = maintenance;
    let fits = |text: &String| {
        !text.trim().is_empty() && text.chars().count() <= MESSAGE_MAX && !text.chars().any(char::is_control)
    };
    if !message.as_ref().is_none_or(fits) {
        return Err(invalid(format!(
            "the message must be 1 to {MESSAGE_MAX} characters without line breaks or other control characters; or leave it out"
        )));
    }
    if !(1..=86_400).contains(retry_after) {
        return Err(invalid(format!(
            "clients may be told to try again after 1 to 86400 seconds, not {retry_after}"
        )));
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
