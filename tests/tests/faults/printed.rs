//! Values of variables are in no output, whatever goes wrong and however much is logged.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use temps_tests::app::App;
use temps_tests::cluster::Cluster;
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq};

const VALUE: &str = "CANARY-7f3a91";

/// Looks for the value, and remembers where it was found.
#[derive(Default)]
struct Search(Vec<String>);

impl Search {
    fn look(&mut self, place: &str, text: &str) {
        if text.contains(VALUE) {
            self.0.push(place.to_owned());
        }
    }
}

/// Good and bad deployments with a value in the file and one from the command line, while every node logs all it can.
pub(crate) fn nowhere(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v0")?)?;
    for node in &mut cluster.nodes {
        node.filter = Some("trace");
        node.kill()?;
        node.restart()?;
    }
    cluster.heal()?;
    let mut search = Search::default();
    let typed = format!("TYPED={VALUE}");
    search.look("env set", &cluster.cli().text(&["env", "set", "-p", "hello", &typed])?);
    let app = |version: &str| App::quick(version)?.env("FROM_FILE", VALUE);
    for (app, phase) in [
        (app("good")?, "succeeded"),
        (app("exits")?.env("EXIT_AT_ONCE", "1")?, "rolled_back"),
        (app("ill")?.env("NEVER_HEALTHY", "1")?, "rolled_back"),
        (app("missing")?.set("processes.web.command", "./no-such-program")?, "rolled_back"),
    ] {
        let (ran, deployment) = cluster.deploy(&app)?;
        check_eq!(deployment.phase, phase, "{}", deployment.story());
        search.look(app.version(), &format!("{}{}", ran.stdout, ran.stderr));
        let number = deployment.number.to_string();
        for word in ["show", "timeline", "metrics"] {
            search.look(word, &cluster.cli().text(&["deployments", word, &number])?);
            search.look(word, &cluster.cli().json(&["deployments", word, &number])?.to_string());
        }
    }
    for words in
        [&["status"][..], &["env", "list", "-p", "hello"], &["deployments", "list"], &["nodes", "list"]]
    {
        search.look(words[0], &cluster.cli().json(words)?.to_string());
    }
    let dry = cluster.write(&app("dry")?)?;
    search.look("dry run", &cluster.cli().text(&["deploy", "-p", "hello", &dry, "--dry-run"])?);
    for node in &mut cluster.nodes {
        search.look(&format!("log of {}", node.name), &fs::read_to_string(node.log())?);
        check!(fs::read_to_string(node.log())?.contains("TRACE"), "{} logs little", node.name);
        look_where_others_can(node.dir(), &mut search)?;
        node.filter = None;
        node.kill()?;
        node.restart()?;
    }
    cluster.heal()?;
    check_eq!(search.0, Vec::<String>::new(), "the value was printed");
    cluster.cli().text(&["env", "unset", "-p", "hello", "TYPED"]).map(drop)
}

/// Nothing in a directory that others can read has the value.
fn look_where_others_can(dir: &Path, search: &mut Search) -> Result {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if entry.metadata()?.permissions().mode() & 0o077 == 0 {
            continue;
        }
        if kind.is_dir() {
            look_where_others_can(&entry.path(), search)?;
        } else if kind.is_file() {
            let text = String::from_utf8_lossy(&fs::read(entry.path())?).into_owned();
            search.look(&entry.path().display().to_string(), &text);
        }
    }
    Ok(())
}
