//! Ends that nobody asked for, and whose fault they are.

use bollard::query_parameters::{
    KillContainerOptionsBuilder, RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
};
use temps_agent::runtime::{Runtime, StartError};
use temps_core::model::Exit;

use crate::support::{I7, Place, condition, ended, exit_found, with_engine};

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_code_is_the_application_s_own() {
    with_engine("an_exit_code_is_the_application_s_own", |place| async move {
        let runtime = place.runtime();
        runtime.start(&place.job(I7, "/app say 3 no database")).await.expect("started");
        let exit = ended(&runtime, I7).await;
        assert!(exit.is_crash() && !exit.oom, "{exit:?}");
        assert_eq!((exit.code, exit.signal, exit.how().as_str()), (Some(3), None, "exit code 3"));
        assert_eq!(exit.log_tail, ["no database"]);
        assert_eq!(exit_found(&place.runtime(), I7).await, Some(exit));
        let again = runtime.start(&place.job(I7, "/app wait")).await;
        assert!(matches!(again, Err(StartError::Ended)), "{again:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_does_not_exist_is_named() {
    with_engine("a_command_that_does_not_exist_is_named", |place| async move {
        let runtime = place.runtime();
        let said = match runtime.start(&place.job(I7, "/missing")).await {
            Ok(_) => ended(&runtime, I7).await.log_tail.join("\n"),
            Err(error) => error.to_string(),
        };
        assert!(said.contains("/missing"), "{said}");
        runtime.remove(I7).await.expect("removed");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_memory_is_told() {
    with_engine("out_of_memory_is_told", |place| async move {
        let runtime = place.runtime();
        let mut job = place.job(I7, "/app eat");
        job.work.process.memory = Some(64 * 1024 * 1024);
        runtime.start(&job).await.expect("started");
        let exit = ended(&runtime, I7).await;
        assert!(exit.oom && exit.is_crash(), "{exit:?}");
        assert_eq!(exit.how(), "out of memory");
    })
    .await;
}

/// What a stranger does to the container of instance 7, and how it ended then.
async fn after<F: Future<Output = ()>>(place: &Place, command: &str, act: impl FnOnce(String) -> F) -> Exit {
    let runtime = place.runtime();
    let running = place.ready(&runtime, command).await;
    act(place.name(I7)).await;
    let exit = ended(&runtime, I7).await;
    assert!(!runtime.is(I7, &running.incarnation).await, "it is not the start that was meant");
    assert_eq!(exit_found(&place.runtime(), I7).await.as_ref(), Some(&exit), "the next server agrees");
    let again = runtime.start(&place.job(I7, command)).await;
    assert!(matches!(again, Err(StartError::Ended)), "an instance never starts twice: {again:?}");
    runtime.remove(I7).await.expect("removed, also where it runs again");
    assert!(condition(&runtime, I7).await.is_none());
    exit
}

fn excused(exit: &Exit, why: &str) {
    assert!(exit.excused && !exit.is_crash(), "{exit:?}");
    assert!(exit.how().contains(why), "{exit:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_removed_behind_the_back_is_excused() {
    with_engine("a_container_removed_behind_the_back_is_excused", |place| async move {
        let exit = after(&place, "/app wait", |name| async {
            let options = RemoveContainerOptionsBuilder::new().force(true).build();
            place.docker.remove_container(&{ name }, Some(options)).await.expect("removed");
        });
        excused(&exit.await, "removed by somebody else");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_restarted_behind_the_back_is_excused() {
    with_engine("a_container_restarted_behind_the_back_is_excused", |place| async move {
        let exit = after(&place, "/app finish 0", |name| async {
            place.docker.restart_container(&{ name }, None).await.expect("restarted");
        });
        excused(&exit.await, "restarted by somebody else");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_stopped_behind_the_back_is_excused() {
    with_engine("a_container_stopped_behind_the_back_is_excused", |place| async move {
        let exit = after(&place, "/app ignore", |name| async {
            let options = StopContainerOptionsBuilder::new().t(1).build();
            place.docker.stop_container(&{ name }, Some(options)).await.expect("stopped");
        });
        excused(&exit.await, "by somebody else");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_killed_behind_the_back_is_excused_and_a_harmless_signal_excuses_nothing() {
    with_engine("a_container_killed_behind_the_back_is_excused", |place| async move {
        let signal = |name: String, signal: &'static str| {
            let docker = place.docker.clone();
            async move {
                let options = KillContainerOptionsBuilder::new().signal(signal).build();
                docker.kill_container(&name, Some(options)).await.expect("signalled");
            }
        };
        let exit = after(&place, "/app finish 0", |name| signal(name, "SIGTERM")).await;
        excused(&exit, "killed by somebody else");
        assert_eq!(exit.code, Some(0));
        let exit = after(&place, "/app finish 0", |name| signal(name, "SIGUSR1")).await;
        assert!(exit.is_crash(), "SIGUSR1 only was the reason in the application's own view: {exit:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_while_no_server_ran_is_known_to_the_next() {
    with_engine("what_happened_while_no_server_ran", |place| async move {
        let runtime = place.runtime();
        place.ready(&runtime, "/app wait").await;
        drop(runtime);
        let options = RemoveContainerOptionsBuilder::new().force(true).build();
        place.docker.remove_container(&place.name(I7), Some(options)).await.expect("removed");
        let runtime = place.runtime();
        let exit = exit_found(&runtime, I7).await.expect("it is remembered");
        excused(&exit, "removed by somebody else");
        runtime.remove(I7).await.expect("removed");
        assert!(condition(&runtime, I7).await.is_none());

        let runtime = place.runtime();
        place.ready(&runtime, "/app wait").await;
        drop(runtime);
        place.docker.restart_container(&place.name(I7), None).await.expect("restarted");
        let exit = exit_found(&place.runtime(), I7).await.expect("it is over");
        excused(&exit, "restarted by somebody else");
    })
    .await;
}
