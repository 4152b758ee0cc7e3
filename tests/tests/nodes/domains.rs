//! Names of applications, and certificates for them.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use temps_tests::acme::{Pebble, certificate};
use temps_tests::app::App;
use temps_tests::browser::{Browser, get};
use temps_tests::cluster::Cluster;
use temps_tests::ground::Ground;
use temps_tests::node;
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, wait};

/// How long an order may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

fn listed(cluster: &Cluster, name: &str) -> Result<Value> {
    let all = cluster.cli().json(&["domains", "list"])?;
    let domains = all["domains"].as_array().cloned().unwrap_or_default();
    Ok(domains.into_iter().find(|domain| domain["domain"] == name).unwrap_or_default())
}

/// What the edges of these nodes show for a name, one after another.
fn shown(cluster: &Cluster, nodes: &[usize], name: &str, root: &str) -> Result<Vec<Vec<u8>>> {
    let mut shown = Vec::new();
    for node in nodes.iter().map(|i| &cluster.nodes[*i]) {
        let mut browser = Browser::open_secure(node.shape.secure, name, root)?;
        let page = browser.get("/")?;
        check_eq!(page.status, 200, "{}", page.text());
        shown.push(browser.shown().to_vec());
    }
    Ok(shown)
}

const ALL: [usize; 3] = [0, 1, 2];

/// What these show, once that is the same.
fn agreed(cluster: &Cluster, nodes: &[usize], name: &str, root: &str) -> Result<Vec<u8>> {
    wait::find("the edges to show one certificate", LIMIT, || {
        let shown = shown(cluster, nodes, name, root).ok()?;
        let first = shown.first()?.clone();
        shown.iter().all(|one| *one == first).then_some(first)
    })
}

fn sent_on(edge: SocketAddr, name: &str, secure: SocketAddr) -> Result {
    let page = get(edge, name, "/a?b=c")?;
    let there = format!("https://{name}:{}/a?b=c", secure.port());
    check_eq!((page.status, page.header("location")), (308, there.as_str()), "{page:?}");
    Ok(())
}

/// The server looks at a node that does not lead, and no longer at a leader that died meanwhile.
pub(crate) fn ordered(cluster: &mut Cluster) -> Result {
    cluster.only_on(Ground::Processes, "the server of ACME looks at ports of loopback")?;
    let leader = cluster.leader()?;
    let at = cluster.nodes[(leader + 1) % 3].shape.clone();
    let valid = Duration::from_secs(45);
    let pebble = Pebble::start(cluster.root(), at.edge.port(), at.secure.port(), valid)?;
    let app = App::named("secure", "v1")?.set("routes.domains", vec!["shop.example.com"])?;
    cluster.deploy_well(&app)?;
    check_eq!(get(at.edge, "shop.example.com", "/")?.status, 200, "there is no certificate yet");
    let root = pebble.root.to_string_lossy();
    let acme = ["cluster", "acme", "--agree-to-terms", "--email", "ops@example.com", "--root", &root];
    cluster.cli().text(&[&acme[..], &["--directory", &pebble.directory]].concat())?;
    let first = agreed(cluster, &ALL, "shop.example.com", &pebble.issues)?;
    for node in &cluster.nodes {
        sent_on(node.shape.edge, "shop.example.com", node.shape.secure)?;
    }
    let domain = listed(cluster, "shop.example.com")?;
    check_eq!(
        (&domain["certificate"]["from"], &domain["from"]),
        (&"acme".into(), &"release".into()),
        "{domain}"
    );

    // The leader dies with an order under way; the name was added to a running application.
    cluster.cli().text(&["domains", "add", "www.example.com", "-p", "secure"])?;
    cluster.nodes[leader].kill()?;
    let others: Vec<_> = (0..3).filter(|i| *i != leader).collect();
    agreed(cluster, &others, "www.example.com", &pebble.issues)?;
    cluster.heal()?;
    agreed(cluster, &ALL, "www.example.com", &pebble.issues)?;

    // What ends soon is renewed before it ends, and nobody is cut meanwhile.
    let mut browser = Browser::open_secure(at.secure, "shop.example.com", &pebble.issues)?;
    let until = Instant::now() + LIMIT;
    while shown(cluster, &ALL, "shop.example.com", &pebble.issues)?.contains(&first) {
        check_eq!(browser.get("/")?.status, 200, "a connection was cut");
        check!(Instant::now() < until, "it is not renewed");
        wait::nap(Duration::from_millis(200))?;
    }
    check_eq!(browser.get("/")?.status, 200, "a connection was cut");

    // A name that does not lead here tells why.
    drop(pebble);
    cluster.cli().text(&["domains", "add", "late.example.com", "-p", "secure"])?;
    let failed = wait::find("a failure to be told", LIMIT, || {
        let domain = listed(cluster, "late.example.com").ok()?;
        domain["order"]["failure"].as_str().map(str::to_owned)
    })?;
    check!(!failed.is_empty(), "it says nothing");
    cluster.cli().text(&["cluster", "acme", "--off"])?;
    Ok(())
}

/// A machine that cannot be reached by HTTP shows by TLS that a name is its own.
pub(crate) fn by_tls(cluster: &mut Cluster) -> Result {
    cluster.only_on(Ground::Processes, "the server of ACME looks at ports of loopback")?;
    let [nobody] = node::free()?;
    let secure = cluster.nodes[0].shape.secure.port();
    let pebble = Pebble::start(cluster.root(), nobody.port(), secure, Duration::from_secs(3_600))?;
    cluster.deploy_well(&App::named("tls", "v1")?)?;
    let root = pebble.root.to_string_lossy();
    let acme = ["cluster", "acme", "--agree-to-terms", "--root", &root, "--directory", &pebble.directory];
    cluster.cli().text(&acme)?;
    cluster.cli().text(&["domains", "add", "tls.example.com", "-p", "tls"])?;
    agreed(cluster, &ALL, "tls.example.com", &pebble.issues)?;
    cluster.cli().text(&["cluster", "acme", "--off"])?;
    cluster.cli().text(&["domains", "rm", "tls.example.com"])?;
    Ok(())
}

pub(crate) fn given(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::named("given", "v1")?)?;
    let [chain, key, root] = certificate(&["given.example.com", "*.given.example.com"])?;
    let [_, other, _] = certificate(&["given.example.com"])?;
    let file = |name: &str, text: &str| -> Result<String> {
        let path = cluster.root().join(name);
        fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    };
    let (chain, key, other) =
        (file("chain.pem", &chain)?, file("key.pem", &key)?, file("other.pem", &other)?);
    let add = |name: &str, key: &str| {
        cluster.cli().run(&["domains", "add", name, "-p", "given", "--cert", &chain, "--key", key])
    };
    let ran = add("given.example.com", &other)?;
    check_eq!(ran.code, 1, "{ran:#?}");
    check!(ran.stderr.contains("does not belong to the certificate"), "{ran:#?}");
    let ran = add("another.example.com", &key)?;
    check!(ran.code == 1 && ran.stderr.contains("not for another.example.com"), "{ran:#?}");
    for name in ["given.example.com", "www.given.example.com"] {
        let ran = add(name, &key)?;
        check_eq!(ran.code, 0, "{ran:#?}");
        agreed(cluster, &ALL, name, &root)?;
        // And by whoever opens the dashboard under that name, without a question about certificates.
        wait::until("every node to show it", LIMIT, || {
            let health =
                |at: SocketAddr| Browser::open_secure(at, name, &root).and_then(|mut b| b.get("/health"));
            cluster.nodes.iter().all(|n| health(n.shape.listen).is_ok_and(|page| page.status == 200))
        })?;
    }
    let secret = fs::read_to_string(&key)?;
    let line = secret.lines().nth(1).unwrap_or_default().to_owned();
    for node in &cluster.nodes {
        check!(!fs::read_to_string(node.log())?.contains(&line), "{} told the key", node.name);
    }
    cluster.cli().text(&["domains", "rm", "given.example.com"])?;
    cluster.cli().text(&["domains", "rm", "www.given.example.com"])?;
    wait::until("the edges to forget it", LIMIT, || {
        cluster
            .nodes
            .iter()
            .all(|n| Browser::open_secure(n.shape.secure, "given.example.com", &root).is_err())
    })
}

pub(crate) fn verified(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::named("verified", "v1")?)?;
    let edge = cluster.nodes[0].shape.edge;
    let (name, port) = (edge.ip().to_string(), edge.port().to_string());
    cluster.cli().text(&["domains", "add", &name, "-p", "verified"])?;
    let verify = |port: &str| cluster.cli().run(&["domains", "verify", &name, "--port", port]);
    wait::until("the edge to know the name", LIMIT, || verify(&port).is_ok_and(|ran| ran.code == 0))?;
    let told = verify(&port)?.stdout;
    check!(told.contains("a node of this cluster"), "{told}");
    let ran = verify("9")?;
    check!(ran.code == 1 && ran.stdout.contains("no connection"), "{ran:#?}");
    let ran = cluster.cli().run(&["domains", "add", &name, "-p", "another"])?;
    check!(ran.code == 6 && ran.stderr.contains("belongs to project \"verified\""), "{ran:#?}");
    let ran = cluster.cli().run(&["domains", "verify", "nobody.example"])?;
    check!(ran.code != 0 && ran.stderr.contains("there is no domain"), "{ran:#?}");
    cluster.cli().text(&["domains", "rm", &name])?;
    Ok(())
}

/// Every edge answers, a deployment goes on meanwhile, and none is taken back for it.
pub(crate) fn maintenance(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::named("paused", "v1")?)?;
    let host = "paused.localhost";
    cluster.cli().text(&[
        "maintenance",
        "on",
        "-p",
        "paused",
        "--message",
        "Back <soon>",
        "--retry-after",
        "2m",
    ])?;
    let all = |status: u16| {
        cluster.nodes.iter().all(|n| get(n.shape.edge, host, "/").is_ok_and(|p| p.status == status))
    };
    wait::until("all edges to answer 503", LIMIT, || all(503))?;
    let page = get(cluster.nodes[2].shape.edge, host, "/")?;
    check_eq!(page.header("retry-after"), "120", "{page:?}");
    check!(page.text().contains("Back"), "{}", page.text());
    let status = cluster.cli().json(&["status", "-p", "paused"])?;
    check_eq!(status["environments"][0]["maintenance"]["message"], "Back <soon>", "{status}");
    cluster.deploy_well(&App::named("paused", "v2")?)?;
    check!(all(503), "a deployment ended it");
    cluster.cli().text(&["maintenance", "off", "-p", "paused"])?;
    wait::until("all edges to ask the application", LIMIT, || all(200))
}
