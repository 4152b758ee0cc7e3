//! A person with a browser, and nothing else.

use std::time::Duration;

use serde_json::Value;
use temps_tests::app::App;
use temps_tests::browser;
use temps_tests::chrome::{Chrome, Look};
use temps_tests::cluster::Cluster;
use temps_tests::ground::Ground;
use temps_tests::trouble::{Result, Trouble};
use temps_tests::{check, check_eq, wait};

const LIMIT: Duration = Duration::from_secs(60);
const DESK: Look = Look { width: 1_280, dark: false };

/// A browser in which a new admin has signed in at a node.
fn signed_in(cluster: &Cluster, name: &str, node: usize) -> Result<Chrome> {
    cluster.only_on(Ground::Processes, "the browser is on loopback")?;
    let made = cluster.cli().json(&["people", "add", name, "--role", "admin"])?;
    let code = made["code"].as_str().ok_or_else(|| Trouble::new(format!("no code in {made}")))?;
    let parent = cluster.root().join(format!("browser-{name}"));
    std::fs::create_dir_all(&parent)?;
    let chrome = Chrome::start(&parent)?;
    chrome.look(DESK)?;
    chrome.open(&at(cluster, node, "/"))?;
    check_eq!(chrome.url()?.path(), "/sign-in", "whoever is not signed in");
    chrome.open(&at(cluster, node, "/code"))?;
    for (field, text) in
        [("code", code), ("password", "correct horse battery"), ("again", "correct horse battery")]
    {
        chrome.fill(&format!("input[name={field}]"), text)?;
    }
    chrome.click("button")?;
    chrome.await_text("h1", "Projects")?;
    Ok(chrome)
}

fn at(cluster: &Cluster, node: usize, path: &str) -> String {
    format!("https://{}{path}", cluster.nodes[node].shape.listen)
}

/// What the browser complained about, but for nodes that do not answer.
fn complaints(chrome: &Chrome) -> Result<Vec<String>> {
    let mut all = chrome.complaints()?;
    all.retain(|line| !line.contains("net::ERR_") && !line.contains("status of 503"));
    Ok(all)
}

/// Both show one timeline.
fn timelines_agree(cluster: &Cluster, chrome: &Chrome, number: u64) -> Result {
    let shown = chrome.evaluate(
        "return [...document.querySelectorAll('.timeline li')].map(li => li.children[1].textContent)",
    )?;
    let told = cluster.cli().json(&["deployments", "timeline", &number.to_string()])?;
    let told: Vec<Value> =
        told["events"].as_array().into_iter().flatten().map(|event| event["text"].clone()).collect();
    check!(told.len() > 5, "{told:?}");
    check_eq!(shown, Value::Array(told), "page and command line");
    Ok(())
}

/// Somebody watches a deployment, the node that shows it is lost, and they go on at another one; then they take it back.
pub(crate) fn watched(cluster: &mut Cluster) -> Result {
    let served = cluster.leader()?;
    let chrome = signed_in(cluster, "dora", served)?;
    let first = cluster.deploy_well(&App::named("seen", "v1")?)?;
    let second = cluster.deploy_detached(&App::named("seen", "v2")?.set("rollback.watch", "10s")?)?;
    chrome.open(&at(cluster, served, &format!("/deployments/{second}")))?;
    chrome.click(&format!("form[action='/deployments/{second}/pause'] button"))?;
    chrome.await_text(".lead p", "paused by dora")?;

    let cookies = chrome.cookies()?;
    let session = cookies.iter().find(|cookie| cookie["name"] == "__Host-temps");
    let session = session.ok_or_else(|| Trouble::new(format!("no session in {cookies:?}")))?;
    for (what, value) in [("secure", true.into()), ("httpOnly", true.into()), ("path", Value::from("/"))] {
        check_eq!(session[what], value, "{session}");
    }

    // What somebody types stays while the page changes around it.
    chrome.open(&at(cluster, served, "/projects/seen/production"))?;
    chrome.fill("textarea[name=value]", "half typed")?;
    chrome.click("form[action='/projects/seen/production/variables'] label")?;
    cluster.cli().json(&["maintenance", "on", "-p", "seen", "--message", "soon"])?;
    chrome.await_text("main", "In maintenance")?;
    check_eq!(
        chrome.evaluate("return document.querySelector('textarea[name=value]').value")?,
        "half typed",
        "it is lost"
    );
    cluster.cli().json(&["maintenance", "off", "-p", "seen"])?;
    chrome.open(&at(cluster, served, &format!("/deployments/{second}")))?;
    chrome.await_text(".lead p", "paused by dora")?;

    cluster.nodes[served].kill()?;
    let gone = at(cluster, served, "");
    wait::until("the page to go on at another node", LIMIT, || {
        chrome.url().is_ok_and(|url| !url.as_str().starts_with(&gone))
    })?;
    check_eq!(chrome.url()?.path(), format!("/deployments/{second}"), "it is the same page");
    chrome.await_text(".lead p", "paused by dora")?;
    chrome.await_text(".strip", "leads")?;
    chrome.click(&format!("form[action='/deployments/{second}/resume'] button"))?;
    // Nobody loads the page again: it says so by itself.
    chrome.await_text("h1", "succeeded")?;
    timelines_agree(cluster, &chrome, second)?;
    cluster.heal()?;

    let here = chrome.url()?;
    chrome.open(here.join(&format!("/deployments/{}", first.number))?.as_str())?;
    chrome.click_and_confirm(&format!("form[action='/deployments/{}/rollback'] button", first.number))?;
    wait::until("the page of the rollback", LIMIT, || {
        chrome.url().is_ok_and(|url| url.path() != format!("/deployments/{}", first.number))
    })?;
    chrome.await_text("h1", "succeeded")?;
    let third =
        chrome.url()?.path().rsplit('/').next().and_then(|number| number.parse().ok()).unwrap_or_default();
    timelines_agree(cluster, &chrome, third)?;
    let edge = cluster.edges()[0].address;
    let page = browser::get(edge, "seen.localhost", "/")?;
    check_eq!(page.version(), "v1", "{page:?}");
    check_eq!(complaints(&chrome)?, Vec::<String>::new(), "the browser complains");
    another_origin(cluster, &chrome)
}

/// A page of the same browser, with the same cookie and even the right word, presses no button from another origin.
fn another_origin(cluster: &Cluster, chrome: &Chrome) -> Result {
    let number = cluster.deploy_detached(&App::named("seen", "v3")?.set("rollback.watch", "60s")?)?;
    chrome.open(&at(cluster, 0, &format!("/deployments/{number}")))?;
    chrome.await_text("h1", &format!("#{number}"))?;
    let target = at(cluster, 1, &format!("/deployments/{number}/pause"));
    let press = format!(
        "const word = document.querySelector('input[name=word]').value;
         return fetch('{target}', {{ method: 'POST', mode: 'no-cors', credentials: 'include', body: new URLSearchParams({{ word }}) }})
             .then(() => 'sent')"
    );
    check_eq!(chrome.evaluate(&press)?, "sent", "it cannot be sent");
    let shown = cluster.cli().json(&["deployments", "show", &number.to_string()])?;
    check_eq!(shown["paused"], Value::Null, "somebody else pressed the button: {shown}");
    chrome.click_and_confirm(&format!("form[action='/deployments/{number}/cancel'] button"))?;
    cluster.await_end(number, LIMIT)?;
    chrome.await_text("h1", "cancelled")
}

/// Without a majority the page says so, refuses what would change something, and is right again by itself; whoever is
/// disabled is led to the page to sign in.
pub(crate) fn alone(cluster: &mut Cluster) -> Result {
    let here = cluster.leader()?;
    let chrome = signed_in(cluster, "olga", here)?;
    cluster.deploy_well(&App::named("lonely", "v1")?)?;
    let scale = "form[action='/projects/lonely/production/scale']";
    chrome.open(&at(cluster, here, "/projects/lonely/production"))?;
    chrome.await_text("main", "lonely")?;
    for other in (0..cluster.nodes.len()).filter(|node| *node != here) {
        cluster.nodes[other].kill()?;
    }
    chrome.await_text(".strip", "No quorum: what is shown may be old, and nothing can be changed")?;
    chrome.await_text("main", "lonely")?;
    chrome.fill(&format!("{scale} input[type=number]"), "4")?;
    chrome.click(&format!("{scale} button"))?;
    chrome.await_text("h1", "Not available now")?;
    chrome.await_text("main a", "Back to the page")?;
    chrome.open(&at(cluster, here, "/projects/lonely/production"))?;
    chrome.await_text(".strip", "No quorum")?;
    cluster.heal()?;
    chrome.await_text(".strip", "shows this")?;
    check_eq!(cluster.instances("lonely")?.len(), 3, "what was refused was done all the same");

    cluster.cli().text(&["people", "set", "olga", "--disable"])?;
    wait::until("whoever is disabled to be led to the door", LIMIT, || {
        chrome.url().is_ok_and(|url| url.path() == "/sign-in")
    })?;
    check_eq!(complaints(&chrome)?, Vec::<String>::new(), "the browser complains");
    Ok(())
}

/// Log lines, reasons and messages that are HTML.
pub(crate) fn hostile(cluster: &mut Cluster) -> Result {
    let chrome = signed_in(cluster, "eve", 0)?;
    let hostile = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>";
    let say = format!("printf '%s\\n' \"{hostile}\"");
    let app = |version: &str, then: &str| {
        App::named("bold", version)?.set("processes.web.command", format!("{say}; {then}"))
    };
    cluster.deploy_well(&app("v1", "exec ./hello")?)?;
    let (ran, failed) = cluster.deploy(&app("v2", "exit 3")?)?;
    check_eq!(ran.code, 3, "{ran:#?}");
    let number = failed.number;
    let wanted = ["maintenance", "on", "-p", "bold", "--message", hostile];
    let ran = cluster.cli().run(&wanted)?;
    check_eq!(ran.code, 0, "{ran:#?}");
    for path in
        ["/projects/bold/production/logs", "/projects/bold/production", &format!("/deployments/{number}")]
    {
        chrome.open(&at(cluster, 0, path))?;
        chrome.await_text("main", "<script>window.hacked = 1</script>")?;
        // Once more as the script puts it in.
        chrome.evaluate("document.querySelector('main').dataset.stale = '1'")?;
        cluster.cli().json(&["tokens", "create", &format!("t{}", path.len()), "--role", "viewer"])?;
        wait::until("the page to be renewed", LIMIT, || {
            chrome
                .evaluate("return document.querySelector('main').dataset.stale ?? ''")
                .is_ok_and(|stale| stale == "")
        })?;
        check_eq!(chrome.evaluate("return window.hacked ?? 0")?, 0, "{path}");
    }
    check_eq!(complaints(&chrome)?, Vec::<String>::new(), "the browser complains");
    Ok(())
}
