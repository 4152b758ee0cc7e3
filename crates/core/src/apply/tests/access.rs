//! Tokens, people, codes and sessions.

use super::Cluster;
use crate::command::{Access, Command, Made, NewCode, NewToken, Outcome, Receipt, Rejection};
use crate::model::{
    Grant, Opaque, PersonId, Role, SESSION_IDLE, SESSION_LONGEST, Session, SessionId, TokenId,
};

const HOUR: u64 = 3_600_000;

pub(super) fn token(name: &str, grant: impl Into<Grant>, ttl: Option<u64>) -> Command {
    let (name, hash) = (name.to_owned(), format!("hash of {name}"));
    Command::CreateToken(NewToken { name, hash, grant: grant.into(), ttl })
}

pub(super) fn within(project: &str, role: Role) -> Grant {
    Grant::Projects([(project.to_owned(), role)].into())
}

fn code(hash: &str) -> NewCode {
    NewCode { hash: hash.to_owned(), ttl: HOUR }
}

pub(super) fn add(name: &str, grant: impl Into<Grant>) -> Command {
    let code = code(&format!("code of {name}"));
    Command::Access(Access::AddPerson { name: name.to_owned(), grant: grant.into(), code })
}

pub(super) fn redeem(code: &str, name: Option<&str>) -> Command {
    let (code, name) = (code.to_owned(), name.map(str::to_owned));
    Command::Access(Access::Redeem { code, name, password: Opaque("$argon2id$CANARY".to_owned()) })
}

fn disable(person: PersonId, disabled: bool) -> Command {
    Command::Access(Access::SetPerson { person, grant: None, disabled: Some(disabled), code: None })
}

fn demote(person: PersonId) -> Command {
    let grant = Some(Role::Viewer.into());
    Command::Access(Access::SetPerson { person, grant, disabled: None, code: None })
}

fn reset(person: PersonId) -> Command {
    let code = Some(code("another code"));
    Command::Access(Access::SetPerson { person, grant: None, disabled: None, code })
}

fn revoke(token: u64) -> Command {
    Command::Access(Access::RevokeToken { token: TokenId(token) })
}

fn remove(person: PersonId) -> Command {
    Command::Access(Access::RemovePerson { person })
}

impl Cluster {
    /// A person with a password.
    pub(super) fn person(&mut self, name: &str, grant: impl Into<Grant>) -> PersonId {
        let Made::Person(id) = self.ok(add(name, grant)) else { panic!("nobody was added") };
        self.ok(redeem(&format!("code of {name}"), None));
        id
    }

    fn try_sign_in(&mut self, person: PersonId) -> Receipt {
        let seen = self.state.people.persons[&person].password_at;
        let hash = format!("session at {}", self.state.index);
        self.write(Command::Access(Access::SignIn { person, seen, hash }))
    }

    fn sign_in(&mut self, person: PersonId) -> SessionId {
        let Ok(Made::Session(id)) = self.try_sign_in(person).made() else { panic!("not signed in") };
        id
    }

    fn sessions(&self) -> Vec<&Session> {
        self.state.people.sessions.values().collect()
    }
}

#[test]
fn a_name_is_one_persons_or_one_tokens() {
    let mut cluster = Cluster::new();
    cluster.ok(token("ci", Role::Deployer, None));
    cluster.ok(add("anna@example.com", Role::Viewer));
    for (command, why) in [
        (token("ci", Role::Admin, None), "a token named \"ci\" exists"),
        (add("ci", Role::Admin), "a token named \"ci\" exists"),
        (add("anna@example.com", Role::Admin), "a person named \"anna@example.com\" exists"),
        (add("planner", Role::Admin), "the cluster itself is called \"planner\""),
        (add("Anna", Role::Admin), "must be 1 to 254 lower-case letters"),
        (add("a from b", Role::Admin), "must be 1 to 254 lower-case letters"),
        (add("-a", Role::Admin), "begin with a letter or digit"),
        (add("b", Grant::Projects([].into())), "1 to 100 projects"),
        (add("b", within("My App", Role::Viewer)), "the project name \"My App\""),
        (token("b", Role::Viewer, Some(0)), "a time to live above 0"),
    ] {
        let said = cluster.refused(command);
        assert!(said.contains(why), "{said}");
    }
    // The name of an expired token is free, for one.
    cluster.ok(token("short", Role::Viewer, Some(HOUR)));
    cluster.refused(add("short", Role::Viewer));
    cluster.clock += HOUR;
    cluster.ok(add("short", Role::Deployer));
    assert_eq!(cluster.state.grant_of("short"), Some(&Grant::Everything(Role::Deployer)));
    cluster.refused(token("short", Role::Viewer, None));
}

#[test]
fn a_code_works_once_and_in_time() {
    let mut cluster = Cluster::new();
    let anna = cluster.person("anna", Role::Deployer);
    let person = &cluster.state.people.persons[&anna];
    assert!(person.password.is_some() && person.code.is_none());
    let why = cluster.refused(redeem("code of anna", None));
    assert!(why.contains("unknown or was used"), "{why}");

    cluster.ok(add("ben", Role::Viewer));
    let why = cluster.refused(redeem("code of ben", Some("anna")));
    assert!(why.contains("for a person of another name"), "{why}");
    cluster.clock += HOUR;
    let why = cluster.refused(redeem("code of ben", Some("ben")));
    assert!(why.contains("has expired"), "{why}");
    assert!(!format!("{:?}", cluster.state).contains("CANARY"), "no password is printed");
}

#[test]
fn the_setup_code_makes_one_admin() {
    let mut cluster = Cluster::new();
    cluster.ok(Command::Access(Access::SetupCode(code("first"))));
    cluster.ok(Command::Access(Access::SetupCode(code("second"))));
    cluster.refused(redeem("first", Some("anna")));
    let why = cluster.refused(redeem("second", None));
    assert!(why.contains("choose a name"), "{why}");
    // A name that cannot be taken does not use it up.
    cluster.refused(redeem("second", Some("admin")));
    cluster.ok(redeem("second", Some("anna")));
    assert_eq!(cluster.state.grant_of("anna"), Some(&Grant::Everything(Role::Admin)));
    assert_eq!(cluster.state.people.setup, None);
    cluster.refused(redeem("second", Some("ben")));
    cluster.ok(Command::Access(Access::SetupCode(code("third"))));
    cluster.clock += HOUR;
    cluster.refused(redeem("third", Some("ben")));
}

#[test]
fn the_last_admin_stays() {
    let mut cluster = Cluster::new();
    // One who has no password yet, one whose time ends and an admin of a project let nobody in.
    let Made::Person(anna) = cluster.ok(add("anna", Role::Admin)) else { panic!() };
    cluster.ok(token("brief", Role::Admin, Some(HOUR)));
    cluster.ok(token("part", within("shop", Role::Admin), None));
    let why = cluster.refused(revoke(1));
    assert!(why.contains("last admin") && why.contains("temps tokens create"), "{why}");
    assert_eq!(cluster.state.tokens.len(), 3);

    cluster.ok(redeem("code of anna", None));
    cluster.ok(revoke(1));
    let missing = cluster.write(revoke(1)).outcome;
    assert!(matches!(missing, Outcome::Rejected(Rejection::NotFound { .. })), "{missing:?}");
    for command in [disable(anna, true), demote(anna), reset(anna), remove(anna)] {
        let before = cluster.state.people.clone();
        let why = cluster.refused(command);
        assert!(why.contains("anna is the last admin"), "{why}");
        assert_eq!(cluster.state.people, before, "a refusal changes nothing");
    }
    let ben = cluster.person("ben", Role::Admin);
    cluster.ok(demote(anna));
    cluster.refused(remove(ben));
    cluster.ok(remove(anna));
}

#[test]
fn what_takes_the_password_ends_the_sessions() {
    let mut cluster = Cluster::new();
    let (anna, ben) = (cluster.person("anna", Role::Deployer), cluster.person("ben", Role::Viewer));
    let bens = cluster.sign_in(ben);
    for command in [disable(anna, true), reset(anna), redeem("another code", None)] {
        cluster.ok(disable(anna, false));
        if cluster.state.people.persons[&anna].password.is_some() {
            cluster.sign_in(anna);
            assert_eq!(cluster.sessions().len(), 2);
        }
        cluster.ok(command);
        assert_eq!(cluster.sessions().iter().map(|s| s.id).collect::<Vec<_>>(), [bens]);
    }
    cluster.sign_in(anna);
    assert!(matches!(cluster.write(disable(anna, false)).outcome, Outcome::NoChange(_)));
    assert_eq!(cluster.sessions().len(), 2, "nothing changed, so nothing ends");
    cluster.ok(remove(anna));
    assert_eq!(cluster.sessions().len(), 1);
    cluster.ok(Command::Access(Access::SignOut { session: bens }));
    assert!(cluster.sessions().is_empty());
}

#[test]
fn a_password_that_was_changed_meanwhile_lets_nobody_in() {
    let mut cluster = Cluster::new();
    let anna = cluster.person("anna", Role::Deployer);
    let seen = cluster.state.people.persons[&anna].password_at;
    cluster.ok(reset(anna));
    assert!(cluster.try_sign_in(anna).made().is_err(), "there is no password");
    cluster.ok(redeem("another code", None));
    let hash = "x".to_owned();
    let why = cluster.refused(Command::Access(Access::SignIn { person: anna, seen, hash }));
    assert!(why.contains("changed a moment ago"), "{why}");
    cluster.sign_in(anna);
    cluster.ok(disable(anna, true));
    assert!(cluster.try_sign_in(anna).made().is_err());
    assert!(cluster.refused(reset(anna)).contains("enable them first"));
}

#[test]
fn a_session_ends_idle_or_old_and_a_person_has_ten() {
    let mut cluster = Cluster::new();
    let anna = cluster.person("anna", Role::Deployer);
    let first = cluster.sign_in(anna);
    let keep = Command::Access(Access::KeepSession { session: first });
    let is_valid = |cluster: &Cluster| cluster.state.people.sessions[&first].is_valid(cluster.clock);
    let began = cluster.clock;
    while cluster.clock + SESSION_IDLE - 1 < began + SESSION_LONGEST {
        cluster.clock += SESSION_IDLE - 1;
        assert!(is_valid(&cluster));
        cluster.ok(keep.clone());
    }
    cluster.clock = began + SESSION_LONGEST;
    assert!(!is_valid(&cluster), "it is used, and too old");
    assert!(cluster.refused(keep).contains("has ended"));

    let idle = cluster.sign_in(anna);
    assert_eq!(cluster.sessions().len(), 1, "what has ended is forgotten");
    cluster.clock += SESSION_IDLE;
    assert!(!cluster.state.people.sessions[&idle].is_valid(cluster.clock));

    let of_all: Vec<_> = (0..11).map(|_| cluster.sign_in(anna)).collect();
    let left: Vec<_> = cluster.sessions().iter().map(|session| session.id).collect();
    assert_eq!(left, of_all[1..]);
}

#[test]
fn whoever_does_not_see_a_project_is_not_told_its_name() {
    let mut cluster = Cluster::new();
    let domain = |project: &str| Command::AddDomain {
        project: project.to_owned(),
        environment: "production".to_owned(),
        name: "www.shop.example".to_owned(),
    };
    cluster.ok(domain("hidden"));
    assert!(cluster.refused(domain("shop")).contains("\"hidden\""));
    // Entries of these tests are written by ann.
    cluster.ok(token("ann", within("shop", Role::Deployer), None));
    let why = cluster.refused(domain("shop"));
    assert!(why.contains("belongs to another project") && !why.contains("hidden"), "{why}");
}
