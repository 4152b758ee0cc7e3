//! Machines that are cordoned, drained and removed.

use temps_wire::proto::{Instance, InstanceStory, LeftOnNode, Node, NodeDetail, StoryLine};
use tonic::Status;

use super::User;

fn machine() -> Node {
    Node { id: 2, name: "n2".to_owned(), status: "up".to_owned(), ..Node::default() }
}

fn draining(left: Vec<LeftOnNode>) -> NodeDetail {
    let node = Node { draining: true, cordoned: true, ..machine() };
    NodeDetail { node: Some(node), left, events: Vec::new() }
}

fn web(why: &str, stuck: bool) -> LeftOnNode {
    LeftOnNode {
        instance: "i7".to_owned(),
        project: "shop".to_owned(),
        environment: "production".to_owned(),
        process: "web".to_owned(),
        state: "serving".to_owned(),
        why: why.to_owned(),
        stuck,
    }
}

async fn user() -> User {
    let user = User::new().await;
    user.town().machines = vec![machine()];
    user
}

#[tokio::test]
async fn a_drain_is_followed_until_nothing_is_left() {
    let user = user().await;
    let replaced = web("waits until i9 on n1 serves in its place", false);
    user.town().left = vec![
        draining(vec![replaced.clone()]),
        draining(vec![replaced]),
        draining(vec![web("finishes what it has begun", false)]),
        draining(vec![]),
    ];
    let seen = user.types("nodes drain n2").await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "Nothing is left on n2.\n"));
    assert_eq!(
        seen.err,
        "\
i7 (web of shop, production): waits until i9 on n1 serves in its place
i7 (web of shop, production): finishes what it has begun
i7 (web of shop, production): gone
Remove it with  temps nodes rm n2
Take it back with  temps nodes uncordon n2
"
    );
    assert_eq!(user.town().changes[0].0, "drain_node");
}

#[tokio::test]
async fn time_that_is_up_tells_what_is_left_and_why() {
    let user = user().await;
    user.town().left = vec![draining(vec![web("its volumes are on n2", true)])];
    let seen = user.types("nodes drain n2 --timeout 1s").await;
    assert_eq!(seen.code, 5, "{seen:?}");
    assert!(seen.err.contains("warning: i7 (web of shop, production): its volumes are on n2\n"), "{seen:?}");
    assert!(seen.err.contains("n2 is not empty after 1s; it is drained on\n"), "{seen:?}");
    let seen = user.types("nodes drain n2 --timeout 1s --json").await;
    let value: serde_json::Value = serde_json::from_str(&seen.out).unwrap();
    assert_eq!((seen.code, &value["drained"]), (5, &serde_json::json!(false)));
    assert_eq!(value["left"][0]["instance"], "i7");
}

#[tokio::test]
async fn a_drain_can_be_left_and_ends_when_the_node_is_taken_back() {
    let user = user().await;
    let seen = user.types("nodes drain n2 --detach").await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "n2 is being drained.\n"));
    user.town().left = vec![NodeDetail { node: Some(machine()), ..NodeDetail::default() }];
    let seen = user.types("nodes drain n2").await;
    assert_eq!(seen.code, 6);
    assert!(seen.err.contains("n2 was uncordoned, so it is drained no longer"), "{seen:?}");
}

#[tokio::test]
async fn a_refusal_is_a_conflict_in_the_words_of_the_cluster() {
    let user = user().await;
    user.town().refusals = vec![Status::already_exists("node n2 cannot be drained")];
    let seen = user.types("nodes drain n2").await;
    assert_eq!((seen.code, seen.err.as_str()), (6, "error: node n2 cannot be drained\n"));
}

#[tokio::test]
async fn cordoning_says_what_it_means() {
    let user = user().await;
    let seen = user.types("nodes cordon n2").await;
    assert_eq!(seen.out, "n2 is cordoned: nothing new is placed there, what runs goes on.\n");
    let seen = user.types("nodes uncordon n2").await;
    assert_eq!(seen.out, "n2 takes instances again; none moves back by itself.\n");
    user.town().no_change = true;
    assert_eq!(user.types("nodes cordon n2").await.out, "n2 is cordoned already.\n");
    assert_eq!(user.types("nodes uncordon n2").await.out, "n2 is not cordoned.\n");
    let seen = user.types("nodes cordon n9").await;
    assert_eq!((seen.code, seen.err.as_str()), (1, "error: there is no node \"n9\"\n  known: n2\n"));
}

#[tokio::test]
async fn removing_asks_first() {
    let mut user = user().await;
    let seen = user.types("nodes rm n2").await;
    assert_eq!(seen.code, 2, "{seen:?}");
    assert!(seen.err.contains("-y"), "{seen:?}");
    assert!(user.town().removals.is_empty());
    let seen = user.types("nodes rm n2 -y").await;
    assert_eq!((seen.code, seen.out.as_str()), (0, "n2 is removed.\n"));
    user.terminal = true;
    user.input = "y\n".to_owned();
    assert_eq!(user.types("nodes rm n2 --force").await.code, 0);
    let asked: Vec<_> = user.town().removals.iter().map(|r| (r.node, r.force)).collect();
    assert_eq!(asked, [(2, false), (2, true)]);
}

#[tokio::test]
async fn a_machine_shows_what_is_left_on_it() {
    let user = user().await;
    user.town().left = vec![draining(vec![web("its volumes are on n2", true)])];
    let seen = user.types("nodes show n2").await;
    assert!(seen.out.contains("  Status    up, draining\n"), "{seen:?}");
    assert!(
        seen.out.contains("  Left      i7 (web of shop, production): its volumes are on n2\n"),
        "{seen:?}"
    );
    let seen = user.types("nodes show n2 --json").await;
    let value: serde_json::Value = serde_json::from_str(&seen.out).unwrap();
    assert_eq!((&value["draining"], &value["left"][0]["stuck"]), (&true.into(), &true.into()));
}

#[tokio::test]
async fn an_instance_tells_its_story() {
    let user = user().await;
    let instance = Instance {
        id: "i7".to_owned(),
        process: "web".to_owned(),
        node: "n2".to_owned(),
        release: 3,
        state: "draining".to_owned(),
        project: "shop".to_owned(),
        environment: "production".to_owned(),
        ..Instance::default()
    };
    let line = |second: u64, kind: &str, text: &str| StoryLine {
        wall_ms: 52_260_000 + second * 1_000,
        kind: kind.to_owned(),
        text: text.to_owned(),
    };
    let lines = vec![
        line(1, "started", "Started on n2 for step 1 of 3 of deployment #42 (rolling)"),
        line(2, "healthy", "Health check passed (attempt 3)"),
        line(3, "withdrawn", "Withdrawn, it gets no new requests: node n2 is drained"),
    ];
    user.town().story = Some(InstanceStory { instance: Some(instance), lines });
    let seen = user.types("deployments why i7").await;
    assert_eq!(
        (seen.code, seen.out.as_str()),
        (
            0,
            "\
i7  web of shop (production), release r3, on n2: draining
14:31:01  Started on n2 for step 1 of 3 of deployment #42 (rolling)
14:31:02  Health check passed (attempt 3)
14:31:03  Withdrawn, it gets no new requests: node n2 is drained
"
        )
    );
    let seen = user.types("deployments why 7 --json").await;
    let value: serde_json::Value = serde_json::from_str(&seen.out).unwrap();
    assert_eq!(value["story"][2]["kind"], "withdrawn");
    assert_eq!(user.types("deployments why i8").await.code, 1);
}
