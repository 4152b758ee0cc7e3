//! Names, notifications, people, tokens and the audit log, as somebody with a browser sees and changes them.

use std::time::Duration;

use super::super::cluster::Cluster;
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
