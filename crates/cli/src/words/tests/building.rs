//! Images: built from a directory, or named.

use temps_core::model::{NodeId, Source, Spec, What};
use temps_wire::codec;
use temps_wire::proto::{LogLine, Node, ResolveImageResponse};

use super::{User, detail, event, good_events};

const PACKAGE: &str = r#"{ "scripts": { "start": "node server.js" } }"#;

fn machine(name: &str, runtime: &str) -> Node {
    Node { name: name.to_owned(), status: "up".to_owned(), runtime: runtime.to_owned(), ..Node::default() }
}

/// A user of a cluster that runs containers.
async fn user() -> User {
    let user = User::new().await;
    user.town().machines = vec![machine("n1", "docker"), machine("n2", "docker")];
    user.town().events = good_events();
    user.town().detail = detail("succeeded");
    user
}

fn source(user: &User) -> (Source, Spec) {
    let deploy = user.town().deploys.last().cloned().unwrap();
    (codec::decode(&deploy.source).unwrap(), codec::decode(&deploy.spec).unwrap())
}

fn lines(texts: &[&str]) -> Vec<LogLine> {
    let line = |(at, text): (usize, &&str)| LogLine {
        wall_ms: 52_260_000 + at as u64 / 2,
        node: "n1".to_owned(),
        stream: "out".to_owned(),
        text: text.as_bytes().to_vec().into(),
        ..LogLine::default()
    };
    texts.iter().enumerate().map(line).collect()
}

#[tokio::test]
async fn where_containers_run_a_directory_with_a_dockerfile_becomes_an_image() {
    let user = user().await;
    user.write("app/deploy/Dockerfile", "FROM scratch\n");
    user.write("app/temps.toml", "[build]\ndockerfile = \"deploy/Dockerfile\"\ntimeout = \"5m\"\n");
    let seen = user.types("deploy my-app app -y").await;
    assert_eq!(seen.code, 0, "{seen:?}");
    let (source, spec) = source(&user);
    let Source::Build { context, dockerfile, timeout } = source else { panic!("{source:?}") };
    assert_eq!((dockerfile.as_str(), timeout), ("deploy/Dockerfile", 300_000));
    assert!(user.town().bundles.contains(&context.digest), "the source arrived whole");
    let web = &spec.processes["web"];
    assert_eq!((web.http, web.instances, web.command.as_str()), (true, 1, ""));
    assert!(seen.err.contains("Source sent ("), "{seen:?}");

    let again = user.types("deploy my-app app -e staging").await;
    assert!(again.err.contains("The cluster has this source already ("), "{again:?}");

    user.write("app/temps.toml", "[build]\ndockerfile = \"Dockerfile.prod\"\n");
    let seen = user.types("deploy my-app app -y").await;
    assert_eq!(seen.code, 2);
    assert!(seen.err.starts_with("error: there is no Dockerfile.prod in "), "{seen:?}");
}

#[tokio::test]
async fn a_project_without_a_dockerfile_gets_one_that_a_dry_run_shows() {
    let user = user().await;
    user.write("package.json", PACKAGE);
    user.write("server.js", "x");
    user.write("node_modules/left-pad/index.js", "x");
    let seen = user.types("deploy my-app --dry-run").await;
    assert_eq!(seen.code, 0, "{seen:?}");
    assert!(seen.out.contains(", built with .temps/Dockerfile\n"), "{}", seen.out);
    assert!(seen.out.contains("\nFROM node:24 AS build\n"), "{}", seen.out);
    assert!(
        seen.err.contains("There is no Dockerfile; one was written (package.json, Node 24, npm)\n"),
        "{seen:?}"
    );
    assert!(seen.err.contains("Packed 4 files ("), "two of ours and two that were written: {seen:?}");
    assert!(user.town().changes.is_empty());
    let json = user.types("deploy my-app --dry-run --json").await.out;
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(value["source"]["written"].as_str().unwrap().starts_with("# Written by temps"), "{value}");
    assert_eq!(value["source"]["detected"], "package.json, Node 24, npm");

    assert_eq!(user.types("deploy my-app -y").await.code, 0);
    let (Source::Build { dockerfile, context, .. }, _) = source(&user) else { panic!("no build") };
    assert_eq!(dockerfile, ".temps/Dockerfile");
    assert_eq!(value["source"]["digest"], context.digest.as_str(), "what was shown is what is deployed");
}

#[tokio::test]
async fn what_cannot_be_built_says_what_was_looked_for() {
    let user = user().await;
    user.write("notes.txt", "x");
    let seen = user.types("deploy my-app -y").await;
    assert_eq!(seen.code, 2);
    assert!(
        seen.err.starts_with("error: there is no Dockerfile, and it is not known how to build this directory\n  looked for: Dockerfile, index.html (static), package.json (node), "),
        "{seen:?}"
    );
    assert!(user.town().changes.is_empty());
    user.write("index.html", "hello");
    user.write("temps.toml", "[processes.web]\nport = 3000\n");
    let seen = user.types("deploy my-app -y").await;
    assert_eq!(
        seen.err,
        "error: the web server of this site listens on port 8080, not 3000\n  leave `port` out of [processes.web]\n"
    );
}

#[tokio::test]
async fn a_bundle_can_be_asked_for_and_needs_somebody_to_run_it() {
    let user = user().await;
    user.write("Dockerfile", "FROM scratch\n");
    user.write("temps.toml", "[build]\nbuilder = \"bundle\"\n[processes.web]\ncommand = \"./x\"\n");
    let seen = user.types("deploy my-app -y").await;
    assert_eq!(seen.code, 2);
    assert!(seen.err.contains("needs a node that runs local processes"), "{seen:?}");
    user.town().machines.push(machine("n3", "process"));
    assert_eq!(user.types("deploy my-app -y").await.code, 0);
    assert!(matches!(source(&user).0, Source::Bundle { .. }));

    user.write(
        "temps.toml",
        "[build]\nbuilder = \"bundle\"\n[processes.web]\nmemory = \"1G\"\n[volumes]\ndata = \"/data\"\n",
    );
    let seen = user.types("deploy my-app -y").await;
    assert_eq!(seen.code, 2);
    for line in [
        "  process `web` has no command: add a line such as `command = \"./server\"` to [processes.web]\n",
        "  local processes cannot be held to `memory`: leave it out of [processes.web]\n",
        "  local processes have no volumes: leave [volumes] out\n",
    ] {
        assert!(seen.err.contains(line), "{seen:?}");
    }
}

#[tokio::test]
async fn a_dockerfile_where_nothing_runs_containers_says_so() {
    let user = user().await;
    user.town().machines = vec![machine("n1", "process")];
    user.write("Dockerfile", "FROM scratch\n");
    let seen = user.types("deploy my-app -y").await;
    assert_eq!(seen.code, 2);
    assert!(
        seen.err.starts_with("error: the directory has a Dockerfile, from which an image would be built, and no node of this cluster runs containers\n  see with  temps nodes list\n"),
        "{seen:?}"
    );
    user.write("temps.toml", "[processes.web]\ncommand = \"./x\"\n");
    assert_eq!(user.types("deploy my-app -y").await.code, 0);
    assert!(matches!(source(&user).0, Source::Bundle { .. }));
}

#[tokio::test]
async fn a_name_is_resolved_once_and_what_it_meant_is_deployed() {
    let user = user().await;
    let id = format!("sha256:{}", "ab".repeat(32));
    let answer = ResolveImageResponse {
        id: id.clone(),
        node: 2,
        node_name: "n2".to_owned(),
        warning: "the registry did not answer\x1b[2J".to_owned(),
    };
    user.town().images.insert("app:latest".to_owned(), answer);
    let seen = user.types("deploy my-app --image app:latest -y").await;
    assert_eq!(seen.code, 0, "{seen:?}");
    assert!(seen.err.starts_with("warning: the registry did not answer\\x1b[2J\n"), "{seen:?}");
    assert!(seen.err.contains(&format!("app:latest is {id} on n2\n")), "{seen:?}");
    let (source, spec) = source(&user);
    assert_eq!(source, Source::Image { reference: "app:latest".to_owned(), id, node: NodeId(2) });
    assert_eq!((spec.processes.len(), spec.processes["web"].http), (1, true));
    assert!(user.town().bundles.is_empty(), "nothing is packed");

    // The file of the directory counts where there is one, and what it says of building does not.
    user.write(
        "temps.toml",
        "[project]\nname = \"my-app\"\n[build]\nbuilder = \"bundle\"\n[processes.web]\ninstances = 3\n",
    );
    user.town().no_change = true;
    let seen = user.types("deploy --image app:latest -y").await;
    assert_eq!(
        seen.out,
        "my-app (production) runs this release already, since deployment #42. Nothing was started.\n"
    );
    assert_eq!(self::source(&user).1.processes["web"].instances, 3);

    let seen = user.types("deploy my-app --image app:none -y").await;
    assert_eq!((seen.code, seen.err.lines().next()), (1, Some("error: no node has an image app:none")));
    let seen = user.types("deploy my-app --image app:\u{202e}x -y").await;
    assert_eq!(
        (seen.code, seen.err.lines().next()),
        (2, Some("error: \"app:\\u{202e}x\" is not the name of an image"))
    );
}

#[tokio::test]
async fn the_log_of_a_build_is_shown_while_it_goes_on() {
    let user = user().await;
    user.write("Dockerfile", "FROM scratch\n");
    let mut events = vec![event(1, "building", &What::Building { node: NodeId(1) })];
    events.extend(good_events().into_iter().enumerate().map(|(at, mut event)| {
        event.id.as_mut().unwrap().index = 2 + at as u64;
        event
    }));
    user.town().events = events;
    user.town().build_lines = lines(&["Step 1/2", "\x1b[2Jowned", "Step 2/2", "done"]);
    let watched = |user: &User| {
        let mut town = user.town();
        town.held_after = Some(1);
        town.build_asked.clear();
    };
    let expected = "build | Step 1/2\nbuild | \\x1b[2Jowned\nbuild | Step 2/2\nbuild | done\n";
    watched(&user);
    let seen = user.types("deploy my-app -y").await;
    assert_eq!(seen.code, 0, "{seen:?}");
    assert!(seen.err.contains(expected), "{}", seen.err);

    // Nodes are lost, and the build has not even begun at first: every line comes once.
    watched(&user);
    user.town().build_breaks = vec![1, 3, 0];
    user.town().build_begins_after = 2;
    let seen = user.types("deploy my-app -y").await;
    assert!(seen.err.contains(expected), "{}", seen.err);
    assert_eq!(seen.err.matches("build | ").count(), 4, "{}", seen.err);
    assert_eq!(user.town().build_asked.len(), 6);
    assert!(user.town().build_asked.iter().all(|ask| ask.deployment == 42 && ask.follow));

    watched(&user);
    user.town().build_begins_after = 0;
    let seen = user.types("deploy my-app -y --json --watch").await;
    let logged: Vec<serde_json::Value> = seen
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|value: &serde_json::Value| value["kind"] == "build_log")
        .collect();
    assert_eq!(logged.len(), 4, "{}", seen.out);
    assert_eq!(
        (logged[1]["text"].as_str(), logged[1]["deployment"].as_u64()),
        (Some("\x1b[2Jowned"), Some(42))
    );
}

#[tokio::test]
async fn a_build_that_begins_anew_on_another_node_is_shown_from_its_beginning_once() {
    let user = user().await;
    let mut events = vec![
        event(1, "building", &What::Building { node: NodeId(1) }),
        event(2, "building", &What::Building { node: NodeId(2) }),
    ];
    events.push(event(3, "built", &What::Built { node: NodeId(2), id: "sha256:x".to_owned(), bytes: 1_000 }));
    user.town().events = events;
    user.town().held_after = Some(2);
    let again =
        lines(&["Step 1/2", "Step 2/2"]).into_iter().map(|line| LogLine { node: "n2".to_owned(), ..line });
    user.town().build_lines = lines(&["Step 1/2"]).into_iter().chain(again).collect();
    user.write("Dockerfile", "FROM scratch\n");
    let seen = user.types("deploy my-app -y").await;
    let shown: Vec<&str> = seen.err.lines().filter(|line| line.starts_with("build | ")).collect();
    assert_eq!(shown, ["build | Step 1/2", "build | Step 1/2", "build | Step 2/2"], "{seen:?}");
    assert!(seen.err.ends_with("14:31:03  Build completed (image: 1.0kB)\n"), "{seen:?}");
    assert_eq!(user.town().build_asked.len(), 1);
}

#[tokio::test]
async fn the_log_of_a_build_can_be_read_later() {
    let user = user().await;
    user.town().build_lines = lines(&["Step 1/2", "Step 2/2", "done"]);
    let seen = user.types("deployments logs 42").await;
    assert_eq!(
        (seen.code, seen.out.as_str()),
        (0, "14:31:00  Step 1/2\n14:31:00  Step 2/2\n14:31:00  done\n"),
        "{seen:?}"
    );
    assert_eq!(user.types("deployments logs #42 --tail 1").await.out, "14:31:00  done\n");
    let json = user.types("deployments logs 42 -f --tail 1 --json").await.out;
    assert_eq!(
        json,
        "{\"deployment\":42,\"kind\":\"build_log\",\"node\":\"n1\",\"stream\":\"out\",\"text\":\"done\",\"time\":\"1970-01-01T14:31:00.001Z\"}\n"
    );
    // Of a deployment that has ended the log is not shown again while it is watched.
    user.town().events.insert(0, event(0, "building", &What::Building { node: NodeId(1) }));
    let asked = user.town().build_asked.len();
    assert_eq!(user.types("deployments watch 42").await.code, 0);
    assert_eq!(user.town().build_asked.len(), asked);

    user.town().build_begins_after = 99;
    let seen = user.types("deployments logs 42").await;
    assert_eq!((seen.code, seen.err.as_str()), (1, "error: the build has not begun\n"));
}

#[tokio::test]
async fn a_failed_build_says_that_nothing_has_changed() {
    let user = user().await;
    user.write("Dockerfile", "FROM scratch\n");
    for (phase, from, code, headline) in [
        (
            "rolled_back",
            Some(6),
            3,
            "Deployment #42 of my-app (production) failed to build; r6 is live as before.\n",
        ),
        (
            "failed",
            None,
            4,
            "Deployment #42 of my-app (production) failed to build; there is no release before it.\n",
        ),
    ] {
        let mut failed = detail(phase);
        let deployment = failed.deployment.as_mut().unwrap();
        deployment.from_release = from;
        deployment.reason = "the build on n1 failed: `RUN make` ended with exit code 2".to_owned();
        deployment.log_tail = vec!["make: *** No rule".to_owned()];
        let events = vec![event(1, "building", &What::Building { node: NodeId(1) })];
        failed.events.clone_from(&events);
        user.town().events = events;
        user.town().detail = failed;
        let seen = user.types("deploy my-app -y").await;
        assert_eq!(seen.code, code, "{seen:?}");
        assert!(seen.err.contains(headline), "{seen:?}");
        assert!(
            seen.err.contains("Log       the last line of the build:\n    | make: *** No rule\n"),
            "{seen:?}"
        );
        assert!(seen.err.contains("Next      temps deployments logs 42\n"), "{seen:?}");
        let now = if from.is_some() { "r6 serves as before; nothing was changed" } else { "nothing serves" };
        assert!(seen.err.contains(&format!("Now       {now}\n")), "{seen:?}");
    }
}

#[tokio::test]
async fn history_tells_what_was_given_and_what_ran() {
    let user = user().await;
    let mut shown = detail("succeeded");
    let deployment = shown.deployment.as_mut().unwrap();
    deployment.source = "image app:latest\x1b[2J".to_owned();
    deployment.image = format!("sha256:{}", "0123456789abcdef".repeat(4));
    user.town().detail = shown;
    let list = user.types("deployments list").await.out;
    assert!(list.contains("image app:latest\\x1b[2J  0123456789ab\n"), "{list}");
    let show = user.types("deployments show 42").await.out;
    assert!(
        show.contains("  Source    image app:latest\\x1b[2J\n  Image     sha256:0123456789abcdef"),
        "{show}"
    );
    let json = user.types("deployments show 42 --json").await.out;
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["source"], "image app:latest\x1b[2J");
}
