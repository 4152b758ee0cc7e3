//! Who is told what happens, where that leads, and whether it arrives.

use std::collections::BTreeSet;
use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use temps_core::command::{Command, NewChannel};
use temps_core::model::{
    Channel, ChannelId, ChannelSecret, ClusterState, EventId, MailSecurity, Millis, Mishap, Receiver, Sent,
    Topic,
};
use temps_wire::proto::add_notification_request::Receiver as Asked;
use temps_wire::proto::notification::Told;
use temps_wire::proto::{
    AddNotificationRequest, AddNotificationResponse, EmailReceiver, ListNotificationsRequest,
    ListNotificationsResponse, Notification, RemoveNotificationRequest, RemoveNotificationResponse,
    SlackReceiver, TestNotificationRequest, TestNotificationResponse, WebhookReceiver,
};
use temps_wire::seal::{NOTIFICATION, Seal};
use tonic::Status;
use url::Url;

use crate::caller::Caller;
use crate::desk::{Answer, Desk};
use crate::limits;

/// The longest URL, password and signing secret, in bytes.
const SECRET_MAX: usize = 2_048;
/// The longest root certificate, in bytes.
const PEM_MAX: usize = 64 << 10;
/// How long a test waits for what comes of it.
const TEST: Duration = Duration::from_secs(15);
/// What a signing secret begins with, and how many bytes it may have: those of Standard Webhooks.
const SIGNING: &str = "whsec_";
const SIGNING_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Where notices go, in the words of the state, and what nobody may see of that.
struct Place {
    receiver: Receiver,
    secret: ChannelSecret,
    /// A secret that was made here.
    made: String,
}

pub(crate) async fn add(
    desk: &Desk,
    caller: Caller,
    request: AddNotificationRequest,
) -> Answer<AddNotificationResponse> {
    let AddNotificationRequest { name, receiver, projects, topics, allow_private, root } = request;
    limits::text("the name", &name)?;
    limits::names("project name", projects.iter())?;
    limits::pem("the root certificate", &root, PEM_MAX)?;
    let private = if allow_private { Private::Allowed } else { Private::Refused };
    let place = match receiver {
        Some(Asked::Slack(slack)) => self::slack(slack, private)?,
        Some(Asked::Email(email)) => self::email(email, private)?,
        Some(Asked::Webhook(webhook)) => self::webhook(desk, &caller, webhook, private)?,
        None => return Err(wrong("a notification leads to Slack, to mail or to a webhook")),
    };
    let secret = serde_json::to_string(&place.secret).map_err(|why| Status::internal(why.to_string()))?;
    let secret = Seal::of(&desk.identity).seal(NOTIFICATION, &secret);
    let channel = NewChannel {
        name,
        receiver: place.receiver,
        secret: secret.map_err(|why| Status::internal(why.to_string()))?,
        root: Some(root).filter(|root| !root.is_empty()),
        projects: projects.into_iter().collect(),
        topics: self::topics(&topics)?,
        allow_private,
    };
    desk.propose(&caller, Command::AddChannel(channel)).await?;
    Ok(AddNotificationResponse { signing_secret: place.made })
}

/// Whether a receiver may have an address of a private network, and be reached without TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Private {
    Refused,
    Allowed,
}

fn wrong(why: impl Into<String>) -> Status {
    Status::invalid_argument(why)
}

fn topics(words: &[String]) -> Answer<BTreeSet<Topic>> {
    let topic = |word: &String| {
        Topic::of(word).ok_or_else(|| {
            let all: Vec<_> = Topic::ALL.iter().map(|topic| topic.word()).collect();
            let word: String = word.chars().take(40).collect();
            wrong(format!("there is no event {word:?}; there are {}", all.join(", ")))
        })
    };
    words.iter().map(topic).collect()
}

/// The host of a URL. The URL itself is a secret, and told nobody.
fn host(url: &str, private: Private) -> Answer<String> {
    limits::pem("the URL", url, SECRET_MAX)?;
    let parsed = Url::parse(url).map_err(|why| wrong(format!("the URL is none: {why}")))?;
    match (parsed.scheme(), private) {
        ("https", _) | ("http", Private::Allowed) => {}
        _ => {
            return Err(wrong(
                "the URL must begin with https://; http:// only with --allow-private, for a receiver in your own network",
            ));
        }
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return Err(wrong("the URL must have no user and password in it"));
    }
    let host = parsed.host_str().ok_or_else(|| wrong("the URL names no host"))?;
    Ok(match parsed.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

fn slack(slack: SlackReceiver, private: Private) -> Answer<Place> {
    let host = host(&slack.url, private)?;
    limits::text("the channel", &slack.channel)?;
    Ok(Place {
        receiver: Receiver::Slack {
            host,
            channel: Some(slack.channel).filter(|channel| !channel.is_empty()),
        },
        secret: ChannelSecret { url: Some(slack.url), ..ChannelSecret::default() },
        made: String::new(),
    })
}

fn webhook(desk: &Desk, caller: &Caller, webhook: WebhookReceiver, private: Private) -> Answer<Place> {
    let WebhookReceiver { url, signing_secret } = webhook;
    let host = host(&url, private)?;
    let made = if signing_secret.is_empty() { made(desk, caller) } else { String::new() };
    let signing = if signing_secret.is_empty() { made.clone() } else { signing_secret };
    let key = signing.strip_prefix(SIGNING).filter(|key| key.len() <= SECRET_MAX);
    let key = key.and_then(|key| STANDARD.decode(key).ok());
    if !key.is_some_and(|key| SIGNING_BYTES.contains(&key.len())) {
        return Err(wrong(format!(
            "a signing secret is {SIGNING} and {} to {} bytes in base64; leave it out and the cluster makes one",
            SIGNING_BYTES.start(),
            SIGNING_BYTES.end()
        )));
    }
    let secret = ChannelSecret { url: Some(url), signing: Some(signing), password: None };
    Ok(Place { receiver: Receiver::Webhook { host }, secret, made })
}

/// A new signing secret. Under one key it is the same however often it is asked for, as the log takes the first.
fn made(desk: &Desk, caller: &Caller) -> String {
    let mut bytes = [0; 32];
    match caller.key() {
        Some(key) => {
            let own = hmac::Key::new(hmac::HMAC_SHA256, desk.identity.ca_key_pem.as_bytes());
            bytes.copy_from_slice(hmac::sign(&own, format!("{SIGNING} {key}").as_bytes()).as_ref());
        }
        None => rand::fill(&mut bytes).expect("the operating system gives random bytes"),
    }
    format!("{SIGNING}{}", STANDARD.encode(bytes))
}

fn email(email: EmailReceiver, private: Private) -> Answer<Place> {
    let EmailReceiver { host, port, security, user, password, from, to } = email;
    limits::names("address", to.iter())?;
    for (what, text) in [("the mail server", &host), ("the user", &user), ("the sender", &from)] {
        limits::text(what, text)?;
    }
    limits::pem("the password", &password, SECRET_MAX)?;
    let port = u16::try_from(port).map_err(|_| wrong("a port is a number from 1 to 65535"))?;
    let security = match (security.as_str(), port) {
        ("tls", _) | ("", 465) => MailSecurity::Tls,
        ("starttls" | "", _) => MailSecurity::Starttls,
        ("none", _) => MailSecurity::None,
        _ => return Err(wrong("the security of a mail server is starttls, tls or none")),
    };
    let port = match (port, security) {
        (0, MailSecurity::Tls) => 465,
        (0, MailSecurity::Starttls | MailSecurity::None) => 587,
        (port, _) => port,
    };
    if security == MailSecurity::None && private == Private::Refused {
        return Err(wrong("mail without TLS needs --allow-private, for a mail server in your own network"));
    }
    if user.is_empty() != password.is_empty() {
        return Err(wrong("a mail server is given a user and a password, or neither"));
    }
    if host.is_empty() {
        return Err(wrong("mail needs a mail server"));
    }
    for address in [&from].into_iter().chain(&to) {
        self::address(address)?;
    }
    let password = Some(password).filter(|password| !password.is_empty());
    Ok(Place {
        receiver: Receiver::Email {
            host,
            port,
            security,
            user: Some(user).filter(|user| !user.is_empty()),
            from,
            to,
        },
        secret: ChannelSecret { password, ..ChannelSecret::default() },
        made: String::new(),
    })
}

/// That it looks like an address, by itself or behind a name; the mail server knows the rest.
fn address(text: &str) -> Answer<()> {
    let inner =
        text.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')).map_or(text, |(_, inner)| inner);
    let fits = inner.bytes().all(|b| b.is_ascii_graphic() && !b"<>,;\"()".contains(&b))
        && inner
            .split_once('@')
            .is_some_and(|(user, domain)| !user.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if fits && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(wrong(format!("{text:?} is no address for mail")))
}

pub(crate) async fn remove(
    desk: &Desk,
    caller: Caller,
    request: RemoveNotificationRequest,
) -> Answer<RemoveNotificationResponse> {
    limits::text("the name", &request.name)?;
    desk.propose(&caller, Command::RemoveChannel { name: request.name }).await?;
    Ok(RemoveNotificationResponse {})
}

pub(crate) async fn test(
    desk: &Desk,
    caller: Caller,
    request: TestNotificationRequest,
) -> Answer<TestNotificationResponse> {
    let name = request.name;
    limits::text("the name", &name)?;
    let mut changes = desk.ledger.changes();
    let receipt = desk.propose(&caller, Command::TestChannel { name: name.clone() }).await?;
    // It is the only thing that its entry has anybody told.
    let notice = EventId { index: receipt.index, place: 0 };
    let result = async {
        loop {
            let state = desk.ledger.state();
            if let Some(result) = tested(&state, &name, notice) {
                return result;
            }
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    };
    let failure = match tokio::time::timeout(TEST, result).await {
        Ok(failure) => failure,
        Err(_) => Some("nothing is known of it yet; look again with `temps notifications list`".to_owned()),
    };
    Ok(TestNotificationResponse { delivered: failure.is_none(), failure: failure.unwrap_or_default() })
}

/// What came of a test, once that is known: why it failed, if it did.
fn tested(state: &ClusterState, name: &str, notice: EventId) -> Option<Option<String>> {
    let Some((_, channel)) = state.notifications.channel(name) else {
        return Some(Some("the notification was removed meanwhile".to_owned()));
    };
    if let Some(tested) = channel.tested.as_ref().filter(|tested| tested.notice == notice) {
        return Some(tested.failure.clone());
    }
    // Another test came later, and this one's result is overwritten.
    let known = channel.pending.contains_key(&notice);
    (!known).then(|| Some("it was tested again meanwhile".to_owned()))
}

pub(crate) async fn list(
    desk: &Desk,
    _: Caller,
    _: ListNotificationsRequest,
) -> Answer<ListNotificationsResponse> {
    let state = desk.at_hand().await.state;
    let now = desk.ledger.now().max(state.clock);
    let channels = state.notifications.channels.iter();
    Ok(ListNotificationsResponse {
        notifications: channels.map(|(id, channel)| shown(*id, channel, now)).collect(),
    })
}

fn shown(id: ChannelId, channel: &Channel, now: Millis) -> Notification {
    let waits = channel.failing > 0 && !channel.pending.is_empty();
    Notification {
        id: id.to_string(),
        name: channel.name.clone(),
        r#type: channel.receiver.word().to_owned(),
        to: to(&channel.receiver),
        projects: channel.projects.iter().cloned().collect(),
        topics: channel.topics.iter().map(|topic| topic.word().to_owned()).collect(),
        allow_private: channel.allow_private,
        by: channel.by.clone(),
        pending: channel.pending.len() as u64,
        sent: channel.sent,
        given_up: channel.given_up,
        dropped: channel.dropped,
        failing: channel.failing,
        retry_in_ms: waits.then(|| channel.retry_at.saturating_sub(now)),
        last_sent: channel.last_sent.as_ref().map(|Sent { wall, title, .. }| Told {
            wall_ms: *wall,
            title: title.clone(),
            why: String::new(),
        }),
        last_failure: channel.last_failure.as_ref().map(|Mishap { wall, title, why, .. }| Told {
            wall_ms: *wall,
            title: title.clone(),
            why: why.clone(),
        }),
    }
}

/// Where it leads, without its secrets.
fn to(receiver: &Receiver) -> String {
    match receiver {
        Receiver::Slack { host, channel: None } | Receiver::Webhook { host } => host.clone(),
        Receiver::Slack { host, channel: Some(channel) } => format!("{channel} at {host}"),
        Receiver::Email { host, port, security, to, .. } => {
            let security = match security {
                MailSecurity::Starttls => "STARTTLS",
                MailSecurity::Tls => "TLS",
                MailSecurity::None => "no TLS",
            };
            format!("{} by {host}:{port} ({security})", to.join(", "))
        }
    }
}
