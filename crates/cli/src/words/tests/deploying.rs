use std::time::Duration;

use temps_core::model::{Source, Spec, What};
use temps_wire::client::Client;
use temps_wire::codec;
use temps_wire::proto::{DeploymentPreview, EventId, ProcessPreview};
use tonic::Status;

use super::{GOOD_LINES, User, detail, event, good_events, town};
use crate::exit::Code;
use crate::screen::Look;
use crate::screen::testing::screen;
use crate::watch::{Follow, Lines, follow};

const FILE: &str = "[project]\nname = \"my-app\"\n[processes.web]\ncommand = \"./server\"\ninstances = 3\n";

async fn user() -> User {
    let user = User::new().await;
    user.write("temps.toml", FILE);
    user.write("server", "#!/bin/sh\n");
    user.write("big", &"0123456789abcdef".repeat(40_000));
    user.town().events = good_events();
    user.town().detail = detail("succeeded");
    user
}

#[tokio::test]
async fn a_deployment_from_directory_to_live() {
    let user = user().await;
    let seen = user.types("deploy -y").await;
    assert_eq!(seen.code, 0, "{seen:?}");
    assert_eq!(seen.out, "Deployment #42 of my-app (production) succeeded: r7 is live after 6s.\n");
    let (head, lines) = seen.err.split_once("Deployment #42 accepted\n").unwrap();
    assert_eq!(lines, GOOD_LINES);
    assert!(head.starts_with("Packed 3 files ("), "{head}");
    assert!(head.contains("stored on n1, n2"), "{head}");

    let deploy = user.town().deploys[0].clone();
    assert_eq!((deploy.project.as_str(), deploy.environment.as_str()), ("my-app", "production"));
    let source: Source = codec::decode(&deploy.source).unwrap();
    let Source::Bundle { bundle } = &source else { panic!("{source:?}") };
    assert!(user.town().bundles.contains(&bundle.digest), "the bundle arrived whole");
    let spec: Spec = codec::decode(&deploy.spec).unwrap();
    assert_eq!((spec.processes["web"].command.as_str(), spec.processes["web"].instances), ("./server", 3));

    // The same content again: nothing is sent, and everything has a key of its own.
    let seen = user.types("deploy . -e staging").await;
    assert_eq!(seen.code, 0, "staging asks nobody: {seen:?}");
    assert!(seen.err.contains("The cluster has this bundle already"), "{}", seen.err);
    let changes: Vec<(&str, String)> = user.town().changes.clone();
    assert_eq!(changes.iter().map(|(what, _)| *what).collect::<Vec<_>>(), ["put_bundle", "deploy", "deploy"]);
    assert!(changes.iter().all(|(_, key)| key.len() == 32) && changes[1].1 != changes[2].1, "{changes:?}");
}

#[tokio::test]
async fn without_a_terminal_production_needs_the_flag_and_nothing_is_asked_of_the_cluster() {
    let user = user().await;
    for line in ["deploy", "deployments rollback", "deployments cancel 42"] {
        let seen = user.types(line).await;
        assert_eq!((seen.code, seen.out.as_str()), (2, ""), "{line}: {seen:?}");
        assert!(seen.err.contains("add -y (or set TEMPS_YES=1)"), "{line}: {seen:?}");
    }
    assert!(user.town().changes.is_empty());
}

#[tokio::test]
async fn at_a_terminal_the_answer_decides() {
    let mut user = user().await;
    user.terminal = true;
    user.input = "n\n".to_owned();
    let seen = user.types("deployments rollback -p my-app --to 41").await;
    assert_eq!(seen.code, 1);
    assert!(
        seen.err.starts_with("Roll my-app (production) back to the release of deployment #41? [y/N] "),
        "{seen:?}"
    );
    assert!(user.town().changes.is_empty());
    user.input = "y\n".to_owned();
    assert_eq!(user.types("deployments rollback -p my-app --to 41").await.code, 0);
    assert_eq!(user.town().rollbacks[0].to, Some(41));
}

#[tokio::test]
async fn how_it_ends_is_the_exit_code() {
    let user = user().await;
    for (phase, code) in
        [("succeeded", 0), ("rolled_back", 3), ("cancelled", 3), ("failed", 4), ("superseded", 6)]
    {
        user.town().detail = detail(phase);
        for line in ["deploy -y", "deployments rollback -y", "deployments watch 42"] {
            let seen = user.types(line).await;
            assert_eq!(seen.code, code, "{line} {phase}: {seen:?}");
            if phase == "rolled_back" {
                assert!(seen.err.contains("failed and was rolled back to r6."), "{seen:?}");
                assert!(seen.err.contains("Next      temps deployments timeline 42"), "{seen:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_watch_that_loses_its_node_goes_on_where_it_was() {
    let user = User::of(town::start(2).await);
    user.town().events = good_events();
    user.town().detail = detail("succeeded");
    user.town().breaks = vec![2, 0, 3];
    let seen = user.types("deployments watch 42").await;
    assert_eq!(seen.code, 0, "{seen:?}");
    assert_eq!(
        seen.out,
        format!("{GOOD_LINES}Deployment #42 of my-app (production) succeeded: r7 is live after 6s.\n")
    );
    let at = |index| Some(EventId { index, place: 0 });
    assert_eq!(user.town().watched_after, [None, at(2), at(2), at(5)]);
}

#[tokio::test]
async fn json_is_one_object_or_one_event_a_line() {
    let user = user().await;
    let seen = user.types("deploy -y --json").await;
    let value: serde_json::Value = serde_json::from_str(&seen.out).unwrap();
    assert_eq!((value["deployment"].as_u64(), value["phase"].as_str()), (Some(42), Some("succeeded")));
    assert_eq!(seen.out.lines().count(), 1);

    for line in ["deploy -y --json --watch", "deployments watch 42 --json"] {
        let seen = user.types(line).await;
        let kinds: Vec<String> = seen
            .out
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["kind"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(
            kinds,
            ["starting", "healthy", "admitted", "draining", "drained", "removed", "ended"],
            "{line}"
        );
    }
    let first = user.types("deployments watch 42 --json").await.out.lines().next().unwrap().to_owned();
    assert_eq!(
        first,
        r#"{"deployment":42,"id":{"index":1,"place":0},"instance":"i7","kind":"starting","node":"n2","text":"New container starting","time":"1970-01-01T14:31:01Z"}"#
    );
}

#[tokio::test]
async fn time_can_run_out_and_the_deployment_goes_on() {
    let user = user().await;
    user.town().events.truncate(2);
    user.town().goes_on = true;
    let seen = user.types("deployments watch 42 --timeout 300ms").await;
    assert_eq!(seen.code, 5);
    assert_eq!(
        seen.err,
        "deployment #42 has not ended after 300ms; it goes on\n  follow it with  temps deployments watch 42\n  cancel it with  temps deployments cancel 42\n"
    );
}

#[tokio::test]
async fn an_interrupt_detaches_and_says_how_to_go_on() {
    let user = user().await;
    user.town().goes_on = true;
    let client = Client::new(user.running.endpoints.clone(), &user.running.token.parse().unwrap());
    let (mut screen, out, _) = screen("", Look::default());
    let what =
        Follow { number: 42, lines: Lines::Result, timeout: Duration::from_secs(60), with_build: false };
    let paper = out.clone();
    // The user presses Ctrl-C when the last line has appeared.
    let interrupt = async move {
        while !paper.text().contains("Deployment complete") {
            tokio::task::yield_now().await;
        }
    };
    let failure = follow(&client, &mut screen, what, interrupt).await.unwrap_err();
    assert_eq!(failure.code, Code::Interrupted);
    assert_eq!(
        failure.to_string(),
        "detached; deployment #42 goes on\n  follow it with  temps deployments watch 42\n  cancel it with  temps deployments cancel 42"
    );
    assert_eq!(out.text(), GOOD_LINES);
}

#[tokio::test]
async fn detached_at_once() {
    let user = user().await;
    let seen = user.types("deploy -y --detach").await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "Deployment #42 accepted.\n"));
    assert!(user.town().watched_after.is_empty());
    let seen = user.types("deploy -y --detach --json").await;
    assert_eq!(seen.out, "{\"covered\":[],\"deployment\":42,\"detached\":true}\n");
}

#[tokio::test]
async fn what_runs_already_starts_nothing() {
    let user = user().await;
    user.town().no_change = true;
    let seen = user.types("deploy -y").await;
    assert_eq!(seen.code, 0);
    assert_eq!(
        seen.out,
        "my-app (production) runs this release already, since deployment #42. Nothing was started.\n"
    );
}

#[tokio::test]
async fn refusals_of_the_cluster_are_exit_codes() {
    let user = user().await;
    for (status, code, said) in [
        (Status::already_exists("deployment #41 is under way"), 6, "error: deployment #41 is under way"),
        (Status::permission_denied("a viewer may not deploy"), 7, "error: a viewer may not deploy"),
        (Status::not_found("there is no such thing"), 1, "error: there is no such thing"),
        (Status::invalid_argument("bad \x1b[2J"), 1, "error: bad \\x1b[2J"),
    ] {
        user.town().refusals = vec![status];
        let seen = user.types("deployments rollback -y -p my-app").await;
        assert_eq!(seen.code, code, "{seen:?}");
        assert!(seen.err.starts_with(said), "{seen:?}");
    }
    // No leader for a moment: the same request again, under the same key.
    user.town().changes.clear();
    user.town().refusals = vec![Status::unavailable("no leader")];
    assert_eq!(user.types("deployments rollback -y -p my-app").await.code, 0);
    let changes = user.town().changes.clone();
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[0], changes[1]);
    // And for longer.
    user.town().refusals = vec![Status::unavailable("no leader"); 50];
    assert_eq!(user.types("deployments rollback -y -p my-app").await.code, 8);
}

#[tokio::test]
async fn nobody_there_is_exit_code_8() {
    let mut user = user().await;
    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    user.running.endpoints = vec![gone.to_string()];
    let seen = user.types("deploy -y").await;
    assert_eq!(seen.code, 8, "{seen:?}");
    assert!(seen.err.contains("no node can be reached") && seen.err.contains(&gone.to_string()), "{seen:?}");
}

#[tokio::test]
async fn a_dry_run_shows_everything_and_needs_no_cluster() {
    let mut user = user().await;
    user.logged_in = false;
    let seen = user.types("deploy other --dry-run").await;
    assert_eq!(seen.code, 0, "{seen:?}");
    assert!(seen.out.starts_with("# environment: production\n# bundle: sha256 "), "{}", seen.out);
    assert!(seen.out.contains("[project]\nname = \"other\"\n"), "{}", seen.out);
    assert!(seen.out.contains("start_period = \"30s\"\n"), "{}", seen.out);
    let json = user.types("deploy other --dry-run --json").await.out;
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["spec"]["processes"]["web"]["instances"], 3);
    assert!(seen.out.contains(value["bundle"]["digest"].as_str().unwrap()));
}

#[tokio::test]
async fn a_dry_run_tells_the_plan_of_the_cluster() {
    let user = user().await;
    let web =
        ProcessPreview { name: "web".to_owned(), peak: 4, least_serving: 3, ..ProcessPreview::default() };
    let preview = DeploymentPreview { processes: vec![web], ..DeploymentPreview::default() };
    user.town().preview = Some(preview);
    let seen = user.types("deploy my-app --dry-run").await;
    assert!(seen.out.contains("#   Instances at most 4 at once, at least 3 serving"), "{}", seen.out);
    let json: serde_json::Value =
        serde_json::from_str(&user.types("deploy my-app --dry-run --json").await.out).unwrap();
    assert_eq!(json["plan"]["processes"][0]["peak_instances"], 4);
    assert!(user.town().changes.is_empty(), "nothing was changed");
}

#[tokio::test]
async fn a_directory_without_a_file_is_told_how_to_write_one() {
    let user = User::new().await;
    let seen = user.types("deploy my-app -y").await;
    assert_eq!(seen.code, 2);
    let expected = format!(
        "error: there is no {}\n  it says what to run; the smallest useful one is:\n\n    [project]\n    name = \"my-app\"\n\n    [processes.web]\n",
        user.here().join("./temps.toml").display()
    );
    assert!(seen.err.starts_with(&expected), "{}", seen.err);
}

#[tokio::test]
async fn hostile_events_are_inert() {
    let user = user().await;
    let mut hostile =
        event(1, "crashed", &temps_core::model::What::NodeLost { node: temps_core::model::NodeId(1) });
    hostile.text = "Container ended by itself (\x1b[2J\u{202e})".to_owned();
    user.town().events = vec![hostile];
    let seen = user.types("deployments watch 42").await;
    assert!(seen.out.starts_with("14:31:01  Container ended by itself (\\x1b[2J\\u{202e})\n"), "{seen:?}");
}

#[tokio::test]
async fn a_deployment_is_directed_by_hand() {
    let user = user().await;
    for (no_change, line, said) in [
        (false, "pause 42", "waits after its current step"),
        (true, "pause 42", "is paused already"),
        (false, "resume 42", "goes on"),
        (true, "resume 42", "is not paused"),
        (false, "promote 42", "goes on to its next step"),
        (false, "promote 42 --all", "goes on without holding again"),
        (true, "promote 42", "holds nowhere"),
    ] {
        user.town().no_change = no_change;
        let seen = user.types(&format!("deployments {line}")).await;
        assert_eq!((seen.code, seen.out), (0, format!("Deployment #42 {said}.\n")), "{line}");
    }
    let promoted: Vec<_> = user.town().promotions.iter().map(|asked| (asked.deployment, asked.all)).collect();
    assert_eq!(promoted, [(42, false), (42, true), (42, false)]);
    let seen = user.types("deployments resume 42 --json").await;
    assert_eq!(seen.out, "{\"deployment\":42,\"no_change\":true}\n");
}

#[tokio::test]
async fn who_follows_a_paused_deployment_is_told_how_it_goes_on() {
    let user = user().await;
    let paused = What::Paused { by: "bob".to_owned() };
    user.town().events =
        vec![event(1, "paused", &paused), event(2, "resumed", &paused), event(3, "paused", &paused)];
    user.town().goes_on = true;
    user.town().detail = detail("stepping");
    let as_it_stands = |paused: &str| {
        if let Some(deployment) = &mut user.town().detail.deployment {
            (deployment.ended, deployment.paused) = (false, paused.to_owned());
        }
    };
    as_it_stands("bob");
    let seen = user.types("deployments watch 42").await;
    assert_eq!(seen.code, 4, "{seen:?}");
    assert!(
        seen.err.contains("deployment #42 is paused\n  let it go on with  temps deployments resume 42"),
        "{seen:?}"
    );
    // What was paused once and is not any more is followed.
    as_it_stands("");
    let seen = user.types("deployments watch 42 --timeout 300ms").await;
    assert_eq!(seen.code, 5, "{seen:?}");
}
