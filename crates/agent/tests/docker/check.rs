//! Checks beside a container.

use std::time::{Duration, Instant};

use temps_agent::runtime::Runtime;

use crate::support::{I7, variable, with_engine};

const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_check_runs_in_the_container_and_says_what_was_wrong() {
    with_engine("a_check_runs_in_the_container", |place| async move {
        let runtime = place.runtime();
        let mut job = place.job(I7, "/app wait");
        variable(&mut job, "COLOUR", "red");
        runtime.start(&job).await.expect("started");
        assert_eq!(runtime.check(I7, "/app say 0 fine", LIMIT).await, Ok(()));
        let wrong = runtime.check(I7, "/app say 0 fine; /app say 3 the queue is stuck", LIMIT).await;
        assert_eq!(wrong, Err("exit code 3: the queue is stuck".to_owned()));
        // The variables are the instance's.
        let dumped = runtime.check(I7, "/app dump; /app say 1", LIMIT).await;
        assert_eq!(dumped.map_err(|e| e.starts_with("exit code 1")), Err(true));
        let missing = runtime.check(I7, "/missing", LIMIT).await.expect_err("no such program");
        assert!(missing.contains("/missing"), "{missing}");

        let began = Instant::now();
        let late = runtime.check(I7, "/app wait", Duration::from_secs(1)).await;
        assert_eq!(late, Err("no end within 1s".to_owned()));
        assert!(began.elapsed() < Duration::from_secs(10));
        crate::support::until("the late command is gone", || async {
            let top = place.docker.top_processes(&place.name(I7), None).await.expect("processes");
            let all = top.processes.unwrap_or_default();
            let waiting = all.iter().filter(|p| p.last().is_some_and(|c| c == "/app wait")).count();
            if waiting == 1 { Ok(()) } else { Err(all) }
        })
        .await;

        runtime.stop(I7, Duration::ZERO).await.expect("stopped");
        assert_eq!(runtime.check(I7, "/app say 0", LIMIT).await, Err("it does not run".to_owned()));
        runtime.remove(I7).await.expect("removed");
        assert_eq!(runtime.check(I7, "/app say 0", LIMIT).await, Err("its container is gone".to_owned()));
    })
    .await;
}
