//! What the environment asks of this application.
//!
//! | variable | effect |
//! |---|---|
//! | `PORT` | where it listens; 8080 if absent |
//! | `OTHER_PORT` | where it listens instead, whatever it was told |
//! | `VERSION` | said in every answer |
//! | `START_DELAY_MS` | listens only after this time |
//! | `WARM_UP_MS` | health answers 503 for this time |
//! | `FIRST_SLOW_MS` | the first health request takes this long |
//! | `EXIT_AT_ONCE` | exits with this code |
//! | `CRASH_AFTER_MS` | exits with code 1 after this time |
//! | `FAIL_ON_NODE` | exits with code 1 on the node of this name or number |
//! | `HEALTH_STATUS`, `LOCATION` | health answers this status, with this `Location` |
//! | `NEVER_HEALTHY` | health answers 503 |
//! | `HEALTH_HOST` | health answers 400 unless `Host` is this |
//! | `ERROR_FRACTION` | this percentage of requests is answered with 500 |
//! | `RESET_FRACTION` | this percentage of answers breaks off |
//! | `ANSWER_MS` | every answer but that to a health check takes this long |
//! | `IGNORE_SIGTERM` | stays after SIGTERM |
//! | `EXIT_ON_TERM` | `now` (the default), or milliseconds after SIGTERM |
//! | `CLOSE_IDLE_MS` | closes a connection that was idle for this time |
//! | `COUNT_TO` | `address:port` to which `POST /count` tells a line |
//! | `LOG_TO` | `address:port` to which log lines are told, besides stderr |
//! | `FILE` | what `POST /file` appends to and `GET /file` reads |
//! | `EAT_MEMORY_AFTER_MS` | takes memory without end after this time |
//! | `HTTP2` | speaks HTTP/2 alone, without TLS |
//! | `JOB_MS` | how long one job of a worker takes; 1000 if absent |
//! | `MIGRATE_MS`, `MIGRATE_EXIT` | how long `migrate` takes, and how it ends |
//! | `CHECK_EXIT` | how `check` ends |
//!
//! The first line of the file `build`, where there is one beside the binary, is said in every answer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;

/// What happens on SIGTERM.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OnTerm {
    /// Exit with code 0, whatever is in flight.
    ExitNow,
    /// Go on serving for this time, then exit with code 0.
    ExitAfter(Duration),
    /// Go on for ever.
    Ignore,
}

/// The resolved environment.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) port: u16,
    pub(crate) version: String,
    pub(crate) instance: String,
    pub(crate) node: String,
    pub(crate) start_delay: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) first_slow: Option<Duration>,
    pub(crate) exit_at_once: Option<i32>,
    pub(crate) crash_after: Option<Duration>,
    pub(crate) health_status: StatusCode,
    pub(crate) location: Option<String>,
    pub(crate) health_host: Option<String>,
    pub(crate) error_percent: u64,
    pub(crate) reset_percent: u64,
    pub(crate) answer_after: Duration,
    pub(crate) on_term: OnTerm,
    pub(crate) close_idle: Option<Duration>,
    pub(crate) count_to: Option<SocketAddr>,
    pub(crate) log_to: Option<SocketAddr>,
    pub(crate) project: String,
    pub(crate) build: String,
    pub(crate) file: Option<PathBuf>,
    pub(crate) eat_memory_after: Option<Duration>,
    pub(crate) job: Duration,
    pub(crate) migrate: Duration,
    pub(crate) migrate_exit: i32,
    pub(crate) check_exit: i32,
    pub(crate) http2: bool,
}

impl Settings {
    /// Reads the environment. A value that is no number counts as absent.
    pub(crate) fn from_environment() -> Self {
        let node = text("TEMPS_NODE").unwrap_or_default();
        let node_id = text("TEMPS_NODE_ID").unwrap_or_default();
        let unlucky = text("FAIL_ON_NODE").is_some_and(|n| n == node || n == node_id);
        let health_status = if text("NEVER_HEALTHY").is_some() {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            number("HEALTH_STATUS").unwrap_or(StatusCode::OK)
        };
        Self {
            port: number("OTHER_PORT").or_else(|| number("PORT")).unwrap_or(8080),
            version: text("VERSION").unwrap_or_else(|| "v0".to_owned()),
            instance: text("TEMPS_INSTANCE").unwrap_or_default(),
            node,
            start_delay: millis("START_DELAY_MS").unwrap_or_default(),
            warm_up: millis("WARM_UP_MS").unwrap_or_default(),
            first_slow: millis("FIRST_SLOW_MS"),
            exit_at_once: if unlucky { Some(1) } else { number("EXIT_AT_ONCE") },
            crash_after: millis("CRASH_AFTER_MS"),
            health_status,
            location: text("LOCATION"),
            health_host: text("HEALTH_HOST"),
            error_percent: number("ERROR_FRACTION").unwrap_or(0).min(100),
            reset_percent: number("RESET_FRACTION").unwrap_or(0).min(100),
            answer_after: millis("ANSWER_MS").unwrap_or_default(),
            on_term: on_term(),
            close_idle: millis("CLOSE_IDLE_MS"),
            count_to: number("COUNT_TO"),
            log_to: number("LOG_TO"),
            project: text("TEMPS_PROJECT").unwrap_or_default(),
            build: build(),
            file: text("FILE").map(PathBuf::from),
            eat_memory_after: millis("EAT_MEMORY_AFTER_MS"),
            job: millis("JOB_MS").unwrap_or(Duration::from_secs(1)),
            migrate: millis("MIGRATE_MS").unwrap_or_default(),
            migrate_exit: number("MIGRATE_EXIT").unwrap_or(0),
            check_exit: number("CHECK_EXIT").unwrap_or(0),
            http2: text("HTTP2").is_some(),
        }
    }
}

fn on_term() -> OnTerm {
    match (text("IGNORE_SIGTERM"), millis("EXIT_ON_TERM")) {
        (Some(_), _) => OnTerm::Ignore,
        (None, Some(time)) => OnTerm::ExitAfter(time),
        (None, None) => OnTerm::ExitNow,
    }
}

/// What it was built from, where somebody wrote that down.
fn build() -> String {
    let text = std::fs::read_to_string("build").unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    text(name)?.parse().ok()
}

fn millis(name: &str) -> Option<Duration> {
    number(name).map(Duration::from_millis)
}
