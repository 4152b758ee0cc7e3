//! Who is told what happens.

use clap::Parser;
use temps_wire::proto::Notification;
use temps_wire::proto::add_notification_request::Receiver;

use super::{Line, User};

fn is_line(line: &str) -> bool {
    Line::try_parse_from(std::iter::once("temps").chain(line.split_whitespace())).is_ok()
}

#[tokio::test]
async fn the_commands_of_the_article_work() {
    let user = User::new().await;
    let slack = [
        "notifications",
        "add",
        "--type",
        "slack",
        "--name",
        "Deploy Alerts",
        "--webhook-url",
        "https://hooks.slack.com/services/CANARY",
        "--channel",
        "#deploys",
        "-y",
    ];
    let seen = user.types_words(&slack).await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "Deploy Alerts\n"), "{}", seen.err);
    assert!(seen.err.contains("warning: --webhook-url: others on this machine can read"), "{}", seen.err);
    assert!(seen.err.contains("temps notifications test 'Deploy Alerts'"), "{}", seen.err);
    let email = [
        "notifications",
        "add",
        "--type",
        "email",
        "--name",
        "Deploy Email",
        "--smtp-host",
        "smtp.gmail.com",
        "--smtp-port",
        "587",
        "--smtp-user",
        "user@gmail.com",
        "--smtp-pass",
        "CANARY",
        "--from",
        "alerts@example.com",
        "--to",
        "team@example.com",
        "-y",
    ];
    let seen = user.types_words(&email).await;
    assert_eq!(seen.code, 0, "{}", seen.err);
    assert!(!format!("{seen:?}").contains("CANARY"));
    let asked = user.town().notifications.clone();
    let Some(Receiver::Slack(slack)) = &asked[0].receiver else { panic!("{asked:?}") };
    assert_eq!(
        (slack.url.as_str(), slack.channel.as_str()),
        ("https://hooks.slack.com/services/CANARY", "#deploys")
    );
    let Some(Receiver::Email(email)) = &asked[1].receiver else { panic!("{asked:?}") };
    assert_eq!((email.host.as_str(), email.port, email.security.as_str()), ("smtp.gmail.com", 587, ""));
    assert_eq!((email.user.as_str(), email.password.as_str()), ("user@gmail.com", "CANARY"));
    assert_eq!(
        (email.from.as_str(), &email.to[..]),
        ("alerts@example.com", &["team@example.com".to_owned()][..])
    );
}

#[tokio::test]
async fn secrets_come_from_files_and_stdin_without_a_warning() {
    let mut user = User::new().await;
    user.write("url.txt", "https://example.com/CANARY\n");
    user.input = "whsec_CANARY\r\n".to_owned();
    let line = "notifications add --type webhook --name pager --url-file url.txt --signing-secret-file - \
        --event rolled_back,failed --event node_lost -p shop --project blog --allow-private --json";
    let seen = user.types(line).await;
    assert_eq!(seen.code, 0, "{}", seen.err);
    assert!(!seen.err.contains("warning"), "{}", seen.err);
    let json: serde_json::Value = serde_json::from_str(&seen.out).unwrap();
    assert_eq!(json, serde_json::json!({ "name": "pager", "type": "webhook", "signing_secret": null }));
    let asked = user.town().notifications[0].clone();
    let Some(Receiver::Webhook(webhook)) = &asked.receiver else { panic!("{asked:?}") };
    assert_eq!(webhook.url, "https://example.com/CANARY");
    assert_eq!(webhook.signing_secret, "whsec_CANARY");
    assert_eq!(asked.topics, ["rolled_back", "failed", "node_lost"]);
    assert_eq!((asked.projects, asked.allow_private), (vec!["shop".to_owned(), "blog".to_owned()], true));

    let seen = user.types("notifications add --type webhook --name b --url-file url.txt").await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "whsec_MADE\n"));
    assert!(seen.err.contains("shown only now"), "{}", seen.err);
}

#[tokio::test]
async fn what_is_wrong_is_told_before_anything_is_sent() {
    for (line, why) in [
        ("--type slack --name a", "--webhook-url is missing"),
        ("--type webhook --name a", "--url is missing"),
        ("--type email --name a --smtp-host x --from a@b", "--to is missing"),
        ("--type slack --name a --smtp-host x", "--smtp-host does not belong to --type slack"),
        ("--type email --name a --channel x", "--channel does not belong to --type email"),
        ("--type webhook --name a --url-file empty", "is empty"),
        ("--type webhook --name a --url-file no", "cannot read"),
        ("--type webhook --name a --url-file - --signing-secret-file -", "only one secret"),
        ("--type slack --name a --event rolledback", "there is no event rolledback"),
        ("--type slack --name a -p NO", "project"),
    ] {
        let mut user = User::new().await;
        user.write("empty", "\n");
        user.input = "x".to_owned();
        let seen = user.types(&format!("notifications add {line}")).await;
        assert!(seen.code == 2 && seen.err.contains(why), "{line}: {seen:?}");
        assert!(user.town().changes.is_empty(), "{line}");
    }
    assert!(!is_line("notifications add --type slack"));
    assert!(!is_line("notifications add --type pigeon --name a"));
    assert!(!is_line("notifications add --type slack --name a --webhook-url x --webhook-url-file y"));
    assert!(!is_line("notifications add --type email --name a --smtp-user x"));
    assert!(!is_line("notifications add --type email --name a --smtp-pass x"));
}

#[tokio::test]
async fn a_test_says_whether_it_arrived() {
    let user = User::new().await;
    let seen = user.types_words(&["notifications", "test", "Deploy Alerts"]).await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "A notice arrived at Deploy Alerts.\n"));
    user.town().test_fails = "it answered 404 Not Found\x1b[2J".to_owned();
    let seen = user.types("notifications test a").await;
    assert_eq!(
        (seen.code, seen.out.as_str()),
        (1, "No notice arrived at a: it answered 404 Not Found\\x1b[2J\n")
    );
    let seen = user.types("notifications test a --json").await;
    assert_eq!((seen.code, seen.out.contains("\"delivered\":false")), (1, true));
}

#[tokio::test]
async fn those_who_are_told_are_listed_and_removed() {
    let user = User::new().await;
    user.town().listed = vec![Notification {
        id: "ch1".to_owned(),
        name: "Deploy Alerts".to_owned(),
        r#type: "slack".to_owned(),
        to: "#deploys at hooks.slack.com".to_owned(),
        ..Notification::default()
    }];
    let seen = user.types("notifications list").await;
    assert_eq!(seen.code, 0);
    for part in ["Deploy Alerts", "slack", "#deploys at hooks.slack.com", "everything", "nothing sent yet"] {
        assert!(seen.out.contains(part), "{part}: {}", seen.out);
    }
    let json: serde_json::Value =
        serde_json::from_str(&user.types("notifications ls --json").await.out).unwrap();
    let first = &json["notifications"][0];
    assert_eq!(
        (&first["name"], &first["pending"], &first["last_sent"]),
        (&"Deploy Alerts".into(), &0.into(), &serde_json::Value::Null)
    );
    let seen = user.types("notifications rm pager").await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "pager is told nothing any more.\n"));
}
