//! People who sign in with a password.

use std::time::Duration;

use serde_json::{Value, json};
use temps_core::access::Standing;
use temps_wire::client::Api;
use temps_wire::proto::{
    AddPersonRequest, CreateSetupCodeRequest, ListPeopleRequest, Person, PersonCode, RemovePersonRequest,
    SetPersonRequest,
};
use temps_wire::told;

use super::Desk;
use super::grant::{self, GrantArgs, days, left};
use crate::exit::{Code, Failure};
use crate::json::{text, time};
use crate::screen::{Table, escape};

/// Words behind `people`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum People {
    /// Add a person; prints the code with which they set a password, once
    #[command(after_help = "With --project they see and touch these projects alone.\n\n\
        Examples:\n  temps people add anna@example.com --role deployer --project my-app\n  temps people add ben --project shop=admin --project blog=viewer")]
    Add {
        /// Their name: a login or an address for mail; shown with everything that they do
        name: String,
        #[command(flatten)]
        grant: GrantArgs,
        /// How long the code is valid
        #[arg(long, default_value = "24h", value_name = "DURATION", value_parser = days)]
        ttl: Duration,
    },
    /// List people
    #[command(visible_alias = "ls")]
    List,
    /// Change what a person may do, or have them set another password
    #[command(
        after_help = "What is not named stays as it is. Disabling somebody, and taking their password, ends their sessions. The last \
        admin is refused: create another first.\n\n\
        Examples:\n  temps people set anna@example.com --role viewer\n  temps people set ben --disable\n  temps people set ben --reset-password"
    )]
    Set {
        /// Their name, or their number such as u3
        #[arg(value_name = "PERSON")]
        name: String,
        #[command(flatten)]
        grant: GrantArgs,
        /// They may do nothing from now on
        #[arg(long, conflicts_with_all = ["enable", "reset_password"])]
        disable: bool,
        /// They may again do what they might
        #[arg(long)]
        enable: bool,
        /// Take their password; prints the code with which they set another one
        #[arg(long)]
        reset_password: bool,
        /// How long the code is valid
        #[arg(long, default_value = "24h", value_name = "DURATION", value_parser = days)]
        ttl: Duration,
    },
    /// Remove a person, with their sessions
    #[command(visible_alias = "remove", after_help = "Example:\n  temps people rm anna@example.com")]
    Rm {
        /// Their name, or their number such as u3
        #[arg(value_name = "PERSON")]
        name: String,
    },
}

pub(super) async fn run(desk: &mut Desk, word: People) -> Result<Code, Failure> {
    match word {
        People::Add { name, grant, ttl } => add(desk, name, &grant, ttl).await,
        People::List => list(desk).await,
        People::Set { name, grant, disable, enable, reset_password, ttl } => {
            let request = SetPersonRequest {
                person: name,
                grant: grant.if_any()?,
                disabled: (disable || enable).then_some(disable),
                reset: reset_password,
                ttl_ms: millis(ttl)?,
            };
            set(desk, request).await
        }
        People::Rm { name } => remove(desk, name).await,
    }
}

fn millis(ttl: Duration) -> Result<u64, Failure> {
    match u64::try_from(ttl.as_millis()) {
        Ok(0) => Err(Failure::usage("a code that is valid for no time opens nothing")
            .help("write for example --ttl 24h")),
        Ok(millis) => Ok(millis),
        Err(why) => Err(Failure::usage(why)),
    }
}

async fn add(desk: &mut Desk, name: String, grant: &GrantArgs, ttl: Duration) -> Result<Code, Failure> {
    let grant = grant.needed()?;
    let request = AddPersonRequest { name, grant: Some(grant.clone()), ttl_ms: millis(ttl)? };
    let call = |mut api: Api| {
        let request = request.clone();
        async move { api.add_person(request).await }
    };
    let added = desk.client()?.call(call).await?;
    if desk.screen.is_json() {
        let (role, projects) = grant::shape(Some(&grant));
        let value = json!({
            "person": added.name, "role": role, "projects": projects, "code": added.code,
            "code_expires_in_ms": added.ttl_ms,
        });
        desk.screen.object(&value)?;
    } else {
        let allows = grant::of(Some(&grant));
        show_code(
            desk,
            &added,
            &format!("{} ({allows}) sets a password with this code", escape(&added.name)),
        )?;
    }
    Ok(Code::Live)
}

fn show_code(desk: &mut Desk, made: &PersonCode, what: &str) -> Result<(), Failure> {
    desk.screen.note(&format!("{what} within {}; it works once and is shown only now.", left(made.ttl_ms)));
    desk.screen.say(&escape(&made.code))?;
    Ok(())
}

async fn list(desk: &mut Desk) -> Result<Code, Failure> {
    let call = |mut api: Api| async move { api.list_people(ListPeopleRequest {}).await };
    let people = desk.client()?.call(call).await?.people;
    if desk.screen.is_json() {
        desk.screen.object(&json!({ "people": people.iter().map(shape).collect::<Vec<_>>() }))?;
        return Ok(Code::Live);
    }
    if people.is_empty() {
        desk.screen
            .note("nobody yet; add somebody with `temps people add`, or see `temps cluster setup-code`");
        return Ok(Code::Live);
    }
    let mut table = Table::new(["NAME", "ID", "ALLOWS", "STATE", "SESSIONS"]);
    for person in &people {
        table.row([
            escape(&person.name),
            escape(&person.id),
            grant::of(person.grant.as_ref()),
            state(person),
            person.sessions.to_string(),
        ]);
    }
    desk.screen.say(&table.text())?;
    Ok(Code::Live)
}

/// What keeps somebody from signing in, where something does.
fn state(person: &Person) -> String {
    let standing = told::standing(person);
    match standing {
        Standing::CodeExpired | Standing::NoPassword => {
            format!("{}; see `temps people set --reset-password`", standing.text())
        }
        Standing::Disabled | Standing::Active | Standing::HasCode(_) => standing.text(),
    }
}

fn shape(person: &Person) -> Value {
    let (role, projects) = grant::shape(person.grant.as_ref());
    json!({
        "id": person.id,
        "name": person.name,
        "role": role,
        "projects": projects,
        "disabled": person.disabled,
        "has_password": person.has_password,
        "code_expires_in_ms": person.code_expires_in_ms,
        "sessions": person.sessions,
        "created_at": time(Some(person.created_ms)),
    })
}

async fn set(desk: &mut Desk, request: SetPersonRequest) -> Result<Code, Failure> {
    if request.grant.is_none() && request.disabled.is_none() && !request.reset {
        return Err(Failure::usage("nothing to change")
            .help("name --role, --project, --disable, --enable or --reset-password"));
    }
    let call = |mut api: Api| {
        let request = request.clone();
        async move { api.set_person(request).await }
    };
    let changed = desk.client()?.call(call).await?;
    let name = escape(&changed.name);
    if desk.screen.is_json() {
        let value = json!({
            "person": changed.name, "no_change": changed.no_change, "code": text(&changed.code),
            "code_expires_in_ms": Some(changed.ttl_ms).filter(|ttl| *ttl > 0),
        });
        desk.screen.object(&value)?;
    } else if request.reset {
        show_code(desk, &changed, &format!("{name} sets another password with this code"))?;
    } else if changed.no_change {
        desk.screen.say(&format!("{name} is so already."))?;
    } else {
        desk.screen.say(&format!("{name} is changed."))?;
    }
    Ok(Code::Live)
}

async fn remove(desk: &mut Desk, name: String) -> Result<Code, Failure> {
    let request = RemovePersonRequest { person: name };
    let call = |mut api: Api| {
        let request = request.clone();
        async move { api.remove_person(request).await }
    };
    desk.client()?.call(call).await?;
    if desk.screen.is_json() {
        desk.screen.object(&json!({ "person": request.person, "removed": true }))?;
    } else {
        desk.screen.say(&format!("{} is removed, and signed out everywhere.", escape(&request.person)))?;
    }
    Ok(Code::Live)
}

/// `temps cluster setup-code`.
pub(super) async fn setup_code(desk: &mut Desk, ttl: Duration) -> Result<Code, Failure> {
    let request = CreateSetupCodeRequest { ttl_ms: millis(ttl)? };
    let made = desk.client()?.call(|mut api| async move { api.create_setup_code(request).await }).await?;
    if desk.screen.is_json() {
        desk.screen.object(&json!({ "code": made.code, "expires_in_ms": made.ttl_ms }))?;
    } else {
        show_code(desk, &made, "Whoever has this code becomes an admin")?;
    }
    Ok(Code::Live)
}

#[cfg(test)]
mod tests {
    use temps_wire::proto::Person;

    use super::state;

    #[test]
    fn it_is_told_what_keeps_somebody_out() {
        let person = |disabled, code_expires_in_ms, has_password| Person {
            disabled,
            code_expires_in_ms,
            has_password,
            ..Person::default()
        };
        for (person, told) in [
            (person(true, None, true), "disabled"),
            (person(false, None, true), "active"),
            (person(false, Some(7_200_000), false), "sets a password within 2h"),
            (person(false, Some(0), false), "code expired; see `temps people set --reset-password`"),
        ] {
            assert_eq!(state(&person), told);
        }
    }
}
