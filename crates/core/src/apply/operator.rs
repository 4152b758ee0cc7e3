//! What people and programs ask for.

use std::collections::BTreeMap;

use super::{Answer, Change, done, invalid, not_found, unchanged, validate};
use crate::command::{Made, Outcome, Rejection};
use crate::model::{
    Deployment, DeploymentId, Environment, EnvironmentId, Kind, Maintenance, Phase, Project, ProjectId,
    Release, ReleaseId, Settings, Source, Spec, Variables, What,
};
use crate::schema;

impl Change<'_> {
    pub(super) fn create_project(&mut self, name: &str) -> Answer {
        validate::name("project", name)?;
        if let Some(known) = self.state.project(name) {
            return Ok(Outcome::NoChange(Made::Project(known.id)));
        }
        Ok(Outcome::Done(Made::Project(self.project_named(name))))
    }

    fn project_named(&mut self, name: &str) -> ProjectId {
        if let Some(known) = self.state.project(name) {
            return known.id;
        }
        self.state.last.project += 1;
        let id = ProjectId(self.state.last.project);
        let project = Project { id, name: name.to_owned(), created_at: self.state.clock };
        self.state.projects.insert(id, project);
        id
    }

    pub(super) fn environment_named(&mut self, project: &str, name: &str) -> EnvironmentId {
        if let Some(known) = self.state.environment(project, name) {
            return known.id;
        }
        let project = self.project_named(project);
        self.state.last.environment += 1;
        let id = EnvironmentId(self.state.last.environment);
        let environment = Environment {
            id,
            project,
            name: name.to_owned(),
            current: None,
            variables: Variables::new(),
            settings: Settings::default(),
            scale: BTreeMap::new(),
            crashes: 0,
            backoff_until: 0,
            home: None,
            schema: None,
            maintenance: None,
        };
        self.state.environments.insert(id, environment);
        id
    }

    pub(super) fn deploy(
        &mut self,
        project: &str,
        environment: &str,
        source: &Source,
        spec: &Spec,
        supersede: bool,
    ) -> Answer {
        validate::name("project", project)?;
        validate::name("environment", environment)?;
        validate::spec(spec)?;
        let known = self.state.environment(project, environment);
        let (spec, covered) = self.with_settings(known.map(|e| &e.settings), spec)?;
        validate::source(source, &spec)?;
        self.check_hosts(project, environment, &spec)?;

        let mut variables = spec.variables.clone();
        if let Some(known) = known {
            variables.extend(known.variables.clone());
            if let Some(same) = self.same_release(known, source, &spec, &variables) {
                self.note_covered(same, covered);
                return Ok(Outcome::NoChange(Made::Deployment(same)));
            }
        }
        self.check_nodes(known, source, &spec)?;
        self.check_schema(known, &spec)?;
        let environment = self.environment_named(project, environment);
        let (source, artifact) = (source.clone(), source.ready().cloned());
        let release = self.release(Release {
            id: ReleaseId(0),
            environment,
            source,
            artifact,
            spec,
            covered,
            variables,
            created_at: 0,
        });
        Ok(Outcome::Done(Made::Deployment(self.queue(environment, release, Kind::Deploy, supersede))))
    }

    /// Where nothing is under way a release that cannot run beside what runs is refused at once.
    pub(super) fn check_schema(&self, known: Option<&Environment>, spec: &Spec) -> Result<(), Rejection> {
        let Some(known) = known.filter(|e| self.state.live(e.id).is_none()) else { return Ok(()) };
        let fit = schema::migration(self.state, known, None, spec.schema);
        fit.map(|_| ()).map_err(|why| Rejection::Conflict { why })
    }

    /// Adds a release under the next number, made now.
    pub(super) fn release(&mut self, release: Release) -> ReleaseId {
        self.state.last.release += 1;
        let id = ReleaseId(self.state.last.release);
        self.state.releases.insert(id, Release { id, created_at: self.state.clock, ..release });
        id
    }

    /// The deployment after which the environment is, or will be, exactly so; if there is one.
    fn same_release(
        &self,
        environment: &Environment,
        source: &Source,
        spec: &Spec,
        variables: &Variables,
    ) -> Option<DeploymentId> {
        let newest = self
            .state
            .deployments_of(environment.id)
            .find(|d| !d.phase.is_terminal() && d.phase != Phase::Reverting && d.cancel.is_none())
            .or_else(|| {
                let settled = self.state.live(environment.id).is_none();
                let brought =
                    |d: &&Deployment| d.phase == Phase::Succeeded && Some(d.to) == environment.current;
                self.state.deployments_of(environment.id).find(brought).filter(|_| settled)
            })?;
        let release = self.state.releases.get(&newest.to)?;
        release.runs(source, spec, variables).then_some(newest.id)
    }

    /// Two environments cannot claim one host and path.
    pub(super) fn check_hosts(&self, project: &str, environment: &str, spec: &Spec) -> Result<(), Rejection> {
        let own = self.state.environment(project, environment).map(|e| e.id);
        for other in self.state.environments.values().filter(|e| Some(e.id) != own) {
            let claims = crate::routes::claims(self.state, other);
            for domain in &spec.routes.domains {
                let added = self.state.domains.get(domain) == Some(&other.id);
                if added || claims.contains(&(domain.clone(), spec.routes.path_prefix.clone())) {
                    return Err(self.taken(domain, other.id));
                }
            }
        }
        Ok(())
    }

    pub(super) fn rollback(&mut self, project: &str, environment: &str, to: Option<DeploymentId>) -> Answer {
        let found = self.existing(project, environment)?;
        let (id, current) = (found.id, found.current);
        // Whatever has not ended is what is taken back, begun or not; but asked for twice, it is done once.
        let newest = self.state.queued(id).or_else(|| self.state.live(id));
        let asked_for = |back: &DeploymentId| to.is_none_or(|to| to == *back);
        if let Some(Deployment { id, kind: Kind::Rollback { to }, cancel: None, .. }) = newest
            && asked_for(to)
        {
            return Ok(Outcome::Done(Made::Deployment(*id)));
        }
        let unended = newest.is_some();
        let targets: Vec<_> = self.state.rollback_targets(found).collect();
        let brought_current = self
            .state
            .deployments_of(id)
            .find(|d| d.phase == Phase::Succeeded && Some(d.to) == current)
            .map(|d| d.id);
        let named = || {
            let names: Vec<_> = targets.iter().map(ToString::to_string).collect();
            if names.is_empty() { "there is none".to_owned() } else { names.join(", ") }
        };
        let target = match to {
            None if unended => brought_current,
            None => targets.iter().copied().find(|target| self.differs(*target, current)),
            Some(to) if Some(to) == brought_current && !unended => {
                return Ok(Outcome::NoChange(Made::Deployment(to)));
            }
            Some(to) => Some(to).filter(|to| targets.contains(to) || Some(*to) == brought_current),
        };
        let Some(target) = target else {
            let wish = to.map_or_else(|| "an earlier deployment".to_owned(), |to| to.to_string());
            let release = to.and_then(|to| self.state.deployments.get(&to)).map(|d| d.to);
            let unfit = self.state.release(release).and_then(|r| r.spec.schema).zip(found.schema);
            let why = unfit.filter(|(schema, now)| !schema.takes(*now)).map(|(schema, now)| {
                format!(", which needs schema {} while the database is at {now}", schema::range(schema))
            });
            return Err(invalid(format!(
                "{project} {environment} cannot go back to {wish}{}; deployments it can go back to: {}",
                why.unwrap_or_default(),
                named()
            )));
        };
        let release = self.state.deployments[&target].to;
        let queued = self.queue(id, release, Kind::Rollback { to: target }, true);
        Ok(Outcome::Done(Made::Deployment(queued)))
    }

    /// Whether what a deployment brought is something else than what runs, and not the same deployed again.
    fn differs(&self, deployment: DeploymentId, current: Option<ReleaseId>) -> bool {
        let brought = self.state.deployments.get(&deployment).map(|d| d.to);
        match (self.state.release(brought), self.state.release(current)) {
            (Some(brought), Some(current)) => !brought.is_as(current),
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// Adds a deployment behind the running one; one that waited already is superseded.
    pub(super) fn queue(
        &mut self,
        environment: EnvironmentId,
        release: ReleaseId,
        kind: Kind,
        supersede: bool,
    ) -> DeploymentId {
        if let Some(waiting) = self.state.queued(environment).map(|d| d.id) {
            self.end(waiting, Phase::Superseded);
        }
        let live = self.state.live(environment).map(|d| d.id);
        if let Some(live) = live.filter(|_| supersede).and_then(|id| self.state.deployments.get_mut(&id)) {
            live.cancel.get_or_insert_with(|| self.by.to_owned());
        }
        self.state.last.deployment += 1;
        let id = DeploymentId(self.state.last.deployment);
        let mut deployment = Deployment::new(id, environment, kind, release);
        deployment.by = self.by.to_owned();
        deployment.created_at = self.state.clock;
        self.state.deployments.insert(id, deployment);
        let what = What::Accepted {
            release,
            bytes: self.state.releases.get(&release).and_then(|r| r.source.stored()).map_or(0, |a| a.bytes),
            source: self.state.releases.get(&release).map(|r| r.source.text()).unwrap_or_default(),
            by: self.by.to_owned(),
            after: live,
            back_to: match kind {
                Kind::Deploy => None,
                Kind::Rollback { to } => Some(to),
            },
        };
        self.emit(Some(id), Some(environment), what);
        id
    }

    pub(super) fn scale(&mut self, project: &str, environment: &str, wish: &BTreeMap<String, u32>) -> Answer {
        let found = self.existing(project, environment)?;
        let newest = self.state.live(found.id).map(|d| d.to).or(found.current);
        let release = self.state.release(newest);
        let release =
            release.ok_or_else(|| invalid(format!("{project} {environment} was never deployed")))?;
        for (process, n) in wish {
            validate::instances(process, *n)?;
            if *n > 1 && release.spec.processes.get(process).is_some_and(|p| p.exclusive) {
                return Err(invalid(format!("process {process:?} is exclusive, so it has one instance")));
            }
            if !release.spec.processes.contains_key(process) {
                let known: Vec<_> = release.spec.processes.keys().cloned().collect();
                return Err(invalid(format!(
                    "there is no process {process:?}; there are: {}",
                    known.join(", ")
                )));
            }
        }
        let (id, spec) = (found.id, release.spec.clone());
        let mut changed = false;
        for (process, n) in wish {
            let environment = &self.state.environments[&id];
            if self.state.wanted(environment, &spec, process) == *n {
                continue;
            }
            changed = true;
            if let Some(environment) = self.state.environments.get_mut(&id) {
                environment.scale.insert(process.clone(), *n);
            }
            self.emit(None, Some(id), What::Scaled { process: process.clone(), instances: *n });
        }
        if changed { done() } else { unchanged() }
    }

    pub(super) fn set_variables(
        &mut self,
        project: &str,
        environment: &str,
        set: &Variables,
        remove: &[String],
    ) -> Answer {
        validate::name("project", project)?;
        validate::name("environment", environment)?;
        validate::variables(set)?;
        let id = self.environment_named(project, environment);
        let Some(environment) = self.state.environments.get_mut(&id) else { return unchanged() };
        let mut variables = environment.variables.clone();
        for name in remove {
            variables.remove(name);
        }
        variables.extend(set.clone());
        validate::variables(&variables)?;
        if environment.variables == variables {
            return unchanged();
        }
        environment.variables = variables;
        done()
    }

    pub(super) fn set_maintenance(
        &mut self,
        project: &str,
        environment: &str,
        on: Option<&Maintenance>,
    ) -> Answer {
        on.map_or(Ok(()), validate::maintenance)?;
        let id = self.existing(project, environment)?.id;
        let by = self.by.to_owned();
        let Some(environment) = self.state.environments.get_mut(&id) else { return unchanged() };
        if environment.maintenance.as_ref() == on {
            return unchanged();
        }
        environment.maintenance = on.cloned();
        let what = match on {
            Some(_) => What::MaintenanceBegan { by },
            None => What::MaintenanceEnded { by },
        };
        self.emit(None, Some(id), what);
        done()
    }

    fn existing(&self, project: &str, environment: &str) -> Result<&Environment, Rejection> {
        if self.state.project(project).is_none() {
            return Err(not_found(format!("project {project:?}")));
        }
        self.state
            .environment(project, environment)
            .ok_or_else(|| not_found(format!("environment {environment:?} of project {project:?}")))
    }
}
