//! Listens to what the engine tells of its own accord.
//!
//! What is heard only says that it is time to look: events can be lost, with the engine or on the way, so
//! whoever waits for one also looks now and then.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bollard::errors::Error as Answer;
use bollard::models::{EventMessage, EventMessageTypeEnum};
use bollard::query_parameters::{EventsOptions, EventsOptionsBuilder};
use futures_util::StreamExt;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::container::{CLUSTER, Owner};
use super::engine::{Engine, lock};

/// How long until an engine that went away is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How many deaths are remembered until the engine answers again.
const DEATHS: usize = 256;
/// What changes containers or their addresses. Commands run in containers are not among it.
const ACTIONS: [&str; 9] =
    ["start", "die", "destroy", "stop", "restart", "rename", "unpause", "connect", "disconnect"];

#[derive(Debug)]
struct Heard {
    news: watch::Sender<u64>,
    deaths: Mutex<VecDeque<String>>,
}

/// Listens until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    heard: Arc<Heard>,
    listening: AbortHandle,
}

impl Watch {
    /// Begins to listen.
    pub(super) fn start(engine: Arc<Engine>, owner: Owner) -> Self {
        let heard = Arc::new(Heard { news: watch::Sender::new(0), deaths: Mutex::default() });
        let listening = tokio::spawn(listen(engine, owner, Arc::clone(&heard))).abort_handle();
        Self { heard, listening }
    }

    /// A number that grows whenever something may have changed.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.heard.news.subscribe()
    }

    /// Whether the end of a container was heard.
    pub(super) fn has_died(&self, container: &str) -> bool {
        lock(&self.heard.deaths).iter().any(|dead| dead == container)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(engine: Arc<Engine>, owner: Owner, heard: Arc<Heard>) {
    let mut since = since_epoch();
    loop {
        if let Ok(docker) = engine.docker().await {
            let mut events = docker.events(Some(options(since)));
            // What happened while nobody listened is to be looked for.
            heard.news.send_modify(|n| *n += 1);
            // Whatever is not understood must not be asked for again.
            since = since_epoch();
            let broken = loop {
                match events.next().await {
                    Some(Ok(event)) => heard.take(&owner, &event),
                    Some(Err(error)) => break Some(error),
                    None => break None,
                }
                since = since_epoch();
            };
            tracing::debug!(error = ?broken, "the engine's events broke off");
            // What is not understood is no sign of absence.
            if !matches!(broken, Some(Answer::JsonDataError { .. } | Answer::JsonSerdeError { .. })) {
                engine.gone();
            }
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn options(since: Duration) -> EventsOptions {
    // Hearing something twice does no harm.
    let since = since.saturating_sub(Duration::from_secs(2)).as_secs();
    let filters = HashMap::from([("type", vec!["container", "network"]), ("event", ACTIONS.to_vec())]);
    EventsOptionsBuilder::new().since(&since.to_string()).filters(&filters).build()
}

impl Heard {
    fn take(&self, owner: &Owner, event: &EventMessage) {
        let Some(actor) = &event.actor else { return };
        let attributes = actor.attributes.as_ref();
        let attribute = |name: &str| attributes.and_then(|all| all.get(name)).map(String::as_str);
        let is_ours = match event.typ {
            Some(EventMessageTypeEnum::CONTAINER) => attribute(CLUSTER) == Some(owner.cluster.as_str()),
            Some(EventMessageTypeEnum::NETWORK) => {
                attribute("name").is_some_and(|name| name.starts_with(&owner.network("")))
            }
            _ => false,
        };
        if !is_ours {
            return;
        }
        if event.action.as_deref() == Some("die")
            && let Some(id) = &actor.id
        {
            let mut deaths = lock(&self.deaths);
            if deaths.len() == DEATHS {
                deaths.pop_front();
            }
            deaths.push_back(id.clone());
        }
        self.news.send_modify(|n| *n += 1);
    }
}
