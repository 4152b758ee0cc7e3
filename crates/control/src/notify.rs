//! Notices: who sends them, when they are tried again, and what is written of that.
//!
//! Whoever leads sends. What has still to be told, and how often that failed, is state, so a new leader goes on; what
//! the last one had sent and not written down is sent once more, under the same id. Channels do not wait for each
//! other.

mod address;
mod http;
mod mail;
mod message;
mod sign;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::{HeaderMap, HeaderValue};
use temps_core::command::{Attempt, Command, NotTold, Notify};
use temps_core::model::{
    Channel, ChannelId, ChannelSecret, ClusterState, EventId, Millis, Notice, Opaque, Receiver, Topic,
};
use temps_core::notices;
use temps_ledger::{Ledger, Proposal, wall};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use address::{NameServers, Names};
use message::Message;

/// How long one try may take.
const TRY: Duration = Duration::from_secs(10);
/// How often it is looked what is due, where nothing happens.
const EVERY: Duration = Duration::from_secs(1);
/// How often certificates are looked at.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(60);
/// How long to wait after the log gave no answer.
const PAUSE: Duration = Duration::from_millis(200);
/// So much of why something was not told is kept, in characters.
const TOLD_MAX: usize = 160;
/// Parts of a URL of so many bytes are kept out of texts: what lets somebody in is longer.
const HIDDEN_MIN: usize = 6;
/// The wait after the first failure, doubled with each further one; and the longest.
const AGAIN_FIRST: Millis = 1_000;
const AGAIN_MAX: Millis = 10 * 60 * 1_000;

/// Opens the secrets of channels, which the log knows sealed alone.
pub trait ChannelKeys: Send + Sync + 'static {
    /// The secret of a channel, a [`ChannelSecret`] as JSON.
    ///
    /// # Errors
    /// Why it cannot be opened.
    fn open_channel(&self, sealed: &Opaque) -> Result<String, String>;
}

/// Why a notice did not arrive.
#[derive(Debug)]
struct Unsent {
    /// For a person.
    why: String,
    /// So long the receiver wants to be left alone.
    after: Option<Duration>,
}

impl Unsent {
    fn of(why: impl Into<String>) -> Self {
        Self { why: why.into(), after: None }
    }
}

/// Sends notices whenever this node leads.
pub struct Notifier {
    ledger: Arc<dyn Ledger>,
    keys: Arc<dyn ChannelKeys>,
    /// Something by which this cluster differs from others.
    cluster: String,
    /// Channels that are being told something, or were and that is not written yet.
    busy: BTreeSet<ChannelId>,
    sends: JoinSet<Attempt>,
    /// What came of it, to be written.
    attempts: Vec<Attempt>,
    looked: Option<Instant>,
    names: Arc<dyn Names>,
    /// How long one try may take.
    patience: Duration,
}

impl Notifier {
    /// Sends what is in the outbox of this ledger. Receivers that hear from several clusters tell them apart by
    /// `cluster`, such as the fingerprint of its CA: of letters and digits eight are used.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, keys: Arc<dyn ChannelKeys>, cluster: String) -> Self {
        Self {
            ledger,
            keys,
            cluster,
            busy: BTreeSet::new(),
            sends: JoinSet::new(),
            attempts: Vec::new(),
            looked: None,
            names: Arc::new(NameServers),
            patience: TRY,
        }
    }

    /// Works until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut changes = self.ledger.changes();
        let mut leadership = self.ledger.leadership();
        loop {
            changes.mark_unchanged();
            let leads = leadership.borrow_and_update().leader == Some(self.ledger.node());
            let wait = if leads { self.lead().await } else { self.rest() };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                changed = changes.changed() => if changed.is_err() { return },
                changed = leadership.changed() => if changed.is_err() { return },
                Some(ended) = self.sends.join_next() => self.note(ended),
            }
        }
    }

    /// Whoever leads tells it anew, under the same ids.
    fn rest(&mut self) -> Duration {
        self.sends = JoinSet::new();
        self.busy.clear();
        self.attempts.clear();
        EVERY
    }

    fn note(&mut self, ended: Result<Attempt, JoinError>) {
        match ended {
            Ok(attempt) => self.attempts.push(attempt),
            Err(why) => {
                error!(%why, "sending a notice broke; all are begun anew");
                self.rest();
            }
        }
    }

    /// Writes what came of notices, sends those that are due, and returns how long nothing will be.
    async fn lead(&mut self) -> Duration {
        while let Some(ended) = self.sends.try_join_next() {
            self.note(ended);
        }
        if !self.attempts.is_empty() {
            if !self.write(Notify::Tried(self.attempts.clone())).await {
                return PAUSE;
            }
            for attempt in self.attempts.drain(..) {
                self.busy.remove(&attempt.channel);
            }
        }
        let state = self.ledger.state();
        if self.looked.is_none_or(|at| at.elapsed() >= CERTIFICATES_EVERY) {
            self.looked = Some(Instant::now());
            if !notices::expiring(&state, wall()).is_empty() && !self.write(Notify::Expiring).await {
                self.looked = None;
            }
        }
        let now = self.ledger.now();
        let mut wait = EVERY;
        for (id, channel) in &state.notifications.channels {
            if self.busy.contains(id) || channel.pending.is_empty() {
                continue;
            }
            if channel.retry_at > now {
                wait = wait.min(Duration::from_millis(channel.retry_at - now));
                continue;
            }
            let Some((event, notice)) = next(&state, channel) else { continue };
            self.busy.insert(*id);
            let errand = Errand {
                ledger: Arc::clone(&self.ledger),
                keys: Arc::clone(&self.keys),
                channel: channel.clone(),
                notice: notice.clone(),
                id: message::id(event, *id, &self.cluster),
                cluster: state.domain.clone(),
                names: Arc::clone(&self.names),
                patience: self.patience,
            };
            let (channel, notice) = (*id, event);
            self.sends.spawn(async move { Attempt { channel, notice, failure: errand.run().await } });
        }
        wait
    }

    /// Whether it is written.
    async fn write(&self, notify: Notify) -> bool {
        let command = Command::Notify(notify);
        let proposal = Proposal { key: None, by: "planner".to_owned(), command };
        match self.ledger.propose(proposal).await {
            Ok(receipt) => {
                if let Err(why) = receipt.made() {
                    debug!(%why, "what came of notices was refused");
                }
                true
            }
            Err(why) => {
                debug!(%why, "no answer from the log");
                false
            }
        }
    }
}

/// What a channel is told next: a test first, then what was tried the least, so that one notice that a receiver does
/// not like keeps no other back; the oldest of these.
fn next<'a>(state: &'a ClusterState, channel: &Channel) -> Option<(EventId, &'a Notice)> {
    let waiting = channel.pending.iter().filter_map(|(id, tries)| {
        let notice = state.notifications.notices.get(id)?;
        Some(((notice.topic != Topic::Test, *tries, *id), notice))
    });
    waiting.min_by_key(|(order, _)| *order).map(|((_, _, id), notice)| (id, notice))
}

/// One notice to one channel.
struct Errand {
    ledger: Arc<dyn Ledger>,
    keys: Arc<dyn ChannelKeys>,
    channel: Channel,
    notice: Notice,
    id: String,
    cluster: String,
    names: Arc<dyn Names>,
    patience: Duration,
}

impl Errand {
    async fn run(self) -> Option<NotTold> {
        let name = &self.channel.name;
        let opened = self.keys.open_channel(&self.channel.secret).and_then(|text| {
            serde_json::from_str(&text).map_err(|_| "its secret is damaged; add it again".to_owned())
        });
        let secret: ChannelSecret = match opened {
            Ok(secret) => secret,
            Err(why) => return Some(self.failed(Unsent::of(why), &ChannelSecret::default())),
        };
        let sent = tokio::time::timeout(self.patience, self.send(&secret)).await;
        match sent.unwrap_or_else(|_| Err(Unsent::of("it did not answer in time"))) {
            Ok(()) => {
                info!(notification = name, id = self.id, "a notice arrived");
                None
            }
            Err(unsent) => Some(self.failed(unsent, &secret)),
        }
    }

    fn failed(&self, unsent: Unsent, secret: &ChannelSecret) -> NotTold {
        let why: String = without(secret, unsent.why).chars().take(TOLD_MAX).collect();
        info!(notification = self.channel.name, id = self.id, why, "a notice did not arrive");
        let wait = pause(self.channel.failing, unsent.after);
        NotTold { why, retry_at: self.ledger.now().saturating_add(wait) }
    }

    async fn send(&self, secret: &ChannelSecret) -> Result<(), Unsent> {
        let message = Message { notice: &self.notice, id: self.id.clone(), cluster: &self.cluster };
        let (root, allow_private) = (self.channel.root.as_deref(), self.channel.allow_private);
        let names = self.names.as_ref();
        let url = secret.url.as_deref().unwrap_or_default();
        match &self.channel.receiver {
            Receiver::Slack { channel, .. } => {
                let body = message.slack(channel.as_deref()).to_string();
                http::send(http::Post { url, root, allow_private, names, headers: HeaderMap::new(), body })
                    .await
            }
            Receiver::Webhook { .. } => {
                let body = message.webhook().to_string();
                let headers = self.signed(secret, &body).map_err(Unsent::of)?;
                http::send(http::Post { url, root, allow_private, names, headers, body }).await
            }
            Receiver::Email { host, port, security, user, from, to } => {
                let login = user.as_deref().zip(secret.password.as_deref());
                let (port, security) = (*port, *security);
                let route = mail::Route { host, port, security, login, from, to, root, allow_private, names };
                mail::send(route, &message).await
            }
        }
    }

    /// The headers by which a receiver knows that it is ours, that it is new, and that it had it before.
    fn signed(&self, secret: &ChannelSecret, body: &str) -> Result<HeaderMap, String> {
        let seconds = wall() / 1_000;
        let signature =
            sign::signature(secret.signing.as_deref().unwrap_or_default(), &self.id, seconds, body)?;
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("webhook-id", self.id.clone()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", signature),
        ] {
            headers.insert(name, HeaderValue::from_str(&value).map_err(|why| why.to_string())?);
        }
        Ok(headers)
    }
}

/// A text that a receiver may have repeated a secret in, without it.
fn without(secret: &ChannelSecret, mut text: String) -> String {
    let mut hidden: Vec<_> =
        [&secret.url, &secret.signing, &secret.password].into_iter().flatten().cloned().collect();
    if let Some(url) = secret.url.as_deref().and_then(|url| url::Url::parse(url).ok()) {
        let query = url.query().unwrap_or_default();
        hidden.push(format!("{}?{query}", url.path()));
        hidden.extend([url.path().to_owned(), query.to_owned()]);
        hidden.extend(url.path_segments().into_iter().flatten().map(str::to_owned));
        hidden.extend(query.split('&').filter_map(|pair| Some(pair.split_once('=')?.1.to_owned())));
        hidden.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
    }
    // Shorter parts are words that stand in many texts.
    hidden.retain(|part| {
        part.len() >= HIDDEN_MIN || secret.password.as_ref() == Some(part) && !part.is_empty()
    });
    hidden.sort_by_key(|part| std::cmp::Reverse(part.len()));
    for part in hidden {
        text = text.replace(&part, "***");
    }
    text
}

/// After so many failures in a row: doubled each time, a quarter more or less so that channels of one dead receiver do
/// not come together.
fn pause(failing: u32, asked: Option<Duration>) -> Millis {
    let wait = AGAIN_FIRST.saturating_mul(1 << failing.min(16)).min(AGAIN_MAX);
    let asked = asked.map_or(0, |asked| Millis::try_from(asked.as_millis()).unwrap_or(AGAIN_MAX));
    let wait = wait.max(asked.min(AGAIN_MAX));
    rand::random_range(wait - wait / 4..=wait + wait / 4)
}

#[cfg(test)]
mod tests;
