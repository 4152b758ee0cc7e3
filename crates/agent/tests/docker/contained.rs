//! What a container gets, and what it does not.

use std::collections::BTreeMap;

use temps_agent::runtime::Runtime;
use temps_core::model::DEFAULT_PORT;

use crate::support::{EXPOSED, I7, ended, text, variable, with_engine};

#[tokio::test(flavor = "multi_thread")]
async fn variables_arrive_byte_for_byte() {
    with_engine("variables_arrive_byte_for_byte", |place| async move {
        let runtime = place.runtime();
        let mut job = place.job(I7, "/app dump");
        let pem = "-----BEGIN KEY-----\nabc+/=\n-----END KEY-----\n";
        let long = "x".repeat(64 * 1024);
        let values = [
            "a\"b'c",
            "$HOME $$ ${X}",
            "`date` $(date)",
            "back\\slash\\n",
            pem,
            "  spaces  ",
            "#x",
            "a=b=c",
            "",
            &long,
            "\u{1f600}",
            "cr\r\nlf",
            "CANARY-7f3a91",
        ];
        for (n, value) in values.iter().enumerate() {
            variable(&mut job, &format!("V{n}"), value);
        }
        variable(&mut job, "PORT", "1");
        variable(&mut job, "TEMPS_NODE", "n9");
        runtime.start(&job).await.expect("started");
        let exit = ended(&runtime, I7).await;
        assert_eq!(exit.code, Some(0), "{exit:?}");

        let lines = text(&runtime, I7).await;
        let mut env: BTreeMap<&str, Vec<u8>> = lines
            .iter()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, value)| (name, hex::decode(value).expect("digits")))
            .collect();
        for (n, value) in values.iter().enumerate() {
            let got = env.remove(format!("V{n}").as_str()).expect("set");
            assert!(got == value.as_bytes(), "value {n}: {} bytes", got.len());
        }
        for (name, value) in [
            ("PORT", "3000"),
            ("TEMPS_PROJECT", "shop"),
            ("TEMPS_ENVIRONMENT", "production"),
            ("TEMPS_RELEASE", "r3"),
            ("TEMPS_INSTANCE", "i7"),
            ("TEMPS_NODE", "n1"),
        ] {
            assert_eq!(env.remove(name).as_deref(), Some(value.as_bytes()), "{name}");
        }
        let data =
            std::fs::read_to_string(place.data().join("containers/i7/instance.json")).expect("a record");
        assert!(!data.contains("CANARY"), "values are written nowhere");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_contained() {
    with_engine("a_container_is_contained", |place| async move {
        let runtime = place.runtime();
        let mut job = place.job(I7, "");
        job.work.process.memory = Some(64 * 1024 * 1024);
        job.work.process.cpus = Some(250);
        job.work.process.stop_signal = Some("SIGUSR1".to_owned());
        job.work.volumes.insert("files".to_owned(), "/data".to_owned());
        runtime.start(&job).await.expect("started");

        let told = place.inspect(I7).await;
        let host = told.host_config.expect("a host configuration");
        assert_eq!(host.privileged, Some(false));
        assert_eq!(host.init, Some(true));
        assert_eq!(host.cap_drop, Some(vec!["ALL".to_owned()]));
        assert_eq!(host.cap_add.unwrap_or_default(), Vec::<String>::new());
        assert_eq!(host.security_opt, Some(vec!["no-new-privileges".to_owned()]));
        for (what, mode) in [
            ("network", host.network_mode.as_deref()),
            ("ipc", host.ipc_mode.as_deref()),
            ("pid", host.pid_mode.as_deref()),
            ("uts", host.uts_mode.as_deref()),
            ("user", host.userns_mode.as_deref()),
        ] {
            let mode = mode.unwrap_or_default();
            assert!(mode != "host" && !mode.starts_with("container:"), "{what}: {mode}");
        }
        assert_eq!(host.binds.unwrap_or_default(), Vec::<String>::new());
        assert_eq!(host.devices.unwrap_or_default().len(), 0);
        assert_eq!(host.port_bindings.unwrap_or_default().len(), 0);
        assert_eq!(host.memory, Some(64 * 1024 * 1024));
        assert_eq!(host.memory_swap, Some(64 * 1024 * 1024));
        assert_eq!(host.nano_cpus, Some(250_000_000));
        assert!(host.pids_limit.is_some_and(|limit| limit > 0));
        let policy = host.restart_policy.and_then(|p| p.name).expect("a policy");
        assert_eq!(policy.to_string(), "no");
        let log = host.log_config.expect("a log configuration");
        assert_eq!(log.typ.as_deref(), Some("json-file"));
        let options = log.config.expect("options");
        assert_eq!((options["max-size"].as_str(), options["max-file"].as_str()), ("10m", "3"));

        let volume = format!("temps-{}-shop-production-files", place.cluster);
        let mounts = told.mounts.unwrap_or_default();
        let mounted: Vec<_> = mounts.iter().map(|m| (m.name.clone(), m.destination.clone())).collect();
        assert_eq!(mounted, [(Some(volume.clone()), Some("/data".to_owned()))]);
        let config = told.config.expect("a configuration");
        assert_eq!(config.stop_signal.as_deref(), Some("SIGUSR1"));
        let labels = config.labels.expect("labels");
        for (label, value) in [
            ("cluster", place.cluster.as_str()),
            ("node", "n1"),
            ("project", "shop"),
            ("environment", "production"),
            ("release", "r3"),
            ("instance", "i7"),
            ("process", "web"),
            ("digest", &"ab".repeat(32)),
        ] {
            assert_eq!(labels.get(&format!("dev.temps.{label}")).map(String::as_str), Some(value), "{label}");
        }
        // It runs as this says.
        let pid = told.state.and_then(|s| s.pid).expect("a process");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs here");
        for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"] {
            assert!(status.contains(line), "{line}: {status}");
        }

        runtime.stop(I7, std::time::Duration::ZERO).await.expect("stopped");
        runtime.remove(I7).await.expect("removed");
        let volume = place.docker.inspect_volume(&volume).await.expect("volumes stay");
        assert_eq!(volume.labels.get("dev.temps.project").map(String::as_str), Some("shop"));
        let network = place.docker.inspect_network(&format!("temps-{}-shop", place.cluster), None).await;
        assert!(network.is_err(), "the network left with the last container");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_is_the_one_meant() {
    with_engine("the_port_is_the_one_meant", |place| async move {
        let runtime = place.runtime();
        for (configured, expected) in [(Some(9000), 9000), (None, EXPOSED)] {
            let mut job = place.job(I7, "/app serve");
            job.work.process.port = configured;
            let running = runtime.start(&job).await.expect("started");
            let address = running.endpoint.expect("an address").address;
            assert!(address.ends_with(&format!(":{expected}")), "{address}");
            let answer = crate::support::until("an answer", || ask(&address)).await;
            assert!(answer.ends_with("i7"), "{answer}");
            runtime.stop(I7, std::time::Duration::ZERO).await.expect("stopped");
            runtime.remove(I7).await.expect("removed");
        }
        let mut job = place.job(I7, "/app wait");
        job.work.process.http = false;
        let running = runtime.start(&job).await.expect("started");
        assert_eq!(running.endpoint, None);
        assert_ne!(DEFAULT_PORT, EXPOSED);
    })
    .await;
}

async fn ask(address: &str) -> Result<String, String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let asking = async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    asking.await.map_err(|error| error.to_string())
}
