//! What a token or a person may do, as it is typed and shown.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use temps_core::text;
use temps_wire::proto;

use super::duration;
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
    if projects.is_empty() {
        return escape(role);
    }
    let each = projects.iter().map(|(project, role)| format!("{} in {}", escape(role), escape(project)));
    each.collect::<Vec<_>>().join(", ")
}

pub(super) fn of(grant: Option<&proto::Grant>) -> String {
    grant.map(|grant| words(&grant.role, &grant.projects)).unwrap_or_default()
}

/// The two fields for `--json`: one of them is null or empty.
pub(super) fn shape(grant: Option<&proto::Grant>) -> (Value, Value) {
    let grant = grant.cloned().unwrap_or_default();
    (crate::json::text(&grant.role), json!(grant.projects))
}

/// A duration, also in days: `90d`.
pub(super) fn days(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('d').map(str::parse::<u32>) {
        Some(Ok(days)) if days <= 3_650 => Ok(Duration::from_secs(u64::from(days) * 86_400)),
        Some(_) => Err("write a number of days up to 3650d, such as 90d".to_owned()),
        None => duration(text),
    }
}

/// How long something is still valid: `89d`, `2h`, `expired`.
pub(super) fn left(millis: u64) -> String {
    match millis {
        0 => "expired".to_owned(),
        millis if millis >= 2 * 86_400_000 => format!("{}d", millis / 86_400_000),
        millis => text::duration(millis),
    }
}

#[cfg(test)]
mod tests {
    use super::{GrantArgs, Role, days, left, words};

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

    #[test]
    fn times_are_told_in_days() {
        assert_eq!(days("90d").map(|time| time.as_secs()), Ok(7_776_000));
        assert_eq!(days("12h").map(|time| time.as_secs()), Ok(43_200));
        assert!(days("d").is_err() && days("4000d").is_err() && days("x").is_err());
        for (millis, text) in [(0, "expired"), (7_776_000_000, "90d"), (7_200_000, "2h")] {
            assert_eq!(left(millis), text);
        }
    }
}
