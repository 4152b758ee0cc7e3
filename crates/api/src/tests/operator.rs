//! Somebody who runs the cluster from pages alone.

use std::time::{Duration, Instant};

use futures_util::stream::StreamExt;
use temps_core::command::Action;
use temps_core::model::{Cause, DeploymentId, InstanceId, NodeId, Phase};
use temps_ledger::Ledger;
use temps_wire::proto::CreateTokenRequest;

use super::cluster::{Cluster, deploy};
use super::logs;
use super::pages::Browser;
use crate::caller::Claim;
use crate::desk::Lines;

const AT: &str = "/projects/shop/production";

#[tokio::test]
async fn what_failed_is_told_with_every_fact_and_the_next_command() {
    let cluster = Cluster::start(1).await;
    let number = deploy(&cluster.client(), "v1").await;
    logs::start(&cluster, 0, 1).await;
    let cause = Cause::Unhealthy {
        instance: InstanceId(1),
        node: NodeId(1),
        failures: 3,
        last_check: "answered 503".to_owned(),
        log_tail: vec!["no <database>".to_owned()],
    };
    let deployment = DeploymentId(number);
    cluster.plan(vec![Action::Revert { deployment, cause }]).await;
    cluster.plan(vec![Action::End { deployment, phase: Phase::Failed }]).await;
    let page = Browser::sign_in(&cluster).await.get(&format!("/deployments/{number}")).await.text;
    for told in [
        "Deployment #1 of shop (production) failed; there was no release to go back to.",
        "health check of i1 on node-1 failed 3 times, last answer: answered 503",
        "i1 (web, r1) on node-1",
        "nothing serves",
        "The last lines of the instance at fault:",
        "no &#60;database&#62;",
        "<code>temps deployments timeline 1</code>",
        "<code>temps logs -p shop -e production</code>",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
}

#[tokio::test]
async fn an_instance_tells_why_it_is_there() {
    let cluster = Cluster::start(1).await;
    deploy(&cluster.client(), "v1").await;
    logs::start(&cluster, 0, 1).await;
    let browser = Browser::sign_in(&cluster).await;
    assert!(browser.get(AT).await.text.contains("href=\"/instances/1\""));
    let page = browser.get("/instances/1").await;
    assert!(page.status == 200 && page.text.contains("starting"), "{}", page.text);
    assert_eq!(browser.get("/instances/9").await.status, 404);
}

#[tokio::test]
async fn variables_and_settings_can_be_set_before_anything_is_deployed() {
    let cluster = Cluster::start(1).await;
    let browser = Browser::sign_in(&cluster).await;
    let word = browser.word("/").await;
    let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let post = async |path: &str, fields: &[(String, String)]| {
        let word = ("word".to_owned(), word.clone());
        let fields: Vec<_> = fields.iter().chain([&word]).map(|(n, v)| (n.as_str(), v.clone())).collect();
        let answered = browser.post(path, &fields, &[]).await;
        assert_eq!(answered.status, 303, "{}", answered.text);
    };
    post("/projects", &[of("name", "new")]).await;
    assert!(browser.get("/").await.text.contains("href=\"/projects/new/production\""));
    let at = "/projects/new/production";
    let page = browser.get(at).await.text;
    assert!(page.contains("Nothing deployed yet") && page.contains("settings.health.path"), "{page}");
    post(&format!("{at}/variables"), &[of("name", "DATABASE_URL"), of("value", "secret")]).await;
    post(&format!("{at}/settings"), &[of("settings.health.path", "/up"), of("was.health.path", "")]).await;
    let page = browser.get(at).await.text;
    assert!(page.contains("<code>DATABASE_URL</code>") && page.contains("value=\"/up\""), "{page}");
    assert!(!page.contains("secret"), "{page}");
    let shown = browser.post(&format!("{at}/values"), &[("word", word.clone())], &[]).await;
    assert!(shown.status == 200 && shown.text.contains(">secret</pre>"), "{}", shown.text);
    assert_eq!(browser.get("/projects/unknown/production").await.status, 404);
}

#[tokio::test]
async fn a_page_says_that_nothing_had_to_be_done_and_undoes_nothing() {
    let cluster = Cluster::start(1).await;
    let deployment = DeploymentId(deploy(&cluster.client(), "v1").await);
    cluster.plan(vec![Action::Begin { deployment }]).await;
    cluster.plan(vec![Action::End { deployment, phase: Phase::Succeeded }]).await;
    let browser = Browser::sign_in(&cluster).await;
    let word = browser.word(AT).await;
    let page = browser.get(AT).await.text;
    let wanted =
        page.split("name=\"was.web\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let scale = async |was: &str, to: &str| {
        let fields = [("word", word.clone()), ("was.web", was.to_owned()), ("instances.web", to.to_owned())];
        browser.post(&format!("{AT}/scale"), &fields, &[]).await
    };
    let to = |answered: &super::http::Answered| answered.headers["location"].to_str().unwrap().to_owned();
    assert_eq!(to(&scale(&wanted, "7").await), AT);
    // A page that was loaded before sends what it had shown, and does not take that back.
    let stale = to(&scale(&wanted, &wanted).await);
    assert_eq!(stale, format!("{AT}?note=unchanged"));
    let page = browser.get(&stale).await.text;
    assert!(page.contains("It was so already") && page.contains("name=\"was.web\" value=\"7\""), "{page}");
    assert!(!browser.get(&format!("{AT}?note=Pwned")).await.text.contains("Pwned"));
}

#[tokio::test]
async fn without_scripts_the_server_asks_before_a_dangerous_button_works() {
    let cluster = Cluster::start(1).await;
    let number = deploy(&cluster.client(), "v1").await;
    let browser = Browser::sign_in(&cluster).await;
    let (page, cancel) = (format!("/deployments/{number}"), format!("/deployments/{number}/cancel"));
    let text = browser.get(&page).await.text;
    assert!(text.contains("name=\"ask\" value=\"Cancel deployment #1\""), "{text}");
    let word = browser.word(&page).await;
    let phase = || cluster.log.state().deployments[&DeploymentId(number)].phase;
    let from = format!("https://cluster.temps.internal{page}");
    let asked = [("word", word.clone()), ("ask", "Cancel deployment #1".to_owned())];
    let question = browser.post(&cancel, &asked, &[("referer", &from)]).await;
    assert!(question.status == 200 && question.text.contains("<h1>Cancel deployment #1?</h1>"));
    assert!(question.text.contains(&format!("href=\"{page}\"")), "the way back: {}", question.text);
    assert!(question.text.contains(&format!("name=\"word\" value=\"{word}\"")), "{}", question.text);
    assert!(!question.text.contains("name=\"ask\"") && !phase().is_terminal(), "{}", question.text);
    assert_eq!(browser.post(&cancel, &[("word", word)], &[]).await.status, 303);
    assert_eq!(phase(), Phase::Cancelled);
    // Without the right word nothing is even asked.
    let guessed = [("word", "guessed".to_owned()), ("ask", "Sure".to_owned())];
    assert_eq!(browser.post(&cancel, &guessed, &[]).await.status, 403);
}

#[tokio::test]
async fn a_leader_that_is_cut_off_shows_pages_soon_and_does_not_claim_that_nothing_is_there() {
    let cluster = Cluster::start(1).await;
    deploy(&cluster.client(), "v1").await;
    let browser = Browser::sign_in(&cluster).await;
    cluster.nodes[0].seat.isolate();
    let began = Instant::now();
    let page = browser.get(AT).await;
    assert!(page.status == 200 && page.text.contains("No quorum"), "{}", page.text);
    // One question of two seconds, whatever the page reads.
    assert!(began.elapsed() < Duration::from_millis(3_900), "{:?}", began.elapsed());
    let missing = browser.get("/deployments/99").await;
    assert!(missing.status == 503 && missing.text.contains("no quorum"), "{}", missing.text);
}

#[tokio::test]
async fn a_stream_that_never_pauses_ends_with_the_right_to_see_it() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client();
    let created = client.call(|mut api| async move {
        let (name, role, ttl_ms) = ("brief".to_owned(), "viewer".to_owned(), 1_000);
        api.create_token(CreateTokenRequest { name, role, ttl_ms, ..CreateTokenRequest::default() }).await
    });
    let created = created.await.unwrap();
    let mut request = tonic::Request::new(());
    request.metadata_mut().insert("authorization", format!("Bearer {}", created.token).parse().unwrap());
    let desk = &cluster.nodes[0].desk;
    let caller = desk.admit(Claim::of(&request).unwrap(), temps_core::model::Role::Viewer).await.unwrap();
    let beats = endless(Duration::from_millis(20));
    let mut lines = desk.while_permitted(&caller, beats);
    let began = Instant::now();
    let ended = loop {
        match lines.next().await.expect("it says why it ends") {
            Ok(()) => assert!(began.elapsed() < Duration::from_secs(10), "it goes on"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), tonic::Code::Unauthenticated, "{ended}");
    assert!(lines.next().await.is_none());
}

/// News without end.
fn endless(every: Duration) -> Lines<()> {
    let beat = tokio::time::interval(every);
    futures_util::stream::unfold(beat, |mut beat| async move {
        beat.tick().await;
        Some((Ok(()), beat))
    })
    .boxed()
}
