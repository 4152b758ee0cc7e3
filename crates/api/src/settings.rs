//! Settings of environments that are kept in the cluster, and deploying again so that they take effect.

use temps_core::command::{Command, SettingsChange};
use temps_core::model::{
    ClusterState, DeploymentId, Environment, Instead, Release, Setting, Settings, Spec, Value,
};
use temps_wire::proto::{
    self, Accepted, CoveredSetting, GetSettingsRequest, GetSettingsResponse, RedeployRequest,
    SetSettingsRequest, SetSettingsResponse,
};
use tonic::Status;

use crate::caller::Caller;
use crate::changes::accepted;
use crate::desk::{Answer, Desk};
use crate::{limits, reads};

pub(crate) async fn set(
    desk: &Desk,
    caller: Caller,
    request: SetSettingsRequest,
) -> Answer<SetSettingsResponse> {
    let SetSettingsRequest { project, environment, set, unset } = request;
    limits::environment(&project, &environment)?;
    limits::names("setting", set.keys())?;
    limits::names("value", set.values())?;
    limits::names("setting", unset.iter())?;
    let mut values = Settings::default();
    for (key, text) in &set {
        let setting = named(key)?;
        values.0.insert(setting, setting.parse(text).map_err(Status::invalid_argument)?);
    }
    let unset = unset.iter().map(|key| named(key)).collect::<Answer<_>>()?;
    let (in_project, of) = (project.clone(), environment.clone());
    let change = SettingsChange { project, environment, set: values, unset };
    let no_change = desk.change(&caller, Command::SetSettings(change)).await?;
    let state = desk.at_hand().await.state;
    let known = state.environment(&in_project, &of);
    let deployment = known.and_then(|environment| brought(&state, environment));
    Ok(SetSettingsResponse { no_change, deployment: deployment.map(|id| id.0) })
}

pub(crate) async fn get(desk: &Desk, _: Caller, request: GetSettingsRequest) -> Answer<GetSettingsResponse> {
    limits::environment(&request.project, &request.environment)?;
    let state = desk.fresh().await?;
    let environment = reads::find(&state, &request.project, &request.environment)?;
    let release = state.release(environment.current);
    let given = release.map(Release::given).unwrap_or_default();
    let settings: Vec<_> =
        Setting::ALL.iter().map(|s| shown(*s, environment.settings.0.get(s), release, &given)).collect();
    Ok(GetSettingsResponse {
        pending: release.is_some() && settings.iter().any(|shown| shown.next != shown.running),
        settings,
        release: release.map(|release| release.id.0),
        deployment: brought(&state, environment).map(|id| id.0),
    })
}

/// Those of an environment that comes to be with the first thing that is set in it.
pub(crate) fn none() -> GetSettingsResponse {
    let all = Setting::ALL.iter().map(|setting| shown(*setting, None, None, &Spec::default()));
    GetSettingsResponse { settings: all.collect(), ..GetSettingsResponse::default() }
}

pub(crate) async fn redeploy(desk: &Desk, caller: Caller, request: RedeployRequest) -> Answer<Accepted> {
    let deployment = DeploymentId(request.deployment);
    let receipt = desk.propose(&caller, Command::Redeploy { deployment }).await?;
    Ok(told(desk, accepted(&receipt)?).await)
}

/// With the settings of the cluster that were taken in place of what the file says, as far as this node knows them.
pub(crate) async fn told(desk: &Desk, accepted: Accepted) -> Accepted {
    let state = desk.at_hand().await.state;
    let deployment = state.deployments.get(&DeploymentId(accepted.deployment));
    let release = state.release(deployment.map(|d| d.to));
    Accepted { covered: covered(&release.map(Release::instead).unwrap_or_default()), ..accepted }
}

pub(crate) fn covered(all: &[Instead]) -> Vec<CoveredSetting> {
    let each = |instead: &Instead| CoveredSetting {
        key: instead.setting.key().to_owned(),
        value: instead.value.clone(),
        file: instead.file.clone(),
    };
    all.iter().map(each).collect()
}

fn named(key: &str) -> Answer<Setting> {
    Setting::named(key).ok_or_else(|| {
        let keys: Vec<_> = Setting::ALL.iter().map(|setting| setting.key()).collect();
        Status::invalid_argument(format!("there is no setting {key:?}; there are: {}", keys.join(", ")))
    })
}

/// The deployment that brought what runs.
fn brought(state: &ClusterState, environment: &Environment) -> Option<DeploymentId> {
    let current = environment.current?;
    let mut all = state.deployments_of(environment.id);
    all.find(|d| d.phase.is_terminal() && d.to == current).map(|d| d.id)
}

/// `given`: what the file of the release that runs says; the defaults where nothing runs.
fn shown(setting: Setting, set: Option<&Value>, release: Option<&Release>, given: &Spec) -> proto::Setting {
    let write = |value: &Value| setting.write(value);
    let (file, default) = (setting.of(given), setting.default_value());
    let origin = match set {
        Some(_) => "cluster",
        None if file == default => "default",
        None => "temps.toml",
    };
    let is_covered = release.is_some_and(|release| release.covered.settings.contains_key(&setting));
    proto::Setting {
        key: setting.key().to_owned(),
        value: set.map(write),
        running: release.and_then(|release| setting.of(&release.spec)).as_ref().map(write),
        file: file.as_ref().filter(|_| is_covered).map(write),
        default_value: default.as_ref().map(write),
        description: setting.description().to_owned(),
        next: set.or(file.as_ref()).map(write),
        origin: origin.to_owned(),
    }
}
