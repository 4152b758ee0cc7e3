//! Names, notifications, people, tokens and the audit log, as somebody with a browser sees and changes them.

use std::time::Duration;

use sha2::{Digest, Sha256};
use temps_core::command::{Attempt, Certify, Command, NotTold, Notify};
use temps_core::model::{
    Certificate, CertificateFrom, CertificateId, ChannelSecret, ClusterState, MailSecurity, Opaque, Receiver,
    Topic,
};
use temps_ledger::Ledger;
use temps_wire::seal::{NOTIFICATION, Seal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::cluster::{Cluster, deploy};
use super::super::http::Answered;
use super::{Browser, header};

/// Somebody who presses buttons.
struct Hand<'a> {
    browser: Browser<'a>,
    word: String,
}

impl<'a> Hand<'a> {
    async fn of(cluster: &'a Cluster) -> Self {
        let browser = Browser::sign_in(cluster).await;
        let word = browser.word("/").await;
        Self { browser, word }
    }

    async fn send(&self, path: &str, fields: &[(&str, &str)]) -> Answered {
        let fields = fields.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let fields: Vec<_> = [("word", self.word.clone())].into_iter().chain(fields).collect();
        self.browser.post(path, &fields, &[]).await
    }

    /// Sends a form, and follows to the page that comes after it.
    async fn follow(&self, path: &str, fields: &[(&str, &str)]) -> String {
        let sent = self.send(path, fields).await;
        assert_eq!(sent.status, 303, "{path}: {}", sent.text);
        self.page(header(&sent.headers, "location")).await
    }

    async fn page(&self, path: &str) -> String {
        let page = self.browser.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        page.text
    }

    async fn refused(&self, path: &str, fields: &[(&str, &str)], says: &str) {
        let sent = self.send(path, fields).await;
        assert_eq!(sent.status, 400, "{path}: {}", sent.text);
        assert!(sent.text.contains(says), "{says:?} is not in {}", sent.text);
    }
}

fn has(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(text), "{text:?} is not in {page}");
    }
}

fn has_none(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(!page.contains(text), "{text:?} is in {page}");
    }
}

#[tokio::test]
async fn what_a_person_may_do_is_changed_from_the_page() {
    let cluster = Cluster::start(1).await;
    let hand = Hand::of(&cluster).await;
    let bob = [("name", "bob"), ("role", "viewer"), ("projects", "shop=deployer, blog")];
    let once = hand.send("/access/add-person", &bob).await.text;
    has(&once, &["bob (viewer in blog, deployer in shop) sets a password with this code within 24h"]);
    // The form to change it has what is so.
    let typed = "name=\"projects\" value=\"blog=viewer, shop=deployer\"";
    has(&hand.page("/access").await, &["<td>viewer in blog, deployer in shop</td>", "<td>u2</td>", typed]);

    let admin = [("name", "bob"), ("role", "admin"), ("projects", "")];
    let page = hand.follow("/access/grant-person", &admin).await;
    has(&page, &["bob is changed."]);
    has_none(&page, &["viewer in blog"]);
    has(&hand.follow("/access/grant-person", &admin).await, &["bob is so already."]);
    let page = hand.follow("/access/set-person", &[("name", "bob"), ("disable", "1")]).await;
    has(&page, &["bob is changed.", "disabled</span>", "<option selected>admin</option>"]);
    for (projects, says) in [
        ("shop=king", "there is no role &#34;king&#34;"),
        ("shop, shop=admin", "the project &#34;shop&#34; is named twice"),
        ("=viewer", "write for example shop=deployer, blog=viewer"),
        (",", "names no project"),
    ] {
        let fields = [("name", "bob"), ("role", "viewer"), ("projects", projects)];
        hand.refused("/access/grant-person", &fields, says).await;
    }
    // A link that somebody made says nothing of theirs.
    has_none(&hand.page("/access?came=same&of=Pay+here").await, &["Pay here"]);
}

#[tokio::test]
async fn it_is_said_what_keeps_somebody_out_and_how_long_a_token_is_valid() {
    let cluster = Cluster::start(1).await;
    let hand = Hand::of(&cluster).await;
    for (name, ttl) in [("bob", "1ms"), ("eve", "2h")] {
        let fields = [("name", name), ("role", "viewer"), ("ttl", ttl)];
        assert_eq!(hand.send("/access/add-person", &fields).await.status, 200);
    }
    let fields = [("name", "ci"), ("role", "deployer"), ("projects", "shop"), ("expires", "12h")];
    let once = hand.send("/access/create-token", &fields).await.text;
    has(&once, &["Token of ci (deployer in shop) for 12h"]);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let page = hand.page("/access").await;
    has(&page, &["code expired</span>", "sets a password within 1h59m</span>", "active</span>"]);
    has(&page, &["<td>deployer in shop</td>", "<td>11h59m</td>", "<td>never</td>"]);
    for (expires, says) in
        [("0d", "valid for no time"), ("4000d", "up to 3650d"), ("soon", "&#34;soon&#34; is not a duration")]
    {
        let fields = [("name", "cd"), ("role", "viewer"), ("expires", expires)];
        hand.refused("/access/create-token", &fields, says).await;
    }
}

#[tokio::test]
async fn a_name_is_verified_where_a_node_answers_at_each_of_its_addresses() {
    let cluster = Cluster::start(1).await;
    deploy(&cluster.client(), "v1").await;
    let hand = Hand::of(&cluster).await;
    let of = [("project", "shop"), ("environment", "production")];
    let named = |name| [("name", name), of[0], of[1]];
    let page = hand.follow("/domains/add", &named("127.0.0.1")).await;
    has(&page, &["127.0.0.1 belongs to shop (production). Point it at your machines"]);
    let page = hand.follow("/domains/add", &named("127.0.0.1")).await;
    has(&page, &["127.0.0.1 belongs to shop (production) already."]);
    hand.follow("/domains/add", &named("nowhere.invalid")).await;

    let verified = hand.send("/domains/verify", &[("name", "nowhere.invalid")]).await.text;
    has(&verified, &["does not lead to this cluster", "No address: ", "record A or AAAA"]);

    // In place of an edge.
    let ca = cluster.nodes[0].identity.ca_fingerprint().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let edge = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1_024];
            let count = stream.read(&mut asked).await.unwrap();
            let path = std::str::from_utf8(&asked[..count]).unwrap().split(' ').nth(1).unwrap();
            let question = path.rsplit('/').next().unwrap();
            let whose = hex::encode(Sha256::new().chain_update(ca.0).chain_update(question).finalize());
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{whose}", whose.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let fields = [("name", "127.0.0.1"), ("port", port.as_str())];
    let verified = hand.send("/domains/verify", &fields).await.text;
    has(&verified, &[">leads to this cluster", "<code>127.0.0.1</code>", "a node of this cluster"]);
    has_none(&verified, &["not here"]);
    // A certificate that could not be had is ordered again.
    let failed =
        Certify::Failed { name: "127.0.0.1".to_owned(), why: "no A".to_owned(), retry_at: 1_800_000_000_000 };
    cluster.write(Command::Certify(failed)).await;
    let verified = hand.send("/domains/verify", &fields).await.text;
    has(&verified, &[">leads to this cluster", "ordered again now"]);
    edge.abort();
    assert!(edge.await.unwrap_err().is_cancelled());
    let verified = hand.send("/domains/verify", &fields).await.text;
    has(&verified, &["does not lead to this cluster", "not here", "no connection"]);
}

#[tokio::test]
async fn names_are_told_with_their_origin_and_a_failed_renewal() {
    let mut state = ClusterState::default();
    let certificate = Certificate {
        names: ["old.example".to_owned()].into(),
        chain: String::new(),
        key: Opaque(String::new()),
        not_before: 0,
        not_after: 1_800_000_000_000,
        renew_at: 0,
        issuer: "R11".to_owned(),
        from: CertificateFrom::Acme,
    };
    state.tls.certificates.insert(CertificateId(1), certificate);
    let cluster = Cluster::start_from(1, state).await;
    deploy(&cluster.client(), "v1").await;
    let hand = Hand::of(&cluster).await;
    for name in ["old.example", "new.example"] {
        let fields = [("name", name), ("project", "shop"), ("environment", "production")];
        hand.follow("/domains/add", &fields).await;
    }
    let acme = [("directory", "https://ca.example/dir"), ("email", "ops@example.com"), ("terms", "on")];
    let acme = [&acme[..], &[("root", "-----BEGIN\r\nCERTIFICATE-----\r\n")]].concat();
    hand.follow("/domains/acme", &acme).await;
    let failed = Certify::Failed {
        name: "old.example".to_owned(),
        why: "no A".to_owned(),
        retry_at: 1_800_000_000_000,
    };
    cluster.write(Command::Certify(failed)).await;
    let page = hand.page("/domains").await;
    let renewal = "R11, until 2027-01-15 (renewal failed: no A, again at 2027-01-15T08:00:00Z)";
    has(&page, &["not renewed</span>", renewal, "<td>being ordered</td>"]);
    has(&page, &["<td>every environment has one</td>", "<td>none can be ordered for such a name</td>"]);
    // Where certificates are ordered is changed without ordering none in between, and keeps what is not changed.
    has(
        &page,
        &["value=\"https://ca.example/dir\"", "value=\"ops@example.com\"", "-----BEGIN\nCERTIFICATE-----"],
    );
    has(&hand.follow("/domains/acme", &acme).await, &["It is so already"]);
    let changed = [&acme[..1], &[("email", "tls@example.com")], &acme[2..]].concat();
    has(&hand.follow("/domains/acme", &changed).await, &["which may write to tls@example.com"]);
    let root = cluster.log.state().tls.acme.clone().unwrap().root.unwrap();
    assert_eq!(root, "-----BEGIN\nCERTIFICATE-----\n");
}

#[tokio::test]
async fn all_that_the_command_line_can_have_told_is_asked_by_the_page() {
    let cluster = Cluster::start(1).await;
    let hand = Hand::of(&cluster).await;
    let page = hand.page("/notifications").await;
    for topic in Topic::ALL {
        has(&page, &[&format!("name=\"topic.{}\"", topic.word())]);
    }
    let mail = [
        ("type", "email"),
        ("name", "mail"),
        ("host", "smtp.example.com"),
        ("security", "tls"),
        ("from", "Temps <alerts@example.com>"),
        ("to", "team@example.com"),
        ("topic.failed", "on"),
        ("topic.rolled_back", "on"),
        ("projects", "shop"),
        ("root", "-----BEGIN"),
    ];
    let page = hand.follow("/notifications/add", &mail).await;
    has(&page, &["mail is told what happens from now on.", "<td>rolled_back, failed of shop</td>"]);
    has(&page, &["nothing sent yet", "smtp.example.com:465 (TLS)"]);
    let own = format!("whsec_{}", "A".repeat(32));
    let hook =
        [("type", "webhook"), ("name", "hook"), ("url", "https://example.com/"), ("signing_secret", &own)];
    has_none(&hand.follow("/notifications/add", &hook).await, &[&own]);
    let state = cluster.log.state();
    let channel = |name| state.notifications.channel(name).unwrap().1;
    assert_eq!(channel("mail").root.as_deref(), Some("-----BEGIN\n"));
    assert!(matches!(channel("mail").receiver, Receiver::Email { security: MailSecurity::Tls, .. }));
    let secret = Seal::of(&cluster.nodes[0].identity).open(NOTIFICATION, &channel("hook").secret).unwrap();
    let secret: ChannelSecret = serde_json::from_str(&secret).unwrap();
    assert_eq!(secret.signing, Some(own));
}

#[tokio::test]
async fn it_is_told_when_a_notice_arrived_and_when_one_is_tried_again() {
    let cluster = Cluster::start(1).await;
    let hand = Hand::of(&cluster).await;
    let add = [("type", "slack"), ("name", "team"), ("url", "https://hooks.slack.com/CANARY")];
    hand.follow("/notifications/add", &add).await;
    // In place of a leader that sends.
    let tried = async |failure: Option<NotTold>| {
        let mut changes = cluster.log.changes();
        let pending = || {
            let state = cluster.log.state();
            let (id, channel) = state.notifications.channel("team")?;
            Some((id, *channel.pending.first_key_value()?.0))
        };
        changes.wait_for(|_| pending().is_some()).await.unwrap();
        let (channel, notice) = pending().unwrap();
        cluster.write(Command::Notify(Notify::Tried(vec![Attempt { channel, notice, failure }]))).await;
    };
    let named = [("name", "team")];
    let (page, ()) = tokio::join!(hand.follow("/notifications/test", &named), tried(None));
    has(&page, &["A notice arrived at team.", "1 sent, the last at 20", "<small>Arrived: "]);
    let retry_at = cluster.log.state().clock + 3_600_000;
    let failure = Some(NotTold { why: "it answered 404".to_owned(), retry_at });
    let (sent, ()) = tokio::join!(hand.send("/notifications/test", &named), tried(failure));
    assert_eq!(sent.status, 409);
    has(&sent.text, &["No notice arrived at team: it answered 404"]);
    has(&hand.page("/notifications").await, &["does not arrive</span> failing: it answered 404; 1 sent"]);
    // What happens meanwhile waits.
    deploy(&cluster.client(), "v1").await;
    has(&hand.page("/notifications").await, &["1 waiting, again in "]);
}

#[tokio::test]
async fn the_audit_log_is_asked_as_by_the_command_line() {
    let cluster = Cluster::start(1).await;
    deploy(&cluster.client(), "v1").await;
    let hand = Hand::of(&cluster).await;
    for name in ["blog", "mail"] {
        hand.follow("/projects", &[("name", name)]).await;
    }
    let page = hand.page("/audit").await;
    has(&page, &["<td>token admin</td>", "<td>person anna</td>", "<td>project create</td>"]);
    let at = |what: &str| page.find(what).expect("it is there");
    assert!(at("<td>mail</td>") < at("<td>blog</td>"), "the newest first: {page}");

    let by = hand.page("/audit?project=&by=anna&since=1h&limit=").await;
    has(&by, &["<td>person anna</td>", "name=\"by\" value=\"anna\"", "4 shown."]);
    has_none(&by, &["token admin", "Older"]);
    has_none(&hand.page("/audit?project=shop").await, &["<td>blog</td>"]);

    let newest = hand.page("/audit?by=anna&limit=1").await;
    has(&newest, &["<td>mail</td>", "1 shown."]);
    has_none(&newest, &["<td>blog</td>"]);
    let older =
        newest.split("<a href=\"").find_map(|part| part.strip_prefix("/audit?").map(|_| part)).unwrap();
    let older = older.split('"').next().unwrap().replace("&#38;", "&");
    let older = hand.page(&older).await;
    has(&older, &["<td>blog</td>", "<a href=\"/audit\">Newest</a>"]);
    has_none(&older, &["<td>mail</td>"]);
    for (query, says) in [("since=soon", "soon"), ("limit=0", "1 to 1000"), ("limit=1001", "1 to 1000")] {
        let refused = hand.browser.get(&format!("/audit?{query}")).await;
        assert_eq!(refused.status, 400, "{query}");
        has(&refused.text, &[says]);
    }
}
