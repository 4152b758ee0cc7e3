//! Deployments on one node, from the first probe to the last trace.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use temps_core::command::Command;
use temps_core::model::{Cause, Instance, Phase, Seen, Want};

use crate::cluster::Cluster;
use crate::support::{NODE, SERVE, artifact, bundle, spec, until, until_true};

fn ask(instance: &Instance) -> String {
    let address = &instance.endpoint.as_ref().expect("an address").address;
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop.localhost\r\n\r\n").expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

#[tokio::test]
async fn a_release_becomes_live_and_the_next_one_takes_its_place() {
    let cluster = Cluster::new().await;
    let first = cluster.deploy("one", spec(SERVE, 2, &[("ONLY_HOST", "shop.localhost")])).await;
    assert_eq!(cluster.ended(first).await.phase, Phase::Succeeded, "{:?}", cluster.lines(first));
    let old = cluster.serving();
    assert_eq!(old.len(), 2);
    for instance in &old {
        assert!(ask(instance).ends_with(&instance.id.to_string()));
        // It may not have listened yet when it was first asked.
        assert!((2..=4).contains(&instance.attempts), "{instance:?}");
    }
    // One request stays in flight on each old instance until the test ends it.
    cluster.edge.send_modify(|e| e.in_flight = old.iter().map(|i| (i.id, 1)).collect());
    let second = cluster.deploy("two", spec(SERVE, 2, &[])).await;
    until_true("a drain", || cluster.instances().iter().any(|i| i.want == Want::Drain)).await;
    let draining = |line: &String| line == "Old container draining (1 active connections)";
    until_true("its line", || cluster.lines(second).iter().any(draining)).await;
    assert!(cluster.instances().iter().all(|i| !i.drained && i.want < Want::Stop));
    cluster.edge.send_modify(|e| e.in_flight.clear());

    let ended = cluster.ended(second).await;
    assert_eq!(ended.phase, Phase::Succeeded, "{:?}", cluster.lines(second));
    let lines = cluster.lines(second);
    let count = |text: &str| lines.iter().filter(|l| l.starts_with(text)).count();
    assert_eq!(count("Old container draining ("), 2, "{lines:?}");
    assert_eq!(count("All connections drained"), 2, "{lines:?}");
    assert_eq!(count("Old container removed"), 2, "{lines:?}");
    for instance in &old {
        assert!(!cluster.place.instance_dir(instance.id).exists());
    }
    let view = cluster.view.borrow().clone();
    let serving = cluster.serving();
    assert_eq!(view.endpoints.len(), 2);
    assert!(serving.iter().all(|i| view.endpoints.get(&i.id) == i.endpoint.as_ref()), "{view:?}");
}

#[tokio::test]
async fn what_does_not_answer_as_expected_gets_no_traffic() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    other.set_nonblocking(true).expect("set");
    let location = format!("http://{}/ok", other.local_addr().expect("bound"));
    let cluster = Cluster::new().await;
    for status in ["204", "301", "302", "307", "401", "404", "500"] {
        let mut spec = spec(SERVE, 1, &[("STATUS", status), ("LOCATION", &location)]);
        spec.health.start_period = 300;
        let id = cluster.deploy("one", spec).await;
        let ended = cluster.ended(id).await;
        assert_eq!(ended.phase, Phase::Failed, "{status}");
        let cause = ended.cause.expect("a cause").sentence();
        let told = format!("answered {status} to {location}, expected 200");
        assert!(cause.contains(&told), "{cause}");
    }
    assert!(cluster.instances().iter().all(|i| !i.was_ready && i.admitted.is_none()));
    assert!(other.accept().is_err(), "the redirect was followed");
}

#[tokio::test]
async fn an_end_before_the_first_success_fails_at_once() {
    let cluster = Cluster::new().await;
    let mut never = spec("echo no database >&2; exit 1", 1, &[]);
    never.health.start_period = 20_000;
    let began = Instant::now();
    let id = cluster.deploy("one", never).await;
    let ended = cluster.ended(id).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(ended.phase, Phase::Failed);
    let Some(Cause::Exited { how, log_tail, .. }) = ended.cause else { unreachable!("{:?}", ended.cause) };
    assert_eq!((how.as_str(), log_tail.as_slice()), ("exit code 1", &["no database".to_owned()][..]));
    until_true("nothing is left", || cluster.instances().iter().all(|i| i.want == Want::Gone)).await;
}

#[tokio::test]
async fn a_slow_start_is_waited_for() {
    let cluster = Cluster::new().await;
    let id = cluster.deploy("one", spec(SERVE, 1, &[("START_MS", "1000")])).await;
    assert_eq!(cluster.ended(id).await.phase, Phase::Succeeded, "{:?}", cluster.lines(id));
    let instance = &cluster.serving()[0];
    assert!(instance.attempts > 3, "{instance:?}");
}

#[tokio::test]
async fn what_ends_after_it_was_healthy_is_known_here_at_once_and_replaced() {
    let cluster = Cluster::new().await;
    let mut mortal = spec(SERVE, 1, &[("EXIT_MS", "1500")]);
    mortal.rollback.watch = 60_000;
    let id = cluster.deploy("one", mortal).await;
    until_true("ready", || cluster.instances().iter().any(|i| i.seen == Seen::Ready)).await;
    let first = cluster.instances()[0].id;
    // Otherwise it may be replaced and forgotten before this test looks.
    cluster.ledger.set_quorum(false);
    until_true("known here", || cluster.view.borrow().down.contains(&first)).await;
    cluster.ledger.set_quorum(true);
    let ended = until("a crash", || {
        let known = cluster.instances()[0].clone();
        std::future::ready(if known.exit.is_some() { Ok(known) } else { Err(known) })
    })
    .await;
    let exit = ended.exit.expect("it has one");
    assert_eq!((exit.code, exit.asked), (Some(3), false));
    assert_eq!(exit.log_tail, ["giving up"]);
    assert_eq!(cluster.ended(id).await.phase, Phase::Failed);
}

#[tokio::test]
async fn a_worker_is_ready_by_staying_up() {
    let cluster = Cluster::new().await;
    let mut worker = spec("exec sleep 1000", 1, &[]);
    worker.processes.get_mut("web").expect("there").http = false;
    let id = cluster.deploy("one", worker).await;
    assert_eq!(cluster.ended(id).await.phase, Phase::Succeeded, "{:?}", cluster.lines(id));
    assert_eq!(cluster.serving()[0].endpoint, None);
}

#[tokio::test]
async fn what_never_drains_is_cut_and_counted() {
    let cluster = Cluster::new().await;
    let mut impatient = spec(SERVE, 1, &[]);
    impatient.deploy.drain_timeout = 500;
    let first = cluster.deploy("one", impatient.clone()).await;
    cluster.ended(first).await;
    let old = cluster.serving()[0].id;
    cluster.edge.send_modify(|e| e.in_flight = [(old, 3)].into());
    let second = cluster.deploy("two", impatient).await;
    assert_eq!(cluster.ended(second).await.phase, Phase::Succeeded);
    let lines = cluster.lines(second);
    assert!(lines.iter().any(|l| l == "Drain timeout passed, 3 connections cut"), "{lines:?}");
    assert!(!lines.iter().any(|l| l.starts_with("All connections drained")), "{lines:?}");
}

#[tokio::test]
async fn an_artifact_comes_from_the_node_that_has_it() {
    let mut cluster = Cluster::without_agent().await;
    let bytes = bundle("elsewhere");
    let what = artifact(&bytes);
    cluster.elsewhere = bytes;
    let ttl = 60_000;
    cluster.write(Command::CreateJoinToken { hash: "join".to_owned(), ttl, uses: 1 }).await;
    cluster.add_node("n2", Some("join".to_owned())).await;
    let stored = temps_core::command::Observation::Artifact { digest: what.digest.clone(), stored: true };
    let n2 = temps_core::model::NodeId(2);
    cluster.write(Command::Report { node: n2, boot: 1, seq: 1, observations: vec![stored] }).await;
    cluster.write(Command::Liveness { lost: vec![n2], back: vec![] }).await;
    cluster.start_agent();
    let id = cluster.deploy_artifact(what.clone(), spec(SERVE, 1, &[])).await;
    assert_eq!(cluster.ended(id).await.phase, Phase::Succeeded, "{:?}", cluster.lines(id));
    assert!(cluster.store.has(&what.digest));
    until_true("it is known", || cluster.state().nodes[&NODE].artifacts.contains(&what.digest)).await;
}
