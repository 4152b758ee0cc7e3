//! What a town answers about settings.

use temps_wire::proto::{
    Accepted, GetSettingsRequest, GetSettingsResponse, RedeployRequest, SetSettingsRequest,
    SetSettingsResponse,
};
use tonic::{Request, Response};

use super::{Answer, Node};

impl Node {
    pub(super) fn deploy_again(&self, request: &Request<RedeployRequest>) -> Answer<Accepted> {
        let mut town = self.change("redeploy", request)?;
        town.redeploys.push(request.get_ref().deployment);
        Self::accepted(&town)
    }

    pub(super) fn note_settings(&self, request: Request<SetSettingsRequest>) -> Answer<SetSettingsResponse> {
        let mut town = self.change("set_settings", &request)?;
        town.settings_set.push(request.into_inner());
        let deployment = town.settings.deployment;
        Ok(Response::new(SetSettingsResponse { no_change: town.no_change, deployment }))
    }

    pub(super) fn tell_settings(&self, request: &Request<GetSettingsRequest>) -> Answer<GetSettingsResponse> {
        Ok(Response::new(self.enter(request)?.settings.clone()))
    }
}
