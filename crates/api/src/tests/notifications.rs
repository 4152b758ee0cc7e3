use temps_core::command::{Attempt, Command, NotTold, Notify};
use temps_core::model::{ChannelSecret, EventId, MailSecurity, Receiver};
use temps_ledger::Ledger;
use temps_wire::client::ClientError;
use temps_wire::proto::add_notification_request::Receiver as Asked;
use temps_wire::proto::{
    AddNotificationRequest, AddNotificationResponse, EmailReceiver as Email, ListNotificationsRequest,
    ListNotificationsResponse, RemoveNotificationRequest, SlackReceiver, TestNotificationRequest,
    WebhookReceiver,
};
use temps_wire::seal::{NOTIFICATION, Seal};

use super::cluster::Cluster;

fn asked(name: &str, receiver: Asked) -> AddNotificationRequest {
    AddNotificationRequest {
        name: name.to_owned(),
        receiver: Some(receiver),
        ..AddNotificationRequest::default()
    }
}

fn slack(url: &str) -> Asked {
    Asked::Slack(SlackReceiver { url: url.to_owned(), channel: "#deploys".to_owned() })
}

fn webhook(url: &str, secret: &str) -> Asked {
    Asked::Webhook(WebhookReceiver { url: url.to_owned(), signing_secret: secret.to_owned() })
}

fn email() -> Email {
    Email {
        host: "smtp.example.com".to_owned(),
        port: 587,
        user: "user@example.com".to_owned(),
        password: "CANARY".to_owned(),
        from: "Temps <alerts@example.com>".to_owned(),
        to: vec!["team@example.com".to_owned()],
        ..Email::default()
    }
}

async fn add(
    cluster: &Cluster,
    key: &str,
    request: &AddNotificationRequest,
) -> Result<AddNotificationResponse, ClientError> {
    let call = |mut api: temps_wire::client::Api| {
        let request = request.clone();
        async move { api.add_notification(request).await }
    };
    cluster.client().call_with_key(key, call).await
}

async fn list(cluster: &Cluster) -> ListNotificationsResponse {
    let request = ListNotificationsRequest {};
    cluster.client().call(|mut api| async move { api.list_notifications(request).await }).await.unwrap()
}

fn secret(cluster: &Cluster, name: &str) -> ChannelSecret {
    let state = cluster.log.state();
    let (_, channel) = state.notifications.channel(name).unwrap();
    let opened = Seal::of(&cluster.nodes[0].identity).open(NOTIFICATION, &channel.secret).unwrap();
    serde_json::from_str(&opened).unwrap()
}

#[tokio::test]
async fn what_is_added_is_listed_without_its_secrets() {
    let cluster = Cluster::start(1).await;
    let mut one = asked("Deploy Alerts", slack("https://hooks.slack.com/services/CANARY"));
    one.topics = vec!["rolled_back".to_owned(), "failed".to_owned()];
    one.projects = vec!["shop".to_owned()];
    add(&cluster, "1", &one).await.unwrap();
    add(&cluster, "2", &asked("Deploy Email", Asked::Email(email()))).await.unwrap();
    let listed = list(&cluster).await;
    let shown: Vec<_> =
        listed.notifications.iter().map(|n| (n.name.as_str(), n.r#type.as_str(), n.to.as_str())).collect();
    assert_eq!(
        shown,
        [
            ("Deploy Alerts", "slack", "#deploys at hooks.slack.com"),
            ("Deploy Email", "email", "team@example.com by smtp.example.com:587 (STARTTLS)"),
        ]
    );
    assert_eq!(listed.notifications[0].topics, ["rolled_back", "failed"]);
    assert!(!format!("{listed:?} {:?}", cluster.log.state()).contains("CANARY"));
    let sealed = serde_json::to_string(&cluster.log.state().notifications.channel("Deploy Email").unwrap().1);
    assert!(!sealed.unwrap().contains("CANARY"), "it is sealed in the log");
    assert_eq!(
        secret(&cluster, "Deploy Alerts").url.as_deref(),
        Some("https://hooks.slack.com/services/CANARY")
    );
    assert_eq!(secret(&cluster, "Deploy Email").password.as_deref(), Some("CANARY"));
    let why = add(&cluster, "3", &one).await.unwrap_err();
    assert!(matches!(why, ClientError::Conflict { .. }), "{why:?}");

    let request = RemoveNotificationRequest { name: "Deploy Alerts".to_owned() };
    let remove = |mut api: temps_wire::client::Api| {
        let request = request.clone();
        async move { api.remove_notification(request).await }
    };
    cluster.client().call(remove).await.unwrap();
    assert_eq!(list(&cluster).await.notifications.len(), 1);
}

#[tokio::test]
async fn a_signing_secret_is_made_once_for_each_key() {
    let cluster = Cluster::start(1).await;
    let request = asked("a", webhook("https://example.com/hook", ""));
    let first = add(&cluster, "k", &request).await.unwrap().signing_secret;
    assert!(first.starts_with("whsec_") && first.len() == 6 + 44, "{}", first.len());
    assert_eq!(add(&cluster, "k", &request).await.unwrap().signing_secret, first, "tried twice it is one");
    assert_eq!(secret(&cluster, "a").signing.as_deref(), Some(first.as_str()));
    let other = add(&cluster, "l", &asked("b", webhook("https://example.com/", ""))).await.unwrap();
    assert_ne!(other.signing_secret, first);
    let given = add(&cluster, "m", &asked("c", webhook("https://example.com/", &first))).await.unwrap();
    assert_eq!(given.signing_secret, "", "who gave it knows it");
}

#[tokio::test]
async fn mail_is_sent_by_tls_unless_that_is_plainly_not_wanted() {
    let cluster = Cluster::start(1).await;
    for (number, port, security, expected) in [
        (0, 0, "", (587, MailSecurity::Starttls)),
        (1, 465, "", (465, MailSecurity::Tls)),
        (2, 0, "tls", (465, MailSecurity::Tls)),
        (3, 2525, "", (2525, MailSecurity::Starttls)),
        (4, 465, "starttls", (465, MailSecurity::Starttls)),
    ] {
        let name = format!("n{number}");
        let email = Email { port, security: security.to_owned(), ..email() };
        add(&cluster, &name, &asked(&name, Asked::Email(email))).await.unwrap();
        let state = cluster.log.state();
        let Receiver::Email { port, security, .. } = &state.notifications.channel(&name).unwrap().1.receiver
        else {
            panic!("no mail")
        };
        assert_eq!((*port, *security), expected, "{name}");
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_without_secrets() {
    let cluster = Cluster::start(1).await;
    let private = |request: AddNotificationRequest| AddNotificationRequest { allow_private: true, ..request };
    let mail = |email: Email| asked("x", Asked::Email(email));
    let with_event = AddNotificationRequest {
        topics: vec!["rolledback".to_owned()],
        ..asked("x", slack("https://hooks.slack.com/CANARY"))
    };
    for (wrong, why) in [
        (
            AddNotificationRequest { name: "x".to_owned(), ..Default::default() },
            "to Slack, to mail or to a webhook",
        ),
        (asked("x", slack("hooks.slack.com/CANARY")), "the URL is none"),
        (asked("x", slack("http://hooks.slack.com/CANARY")), "must begin with https://"),
        (private(asked("x", slack("ftp://hooks.slack.com/CANARY"))), "must begin with https://"),
        (asked("x", slack("https://user:CANARY@hooks.slack.com/")), "no user and password"),
        (asked("x", webhook("https://example.com/CANARY", "whsec_CANARY")), "24 to 64 bytes"),
        (asked("x", webhook("https://example.com/CANARY", "CANARY")), "24 to 64 bytes"),
        (asked("", slack("https://hooks.slack.com/CANARY")), "1 to 64 characters"),
        (with_event, "there is no event \"rolledback\"; there are started, succeeded, rolled_back"),
        (mail(Email { security: "none".to_owned(), ..email() }), "--allow-private"),
        (private(mail(Email { security: "none".to_owned(), ..email() })), "could read the password"),
        (mail(Email { security: "ssl".to_owned(), ..email() }), "starttls, tls or none"),
        (mail(Email { user: String::new(), ..email() }), "a user and a password"),
        (mail(Email { to: vec!["nobody".to_owned()], ..email() }), "no address for mail"),
        (mail(Email { from: "a@b\r\nBcc: c@d".to_owned(), ..email() }), "no address for mail"),
        (mail(Email { to: Vec::new(), ..email() }), "1 to 100 addresses"),
        (mail(Email { port: 70_000, ..email() }), "1 to 65535"),
    ] {
        let told = add(&cluster, why, &wrong).await.unwrap_err().to_string();
        assert!(told.contains(why) && !told.contains("CANARY"), "{why}: {told}");
    }
    assert!(list(&cluster).await.notifications.is_empty());
}

#[tokio::test]
async fn a_test_answers_what_came_of_it() {
    let cluster = Cluster::start(1).await;
    add(&cluster, "1", &asked("a", slack("https://hooks.slack.com/CANARY"))).await.unwrap();
    let test = || async {
        let request = TestNotificationRequest { name: "a".to_owned() };
        let call = |mut api: temps_wire::client::Api| {
            let request = request.clone();
            async move { api.test_notification(request).await }
        };
        cluster.client().call(call).await
    };
    // In place of a leader that sends.
    let told = |failure: Option<&'static str>| {
        let cluster = &cluster;
        async move {
            let mut changes = cluster.log.changes();
            let pending = || {
                let state = cluster.log.state();
                let (id, channel) = state.notifications.channel("a")?;
                Some((id, *channel.pending.first_key_value()?.0))
            };
            changes.wait_for(|_| pending().is_some()).await.unwrap();
            let (channel, notice): (_, EventId) = pending().unwrap();
            let failure = failure.map(|why| NotTold { why: why.to_owned(), retry_at: 0 });
            cluster.write(Command::Notify(Notify::Tried(vec![Attempt { channel, notice, failure }]))).await;
        }
    };
    let (answer, ()) = tokio::join!(test(), told(None));
    let answer = answer.unwrap();
    assert_eq!((answer.delivered, answer.failure.as_str()), (true, ""));
    let (answer, ()) = tokio::join!(test(), told(Some("it answered 404 Not Found: no_service")));
    let answer = answer.unwrap();
    assert_eq!((answer.delivered, answer.failure.as_str()), (false, "it answered 404 Not Found: no_service"));
    let listed = list(&cluster).await.notifications.remove(0);
    assert_eq!((listed.sent, listed.failing, listed.pending), (1, 1, 0));
    assert_eq!(listed.last_failure.unwrap().why, "it answered 404 Not Found: no_service");
    let request = TestNotificationRequest { name: "b".to_owned() };
    let call = |mut api: temps_wire::client::Api| {
        let request = request.clone();
        async move { api.test_notification(request).await }
    };
    let why = cluster.client().call(call).await.unwrap_err();
    assert!(matches!(why, ClientError::NotFound { .. }), "{why:?}");
}
