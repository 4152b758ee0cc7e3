mod lines;
mod lists;
mod machines;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use temps_core::command::{Access, Command, NewCode};
use temps_core::model::{DeploymentId, Phase};
use temps_ledger::Ledger;
use temps_wire::proto::DeployRequest;
use temps_wire::token::OnceCode;

use super::cluster::{self, Cluster, deploy, deploy_request, digest, put};
use super::http::{Answered, Asked, send, send_to};
use super::logs;

/// Somebody with a browser.
pub(super) struct Browser<'a> {
    cluster: &'a Cluster,
    cookie: String,
}

impl<'a> Browser<'a> {
    /// Sets a password with the setup code.
    pub(super) async fn sign_in(cluster: &'a Cluster) -> Self {
        let code = OnceCode::random(cluster.admin.fingerprint());
        let new = NewCode { hash: code.hash(), ttl: 60_000 };
        cluster.write(Command::Access(Access::SetupCode(new))).await;
        Self::with_code(cluster, &code.reveal(), "anna").await
    }

    pub(super) async fn with_code(cluster: &'a Cluster, code: &str, name: &str) -> Self {
        let mut browser = Self { cluster, cookie: String::new() };
        let password = "correct horse battery";
        let fields = [
            ("code", code.into()),
            ("name", name.into()),
            ("password", password.into()),
            ("again", password.into()),
        ];
        let answered = browser.post("/code", &fields, &[]).await;
        assert_eq!((answered.status, header(&answered.headers, "location")), (303, "/"), "{}", answered.text);
        let cookie = header(&answered.headers, "set-cookie");
        assert!(
            cookie.starts_with("__Host-temps=")
                && cookie.contains("; Path=/; Secure; HttpOnly; SameSite=Lax")
        );
        browser.cookie = cookie.split(';').next().unwrap().to_owned();
        browser
    }

    pub(super) async fn get(&self, path: &str) -> Answered {
        let headers = [("cookie", self.cookie.as_str())];
        send(self.cluster, Asked { token: None, method: "GET", path, body: None, headers: &headers }).await
    }

    pub(super) async fn post(
        &self,
        path: &str,
        fields: &[(&str, String)],
        more: &[(&str, &str)],
    ) -> Answered {
        let body = Some(Bytes::from(serde_urlencoded::to_string(fields).unwrap()));
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let headers = [&[kind, ("cookie", self.cookie.as_str())], more].concat();
        send(self.cluster, Asked { token: None, method: "POST", path, body, headers: &headers }).await
    }

    /// The first event that a page hears which shows everything up to an index of the log.
    pub(super) async fn listen(&self, node: usize, after: u64) -> String {
        let path = format!("/live?after={after}");
        let headers = [("cookie", self.cookie.as_str())];
        let asked = Asked { token: None, method: "GET", path: &path, body: None, headers: &headers };
        let mut body = send_to(self.cluster, node, asked).await.into_body();
        let mut heard = String::new();
        while !heard.ends_with("\n\n") {
            let frame = body.frame().await.expect("it goes on").unwrap();
            heard.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
        heard
    }

    /// The word that forms of a page carry.
    pub(super) async fn word(&self, path: &str) -> String {
        let page = self.get(path).await.text;
        let at = page.find("name=\"word\" value=\"").expect("a form");
        page[at..].split('"').nth(3).unwrap().to_owned()
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn nobody_sees_a_page_who_has_not_signed_in() {
    let cluster = Cluster::start(1).await;
    let stranger = Browser { cluster: &cluster, cookie: "__Host-temps=nonsense".to_owned() };
    for path in ["/", "/deployments", "/deployments/7", "/nodes", "/access", "/audit", "/notifications"] {
        let answered = stranger.get(path).await;
        let to = format!("/sign-in?{}", serde_urlencoded::to_string([("next", path)]).unwrap());
        assert_eq!((answered.status, header(&answered.headers, "location")), (303, to.as_str()));
        assert!(answered.text.is_empty());
    }
    assert_eq!(stranger.get("/live").await.status, 204);
    let wrong = [("name", "anna".to_owned()), ("password", "not the right one".to_owned())];
    let answered = stranger.post("/sign-in", &wrong, &[]).await;
    assert_eq!(answered.status, 401);
    assert!(answered.text.contains("the name or the password is wrong"), "{}", answered.text);
}

#[tokio::test]
async fn every_page_is_shown_and_allows_no_strange_script() {
    let cluster = Cluster::start(1).await;
    deploy(&cluster.client(), "v1").await;
    let browser = Browser::sign_in(&cluster).await;
    for path in [
        "/",
        "/projects/shop/production",
        "/deployments",
        "/deployments/1",
        "/nodes",
        "/nodes/1",
        "/domains",
        "/notifications",
        "/access",
        "/audit",
    ] {
        let page = browser.get(path).await;
        assert_eq!(
            (page.status, page.kind.as_str()),
            (200, "text/html; charset=utf-8"),
            "{path}: {}",
            page.text
        );
        let policy = header(&page.headers, "content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"),
            "{path}: {policy}"
        );
        assert_eq!(header(&page.headers, "cache-control"), "no-store");
        assert!(!page.text.contains(" style=") && !page.text.contains("<style"), "{path}");
        assert!(page.text.contains("aria-current=\"page\""), "{path}");
    }
    for (file, kind) in [("app.css", "text/css; charset=utf-8"), ("app.js", "text/javascript; charset=utf-8")]
    {
        assert_eq!(browser.get(&format!("/static/{file}")).await.kind, kind);
    }
}

#[tokio::test]
async fn a_button_works_from_its_page_and_from_no_other() {
    let cluster = Cluster::start(1).await;
    let number = deploy(&cluster.client(), "v1").await;
    let browser = Browser::sign_in(&cluster).await;
    let (page, cancel) = (format!("/deployments/{number}"), format!("/deployments/{number}/cancel"));
    let phase = || cluster.log.state().deployments[&DeploymentId(number)].phase;
    let word = browser.word(&page).await;
    let with = |word: &str| [("word", word.to_owned())];
    assert_eq!(browser.post(&cancel, &[], &[]).await.status, 403);
    assert_eq!(browser.post(&cancel, &with("guessed"), &[]).await.status, 403);
    let elsewhere = [("origin", "https://elsewhere.example")];
    assert_eq!(browser.post(&cancel, &with(&word), &elsewhere).await.status, 403);
    assert!(!phase().is_terminal());
    let answered = browser.post(&cancel, &with(&word), &[("origin", "https://cluster.temps.internal")]).await;
    assert_eq!(
        (answered.status, header(&answered.headers, "location")),
        (303, page.as_str()),
        "{}",
        answered.text
    );
    assert_eq!(phase(), Phase::Cancelled);

    let out = browser.post("/sign-out", &with(&word), &[]).await;
    assert_eq!(header(&out.headers, "location"), "/sign-in");
    assert_eq!(browser.get("/").await.status, 303, "the session has ended, not only the cookie");
}

#[tokio::test]
async fn what_a_stranger_wrote_stays_text() {
    let cluster = Cluster::start(1).await;
    deploy(&cluster.client(), "v1").await;
    let hostile = "<script>alert(1)</script>\"'&";
    logs::start(&cluster, 0, 1).await;
    cluster.nodes[0].paper.write(1, 10, hostile);
    let browser = Browser::sign_in(&cluster).await;
    let word = browser.word("/").await;
    let maintenance = [("word", word), ("message", hostile.to_owned())];
    let answered = browser.post("/projects/shop/production/maintenance", &maintenance, &[]).await;
    assert_eq!(answered.status, 303, "{}", answered.text);
    for path in ["/projects/shop/production", "/projects/shop/production/logs"] {
        let page = browser.get(path).await.text;
        assert!(page.contains("alert(1)"), "{path} shows it: {page}");
        assert!(!page.contains("<script>alert"), "{path} runs it");
    }
    let next = serde_urlencoded::to_string([("next", hostile)]).unwrap();
    assert!(!browser.get(&format!("/sign-in?{next}")).await.text.contains("<script>alert"));
}

#[tokio::test]
async fn a_page_shows_what_its_reader_may_see_and_do() {
    let cluster = Cluster::start(1).await;
    for project in ["shop", "mail"] {
        let request = DeployRequest { project: project.to_owned(), ..deploy_request("v1") };
        put(&cluster.client(), &digest("v1"), "v1").await.unwrap();
        cluster::send(&cluster.client(), request).await.unwrap();
    }
    let admin = Browser::sign_in(&cluster).await;
    let fields = [
        ("word", admin.word("/access").await),
        ("name", "bob".to_owned()),
        ("role", "viewer".to_owned()),
        ("projects", "shop".to_owned()),
    ];
    let once = admin.post("/access/add-person", &fields, &[]).await.text;
    let at = once.find("<pre class=\"log\">").expect("the code is shown") + 17;
    let bob = Browser::with_code(&cluster, once[at..].split('<').next().unwrap(), "").await;
    let page = bob.get("/").await.text;
    assert!(page.contains("/projects/shop/production") && !page.contains("mail"), "{page}");
    for path in ["/nodes/1", "/access", "/audit", "/notifications"] {
        assert!(!page.contains(&format!("href=\"{path}\"")), "{path}");
        assert_eq!(bob.get(path).await.status, 403, "{path}");
    }
    assert_eq!(bob.get("/projects/mail/production").await.status, 404);
    assert_eq!(bob.get("/deployments/2").await.status, 404);
    let page = bob.get("/deployments/1").await.text;
    assert!(page.contains("#1") && !page.contains("/deployments/1/cancel"), "{page}");
    let word = [("word", bob.word("/").await)];
    assert_eq!(bob.post("/deployments/1/cancel", &word, &[]).await.status, 403);
}

#[tokio::test]
async fn forms_do_what_the_command_line_does() {
    let cluster = Cluster::start(1).await;
    deploy(&cluster.client(), "v1").await;
    let browser = Browser::sign_in(&cluster).await;
    let word = browser.word("/").await;
    let at = "/projects/shop/production";
    let post = async |path: &str, fields: &[(&str, &str)]| {
        let word = [("word", word.clone())].into_iter();
        let fields: Vec<_> =
            word.chain(fields.iter().map(|(name, value)| (*name, (*value).to_owned()))).collect();
        browser.post(path, &fields, &[]).await
    };
    for (path, fields, leads) in [
        (
            format!("{at}/settings"),
            &[("settings.health.path", "/up"), ("settings.deploy.max_surge", "")][..],
            at,
        ),
        (format!("{at}/variables"), &[("name", "KEY"), ("value", "CANARY-1")], at),
        ("/projects".to_owned(), &[("name", "mail")], "/"),
        (
            "/domains/add".to_owned(),
            &[("name", "a.example.com"), ("project", "shop"), ("environment", "production")],
            "/domains",
        ),
        ("/nodes/1/cordon".to_owned(), &[], "/nodes/1"),
    ] {
        let done = post(&path, fields).await;
        // What came of it follows, for the page to say.
        let location = header(&done.headers, "location").split('?').next().unwrap();
        assert_eq!((done.status, location), (303, leads), "{path}: {}", done.text);
    }
    let page = browser.get(at).await.text;
    assert!(page.contains("id=\"health.path\" name=\"settings.health.path\" value=\"/up\""), "{page}");
    assert!(page.contains("<code>KEY</code>") && !page.contains("CANARY-1"), "{page}");
    assert!(browser.get("/").await.text.contains("mail"));
    assert!(browser.get("/domains").await.text.contains("a.example.com"));
    assert!(browser.get("/nodes").await.text.contains("cordoned"));
    // Emptied, the file decides again.
    post(&format!("{at}/settings"), &[("settings.health.path", ""), ("was.health.path", "/up")]).await;
    assert!(!browser.get(at).await.text.contains("value=\"/up\""));

    let join = post("/nodes/join", &[]).await;
    assert!(join.status == 200 && join.text.contains("temps server --join"), "{}", join.text);
    for (path, fields, status, says) in [
        (format!("{at}/settings"), &[("settings.health.path", "up")][..], 400, "health.path"),
        (format!("{at}/settings"), &[("settings.health.pat", "/up")], 400, "health.path"),
        (format!("{at}/scale"), &[("instances.web", "many")], 400, "many"),
        (format!("{at}/sing"), &[], 404, "sing"),
        ("/domains/acme".to_owned(), &[("directory", "https://acme.example.com/")], 400, "terms"),
    ] {
        let refused = post(&path, fields).await;
        assert_eq!(refused.status, status, "{path}: {}", refused.text);
        assert!(refused.text.contains(says), "{path}: {}", refused.text);
    }
}

#[tokio::test]
async fn whoever_shows_something_old_is_told_at_once_on_any_node() {
    let cluster = Cluster::start(2).await;
    let browser = Browser::sign_in(&cluster).await;
    let index = cluster.log.state().index;
    for node in 0..2 {
        let old = browser.listen(node, index - 1).await;
        assert_eq!(old, format!("event: changed\nid: {index}\ndata: {index}\n\n"));
    }
    // Nothing is new: it only says that it is there.
    assert_eq!(browser.listen(1, index).await, "event: here\ndata: quorum\n\n");
}

#[tokio::test]
async fn without_a_quorum_pages_are_shown_and_say_so_and_change_nothing() {
    let cluster = Cluster::start(1).await;
    deploy(&cluster.client(), "v1").await;
    let browser = Browser::sign_in(&cluster).await;
    let word = browser.word("/projects/shop/production").await;
    cluster.nodes[0].seat.cut();
    let began = Instant::now();
    for path in [
        "/",
        "/projects/shop/production",
        "/projects/shop/production/logs",
        "/deployments",
        "/deployments/1",
        "/nodes",
        "/nodes/1",
        "/domains",
        "/notifications",
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        assert!(page.text.contains("No quorum: what is shown may be old"), "{path}: {}", page.text);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // Who may see these may have changed where there is a quorum.
    for path in ["/access", "/audit"] {
        assert_eq!(browser.get(path).await.status, 503, "{path}");
    }
    let fields = [("word", word), ("instances.web", "4".to_owned())];
    let refused = browser.post("/projects/shop/production/scale", &fields, &[]).await;
    assert!(refused.status == 503 && refused.text.contains("no quorum"), "{}", refused.text);
    assert_eq!(browser.listen(0, cluster.log.state().index).await, "event: here\ndata: alone\n\n");
}
