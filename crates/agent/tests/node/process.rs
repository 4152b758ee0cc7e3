//! Processes of the runtime: what they get, how they end, what they leave.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use nix::sys::signal::Signal;
use temps_agent::logs::{LogLine, Source, Until};
use temps_agent::runtime::{Condition, Runtime, StartError};
use temps_core::model::{InstanceId, Opaque};

use crate::support::{Place, found, incarnation, kill, lives, until_true};

const GRACE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn variables_arrive_byte_for_byte_and_are_written_nowhere() {
    let place = Place::new();
    let runtime = place.runtime();
    let mut job = place.job(7, "exec \"$APP\" dump \"$HOME/env.json\"");
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
        job.work.variables.insert(format!("V{n}"), Opaque((*value).to_owned()));
    }
    job.work.variables.insert("PORT".to_owned(), Opaque("1".to_owned()));
    job.work.variables.insert("HOME_NOT".to_owned(), Opaque("own".to_owned()));
    let running = runtime.start(&job).await.expect("started");
    let exit = runtime.wait(InstanceId(7)).await;
    assert_eq!(exit.code, Some(0), "{exit:?}");

    let text = std::fs::read(place.instance_dir(InstanceId(7)).join("home/env.json")).expect("dumped");
    let mut env: std::collections::BTreeMap<String, String> = serde_json::from_slice(&text).expect("JSON");
    for (n, value) in values.iter().enumerate() {
        assert_eq!(env.remove(&format!("V{n}")).as_deref(), Some(*value), "value {n}");
    }
    let port = running.endpoint.expect("an address").address.rsplit(':').next().map(str::to_owned);
    assert_eq!(env.remove("PORT"), port);
    for (name, value) in [
        ("TEMPS_PROJECT", "shop"),
        ("TEMPS_ENVIRONMENT", "production"),
        ("TEMPS_RELEASE", "r3"),
        ("TEMPS_INSTANCE", "i7"),
        ("TEMPS_NODE", "n1"),
    ] {
        assert_eq!(env.remove(name).as_deref(), Some(value), "{name}");
    }
    // Shells add some of their own.
    let left: BTreeSet<&str> = env.keys().map(String::as_str).collect();
    let known = BTreeSet::from(["APP", "HOME", "HOME_NOT", "LANG", "OLDPWD", "PATH", "PWD", "SHLVL", "_"]);
    assert!(left.is_subset(&known), "{left:?}");

    std::fs::remove_file(place.instance_dir(InstanceId(7)).join("home/env.json")).expect("removed");
    let mut grep = std::process::Command::new("grep");
    grep.args(["-rlF", "CANARY-7f3a91"]).arg(place.dir.path());
    let hits = grep.output().expect("grep runs").stdout;
    assert_eq!(String::from_utf8_lossy(&hits), "");
}

#[tokio::test]
async fn a_supervisor_knows_its_secrets_only_in_memory() {
    let place = Place::new();
    let runtime = place.runtime();
    let mut job = place.job(1, "exec sleep 1000");
    job.work.variables.insert("SECRET".to_owned(), Opaque("CANARY-7f3a91".to_owned()));
    runtime.start(&job).await.expect("started");
    let (_, supervisor) = place.pids(InstanceId(1));
    for file in ["cmdline", "environ"] {
        let text = std::fs::read(format!("/proc/{supervisor}/{file}")).expect("readable");
        assert!(!String::from_utf8_lossy(&text).contains("CANARY"), "{file}");
    }
    runtime.stop(InstanceId(1), GRACE).await.expect("stopped");
}

#[tokio::test]
async fn an_end_has_its_code_its_signal_and_its_last_words() {
    let place = Place::new();
    let runtime = place.runtime();
    runtime.start(&place.job(1, "echo out; echo err >&2; exit 3")).await.expect("started");
    let exit = runtime.wait(InstanceId(1)).await;
    assert_eq!((exit.code, exit.signal, exit.asked), (Some(3), None, false));
    let mut tail = exit.log_tail;
    tail.sort();
    assert_eq!(tail, ["err", "out"]);

    runtime.start(&place.job(2, "kill -9 $$")).await.expect("started");
    let exit = runtime.wait(InstanceId(2)).await;
    assert_eq!((exit.code, exit.signal, exit.asked), (None, Some(9), false));

    // The shell says what it cannot find.
    runtime.start(&place.job(3, "/no/such/program")).await.expect("started");
    let exit = runtime.wait(InstanceId(3)).await;
    assert_eq!(exit.code, Some(127));
    assert!(exit.log_tail[0].contains("/no/such/program"), "{exit:?}");
}

#[tokio::test]
async fn a_stop_lets_work_be_finished() {
    let place = Place::new();
    let runtime = place.runtime();
    let command = "trap 'sleep 0.5; echo finished; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    runtime.start(&place.job(1, command)).await.expect("started");
    until_true("the trap", || place.instance_dir(InstanceId(1)).join("log").exists()).await;
    runtime.stop(InstanceId(1), Duration::from_secs(20)).await.expect("stopped");
    let exit = runtime.wait(InstanceId(1)).await;
    assert_eq!((exit.code, exit.asked, exit.killed_after_grace), (Some(0), true, false));
    let all: Vec<LogLine> =
        runtime.lines(InstanceId(1), usize::MAX, Until::Now).try_collect().await.expect("readable");
    assert_eq!(all.last().map(|line| &line.bytes[..]), Some(&b"finished"[..]));
}

#[tokio::test]
async fn what_ignores_the_stop_signal_is_killed_after_the_grace_and_not_before() {
    let place = Place::new();
    let runtime = place.runtime();
    let job = place.job(1, "trap '' TERM; echo up; while :; do sleep 0.05; done");
    runtime.start(&job).await.expect("started");
    until_true("the trap", || place.instance_dir(InstanceId(1)).join("log").exists()).await;
    let began = Instant::now();
    runtime.stop(InstanceId(1), GRACE).await.expect("stopped");
    assert!(began.elapsed() >= GRACE);
    let exit = runtime.wait(InstanceId(1)).await;
    assert_eq!((exit.signal, exit.asked, exit.killed_after_grace), (Some(9), true, true));
}

#[tokio::test]
async fn the_grace_is_for_all_processes_of_the_application() {
    let place = Place::new();
    let runtime = place.runtime();
    // The shell ends at once by the signal; what it started does not.
    let slow = "sh -c 'trap \"sleep 0.5; touch $HOME/done; exit 0\" TERM; touch $HOME/up; while :; do sleep 0.05; done' & wait";
    runtime.start(&place.job(1, slow)).await.expect("started");
    let home = place.instance_dir(InstanceId(1)).join("home");
    until_true("the trap", || home.join("up").exists()).await;
    runtime.stop(InstanceId(1), Duration::from_secs(20)).await.expect("stopped");
    assert!(home.join("done").exists());
}

#[tokio::test]
async fn nothing_of_an_application_outlives_it() {
    let place = Place::new();
    let runtime = place.runtime();
    // One in the group, and one that has left it.
    let command = "sleep 1000 & echo $! >$HOME/a; setsid sleep 1000 & echo $! >$HOME/b; sleep 0.3; exit 1";
    runtime.start(&place.job(1, command)).await.expect("started");
    let exit = runtime.wait(InstanceId(1)).await;
    assert_eq!(exit.code, Some(1));
    for name in ["a", "b"] {
        let text = std::fs::read_to_string(place.instance_dir(InstanceId(1)).join("home").join(name));
        let pid: i32 = text.expect("noted").trim().parse().expect("a number");
        assert!(!lives(pid), "{name}");
    }
}

#[tokio::test]
async fn every_byte_of_output_is_kept_with_its_source() {
    let place = Place::new();
    let runtime = place.runtime();
    runtime.start(&place.job(1, "printf '\\377\\000x\\n'; printf 'no end' >&2")).await.expect("started");
    runtime.wait(InstanceId(1)).await;
    let mut all: Vec<LogLine> =
        runtime.lines(InstanceId(1), 10, Until::Ended).try_collect().await.expect("readable");
    all.sort_by_key(|line| line.source == Source::Err);
    assert_eq!(&all[0].bytes[..], b"\xff\0x");
    assert_eq!(&all[1].bytes[..], b"no end");
    assert!(all[0].at > 1_700_000_000_000);
}

#[tokio::test]
async fn an_application_that_never_stops_talking_fills_no_disk() {
    let place = Place::new();
    let runtime = place.runtime();
    let command = "yes 0123456789012345678901234567890123456789012345678901234567890123456789 | head -c 40000000; echo; echo end";
    runtime.start(&place.job(1, command)).await.expect("started");
    let exit = runtime.wait(InstanceId(1)).await;
    assert_eq!(exit.log_tail.last().map(String::as_str), Some("end"));
    let entries = std::fs::read_dir(place.instance_dir(InstanceId(1))).expect("listed");
    let size: u64 = entries.map(|e| e.expect("entry").metadata().expect("metadata").len()).sum();
    assert!((10_000_000..=32 * 1024 * 1024).contains(&size), "{size} bytes");
}

#[tokio::test]
async fn a_port_is_not_handed_on_while_somebody_may_still_mean_its_last_owner() {
    let place = Place::new();
    let runtime = place.runtime();
    let mut seen = BTreeSet::new();
    for id in 1..=6 {
        let running = runtime.start(&place.job(id, "exec sleep 1000")).await.expect("started");
        assert!(seen.insert(running.endpoint.expect("an address").address), "{seen:?}");
        runtime.stop(InstanceId(id), GRACE).await.expect("stopped");
        runtime.remove(InstanceId(id)).await.expect("removed");
    }
    // A worker has no port.
    let mut worker = place.job(9, "exec sleep 1000");
    (worker.work.health, worker.work.process.http) = (None, false);
    assert_eq!(runtime.start(&worker).await.expect("started").endpoint, None);
    runtime.stop(InstanceId(9), GRACE).await.expect("stopped");
}

#[tokio::test]
async fn an_instance_starts_once_and_is_removed_only_when_it_has_ended() {
    let place = Place::new();
    let runtime = place.runtime();
    let id = InstanceId(1);
    let first = runtime.start(&place.job(1, "exec sleep 1000")).await.expect("started");
    let second = runtime.start(&place.job(1, "exec sleep 1000")).await.expect("running already");
    assert_eq!(first.incarnation, second.incarnation);
    assert!(runtime.is(id, &first.incarnation).await);
    assert!(!runtime.is(id, "1-2-i1").await);
    assert!(runtime.remove(id).await.is_err());
    kill(place.pids(id).0, Signal::SIGKILL);
    runtime.wait(id).await;
    assert!(!runtime.is(id, &first.incarnation).await);
    let again = runtime.start(&place.job(1, "exec sleep 1000")).await;
    assert!(matches!(again, Err(StartError::Ended)), "{again:?}");
    runtime.remove(id).await.expect("removed");
    runtime.remove(id).await.expect("nothing to remove is no error");
    assert!(found(&runtime, id).await.is_none());
}

#[tokio::test]
async fn what_is_not_ours_is_not_listed_and_what_never_started_can_start() {
    let place = Place::new();
    let runtime = place.runtime();
    let instances = place.data().join("instances");
    for stranger in ["notes", "i07", "i", "ix", "i1.bak"] {
        std::fs::create_dir(instances.join(stranger)).expect("created");
    }
    let id = InstanceId(5);
    let half = place.instance_dir(id);
    std::fs::create_dir(&half).expect("created");
    std::fs::write(half.join("instance.json"), r#"{"instance":5,"digest":"d","port":1,"stop_grace":1}"#)
        .expect("written");
    let list = runtime.list().await.expect("listed");
    assert_eq!(list.len(), 1);
    assert!(matches!(list[0].condition, Condition::Unstarted), "{list:?}");

    runtime.start(&place.job(5, "exec sleep 1000")).await.expect("started");
    assert!(incarnation(&runtime, id).await.is_some());
    runtime.stop(id, GRACE).await.expect("stopped");
    assert_eq!(std::fs::read_dir(&instances).expect("listed").count(), 6);
}

#[tokio::test]
async fn why_something_cannot_start_is_told() {
    let place = Place::new();
    let runtime = place.runtime();
    let mut job = place.job(1, "exec sleep 1000");
    job.work.variables.insert("BIG".to_owned(), Opaque("x".repeat(4 << 20)));
    let refused = runtime.start(&job).await.expect_err("too long for the system");
    assert!(refused.to_string().contains("could not be started"), "{refused}");

    let mut job = place.job(2, "exec sleep 1000");
    std::fs::write(&job.artifact, b"damaged").expect("written");
    job.work.artifact.digest = "0".repeat(64);
    assert!(matches!(runtime.start(&job).await, Err(StartError::Damaged)));
    assert!(found(&runtime, InstanceId(2)).await.is_none());
}
