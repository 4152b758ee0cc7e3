//! What the application gets is what was given.

use serde_json::Value;
use temps_tests::app::App;
use temps_tests::browser::{self, Browser};
use temps_tests::cluster::Cluster;
use temps_tests::trouble::Result;
use temps_tests::{check, check_eq};

fn values() -> Vec<(&'static str, String)> {
    let pem = "-----BEGIN KEY-----\nMIIB/+a=\n-----END KEY-----\n";
    let long: String = "0123456789abcdef".repeat(4096);
    [
        ("QUOTES", "a\"b'c"),
        ("DOLLARS", "$HOME $$ ${X}"),
        ("TICKS", "`date` \\`"),
        ("BACKSLASH", "back\\slash\\n"),
        ("PEM", pem),
        ("SPACES", "  leading and trailing \t "),
        ("HASH", "#x"),
        ("EQUALS", "a=b=c"),
        ("EMPTY", ""),
        ("EMOJI", "\u{1f680} ü"),
        ("CRLF", "one\r\ntwo\r\n"),
        ("PERCENT", "%s %20"),
        ("LONG", &long),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec()
}

/// Values of a file and of the command line reach the process as they are, through every node; a rollback
/// brings the old ones back.
pub(crate) fn variables(cluster: &mut Cluster) -> Result {
    let typed: Vec<String> = values().iter().map(|(name, value)| format!("TYPED_{name}={value}")).collect();
    let mut command = vec!["env", "set", "-p", "hello"];
    command.extend(typed.iter().map(String::as_str));
    cluster.deploy_well(&App::quick("v0")?)?;
    cluster.cli().text(&command)?;
    let app = |version: &str, value: Option<&str>| {
        values().iter().try_fold(App::quick(version)?, |app, (name, own)| app.env(name, value.unwrap_or(own)))
    };
    cluster.deploy_well(&app("v1", None)?)?;
    arrived(cluster)?;

    let forget: Vec<String> = values().iter().map(|(name, _)| format!("TYPED_{name}")).collect();
    let mut command = vec!["env", "rm", "-p", "hello"];
    command.extend(forget.iter().map(String::as_str));
    cluster.cli().text(&command)?;
    cluster.deploy_well(&app("v2", Some("other"))?)?;
    let page = browser::get(cluster.nodes[0].shape.edge, "hello.localhost", "/env")?;
    let seen: Value = serde_json::from_slice(&page.body)?;
    check_eq!(seen.get("PEM"), Some(&Value::from("other")), "a new release has its own values");
    check_eq!(seen.get("TYPED_PEM"), None, "a removed variable");
    cluster.cli().text(&["deployments", "rollback", "-p", "hello", "-y"])?;
    arrived(cluster)
}

fn arrived(cluster: &Cluster) -> Result {
    for target in cluster.edges() {
        let page = browser::get(target.address, "hello.localhost", "/env")?;
        let seen: Value = serde_json::from_slice(&page.body)?;
        let seen = |name: &str| seen.get(name).and_then(Value::as_str).map(str::to_owned);
        for (name, value) in values() {
            check_eq!(seen(name), Some(value.clone()), "{name} of the file, through {}", target.name);
            let typed = seen(&format!("TYPED_{name}"));
            check_eq!(typed, Some(value), "{name} of the command line, through {}", target.name);
        }
    }
    Ok(())
}

/// What a client claims about itself is dropped; the application sees what the edge saw.
pub(crate) fn forwarded(cluster: &mut Cluster) -> Result {
    let app = App::named("alone", "v1")?.set("processes.web.instances", 1)?;
    cluster.deploy_well(&app)?;
    let lies = [
        ("x-forwarded-for", "10.0.0.1"),
        ("X-Forwarded-For", "10.0.0.2"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=1.1.1.1"),
        ("x-real-ip", "9.9.9.9"),
        ("connection", "x-forwarded-for"),
    ];
    let mut forwarded = 0;
    for target in cluster.edges() {
        let mut browser = Browser::open(target.address, "alone.localhost")?;
        for _ in 0..3 {
            let page = browser.ask(http::Method::GET, "/headers", &lies, "")?;
            let seen: Value = serde_json::from_slice(&page.body)?;
            let header = |name: &str| seen.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            check_eq!(
                header("x-forwarded-for"),
                cluster.outside().to_string(),
                "through {}: {seen}",
                target.name
            );
            check_eq!(header("x-forwarded-proto"), "http", "through {}: {seen}", target.name);
            check_eq!(header("host"), "alone.localhost", "through {}: {seen}", target.name);
            let claimed = ["1.1.1.1", "9.9.9.9", "10.0.0."].iter().any(|lie| seen.to_string().contains(lie));
            check!(!claimed, "a lie came through {}: {seen}", target.name);
            forwarded += usize::from(page.header("x-node") != target.name);
        }
    }
    check_eq!(forwarded, 6, "requests that another node's edge answered");
    Ok(())
}

/// Case, port and a trailing dot do not matter; an unknown name is nobody's.
pub(crate) fn hosts(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    for target in cluster.edges() {
        for host in ["HELLO.localhost", "hello.localhost:8080", "hello.localhost.", "hello.localhost.:80"] {
            check_eq!(browser::get(target.address, host, "/")?.version(), "v1", "{host} at {}", target.name);
        }
        for host in ["other.localhost", "[::1]:80", "localhost"] {
            let page = browser::get(target.address, host, "/")?;
            check!(matches!(page.status, 404 | 421), "{host} got {}", page.status);
            check_eq!(page.version(), "", "{host} at {}", target.name);
        }
        let double = Browser::open(target.address, "hello.localhost")?.ask(
            http::Method::GET,
            "/",
            &[("host", "other.localhost")],
            "",
        )?;
        check_eq!(double.status, 400, "two hosts");
    }
    Ok(())
}
