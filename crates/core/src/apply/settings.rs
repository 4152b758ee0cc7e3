//! Settings of environments that win over what a file says, and deploying again with what is set by now.

use super::{Answer, Change, done, invalid, not_found, unchanged, validate};
use crate::command::{Made, Outcome, Rejection, SettingsChange};
use crate::model::{
    Artifact, CanaryStep, Covered, Deployment, DeploymentId, Environment, Kind, Millis, Phase, Release,
    ReleaseId, Setting, Settings, SettingsChanged, Source, Spec, Strategy, Value, What,
};

impl Change<'_> {
    pub(super) fn set_settings(&mut self, change: &SettingsChange) -> Answer {
        let SettingsChange { project, environment, set, unset } = change;
        validate::name("project", project)?;
        validate::name("environment", environment)?;
        if let Some(both) = unset.iter().find(|setting| set.0.contains_key(setting)) {
            return Err(invalid(format!("{} is to be set and unset at once; name it once", both.key())));
        }
        if set.0.is_empty() && unset.is_empty() {
            return Err(invalid("name at least one setting, such as health.path"));
        }
        for (setting, value) in &set.0 {
            alone(*setting, value)?;
        }
        let known = self.state.environment(project, environment);
        let before = known.map(|e| e.settings.clone()).unwrap_or_default();
        let mut settings = before.clone();
        settings.0.retain(|setting, _| !unset.contains(setting));
        settings.0.extend(set.0.clone());
        if settings == before {
            return unchanged();
        }
        match known.and_then(|e| self.newest_release(e)) {
            Some(release) => drop(over(&settings, &release.given())?),
            None if settings.0.get(&Setting::Strategy) == Some(&Value::Strategy(Strategy::Canary)) => {
                return Err(no_steps());
            }
            None => {}
        }
        let id = self.environment_named(project, environment);
        if let Some(environment) = self.state.environments.get_mut(&id) {
            environment.settings = settings;
        }
        let by = self.by.to_owned();
        let changed = |setting: &Setting| before.0.contains_key(setting);
        let changed = SettingsChanged {
            set: Settings(set.0.iter().filter(|(s, v)| before.0.get(s) != Some(v)).map(owned).collect()),
            unset: unset.iter().copied().filter(changed).collect(),
            by,
        };
        self.emit(None, Some(id), What::SettingsChanged(changed));
        done()
    }

    /// What a file gave with an environment's settings over it.
    pub(super) fn with_settings(
        &self,
        settings: Option<&Settings>,
        given: &Spec,
    ) -> Result<(Spec, Covered), Rejection> {
        let Some(settings) = settings.filter(|settings| !settings.0.is_empty()) else {
            return Ok((given.clone(), Covered::default()));
        };
        over(settings, given).map_err(|refused| {
            let text = settings.text();
            let how = "change that with `temps projects set`, or take it away with `--unset KEY`";
            invalid(format!("{refused}. In the cluster is set: {text}; {how}"))
        })
    }

    /// A file that says by now what the cluster had set in its place is not deployed anew, but remembered.
    pub(super) fn note_covered(&mut self, deployment: DeploymentId, covered: Covered) {
        let release = self.state.deployments.get(&deployment).map(|d| d.to);
        if let Some(release) = release.and_then(|id| self.state.releases.get_mut(&id)) {
            release.covered = covered;
        }
    }

    pub(super) fn redeploy(&mut self, id: DeploymentId) -> Answer {
        let unknown = || not_found(format!("deployment {id}"));
        let found = self.state.deployments.get(&id).ok_or_else(unknown)?;
        let release = self.state.releases.get(&found.to).ok_or_else(unknown)?;
        let known = self.state.environments.get(&found.environment).ok_or_else(unknown)?;
        let project = self.state.projects.get(&known.project).ok_or_else(unknown)?;
        let artifact = self.kept(found, release)?;
        let (spec, covered) = self.with_settings(Some(&known.settings), &release.given())?;
        let source = release.source.clone();
        self.check_hosts(&project.name, &known.name, &spec)?;
        match &artifact {
            // Nothing new is stored.
            Some(_) => self.check_places(Some(known), &source, &spec)?,
            None => self.check_nodes(Some(known), &source, &spec)?,
        }
        self.check_schema(Some(known), &spec)?;
        let mut variables = spec.variables.clone();
        variables.extend(known.variables.clone());
        let environment = known.id;
        let release = Release {
            id: ReleaseId(0),
            environment,
            source,
            artifact,
            spec,
            covered,
            variables,
            created_at: 0,
        };
        // Asked for twice, it is done once.
        let newest = self.state.queued(environment).or_else(|| self.state.live(environment));
        if let Some(newest) =
            newest.filter(|d| d.kind == Kind::Deploy && d.cancel.is_none() && d.phase != Phase::Reverting)
            && self.state.releases.get(&newest.to).is_some_and(|known| known.is_as(&release))
        {
            return Ok(Outcome::NoChange(Made::Deployment(newest.id)));
        }
        let release = self.release(release);
        Ok(Outcome::Done(Made::Deployment(self.queue(environment, release, Kind::Deploy, false))))
    }

    /// What a release of the same would run, where it need not be made again.
    fn kept(&self, deployment: &Deployment, release: &Release) -> Result<Option<Artifact>, Rejection> {
        if self.state.can_start(release.id) {
            return Ok(release.artifact.clone());
        }
        let stored = |file: &Artifact| self.state.up().any(|n| n.artifacts.contains(&file.digest));
        let (remade, again) = match &release.source {
            Source::Bundle { .. } => (false, "`temps deploy` in its directory".to_owned()),
            Source::Build { context, .. } => (stored(context), "`temps deploy` in its directory".to_owned()),
            Source::Image { reference, node, .. } => {
                (self.state.up().any(|n| n.id == *node), format!("`temps deploy --image {reference}`"))
            }
        };
        if remade {
            return Ok(None);
        }
        Err(invalid(format!(
            "what deployment {} brought is stored on no node any more that is up, so it cannot be deployed again; use {again}",
            deployment.id
        )))
    }

    /// The release that an environment moves to or has.
    fn newest_release(&self, environment: &Environment) -> Option<&Release> {
        let next = self.state.queued(environment.id).or_else(|| self.state.live(environment.id));
        self.state.release(next.map(|d| d.to).or(environment.current))
    }
}

fn owned((setting, value): (&Setting, &Value)) -> (Setting, Value) {
    (*setting, value.clone())
}

/// One value, whatever else is set: it must be what can be written, within the limits of a file.
fn alone(setting: Setting, value: &Value) -> Result<(), Rejection> {
    match setting.parse(&setting.write(value)) {
        Ok(read) if read == *value => {}
        Ok(_) => return Err(invalid(format!("{} cannot have such a value", setting.key()))),
        Err(why) => return Err(invalid(why)),
    }
    // All the rest leaves room for any value.
    let mut spec = Spec::default();
    spec.health.interval = 1;
    spec.health.healthy_threshold = 1;
    spec.health.start_period = 0;
    spec.deploy.deadline = Millis::MAX;
    spec.deploy.max_unavailable = 1;
    if *value == Value::Strategy(Strategy::Canary) {
        spec.deploy.canary = vec![CanaryStep { weight: 1, hold: 0 }];
    }
    setting.put(&mut spec, Some(value));
    validate::rules(&spec)
}

/// What a file gave with settings over it, as far as it can be so.
fn over(settings: &Settings, given: &Spec) -> Result<(Spec, Covered), Rejection> {
    let (spec, covered) = settings.over(given);
    if spec.deploy.strategy == Strategy::Canary && spec.deploy.canary.is_empty() {
        return Err(no_steps());
    }
    validate::rules(&spec)?;
    Ok((spec, covered))
}

fn no_steps() -> Rejection {
    invalid(
        "deploy.strategy cannot be set to canary where temps.toml has no steps of one; write strategy = \"canary\" there, in [deploy], and deploy that",
    )
}
