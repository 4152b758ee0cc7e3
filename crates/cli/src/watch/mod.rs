//! Following a deployment until it ends, the user has enough, or time is up.
//!
//! The cluster owns the deployment: nothing that happens here changes it.

mod board;
mod show;

use std::time::Duration;

use futures_util::StreamExt;
use temps_core::text;
use temps_wire::client::{Client, ClientError};
use temps_wire::proto::{DeploymentDetail, EventId, GetDeploymentRequest};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

pub(crate) use show::Lines;
use show::Show;

use crate::exit::{Code, Failure};
use crate::screen::Screen;

/// Time between redraws.
const TICK: Duration = Duration::from_millis(500);
/// Time before a stream that ended early is opened again.
const PAUSE: Duration = Duration::from_millis(500);

/// What is followed, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Follow {
    pub(crate) number: u64,
    pub(crate) lines: Lines,
    pub(crate) timeout: Duration,
}

/// Follows a deployment; the answer is how it stands when it has ended.
///
/// # Errors
/// [`Failure`] with code 130 where `interrupt` came first, 5 where time is up, 8 where no node answers.
/// Each says how to go on, as the deployment does.
pub(crate) async fn follow(
    client: &Client,
    screen: &mut Screen,
    what: Follow,
    interrupt: impl Future<Output = ()>,
) -> Result<DeploymentDetail, Failure> {
    let mut show = Show::new(what.lines, screen);
    let deadline = Instant::now().checked_add(what.timeout);
    let over = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        biased;
        () = interrupt => Err(detached(what.number)),
        () = over => Err(timed_out(what)),
        result = to_the_end(client, screen, &mut show, what.number) => result,
    };
    show.end();
    result
}

async fn to_the_end(
    client: &Client,
    screen: &mut Screen,
    show: &mut Show,
    number: u64,
) -> Result<DeploymentDetail, Failure> {
    let mut last: Option<EventId> = None;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut events = client.watch_deployment(number, last);
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = ticks.tick() => {
                    show.tick(screen);
                    continue;
                }
            };
            match event {
                None => break,
                Some(Ok(event)) => {
                    last = event.id;
                    show.event(screen, &event)?;
                }
                Some(Err(error)) => return Err(lost(number, error)),
            }
        }
        let detail = get(client, number).await.map_err(|error| lost(number, error))?;
        if detail.deployment.as_ref().is_some_and(|deployment| deployment.ended) {
            return Ok(detail);
        }
        // The node closed the stream although the deployment goes on: another one knows the rest.
        show.warn(screen, "the stream of events ended early, going on");
        sleep(PAUSE).await;
    }
}

/// A deployment as it stands.
pub(crate) async fn get(client: &Client, number: u64) -> Result<DeploymentDetail, ClientError> {
    client.call(|mut api| async move { api.get_deployment(GetDeploymentRequest { number }).await }).await
}

/// Ready when the user presses Ctrl-C or the process is asked to end.
pub(crate) async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminated) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => {
            if pressed.is_err() {
                std::future::pending::<()>().await;
            }
        }
        _ = terminated.recv() => {}
    }
}

/// How to go on with a deployment that is no longer watched.
fn go_on(failure: Failure, number: u64) -> Failure {
    failure
        .help(format!("follow it with  temps deployments watch {number}"))
        .help(format!("cancel it with  temps deployments cancel {number}"))
}

fn detached(number: u64) -> Failure {
    go_on(Failure::new(Code::Interrupted, format!("detached; deployment #{number} goes on")), number)
}

fn timed_out(what: Follow) -> Failure {
    let millis = u64::try_from(what.timeout.as_millis()).unwrap_or(u64::MAX);
    let message =
        format!("deployment #{} has not ended after {}; it goes on", what.number, text::duration(millis));
    go_on(Failure::new(Code::TimedOut, message), what.number)
}

fn lost(number: u64, error: ClientError) -> Failure {
    let failure = Failure::from(error);
    if failure.code == Code::Unreachable {
        let message = format!("{}; deployment #{number} goes on if it can", failure.message);
        return go_on(Failure { message, ..failure }, number);
    }
    failure
}
