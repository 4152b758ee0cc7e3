//! What a token or a person may do, as it is typed and shown.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use temps_core::access;
use temps_wire::{proto, told};

use crate::exit::Failure;
use crate::names;
use crate::screen::escape;

/// What it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Role {
    /// Look at everything but the values of variables
    Viewer,
    /// Also deploy, roll back, scale, set variables
    Deployer,
    /// Everything
    Admin,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Deployer => "deployer",
            Self::Admin => "admin",
        }
    }
}

/// A role for everything, or for some projects.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct GrantArgs {
    /// What is allowed: everywhere, or in the projects that are named
    #[arg(long, value_enum)]
    role: Option<Role>,
    /// Only in this project; several can be named, each with a role of its own if need be
    #[arg(short, long = "project", value_name = "NAME[=ROLE]")]
    projects: Vec<String>,
}

impl GrantArgs {
    /// Nothing where nothing was typed.
    pub(super) fn if_any(&self) -> Result<Option<proto::Grant>, Failure> {
        let no_role = || {
            Failure::usage("which role?")
                .help("write --role viewer, --role deployer or --role admin, or --project NAME=ROLE")
        };
        if self.projects.is_empty() {
            let role =
                self.role.map(|role| proto::Grant { role: role.word().to_owned(), ..Default::default() });
            return Ok(role);
        }
        let mut projects = BTreeMap::new();
        for typed in &self.projects {
            let (name, role) = match typed.split_once('=') {
                Some((name, role)) => (
                    name,
                    <Role as clap::ValueEnum>::from_str(role, false).map_err(|_| {
                        Failure::usage(format!(
                            "there is no role {role:?}; there are viewer, deployer, admin"
                        ))
                    })?,
                ),
                None => (typed.as_str(), self.role.ok_or_else(no_role)?),
            };
            names::check("project", name).map_err(Failure::usage)?;
            if projects.insert(name.to_owned(), role.word().to_owned()).is_some() {
                return Err(Failure::usage(format!("the project {name:?} is named twice")));
            }
        }
        Ok(Some(proto::Grant { role: String::new(), projects }))
    }

    /// What was typed.
    pub(super) fn needed(&self) -> Result<proto::Grant, Failure> {
        self.if_any()?.ok_or_else(|| {
            Failure::usage("which role?")
                .help("write --role viewer, --role deployer or --role admin; with --project NAME for that project alone")
        })
    }
}

/// `admin`, or `deployer in my-app, viewer in shop`.
pub(super) fn words(role: &str, projects: &BTreeMap<String, String>) -> String {
    escape(&access::grant(role, projects))
}

pub(super) fn of(grant: Option<&proto::Grant>) -> String {
    escape(&told::grant(grant))
}

/// The two fields for `--json`: one of them is null or empty.
pub(super) fn shape(grant: Option<&proto::Grant>) -> (Value, Value) {
    let grant = grant.cloned().unwrap_or_default();
    (crate::json::text(&grant.role), json!(grant.projects))
}

/// A duration, also in days: `90d`.
pub(super) fn days(text: &str) -> Result<Duration, String> {
    access::days(text).map(Duration::from_millis)
}

/// How long something is still valid: `89d`, `2h`, `expired`.
pub(super) fn left(millis: u64) -> String {
    access::left(millis)
}

#[cfg(test)]
mod tests {
    use super::{GrantArgs, Role, words};

    fn typed(role: Option<Role>, projects: &[&str]) -> GrantArgs {
        GrantArgs { role, projects: projects.iter().map(|p| (*p).to_owned()).collect() }
    }

    #[test]
    fn a_grant_is_for_everything_or_by_project() {
        let shown =
            |args: GrantArgs| args.needed().map(|g| words(&g.role, &g.projects)).map_err(|e| e.message);
        assert_eq!(shown(typed(Some(Role::Admin), &[])).as_deref(), Ok("admin"));
        assert_eq!(
            shown(typed(Some(Role::Deployer), &["shop", "blog=viewer"])).as_deref(),
            Ok("viewer in blog, deployer in shop")
        );
        assert_eq!(shown(typed(None, &["blog=viewer"])).as_deref(), Ok("viewer in blog"));
        for (args, why) in [
            (typed(None, &[]), "which role?"),
            (typed(None, &["shop"]), "which role?"),
            (typed(None, &["shop=king"]), "there is no role \"king\""),
            (typed(Some(Role::Viewer), &["shop", "shop=admin"]), "the project \"shop\" is named twice"),
            (typed(Some(Role::Viewer), &["My App"]), "project"),
        ] {
            let said = shown(args).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
    }
}
