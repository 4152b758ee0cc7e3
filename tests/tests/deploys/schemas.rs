//! Releases that need a database as it is, or as it will be.

use temps_tests::app::App;
use temps_tests::cluster::Cluster;
use temps_tests::ground::Ground;
use temps_tests::load::{Load, Mix};
use temps_tests::notes::Notes;
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq};

/// A release that runs with these versions, and whose command brings the database to this one.
fn release(ground: Ground, version: &str, provides: i64, requires: &str) -> Result<App> {
    let command = if ground == Ground::Docker { "/hello migrate" } else { "./hello migrate" };
    App::named("shop", version)?
        .set("schema.provides", provides)?
        .set("schema.requires", requires)?
        .set("release.command", command)
}

/// What cannot run beside what runs is refused, with the way there; what takes something away does so last; and there
/// is no way back to what needs it.
pub(crate) fn kept_apart(cluster: &mut Cluster) -> Result {
    let notes = Notes::open(cluster.outside())?;
    let ground = cluster.ground();
    let release = |version: &str, provides, requires| {
        release(ground, version, provides, requires)?.env("LOG_TO", &notes.address())
    };
    let old = cluster.deploy_well(&release("v1", 11, "10..11")?)?;

    let begun = notes.lines().len();
    let bundle = cluster.write(&release("v9", 13, "12..13")?)?;
    for dry in [&["--dry-run"][..], &[]] {
        let refused = cluster.cli().run(&[&["deploy", "-p", "shop", &bundle, "-y"], dry].concat())?;
        check!(refused.code != 0, "{refused:#?}");
        let said = format!("{}{}", refused.stdout, refused.stderr);
        check!(said.contains("the database is at schema 11"), "{said}");
        check!(said.contains("first deploy one with `requires = \"11..13\"`"), "{said}");
    }
    check_eq!(notes.lines().len(), begun, "something was started: {:?}", notes.lines());
    cluster.settled("shop", 3, "v1")?;

    let load = Load::start(cluster.edges(), Mix::short("shop.localhost"));
    let contracting = cluster.deploy_well(&release("v2", 12, "11..12")?)?;
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    let lines = notes.lines().split_off(begun);
    let migrated = lines.iter().position(|line| line.contains("migration begun"));
    let last_stop = lines.iter().rposition(|line| line.contains("SIGTERM"));
    check_eq!(notes.count("SIGTERM"), 3, "{lines:?}");
    check!(last_stop < migrated && migrated.is_some(), "an old one was there: {lines:?}");
    check_eq!(notes.count("migration begun"), 2, "one of each release: {lines:?}");
    cluster.settled("shop", 3, "v2")?;

    let to = old.number.to_string();
    let back = ["deployments", "rollback", "-p", "shop", "--to", &to, "-y"];
    let refused = cluster.cli().run(&back)?;
    check!(refused.code != 0, "{refused:#?}");
    check!(refused.stderr.contains("needs schema 10..11 while the database is at 12"), "{refused:#?}");
    let shown = cluster.cli().json(&["deployments", "list", "-p", "shop"])?;
    let newest = shown["deployments"].as_array().and_then(|all| all.first()).cloned().unwrap_or_default();
    check_eq!(newest["deployment"], contracting.number, "{shown}");
    Ok(())
}
