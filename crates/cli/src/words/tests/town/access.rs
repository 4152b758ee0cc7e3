//! What a town answers about tokens, people and who changed what.

use temps_core::audit;
use temps_core::model;
use temps_wire::proto::{
    AddPersonRequest, AuditEntry, CreateSetupCodeRequest, CreateTokenRequest, CreateTokenResponse, Grant,
    ListAuditRequest, ListAuditResponse, ListPeopleRequest, ListPeopleResponse, ListTokensRequest,
    ListTokensResponse, PeopleChanged, Person, PersonCode, RemovePersonRequest, RevokeTokenRequest,
    SetPersonRequest, Token,
};
use tonic::{Request, Response};

use super::{Answer, Node};

/// What was asked for.
#[derive(Default)]
pub(in super::super) struct Access {
    pub(in super::super) tokens: Vec<CreateTokenRequest>,
    pub(in super::super) revoked: Vec<String>,
    pub(in super::super) people: Vec<AddPersonRequest>,
    pub(in super::super) set: Vec<SetPersonRequest>,
    pub(in super::super) setup: Vec<CreateSetupCodeRequest>,
    pub(in super::super) audit: Vec<AuditEntry>,
    pub(in super::super) audited: Vec<ListAuditRequest>,
}

/// Three entries, chained as they have to be.
pub(in super::super) fn chain() -> Vec<AuditEntry> {
    let mut before = String::new();
    let mut entry = |index: u64, why: &str| {
        let outcome = match why {
            "" => model::AuditOutcome::Done,
            why => model::AuditOutcome::Refused { why: why.to_owned() },
        };
        let mut entry = model::AuditEntry {
            index,
            wall: 52_260_000 + index * 1_000,
            kind: model::AuditKind::Token,
            by: "ci".to_owned(),
            from: Some("192.0.2.7".to_owned()),
            operation: "deploy".to_owned(),
            project: Some("my-app".to_owned()),
            object: format!("my-app (production) #{index}"),
            outcome,
            hash: String::new(),
        };
        entry.hash = audit::hash(&before, &entry);
        before.clone_from(&entry.hash);
        let (outcome, why) = entry.outcome.words();
        AuditEntry {
            index,
            wall_ms: entry.wall,
            kind: "token".to_owned(),
            by: entry.by.clone(),
            from: "192.0.2.7".to_owned(),
            operation: entry.operation.clone(),
            project: "my-app".to_owned(),
            object: entry.object.clone(),
            outcome: outcome.to_owned(),
            why: why.to_owned(),
            hash: entry.hash.clone(),
        }
    };
    vec![entry(1, ""), entry(2, "there is no place"), entry(3, "")]
}

fn code(name: &str, ttl_ms: u64) -> PersonCode {
    PersonCode { name: name.to_owned(), code: "tempscode1.x.y".to_owned(), ttl_ms, no_change: false }
}

impl Node {
    pub(super) fn creates_token(&self, request: Request<CreateTokenRequest>) -> Answer<CreateTokenResponse> {
        self.change("create_token", &request)?.access.tokens.push(request.into_inner());
        Ok(Response::new(CreateTokenResponse { token: "temps1.x.y".to_owned() }))
    }

    pub(super) fn lists_tokens(&self, request: &Request<ListTokensRequest>) -> Answer<ListTokensResponse> {
        let town = self.enter(request)?;
        let shown = |(n, asked): (usize, &CreateTokenRequest)| Token {
            id: format!("t{}", n + 1),
            name: asked.name.clone(),
            grant: Some(Grant { role: asked.role.clone(), projects: asked.projects.clone() }),
            created_ms: 52_260_000,
            expires_in_ms: Some(asked.ttl_ms).filter(|ttl| *ttl > 0),
        };
        let tokens = town.access.tokens.iter().enumerate().map(shown).collect();
        Ok(Response::new(ListTokensResponse { tokens }))
    }

    pub(super) fn revokes_token(&self, request: Request<RevokeTokenRequest>) -> Answer<PeopleChanged> {
        self.change("revoke_token", &request)?.access.revoked.push(request.into_inner().token);
        Ok(Response::new(PeopleChanged { no_change: false }))
    }

    pub(super) fn adds_person(&self, request: Request<AddPersonRequest>) -> Answer<PersonCode> {
        let mut town = self.change("add_person", &request)?;
        let asked = request.into_inner();
        let code = code(&asked.name, asked.ttl_ms);
        town.access.people.push(asked);
        Ok(Response::new(code))
    }

    pub(super) fn lists_people(&self, request: &Request<ListPeopleRequest>) -> Answer<ListPeopleResponse> {
        let town = self.enter(request)?;
        let shown = |(n, asked): (usize, &AddPersonRequest)| Person {
            id: format!("u{}", n + 1),
            name: asked.name.clone(),
            grant: asked.grant.clone(),
            code_expires_in_ms: Some(asked.ttl_ms),
            created_ms: 52_260_000,
            ..Person::default()
        };
        let people = town.access.people.iter().enumerate().map(shown).collect();
        Ok(Response::new(ListPeopleResponse { people }))
    }

    pub(super) fn sets_person(&self, request: Request<SetPersonRequest>) -> Answer<PersonCode> {
        let mut town = self.change("set_person", &request)?;
        let asked = request.into_inner();
        let made = match asked.reset {
            true => code(&asked.person, asked.ttl_ms),
            false => {
                PersonCode { name: asked.person.clone(), no_change: town.no_change, ..PersonCode::default() }
            }
        };
        town.access.set.push(asked);
        Ok(Response::new(made))
    }

    pub(super) fn removes_person(&self, request: Request<RemovePersonRequest>) -> Answer<PeopleChanged> {
        let mut town = self.change("remove_person", &request)?;
        town.access.people.retain(|person| person.name != request.get_ref().person);
        Ok(Response::new(PeopleChanged { no_change: false }))
    }

    pub(super) fn makes_setup_code(&self, request: Request<CreateSetupCodeRequest>) -> Answer<PersonCode> {
        let mut town = self.change("create_setup_code", &request)?;
        town.access.setup.push(*request.get_ref());
        Ok(Response::new(code("", request.get_ref().ttl_ms)))
    }

    pub(super) fn lists_audit(&self, request: &Request<ListAuditRequest>) -> Answer<ListAuditResponse> {
        let mut town = self.enter(request)?;
        let asked = request.get_ref().clone();
        // Two at a time, so that whoever wants all has to ask again.
        let after = asked.after.unwrap_or_default();
        let entries = town.access.audit.iter().filter(|entry| entry.index > after).take(2).cloned().collect();
        town.access.audited.push(asked);
        Ok(Response::new(ListAuditResponse { entries, before: String::new(), forgotten: 0 }))
    }
}
