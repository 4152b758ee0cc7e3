//! The sender against real receivers on loopback.

mod group;
mod leaders;
mod outbound;
mod receivers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use temps_core::command::{Command, NewChannel, NewNode, Receipt};
use temps_core::model::{
    Channel, ChannelSecret, ClusterState, Index, MailSecurity, Millis, NodeId, Opaque, Receiver,
};
use temps_ledger::{Leadership, Ledger, LedgerError, MemoryLedger, Proposal};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{ChannelKeys, Notifier, pause, sign, without};
use crate::tests::node;
use receivers::{Hook, Mailbox, authority};

const LIMIT: Duration = Duration::from_secs(60);
const SIGNING: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Secrets that nobody sealed.
struct Open;

impl ChannelKeys for Open {
    fn open_channel(&self, sealed: &Opaque) -> Result<String, String> {
        Ok(sealed.0.clone())
    }
}

/// One node's view of a log that several share.
struct Seat(NodeId, Arc<MemoryLedger>);

#[async_trait]
impl Ledger for Seat {
    fn node(&self) -> NodeId {
        self.0
    }

    fn state(&self) -> Arc<ClusterState> {
        self.1.state()
    }

    fn changes(&self) -> watch::Receiver<Index> {
        self.1.changes()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.1.leadership()
    }

    async fn propose(&self, proposal: Proposal) -> Result<Receipt, LedgerError> {
        self.1.propose(proposal).await
    }

    async fn barrier(&self) -> Result<Index, LedgerError> {
        self.1.barrier().await
    }

    fn silence(&self) -> BTreeMap<NodeId, Duration> {
        BTreeMap::new()
    }

    fn now(&self) -> Millis {
        self.1.now()
    }
}

/// A cluster of two nodes of which one comes and goes.
struct World {
    ledger: Arc<MemoryLedger>,
}

impl World {
    async fn new() -> Self {
        let world = Self { ledger: Arc::new(MemoryLedger::new(NodeId(1), ClusterState::default())) };
        world.write(Command::Found { domain: "example.com".to_owned(), token_hash: "00".to_owned() }).await;
        world.write(Command::CreateJoinToken { hash: "t".to_owned(), ttl: 60_000, uses: 9 }).await;
        for name in ["n1", "n2"] {
            let token_hash = (name == "n2").then(|| "t".to_owned());
            let new = NewNode { token_hash, ..node(name) };
            world.write(Command::AddNode(new)).await;
        }
        world
    }

    async fn write(&self, command: Command) -> Receipt {
        let proposal = Proposal { key: None, by: "ann".to_owned(), command };
        let receipt = self.ledger.propose(proposal).await.unwrap();
        receipt.made().unwrap();
        receipt
    }

    async fn add(&self, name: &str, receiver: Receiver, secret: ChannelSecret) {
        self.add_with(name, receiver, secret, true, None).await;
    }

    async fn add_with(
        &self,
        name: &str,
        receiver: Receiver,
        secret: ChannelSecret,
        allow_private: bool,
        root: Option<String>,
    ) {
        self.write(Command::AddChannel(channel(name, receiver, secret, allow_private, root))).await;
    }

    async fn add_hook(&self, name: &str, url: &str) {
        self.add(name, Receiver::Webhook { host: "127.0.0.1".to_owned() }, hook_secret(url)).await;
    }

    /// One event that everybody is told.
    async fn happen(&self, times: usize) {
        for _ in 0..times {
            let is_up = self.ledger.state().up().count() == 2;
            let ids = |these: bool| if these { vec![NodeId(2)] } else { Vec::new() };
            self.write(Command::Liveness { lost: ids(is_up), back: ids(!is_up) }).await;
        }
    }

    fn notifier(&self) -> Notifier {
        Notifier::new(self.ledger.clone(), Arc::new(Open), "abcdef0123".to_owned())
    }

    fn start(&self) -> JoinHandle<()> {
        tokio::spawn(self.notifier().run(CancellationToken::new()))
    }

    fn channel(&self, name: &str) -> Channel {
        self.ledger.state().notifications.channel(name).unwrap().1.clone()
    }

    /// Waits until a channel is so.
    async fn until(&self, name: &str, is: impl Fn(&Channel) -> bool) -> Channel {
        let mut changes = self.ledger.changes();
        let reached = changes.wait_for(|_| is(&self.channel(name)));
        tokio::time::timeout(LIMIT, reached).await.expect("in time").unwrap();
        self.channel(name)
    }

    /// Why the first try failed.
    async fn failure(&self, name: &str) -> String {
        let channel = self.until(name, |channel| channel.last_failure.is_some()).await;
        channel.last_failure.unwrap().why
    }
}

fn channel(
    name: &str,
    receiver: Receiver,
    secret: ChannelSecret,
    allow_private: bool,
    root: Option<String>,
) -> NewChannel {
    NewChannel {
        name: name.to_owned(),
        receiver,
        secret: Opaque(serde_json::to_string(&secret).unwrap()),
        root,
        projects: BTreeSet::new(),
        topics: BTreeSet::new(),
        allow_private,
    }
}

fn hook_secret(url: &str) -> ChannelSecret {
    ChannelSecret { url: Some(url.to_owned()), signing: Some(SIGNING.to_owned()), ..ChannelSecret::default() }
}

#[tokio::test]
async fn a_webhook_is_told_and_can_tell_that_it_was_us() {
    let (world, hook) = (World::new().await, Hook::start(|_| (200, "")).await);
    world.add_hook("a", &format!("http://{}/CANARY?token=1", hook.address)).await;
    let slack = Receiver::Slack { host: "127.0.0.1".to_owned(), channel: Some("#deploys".to_owned()) };
    world.add("b", slack, hook_secret(&format!("http://{}/slack", hook.address))).await;
    let running = world.start();
    world.happen(1).await;
    let channel = world.until("a", |channel| channel.sent == 1).await;
    world.until("b", |channel| channel.sent == 1).await;
    assert!(channel.pending.is_empty());
    assert_eq!(channel.last_sent.unwrap().title, "Node n2 lost.");
    assert!(world.ledger.state().notifications.notices.is_empty());

    let seen = hook.seen();
    let signed = seen.iter().find(|seen| seen.target == "/CANARY?token=1").unwrap();
    let header = |name: &str| signed.headers[name].to_str().unwrap().to_owned();
    let seconds = header("webhook-timestamp").parse().unwrap();
    let expected = sign::signature(SIGNING, &header("webhook-id"), seconds, &signed.body).unwrap();
    assert_eq!(header("webhook-signature"), expected);
    assert!(temps_ledger::wall().abs_diff(seconds * 1_000) < 60_000);
    assert_eq!(
        (header("host"), header("content-type")),
        (hook.address.to_string(), "application/json".to_owned())
    );
    let body: Value = serde_json::from_str(&signed.body).unwrap();
    assert_eq!((&body["id"], &body["topic"]), (&header("webhook-id").into(), &"node_lost".into()));
    assert!(header("webhook-id").ends_with("-ch1-abcdef01"), "{body}");

    let slack = seen.iter().find(|seen| seen.target == "/slack").unwrap();
    let body: Value = serde_json::from_str(&slack.body).unwrap();
    assert_eq!(
        (&body["channel"], body["text"].as_str().unwrap().starts_with("Node n2 lost.\n")),
        (&"#deploys".into(), true)
    );
    assert!(!slack.headers.contains_key("webhook-signature"));
    running.abort();
}

#[tokio::test]
async fn what_fails_is_tried_again_under_the_same_id() {
    let (world, hook) = (
        World::new().await,
        Hook::start(|n| if n < 2 { (500, "try later\x1b[2J") } else { (204, "") }).await,
    );
    world.add_hook("a", &format!("http://{}/secret-path", hook.address)).await;
    let running = world.start();
    world.happen(1).await;
    assert_eq!(world.failure("a").await, "it answered 500 Internal Server Error: try later[2J");
    let channel = world.until("a", |channel| channel.sent == 1).await;
    assert_eq!((channel.failing, channel.given_up, channel.pending.len()), (0, 0, 0));
    let ids: BTreeSet<_> = hook.seen().iter().map(|seen| seen.headers["webhook-id"].clone()).collect();
    assert_eq!((hook.seen().len(), ids.len()), (3, 1));
    running.abort();
}

#[tokio::test]
async fn nobody_is_led_to_a_private_address() {
    let (world, hook) = (World::new().await, Hook::start(|_| (200, "")).await);
    let port = hook.address.port();
    let receiver = || Receiver::Webhook { host: "x".to_owned() };
    let urls = [
        format!("https://127.0.0.1:{port}/"),
        format!("https://localhost:{port}/"),
        format!("https://[::ffff:127.0.0.1]:{port}/"),
        format!("https://2130706433:{port}/"),
        "https://169.254.169.254/latest/meta-data".to_owned(),
    ];
    for url in &urls {
        world.add_with(url, receiver(), hook_secret(url), false, None).await;
    }
    let plain = format!("http://{}/", hook.address);
    world.add_with("plain", receiver(), hook_secret(&plain), false, None).await;
    let mail = Receiver::Email {
        host: "127.0.0.1".to_owned(),
        port,
        security: MailSecurity::None,
        user: None,
        from: "a@example.com".to_owned(),
        to: vec!["b@example.com".to_owned()],
    };
    world.add_with("mail", mail, ChannelSecret::default(), false, None).await;
    // One that is allowed leads there, and would lead on.
    let redirect = Hook::start(move |_| (302, "")).await;
    redirect.leads_to(&plain);
    world.add_hook("redirect", &format!("http://{}/", redirect.address)).await;
    let running = world.start();
    world.happen(1).await;
    for url in &urls {
        let why = world.failure(url).await;
        assert!(why.contains("is no public address"), "{url}: {why}");
    }
    assert!(world.failure("mail").await.contains("is no public address"));
    assert!(world.failure("plain").await.contains("https://"));
    let why = world.failure("redirect").await;
    assert!(why.contains("302 Found, and redirects are not followed"), "{why}");
    assert_eq!((hook.seen().len(), hook.connections()), (0, 0), "nobody came");
    running.abort();
}

#[tokio::test]
async fn failures_name_no_secret() {
    let world = World::new().await;
    let refused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    world.add_hook("dead", &format!("http://{refused}/CANARY-7f3a91?key=CANARY-7f3a91")).await;
    let echo = Hook::start(|_| (404, "no hook at /CANARY-7f3a91/b")).await;
    world.add_hook("echo", &format!("http://{}/CANARY-7f3a91/b", echo.address)).await;
    let running = world.start();
    world.happen(1).await;
    let why = world.failure("dead").await;
    assert!(why.contains("no connection to 127.0.0.1"), "{why}");
    assert_eq!(world.failure("echo").await, "it answered 404 Not Found: no hook at ***");
    let shown = format!("{:?}", world.ledger.state());
    assert!(!shown.contains("CANARY-7f3a91"), "{shown}");
    running.abort();
    // A body that is cut is cut where nothing of it is left.
    let secret = hook_secret("https://h.example/services/T0/CANARY-7f3a91?token=SECRET-4&a=b");
    let page = format!("{} /services/T0/CANARY-7f3a91?token=SECRET-4 SECRET-4", "x".repeat(150));
    assert_eq!(without(&secret, page), format!("{} ***?token=*** ***", "x".repeat(150)));
    let secret = ChannelSecret { password: Some("hunter2".to_owned()), ..ChannelSecret::default() };
    assert_eq!(without(&secret, "535 hunter2 is wrong".to_owned()), "535 *** is wrong");
    assert_eq!(format!("{secret:?}"), "***");
}

#[tokio::test]
async fn https_needs_a_certificate_for_the_name() {
    let world = World::new().await;
    let (certificate, root) = authority("localhost");
    let hook = Hook::start_secure(certificate, |_| (200, "")).await;
    let url = format!("https://localhost:{}/", hook.address.port());
    let receiver = || Receiver::Webhook { host: "localhost".to_owned() };
    world.add_with("known", receiver(), hook_secret(&url), true, Some(root.clone())).await;
    world.add_with("stranger", receiver(), hook_secret(&url), true, None).await;
    let other = format!("https://127.0.0.1:{}/", hook.address.port());
    world.add_with("other", receiver(), hook_secret(&other), true, Some(root)).await;
    let running = world.start();
    world.happen(1).await;
    world.until("known", |channel| channel.sent == 1).await;
    for name in ["stranger", "other"] {
        let why = world.failure(name).await;
        assert!(why.contains("no TLS with"), "{why}");
    }
    assert_eq!(hook.seen().len(), 1);
    running.abort();
}

#[tokio::test]
async fn only_the_leader_sends() {
    let (world, hook) = (World::new().await, Hook::start(|_| (200, "")).await);
    world.add_hook("a", &format!("http://{}/", hook.address)).await;
    let follower = Notifier::new(
        Arc::new(Seat(NodeId(2), Arc::clone(&world.ledger))),
        Arc::new(Open),
        "abcdef".to_owned(),
    );
    let follower = tokio::spawn(follower.run(CancellationToken::new()));
    world.happen(20).await;
    let leader = world.start();
    world.until("a", |channel| channel.pending.is_empty()).await;
    assert_eq!(hook.seen().len(), 20, "each was sent by one");
    follower.abort();
    leader.abort();
}

#[tokio::test]
async fn mail_arrives_by_tls_with_an_id_and_a_login() {
    let world = World::new().await;
    let (certificate, root) = authority("localhost");
    for (name, security) in [("tls", MailSecurity::Tls), ("starttls", MailSecurity::Starttls)] {
        let mailbox = Mailbox::start(security, Some(certificate.clone())).await;
        let receiver = Receiver::Email {
            host: "localhost".to_owned(),
            port: mailbox.address.port(),
            security,
            user: Some("ann".to_owned()),
            from: "Temps <alerts@example.com>".to_owned(),
            to: vec!["team@example.com".to_owned(), "ops@example.com".to_owned()],
        };
        let secret = ChannelSecret { password: Some("hunter2".to_owned()), ..ChannelSecret::default() };
        world.add_with(name, receiver.clone(), secret.clone(), true, Some(root.clone())).await;
        world.add_with(&format!("{name} of a stranger"), receiver, secret, true, None).await;
        let running = world.start();
        world.happen(1).await;
        world.until(name, |channel| channel.sent == 1).await;
        let why = world.failure(&format!("{name} of a stranger")).await;
        assert!(why.contains("mail server localhost"), "{why}");
        running.abort();
        let mail = mailbox.mails().remove(0);
        assert_eq!(mail.login.as_deref(), Some("\0ann\0hunter2"));
        assert_eq!(mail.to, ["<team@example.com>", "<ops@example.com>"]);
        for line in [
            "Subject: [temps] Node n2 ",
            "Auto-Submitted: auto-generated",
            "Message-ID: <n",
            "-abcdef01@example.com>",
        ] {
            assert!(mail.text.contains(line), "{line}: {}", mail.text);
        }
        world.write(Command::RemoveChannel { name: name.to_owned() }).await;
        world.write(Command::RemoveChannel { name: format!("{name} of a stranger") }).await;
    }
}

#[tokio::test]
async fn a_mail_server_without_tls_gets_no_password() {
    let world = World::new().await;
    let mailbox = Mailbox::start(MailSecurity::None, None).await;
    let receiver = Receiver::Email {
        host: "localhost".to_owned(),
        port: mailbox.address.port(),
        security: MailSecurity::Starttls,
        user: Some("ann".to_owned()),
        from: "alerts@example.com".to_owned(),
        to: vec!["team@example.com".to_owned()],
    };
    let secret = ChannelSecret { password: Some("hunter2".to_owned()), ..ChannelSecret::default() };
    world.add("mail", receiver, secret).await;
    let running = world.start();
    world.happen(1).await;
    let why = world.failure("mail").await;
    assert!(why.contains("STARTTLS"), "{why}");
    assert!(mailbox.mails().is_empty());
    running.abort();
}

#[test]
fn waits_double_up_to_ten_minutes_and_longer_where_that_is_asked() {
    for (failing, around) in [(0, 1_000), (1, 2_000), (5, 32_000), (10, 600_000), (40, 600_000)] {
        let waits: Vec<_> = (0..50).map(|_| pause(failing, None)).collect();
        assert!(
            waits.iter().all(|wait| (around * 3 / 4..=around * 5 / 4).contains(wait)),
            "{failing}: {waits:?}"
        );
        assert!(waits.iter().any(|wait| *wait != waits[0]), "they are spread");
    }
    let asked = |seconds| pause(0, Some(Duration::from_secs(seconds)));
    assert!((22_500..=37_500).contains(&asked(30)));
    assert!(asked(u64::MAX / 2_000) <= 750_000);
}
