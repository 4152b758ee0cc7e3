//! Projects.

mod settings;

use serde_json::json;
use temps_wire::proto::{CreateProjectRequest, ListProjectsRequest};

use super::Desk;
use crate::exit::{Code, Failure};
use crate::names;
use crate::screen::escape;

/// Words behind `projects`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Projects {
    /// Create a project; deploying to a new one does the same
    Create {
        /// Its name: lower-case letters, digits, inner dashes
        name: String,
    },
    /// List projects
    #[command(visible_alias = "ls")]
    List,
    /// Show what is known of an environment: release, hosts, numbers, names of variables, and all settings
    Show(settings::Show),
    /// Set how releases are checked, replaced and taken back, whatever temps.toml says
    Set(settings::Set),
}

pub(super) async fn run(desk: &mut Desk, word: Projects) -> Result<Code, Failure> {
    match word {
        Projects::Create { name } => create(desk, name).await,
        Projects::List => list(desk).await,
        Projects::Show(args) => settings::show(desk, args).await,
        Projects::Set(args) => settings::set(desk, args).await,
    }
}

async fn create(desk: &mut Desk, name: String) -> Result<Code, Failure> {
    names::check("project", &name).map_err(Failure::usage)?;
    let request = CreateProjectRequest { name: name.clone() };
    desk.client()?
        .call(|mut api| {
            let request = request.clone();
            async move { api.create_project(request).await }
        })
        .await?;
    if desk.screen.is_json() {
        desk.screen.object(&json!({ "project": name }))?;
    } else {
        desk.screen.say(&format!("Project {name} created. Deploy to it with  temps deploy -p {name}"))?;
    }
    Ok(Code::Live)
}

async fn list(desk: &mut Desk) -> Result<Code, Failure> {
    let names = desk
        .client()?
        .call(|mut api| async move { api.list_projects(ListProjectsRequest {}).await })
        .await?
        .names;
    if desk.screen.is_json() {
        desk.screen.object(&json!({ "projects": names }))?;
    } else if names.is_empty() {
        desk.screen.note("no projects yet; `temps deploy` creates one");
    } else {
        for name in &names {
            desk.screen.say(&escape(name))?;
        }
    }
    Ok(Code::Live)
}
