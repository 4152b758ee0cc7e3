//! What the planner decided.

use super::{Answer, Change, done};
use crate::assignment::withdrawn_everywhere;
use crate::command::{Action, Rejection};
use crate::model::{
    Cause, Deployment, DeploymentId, EnvironmentId, Instance, InstanceId, Millis, NodeId, Phase, Progress,
    ReleaseId, Seen, Want, What,
};
use crate::strategy;

/// An edge that has not withdrawn an instance after this, though its node answers, is not waited for.
pub(super) const UNHEARD: Millis = 60_000;

impl Change<'_> {
    pub(super) fn planned(&mut self, seen: u64, actions: &[Action]) -> Answer {
        if seen != self.state.revision {
            return Err(Rejection::Stale { seen, now: self.state.revision });
        }
        for action in actions {
            self.act(action);
        }
        done()
    }

    /// An action that no longer fits the state does nothing.
    fn act(&mut self, action: &Action) {
        match action {
            Action::Begin { deployment } => self.begin(*deployment),
            Action::Start { environment, deployment, release, process, slot, node } => {
                self.start(*environment, *deployment, *release, process, *slot, *node);
            }
            Action::Admit { instance } => self.admit(*instance),
            Action::Drain { instance } => self.drain(*instance),
            Action::Stop { instance } => self.stop(*instance),
            Action::Advance { deployment, process } => {
                if let Some(progress) = self.progress(*deployment, process) {
                    progress.at = (progress.at + 1).min(progress.steps.len());
                    progress.hold_until = None;
                }
            }
            Action::Hold { deployment, process } => {
                let clock = self.state.clock;
                if let Some(progress) = self.progress(*deployment, process) {
                    let hold = progress.steps.get(progress.at).map_or(0, |s| s.hold);
                    progress.hold_until = Some(clock + hold);
                }
            }
            Action::Watch { deployment } => self.watch(*deployment),
            Action::Revert { deployment, cause } => self.revert(*deployment, cause),
            Action::End { deployment, phase } => self.end(*deployment, *phase),
        }
    }

    fn progress(&mut self, deployment: DeploymentId, process: &str) -> Option<&mut Progress> {
        self.state.deployments.get_mut(&deployment)?.progress.get_mut(process)
    }

    fn begin(&mut self, id: DeploymentId) {
        let Some(found) = self.state.deployments.get(&id).filter(|d| d.phase == Phase::Queued) else {
            return;
        };
        if self.state.live(found.environment).is_some() {
            return;
        }
        let Some(environment) = self.state.environments.get(&found.environment) else { return };
        let Some(release) = self.state.releases.get(&found.to) else { return };
        let from = environment.current;
        let spec = &release.spec;
        let mut progress = std::collections::BTreeMap::new();
        for process in spec.processes.keys() {
            let wanted = self.state.wanted(environment, spec, process);
            let others = |i: &&Instance| i.counts() && i.release != found.to;
            let old = self.state.instances_of(environment.id, process).filter(others).count();
            let steps = strategy::steps(&spec.deploy, u32::try_from(old).unwrap_or(u32::MAX), wanted);
            progress.insert(process.clone(), Progress { steps, at: 0, hold_until: None });
        }
        let deadline = self.state.clock + spec.deploy.deadline;
        let (environment, started) = (environment.id, self.state.clock);
        self.forgive(environment);
        if let Some(found) = self.state.deployments.get_mut(&id) {
            found.phase = Phase::Stepping;
            found.from = from;
            found.progress = progress;
            found.started_at = Some(started);
            found.deadline = Some(deadline);
        }
    }

    fn start(
        &mut self,
        environment: EnvironmentId,
        deployment: Option<DeploymentId>,
        release: ReleaseId,
        process: &str,
        slot: u32,
        node: NodeId,
    ) {
        if !self.state.releases.contains_key(&release) || !self.state.nodes.contains_key(&node) {
            return;
        }
        self.state.last.instance += 1;
        let id = InstanceId(self.state.last.instance);
        let instance = Instance {
            slot,
            deployment,
            created_at: self.state.clock,
            ..Instance::new(id, environment, release, process, node)
        };
        self.state.instances.insert(id, instance);
        self.emit_live(environment, What::Starting { instance: id, node });
    }

    fn admit(&mut self, id: InstanceId) {
        let index = self.index;
        let Some(found) = self.state.instances.get_mut(&id) else { return };
        if found.admitted.is_some() || found.want != Want::Run || found.seen != Seen::Ready {
            return;
        }
        found.admitted = Some(index);
        let (environment, node) = (found.environment, found.node);
        self.emit_live(environment, What::Admitted { instance: id, node });
    }

    fn drain(&mut self, id: InstanceId) {
        let index = self.index;
        let Some(found) = self.state.instances.get_mut(&id).filter(|i| i.want == Want::Run) else { return };
        found.want = Want::Drain;
        found.withdrawn = Some(index);
        self.give_time(id, UNHEARD);
    }

    /// The drain of an instance ends so long after its drain timeout at the latest.
    pub(super) fn give_time(&mut self, id: InstanceId, more: Millis) {
        let clock = self.state.clock;
        let Some(found) = self.state.instances.get_mut(&id) else { return };
        let timeout = self.state.releases.get(&found.release).map_or(0, |r| r.spec.deploy.drain_timeout);
        found.drain_deadline = Some(clock.saturating_add(timeout).saturating_add(more));
    }

    /// The drain timeout of an instance runs from the moment when every live edge has withdrawn it: what
    /// came before from an edge that had not heard yet has the whole time to end, too.
    pub(super) fn time_drains(&mut self) {
        let draining = self.state.instances.values().filter(|i| i.want == Want::Drain && !i.lost);
        let waits = |i: &&Instance| !i.drain_timed && withdrawn_everywhere(self.state, i);
        let begin: Vec<_> = draining.filter(waits).map(|i| i.id).collect();
        for id in begin {
            self.give_time(id, 0);
            if let Some(found) = self.state.instances.get_mut(&id) {
                found.drain_timed = true;
            }
        }
    }

    fn stop(&mut self, id: InstanceId) {
        let index = self.index;
        let Some(found) = self.state.instances.get_mut(&id).filter(|i| i.want < Want::Stop) else { return };
        found.want = Want::Stop;
        found.withdrawn.get_or_insert(index);
    }

    fn watch(&mut self, id: DeploymentId) {
        let clock = self.state.clock;
        let Some(found) = self.state.deployments.get(&id).filter(|d| d.phase == Phase::Stepping) else {
            return;
        };
        let millis = self.state.releases.get(&found.to).map_or(0, |r| r.spec.rollback.watch);
        let environment = found.environment;
        if let Some(found) = self.state.deployments.get_mut(&id) {
            found.phase = Phase::Watching;
            found.deadline = None;
            found.watch_until = Some(clock + millis);
        }
        if millis > 0 {
            self.emit(Some(id), Some(environment), What::Watching { millis });
        }
    }

    fn revert(&mut self, id: DeploymentId, cause: &Cause) {
        let Some(found) = self.state.deployments.get_mut(&id) else { return };
        if !matches!(found.phase, Phase::Stepping | Phase::Watching) {
            return;
        }
        let allowed = self.state.releases.get(&found.to).map_or(0, |r| r.spec.deploy.deadline);
        found.phase = Phase::Reverting;
        found.cause = Some(cause.clone());
        found.deadline = Some(self.state.clock + allowed);
        let (environment, from) = (found.environment, found.from);
        self.forgive(environment);
        self.emit(Some(id), Some(environment), What::Reverting { cause: cause.clone(), to: from });
    }

    /// A new try is not slowed down by what failed before it.
    fn forgive(&mut self, environment: EnvironmentId) {
        if let Some(environment) = self.state.environments.get_mut(&environment) {
            environment.crashes = 0;
            environment.backoff_until = 0;
        }
    }

    pub(super) fn end(&mut self, id: DeploymentId, phase: Phase) {
        let clock = self.state.clock;
        let Some(found) = self.state.deployments.get_mut(&id) else { return };
        if found.phase.is_terminal() || !phase.is_terminal() {
            return;
        }
        found.phase = phase;
        found.ended_at = Some(clock);
        found.deadline = None;
        let (environment, to, errors) = (found.environment, found.to, errors(found));
        if phase == Phase::Succeeded
            && let Some(environment) = self.state.environments.get_mut(&environment)
        {
            environment.current = Some(to);
        }
        self.forgive(environment);
        self.emit(Some(id), Some(environment), What::Ended { phase, errors });
    }
}

/// Failed requests while the deployment was live, where any traffic is known.
fn errors(deployment: &Deployment) -> Option<u64> {
    if deployment.traffic.is_empty() {
        return None;
    }
    let total = deployment.total();
    Some(total.app_errors + total.platform_errors)
}
