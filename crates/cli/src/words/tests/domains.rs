//! Names of applications, and where certificates are ordered.

use clap::Parser;

use super::{Line, User};

/// Whether it can be typed so.
fn is_line(line: &str) -> bool {
    Line::try_parse_from(std::iter::once("temps").chain(line.split_whitespace())).is_ok()
}

#[tokio::test]
async fn a_name_is_added_listed_and_taken() {
    let user = User::new().await;
    let seen = user.types("domains add www.shop.example -p shop").await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "www.shop.example belongs to shop (production).\n"));
    assert!(seen.err.contains("temps domains verify www.shop.example"), "{}", seen.err);
    let listed = user.types("domains list -p shop").await;
    let rows: Vec<Vec<&str>> = listed.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1][..4], ["www.shop.example", "shop", "production", "added"]);
    assert!(listed.out.contains("none; see `temps cluster acme`"), "{}", listed.out);
    let json = user.types("domains ls --json").await.out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["domains"][0]["domain"], "www.shop.example");
    assert_eq!(user.types("domains rm www.shop.example").await.code, 0);
    assert!(user.town().domains.is_empty());
}

#[tokio::test]
async fn a_certificate_comes_with_its_key_and_is_not_shown() {
    let user = User::new().await;
    std::fs::write(user.home.path().join("chain.pem"), "CHAIN").unwrap();
    std::fs::write(user.home.path().join("key.pem"), "CANARY").unwrap();
    let here = user.home.path().display();
    let line = format!("domains add a.example -p shop --cert {here}/chain.pem --key {here}/key.pem --json");
    let seen = user.types(&line).await;
    assert_eq!(seen.code, 0, "{}", seen.err);
    assert!(!format!("{seen:?}").contains("CANARY"));
    let asked = user.town().domains[0].clone();
    assert_eq!((asked.certificate.as_str(), asked.key.as_str()), ("CHAIN", "CANARY"));
    assert!(!is_line(&format!("domains add a.example -p shop --cert {here}/chain.pem")));
    let seen =
        user.types(&format!("domains add a.example -p shop --cert {here}/no.pem --key {here}/key.pem")).await;
    assert_eq!((seen.code, seen.err.contains("cannot read")), (2, true));
}

#[tokio::test]
async fn a_name_is_verified_where_every_address_is_ours() {
    let user = User::new().await;
    let seen = user.types("domains verify shop.example").await;
    assert_eq!(seen.code, 0);
    assert!(seen.out.contains("192.0.2.2: a node of this cluster"), "{}", seen.out);
    let seen = user.types("domains verify shop.example --port 8080").await;
    assert_eq!(seen.code, 1);
    assert!(seen.out.contains("192.0.2.2: another server answers there"), "{}", seen.out);
    let json: serde_json::Value =
        serde_json::from_str(&user.types("domains verify a.example --port 8080 --json").await.out).unwrap();
    assert_eq!((&json["verified"], &json["reached"][0]["here"]), (&false.into(), &true.into()));
}

#[tokio::test]
async fn nobody_agrees_to_terms_unasked() {
    let user = User::new().await;
    assert!(!is_line("cluster acme --email a@shop.example"));
    assert_eq!(user.types("cluster acme").await.out, "No certificates are ordered.\n");
    let seen = user.types("cluster acme --email a@shop.example --agree-to-terms").await;
    assert!(seen.out.contains("ordered from https://acme-v02.api.letsencrypt.org/directory"), "{}", seen.out);
    let asked = user.town().acme.clone().unwrap();
    assert_eq!((asked.email.as_str(), asked.terms_agreed), ("a@shop.example", true));
    assert_eq!(user.types("cluster acme --off").await.out, "No certificates are ordered.\n");
}

#[tokio::test]
async fn maintenance_begins_with_a_message_and_ends() {
    let user = User::new().await;
    let seen = user.types("maintenance on -p shop --message later --retry-after 30m").await;
    assert_eq!(seen.code, 0, "{}", seen.err);
    let on = user.town().maintenance.clone().unwrap();
    assert_eq!((on.message.as_str(), on.retry_after_s), ("later", 1_800));
    let seen = user.types("maintenance off -p shop").await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "shop (production) answers again.\n"));
    assert!(user.town().maintenance.is_none());
}
