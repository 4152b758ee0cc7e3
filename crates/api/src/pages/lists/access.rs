//! Who may do what: people who sign in, and tokens of programs.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect};
use temps_core::access::{Standing, days, left};
use temps_wire::proto::{
    AddPersonRequest, CreateTokenRequest, Grant, ListPeopleRequest, ListTokensRequest, Person, PersonCode,
    RemovePersonRequest, RevokeTokenRequest, SetPersonRequest, Token,
};
use temps_wire::told;
use tonic::Status;

use super::super::frame::Frame;
use super::super::visitor::{Fields, Posted, Visitor};
use super::super::{Page, show, words};
use super::{Came, Once, SAME, SO_ALREADY, back, nothing};
use crate::desk::Desk;
use crate::operations::Operations;

const AT: &str = "/access";
const CHANGED: &str = "changed";
const ROLES: [&str; 3] = ["viewer", "deployer", "admin"];

#[derive(Template)]
#[template(path = "access.html")]
struct Access {
    frame: Frame,
    /// What came of a form.
    notice: String,
    people: Vec<Person>,
    tokens: Vec<Token>,
}

/// A grant as it is typed.
struct Typed {
    role: String,
    /// `shop=deployer, blog=viewer`; empty for everything.
    projects: String,
}

impl Typed {
    fn of(grant: Option<&Grant>) -> Self {
        let Grant { role, projects } = grant.cloned().unwrap_or_default();
        let each: Vec<_> = projects.iter().map(|(project, role)| format!("{project}={role}")).collect();
        Self { role, projects: each.join(", ") }
    }
}

/// Asked with a quorum alone, as who may see it may have changed elsewhere.
pub(in crate::pages) async fn access(
    State(desk): State<Desk>,
    visitor: Visitor,
    Query(came): Query<Came>,
) -> Page {
    let caller = || visitor.caller.clone();
    let people = Operations::list_people(&desk, caller(), ListPeopleRequest {}).await?.people;
    let tokens = Operations::list_tokens(&desk, caller(), ListTokensRequest {}).await?.tokens;
    let known = people.iter().any(|person| person.name == came.of);
    let notice = match (came.came.as_str(), known) {
        (SAME, true) => format!("{} is so already.", came.of),
        (SAME, false) => SO_ALREADY.to_owned(),
        (CHANGED, true) => format!("{} is changed.", came.of),
        (_, _) => String::new(),
    };
    show(&Access { frame: Frame::new(&visitor, AT).await, notice, people, tokens })
}

pub(in crate::pages) async fn change_access(
    State(desk): State<Desk>,
    Path(action): Path<String>,
    posted: Posted,
) -> Page {
    let Posted { visitor, fields } = posted;
    let (caller, name) = (visitor.caller.clone(), fields.get("name").to_owned());
    let (what, secret) = match action.as_str() {
        "add-person" => {
            let (grant, ttl_ms) = (grant(&fields)?, life("code", fields.get("ttl"))?);
            let allows = told::grant(Some(&grant));
            let asked = AddPersonRequest { name, grant: Some(grant), ttl_ms };
            let made = Operations::add_person(&desk, caller, asked).await?;
            let what = format!("{} ({allows}) sets a password with this code", made.name);
            within(what, made)
        }
        "grant-person" | "set-person" => {
            let grant = if action == "grant-person" { Some(grant(&fields)?) } else { None };
            let disabled =
                if fields.is_set("disable") { Some(true) } else { fields.is_set("enable").then_some(false) };
            let reset = fields.is_set("reset");
            let asked = SetPersonRequest { person: name, grant, disabled, reset, ttl_ms: 0 };
            let made = Operations::set_person(&desk, caller, asked).await?;
            if !reset {
                return back(AT, if made.no_change { SAME } else { CHANGED }, &made.name);
            }
            within(format!("{} sets another password with this code", made.name), made)
        }
        "remove-person" => {
            Operations::remove_person(&desk, caller, RemovePersonRequest { person: name }).await?;
            return Ok(Redirect::to(AT).into_response());
        }
        "create-token" => {
            let (grant, ttl_ms) = (grant(&fields)?, life("token", fields.get("expires"))?);
            let until = if ttl_ms == 0 { String::new() } else { format!(" for {}", left(ttl_ms)) };
            let what = format!("Token of {name} ({}){until}", told::grant(Some(&grant)));
            let Grant { role, projects } = grant;
            let asked = CreateTokenRequest { name, role, projects, ttl_ms };
            (what, Operations::create_token(&desk, caller, asked).await?.token)
        }
        "revoke-token" => {
            Operations::revoke_token(&desk, caller, RevokeTokenRequest { token: name }).await?;
            return Ok(Redirect::to(AT).into_response());
        }
        other => return nothing(other),
    };
    let frame = Frame::new(&visitor, AT).await;
    show(&Once { frame, what: &what, secret: &secret, back: AT })
}

/// For how long a code is valid, and the code.
fn within(what: String, made: PersonCode) -> (String, String) {
    (format!("{what} within {}", left(made.ttl_ms)), made.code)
}

/// For how long something is valid, such as `90d` or `12h`; 0 where nothing was typed.
fn life(what: &str, typed: &str) -> Result<u64, Status> {
    let why = match typed {
        "" => return Ok(0),
        typed => match days(typed) {
            Ok(0) => format!("a {what} that is valid for no time opens nothing; write for example 90d"),
            Ok(millis) => return Ok(millis),
            Err(why) => why,
        },
    };
    Err(Status::invalid_argument(why))
}

/// A role for everything, or for the projects that are named, each with a role of its own if need be.
fn grant(fields: &Fields) -> Result<Grant, Status> {
    let (role, text) = (fields.get("role"), fields.get("projects"));
    if text.is_empty() {
        return Ok(Grant { role: role.to_owned(), projects: BTreeMap::new() });
    }
    let wrong = |why: String| Err(Status::invalid_argument(why));
    let mut projects = BTreeMap::new();
    for typed in fields.many("projects") {
        let (name, role) = typed.split_once('=').unwrap_or((typed.as_str(), role));
        if name.is_empty() {
            return wrong(format!(
                "{typed:?} names no project; write for example shop=deployer, blog=viewer"
            ));
        }
        if projects.insert(name.to_owned(), role.to_owned()).is_some() {
            return wrong(format!("the project {name:?} is named twice"));
        }
    }
    if projects.is_empty() {
        return wrong(format!("{text:?} names no project; leave it empty for all"));
    }
    Ok(Grant { role: String::new(), projects })
}

fn tone(standing: &Standing) -> &'static str {
    match standing {
        Standing::Active => "good",
        Standing::HasCode(_) => "busy",
        Standing::Disabled | Standing::CodeExpired | Standing::NoPassword => "bad",
    }
}

/// Until when a token is valid.
fn ends(token: &Token) -> String {
    token.expires_in_ms.map_or_else(|| "never".to_owned(), left)
}
