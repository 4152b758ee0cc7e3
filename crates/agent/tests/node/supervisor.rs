//! Supervisors and servers that end before their time.

use std::time::Duration;

use nix::sys::signal::Signal;
use temps_agent::runtime::{Condition, Runtime};
use temps_core::model::InstanceId;

use crate::support::{Place, found, incarnation, kill, lives, until_true};

const I1: InstanceId = InstanceId(1);

#[tokio::test]
async fn signals_meant_for_the_server_do_not_end_a_supervisor_or_its_application() {
    let place = Place::new();
    let runtime = place.runtime();
    let running = runtime.start(&place.job(1, "exec sleep 1000")).await.expect("started");
    let (app, supervisor) = place.pids(I1);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        kill(supervisor, signal);
    }
    let group = |pid: i32| nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid))).expect("it lives");
    assert_ne!(group(supervisor), nix::unistd::getpgrp());
    assert_ne!(group(supervisor), group(app));
    assert!(runtime.is(I1, &running.incarnation).await);
    // And the application has not inherited that.
    runtime.stop(I1, Duration::from_secs(20)).await.expect("stopped");
    let exit = runtime.wait(I1).await;
    assert_eq!((exit.signal, exit.asked, exit.killed_after_grace), (Some(15), true, false));
}

#[tokio::test]
async fn an_application_does_not_outlive_its_supervisor() {
    let place = Place::new();
    let runtime = place.runtime();
    runtime.start(&place.job(1, "trap '' TERM; while :; do sleep 0.1; done")).await.expect("started");
    let (app, supervisor) = place.pids(I1);
    kill(supervisor, Signal::SIGKILL);
    let exit = runtime.wait(I1).await;
    assert!(!lives(app));
    assert!(exit.error.as_deref().is_some_and(|e| e.contains("supervisor")), "{exit:?}");
    assert!(!exit.asked && exit.excused);
    // The same is true for who looks later.
    let Some(Condition::Ended(again)) = found(&place.runtime(), I1).await.map(|f| f.condition) else {
        unreachable!("it has ended")
    };
    assert_eq!(again.error, exit.error);
}

#[tokio::test]
async fn a_new_server_finds_what_runs_and_how_what_ran_has_ended() {
    let place = Place::new();
    let first = place.runtime();
    first.start(&place.job(1, "exec sleep 1000")).await.expect("started");
    first.start(&place.job(2, "echo bye; sleep 0.2; exit 4")).await.expect("started");
    first.start(&place.job(3, "exec sleep 1000")).await.expect("started");
    let before = incarnation(&first, I1).await;
    drop(first);
    kill(place.pids(InstanceId(3)).0, Signal::SIGSEGV);

    let second = place.runtime();
    assert_eq!(incarnation(&second, I1).await, before);
    let exit = second.wait(InstanceId(2)).await;
    assert_eq!((exit.code, exit.log_tail.as_slice()), (Some(4), &["bye".to_owned()][..]));
    let exit = second.wait(InstanceId(3)).await;
    assert_eq!(exit.signal, Some(11));
    let age = match found(&second, I1).await.map(|f| f.condition) {
        Some(Condition::Running(running)) => running.age,
        other => unreachable!("{other:?}"),
    };
    assert!(age >= Duration::from_millis(200), "{age:?}");
    second.stop(I1, Duration::from_secs(20)).await.expect("stopped");
}

#[tokio::test]
async fn after_a_restart_of_the_machine_nobody_is_taken_for_somebody_else() {
    let place = Place::new();
    let runtime = place.runtime();
    runtime.start(&place.job(1, "exec sleep 1000")).await.expect("started");
    let (app, supervisor) = place.pids(I1);
    // The files say now what they would after a restart: the same numbers, during another run.
    let file = place.instance_dir(I1).join("running.json");
    let whole = std::fs::read_to_string(&file).expect("readable");
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("readable");
    std::fs::write(&file, whole.replace(boot.trim(), "another-run")).expect("written");

    let found = found(&runtime, I1).await.expect("found");
    let Condition::Ended(exit) = found.condition else { unreachable!("{:?}", found.condition) };
    assert!(exit.excused && exit.error.is_some_and(|e| e.contains("restarted")));
    runtime.stop(I1, Duration::ZERO).await.expect("nothing to stop");
    assert!(lives(app) && lives(supervisor));

    std::fs::write(&file, whole).expect("written");
    runtime.stop(I1, Duration::from_secs(20)).await.expect("stopped");
}

#[tokio::test]
async fn damaged_files_hide_nothing_that_runs_and_keep_nothing_that_does_not() {
    let place = Place::new();
    let runtime = place.runtime();
    for id in 1..=3 {
        runtime.start(&place.job(id, "exec sleep 1000")).await.expect("started");
    }
    let file = |id, name: &str| place.instance_dir(InstanceId(id)).join(name);
    let whole = std::fs::read(file(1, "running.json")).expect("readable");
    std::fs::write(file(1, "running.json"), b"{").expect("written");
    assert!(runtime.remove(I1).await.is_err(), "its supervisor lives");
    std::fs::write(file(1, "running.json"), whole).expect("written");

    for id in [2, 3] {
        kill(place.pids(InstanceId(id)).0, Signal::SIGKILL);
        runtime.wait(InstanceId(id)).await;
    }
    std::fs::write(file(2, "exit.json"), b"").expect("written");
    std::fs::write(file(3, "instance.json"), b"\xff").expect("written");
    assert_eq!(runtime.list().await.expect("listed").len(), 3);
    for id in [2, 3] {
        let ended = found(&runtime, InstanceId(id)).await.map(|f| f.condition);
        assert!(matches!(ended, Some(Condition::Ended(_))), "{ended:?}");
        runtime.remove(InstanceId(id)).await.expect("removed");
    }
    assert!(incarnation(&runtime, I1).await.is_some());
    runtime.stop(I1, Duration::from_secs(20)).await.expect("stopped");
}

#[tokio::test]
async fn a_stop_that_was_cut_short_goes_on() {
    let place = Place::new();
    let runtime = place.runtime();
    let job = place.job(1, "trap 'echo asked' TERM; echo up; while :; do sleep 0.05; done");
    runtime.start(&job).await.expect("started");
    let log = place.instance_dir(I1).join("log");
    let has = |word: &str| std::fs::read_to_string(&log).is_ok_and(|text| text.contains(word));
    until_true("the trap", || has("up")).await;
    {
        let stopping = runtime.stop(I1, Duration::from_secs(60));
        tokio::pin!(stopping);
        let cut = async { until_true("the signal", || has("asked")).await };
        tokio::select! {
            _ = &mut stopping => unreachable!("it ignores the signal"),
            () = cut => {}
        }
    }
    place.runtime().stop(I1, Duration::from_millis(300)).await.expect("stopped");
    let exit = runtime.wait(I1).await;
    assert!(exit.asked && exit.killed_after_grace, "{exit:?}");
}
