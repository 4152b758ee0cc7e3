//! Who may ask, and for what: tokens, people, codes and sessions.

use super::{Answer, Change, done, invalid, not_found, unchanged, validate};
use crate::command::{Access, Made, NewCode, NewToken, Outcome, Rejection};
use crate::model::{
    ClusterState, Code, Grant, Index, Opaque, Person, PersonId, Role, SESSION_LONGEST, Session, SessionId,
    Token, TokenId,
};

/// The most tokens, and the most people.
const TOKENS_MAX: usize = 1_000;
const PEOPLE_MAX: usize = 1_000;
/// The most projects of one grant.
const PROJECTS_MAX: usize = 100;
/// At how many places a person is signed in; at one more the session that was used longest ago ends.
const SESSIONS_MAX: usize = 10;
/// The longest hash of a secret, and of a password with its salt and settings, in bytes.
const HASH_MAX: usize = 128;
const PASSWORD_MAX: usize = 512;
/// The longest name of a person: that of an address for mail (RFC 5321).
const NAME_MAX: usize = 254;
/// What the cluster calls itself where nobody asked.
const RESERVED: [&str; 2] = ["founder", "planner"];

impl Change<'_> {
    pub(super) fn access(&mut self, access: &Access) -> Answer {
        match access {
            Access::RevokeToken { token } => self.revoke_token(*token),
            Access::AddPerson { name, grant, code } => self.add_person(name, grant, code),
            Access::SetPerson { person, grant, disabled, code } => {
                self.set_person(*person, grant.as_ref(), *disabled, code.as_ref())
            }
            Access::RemovePerson { person } => self.remove_person(*person),
            Access::SetupCode(code) => {
                self.state.people.setup = Some(self.code(code)?);
                done()
            }
            Access::Redeem { code, name, password } => self.redeem(code, name.as_deref(), password),
            Access::SignIn { person, seen, hash } => self.sign_in(*person, *seen, hash),
            Access::SignOut { session } => match self.state.people.sessions.remove(session) {
                Some(_) => done(),
                None => unchanged(),
            },
            Access::KeepSession { session } => self.keep_session(*session),
        }
    }

    pub(super) fn create_token(&mut self, new: &NewToken) -> Answer {
        let NewToken { name, hash, grant, ttl } = new;
        validate::name("token", name)?;
        check_grant(grant)?;
        check_hash(hash)?;
        if *ttl == Some(0) {
            return Err(invalid("a token needs a time to live above 0; leave it out for one without an end"));
        }
        let clock = self.state.clock;
        self.check_free(name)?;
        if self.state.tokens.len() >= TOKENS_MAX {
            return Err(invalid(format!("the cluster has {TOKENS_MAX} tokens already; revoke some first")));
        }
        self.forget_expired(name);
        let id = self.next_token();
        let token = Token {
            id,
            name: name.clone(),
            hash: hash.clone(),
            grant: grant.clone(),
            created: self.wall,
            expires_at: ttl.map(|ttl| clock.saturating_add(ttl)),
        };
        self.state.tokens.insert(id, token);
        Ok(Outcome::Done(Made::Token(id)))
    }

    fn revoke_token(&mut self, id: TokenId) -> Answer {
        let Some(token) = self.state.tokens.remove(&id) else {
            return Err(not_found(format!("token {id}")));
        };
        if has_admin(self.state) || !is_lasting_admin(&token) {
            return done();
        }
        let why = last_admin(&format!("the token {:?}", token.name), "revoked");
        self.state.tokens.insert(id, token);
        Err(why)
    }

    /// The name of a token that has expired is free, and given to one alone.
    fn forget_expired(&mut self, name: &str) {
        let clock = self.state.clock;
        self.state.tokens.retain(|_, token| token.name != name || token.is_valid(clock));
    }

    /// The name is free among people and tokens, so that what is told to be done by a name is done by one.
    fn check_free(&self, name: &str) -> Result<(), Rejection> {
        let conflict = |what: &str| {
            let why = format!("a {what} named {name:?} exists; choose another name");
            Err(Rejection::Conflict { why })
        };
        if RESERVED.contains(&name) {
            return Err(invalid(format!("the cluster itself is called {name:?}; choose another name")));
        }
        let clock = self.state.clock;
        if self.state.tokens.values().any(|token| token.name == name && token.is_valid(clock)) {
            return conflict("token");
        }
        if self.state.people.named(name).is_some() {
            return conflict("person");
        }
        Ok(())
    }

    fn code(&self, code: &NewCode) -> Result<Code, Rejection> {
        check_hash(&code.hash)?;
        if code.ttl == 0 {
            return Err(invalid("a code needs a time to live above 0"));
        }
        Ok(Code { hash: code.hash.clone(), expires_at: self.state.clock.saturating_add(code.ttl) })
    }

    fn add_person(&mut self, name: &str, grant: &Grant, code: &NewCode) -> Answer {
        let code = self.code(code)?;
        let id = self.new_person(name, grant)?;
        if let Some(person) = self.state.people.persons.get_mut(&id) {
            person.code = Some(code);
        }
        Ok(Outcome::Done(Made::Person(id)))
    }

    fn new_person(&mut self, name: &str, grant: &Grant) -> Result<PersonId, Rejection> {
        check_person(name)?;
        check_grant(grant)?;
        self.check_free(name)?;
        if self.state.people.persons.len() >= PEOPLE_MAX {
            return Err(invalid(format!("the cluster has {PEOPLE_MAX} people already; remove some first")));
        }
        self.forget_expired(name);
        let people = &mut self.state.people;
        people.last.0 += 1;
        let id = PersonId(people.last.0);
        let person = Person {
            id,
            name: name.to_owned(),
            password: None,
            password_at: 0,
            grant: grant.clone(),
            disabled: false,
            code: None,
            created: self.wall,
        };
        people.persons.insert(id, person);
        Ok(id)
    }

    fn set_person(
        &mut self,
        id: PersonId,
        grant: Option<&Grant>,
        disabled: Option<bool>,
        code: Option<&NewCode>,
    ) -> Answer {
        let before = self.person(id)?.clone();
        let mut person = before.clone();
        if let Some(grant) = grant {
            check_grant(grant)?;
            person.grant = grant.clone();
        }
        person.disabled = disabled.unwrap_or(person.disabled);
        if let Some(code) = code {
            if person.disabled {
                return Err(invalid(format!("{} is disabled; enable them first", person.name)));
            }
            person.code = Some(self.code(code)?);
            person.password = None;
        }
        if person == before {
            return unchanged();
        }
        let ends = person.disabled || person.password != before.password;
        self.state.people.persons.insert(id, person);
        if !has_admin(self.state) && is_acting_admin(&before) {
            let why = last_admin(&before.name, "changed so");
            self.state.people.persons.insert(id, before);
            return Err(why);
        }
        if ends {
            self.end_sessions(id);
        }
        Ok(Outcome::Done(Made::Person(id)))
    }

    fn remove_person(&mut self, id: PersonId) -> Answer {
        let person = self.person(id)?.clone();
        self.state.people.persons.remove(&id);
        if !has_admin(self.state) && is_acting_admin(&person) {
            let why = last_admin(&person.name, "removed");
            self.state.people.persons.insert(id, person);
            return Err(why);
        }
        self.end_sessions(id);
        done()
    }

    fn redeem(&mut self, code: &str, name: Option<&str>, password: &Opaque) -> Answer {
        if password.0.is_empty() || password.0.len() > PASSWORD_MAX {
            return Err(invalid("this is no hash of a password"));
        }
        let clock = self.state.clock;
        let in_time = |code: &Code| match clock < code.expires_at {
            true => Ok(()),
            false => Err(denied("the code has expired; ask an admin for another one")),
        };
        let people = &self.state.people;
        let id = if let Some(setup) = people.setup.as_ref().filter(|setup| setup.hash == code) {
            in_time(setup)?;
            let name = name.ok_or_else(|| invalid("choose a name for the admin"))?;
            let id = self.new_person(name, &Grant::Everything(Role::Admin))?;
            self.state.people.setup = None;
            id
        } else {
            let has_it = |person: &&Person| person.code.as_ref().is_some_and(|known| known.hash == code);
            let person = people.persons.values().find(has_it);
            let person = person.ok_or_else(|| {
                denied("the code is unknown or was used already; ask an admin for another one")
            })?;
            person.code.as_ref().map_or(Ok(()), in_time)?;
            if person.disabled {
                return Err(denied("this person is disabled; ask an admin"));
            }
            if name.is_some_and(|name| name != person.name) {
                return Err(denied("the code is for a person of another name"));
            }
            person.id
        };
        self.end_sessions(id);
        let index = self.index;
        if let Some(person) = self.state.people.persons.get_mut(&id) {
            person.code = None;
            person.password = Some(password.clone());
            person.password_at = index;
        }
        Ok(Outcome::Done(Made::Person(id)))
    }

    fn sign_in(&mut self, id: PersonId, seen: Index, hash: &str) -> Answer {
        check_hash(hash)?;
        let person = self.person(id)?;
        if person.disabled {
            return Err(denied("this person is disabled; ask an admin"));
        }
        if person.password.is_none() || person.password_at != seen {
            return Err(denied("the password was changed a moment ago; sign in again"));
        }
        let clock = self.state.clock;
        let people = &mut self.state.people;
        people.sessions.retain(|_, session| session.is_valid(clock));
        let own = people.sessions.values().filter(|s| s.person == id);
        if own.clone().count() >= SESSIONS_MAX
            && let Some(oldest) = own.min_by_key(|s| (s.used_at, s.id)).map(|s| s.id)
        {
            people.sessions.remove(&oldest);
        }
        people.last.1 += 1;
        let session = Session {
            id: SessionId(people.last.1),
            person: id,
            hash: hash.to_owned(),
            expires_at: clock.saturating_add(SESSION_LONGEST),
            used_at: clock,
        };
        let made = Made::Session(session.id);
        people.sessions.insert(session.id, session);
        Ok(Outcome::Done(made))
    }

    fn keep_session(&mut self, id: SessionId) -> Answer {
        let clock = self.state.clock;
        let found = self.state.people.sessions.get_mut(&id).filter(|session| session.is_valid(clock));
        let session = found.ok_or_else(|| denied("the session has ended; sign in again"))?;
        if session.used_at == clock {
            return unchanged();
        }
        session.used_at = clock;
        done()
    }

    fn end_sessions(&mut self, of: PersonId) {
        self.state.people.sessions.retain(|_, session| session.person != of);
    }

    fn person(&self, id: PersonId) -> Result<&Person, Rejection> {
        self.state.people.persons.get(&id).ok_or_else(|| not_found(format!("person {id}")))
    }
}

/// Whether somebody is left who can let others in, and whose right to that has no end.
fn has_admin(state: &ClusterState) -> bool {
    state.tokens.values().any(is_lasting_admin) || state.people.persons.values().any(is_acting_admin)
}

fn is_lasting_admin(token: &Token) -> bool {
    token.grant.everywhere() == Some(Role::Admin) && token.expires_at.is_none()
}

fn is_acting_admin(person: &Person) -> bool {
    person.grant.everywhere() == Some(Role::Admin) && !person.disabled && person.password.is_some()
}

fn last_admin(who: &str, what: &str) -> Rejection {
    Rejection::Conflict {
        why: format!(
            "{who} is the last admin without an end, so they cannot be {what}: nobody could let anybody in; first create another with `temps tokens create NAME --role admin`, or have an admin set a password"
        ),
    }
}

fn check_grant(grant: &Grant) -> Result<(), Rejection> {
    let Grant::Projects(projects) = grant else { return Ok(()) };
    if projects.is_empty() || projects.len() > PROJECTS_MAX {
        return Err(invalid(format!("a role by project is for 1 to {PROJECTS_MAX} projects")));
    }
    projects.keys().try_for_each(|project| validate::name("project", project))
}

fn check_hash(hash: &str) -> Result<(), Rejection> {
    if hash.is_empty() || hash.len() > HASH_MAX {
        return Err(invalid("this is no hash of a secret"));
    }
    Ok(())
}

fn check_person(name: &str) -> Result<(), Rejection> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-+@".contains(&b);
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if first && name.len() <= NAME_MAX && name.bytes().all(inner) {
        return Ok(());
    }
    Err(invalid(format!(
        "the name {name:?} must be 1 to {NAME_MAX} lower-case letters, digits and . _ - + @, and begin with a letter or digit"
    )))
}

fn denied(why: &str) -> Rejection {
    Rejection::Denied { why: why.to_owned() }
}
