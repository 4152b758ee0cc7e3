//! Pictures of every page of the dashboard, with what a cluster has after some deployments. See `scripts/shots`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;
use temps_tests::app::App;
use temps_tests::chrome::{Chrome, Look};
use temps_tests::cluster::Cluster;
use temps_tests::deployment::text;
use temps_tests::ground::Ground;
use temps_tests::hook::Hook;
use temps_tests::load::{Load, Mix};
use temps_tests::stage::{self, Stage, Verdict};
use temps_tests::trouble::{Result, Trouble};
use temps_tests::{check, check_eq, wait};

/// How each page is looked at, by the end of its file's name.
const LOOKS: [(&str, Look); 3] = [
    ("light", Look { width: 1_280, dark: false }),
    ("dark", Look { width: 1_280, dark: true }),
    ("phone", Look { width: 390, dark: false }),
];
/// How long traffic is counted before pictures are made.
const CALM: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    stage::run(false, |stage| {
        let directory = std::env::args().nth(1).ok_or_else(|| Trouble::new("usage: shots DIR"))?;
        shots(stage, Path::new(&directory))
    })
}

struct Studio<'a> {
    stage: Stage,
    cluster: &'a Cluster,
    chrome: Chrome,
    directory: PathBuf,
    taken: usize,
}

fn shots(stage: Stage, directory: &Path) -> Result<Verdict> {
    fs::create_dir_all(directory)?;
    stage.say("starting three nodes ...");
    let cluster = Cluster::start(Ground::Processes)?;
    let chrome = Chrome::start(cluster.root())?;
    let mut studio = Studio { stage, cluster: &cluster, chrome, directory: directory.to_owned(), taken: 0 };
    studio.doors()?;
    let hook = Hook::start()?;
    let load = studio.fill(&hook)?;
    studio.pages()?;
    load.stop()?;
    let Studio { taken, chrome, .. } = studio;
    drop(chrome);
    cluster.close()?;
    stage.say(&format!("{taken} pictures in {}", directory.display()));
    Ok(Verdict { object: json!({ "pictures": taken }), complaints: Vec::new() })
}

impl Studio<'_> {
    /// What is seen before somebody has signed in; and then signs in.
    fn doors(&mut self) -> Result {
        self.take("sign-in", "/sign-in")?;
        self.take("code", "/code")?;
        let code = text(&self.cluster.cli().json(&["cluster", "setup-code"])?, "code");
        let password = "correct horse battery";
        for (field, text) in [("code", &*code), ("name", "anna"), ("password", password), ("again", password)]
        {
            self.chrome.fill(&format!("input[name={field}]"), text)?;
        }
        self.chrome.click("button")?;
        self.chrome.await_text("h1", "Projects")?;
        self.take("nothing-yet", "/")
    }

    /// Deploys this and that under load.
    fn fill(&mut self, hook: &Hook) -> Result<Load> {
        let cli = self.cluster.cli();
        self.stage.say("deploying ...");
        self.cluster.deploy_well(&App::quick("v1")?)?;
        self.cluster.deploy_well(&App::named("shop", "v1")?)?;
        let load = Load::start(self.cluster.edges(), Mix::everything("hello.localhost"));
        wait::nap(CALM)?;
        let url = format!("http://{}/deploys", hook.address);
        for (name, topics) in [("deploy-alerts", "failed,rolled_back"), ("everything", "")] {
            let mut words = vec!["notifications", "add", "--type", "webhook", "--name", name, "--url", &url];
            words.extend(["--allow-private", "-y"]);
            if !topics.is_empty() {
                words.extend(["--event", topics]);
            }
            let ran = cli.run(&words)?;
            check_eq!(ran.code, 0, "{ran:#?}");
        }
        for words in [
            &["people", "add", "bob", "--role", "deployer"][..],
            &["tokens", "create", "ci", "--role", "deployer", "--expires", "30d"],
            &["domains", "add", "www.example.com", "-p", "hello"],
            &["env", "set", "-p", "hello", "GREETING=hi", "DATABASE_URL=postgres://x"],
            &["scale", "-p", "shop", "web=2"],
        ] {
            let ran = cli.run(words)?;
            check_eq!(ran.code, 0, "{words:?}: {ran:#?}");
        }
        self.cluster.deploy_well(&App::quick("v2")?)?;
        let (ran, _) = self.cluster.deploy(&App::quick("v3")?.env("NEVER_HEALTHY", "1")?)?;
        check_eq!(ran.code, 3, "{ran:#?}");
        let canary = App::quick("v4")?.set("deploy.strategy", "canary")?.set("deploy.deadline", "10m")?.set(
            "deploy.canary",
            toml::Value::Table(toml::toml! { steps = [{ weight = 25, hold = "5m" }] }),
        )?;
        let live = self.cluster.deploy_detached(&canary)?;
        wait::until("the canary to get its share", Duration::from_secs(60), || {
            self.cluster.deployment(live).is_ok_and(|d| d.has("share"))
        })?;
        wait::nap(CALM)?;
        Ok(load)
    }

    fn pages(&mut self) -> Result {
        self.stage.say("taking pictures ...");
        for (name, path) in [
            ("projects", "/"),
            ("environment", "/projects/hello/production"),
            ("logs", "/projects/hello/production/logs"),
            ("deployments", "/deployments"),
            ("deployment-well", "/deployments/3"),
            ("deployment-rolled-back", "/deployments/4"),
            ("deployment-live", "/deployments/5"),
            ("instance", "/instances/11"),
            ("build-log", "/deployments/5/log"),
            ("nodes", "/nodes"),
            ("node", "/nodes/1"),
            ("domains", "/domains"),
            ("notifications", "/notifications"),
            ("access", "/access"),
            ("audit", "/audit"),
            ("not-there", "/deployments/99"),
        ] {
            self.take(name, path)?;
        }
        Ok(())
    }

    fn take(&mut self, name: &str, path: &str) -> Result {
        self.chrome.open(&format!("https://{}{path}", self.cluster.nodes[0].shape.listen))?;
        for (end, look) in LOOKS {
            let picture = self.chrome.shoot(look)?;
            fs::write(self.directory.join(format!("{name}-{end}.png")), picture)?;
            self.taken += 1;
        }
        let forbidden = self.chrome.complaints()?;
        check!(forbidden.iter().all(|line| line.contains("status of 404")), "{path}: {forbidden:#?}");
        Ok(())
    }
}
