//! Commands that cannot work.

use std::fs;

use temps_tests::app::App;
use temps_tests::cluster::Cluster;
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq};

/// The documented exit codes.
pub(crate) fn exit_codes(cluster: &mut Cluster) -> Result {
    let bundle = cluster.write(&App::quick("v1")?)?;
    let mut stranger = cluster.cli();
    // Right cluster, wrong secret: the last character of a token is part of its secret.
    let last = if stranger.token.ends_with('A') { "E" } else { "A" };
    stranger.token.truncate(stranger.token.len() - 2);
    stranger.token.push_str(last);
    stranger.token.push_str(last);
    let mut nobody = cluster.cli().with("TEMPS_PATIENCE", "1s");
    nobody.endpoints = vec!["127.0.0.1:1".to_owned()];
    let cases: [(&str, &temps_tests::cli::Cli, &[&str], i32); 6] = [
        ("no such command", &cluster.cli(), &["frobnicate"], 2),
        ("no such project", &cluster.cli(), &["status", "-p", "nobody"], 1),
        ("no such deployment", &cluster.cli(), &["deployments", "show", "999999"], 1),
        ("wrong token", &stranger, &["cluster", "status"], 7),
        ("no node", &nobody, &["cluster", "status"], 8),
        ("confirmation without a terminal", &cluster.cli(), &["deploy", "-p", "hello", &bundle], 2),
    ];
    for (what, cli, arguments, code) in cases {
        let ran = cli.run(arguments)?;
        check_eq!(ran.code, code, "{what}: {ran:#?}");
        check!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{what}: {ran:#?}");
    }
    Ok(())
}

/// A file with a slip is refused by the command alone, with the place and a suggestion.
pub(crate) fn files(cluster: &mut Cluster) -> Result {
    let slips: [(&str, &str, &str); 3] = [
        ("health.intervall", "1s", "interval"),
        ("health.start_period", "10h", "deadline"),
        ("deploy.strategy", "hope", "strategy"),
    ];
    for (i, (path, value, named)) in slips.into_iter().enumerate() {
        let app = App::quick(&format!("slip{i}"))?.set(path, value)?;
        let bundle = cluster.write(&app)?;
        let ran = cluster.cli().run(&["deploy", "-p", "slip", &bundle, "-y"])?;
        check_eq!(ran.code, 2, "{path}: {ran:#?}");
        check!(ran.stderr.contains(named), "{path}: {}", ran.stderr);
    }
    let ran = cluster.cli().run(&["status", "-p", "slip"])?;
    check!(ran.code != 0, "a refused file created the project");
    Ok(())
}

/// Values of variables are in no log and no answer unless asked for.
pub(crate) fn secrets(cluster: &mut Cluster) -> Result {
    let canary = "CANARY-7f3a91";
    let app = |version: &str| App::quick(version)?.set("project.name", "quiet")?.env("SECRET", canary);
    cluster.deploy_well(&app("v1")?)?;
    cluster.deploy(&app("v2")?.env("EXIT_AT_ONCE", "1")?)?;
    let commands: [&[&str]; 5] = [
        &["status", "-p", "quiet", "--json"],
        &["deployments", "list", "-p", "quiet", "--json"],
        &["env", "list", "-p", "quiet"],
        &["cluster", "status", "--json"],
        &["logs", "-p", "quiet"],
    ];
    for command in commands {
        let ran = cluster.cli().run(command)?;
        check!(!ran.stdout.contains(canary) && !ran.stderr.contains(canary), "{command:?} shows it");
    }
    for node in &cluster.nodes {
        let log = fs::read_to_string(node.log())?;
        check!(!log.contains(canary), "the log of {} shows it", node.name);
        check!(!log.contains(&cluster.cli().token), "the log of {} shows the token", node.name);
    }
    Ok(())
}
