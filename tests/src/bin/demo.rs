//! The demonstration: three nodes, a rollout during which the leader dies, a release that never gets
//! healthy, a rollback by hand, all under load through every edge. On containers all of it is shown
//! twice: with an application that leaves when it is asked to, and with one that does not. See
//! `scripts/demo`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;
use temps_tests::app::App;
use temps_tests::check;
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::deployment::{Deployment, number_in};
use temps_tests::ground::Ground;
use temps_tests::load::{Load, Mix, Report};
use temps_tests::stage::{self, Stage, Verdict};
use temps_tests::trouble::Result;
use temps_tests::wait;

/// How long the dead leader stays away.
const AWAY: Duration = Duration::from_secs(3);

/// How long the load goes on before, between and after the deployments.
const CALM: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    stage::run(has("--json"), |stage| {
        let is_known = |argument: &String| ["--json", "--docker"].contains(&argument.as_str());
        check!(arguments.iter().all(is_known), "usage: demo [--docker] [--json]");
        demo(stage, if has("--docker") { Ground::Docker } else { Ground::Processes })
    })
}

/// One time through: the versions that it deploys, and what kind of application they are.
struct Pass {
    title: &'static str,
    versions: [&'static str; 3],
    variables: &'static [(&'static str, &'static str)],
}

const POLITE: Pass = Pass { title: "", versions: ["v1", "v2", "v3"], variables: &[] };

const STUBBORN: Pass =
    Pass { title: " ignores SIGTERM:", versions: ["v4", "v5", "v6"], variables: &[("IGNORE_SIGTERM", "1")] };

/// One act: a deployment and how it had to end.
struct Act {
    title: String,
    expected: &'static str,
    deployment: Deployment,
    seconds: f64,
}

struct Demo {
    stage: Stage,
    cluster: Cluster,
    acts: Vec<Act>,
}

fn demo(stage: Stage, ground: Ground) -> Result<Verdict> {
    stage.say("starting three nodes ...");
    let mut demo = Demo { stage, cluster: Cluster::start(ground)?, acts: Vec::new() };
    stage.say(&demo.cluster.cli().text(&["cluster", "status"])?);

    let passes: &[Pass] = match ground {
        Ground::Processes => &[POLITE],
        Ground::Docker => &[POLITE, STUBBORN],
    };
    let mut load = None;
    let mut leader_killed = true;
    for pass in passes {
        leader_killed &= demo.pass(pass, &mut load)?;
    }
    let report = load.map(Load::stop).transpose()?.unwrap_or_default();
    demo.curtain(&report, leader_killed)
}

impl Demo {
    /// Deploys, loses the leader in a rollout, deploys what never gets healthy, and goes back. The load begins
    /// once there is something to answer it.
    fn pass(&mut self, pass: &Pass, load: &mut Option<Load>) -> Result<bool> {
        let Pass { title, versions: [one, two, three], variables } = pass;
        let first = self.acts.len();
        let what = if first == 0 { "the first deployment" } else { "replaces the other" };
        self.act(format!("{one}:{title} {what}"), "succeeded", |d| d.deploy(one, variables, &[]))?;
        if load.is_none() {
            *load = Some(Load::start(self.cluster.edges(), Mix::everything("hello.localhost")));
            self.stage.say("load through all three edges: short, keep-alive, 2 s, POST, WebSocket, events");
        }
        wait::nap(CALM)?;

        let mut leader_killed = false;
        let title_two = format!("{two}:{title} the leader is killed during the rollout");
        self.act(title_two, "succeeded", |d| {
            let number = d.deploy(two, variables, &[])?;
            leader_killed = d.lose_the_leader(number)?;
            Ok(number)
        })?;
        self.act(format!("{three}:{title} never gets healthy"), "rolled_back", |d| {
            d.deploy(three, variables, &[("NEVER_HEALTHY", "1")])
        })?;
        self.act(format!("back to {one} by hand"), "succeeded", |d| {
            let to = d.acts[first].deployment.number.to_string();
            let rollback = ["deployments", "rollback", "-p", "hello", "--to", &to, "-y", "--detach"];
            number_in(&d.cluster.cli().json(&rollback)?)
        })?;
        wait::nap(CALM)?;
        Ok(leader_killed)
    }

    /// Asks for a deployment, waits for its end, and shows its timeline.
    fn act(
        &mut self,
        title: String,
        expected: &'static str,
        ask: impl FnOnce(&mut Self) -> Result<u64>,
    ) -> Result {
        self.stage.say(&format!("\n=== {title}"));
        let begun = Instant::now();
        let number = ask(self)?;
        let deployment = self.cluster.await_end(number, DEPLOYMENT)?;
        let seconds = begun.elapsed().as_secs_f64();
        let timeline = self.cluster.cli().text(&["deployments", "timeline", &number.to_string()])?;
        self.stage.say(&timeline);
        self.acts.push(Act { title, expected, deployment, seconds });
        Ok(())
    }

    fn deploy(&self, version: &str, always: &[(&str, &str)], now: &[(&str, &str)]) -> Result<u64> {
        let sample = App::sample(version)?;
        let app = always.iter().chain(now).try_fold(sample, |app, (name, value)| app.env(name, value))?;
        self.cluster.deploy_detached(&app)
    }

    /// Kills the leader's server once the first old instance is withdrawn, and starts it again later,
    /// as an init system would.
    fn lose_the_leader(&mut self, number: u64) -> Result<bool> {
        let middle = |d: &Deployment| d.ended || d.has("draining");
        let deployment = self.cluster.await_deployment(number, "to be in its middle", DEPLOYMENT, middle)?;
        check!(!deployment.ended, "the rollout was over before the leader could be killed");
        let leader = self.cluster.leader()?;
        self.cluster.nodes[leader].kill()?;
        let name = &self.cluster.nodes[leader].name;
        self.stage.say(&format!("kill -9 of the server of {name}, which leads; its edge lives on"));
        let still_running = !self.cluster.deployment(number)?.ended;
        wait::nap(AWAY)?;
        self.cluster.nodes[leader].restart()?;
        Ok(still_running)
    }

    fn curtain(self, report: &Report, leader_killed: bool) -> Result<Verdict> {
        let mut complaints = Vec::new();
        self.stage.say("\n=== summary");
        for act in &self.acts {
            let Act { title, expected, deployment: Deployment { number, phase, .. }, seconds } = act;
            self.stage.say(&format!("#{number:<4}{phase:<13}{seconds:>6.1} s  {title}"));
            if phase != expected {
                complaints
                    .push(format!("{title}: {phase} instead of {expected}\n{}", act.deployment.story()));
            }
        }
        self.stage.say(&format!("\n{}", report.table()));
        let (failed, cut) = (report.failed, report.websockets_cut);
        if !report.is_clean() {
            complaints.push(format!("{failed} requests failed, {cut} WebSockets were cut"));
        }
        if !leader_killed {
            complaints.push("the leader was not killed during the rollout".to_owned());
        }
        let deployments: Vec<_> = self.acts.iter().map(Act::object).collect();
        let object = json!({
            "runtime": self.cluster.ground().word(),
            "requests": report.requests,
            "failed": failed,
            "websockets": report.websockets,
            "websockets_cut": cut,
            "app_errors": report.app_errors,
            "deployments": deployments,
            "leader_killed": leader_killed,
            "load": report.kinds,
            "failures": report.failures,
        });
        if complaints.is_empty() {
            self.stage.say("nothing failed, nothing was cut");
            self.cluster.close()?;
        }
        Ok(Verdict { object, complaints })
    }
}

impl Act {
    fn object(&self) -> serde_json::Value {
        json!({
            "number": self.deployment.number,
            "title": self.title,
            "outcome": self.deployment.phase,
            "expected": self.expected,
            "seconds": (self.seconds * 10.0).round() / 10.0,
        })
    }
}
