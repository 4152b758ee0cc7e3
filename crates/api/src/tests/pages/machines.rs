//! Pages of machines, and what every page tells of them.

use std::collections::BTreeMap;

use temps_core::command::{Action, Command, Observation};
use temps_core::model::{
    ClusterState, DeploymentId, EnvironmentId, Event, EventId, InstanceId, NodeFacts, NodeId, Reason,
    ReleaseId, Seen, What,
};
use temps_ledger::Ledger;
use temps_wire::proto::DrainNodeRequest;

use super::super::cluster::{Cluster, deploy, deploy_build, digest};
use super::Browser;

/// An instance of the first release serves on that node.
async fn serves_on(cluster: &Cluster, node: u64) {
    deploy(&cluster.client(), "v1").await;
    let start = Action::Start {
        environment: EnvironmentId(1),
        deployment: None,
        release: ReleaseId(1),
        process: "web".to_owned(),
        slot: 0,
        node: NodeId(node),
        why: Some(Reason::More),
    };
    cluster.plan(vec![start]).await;
    let ready = Observation::Instance {
        instance: InstanceId(1),
        seen: Seen::Ready,
        endpoint: None,
        attempts: 1,
        last_check: Some("200 in 3ms".to_owned()),
        log_tail: Vec::new(),
        exit: None,
    };
    cluster.report(node, ready).await;
    cluster.plan(vec![Action::Admit { instance: InstanceId(1) }]).await;
}

/// The strip above a page.
fn strip(page: &str) -> &str {
    let at = page.find("<div class=\"strip\"").expect("a strip");
    &page[at..page.find("<main").unwrap()]
}

#[tokio::test]
async fn a_node_says_in_the_words_of_the_command_line_how_it_is() {
    let joined = Event {
        id: EventId::default(),
        wall: 1_000,
        deployment: None,
        environment: None,
        what: What::NodeJoined { node: NodeId(2) },
    };
    let events = [(joined.id, joined)].into();
    let cluster = Cluster::start_from(3, ClusterState { events, ..ClusterState::default() }).await;
    serves_on(&cluster, 2).await;
    let facts = NodeFacts {
        trouble: Some("the engine does not answer".to_owned()),
        labels: BTreeMap::from([("zone".to_owned(), "b".to_owned()), ("disk".to_owned(), "ssd".to_owned())]),
        free: Some(42_000_000_000),
        ..NodeFacts::default()
    };
    cluster.report(2, Observation::Facts(facts)).await;
    let request = DrainNodeRequest { node: 2 };
    cluster.client().call(|mut api| async move { api.drain_node(request).await }).await.unwrap();
    let browser = Browser::sign_in(&cluster).await;
    let control = cluster.nodes[1].address.as_str();
    for path in ["/nodes", "/nodes/2"] {
        let page = browser.get(path).await.text;
        for told in [
            "up, draining, trouble",
            "the engine does not answer",
            "disk=ssd,zone=b",
            "42GB",
            control,
            "127.0.0.1:2",
        ] {
            assert!(page.contains(told), "{path} tells {told}: {page}");
        }
    }
    let page = browser.get("/nodes/2").await.text;
    for told in ["<td>n2</td>", "i1 (web of shop, production)", "200 in 3ms"] {
        assert!(page.contains(told), "{told}: {page}");
    }
    for link in
        ["<a href=\"/instances/1\">i1</a>", "<a href=\"/projects/shop/production\">shop / production</a>"]
    {
        assert!(page.contains(link), "{link}: {page}");
    }
    assert!(strip(&page).contains("node-2: draining, trouble"), "{}", strip(&page));
    // What did not happen today has its day.
    let past = "<time data-day=\"past\" datetime=\"1970-01-01T00:00:01Z\">1970-01-01 00:00:01</time>";
    assert!(page.contains(past) && page.contains("<li><time datetime=\"2"), "{page}");
    assert!(browser.get("/nodes/1").await.text.contains("<td>leader</td>"));
    assert!(!browser.get("/nodes/3").await.text.contains("<td>i1</td>"), "it runs elsewhere");
}

#[tokio::test]
async fn a_build_that_is_left_on_a_node_has_a_name() {
    let cluster = Cluster::start(2).await.with_containers().await;
    let id = DeploymentId(deploy_build(&cluster.client(), "source").await);
    let build = Action::Build { deployment: id, node: NodeId(2) };
    cluster.plan(vec![Action::Begin { deployment: id }, build]).await;
    let browser = Browser::sign_in(&cluster).await;
    cluster.write(Command::DrainNode { node: NodeId(2) }).await;
    let page = browser.get("/nodes/2").await.text;
    assert!(page.contains("build (shop, production)"), "{page}");
}

#[tokio::test]
async fn data_is_lost_with_a_node_only_where_somebody_says_so_twice() {
    let cluster = Cluster::start(3).await;
    serves_on(&cluster, 2).await;
    let browser = Browser::sign_in(&cluster).await;
    let word = browser.word("/").await;
    assert!(!browser.get("/nodes/3").await.text.contains("/nodes/3/remove"), "it is up");
    // Only node 2 stores what runs.
    cluster.report(2, Observation::Artifact { digest: digest("v1"), stored: true }).await;
    cluster.write(Command::Liveness { lost: vec![NodeId(2), NodeId(3)], back: Vec::new() }).await;
    cluster.write(Command::Liveness { lost: Vec::new(), back: vec![NodeId(3)] }).await;
    let page = browser.get("/nodes/2").await.text;
    assert!(page.contains("only node-2 stores what release r1 of"), "{page}");
    let [before, forced] = page.split("<details>").collect::<Vec<_>>().try_into().unwrap();
    assert!(!before.contains("/nodes/2/remove"), "no button by which it would be refused");
    assert!(
        forced.contains("Should it come back, what it runs ends. Data that only it has is lost"),
        "{forced}"
    );
    assert!(forced.contains("name=\"force\""), "{forced}");
    let fields = [("word", word.clone())];
    assert_eq!(browser.post("/nodes/2/remove", &fields, &[]).await.status, 409);
    let fields = [("word", word), ("force", "1".to_owned())];
    assert_eq!(browser.post("/nodes/2/remove", &fields, &[]).await.status, 303);
    assert!(!cluster.log.state().nodes.contains_key(&NodeId(2)));
    assert!(!browser.get("/nodes").await.text.contains("node-2"));
}

#[tokio::test]
async fn a_token_lets_as_many_machines_join_as_was_asked_for() {
    let cluster = Cluster::start(1).await;
    let browser = Browser::sign_in(&cluster).await;
    let word = browser.word("/nodes").await;
    let join = async |ttl: &str, uses: &str| {
        let fields = [("word", word.clone()), ("ttl", ttl.to_owned()), ("uses", uses.to_owned())];
        browser.post("/nodes/join", &fields, &[]).await
    };
    let made = join("2h", "3").await.text;
    assert!(
        made.contains("Lets 3 machines join within 2h") && made.contains("temps server --join"),
        "{made}"
    );
    let state = cluster.log.state();
    let token = state.join_tokens.values().next_back().unwrap();
    assert_eq!((token.uses, token.expires_at.saturating_sub(state.clock) / 60_000), (3, 120));
    for (ttl, uses, says) in [
        ("2", "1", "needs a unit"),
        ("0s", "1", "lets nobody join"),
        ("1h", "many", "many"),
        ("1h", "0", "lets nobody join"),
    ] {
        let refused = join(ttl, uses).await;
        assert_eq!(refused.status, 400, "{ttl} {uses}: {}", refused.text);
        assert!(refused.text.contains(says), "{ttl} {uses}: {}", refused.text);
    }
}

#[tokio::test]
async fn the_strip_tells_whose_edge_still_serves_older_routes() {
    let cluster = Cluster::start(2).await;
    serves_on(&cluster, 1).await;
    let browser = Browser::sign_in(&cluster).await;
    let index = cluster.log.state().index;
    cluster.report(1, Observation::Applied { index }).await;
    let page = browser.get("/nodes").await.text;
    let [first, second] = [" leads", "node-2"].map(|name| strip(&page).find(name).expect(name));
    let older: Vec<_> = strip(&page).match_indices(">older routes<").map(|(at, _)| at).collect();
    assert!(older.len() == 1 && first < second && second < older[0], "of node-2 alone: {}", strip(&page));
    cluster.report(2, Observation::Applied { index }).await;
    assert!(!browser.get("/nodes").await.text.contains("older routes"));
}
