//! People and programs are told what happens.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use temps_tests::app::App;
use temps_tests::cluster::Cluster;
use temps_tests::ground::Ground;
use temps_tests::hook::{Hook, Told};
use temps_tests::mail::{MailServer, Talk};
use temps_tests::node;
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq, wait};

/// How long a notice may take on a busy machine, with a leader that dies.
const LIMIT: Duration = Duration::from_secs(60);

fn listed(cluster: &Cluster, name: &str) -> Result<Value> {
    let all = cluster.cli().json(&["notifications", "list"])?;
    let all = all["notifications"].as_array().cloned().unwrap_or_default();
    Ok(all.into_iter().find(|one| one["name"] == name).unwrap_or_default())
}

/// What each id said, of those about a topic.
fn about<'a>(told: &'a [Told], topic: &str) -> BTreeMap<&'a str, &'a Value> {
    let of = told.iter().filter(|one| one.body["topic"] == topic);
    of.map(|one| (one.id.as_str(), &one.body)).collect()
}

/// Leaders die between and within deployments; each is told of, what came twice has one id, and a receiver that is not
/// there delays nobody.
pub(crate) fn told(cluster: &mut Cluster) -> Result {
    cluster.only_on(Ground::Processes, "the receivers listen on loopback")?;
    let hook = Hook::start()?;
    let [nobody] = node::free()?;
    for (name, url) in
        [("dead", format!("http://{nobody}/CANARY")), ("hook", format!("http://{}/CANARY", hook.address))]
    {
        let add = [
            "notifications",
            "add",
            "--type",
            "webhook",
            "--name",
            name,
            "--url",
            &url,
            "--allow-private",
            "-y",
        ];
        let ran = cluster.cli().run(&[&add[..], &["-p", "told"]].concat())?;
        check!(ran.code == 0 && ran.stdout.starts_with("whsec_"), "{ran:#?}");
        check!(ran.stderr.contains("warning: --webhook-url"), "{ran:#?}");
    }
    for version in ["v1", "v2", "v3"] {
        let number = cluster.deploy_detached(&App::named("told", version)?)?;
        let leader = cluster.leader()?;
        cluster.nodes[leader].kill()?;
        cluster.await_end(number, LIMIT)?;
        cluster.heal()?;
    }
    let (ran, deployment) = cluster.deploy(&App::named("told", "v4")?.env("NEVER_HEALTHY", "1")?)?;
    check_eq!(ran.code, 3, "{ran:#?}");
    wait::until("all of it to be told", LIMIT, || {
        let told = hook.told();
        about(&told, "started").len() == 4
            && about(&told, "succeeded").len() == 3
            && about(&told, "rolled_back").len() == 1
    })?;
    let told = hook.told();
    let mut bodies = BTreeMap::new();
    for one in &told {
        check!(one.signature.starts_with("v1,"), "{one:?}");
        let first = bodies.entry(one.id.clone()).or_insert_with(|| one.body.clone());
        check_eq!(*first, one.body, "one id says one thing");
    }
    check_eq!(bodies.len(), 8, "{told:#?}");
    let rolled_back = about(&told, "rolled_back").into_values().next().cloned().unwrap_or_default();
    check_eq!(rolled_back["deployment"]["number"], deployment.number, "{rolled_back}");
    check_eq!(rolled_back["project"], "told", "{rolled_back}");
    let reason = &rolled_back["deployment"]["reason"];
    check!(reason.as_str().is_some_and(|why| !why.is_empty()), "{rolled_back}");

    let dead = listed(cluster, "dead")?;
    check!(dead["pending"] == 8 && dead["failing"].as_u64() > Some(0), "{dead}");
    let ran = cluster.cli().run(&["notifications", "test", "dead"])?;
    check!(ran.code == 1 && ran.stdout.contains("no connection"), "{ran:#?}");
    let ran = cluster.cli().run(&["notifications", "test", "hook"])?;
    check_eq!(ran.code, 0, "{ran:#?}");
    // Without --allow-private nobody is led into this network.
    let url = format!("https://{}/", hook.address);
    cluster.cli().text(&["notifications", "add", "--type", "webhook", "--name", "inside", "--url", &url])?;
    let ran = cluster.cli().run(&["notifications", "test", "inside"])?;
    check!(ran.code == 1 && ran.stdout.contains("no public address"), "{ran:#?}");

    let shown = cluster.cli().text(&["notifications", "list"])?;
    check!(!shown.contains("CANARY"), "{shown}");
    for node in &cluster.nodes {
        check!(!std::fs::read_to_string(node.log())?.contains("CANARY"), "{} told the URL", node.name);
    }
    for name in ["dead", "hook", "inside"] {
        cluster.cli().text(&["notifications", "rm", name])?;
    }
    check_eq!(cluster.cli().run(&["notifications", "rm", "hook"])?.code, 1, "it is gone");
    Ok(())
}

pub(crate) fn mailed(cluster: &mut Cluster) -> Result {
    cluster.only_on(Ground::Processes, "the mail server listens on loopback")?;
    for (name, talk, security) in [("tls", Talk::Tls, "tls"), ("starttls", Talk::Starttls, "starttls")] {
        let server = MailServer::start(cluster.root(), talk)?;
        let (port, root) = (server.port.to_string(), server.root.to_string_lossy());
        let add = [
            "notifications",
            "add",
            "--type",
            "email",
            "--name",
            name,
            "--smtp-host",
            "localhost",
            "--smtp-port",
            &port,
            "--smtp-security",
            security,
            "--from",
            "Temps <alerts@example.com>",
            "--to",
            "team@example.com,ops@example.com",
            "--allow-private",
            "--root",
            &root,
        ];
        cluster.cli().text(&add)?;
        let ran = cluster.cli().run(&["notifications", "test", name])?;
        check_eq!(ran.code, 0, "{ran:#?}");
        let mails = server.mails()?;
        check_eq!(mails.len(), 1, "{mails:#?}");
        for part in [
            "Subject: [temps] Test of",
            "From: ",
            "alerts@example.com",
            "Auto-Submitted: auto-generated",
            "Message-ID: <n",
        ] {
            check!(mails[0].contains(part), "{part}: {}", mails[0]);
        }
        // A certificate that nobody vouches for.
        let stranger = format!("{name}-stranger");
        let mut add = add[..add.len() - 2].to_vec();
        if let Some(at) = add.iter().position(|word| *word == "--name") {
            add[at + 1] = &stranger;
        }
        cluster.cli().text(&add)?;
        let ran = cluster.cli().run(&["notifications", "test", &stranger])?;
        check!(ran.code == 1 && ran.stdout.contains("mail server localhost"), "{ran:#?}");
        check_eq!(server.mails()?.len(), 1, "nobody else's mail came");
        cluster.cli().text(&["notifications", "rm", name])?;
        cluster.cli().text(&["notifications", "rm", &stranger])?;
    }
    Ok(())
}
