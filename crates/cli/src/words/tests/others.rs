use std::fs;
use std::os::unix::fs::PermissionsExt;

use temps_wire::token::{ApiToken, Fingerprint};

use super::User;

#[tokio::test]
async fn logging_in_stores_a_private_token_that_later_commands_use() {
    let mut user = User::new().await;
    user.logged_in = false;
    let endpoint = user.running.endpoints[0].clone();

    let seen = user.types("whoami").await;
    assert_eq!(seen.code, 7);
    assert!(
        seen.err.starts_with("error: not logged in (context \"default\")\n  run `temps login"),
        "{seen:?}"
    );

    user.input = format!("{}\n", user.running.token);
    let seen = user.types(&format!("login {endpoint} --token-stdin --context prod")).await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "ada (admin) at node n1, context prod\n"), "{seen:?}");
    let credentials = user.here().join("config/credentials.toml");
    assert_eq!(fs::metadata(&credentials).unwrap().permissions().mode() & 0o777, 0o600);

    assert_eq!(user.types("whoami").await.out, "ada (admin) at node n1, context prod\n");
    let seen = user.types("context list").await;
    assert_eq!(
        seen.out,
        format!("CONTEXT  CURRENT  LOGGED IN  ENDPOINTS\nprod     yes      yes        {endpoint}\n")
    );
    let seen = user.types("config show --origin").await;
    assert!(seen.out.contains("token        ***"), "{}", seen.out);
    assert!(!seen.out.contains(&user.running.token), "{}", seen.out);

    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o640)).unwrap();
    let seen = user.types("whoami").await;
    assert_eq!(seen.code, 7);
    assert!(seen.err.contains(&format!("run `chmod 600 {}`", credentials.display())), "{seen:?}");
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).unwrap();

    assert_eq!(user.types("logout").await.code, 0);
    assert_eq!(user.types("whoami").await.code, 7);
    let seen = user.types("context use lab").await;
    assert_eq!((seen.code, seen.err.as_str()), (2, "error: there is no context \"lab\"\n  known: prod\n"));
}

#[tokio::test]
async fn a_token_that_no_node_accepts_is_not_stored() {
    let mut user = User::new().await;
    user.logged_in = false;
    let endpoint = user.running.endpoints[0].clone();
    let unknown: ApiToken = user.running.token.parse().unwrap();
    let unknown = ApiToken::random(unknown.fingerprint()).reveal();
    let foreign = ApiToken::random(Fingerprint([7; 32])).reveal();
    for (token, said) in [
        (unknown.as_str(), "error: the token is unknown"),
        (foreign.as_str(), "another cluster"),
        ("temps1.cut", "error: the token from the command line cannot be used"),
    ] {
        let seen = user.types(&format!("login {endpoint} --token {token}")).await;
        assert_eq!(seen.code, 7, "{seen:?}");
        assert!(seen.err.contains(said), "{seen:?}");
        assert!(!seen.err.contains(token), "{seen:?}");
    }
    assert!(!user.here().join("config").exists());
}

#[tokio::test]
async fn variables_pass_byte_for_byte() {
    let mut user = User::new().await;
    user.input = "-----BEGIN-----\r\n  $HOME \"x\"\n-----END-----\n".to_owned();
    let seen = user.types("env set -p my-app KEY=- A=a=b=c EMPTY=").await;
    assert_eq!(
        (seen.code, seen.out.as_str()),
        (0, "Set A, EMPTY, KEY for my-app (production).\n"),
        "{seen:?}"
    );
    assert_eq!(user.town().variables["KEY"], user.input);
    assert_eq!(user.town().variables["A"], "a=b=c");
    assert_eq!(user.town().variables["EMPTY"], "");

    user.write("vars", "# comment\nQUOTED=\"  'x' \nDASH=-\nCANARY=\x1b[2J\n");
    let seen = user.types("env import vars -p my-app -e staging").await;
    assert_eq!(seen.out, "Set CANARY, DASH, QUOTED for my-app (staging).\n");
    assert_eq!(user.town().variables["QUOTED"], "\"  'x' ");
    assert_eq!(user.town().variables["DASH"], "-");

    let names = "A\nCANARY\nDASH\nEMPTY\nKEY\nQUOTED\n";
    assert_eq!(user.types("env list -p my-app").await.out, names);
    assert!(
        user.types("env list -p my-app --show").await.out.contains("CANARY=\x1b[2J\n"),
        "a pipe gets the bytes"
    );
    user.terminal = true;
    assert!(
        user.types("env list -p my-app --show").await.out.contains("CANARY=\\x1b[2J\n"),
        "a terminal is safe"
    );

    assert_eq!(user.types("env rm A EMPTY -p my-app").await.code, 0);
    assert_eq!(user.town().removed, ["A", "EMPTY"]);
    user.input = String::new();
    for line in [
        "env set -p my-app NO-GOOD=canary",
        "env set -p my-app canary",
        "env set -p my-app A=canary A=canary",
    ] {
        let seen = user.types(line).await;
        assert_eq!(seen.code, 2, "{seen:?}");
        assert!(!seen.err.contains("canary"), "{seen:?}");
    }
    user.write("bad", "OK=1\nnot a pair secret\n");
    let seen = user.types("env import bad -p my-app").await;
    assert_eq!((seen.code, seen.err.as_str()), (2, "error: bad:2: a line is KEY=VALUE\n"));
}

#[tokio::test]
async fn the_project_comes_from_the_flag_or_the_file() {
    let user = User::new().await;
    let seen = user.types("scale web=3").await;
    assert_eq!(seen.code, 2);
    assert!(seen.err.starts_with("error: which project?\n  name it with -p NAME"), "{seen:?}");
    user.write("temps.toml", "[project]\nname = \"from-file\"\n");
    assert_eq!(
        user.types("scale web=3 worker=1").await.out,
        "from-file (production) is to run web=3 worker=1.\n"
    );
    assert_eq!(user.types("scale web=4 -p other -e qa").await.code, 0);
    let scales = user.town().scales.clone();
    assert_eq!((scales[0].project.as_str(), scales[0].instances["web"]), ("from-file", 3));
    assert_eq!((scales[1].project.as_str(), scales[1].environment.as_str()), ("other", "qa"));
    assert_eq!(user.types("scale web=3 web=4").await.code, 2);
    assert_eq!(user.types("scale web=3 -p Bad_Name").await.code, 2);
}

#[tokio::test]
async fn secrets_that_are_made_are_the_result_alone() {
    let user = User::new().await;
    let seen = user.types("cluster token --ttl 30m --uses 2").await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "tempsjoin1.x.y\n"));
    assert_eq!(seen.err, "Lets 2 machines join within 30m; it is shown only now.\n");
    let seen = user.types("tokens create ci --role deployer").await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "temps1.x.y\n"));
}

#[tokio::test]
async fn completions_know_all_words() {
    let user = User::new().await;
    for shell in ["bash", "zsh", "fish"] {
        let seen = user.types(&format!("completions {shell}")).await;
        assert_eq!(seen.code, 0);
        for word in ["deploy", "deployments", "rollback", "supersede", "cluster"] {
            assert!(seen.out.contains(word), "{shell} {word}");
        }
    }
}

#[tokio::test]
async fn the_rest_answers_in_text_and_json() {
    let user = User::new().await;
    for (line, key) in [
        ("projects list", "projects"),
        ("deployments list", "deployments"),
        ("status", "environments"),
        ("nodes list", "nodes"),
        ("cluster status", "quorum"),
        ("deployments timeline 42", "events"),
        ("deployments show 42", "phase"),
        ("config show", "context"),
        ("context list", "contexts"),
    ] {
        let seen = user.types(line).await;
        assert_eq!(seen.code, 0, "{line}: {seen:?}");
        let seen = user.types(&format!("{line} --json")).await;
        let value: serde_json::Value = serde_json::from_str(&seen.out).unwrap();
        assert!(value.get(key).is_some(), "{line}: {value}");
    }
    assert_eq!(user.types("logs -p my-app").await.out, "00:00:00  i7 on n2  hello\n");
    assert_eq!(user.types("projects create my-app").await.code, 0);
}
