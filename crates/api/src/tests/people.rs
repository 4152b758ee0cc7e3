//! Tokens, people and who changed what, as they are asked for.

use temps_core::audit;
use temps_core::model::{AuditKind, Role};
use temps_ledger::Ledger;
use temps_wire::client::{Client, ClientError};
use temps_wire::proto::{
    AddPersonRequest, CreateProjectRequest, CreateSetupCodeRequest, CreateTokenRequest, Grant,
    ListAuditRequest, ListPeopleRequest, ListTokensRequest, PersonCode, RemovePersonRequest,
    RevokeTokenRequest, SetPersonRequest, WhoAmIRequest,
};
use temps_wire::token::ApiToken;

use super::cluster::Cluster;

async fn create(client: &Client, key: &str, request: CreateTokenRequest) -> Result<ApiToken, ClientError> {
    let answer = client.call_with_key(key, |mut api| {
        let request = request.clone();
        async move { api.create_token(request).await }
    });
    Ok(answer.await?.token.parse().unwrap())
}

fn asked(name: &str, role: &str) -> CreateTokenRequest {
    CreateTokenRequest { name: name.to_owned(), role: role.to_owned(), ..CreateTokenRequest::default() }
}

async fn revoke(client: &Client, key: &str, token: &str) -> Result<bool, ClientError> {
    let request = RevokeTokenRequest { token: token.to_owned() };
    let answer = client.call_with_key(key, |mut api| {
        let request = request.clone();
        async move { api.revoke_token(request).await }
    });
    Ok(answer.await?.no_change)
}

async fn add(client: &Client, name: &str, role: &str) -> Result<PersonCode, ClientError> {
    let grant = Some(Grant { role: role.to_owned(), ..Grant::default() });
    let request = AddPersonRequest { name: name.to_owned(), grant, ttl_ms: 0 };
    client
        .call(|mut api| {
            let request = request.clone();
            async move { api.add_person(request).await }
        })
        .await
}

async fn who(client: &Client) -> Result<String, ClientError> {
    client.call(|mut api| async move { api.who_am_i(WhoAmIRequest {}).await }).await.map(|who| who.name)
}

#[tokio::test]
async fn a_revoked_token_is_refused_by_every_node_at_once() {
    let cluster = Cluster::start(3).await;
    let client = cluster.client();
    let token = create(&client, "k", asked("ci", "deployer")).await.unwrap();
    let by = cluster.client_with(&token);
    assert_eq!(who(&by).await.as_deref(), Ok("ci"));
    assert_eq!(revoke(&client, "r1", "ci").await, Ok(false));
    // The same request again, as after an answer that was lost.
    assert_eq!(revoke(&client, "r1", "ci").await, Ok(false));
    assert!(matches!(revoke(&client, "r2", "ci").await, Err(ClientError::NotFound { .. })));
    for node in &cluster.nodes {
        let client = Client::new(vec![node.address.clone()], &token);
        let why = who(&client).await.unwrap_err();
        assert_eq!(
            why,
            ClientError::Unauthenticated { why: "the token is unknown or was revoked".to_owned() }
        );
    }
    let again = create(&client, "k3", asked("ci", "viewer")).await.unwrap();
    assert_ne!(again, token);
    assert!(matches!(revoke(&client, "r3", "t1").await, Err(ClientError::Conflict { .. })), "the last admin");
}

#[tokio::test]
async fn a_token_that_expires_says_so_and_is_listed() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client();
    let request = CreateTokenRequest {
        projects: [("shop".to_owned(), "viewer".to_owned())].into(),
        ttl_ms: 1,
        ..asked("brief", "")
    };
    let token = create(&client, "k", request).await.unwrap();
    while cluster.log.now() < cluster.log.state().tokens.values().last().unwrap().expires_at.unwrap() {
        tokio::task::yield_now().await;
    }
    let why = who(&cluster.client_with(&token)).await.unwrap_err().to_string();
    assert!(why.contains("the token has expired"), "{why}");
    let listed = client.call(|mut api| async move { api.list_tokens(ListTokensRequest {}).await });
    let listed = listed.await.unwrap().tokens;
    assert_eq!((listed[0].name.as_str(), listed[0].expires_in_ms), ("admin", None));
    assert_eq!((listed[1].name.as_str(), listed[1].expires_in_ms), ("brief", Some(0)));
    assert_eq!(listed[1].grant.as_ref().unwrap().projects["shop"], "viewer");
    for bad in [
        asked("x", "king"),
        asked("x", ""),
        CreateTokenRequest {
            projects: [("shop".to_owned(), "viewer".to_owned())].into(),
            ..asked("x", "admin")
        },
        CreateTokenRequest { ttl_ms: u64::MAX, ..asked("x", "admin") },
    ] {
        let why = create(&client, "bad", bad).await.unwrap_err();
        assert!(matches!(why, ClientError::Invalid { .. }), "{why}");
    }
}

#[tokio::test]
async fn people_are_added_changed_and_removed() {
    let cluster = Cluster::start(1).await;
    let client = cluster.client();
    let added = add(&client, "Anna@Example.com", "deployer").await.unwrap();
    assert_eq!((added.name.as_str(), added.ttl_ms), ("anna@example.com", 86_400_000));
    assert!(added.code.starts_with("tempscode1."));
    assert!(!format!("{:?}", cluster.log.state()).contains(&added.code), "the log has its hash alone");
    assert!(matches!(add(&client, "anna@example.com", "viewer").await, Err(ClientError::Conflict { .. })));

    let set = SetPersonRequest {
        person: "u1".to_owned(),
        grant: Some(Grant { role: "viewer".to_owned(), ..Grant::default() }),
        ..SetPersonRequest::default()
    };
    let changed = client
        .call(|mut api| {
            let set = set.clone();
            async move { api.set_person(set).await }
        })
        .await
        .unwrap();
    assert_eq!((changed.code.as_str(), changed.no_change), ("", false));
    let people = client.call(|mut api| async move { api.list_people(ListPeopleRequest {}).await });
    let people = people.await.unwrap().people;
    let anna = &people[0];
    assert_eq!((anna.id.as_str(), anna.has_password, anna.disabled, anna.sessions), ("u1", false, false, 0));
    assert_eq!(anna.grant.as_ref().unwrap().role, "viewer");
    assert!(anna.code_expires_in_ms.is_some());

    let remove = async || {
        let call = client.call(|mut api| async move {
            api.remove_person(RemovePersonRequest { person: "anna@example.com".to_owned() }).await
        });
        call.await
    };
    remove().await.unwrap();
    let why = remove().await.unwrap_err().to_string();
    assert_eq!(why, "there is nobody called \"anna@example.com\"");
    let setup = client
        .call(|mut api| async move { api.create_setup_code(CreateSetupCodeRequest::default()).await })
        .await
        .unwrap();
    assert_eq!((setup.code.starts_with("tempscode1."), setup.ttl_ms), (true, 3_600_000));
}

#[tokio::test]
async fn each_change_is_told_once_with_who_and_from_where() {
    let cluster = Cluster::start(2).await;
    let client = cluster.client();
    let token = create(&client, "k", asked("ci", "deployer")).await.unwrap();
    create(&client, "k", asked("ci", "deployer")).await.unwrap();
    let deployer = cluster.client_with(&token);
    for name in ["shop", "shop", "No_Name"] {
        let request = CreateProjectRequest { name: name.to_owned() };
        let _ = deployer
            .call(|mut api| {
                let request = request.clone();
                async move { api.create_project(request).await }
            })
            .await;
    }
    let list = async |request: ListAuditRequest| {
        let call = client.call(|mut api| {
            let request = request.clone();
            async move { api.list_audit(request).await }
        });
        call.await.unwrap()
    };
    let told = list(ListAuditRequest { by: "ci".to_owned(), ..ListAuditRequest::default() }).await;
    let lines: Vec<_> = told.entries.iter().map(|e| (e.operation.as_str(), e.outcome.as_str())).collect();
    assert_eq!(
        lines,
        [("project create", "done"), ("project create", "no change"), ("project create", "refused")]
    );
    let last = &told.entries[2];
    assert_eq!((last.kind.as_str(), last.from.as_str()), ("token", "127.0.0.1"));
    assert!(last.why.contains("must be 1 to 40 lower-case letters"), "{}", last.why);

    let by_admin = list(ListAuditRequest { by: "admin".to_owned(), ..ListAuditRequest::default() }).await;
    assert_eq!(by_admin.entries.len(), 1, "one token was created, whatever was asked twice");
    let newest = list(ListAuditRequest { limit: 2, ..ListAuditRequest::default() }).await.entries;
    assert_eq!(newest.iter().map(|e| e.index).collect::<Vec<_>>(), [told.entries[1].index, last.index]);
    let after = newest[0].index;
    let next = list(ListAuditRequest { after: Some(after), ..ListAuditRequest::default() }).await.entries;
    assert_eq!(next, newest[1..]);
    let of_shop = list(ListAuditRequest { project: "shop".to_owned(), ..ListAuditRequest::default() }).await;
    assert_eq!(of_shop.entries.len(), 2);
    let state = cluster.log.state();
    let kept: Vec<_> = state.audit.entries.values().map(AsRef::as_ref).collect();
    assert!(audit::verify("", kept.iter().copied()).is_ok());
    assert!(kept.iter().any(|entry| entry.kind == AuditKind::Node && entry.by == "node-2"));
    assert!(state.tokens.values().all(|t| t.grant.greatest() >= Some(Role::Viewer)));
}
