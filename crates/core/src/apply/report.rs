//! What nodes have seen. Reports can be late, doubled or about things that are long over.

use super::{Answer, Change, done, not_found, unchanged};
use crate::assignment::withdrawn_everywhere;
use crate::command::Observation;
use crate::judging;
use crate::model::{
    Artifact, Cause, Deployment, DeploymentId, Endpoint, EnvironmentId, Exit, Form, Index, Instance,
    InstanceId, Measured, Millis, NodeId, Phase, RELEASE_PROCESS, Seen, Want, What,
};

/// Waiting after the first unasked end outside a deployment; doubled with each further one.
const BACKOFF_FIRST: Millis = 1_000;
/// The longest waiting.
const BACKOFF_MAX: Millis = 60_000;

/// The parts of [`Observation::Instance`].
struct Sight<'a> {
    seen: Seen,
    endpoint: &'a Option<Endpoint>,
    attempts: u32,
    last_check: &'a Option<String>,
    log_tail: &'a [String],
    exit: &'a Option<Exit>,
}

/// Whether a node is the one that makes the image of a deployment.
fn builds(deployment: &Deployment, node: NodeId) -> bool {
    deployment.phase == Phase::Building && deployment.builder == Some(node)
}

impl Change<'_> {
    pub(super) fn report(
        &mut self,
        node: NodeId,
        boot: u64,
        seq: u64,
        observations: &[Observation],
    ) -> Answer {
        let found = self.state.nodes.get_mut(&node).ok_or_else(|| not_found(format!("node {node}")))?;
        if (boot, seq) <= (found.boot, found.seq) {
            return unchanged();
        }
        (found.boot, found.seq) = (boot, seq);
        let mut changed = false;
        for observation in observations {
            changed |= self.observe(node, observation);
        }
        if changed { done() } else { unchanged() }
    }

    fn observe(&mut self, node: NodeId, observation: &Observation) -> bool {
        match observation {
            Observation::Instance { instance, seen, endpoint, attempts, last_check, log_tail, exit } => {
                let sight = Sight { seen: *seen, endpoint, attempts: *attempts, last_check, log_tail, exit };
                self.instance_seen(node, *instance, &sight)
            }
            Observation::Draining { instance, in_flight } => {
                let Some(environment) = self.drains(node, *instance) else { return false };
                match self.state.instances.get_mut(instance) {
                    Some(found) if found.draining.is_none() => found.draining = Some(*in_flight),
                    Some(_) | None => return false,
                }
                let new = self.is_taken_back(*instance);
                let what = What::Draining { instance: *instance, node, in_flight: *in_flight, new };
                self.emit_live(environment, what);
                true
            }
            Observation::Drained { instance } => {
                let Some(environment) = self.drains(node, *instance) else { return false };
                // A node that has returned meanwhile may still choose it.
                let everywhere =
                    self.state.instances.get(instance).is_some_and(|i| withdrawn_everywhere(self.state, i));
                let found = self.state.instances.get_mut(instance).filter(|i| everywhere && !i.drained);
                let Some(found) = found else { return false };
                found.drained = true;
                self.emit_live(environment, What::Drained { instance: *instance, node });
                true
            }
            Observation::Cut { instance, in_flight } => {
                let Some(found) = self.state.instances.get_mut(instance) else { return false };
                if found.node != node || found.want != Want::Stop || found.cut > 0 || *in_flight == 0 {
                    return false;
                }
                found.cut = *in_flight;
                let environment = found.environment;
                let what = What::DrainTimedOut { instance: *instance, node, cut: *in_flight };
                self.emit_live(environment, what);
                true
            }
            Observation::Applied { index } => self.applied(node, *index),
            Observation::Artifact { digest, stored } => {
                let Some(found) = self.state.nodes.get_mut(&node) else { return false };
                if *stored { found.artifacts.insert(digest.clone()) } else { found.artifacts.remove(digest) }
            }
            Observation::Built { deployment, image } => self.built(node, *deployment, image),
            Observation::NotBuilt { deployment, why, log_tail } => {
                let found = self.state.deployments.get_mut(deployment);
                let Some(found) = found.filter(|d| builds(d, node) && d.not_built.is_none()) else {
                    return false;
                };
                found.not_built = Some(Cause::Build { node, why: why.clone(), log_tail: log_tail.clone() });
                true
            }
            Observation::Facts(facts) => match self.state.nodes.get_mut(&node) {
                Some(found) if found.facts != *facts => {
                    found.facts.clone_from(facts);
                    self.note_space(node, facts.free);
                    true
                }
                Some(_) | None => false,
            },
            Observation::Traffic { environment, measured } => self.traffic(node, *environment, measured),
            Observation::Past { deployment, past } => {
                let found = self.state.deployments.get_mut(deployment).filter(|d| d.phase.is_live());
                let Some(found) = found.filter(|d| !d.counted.past.contains_key(&node)) else { return false };
                found.counted.past.insert(node, past.clone());
                true
            }
        }
    }

    fn built(&mut self, node: NodeId, id: DeploymentId, image: &Artifact) -> bool {
        let Some(found) = self.state.deployments.get(&id).filter(|d| builds(d, node)) else { return false };
        let Form::Image { id: image_id, .. } = &image.form else { return false };
        let environment = found.environment;
        let Some(release) = self.state.releases.get_mut(&found.to).filter(|r| r.artifact.is_none()) else {
            return false;
        };
        release.artifact = Some(image.clone());
        if let Some(found) = self.state.nodes.get_mut(&node) {
            found.artifacts.insert(image.digest.clone());
        }
        let what = What::Built { node, id: image_id.clone(), bytes: image.size() };
        self.emit(Some(id), Some(environment), what);
        true
    }

    fn applied(&mut self, node: NodeId, index: Index) -> bool {
        // An edge cannot serve a table of the future; a hostile or confused report must not open a gate.
        let index = index.min(self.index);
        match self.state.nodes.get_mut(&node) {
            Some(found) if found.applied < index => {
                found.applied = index;
                self.time_drains();
                true
            }
            Some(_) | None => false,
        }
    }

    /// Whether it belongs to the release that a deployment is being taken back from.
    fn is_taken_back(&self, instance: InstanceId) -> bool {
        let Some(instance) = self.state.instances.get(&instance) else { return false };
        let live = self.state.live(instance.environment).filter(|d| d.phase == Phase::Reverting);
        live.is_some_and(|d| d.to == instance.release && d.from != Some(instance.release))
    }

    fn drains(&self, node: NodeId, instance: InstanceId) -> Option<EnvironmentId> {
        let found = self.state.instances.get(&instance)?;
        (found.node == node && found.want == Want::Drain).then_some(found.environment)
    }

    fn instance_seen(&mut self, node: NodeId, id: InstanceId, sight: &Sight<'_>) -> bool {
        let Some(found) = self.state.instances.get_mut(&id) else { return false };
        if found.node != node || found.seen == Seen::Gone || found.want == Want::Gone {
            return false;
        }
        // What has ended does not come back to life: a late report.
        if found.seen == Seen::Exited && sight.seen < Seen::Exited {
            return false;
        }
        let before = found.clone();
        found.seen = sight.seen;
        found.attempts = found.attempts.max(sight.attempts);
        if sight.endpoint.is_some() {
            found.endpoint.clone_from(sight.endpoint);
        }
        if sight.last_check.is_some() {
            found.last_check.clone_from(sight.last_check);
            found.log_tail = sight.log_tail.to_vec();
        }
        if found.exit.is_none() {
            found.exit.clone_from(sight.exit);
        }
        if sight.seen == Seen::Ready {
            found.was_ready = true;
        }
        if sight.seen == Seen::Gone {
            found.want = Want::Gone;
        }
        if *found == before {
            return false;
        }
        let (environment, attempts, exit) = (found.environment, found.attempts, found.exit.clone());
        if found.process == RELEASE_PROCESS {
            self.release_command_seen(&before, sight.seen);
            return true;
        }
        match sight.seen {
            Seen::Pending | Seen::Starting => {}
            Seen::Ready => self.became_ready(id, node, before.was_ready, attempts),
            Seen::Unready => {
                if before.seen != Seen::Unready {
                    let last_check = sight.last_check.clone().unwrap_or_else(|| "no answer".to_owned());
                    self.emit_live(environment, What::Unhealthy { instance: id, node, last_check });
                    self.back_off(environment);
                }
            }
            Seen::Exited | Seen::Gone => {
                let asked = exit.as_ref().is_some_and(|e| e.asked);
                if before.exit.is_none() && !asked && before.want < Want::Stop {
                    self.crashed(id, node, exit.as_ref());
                }
                // A crash has its own line already.
                if sight.seen == Seen::Gone && exit.as_ref().is_none_or(|e| e.asked) {
                    let killed = exit.as_ref().is_some_and(|e| e.killed_after_grace);
                    let new = self.is_taken_back(id);
                    self.emit_live(environment, What::Removed { instance: id, node, killed, new });
                }
            }
        }
        true
    }

    /// Its timeout runs from the moment when it is seen to run.
    fn release_command_seen(&mut self, before: &Instance, seen: Seen) {
        if before.seen != Seen::Pending || seen != Seen::Starting {
            return;
        }
        let clock = self.state.clock;
        let timeout = self.state.releases.get(&before.release).and_then(|r| r.spec.release.as_ref());
        let Some(timeout) = timeout.map(|r| r.timeout) else { return };
        let live = self.state.live_mut(before.environment).filter(|d| d.command == Some(before.id));
        if let Some(live) = live.filter(|d| d.phase == Phase::Releasing || d.contracts) {
            live.deadline = Some(clock.saturating_add(timeout));
        }
    }

    fn became_ready(&mut self, id: InstanceId, node: NodeId, before: bool, attempts: u32) {
        if before {
            return;
        }
        let Some(instance) = self.state.instances.get(&id) else { return };
        let (environment, release) = (instance.environment, instance.release);
        self.emit_live(environment, What::Healthy { instance: id, node, attempts });
        let rules = self.state.releases.get(&release).map_or(0, |r| r.spec.deploy.deadline);
        let deadline = self.state.clock.saturating_add(rules);
        let live = self.state.live_mut(environment);
        if let Some(live) = live.filter(|d| d.deadline.is_some()) {
            live.deadline = live.deadline.max(Some(deadline));
        }
    }

    fn crashed(&mut self, id: InstanceId, node: NodeId, exit: Option<&Exit>) {
        let Some(instance) = self.state.instances.get(&id) else { return };
        let (environment, was_ready, deployment) =
            (instance.environment, instance.was_ready, instance.deployment);
        let how = exit.map_or_else(|| "unknown".to_owned(), Exit::how);
        self.emit_live(environment, What::Crashed { instance: id, node, how });
        if exit.is_some_and(|exit| exit.excused) {
            return;
        }
        let live = self.state.live_mut(environment);
        match live {
            Some(live) if Some(live.id) == deployment && live.phase != Phase::Reverting => {
                live.crashes += u32::from(was_ready);
            }
            Some(_) | None => self.back_off(environment),
        }
    }

    /// Slows down starts of what keeps failing outside a deployment; a quiet minute forgives.
    fn back_off(&mut self, environment: EnvironmentId) {
        let clock = self.state.clock;
        let Some(found) = self.state.environments.get_mut(&environment) else { return };
        if clock > found.backoff_until.saturating_add(BACKOFF_MAX) {
            found.crashes = 0;
        }
        let wait = BACKOFF_FIRST.saturating_mul(1 << found.crashes.min(16)).min(BACKOFF_MAX);
        // The first failure after a quiet time is made good at once.
        found.backoff_until = if found.crashes == 0 { clock } else { clock.saturating_add(wait) };
        found.crashes += 1;
    }

    fn traffic(&mut self, node: NodeId, environment: EnvironmentId, report: &Measured) -> bool {
        let clock = self.state.clock;
        let Some(live) = self.state.live(environment) else { return false };
        let Some(rules) = self.state.releases.get(&live.to).map(|r| r.spec.rollback.clone()) else {
            return false;
        };
        let Some(live) = self.state.live_mut(environment) else { return false };
        let told_before = live.counted.is_known();
        let news = live.counted.report(node, report);
        judging::note(live, &rules, &news, clock);
        !told_before || news != Measured::default()
    }
}
