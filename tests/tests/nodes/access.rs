//! Who may do what, through any node; and who changed what.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use temps_tests::acme::certificate;
use temps_tests::app::App;
use temps_tests::cli::Cli;
use temps_tests::cluster::Cluster;
use temps_tests::trouble::{Result, Trouble};
use temps_tests::{check, check_eq, wait};

const LIMIT: Duration = Duration::from_secs(60);

/// The same user with another token.
fn with_token(cli: Cli, token: &str) -> Cli {
    Cli { token: token.trim().to_owned(), ..cli }
}

/// What was written down since a log index.
fn audited(cluster: &Cluster, after: u64) -> Result<Vec<Value>> {
    let all = cluster.cli().json(&["audit", "--limit", "1000"])?;
    let entries = all["entries"].as_array().cloned().unwrap_or_default();
    Ok(entries.into_iter().filter(|entry| entry["index"].as_u64() > Some(after)).collect())
}

fn newest(cluster: &Cluster) -> Result<u64> {
    let all = cluster.cli().json(&["audit", "--limit", "1"])?;
    all["entries"][0]["index"].as_u64().ok_or_else(|| Trouble::new(format!("no entry: {all}")))
}

/// A token for one project deploys to it through any node, and neither sees nor touches another.
pub(crate) fn one_project(cluster: &mut Cluster) -> Result {
    let hidden = cluster.deploy_well(&App::named("hidden", "v1")?)?;
    let number = hidden.number.to_string();
    let token = cluster.cli().text(&[
        "tokens",
        "create",
        "own-ci",
        "--role",
        "deployer",
        "--project",
        "own",
        "--expires",
        "1h",
    ])?;
    for (node, version) in ["v1", "v2", "v3"].into_iter().enumerate() {
        let cli = with_token(cluster.cli_at(&[node]), &token);
        let directory = cluster.write(&App::named("own", version)?)?;
        let ran = cli.run(&["deploy", "own", &directory, "-y"])?;
        check_eq!(ran.code, 0, "{ran:#?}");
        let projects = cli.json(&["projects", "list"])?;
        check_eq!(projects["projects"], serde_json::json!(["own"]), "{projects}");
        for list in [&["deployments", "list"][..], &["status"], &["domains", "list"]] {
            let shown = cli.json(list)?.to_string();
            check!(!shown.contains("hidden"), "{list:?} tells of another project: {shown}");
        }
        // What is there and what is not get one answer.
        for words in [
            &["deployments", "show", &number][..],
            &["deployments", "cancel", &number, "-y"],
            &["logs", "-p", "hidden"],
            &["env", "list", "-p", "hidden"],
            &["status", "-p", "hidden"],
        ] {
            let ran = cli.run(words)?;
            check!(ran.code != 0 && ran.stderr.contains("there is no"), "{words:?}: {ran:#?}");
        }
        for words in [
            &["deploy", "hidden", &directory, "-y"][..],
            &["scale", "web=2", "-p", "hidden"],
            &["env", "set", "-p", "hidden", "A=1"],
            &["cluster", "status"],
            &["nodes", "show", "n1"],
            &["tokens", "list"],
            &["tokens", "create", "more", "--role", "admin"],
            &["audit"],
        ] {
            let ran = cli.run(words)?;
            check_eq!(ran.code, 7, "{words:?}: {ran:#?}");
        }
    }
    check_eq!(cluster.deployment(hidden.number)?.phase, "succeeded", "somebody touched it");

    // A certificate for somebody else's name would be shown for it, at the dashboard, too.
    for (names, code) in [(&["own.example.com", "dash.example.com"][..], 7), (&["own.example.com"], 0)] {
        let [chain, key, _] = certificate(names)?;
        let files = [("own-chain.pem", chain), ("own-key.pem", key)].map(|(name, text)| {
            let path = cluster.root().join(name);
            fs::write(&path, text).map(|()| path.to_string_lossy().into_owned())
        });
        let [chain, key] = files;
        let (chain, key) = (chain?, key?);
        let words = ["domains", "add", "own.example.com", "-p", "own", "--cert", &chain, "--key", &key];
        let ran = with_token(cluster.cli(), &token).run(&words)?;
        check_eq!(ran.code, code, "{names:?}: {ran:#?}");
        check!(code == 0 || ran.stderr.contains("the certificate is for dash.example.com, too"), "{ran:#?}");
    }
    cluster.cli().text(&["domains", "rm", "own.example.com"])?;

    // Refused by every node from the moment the command is back.
    cluster.cli().text(&["tokens", "revoke", "own-ci"])?;
    for node in 0..cluster.nodes.len() {
        let ran = with_token(cluster.cli_at(&[node]), &token).run(&["whoami"])?;
        check!(ran.code == 7 && ran.stderr.contains("revoked"), "{ran:#?}");
    }
    Ok(())
}

/// Each change has one entry, whoever led meanwhile, and every node has the same chain.
pub(crate) fn audit(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::named("audited", "v1")?)?;
    let before = newest(cluster)?;
    let canary = "CANARY-5f1c20";
    let cli = cluster.cli();
    cli.text(&["env", "set", "-p", "audited", &format!("SECRET={canary}")])?;
    cli.text(&["scale", "web=2", "-p", "audited"])?;
    // The command is tried again until a new leader answers; that is one change.
    let leader = cluster.leader()?;
    cluster.nodes[leader].kill()?;
    cli.text(&["projects", "create", "audited-too"])?;
    cluster.heal()?;
    let token = cli.text(&["tokens", "create", "auditee", "--role", "viewer"])?;
    let viewer = with_token(cluster.cli(), &token);
    let ran = viewer.run(&["projects", "create", "never"])?;
    check_eq!(ran.code, 7, "{ran:#?}");
    cli.text(&["tokens", "revoke", "auditee"])?;

    let entries = audited(cluster, before)?;
    let told: Vec<_> = entries
        .iter()
        .map(|entry| (entry["operation"].as_str(), entry["by"].as_str(), entry["outcome"].as_str()))
        .collect();
    let one = |operation| (Some(operation), Some("admin"), Some("done"));
    check_eq!(
        told,
        ["variables set", "scale", "project create", "token create", "token revoke"].map(one).to_vec(),
        "{entries:#?}"
    );
    check!(entries.iter().all(|entry| entry["from"].is_string()), "from where is not told: {entries:#?}");
    check!(!serde_json::to_string(&entries)?.contains(canary), "a value is told");

    wait::until("every node to tell the same chain", LIMIT, || {
        let verified: Vec<_> = (0..cluster.nodes.len())
            .map(|node| cluster.cli_at(&[node]).json(&["audit", "--verify"]).ok())
            .collect();
        let same = verified.iter().all(|told| told == &verified[0]);
        same && verified[0].as_ref().is_some_and(|told| told["verified"] == true)
    })
}

/// The code of the first start lies in no file but the log of the founder's server, and codes are never in the
/// log of the cluster.
pub(crate) fn people(cluster: &mut Cluster) -> Result {
    let logs = |cluster: &Cluster| -> Result<Vec<String>> {
        cluster.nodes.iter().map(|node| Ok(fs::read_to_string(node.log())?)).collect()
    };
    let shown: Vec<_> = logs(cluster)?.iter().map(|log| log.matches("tempscode1.").count()).collect();
    check_eq!(shown, [1, 0, 0], "the founder alone shows a code, once");

    let cli = cluster.cli();
    let code = cli.text(&["people", "add", "anna@example.com", "--role", "deployer", "--project", "own"])?;
    check!(code.starts_with("tempscode1."), "{code}");
    let people = cli.json(&["people", "list"])?;
    check_eq!(people["people"][0]["projects"]["own"], "deployer", "{people}");
    cli.text(&["people", "set", "anna@example.com", "--disable"])?;
    let ran = cli.run(&["people", "add", "admin", "--role", "viewer"])?;
    check!(ran.code == 6 && ran.stderr.contains("a token named \"admin\" exists"), "{ran:#?}");
    let ran = cli.run(&["tokens", "revoke", "admin"])?;
    check!(ran.code == 6 && ran.stderr.contains("last admin"), "{ran:#?}");
    cli.text(&["people", "rm", "anna@example.com"])?;
    check!(!logs(cluster)?.iter().any(|log| log.contains(code.trim())), "a code is in a log");
    Ok(())
}
