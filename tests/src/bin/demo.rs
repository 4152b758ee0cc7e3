//! The demonstration: three nodes, a rollout during which the leader dies, a release that never gets
//! healthy, a rollback by hand, all under load through every edge. See `scripts/demo`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;
use temps_tests::app::App;
use temps_tests::check;
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::deployment::{Deployment, number_in};
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
    let json = arguments.iter().any(|argument| argument == "--json");
    stage::run(json, |stage| {
        check!(arguments.iter().all(|a| a == "--json"), "usage: demo [--json]");
        demo(stage)
    })
}

/// One act: a deployment and how it had to end.
struct Act {
    title: &'static str,
    expected: &'static str,
    deployment: Deployment,
    seconds: f64,
}

struct Demo {
    stage: Stage,
    cluster: Cluster,
    acts: Vec<Act>,
}

fn demo(stage: Stage) -> Result<Verdict> {
    stage.say("starting three nodes ...");
    let mut demo = Demo { stage, cluster: Cluster::start()?, acts: Vec::new() };
    stage.say(&demo.cluster.cli().text(&["cluster", "status"])?);

    demo.act("v1: the first deployment", "succeeded", |d| d.deploy("v1", &[]))?;
    let load = Load::start(demo.cluster.edges(), Mix::everything("hello.localhost"));
    stage.say("load through all three edges: short, keep-alive, 2 s, POST, WebSocket, events");
    wait::nap(CALM)?;

    let mut leader_killed = false;
    demo.act("v2: the leader is killed during the rollout", "succeeded", |d| {
        let number = d.deploy("v2", &[])?;
        leader_killed = d.lose_the_leader(number)?;
        Ok(number)
    })?;
    demo.act("v3: never gets healthy", "rolled_back", |d| d.deploy("v3", &[("NEVER_HEALTHY", "1")]))?;
    demo.act("back to v1 by hand", "succeeded", |d| {
        let to = d.acts[0].deployment.number.to_string();
        let rollback = ["deployments", "rollback", "-p", "hello", "--to", &to, "-y", "--detach"];
        number_in(&d.cluster.cli().json(&rollback)?)
    })?;
    wait::nap(CALM)?;
    let report = load.stop()?;
    demo.curtain(&report, leader_killed)
}

impl Demo {
    /// Asks for a deployment, waits for its end, and shows its timeline.
    fn act(
        &mut self,
        title: &'static str,
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

    fn deploy(&self, version: &str, variables: &[(&str, &str)]) -> Result<u64> {
        let sample = App::sample(version)?;
        let app = variables.iter().try_fold(sample, |app, (name, value)| app.env(name, value))?;
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
