//! Deploying an image by its name, for whoever has no command line at hand.

use axum::extract::State;
use temps_core::model::{NodeId, ProcessSpec, Role, Source, Spec};
use temps_wire::codec;
use temps_wire::proto::{DeployRequest, ResolveImageRequest};
use tonic::Status;

use super::Page;
use super::deployments::told;
use super::visitor::Posted;
use crate::desk::{Answer, Desk};
use crate::http::deploy::current;
use crate::operations::Operations;
use crate::permit::Scope;

/// What the environment runs is replaced, with the settings that it has; a new one gets the defaults.
pub(super) async fn deploy(State(desk): State<Desk>, posted: Posted) -> Page {
    let (caller, fields) = (posted.visitor.caller, posted.fields);
    let [project, environment, reference] =
        ["project", "environment", "image"].map(|name| fields.get(name).to_owned());
    let port = match fields.get("port") {
        "" => None,
        port => Some(port.parse().map_err(|_| Status::invalid_argument(format!("{port:?} is no port")))?),
    };
    // Before anything is read of it.
    desk.permit(&caller, Role::Deployer, Scope::Project(&project), "deploying")?;
    let asked = ResolveImageRequest { reference: reference.clone() };
    let found = Operations::resolve_image(&desk, caller.clone(), asked).await?;
    let source = Source::Image { reference, id: found.id, node: NodeId(found.node) };
    let asked = DeployRequest {
        source: codec::encode(&source).into(),
        spec: codec::encode(&spec(&desk, &project, &environment, port)?).into(),
        project,
        environment,
        supersede: fields.is_set("supersede"),
    };
    let accepted = Operations::deploy(&desk, caller, asked).await?;
    Ok(told(&accepted))
}

fn spec(desk: &Desk, project: &str, environment: &str, port: Option<u16>) -> Answer<Spec> {
    let mut spec = match current(desk, project, environment) {
        Some(release) => release.given(),
        None => {
            let web = ProcessSpec { http: true, instances: 1, ..ProcessSpec::default() };
            Spec { processes: [("web".to_owned(), web)].into(), ..Spec::default() }
        }
    };
    if let Some(port) = port {
        let web = spec.processes.values_mut().find(|process| process.http);
        web.ok_or_else(|| Status::invalid_argument("no process of it answers HTTP, so it has no port"))?
            .port = Some(port);
    }
    Ok(spec)
}
