//! What is deployed while something goes wrong, and how that has to end.

use temps_tests::app::App;
use temps_tests::cluster::Cluster;
use temps_tests::deployment::Deployment;
use temps_tests::followed::Followed;
use temps_tests::trouble::Result;
use toml::{Table, Value};

/// What is deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scenario {
    /// A release replaces another, instance by instance.
    Rollout,
    /// A release gets a share of the requests, then a larger one, then all.
    Canary,
    /// Somebody goes back to the release before.
    Rollback,
    /// A release that is bad on the node that gets it last is taken back.
    TakenBack,
}

/// A scenario on a cluster, with what it has deployed.
pub(super) struct Play {
    scenario: Scenario,
    /// The deployment by which this version is live.
    live: (u64, String),
    /// One to go back to.
    other: (u64, String),
    /// Where the bad release is bad.
    unlucky: String,
    /// The version that the deployment moves to.
    next: String,
    made: usize,
}

impl Scenario {
    pub(crate) const ALL: [Self; 4] =
        [Scenario::Rollout, Scenario::Canary, Scenario::Rollback, Scenario::TakenBack];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Scenario::Rollout => "rollout",
            Scenario::Canary => "canary",
            Scenario::Rollback => "rollback",
            Scenario::TakenBack => "taken back",
        }
    }

    /// Both ways back are rollbacks.
    pub(crate) fn named(word: &str) -> Option<Vec<Self>> {
        match word {
            "rollout" => Some(vec![Scenario::Rollout]),
            "canary" => Some(vec![Scenario::Canary]),
            "rollback" => Some(vec![Scenario::Rollback, Scenario::TakenBack]),
            _ => None,
        }
    }
}

impl Play {
    /// Deploys what has to be there before.
    pub(super) fn prepare(scenario: Scenario, cluster: &Cluster) -> Result<Self> {
        let (first, second) = (format!("{}-a", short(scenario)), format!("{}-b", short(scenario)));
        let other = cluster.deploy_well(&App::quick(&first)?)?;
        let live = cluster.deploy_well(&App::quick(&second)?)?;
        let last = live.events.iter().rfind(|event| event.kind == "starting");
        Ok(Self {
            scenario,
            unlucky: last.map(|event| event.node.clone()).unwrap_or_default(),
            live: (live.number, second),
            other: (other.number, first),
            next: String::new(),
            made: 0,
        })
    }

    /// Begins a deployment, through these nodes in this order.
    pub(super) fn begin(&mut self, cluster: &Cluster, nodes: &[usize]) -> Result<Followed> {
        let cli = cluster.cli_at(nodes);
        if self.scenario == Scenario::Rollback {
            self.next.clone_from(&self.other.1);
            let to = self.other.0.to_string();
            return Followed::start(&cli, &["deployments", "rollback", "-p", "hello", "--to", &to, "-y"]);
        }
        self.made += 1;
        self.next = format!("{}{}", short(self.scenario), self.made);
        // A busy machine, and a node that is away, take their time.
        let app = App::quick(&self.next)?.set("health.start_period", "10s")?.set("deploy.deadline", "60s")?;
        let app = match self.scenario {
            Scenario::Rollout | Scenario::Rollback => app,
            Scenario::Canary => app
                .set("deploy.strategy", "canary")?
                .set("deploy.canary.steps", vec![step(20, "500ms"), step(50, "500ms")])?,
            Scenario::TakenBack => app.env("FAIL_ON_NODE", &self.unlucky)?,
        };
        let dir = cluster.write(&app)?;
        Followed::start(&cli, &["deploy", "-p", app.project(), &dir, "-y"])
    }

    /// The phase in which the deployment has to end. A release that never ran where it is bad is good.
    pub(super) fn expected(&self, lost: &[&str]) -> &'static [&'static str] {
        match self.scenario {
            Scenario::Rollout | Scenario::Canary | Scenario::Rollback => &["succeeded"],
            Scenario::TakenBack if lost.contains(&self.unlucky.as_str()) => &["rolled_back", "succeeded"],
            Scenario::TakenBack => &["rolled_back"],
        }
    }

    /// The version that has to be live after it.
    pub(super) fn version_after(&self, deployment: &Deployment) -> &str {
        if deployment.phase == "succeeded" { &self.next } else { &self.live.1 }
    }

    /// Makes ready for the next one.
    pub(super) fn go_on(&mut self, cluster: &Cluster, deployment: &Deployment) -> Result {
        if deployment.phase != "succeeded" {
            return Ok(());
        }
        if self.scenario == Scenario::TakenBack {
            let version = format!("{}-again", self.next);
            self.live = (cluster.deploy_well(&App::quick(&version)?)?.number, version);
            return Ok(());
        }
        self.other = std::mem::replace(&mut self.live, (deployment.number, self.next.clone()));
        Ok(())
    }
}

/// How its versions begin.
fn short(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::Rollout => "v",
        Scenario::Canary => "canary",
        Scenario::Rollback => "back",
        Scenario::TakenBack => "bad",
    }
}

fn step(weight: i64, hold: &str) -> Value {
    let step = [("weight", Value::Integer(weight)), ("hold", Value::from(hold))];
    Value::Table(step.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Table>())
}
