//! A packed directory on its way into the cluster, as the body of a request.

use std::io;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::put;
use futures_util::{StreamExt, TryStreamExt};
use http::header::CONTENT_LENGTH;
use temps_core::model::Role;
use temps_wire::proto::PutBundleResponse;
use tonic::Status;

use super::describe::Api;
use super::problem::Refused;
use super::{ask, json};
use crate::caller::Claim;
use crate::desk::Desk;
use crate::permit::Scope;
use crate::{bundles, limits, transfer};

const BUNDLE: &str = "/bundles/{digest}";

pub(super) fn routes() -> Router<Desk> {
    Router::new().route(&format!("/api/v1{BUNDLE}"), put(store))
}

pub(super) fn describe(api: &mut Api) {
    let what =
        "Store a bundle: a tar of a directory, compressed by zstd, by its SHA-256; with a Content-Length";
    api.upload::<PutBundleResponse>(BUNDLE, "put_bundle", "deployments", what);
}

async fn store(
    State(desk): State<Desk>,
    Path(digest): Path<String>,
    request: Request,
) -> Result<Response, Refused> {
    let (head, body) = request.into_parts();
    let caller = desk.admit(Claim::of(&ask::asked(&head, ())?)?, Role::Deployer).await?;
    desk.permit(&caller, Role::Deployer, Scope::Anywhere, "deploying")?;
    let length = head.headers.get(CONTENT_LENGTH).and_then(|n| n.to_str().ok()?.parse().ok());
    let bytes = length.ok_or_else(|| Status::invalid_argument("a bundle needs a Content-Length"))?;
    limits::bundle(&digest, bytes)?;
    let content = body.into_data_stream().map_err(io::Error::other).boxed();
    let incoming = transfer::announced(&digest, bytes, content);
    Ok(json(&bundles::take(&desk, incoming).await?))
}
