//! Tokens, people, and the codes with which they set a password.

use std::collections::BTreeMap;
use std::time::Duration;

use temps_core::command::{Access, Command, NewCode, NewToken, Outcome};
use temps_core::model::{ClusterState, Code, Grant, Millis, PersonId, TokenId};
use temps_wire::proto::{
    self, AddPersonRequest, CreateSetupCodeRequest, CreateTokenRequest, CreateTokenResponse,
    ListPeopleRequest, ListPeopleResponse, ListTokensRequest, ListTokensResponse, PeopleChanged, PersonCode,
    RemovePersonRequest, RevokeTokenRequest, SetPersonRequest,
};
use temps_wire::token::{ApiToken, OnceCode};
use tonic::Status;

use crate::caller::{Caller, parse_role};
use crate::desk::{Answer, Desk};
use crate::limits;
use crate::refusal::refused;

/// How long a code for a person is valid unless asked otherwise, and the setup code.
const CODE_TTL: Duration = Duration::from_secs(24 * 60 * 60);
const SETUP_TTL: Duration = Duration::from_secs(60 * 60);
/// How long a code can be valid.
const CODE_TTL_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How long a token can be valid that is to expire: ten years.
const TOKEN_TTL_MAX: Millis = 10 * 365 * 24 * 60 * 60 * 1_000;

pub(crate) async fn create_token(
    desk: &Desk,
    caller: Caller,
    request: CreateTokenRequest,
) -> Answer<CreateTokenResponse> {
    let CreateTokenRequest { name, role, projects, ttl_ms } = request;
    limits::text("the token name", &name)?;
    let grant = parse_grant(proto::Grant { role, projects })?;
    if ttl_ms > TOKEN_TTL_MAX {
        return Err(Status::invalid_argument(
            "a token that expires is valid for at most ten years; leave the time out for one without an end",
        ));
    }
    let token = desk.secret(&caller, ApiToken::random, ApiToken::derived)?;
    let ttl = Some(ttl_ms).filter(|ttl| *ttl > 0);
    let command = Command::CreateToken(NewToken { name, hash: token.hash(), grant, ttl });
    desk.propose(&caller, command).await?;
    Ok(CreateTokenResponse { token: token.reveal() })
}

pub(crate) async fn list_tokens(desk: &Desk, _: Caller, _: ListTokensRequest) -> Answer<ListTokensResponse> {
    let state = desk.fresh().await?;
    let now = desk.ledger.now().max(state.clock);
    let tokens = state.tokens.values().map(|token| proto::Token {
        id: token.id.to_string(),
        name: token.name.clone(),
        grant: Some(grant(&token.grant)),
        created_ms: token.created,
        expires_in_ms: token.expires_at.map(|end| end.saturating_sub(now)),
    });
    Ok(ListTokensResponse { tokens: tokens.collect() })
}

pub(crate) async fn revoke_token(
    desk: &Desk,
    caller: Caller,
    request: RevokeTokenRequest,
) -> Answer<PeopleChanged> {
    let wish = request.token;
    limits::text("the token", &wish)?;
    let state = desk.fresh().await?;
    if let Some(answered) = answered(&state, &caller) {
        return answered;
    }
    let named = state.tokens.values().find(|token| token.name == wish).map(|token| token.id);
    let numbered = || number(&wish, 't').map(TokenId).filter(|id| state.tokens.contains_key(id));
    let token = named.or_else(numbered);
    let token = token.ok_or_else(|| Status::not_found(format!("there is no token {wish:?}")))?;
    let no_change = desk.change(&caller, Command::Access(Access::RevokeToken { token })).await?;
    Ok(PeopleChanged { no_change })
}

pub(crate) async fn add_person(desk: &Desk, caller: Caller, request: AddPersonRequest) -> Answer<PersonCode> {
    let AddPersonRequest { name, grant, ttl_ms } = request;
    let name = login(&name)?;
    let grant = parse_grant(grant.unwrap_or_default())?;
    let (code, new) = code(desk, &caller, ttl_ms, CODE_TTL)?;
    let ttl_ms = new.ttl;
    let command = Command::Access(Access::AddPerson { name: name.clone(), grant, code: new });
    let no_change = desk.change(&caller, command).await?;
    Ok(PersonCode { name, code: code.reveal(), ttl_ms, no_change })
}

pub(crate) async fn list_people(desk: &Desk, _: Caller, _: ListPeopleRequest) -> Answer<ListPeopleResponse> {
    let state = desk.fresh().await?;
    let now = desk.ledger.now().max(state.clock);
    let left = |code: &Code| code.expires_at.saturating_sub(now);
    let sessions = |id: PersonId| {
        state.people.sessions.values().filter(|session| session.person == id && session.is_valid(now)).count()
    };
    let people = state.people.persons.values().map(|person| proto::Person {
        id: person.id.to_string(),
        name: person.name.clone(),
        grant: Some(grant(&person.grant)),
        disabled: person.disabled,
        has_password: person.password.is_some(),
        code_expires_in_ms: person.code.as_ref().map(left),
        sessions: u32::try_from(sessions(person.id)).unwrap_or(u32::MAX),
        created_ms: person.created,
    });
    Ok(ListPeopleResponse { people: people.collect() })
}

pub(crate) async fn set_person(desk: &Desk, caller: Caller, request: SetPersonRequest) -> Answer<PersonCode> {
    let SetPersonRequest { person, grant, disabled, reset, ttl_ms } = request;
    let (person, name) = someone(&*desk.fresh().await?, &person)?;
    let grant = grant.map(parse_grant).transpose()?;
    let new = if reset { Some(code(desk, &caller, ttl_ms, CODE_TTL)?) } else { None };
    let (secret, code) = new.unzip();
    let ttl_ms = code.as_ref().map_or(0, |code| code.ttl);
    let command = Command::Access(Access::SetPerson { person, grant, disabled, code });
    let no_change = desk.change(&caller, command).await?;
    let code = secret.map(|code| code.reveal()).unwrap_or_default();
    Ok(PersonCode { name, code, ttl_ms, no_change })
}

pub(crate) async fn remove_person(
    desk: &Desk,
    caller: Caller,
    request: RemovePersonRequest,
) -> Answer<PeopleChanged> {
    let state = desk.fresh().await?;
    if let Some(answered) = answered(&state, &caller) {
        return answered;
    }
    let (person, _) = someone(&state, &request.person)?;
    let no_change = desk.change(&caller, Command::Access(Access::RemovePerson { person })).await?;
    Ok(PeopleChanged { no_change })
}

pub(crate) async fn create_setup_code(
    desk: &Desk,
    caller: Caller,
    request: CreateSetupCodeRequest,
) -> Answer<PersonCode> {
    let (code, new) = code(desk, &caller, request.ttl_ms, SETUP_TTL)?;
    let ttl_ms = new.ttl;
    desk.propose(&caller, Command::Access(Access::SetupCode(new))).await?;
    Ok(PersonCode { name: String::new(), code: code.reveal(), ttl_ms, no_change: false })
}

/// What was answered to the same request before: what it took away is not found a second time.
fn answered(state: &ClusterState, caller: &Caller) -> Option<Answer<PeopleChanged>> {
    let receipt = state.answered.get(&caller.key()?)?;
    let no_change = matches!(receipt.outcome, Outcome::NoChange(_));
    Some(receipt.made().map(|_| PeopleChanged { no_change }).map_err(|why| refused(&why)))
}

/// A new code, and what the log keeps of it.
fn code(desk: &Desk, caller: &Caller, ttl_ms: Millis, usual: Duration) -> Answer<(OnceCode, NewCode)> {
    let ttl = if ttl_ms == 0 { usual } else { Duration::from_millis(ttl_ms) };
    if ttl > CODE_TTL_MAX {
        return Err(Status::invalid_argument("a code is valid for at most 30 days"));
    }
    let code = desk.secret(caller, OnceCode::random, OnceCode::derived)?;
    let ttl = Millis::try_from(ttl.as_millis()).unwrap_or(Millis::MAX);
    let new = NewCode { hash: code.hash(), ttl };
    Ok((code, new))
}

/// A name as it is signed in with: capitals make no difference.
pub(crate) fn login(name: &str) -> Answer<String> {
    limits::text("the name", name)?;
    Ok(name.trim().to_lowercase())
}

fn someone(state: &ClusterState, wish: &str) -> Answer<(PersonId, String)> {
    let name = login(wish)?;
    let people = &state.people;
    let numbered = || number(&name, 'u').and_then(|id| people.persons.get(&PersonId(id)));
    let found = people.named(&name).or_else(numbered);
    found
        .map(|person| (person.id, person.name.clone()))
        .ok_or_else(|| Status::not_found(format!("there is nobody called {wish:?}")))
}

/// The number of `t3`.
fn number(text: &str, prefix: char) -> Option<u64> {
    text.strip_prefix(prefix)?.parse().ok()
}

/// A grant in the words of the API.
pub(crate) fn grant(grant: &Grant) -> proto::Grant {
    match grant {
        Grant::Everything(role) => proto::Grant { role: role.word().to_owned(), projects: BTreeMap::new() },
        Grant::Projects(projects) => proto::Grant {
            role: String::new(),
            projects: projects.iter().map(|(name, role)| (name.clone(), role.word().to_owned())).collect(),
        },
    }
}

fn parse_grant(given: proto::Grant) -> Answer<Grant> {
    let proto::Grant { role, projects } = given;
    limits::names("project name", projects.keys())?;
    match (role.as_str(), projects.is_empty()) {
        (role, true) => parse_role(role).map(Grant::Everything),
        ("", false) => {
            let roles = projects.into_iter().map(|(project, role)| Ok((project, parse_role(&role)?)));
            roles.collect::<Answer<BTreeMap<_, _>>>().map(Grant::Projects)
        }
        (_, false) => {
            Err(Status::invalid_argument("a role is for everything, or there are roles by project"))
        }
    }
}
