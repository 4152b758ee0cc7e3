//! Commands beside an instance, and what local processes cannot have.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use temps_agent::runtime::{Job, Runtime, StartError};
use temps_core::model::{Form, InstanceId, Opaque};

use crate::support::{Place, lives, until_true};

const I1: InstanceId = InstanceId(1);
const LONG: Duration = Duration::from_secs(20);

fn secret(mut job: Job) -> Job {
    job.work.variables.insert("TOKEN".to_owned(), Opaque("a b\n$c".to_owned()));
    job
}

#[tokio::test]
async fn a_check_has_the_directory_and_the_variables_of_its_instance_also_for_the_next_server() {
    let place = Place::new();
    let runtime = place.runtime();
    let running = runtime.start(&secret(place.job(1, "exec sleep 1000"))).await.expect("started");
    let port = running.endpoint.expect("an address").address.rsplit(':').next().map(str::to_owned);
    let command = format!(
        "test \"$(cat content)\" = hello && test \"$TOKEN\" = 'a b\n$c' && test \"$TEMPS_INSTANCE\" = i1 \
         && test \"$PORT\" = {}",
        port.expect("a port")
    );
    runtime.check(I1, &command, LONG).await.expect("it passes");
    place.runtime().check(I1, &command, LONG).await.expect("it passes");
    runtime.stop(I1, LONG).await.expect("stopped");
    assert_eq!(runtime.check(I1, "true", LONG).await, Err("it does not run".to_owned()));
}

#[tokio::test]
async fn a_check_that_fails_says_how_and_with_which_words() {
    let place = Place::new();
    let runtime = place.runtime();
    runtime.start(&secret(place.job(1, "exec sleep 1000"))).await.expect("started");
    for (command, why) in [
        ("exit 3", "the check ended with exit code 3"),
        ("echo first; echo 'no queue' >&2; echo; exit 1", "the check ended with exit code 1: no queue"),
        ("kill -9 $$", "the check ended with signal 9"),
        // Much output holds up nothing.
        ("yes | head -c 1000000; echo; echo end; exit 1", "the check ended with exit code 1: end"),
    ] {
        assert_eq!(runtime.check(I1, command, LONG).await, Err(why.to_owned()), "{command}");
    }
    runtime.stop(I1, LONG).await.expect("stopped");
}

#[tokio::test]
async fn a_check_that_takes_too_long_ends_with_all_that_it_started() {
    let place = Place::new();
    let runtime = place.runtime();
    runtime.start(&place.job(1, "exec sleep 1000")).await.expect("started");
    let pid = |name: &str| -> i32 {
        let text = std::fs::read_to_string(place.dir.path().join(name)).expect("noted");
        text.trim().parse().expect("a number")
    };
    let note = |name: &str| format!("sleep 1000 & echo $! >{}/{name}", place.dir.path().display());
    let began = Instant::now();
    let command = format!("{}; sleep 1000", note("slow"));
    let late = runtime.check(I1, &command, Duration::from_millis(500)).await;
    assert_eq!(late, Err("the check took longer than 500ms".to_owned()));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    until_true("it is gone", || !lives(pid("slow"))).await;

    // What it leaves behind goes as well, and does not hold up the answer.
    runtime.check(I1, &note("left"), LONG).await.expect("it passes");
    until_true("it is gone", || !lives(pid("left"))).await;

    // And where nobody waits for the answer any more.
    let command = note("given-up") + "; sleep 1000";
    let cut = tokio::time::timeout(Duration::from_millis(500), runtime.check(I1, &command, LONG)).await;
    assert!(cut.is_err());
    until_true("it is gone", || !lives(pid("given-up"))).await;
    runtime.stop(I1, LONG).await.expect("stopped");
}

#[tokio::test]
async fn the_signal_of_the_release_asks_it_to_end() {
    let place = Place::new();
    for (id, name) in [(1, "SIGUSR1"), (2, "usr1")] {
        let mut job =
            place.job(id, "trap 'exit 7' USR1; trap '' TERM; echo up; while :; do sleep 0.05; done");
        job.work.process.stop_signal = Some(name.to_owned());
        place.runtime().start(&job).await.expect("started");
        let log = place.instance_dir(InstanceId(id)).join("log");
        until_true("the trap", || log.exists()).await;
        // Another server asks than has started it.
        let runtime = place.runtime();
        runtime.stop(InstanceId(id), LONG).await.expect("stopped");
        let exit = runtime.wait(InstanceId(id)).await;
        assert_eq!((exit.code, exit.asked, exit.killed_after_grace), (Some(7), true, false), "{name}");
    }
}

#[tokio::test]
async fn what_a_local_process_cannot_be_held_to_is_refused_with_the_reason() {
    let place = Place::new();
    let runtime = place.runtime();
    type Change = fn(&mut Job);
    let rows: [(Change, &str); 6] = [
        (|job| job.work.process.memory = Some(1 << 20), "`memory`"),
        (|job| job.work.process.cpus = Some(500), "`cpus`"),
        (|job| drop(job.work.volumes.insert("data".to_owned(), "/data".to_owned())), "volumes"),
        (|job| job.work.artifact.form = Form::Image { id: String::new(), total: 0 }, "Docker"),
        (|job| job.work.process.stop_signal = Some("SIGNOTHING".to_owned()), "SIGNOTHING"),
        (|job| job.work.process.command = "  ".to_owned(), "no command"),
    ];
    for (change, word) in rows {
        let mut job = place.job(1, "exec sleep 1000");
        change(&mut job);
        let error = runtime.start(&job).await.expect_err(word);
        assert!(matches!(error, StartError::Refused(_)), "{error:?}");
        assert!(error.to_string().contains(word), "{error}");
    }
    assert!(!place.instance_dir(I1).exists());
}

#[tokio::test]
async fn what_was_taken_away_is_not_the_applications_fault() {
    let place = Place::new();
    let runtime = place.runtime();
    runtime.start(&place.job(1, "exec sleep 1000")).await.expect("started");
    let (app, supervisor) = place.pids(I1);
    let waiting = runtime.wait(I1);
    tokio::pin!(waiting);
    // It has looked once.
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut waiting).await.is_err());
    std::fs::rename(place.instance_dir(I1), place.dir.path().join("away")).expect("moved");
    let exit = waiting.await;
    assert!(exit.excused && exit.error.is_some(), "{exit:?}");
    until_true("it is gone", || !lives(app)).await;
    crate::support::kill(supervisor, Signal::SIGKILL);
}
