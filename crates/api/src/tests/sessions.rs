//! People who sign in with a password.

use std::net::IpAddr;

use temps_core::command::{Access, Command, Made, NewCode};
use temps_core::model::{PersonId, Role};
use temps_ledger::Ledger;
use temps_wire::proto::{CreateProjectRequest, WhoAmIRequest};
use temps_wire::token::{OnceCode, SessionSecret};
use tonic::Code;

use super::cluster::{Cluster, within};
use crate::desk::Desk;
use crate::operations::Operations;
use crate::sessions::{redeem, session, sign_in, sign_out};

const PASSWORD: &str = "correct horse battery";

fn from() -> Option<IpAddr> {
    Some("192.0.2.7".parse().unwrap())
}

async fn invite(cluster: &Cluster, name: &str, role: Role) -> (PersonId, String) {
    let code = OnceCode::random(cluster.admin.fingerprint());
    let new = NewCode { hash: code.hash(), ttl: 60_000 };
    let add = Access::AddPerson { name: name.to_owned(), grant: within("shop", role), code: new };
    let Made::Person(id) = cluster.write(Command::Access(add)).await else { panic!("nobody was added") };
    (id, code.reveal())
}

fn desk(cluster: &Cluster) -> &Desk {
    &cluster.nodes[0].desk
}

#[tokio::test]
async fn an_invited_person_sets_a_password_and_signs_in_at_any_node() {
    let cluster = Cluster::start(2).await;
    let (_, code) = invite(&cluster, "anna@example.com", Role::Deployer).await;
    let first = redeem(desk(&cluster), &code, None, PASSWORD, from()).await.unwrap();
    let why = redeem(desk(&cluster), &code, None, PASSWORD, from()).await.unwrap_err();
    assert_eq!(why.code(), Code::PermissionDenied, "{why}");

    let other = &cluster.nodes[1].desk;
    let second = sign_in(other, " Anna@Example.com", PASSWORD, from()).await.unwrap();
    assert_ne!(first, second);
    for secret in [&first, &second] {
        let caller = session(other, secret, from()).await.unwrap();
        assert_eq!(caller.name(), "anna@example.com");
        let who = Operations::who_am_i(other, caller.clone(), WhoAmIRequest {}).await.unwrap();
        assert_eq!((who.kind.as_str(), who.projects["shop"].as_str()), ("person", "deployer"));
        // What they do is written down under their name, and not outside their project.
        let create = |name: &str| CreateProjectRequest { name: name.to_owned() };
        Operations::create_project(other, caller.clone(), create("shop")).await.unwrap();
        let why = Operations::create_project(other, caller, create("blog")).await.unwrap_err();
        assert_eq!(
            why.message(),
            "person \"anna@example.com\" is deployer in shop; creating a project in project \"blog\" needs a deployer there"
        );
    }
    let state = cluster.log.state();
    let entry = state.audit.entries.values().find(|e| e.operation == "project create").unwrap();
    assert_eq!(
        (entry.kind.word(), entry.by.as_str(), entry.from.as_deref()),
        ("person", "anna@example.com", Some("192.0.2.7"))
    );

    let caller = session(other, &first, from()).await.unwrap();
    sign_out(other, &caller).await.unwrap();
    assert!(session(desk(&cluster), &first, from()).await.is_none());
    assert!(session(desk(&cluster), &second, from()).await.is_some());
    let unknown = SessionSecret::random(cluster.admin.fingerprint());
    assert!(session(desk(&cluster), &unknown, from()).await.is_none());
}

#[tokio::test]
async fn the_setup_code_adds_the_first_admin() {
    let cluster = Cluster::start(1).await;
    let code = OnceCode::random(cluster.admin.fingerprint());
    let new = NewCode { hash: code.hash(), ttl: 60_000 };
    cluster.write(Command::Access(Access::SetupCode(new))).await;
    let desk = desk(&cluster);
    let code = code.reveal();
    for (name, password, said) in [
        (None, PASSWORD, "choose a name"),
        (Some("ada"), "too short", "12 characters or more"),
        (Some("ada.lovelace"), "ada.lovelace!", "too close to the name"),
        (Some("admin"), PASSWORD, "a token named \"admin\" exists"),
    ] {
        let why = redeem(desk, &code, name, password, None).await.unwrap_err();
        assert!(why.message().contains(said), "{why}");
    }
    let secret = redeem(desk, &code, Some("ada"), PASSWORD, None).await.unwrap();
    let caller = session(desk, &secret, None).await.unwrap();
    assert_eq!(caller.grant.everywhere(), Some(Role::Admin));
    for (code, expected) in [
        (code, Code::PermissionDenied),
        (OnceCode::random(cluster.admin.fingerprint()).reveal(), Code::PermissionDenied),
        (cluster.admin.reveal(), Code::InvalidArgument),
    ] {
        let why = redeem(desk, &code, Some("eve"), PASSWORD, None).await.unwrap_err();
        assert_eq!(why.code(), expected, "{why}");
        assert!(!why.message().contains(&code));
    }
    let printed = format!("{:?} {secret:?}", cluster.log.state());
    assert!(!printed.contains(PASSWORD) && !printed.contains("argon2id"), "no password is printed");
}

#[tokio::test]
async fn wrong_passwords_and_unknown_names_get_one_answer_and_have_to_wait() {
    let cluster = Cluster::start(1).await;
    let (anna, code) = invite(&cluster, "anna", Role::Viewer).await;
    let desk = desk(&cluster);
    let why = sign_in(desk, "anna", "", from()).await.unwrap_err();
    assert_eq!(why.code(), Code::Unauthenticated, "no password is none");
    redeem(desk, &code, None, PASSWORD, from()).await.unwrap();
    for name in ["anna", "nobody"] {
        let why = sign_in(desk, name, "correct horse batterz", from()).await.unwrap_err();
        assert_eq!(why.message(), "the name or the password is wrong");
    }
    sign_in(desk, "anna", PASSWORD, from()).await.unwrap();
    let mut last = None;
    for _ in 0..6 {
        last = sign_in(desk, "anna", "wrong", from()).await.err();
    }
    let why = last.unwrap();
    assert!(why.message().contains("try again in 30 s"), "{why}");
    let why = sign_in(desk, "anna", PASSWORD, from()).await.unwrap_err();
    assert_eq!(why.code(), Code::ResourceExhausted, "not even the right one is looked at");

    let other = Access::SetPerson { person: anna, grant: None, disabled: Some(true), code: None };
    let secret = invite(&cluster, "ben", Role::Viewer).await.1;
    let secret = redeem(desk, &secret, None, PASSWORD, None).await.unwrap();
    cluster.write(Command::Access(other)).await;
    assert!(session(desk, &secret, None).await.is_some());
    let ben = cluster.log.state().people.named("ben").unwrap().id;
    let off = Access::SetPerson { person: ben, grant: None, disabled: Some(true), code: None };
    cluster.write(Command::Access(off)).await;
    assert!(session(desk, &secret, None).await.is_none(), "a disabled person is signed out");
    assert!(sign_in(desk, "ben", PASSWORD, None).await.is_err());
}
