//! What the planner decided.

use super::{Answer, Change, done};
use crate::assignment::{drain_timeout, process_of, withdrawn_everywhere};
use crate::command::{Action, Rejection};
use crate::judging;
use crate::model::{
    Cause, Deployment, DeploymentId, EnvironmentId, Instance, InstanceId, Kind, Millis, NodeId, Phase,
    Progress, RELEASE_PROCESS, Reason, ReleaseId, Seen, Source, Step, Story, Told, Want, What,
};
use crate::schema::{self, Migration};
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
            Action::Start { environment, deployment, release, process, slot, node, why } => {
                if let Some(id) = self.start(*environment, *deployment, *release, process, *slot, *node) {
                    let told = self.told(why);
                    self.state.instances.entry(id).and_modify(|i| i.story.started = told);
                }
            }
            Action::Build { deployment, node } => self.build(*deployment, *node),
            Action::RunReleaseCommand { deployment, node } => self.run_release_command(*deployment, *node),
            Action::Proceed { deployment } => self.proceed(*deployment),
            Action::Admit { instance } => self.admit(*instance),
            Action::Drain { instance, why } => self.drain(*instance, why),
            Action::Stop { instance, why } => self.stop(*instance, why),
            Action::Advance { deployment, process } => {
                self.advance(*deployment, process);
            }
            Action::Hold { deployment, process } => self.hold(*deployment, process),
            Action::Watch { deployment } => self.watch(*deployment),
            Action::Revert { deployment, cause } => self.revert(*deployment, cause),
            Action::Fail { deployment, cause } => self.fail(*deployment, cause),
            Action::End { deployment, phase } => self.end(*deployment, *phase),
        }
    }

    fn progress(&mut self, deployment: DeploymentId, process: &str) -> Option<&mut Progress> {
        self.state.deployments.get_mut(&deployment)?.progress.get_mut(process)
    }

    fn advance(&mut self, id: DeploymentId, process: &str) {
        let held = self.progress(id, process).is_some_and(|p| p.hold_until.is_some());
        if held {
            self.tell_finding(id);
        }
        let Some(progress) = self.progress(id, process) else { return };
        progress.at = (progress.at + 1).min(progress.steps.len());
        progress.hold_until = None;
        let Some(step) = progress.steps.get(progress.at).copied() else { return };
        let before = progress.at.checked_sub(1).and_then(|at| progress.steps.get(at)?.weight);
        // One with a hold tells its share when that begins.
        if step.hold == 0 && step.weight != before {
            self.tell_share(id, step);
        }
    }

    /// The hold of a step whose counts are reached. The deadline is for what comes after it.
    fn hold(&mut self, id: DeploymentId, process: &str) {
        let clock = self.state.clock;
        let Some(progress) = self.progress(id, process) else { return };
        let Some(step) = progress.steps.get(progress.at).copied() else { return };
        let until = clock.saturating_add(step.hold);
        progress.hold_until = Some(until);
        if let Some(found) = self.state.deployments.get(&id) {
            let allowed = self.allowed(found.to, Phase::Stepping);
            if let Some(found) = self.state.deployments.get_mut(&id).filter(|d| d.deadline.is_some()) {
                found.deadline = found.deadline.max(Some(until.saturating_add(allowed)));
            }
        }
        self.tell_share(id, step);
    }

    fn tell_share(&mut self, id: DeploymentId, step: Step) {
        let environment = self.state.deployments.get(&id).map(|d| d.environment);
        if let Some(percent) = step.weight {
            self.emit(Some(id), environment, What::Share { percent, hold: step.hold });
        }
    }

    /// What requests say about the release, where any can.
    fn tell_finding(&mut self, id: DeploymentId) {
        let Some(found) = self.state.deployments.get(&id) else { return };
        let Some(release) = self.state.releases.get(&found.to) else { return };
        if found.counted.is_known() && release.spec.processes.values().any(|p| p.http) {
            let finding = judging::finding(found, &release.spec.rollback, self.state.clock);
            let environment = found.environment;
            self.emit(Some(id), Some(environment), What::Judged { finding });
        }
    }

    /// How long a phase may take.
    pub(super) fn allowed(&self, release: ReleaseId, phase: Phase) -> Millis {
        let Some(release) = self.state.releases.get(&release) else { return 0 };
        match (&release.source, phase) {
            (Source::Build { timeout, .. }, Phase::Building) => {
                timeout.saturating_add(release.spec.deploy.deadline)
            }
            _ => release.spec.deploy.deadline,
        }
    }

    fn begin(&mut self, id: DeploymentId) {
        let Some(found) = self.state.deployments.get(&id).filter(|d| d.phase == Phase::Queued) else {
            return;
        };
        if self.state.live(found.environment).is_some() {
            return;
        }
        let environment = found.environment;
        let Some(known) = self.state.environments.get(&environment) else { return };
        let (from, started) = (known.current, self.state.clock);
        let release = self.state.releases.get(&found.to);
        let fit = match (release, found.kind) {
            (Some(release), Kind::Deploy) => {
                schema::migration(self.state, known, Some(release.id), release.spec.schema)
            }
            (Some(release), Kind::Rollback { .. }) if !schema::fits(known, release) => {
                Err("its release does not run with the schema that the database has by now".to_owned())
            }
            (Some(_), Kind::Rollback { .. }) | (None, _) => Ok(Migration::First),
        };
        self.forgive(environment);
        if let Some(found) = self.state.deployments.get_mut(&id) {
            found.from = from;
            found.started_at = Some(started);
            found.contracts = fit == Ok(Migration::Last);
            found.not_built = fit.err().map(|why| Cause::Schema { why });
        }
        self.enter(id);
    }

    /// The next phase of a deployment for which everything is there.
    fn enter(&mut self, id: DeploymentId) {
        let clock = self.state.clock;
        let Some(found) = self.state.deployments.get(&id) else { return };
        let Some(release) = self.state.releases.get(&found.to) else { return };
        let Some(environment) = self.state.environments.get(&found.environment) else { return };
        let spec = &release.spec;
        // What cannot be is taken back before anything is done.
        let builds =
            found.phase == Phase::Queued && (release.artifact.is_none() || found.not_built.is_some());
        let migrates = found.kind == Kind::Deploy && !found.contracts;
        let commands = spec.release.is_some() && migrates && found.phase < Phase::Releasing;
        let mut progress = std::collections::BTreeMap::new();
        let phase = if builds {
            Phase::Building
        } else if commands {
            Phase::Releasing
        } else {
            // Going back is not tried out first.
            let weighs = found.kind == Kind::Deploy;
            for (process, p) in &spec.processes {
                let wanted = self.state.wanted(environment, spec, process);
                let others = |i: &&Instance| i.counts() && i.release != found.to;
                let old = self.state.instances_of(environment.id, process).filter(others).count();
                let old = u32::try_from(old).unwrap_or(u32::MAX);
                let limits = strategy::limits(spec, process);
                let weighs = weighs && p.http;
                let mut steps = strategy::steps(&spec.deploy, limits, weighs, old, wanted);
                if spec.rollback.warm {
                    steps = strategy::keep_warm(steps, limits, weighs, old);
                }
                progress.insert(process.clone(), Progress { steps, at: 0, hold_until: None });
            }
            Phase::Stepping
        };
        let time = self.allowed(found.to, phase);
        if phase == Phase::Stepping && migrates {
            self.note_schema(id);
        }
        if let Some(found) = self.state.deployments.get_mut(&id) {
            found.phase = phase;
            found.progress = progress;
            found.deadline = Some(clock.saturating_add(time));
        }
    }

    /// The database has the schema that the release of a deployment provides.
    fn note_schema(&mut self, id: DeploymentId) {
        let Some(found) = self.state.deployments.get(&id) else { return };
        let schema = self.state.releases.get(&found.to).and_then(|r| r.spec.schema);
        if let (Some(schema), Some(environment)) =
            (schema, self.state.environments.get_mut(&found.environment))
        {
            environment.schema = environment.schema.max(Some(schema.provides));
        }
    }

    fn proceed(&mut self, id: DeploymentId) {
        let Some(found) = self.state.deployments.get(&id) else { return };
        match found.phase {
            Phase::Building => {}
            Phase::Releasing => self.tell_release_done(id),
            Phase::Watching if found.contracts => {
                self.tell_release_done(id);
                return self.end(id, Phase::Succeeded);
            }
            Phase::Queued
            | Phase::Stepping
            | Phase::Watching
            | Phase::Reverting
            | Phase::Succeeded
            | Phase::RolledBack
            | Phase::Failed
            | Phase::Cancelled
            | Phase::Superseded => return,
        }
        self.enter(id);
    }

    fn tell_release_done(&mut self, id: DeploymentId) {
        let Some(found) = self.state.deployments.get(&id) else { return };
        let environment = found.environment;
        let command = found.command.and_then(|id| self.state.instances.get(&id));
        if let Some((instance, node)) = command.map(|i| (i.id, i.node)) {
            self.emit(Some(id), Some(environment), What::ReleaseDone { instance, node });
        }
    }

    fn build(&mut self, id: DeploymentId, node: NodeId) {
        let known = self.state.nodes.contains_key(&node);
        let Some(found) = self.state.deployments.get_mut(&id).filter(|d| d.phase == Phase::Building && known)
        else {
            return;
        };
        found.builder = Some(node);
        let (environment, release) = (found.environment, found.to);
        // What another node had made is lost with it.
        if let Some(release) = self.state.releases.get_mut(&release) {
            release.artifact = None;
        }
        self.emit(Some(id), Some(environment), What::Building { node });
    }

    fn run_release_command(&mut self, id: DeploymentId, node: NodeId) {
        let Some(found) = self.state.deployments.get(&id) else { return };
        let due = found.phase == Phase::Releasing || found.phase == Phase::Watching && found.contracts;
        let free = due && found.command.is_none();
        if !free || !self.state.nodes.contains_key(&node) {
            return;
        }
        let (environment, release) = (found.environment, found.to);
        if !self.settle_in(environment, release, node) {
            return;
        }
        self.state.last.instance += 1;
        let instance = InstanceId(self.state.last.instance);
        let started = self.told(&Some(Reason::ReleaseCommand { deployment: id }));
        let created = Instance {
            deployment: Some(id),
            created_at: self.state.clock,
            story: Story { started, ..Story::default() },
            ..Instance::new(instance, environment, release, RELEASE_PROCESS, node)
        };
        self.state.instances.insert(instance, created);
        if let Some(found) = self.state.deployments.get_mut(&id) {
            found.command = Some(instance);
        }
        self.emit(Some(id), Some(environment), What::ReleaseStarted { instance, node });
    }

    /// The first node that runs something with volumes is where they are, and nothing with volumes runs elsewhere.
    fn settle_in(&mut self, environment: EnvironmentId, release: ReleaseId, node: NodeId) -> bool {
        let has_volumes = self.state.releases.get(&release).is_some_and(|r| !r.spec.volumes.is_empty());
        let environment = self.state.environments.get_mut(&environment).filter(|_| has_volumes);
        environment.is_none_or(|environment| *environment.home.get_or_insert(node) == node)
    }

    fn start(
        &mut self,
        environment: EnvironmentId,
        deployment: Option<DeploymentId>,
        release: ReleaseId,
        process: &str,
        slot: u32,
        node: NodeId,
    ) -> Option<InstanceId> {
        let known = self.state.releases.contains_key(&release) && self.state.nodes.contains_key(&node);
        if !known || !self.settle_in(environment, release, node) {
            return None;
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
        Some(id)
    }

    /// A decision of this entry.
    fn told(&self, why: &Option<Reason>) -> Option<Told> {
        why.clone().map(|why| Told { index: self.index, wall: self.wall, why })
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

    fn drain(&mut self, id: InstanceId, why: &Option<Reason>) {
        let (index, told) = (self.index, self.told(why));
        let Some(found) = self.state.instances.get_mut(&id).filter(|i| i.want == Want::Run) else { return };
        found.want = Want::Drain;
        found.withdrawn = Some(index);
        found.story.withdrawn = told;
        self.give_time(id, UNHEARD);
    }

    /// The drain of an instance ends so long after its drain timeout at the latest.
    pub(super) fn give_time(&mut self, id: InstanceId, more: Millis) {
        let clock = self.state.clock;
        let Some(found) = self.state.instances.get_mut(&id) else { return };
        let release = self.state.releases.get(&found.release);
        let timeout = release.map_or(0, |r| {
            process_of(r, &found.process).map_or(0, |process| drain_timeout(&r.spec, &process))
        });
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

    fn stop(&mut self, id: InstanceId, why: &Option<Reason>) {
        let (index, told) = (self.index, self.told(why));
        let Some(found) = self.state.instances.get_mut(&id).filter(|i| i.want < Want::Stop) else { return };
        found.want = Want::Stop;
        found.withdrawn.get_or_insert(index);
        found.story.stopped = told;
    }

    fn watch(&mut self, id: DeploymentId) {
        let clock = self.state.clock;
        let Some(found) = self.state.deployments.get(&id).filter(|d| d.phase == Phase::Stepping) else {
            return;
        };
        let millis = self.state.releases.get(&found.to).map_or(0, |r| r.spec.rollback.watch);
        let allowed = self.allowed(found.to, Phase::Watching);
        let environment = found.environment;
        if let Some(found) = self.state.deployments.get_mut(&id) {
            found.phase = Phase::Watching;
            let until = clock.saturating_add(millis);
            found.deadline = found.contracts.then(|| until.saturating_add(allowed));
            found.watch_until = Some(until);
            found.counted.watch();
        }
        if millis > 0 {
            self.emit(Some(id), Some(environment), What::Watching { millis });
        }
    }

    fn revert(&mut self, id: DeploymentId, cause: &Cause) {
        let Some(found) = self.state.deployments.get_mut(&id) else { return };
        if !matches!(found.phase, Phase::Building | Phase::Releasing | Phase::Stepping | Phase::Watching) {
            return;
        }
        let allowed = self.state.releases.get(&found.to).map_or(0, |r| r.spec.deploy.deadline);
        found.phase = Phase::Reverting;
        found.paused = None;
        found.cause = Some(cause.clone());
        found.deadline = Some(self.state.clock.saturating_add(allowed));
        let (environment, from) = (found.environment, found.from);
        self.forgive(environment);
        self.emit(Some(id), Some(environment), What::Reverting { cause: cause.clone(), to: from });
    }

    /// What failed came after everything else: the new release stays, as the one before may not run any more.
    fn fail(&mut self, id: DeploymentId, cause: &Cause) {
        let Some(found) = self.state.deployments.get_mut(&id) else { return };
        if found.phase != Phase::Watching || !found.contracts {
            return;
        }
        found.cause = Some(cause.clone());
        let (environment, to) = (found.environment, found.to);
        if let Some(environment) = self.state.environments.get_mut(&environment) {
            environment.current = Some(to);
        }
        self.emit(Some(id), Some(environment), What::Failed { cause: cause.clone(), stays: to });
        self.end(id, Phase::Failed);
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
        if phase == Phase::Succeeded {
            self.tell_finding(id);
        }
        let Some(found) = self.state.deployments.get_mut(&id) else { return };
        found.phase = phase;
        found.ended_at = Some(clock);
        found.deadline = None;
        let (environment, to, errors) = (found.environment, found.to, errors(found));
        if phase == Phase::Succeeded && found.contracts {
            self.note_schema(id);
        }
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
    let total = deployment.counted.total().traffic;
    deployment.counted.is_known().then(|| total.app_errors.saturating_add(total.failed()))
}
