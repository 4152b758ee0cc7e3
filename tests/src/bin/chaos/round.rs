//! One deployment with one fault in it.

use std::time::{Duration, Instant};

use temps_tests::app::App;
use temps_tests::cluster::{Cluster, DEPLOYMENT};
use temps_tests::deployment::Deployment;
use temps_tests::load::Load;
use temps_tests::stage::Stage;
use temps_tests::trouble::Result;
use temps_tests::wait;

use crate::fault::{Done, Fault};
use crate::{PROJECTS, Tally};

/// Instances of each application.
pub(crate) const INSTANCES: usize = 3;

pub(crate) struct Round {
    pub(crate) number: u64,
    pub(crate) version: String,
    pub(crate) victim: usize,
    pub(crate) fault: Fault,
    pub(crate) moment: Duration,
    pub(crate) away: Duration,
}

impl Round {
    pub(crate) fn run(
        &self,
        stage: Stage,
        cluster: &mut Cluster,
        loads: &[Load],
        tally: &mut Tally,
    ) -> Result {
        let led = if cluster.leader()? == self.victim { ", which leads," } else { "" };
        let begun = Instant::now();
        let number = cluster.deploy_detached(&App::quick(&self.version)?)?;
        wait::nap(self.moment)?;
        let name = cluster.nodes[self.victim].name.clone();
        let done = self.fault.strike(cluster, self.victim, self.away, loads)?;
        if self.fault == Fault::Swapped {
            tally.swaps[0] += u64::from(done.swapped);
            tally.swaps[1] += 1;
        }
        let ended = cluster.await_end(number, DEPLOYMENT);
        let (seconds, moment) = (begun.elapsed(), self.moment);
        let what = format!("round {}: {} on {name}{led} after {moment:.1?}", self.number, done.told);
        let deployment = match ended {
            Ok(deployment) => deployment,
            Err(trouble) => {
                tally.stuck += 1;
                tally.complaints.push(format!("{what}: {trouble}"));
                stage.say(&format!("{what}: STUCK"));
                done.clear(cluster)?;
                return cluster.heal();
            }
        };
        done.clear(cluster)?;
        cluster.heal()?;
        match self.wrong(cluster, &deployment, &done) {
            None => stage.say(&format!("{what}: {} in {seconds:.1?}", deployment.phase)),
            Some(wrong) => {
                tally.wrong_end += 1;
                let story = deployment.story();
                stage.say(&format!("{what}: WRONG END: {wrong}"));
                tally.complaints.push(format!("{what}: {wrong}\n{story}"));
            }
        }
        Ok(())
    }

    /// What is wrong with the end of the deployment, if anything.
    fn wrong(&self, cluster: &Cluster, deployment: &Deployment, done: &Done) -> Option<String> {
        if deployment.phase != "succeeded" {
            return Some(format!("{} instead of succeeded: {}", deployment.phase, deployment.reason));
        }
        let starts = deployment.count("starting");
        // Each that was removed by hand may have to be replaced, and nothing else.
        if !(INSTANCES..=INSTANCES + done.removed).contains(&starts) {
            let removed = done.removed;
            return Some(format!(
                "{starts} instances were started for {INSTANCES} places and {removed} removed ones"
            ));
        }
        let settled = |project, version| cluster.settled(project, INSTANCES, version);
        let mut ended = settled(PROJECTS[0], &self.version);
        if self.fault == Fault::Swapped {
            ended = ended.and_then(|()| settled(PROJECTS[1], "w0"));
        }
        ended.err().map(|trouble| trouble.to_string())
    }
}
