//! What a container may do, and what it is told.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use temps_tests::app::App;
use temps_tests::browser;
use temps_tests::cluster::Cluster;
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, wait};

/// Nothing that could reach out, as the engine was told and as the kernel enforces it. Several instances on a node
/// listen on the same port, beside the edge on that port.
pub(crate) fn contained(cluster: &mut Cluster) -> Result {
    let app = App::named("cage", "v1")?
        .set("processes.web.instances", 4)?
        .set("processes.web.memory", "96M")?
        .set("processes.web.cpus", 0.5)?;
    cluster.deploy_well(&app)?;
    let all = cluster.containers_of("cage")?;
    check_eq!(all.len(), 4, "containers");
    for placed in &all {
        let engine = cluster.engine(placed.node)?;
        let told = engine.inspect(&placed.container.id)?;
        let host = |name: &str| told.pointer(&format!("/HostConfig/{name}")).cloned().unwrap_or_default();
        let nothing = |value: &Value| match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(all) => all.is_empty(),
            Value::Object(all) => all.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        for name in ["CapAdd", "Devices", "DeviceRequests", "PortBindings", "Binds", "UsernsMode", "UTSMode"]
        {
            check!(nothing(&host(name)), "{name} is {}", host(name));
        }
        for (name, expected) in [
            ("Privileged", Value::from(false)),
            ("PublishAllPorts", Value::from(false)),
            ("CapDrop", Value::from(vec!["ALL"])),
            ("Init", Value::from(true)),
            ("Memory", Value::from(96 << 20)),
            ("NanoCpus", Value::from(500_000_000)),
        ] {
            check_eq!(host(name), expected, "{name}");
        }
        for name in ["NetworkMode", "PidMode", "IpcMode"] {
            check!(!host(name).as_str().unwrap_or_default().contains("host"), "{name} is {}", host(name));
        }
        check!(host("SecurityOpt").to_string().contains("no-new-privileges"), "{}", host("SecurityOpt"));
        let policy = host("RestartPolicy").get("Name").and_then(Value::as_str).unwrap_or_default().to_owned();
        check!(matches!(policy.as_str(), "" | "no"), "the engine restarts it: {policy}");

        let pid = engine.process_in(&placed.container.id, "hello")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        check_eq!(line("CapEff:"), Some("0000000000000000"), "capabilities");
        check_eq!(line("NoNewPrivs:"), Some("1"), "new privileges");
        for space in ["pid", "net", "mnt", "ipc", "uts"] {
            let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{space}"));
            check!(of(&pid.to_string())? != of("self")?, "the container is in our {space} namespace");
        }
    }
    for target in cluster.edges() {
        check_eq!(browser::get(target.address, "cage.localhost", "/")?.version(), "v1", "{}", target.name);
    }
    Ok(())
}

/// What asks for more than a container may have is refused before anything is sent.
pub(crate) fn refused(cluster: &mut Cluster) -> Result {
    let asked: [(&str, toml::Value); 7] = [
        ("processes.web.privileged", true.into()),
        ("processes.web.network", "host".into()),
        ("processes.web.pid", "host".into()),
        ("processes.web.devices", vec!["/dev/kmsg"].into()),
        ("processes.web.publish", vec!["8080:8080"].into()),
        ("volumes./etc", "/host".into()),
        ("volumes.data", "../var/run".into()),
    ];
    for (i, (path, value)) in asked.into_iter().enumerate() {
        let app = App::named("greedy", &format!("v{i}"))?.set(path, value)?;
        let dir = cluster.write(&app)?;
        let ran = cluster.cli().run(&["deploy", "-p", "greedy", &dir, "-y"])?;
        check_eq!(ran.code, 2, "{path}: {ran:#?}");
        let word = path.rsplit('.').next().unwrap_or(path).trim_start_matches('/');
        check!(ran.stderr.contains(word), "{path} is not named: {}", ran.stderr);
    }
    check_eq!(cluster.containers_of("greedy")?.len(), 0, "containers of what was refused");
    Ok(())
}

/// The port of the file is the one that is told and asked; one on which nobody listens is named.
pub(crate) fn ports(cluster: &mut Cluster) -> Result {
    let app = |version: &str| {
        App::named("ported", version)?.set("processes.web.port", 9_123)?.set("processes.web.instances", 1)
    };
    cluster.deploy_well(&app("v1")?)?;
    let edge = cluster.nodes[0].shape.edge;
    let page = browser::get(edge, "ported.localhost", "/env")?;
    let seen: Value = serde_json::from_slice(&page.body)?;
    check_eq!(seen.get("PORT"), Some(&Value::from("9123")), "the port that is told");

    let deaf = app("v2")?.env("OTHER_PORT", "9124")?.set("health.start_period", "500ms")?;
    let (ran, deployment) = cluster.deploy(&deaf)?;
    check_eq!(ran.code, 3, "exit code\n{}", deployment.story());
    let reason = &deployment.reason;
    check!(reason.contains("refused") && reason.contains("9123"), "the reason: {reason}");
    check_eq!(browser::get(edge, "ported.localhost", "/")?.version(), "v1", "after the rollback");
    Ok(())
}

/// Values stay what they were, to the byte, over restarts of servers and engines, and in containers that replace
/// removed ones.
pub(crate) fn variables(cluster: &mut Cluster) -> Result {
    let long: String = "0123456789abcdef".repeat(4096);
    let values = [
        ("QUOTES", "a\"b'c $HOME ${X} `date`"),
        ("PEM", "-----BEGIN KEY-----\nMIIB/+a=\n-----END KEY-----\n"),
        ("SPACES", "  a=b=c #x \t "),
        ("CRLF", "one\r\ntwo\r\n"),
        ("EMPTY", ""),
        ("LONG", &long),
    ];
    let app = values.iter().try_fold(App::named("told", "v1")?, |app, (name, value)| app.env(name, value))?;
    let typed: Vec<String> = values.iter().map(|(name, value)| format!("TYPED_{name}={value}")).collect();
    cluster.deploy_well(&App::named("told", "v0")?)?;
    let mut command = vec!["env", "set", "-p", "told"];
    command.extend(typed.iter().map(String::as_str));
    cluster.cli().text(&command)?;
    cluster.deploy_well(&app)?;

    for node in &mut cluster.nodes {
        node.kill()?;
        let engine = &mut node.machine_mut()?.engine;
        engine.stop()?;
        engine.start()?;
    }
    cluster.heal()?;
    for placed in cluster.containers_of("told")? {
        cluster.engine(placed.node)?.remove(&placed.container.id)?;
    }
    wait::until("all to be replaced", Duration::from_secs(30), || {
        cluster
            .containers_of("told")
            .is_ok_and(|all| all.iter().filter(|one| one.container.runs()).count() == 3)
    })?;
    cluster.settled("told", 3, "v1")?;
    for target in cluster.edges() {
        let page = browser::get(target.address, "told.localhost", "/env")?;
        let seen: Value = serde_json::from_slice(&page.body)?;
        for (name, value) in values {
            check_eq!(seen.get(name), Some(&Value::from(value)), "{name} of the file, at {}", target.name);
            let typed = seen.get(format!("TYPED_{name}"));
            check_eq!(typed, Some(&Value::from(value)), "{name} of the command line, at {}", target.name);
        }
    }
    Ok(())
}
