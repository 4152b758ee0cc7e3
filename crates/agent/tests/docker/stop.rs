//! Asking a container to end.

use std::time::{Duration, Instant};

use temps_agent::runtime::Runtime;

use crate::support::{GRACE, I7, condition, ended, exit_found, said, text, with_engine};

#[tokio::test(flavor = "multi_thread")]
async fn what_ignores_the_signal_is_killed_after_the_grace_and_has_not_crashed() {
    with_engine("what_ignores_the_signal_is_killed", |place| async move {
        let runtime = place.runtime();
        place.ready(&runtime, "/app ignore").await;
        let began = Instant::now();
        let grace = Duration::from_secs(2);
        runtime.stop(I7, grace).await.expect("stopped");
        let took = began.elapsed();
        assert!(took >= grace && took < grace + Duration::from_secs(8), "{took:?}");
        let exit = ended(&runtime, I7).await;
        assert!(exit.asked && exit.killed_after_grace && !exit.oom && !exit.is_crash(), "{exit:?}");
        assert_eq!(exit.signal, Some(9), "{exit:?}");
        // A server that starts now sees the same.
        assert_eq!(exit_found(&place.runtime(), I7).await, Some(exit));
        runtime.remove(I7).await.expect("removed");
        runtime.remove(I7).await.expect("removed is removed");
        assert!(condition(&runtime, I7).await.is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_while_gets_it_and_no_second_signal() {
    with_engine("what_needs_a_while_gets_it", |place| async move {
        let runtime = place.runtime();
        place.ready(&runtime, "/app finish 3000").await;
        let began = Instant::now();
        let stopping = runtime.stop(I7, Duration::from_secs(120));
        // The server ends in the middle of it, and the next one goes on.
        assert!(tokio::time::timeout(Duration::from_secs(1), stopping).await.is_err(), "too fast");
        said(&runtime, I7, "got SIGTERM").await;
        drop(runtime);
        let runtime = place.runtime();
        runtime.stop(I7, Duration::from_secs(120)).await.expect("stopped");
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(20), "{took:?}");
        let exit = ended(&runtime, I7).await;
        assert_eq!((exit.code, exit.asked, exit.killed_after_grace), (Some(0), true, false), "{exit:?}");
        assert_eq!(text(&runtime, I7).await, ["ready", "got SIGTERM", "job done"]);
        runtime.stop(I7, GRACE).await.expect("what has ended needs no stop");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_signal_is_the_one_that_is_configured() {
    with_engine("the_signal_is_the_one_that_is_configured", |place| async move {
        let runtime = place.runtime();
        let mut job = place.job(I7, "/app finish 0");
        job.work.process.stop_signal = Some("SIGUSR1".to_owned());
        runtime.start(&job).await.expect("started");
        said(&runtime, I7, "ready").await;
        runtime.stop(I7, GRACE).await.expect("stopped");
        assert_eq!(text(&runtime, I7).await, ["ready", "got SIGUSR1", "job done"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_children_of_a_shell_get_the_signal() {
    with_engine("the_children_of_a_shell_get_the_signal", |place| async move {
        let runtime = place.runtime();
        place.ready(&runtime, "/app say 0 begins; /app finish 0; /app wait").await;
        let began = Instant::now();
        runtime.stop(I7, Duration::from_secs(30)).await.expect("stopped");
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        let exit = ended(&runtime, I7).await;
        assert!(exit.asked && !exit.killed_after_grace, "{exit:?}");
        let lines = text(&runtime, I7).await;
        assert!(
            lines.starts_with(&["begins".to_owned(), "ready".to_owned(), "got SIGTERM".to_owned()]),
            "{lines:?}"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_is_not_removed() {
    with_engine("what_runs_is_not_removed", |place| async move {
        let runtime = place.runtime();
        let running = place.ready(&runtime, "/app wait").await;
        let error = runtime.remove(I7).await.expect_err("it runs");
        assert_eq!(error.kind(), std::io::ErrorKind::ResourceBusy, "{error}");
        assert!(runtime.is(I7, &running.incarnation).await);
    })
    .await;
}
