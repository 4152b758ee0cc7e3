//! How an instance ended, and whether the application is to blame.
//!
//! An engine that stopped and a person who removes, restarts or stops a container end an application that
//! has done nothing wrong. What the engine knows of that it tells a moment later, so an end that nobody
//! asked for is judged after a pause, once.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use nix::sys::signal::Signal;
use temps_core::model::{Exit, InstanceId};

use super::DockerRuntime;
use super::container::{Container, State};
use super::engine::{Absence, EngineError, QUICK};
use super::lines;
use super::marks::{Marks, Record};

/// How long the engine may take to tell why something ended.
const PAUSE: Duration = Duration::from_secs(1);
/// Before an engine is noticed to be gone, it ends its containers; after it is back, it ends those that
/// should not have outlived it.
const AROUND: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(5));
/// How long after a signal an end is still its effect, in seconds.
const EFFECT: i64 = 30;
/// How far back the engine is asked for events, in seconds.
const MEMORY: i64 = 120;

const ENGINE_STOPPED: &str = "the container engine stopped";
const FORGOTTEN: &str = "the container engine was restarted";
const MACHINE_RESTARTED: &str = "the machine was restarted";
const REMOVED: &str = "its container was removed by somebody else";
const RESTARTED: &str = "its container was restarted by somebody else";
const STOPPED: &str = "its container was stopped by somebody else";
const KILLED: &str = "its container was killed by somebody else";

/// How an instance ended that does not run any more, as far as is known.
pub(super) async fn judge(runtime: &DockerRuntime, instance: InstanceId, known: Option<Container>) -> Exit {
    let marks = runtime.marks(instance);
    if let Ok(Some(exit)) = marks.exit() {
        return exit;
    }
    let exit = fresh(runtime, instance, &marks, known).await;
    // Who else judges the same end must come to the same exit.
    let _one = runtime.judging.lock().await;
    match marks.exit() {
        Ok(Some(first)) => first,
        Ok(None) | Err(_) => {
            if let Err(error) = marks.write_exit(&exit) {
                tracing::debug!(%instance, %error, "how it ended is not written down");
            }
            exit
        }
    }
}

async fn fresh(
    runtime: &DockerRuntime,
    instance: InstanceId,
    marks: &Marks,
    known: Option<Container>,
) -> Exit {
    if marks.is_asked() {
        return asked(marks, known.as_ref());
    }
    if known.as_ref().is_none_or(is_fresh) {
        tokio::time::sleep(PAUSE).await;
    }
    let name = runtime.owner.container(instance);
    let record = marks.record().ok().flatten().unwrap_or_default();
    let looked = Container::find(&runtime.engine, &runtime.owner, &name, QUICK).await;
    let excused = |why: &str| Exit {
        error: Some(why.to_owned()),
        excused: true,
        ..known.as_ref().filter(|c| c.state == State::Ended).map(plain).unwrap_or_default()
    };
    let exit = match looked {
        Err(_) => excused(ENGINE_STOPPED),
        Ok(None) => excused(REMOVED),
        Ok(Some(other)) if other.instance != Some(instance) => excused(REMOVED),
        Ok(Some(now)) if now.state == State::Running || !record.is_same_start(&now.incarnation()) => {
            excused(RESTARTED)
        }
        Ok(Some(now)) => {
            let mut exit = plain(&now);
            if let Some(why) = excuse(runtime, &record, &now).await {
                exit.error = Some(why.to_owned());
                exit.excused = true;
            }
            exit.log_tail = lines::tail(&runtime.engine, &now.id).await;
            exit
        }
    };
    // Asked meanwhile: then this was the wish, whoever was faster.
    if marks.is_asked() { asked(marks, known.as_ref()) } else { exit }
}

fn is_fresh(container: &Container) -> bool {
    let now = Timestamp::now().as_second();
    container.finished.is_none_or(|at| (now - at.as_second()).abs() <= 2)
}

/// Nobody asks why something ended that was told to.
fn asked(marks: &Marks, known: Option<&Container>) -> Exit {
    let how = known.filter(|c| c.state == State::Ended).map(plain).unwrap_or_default();
    Exit { asked: true, killed_after_grace: marks.is_killed(), ..how }
}

/// What the engine says, without a judgement.
fn plain(container: &Container) -> Exit {
    let signal = container.code.map(|code| code - 128).filter(|signal| (1..=31).contains(signal));
    Exit { code: container.code, signal, oom: container.oom, ..Exit::default() }
}

/// Who else may have ended it.
async fn excuse(runtime: &DockerRuntime, record: &Record, container: &Container) -> Option<&'static str> {
    if record.is_of_another_boot() {
        return Some(MACHINE_RESTARTED);
    }
    if is_around(container.finished, &runtime.engine.absences()) {
        return Some(ENGINE_STOPPED);
    }
    match events(runtime, container).await {
        Ok(events) => by_somebody(&events, container.code, &container.stop_signal),
        Err(_) => Some(ENGINE_STOPPED),
    }
}

fn is_around(finished: Option<Timestamp>, absences: &[Absence]) -> bool {
    absences.iter().any(|absence| {
        let from = absence.from.checked_sub(AROUND.0).unwrap_or(SystemTime::UNIX_EPOCH);
        let to = absence.to.and_then(|to| to.checked_add(AROUND.1));
        finished.is_none_or(|at| {
            let at = SystemTime::from(at);
            from <= at && to.is_none_or(|to| at <= to)
        })
    })
}

/// What the engine remembers of a container's last minutes.
async fn events(runtime: &DockerRuntime, container: &Container) -> Result<Vec<EventMessage>, EngineError> {
    let now = Timestamp::now();
    let end = container.finished.map_or(now, |at| at.min(now)).as_second();
    let filters = HashMap::from([
        ("container", vec![container.id.as_str()]),
        ("event", vec!["kill", "stop", "restart", "die"]),
    ]);
    let options = EventsOptionsBuilder::new()
        .since(&(end - MEMORY).to_string())
        .until(&format!("{}.{:09}", now.as_second(), now.subsec_nanosecond()))
        .filters(&filters)
        .build();
    runtime.engine.ask(QUICK, |docker| async move { docker.events(Some(options)).try_collect().await }).await
}

/// Whether events tell of somebody who ended a container. A signal that an application survives, such as a
/// request to read its configuration again, is no end.
fn by_somebody(events: &[EventMessage], code: Option<i32>, stop_signal: &str) -> Option<&'static str> {
    let is = |event: &EventMessage, action: &str| event.action.as_deref() == Some(action);
    if events.iter().any(|event| is(event, "stop") || is(event, "restart")) {
        return Some(STOPPED);
    }
    let Some(died) = events.iter().rev().find(|event| is(event, "die")).and_then(|event| event.time) else {
        // It remembers every end since it was started.
        return Some(FORGOTTEN);
    };
    let ends = |event: &EventMessage| {
        let signal: i32 = event.actor.as_ref()?.attributes.as_ref()?.get("signal")?.parse().ok()?;
        let asks = [Signal::SIGTERM as i32, Signal::SIGINT as i32, Signal::SIGQUIT as i32];
        let is_stop = stop_signal.parse::<Signal>().is_ok_and(|stop| stop as i32 == signal);
        let soon = (0..=EFFECT).contains(&(died - event.time?));
        let end = signal == Signal::SIGKILL as i32
            || code == Some(128 + signal)
            || (soon && (is_stop || asks.contains(&signal)));
        end.then_some(KILLED)
    };
    events.iter().filter(|event| is(event, "kill")).find_map(ends)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use bollard::models::{EventActor, EventMessage};
    use jiff::Timestamp;

    use super::{FORGOTTEN, KILLED, STOPPED, by_somebody, is_around};
    use crate::runtime::docker::engine::Absence;

    fn event(time: i64, action: &str, signal: &str) -> EventMessage {
        EventMessage {
            action: Some(action.to_owned()),
            actor: Some(EventActor {
                id: None,
                attributes: Some([("signal".to_owned(), signal.to_owned())].into()),
            }),
            time: Some(time),
            ..EventMessage::default()
        }
    }

    fn check(events: &[(i64, &str, &str)], code: i32, expected: Option<&str>) {
        let told: Vec<_> = events.iter().map(|(at, action, signal)| event(*at, action, signal)).collect();
        assert_eq!(by_somebody(&told, Some(code), "SIGUSR1"), expected, "{events:?}, code {code}");
    }

    #[test]
    fn only_signals_that_end_an_application_excuse_it() {
        check(&[(100, "die", "")], 1, None);
        check(&[], 1, Some(FORGOTTEN));
        check(
            &[(90, "kill", "15"), (100, "kill", "9"), (100, "die", ""), (100, "stop", "")],
            137,
            Some(STOPPED),
        );
        check(&[(100, "kill", "9"), (100, "die", "")], 137, Some(KILLED));
        check(&[(95, "kill", "15"), (100, "die", "")], 0, Some(KILLED));
        check(&[(95, "kill", "10"), (100, "die", "")], 0, Some(KILLED));
        check(&[(20, "kill", "15"), (100, "die", "")], 1, None);
        check(&[(99, "kill", "1"), (100, "die", "")], 1, None);
        check(&[(99, "kill", "1"), (100, "die", "")], 129, Some(KILLED));
        check(&[(99, "kill", "x"), (100, "die", "")], 1, None);
    }

    #[test]
    fn an_end_around_an_absence_is_the_engine_s() {
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let finished = |seconds: i64| Timestamp::from_second(seconds).ok();
        let absences = [Absence { from: at(100), to: Some(at(110)) }];
        for inside in [98, 100, 105, 114] {
            assert!(is_around(finished(inside), &absences), "{inside}");
        }
        for outside in [90, 96, 116, 500] {
            assert!(!is_around(finished(outside), &absences), "{outside}");
        }
        assert!(is_around(None, &absences));
        assert!(!is_around(None, &[]));
        assert!(is_around(finished(500), &[Absence { from: at(100), to: None }]));
    }
}
