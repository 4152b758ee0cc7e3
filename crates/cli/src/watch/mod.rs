//! Following a deployment until it ends, the user has enough, or time is up.
//!
//! The cluster owns the deployment: nothing that happens here changes it.

mod board;
mod build_log;
mod show;

use std::time::Duration;

use futures_util::StreamExt;
use temps_core::text;
use temps_wire::client::{Client, ClientError};
use temps_wire::proto::{DeploymentDetail, EventId, GetDeploymentRequest, LogLine};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout_at};

pub(crate) use build_log::{Ask, BuildLog};
pub(crate) use show::Lines;
use show::Show;

use crate::exit::{Code, Failure};
use crate::screen::Screen;

/// Time between redraws.
const TICK: Duration = Duration::from_millis(500);
/// Time before a stream that ended early is opened again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the last lines of a build that has ended are waited for.
const LAST_LINES: Duration = Duration::from_secs(2);

/// What is followed, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Follow {
    pub(crate) number: u64,
    pub(crate) lines: Lines,
    pub(crate) timeout: Duration,
    /// Whether the log of its build is shown: that of one that ended long ago would be no news.
    pub(crate) with_build: bool,
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
        result = to_the_end(client, screen, &mut show, what) => result,
    };
    show.end();
    result
}

async fn to_the_end(
    client: &Client,
    screen: &mut Screen,
    show: &mut Show,
    what: Follow,
) -> Result<DeploymentDetail, Failure> {
    let number = what.number;
    let mut last: Option<EventId> = None;
    let mut build: Option<BuildLog> = None;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut events = client.watch_deployment(number, last);
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                line = next_line(&mut build) => {
                    build_line(screen, show, number, line)?;
                    continue;
                }
                _ = ticks.tick() => {
                    show.tick(screen);
                    continue;
                }
            };
            match event {
                None => break,
                Some(Ok(event)) => {
                    last = event.id;
                    if matches!(event.kind.as_str(), "built" | "reverting" | "ended") {
                        last_lines(screen, show, number, build.take()).await?;
                    }
                    show.event(screen, &event)?;
                    if event.kind == "paused" && is_paused(client, number).await? {
                        return Err(left_paused(number));
                    }
                    // One log goes on over all nodes that build, should one be lost.
                    let is_read = build.as_ref().is_some_and(|log| !log.is_over);
                    if event.kind == "building" && what.with_build && !is_read {
                        let ask = Ask { deployment: number, follow: true, tail: 0, waits: true };
                        build = Some(BuildLog::open(client, ask));
                    }
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

/// Whether it still is: what was paused may have been resumed.
async fn is_paused(client: &Client, number: u64) -> Result<bool, Failure> {
    let detail = get(client, number).await.map_err(|error| lost(number, error))?;
    Ok(detail.deployment.is_some_and(|deployment| !deployment.paused.is_empty()))
}

/// The next line of the build, for ever where there is none.
async fn next_line(build: &mut Option<BuildLog>) -> Option<Result<LogLine, ClientError>> {
    match build {
        Some(log) if !log.is_over => log.next().await,
        _ => std::future::pending().await,
    }
}

fn build_line(
    screen: &mut Screen,
    show: &mut Show,
    number: u64,
    line: Option<Result<LogLine, ClientError>>,
) -> std::io::Result<()> {
    match line {
        Some(Ok(line)) => show.build_line(screen, number, &line),
        Some(Err(error)) => {
            // The deployment goes on, and so does watching it.
            let why = crate::screen::escape(&error.to_string());
            show.warn(screen, &format!("the log of the build cannot be shown: {why}"));
            Ok(())
        }
        None => Ok(()),
    }
}

/// Shows what a build that has ended still says.
async fn last_lines(
    screen: &mut Screen,
    show: &mut Show,
    number: u64,
    build: Option<BuildLog>,
) -> std::io::Result<()> {
    let Some(mut log) = build else { return Ok(()) };
    let until = Instant::now() + LAST_LINES;
    while !log.is_over {
        let Ok(line) = timeout_at(until, log.next()).await else { break };
        build_line(screen, show, number, line)?;
    }
    Ok(())
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

fn left_paused(number: u64) -> Failure {
    let failure = Failure::new(Code::Failed, format!("deployment #{number} is paused"))
        .help(format!("let it go on with  temps deployments resume {number}"));
    go_on(failure, number)
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
