//! Settings of an environment, and deploying again.

use serde_json::{Value, json};
use temps_wire::proto::{CoveredSetting, GetSettingsResponse, Setting};

use super::{GOOD_LINES, User, detail, good_events};

fn setting(
    key: &str,
    value: Option<&str>,
    running: Option<&str>,
    next: Option<&str>,
    origin: &str,
) -> Setting {
    let text = |text: Option<&str>| text.map(str::to_owned);
    Setting {
        key: key.to_owned(),
        value: text(value),
        running: text(running),
        next: text(next),
        origin: origin.to_owned(),
        ..Setting::default()
    }
}

fn covered(key: &str, value: &str, file: Option<&str>) -> CoveredSetting {
    CoveredSetting { key: key.to_owned(), value: value.to_owned(), file: file.map(str::to_owned) }
}

#[tokio::test]
async fn settings_are_set_and_unset_and_it_is_said_when_that_takes_effect() {
    let user = User::new().await;
    user.town().settings.deployment = Some(42);
    let seen = user
        .types("projects set my-app health.path=/api/health deploy.drain_timeout=10m --unset health.host --unset deploy.deadline")
        .await;
    assert_eq!(seen.code, 0, "{seen:?}");
    assert_eq!(
        seen.out,
        "Set deploy.drain_timeout = 10m, health.path = /api/health for my-app (production).\n\
         Unset health.host, deploy.deadline for my-app (production): temps.toml decides again.\n"
    );
    assert!(seen.err.contains("What runs stays as it is, and ends as its release says."), "{seen:?}");
    assert!(seen.err.contains("temps deployments redeploy 42"), "{seen:?}");
    let asked = user.town().settings_set[0].clone();
    assert_eq!((asked.project.as_str(), asked.environment.as_str()), ("my-app", "production"));
    assert_eq!(asked.set["health.path"], "/api/health");
    assert_eq!(asked.unset, ["health.host", "deploy.deadline"]);

    // In a directory with a file the project need not be named, and a value may have anything in it.
    user.write("temps.toml", "[project]\nname = \"shop\"\n");
    let seen = user.types("project set health.path=/up?a=b -e staging --json").await;
    let told: Value = serde_json::from_str(&seen.out).unwrap();
    let expected = json!({
        "project": "shop", "environment": "staging", "set": { "health.path": "/up?a=b" }, "unset": [],
        "no_change": false, "deployment": 42,
    });
    assert_eq!(told, expected);
    user.town().no_change = true;
    let seen = user.types("projects set --unset health.path").await;
    assert_eq!(
        (seen.code, seen.out.as_str(), seen.err.as_str()),
        (0, "shop (production) has these settings already.\n", "")
    );
}

#[tokio::test]
async fn what_cannot_be_set_is_said_before_anything_is_asked() {
    let user = User::new().await;
    for (line, says) in [
        (
            "projects set my-app health.pth=/up",
            "there is no setting \"health.pth\"\n  did you mean `health.path`?",
        ),
        ("projects set my-app drain_timeout=1s", "did you mean `deploy.drain_timeout`?"),
        ("projects set my-app --unset nonsense.of.a.key", "there are: health.path, health.interval"),
        ("projects set my-app health.path=up", "health.path: a path must start with `/`; write \"/up\""),
        ("projects set my-app health.interval=5", "write for example \"5s\""),
        ("projects set my-app deploy.strategy=blue-green", "\"blue_green\""),
        ("projects set my-app health.path=/a health.path=/b", "health.path is named twice"),
        ("projects set my-app health.path=/a oops", "write KEY=VALUE, not \"oops\""),
        ("projects set my-app", "nothing to set"),
        ("projects set my-app -p other health.path=/a", "both name a project"),
        ("projects set health.path=/a", "which project?"),
    ] {
        let seen = user.types(line).await;
        assert_eq!((seen.code, seen.out.as_str()), (2, ""), "{line}: {seen:?}");
        assert!(seen.err.contains(says), "{line}: {seen:?}");
    }
    assert!(user.town().changes.is_empty());
}

#[tokio::test]
async fn an_environment_is_shown_with_where_each_setting_is_said() {
    let user = User::new().await;
    user.town().variables = [("TOKEN".to_owned(), "CANARY".to_owned())].into();
    let path = Setting {
        file: Some("/".to_owned()),
        ..setting("health.path", Some("/up"), Some("/up"), Some("/up"), "cluster")
    };
    user.town().settings = GetSettingsResponse {
        settings: vec![
            path,
            setting("health.host", None, None, None, "default"),
            setting("deploy.drain_timeout", Some("10m"), Some("30s"), Some("10m"), "cluster"),
            setting("rollback.keep", None, Some("9"), Some("9"), "temps.toml"),
        ],
        release: Some(7),
        deployment: Some(42),
        pending: true,
    };
    let seen = user.types("projects show my-app").await;
    assert_eq!(seen.code, 0, "{seen:?}");
    assert_eq!(
        seen.out,
        "\
my-app (production)
  Release    r7, since deployment #42
  Variables  TOKEN

SETTING               VALUE  FROM        RUNS WITH  TEMPS.TOML SAYS
health.path           /up    cluster     /up        /
health.host           -      default     -
deploy.drain_timeout  10m    cluster     30s        30s
rollback.keep         9      temps.toml  9
"
    );
    assert!(seen.err.contains("or now with  temps deployments redeploy 42"), "{seen:?}");
    let seen = user.types("projects show my-app --json").await;
    let told: Value = serde_json::from_str(&seen.out).unwrap();
    assert_eq!(
        (&told["release"], &told["deployment"], &told["pending"]),
        (&json!(7), &json!(42), &json!(true))
    );
    assert_eq!((&told["variables"], &told["settings"][0]["file"]), (&json!(["TOKEN"]), &json!("/")));
    assert!(!format!("{seen:?}").contains("CANARY"));
}

#[tokio::test]
async fn who_deploys_sees_what_the_cluster_puts_in_place_of_the_file() {
    let user = User::new().await;
    user.write("temps.toml", "[project]\nname = \"my-app\"\n[processes.web]\ncommand = \"./server\"\n");
    user.town().events = good_events();
    let mut brought = detail("succeeded");
    let all = vec![covered("health.path", "/up", Some("/")), covered("health.host", "a.example", None)];
    brought.deployment.as_mut().unwrap().covered = all.clone();
    user.town().detail = brought;
    user.town().covered = all;
    let lines = "health.path is /up (set in the cluster); temps.toml says /\n\
                 health.host is a.example (set in the cluster); temps.toml says nothing\n";
    let told = json!([
        { "key": "health.path", "value": "/up", "file": "/" },
        { "key": "health.host", "value": "a.example", "file": null },
    ]);
    let seen = user.types("deploy -y").await;
    assert!(seen.err.ends_with(&format!("{lines}Deployment #42 accepted\n{GOOD_LINES}")), "{seen:?}");
    for line in ["deploy -y --json", "deploy -y --json --detach", "deployments show 42 --json"] {
        let seen = user.types(line).await;
        let value: Value = serde_json::from_str(&seen.out).unwrap();
        assert_eq!(value["covered"], told, "{line}");
    }
    let seen = user.types("deployments show 42").await;
    assert!(
        seen.out.contains("  Setting   health.path is /up (set in the cluster); temps.toml says /"),
        "{seen:?}"
    );
    user.town().no_change = true;
    let seen = user.types("deploy -y").await;
    assert!(seen.err.ends_with(lines), "{seen:?}");
    let covered = user.town().covered.clone();
    user.town().preview =
        Some(temps_wire::proto::DeploymentPreview { no_change: true, covered, ..Default::default() });
    let seen = user.types("deploy --dry-run --json").await;
    assert!(seen.err.contains(lines), "{seen:?}");
    let value: Value = serde_json::from_str(&seen.out).unwrap();
    assert_eq!(value["plan"]["covered"], told);
}

#[tokio::test]
async fn deploying_again_asks_watches_and_may_be_left() {
    let mut user = User::new().await;
    user.town().events = good_events();
    user.town().detail = detail("succeeded");
    let seen = user.types("deployments redeploy 41").await;
    assert_eq!(seen.code, 2);
    assert!(seen.err.contains("add -y"), "{seen:?}");
    let seen = user.types("deployments redeploy #41 -y").await;
    assert_eq!((seen.code, user.town().redeploys.clone()), (0, vec![41]));
    assert_eq!(seen.err, format!("Deployment #42 accepted\n{GOOD_LINES}"));
    let seen = user.types("deployments redeploy 41 -y --detach --json").await;
    let value: Value = serde_json::from_str(&seen.out).unwrap();
    assert_eq!(value, json!({ "deployment": 42, "detached": true, "covered": [] }));
    user.town().detail = detail("rolled_back");
    assert_eq!(user.types("deployments redeploy 41 -y").await.code, 3);
    user.terminal = true;
    user.input = "n\n".to_owned();
    let seen = user.types("deployments redeploy 41").await;
    assert_eq!(seen.code, 1);
    assert!(seen.err.starts_with("Deploy again what deployment #41 brought? [y/N] "), "{seen:?}");
    assert_eq!(user.town().redeploys.len(), 3);
}
