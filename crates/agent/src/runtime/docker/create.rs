//! What a container is created with. Pure: a job in, a description out.
//!
//! A container gets no privileges, no devices, no namespaces and no directories of its machine, and no
//! port of it. Values of variables are data all the way.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, ImageConfig, Mount, MountType, RestartPolicy,
    RestartPolicyNameEnum,
};
use temps_core::model::DEFAULT_PORT;

use super::container::{
    CLUSTER, DIGEST, ENVIRONMENT, GRACE, INSTANCE, NODE, Owner, PORT, PROCESS, PROJECT, RELEASE,
};
use super::words::words;
use crate::runtime::Job;

/// How many processes and threads an instance may have: far beyond need, and short of what stops a machine.
const PIDS: i64 = 4_096;
/// How large a file of a container's log may become, and how many there are.
const LOG: [(&str, &str); 2] = [("max-size", "10m"), ("max-file", "3")];
/// Tells the init of a container to signal all children of a shell, not only the shell.
const SIGNAL_GROUP: &str = "TINI_KILL_PROCESS_GROUP";

/// Where an instance answers HTTP; `None` where it does not.
pub(super) fn port(job: &Job, image: &ImageConfig) -> Option<u16> {
    let process = &job.work.process;
    process.http.then(|| process.port.or_else(|| exposed(image)).unwrap_or(DEFAULT_PORT))
}

/// The only TCP port that an image exposes.
fn exposed(image: &ImageConfig) -> Option<u16> {
    let ports = image.exposed_ports.as_deref().unwrap_or_default();
    let mut tcp = ports.iter().filter_map(|port| {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        (protocol == "tcp").then(|| number.parse().ok()).flatten()
    });
    tcp.next().filter(|_| tcp.next().is_none())
}

/// The labels that everything of a project has.
pub(super) fn labels(owner: &Owner, project: &str) -> HashMap<String, String> {
    [(CLUSTER, owner.cluster.clone()), (PROJECT, project.to_owned())]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

/// The labels of a volume.
pub(super) fn volume_labels(owner: &Owner, job: &Job) -> HashMap<String, String> {
    let mut all = labels(owner, &job.work.project);
    all.insert(ENVIRONMENT.to_owned(), job.work.environment.clone());
    all
}

/// The description of an instance's container.
pub(super) fn container(
    owner: &Owner,
    job: &Job,
    image: &str,
    network: &str,
    port: Option<u16>,
) -> ContainerCreateBody {
    let work = &job.work;
    let stop_seconds = work.stop_grace.div_ceil(1_000);
    ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: words(&work.process.command),
        env: Some(environment(job, port)),
        labels: Some(container_labels(owner, job, port)),
        stop_signal: work.process.stop_signal.clone(),
        // For an engine that stops, and for people who use its own stop.
        stop_timeout: Some(i64::try_from(stop_seconds).unwrap_or(i64::MAX)),
        host_config: Some(HostConfig {
            network_mode: Some(network.to_owned()),
            mounts: Some(mounts(owner, job)),
            memory: work.process.memory.map(signed),
            // The same number: no swap beyond the memory.
            memory_swap: work.process.memory.map(signed),
            nano_cpus: work.process.cpus.map(|thousandths| i64::from(thousandths) * 1_000_000),
            ..contained()
        }),
        ..ContainerCreateBody::default()
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// What is the same for all containers.
fn contained() -> HostConfig {
    HostConfig {
        init: Some(true),
        privileged: Some(false),
        publish_all_ports: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        pids_limit: Some(PIDS),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            ..RestartPolicy::default()
        }),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(LOG.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
        }),
        ..HostConfig::default()
    }
}

fn mounts(owner: &Owner, job: &Job) -> Vec<Mount> {
    let work = &job.work;
    work.volumes
        .iter()
        .map(|(name, target)| Mount {
            typ: Some(MountType::VOLUME),
            source: Some(owner.volume(&work.project, &work.environment, name)),
            target: Some(target.clone()),
            ..Mount::default()
        })
        .collect()
}

/// What is set beside the image's own variables.
fn environment(job: &Job, port: Option<u16>) -> Vec<String> {
    let work = &job.work;
    let mut all = BTreeMap::from([(SIGNAL_GROUP, "1".to_owned())]);
    all.extend(work.variables.iter().map(|(name, value)| (name.as_str(), value.0.clone())));
    all.extend(port.map(|port| ("PORT", port.to_string())));
    all.extend([
        ("TEMPS_PROJECT", work.project.clone()),
        ("TEMPS_ENVIRONMENT", work.environment.clone()),
        ("TEMPS_RELEASE", work.instance.release.to_string()),
        ("TEMPS_INSTANCE", work.instance.id.to_string()),
        ("TEMPS_NODE", job.node.to_string()),
    ]);
    all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// All of them are set: an image cannot bring its own.
fn container_labels(owner: &Owner, job: &Job, port: Option<u16>) -> HashMap<String, String> {
    let work = &job.work;
    let mut all = volume_labels(owner, job);
    all.extend(
        [
            (NODE, owner.node.to_string()),
            (RELEASE, work.instance.release.to_string()),
            (INSTANCE, work.instance.id.to_string()),
            (PROCESS, work.instance.process.clone()),
            (DIGEST, work.artifact.digest.clone()),
            (PORT, port.map(|port| port.to_string()).unwrap_or_default()),
            (GRACE, work.stop_grace.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    all
}

#[cfg(test)]
mod tests {
    use bollard::models::ImageConfig;

    use super::exposed;

    #[test]
    fn only_a_single_exposed_port_is_meant() {
        let with = |ports: &[&str]| ImageConfig {
            exposed_ports: Some(ports.iter().map(|p| (*p).to_owned()).collect()),
            ..ImageConfig::default()
        };
        assert_eq!(exposed(&ImageConfig::default()), None);
        assert_eq!(exposed(&with(&["3000/tcp"])), Some(3000));
        assert_eq!(exposed(&with(&["3000"])), Some(3000));
        assert_eq!(exposed(&with(&["53/udp", "3000/tcp"])), Some(3000));
        assert_eq!(exposed(&with(&["80/tcp", "443/tcp"])), None);
        assert_eq!(exposed(&with(&["x/tcp", "70000/tcp", ""])), None);
    }
}
