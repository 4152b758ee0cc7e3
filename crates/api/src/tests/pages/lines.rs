//! Pages of log lines.

use temps_core::command::{Action, Command};
use temps_core::model::{DeploymentId, EnvironmentId, NodeId, RELEASE_PROCESS, ReleaseId};
use temps_wire::proto::LogsRequest;

use super::super::cluster::{Cluster, deploy, deploy_build};
use super::super::logs::start;
use super::Browser;

const AT: &str = "/projects/shop/production/logs";

/// How many lines a page shows of those with that text.
fn lines(page: &str, text: &str) -> usize {
    page.matches(&format!("<span>{text}</span></li>")).count()
}

#[tokio::test]
async fn an_instance_that_says_much_hides_none_that_says_little() {
    let cluster = Cluster::start(2).await;
    deploy(&cluster.client(), "v1").await;
    start(&cluster, 0, 1).await;
    start(&cluster, 1, 2).await;
    cluster.nodes[1].paper.write(2, 1, "quiet");
    for at in 10..1_000 {
        cluster.nodes[0].paper.write(1, at, "chatty");
    }
    let browser = Browser::sign_in(&cluster).await;
    let page = browser.get(AT).await.text;
    assert_eq!((lines(&page, "quiet"), lines(&page, "chatty")), (1, 100), "as many as `temps logs` shows");
    assert!(page.contains("the last 100 lines of each instance"), "{page}");
    assert!(page.contains("Shown: 100 of i1 on node-1, 1 of i2 on node-2"), "{page}");
    let page = browser.get(&format!("{AT}?process=&lines=7")).await.text;
    assert_eq!((lines(&page, "quiet"), lines(&page, "chatty")), (1, 7));
    cluster.write(Command::Liveness { lost: vec![NodeId(2)], back: Vec::new() }).await;
    let page = browser.get(AT).await.text;
    assert!(page.contains("Without lines of nodes that are lost: i2 on node-2"), "{page}");
}

#[tokio::test]
async fn a_node_with_many_lines_gives_some_of_each_instance() {
    let cluster = Cluster::start(1).await;
    deploy(&cluster.client(), "v1").await;
    start(&cluster, 0, 1).await;
    start(&cluster, 1, 1).await;
    for at in 0..10_500 {
        cluster.nodes[0].paper.write(1, at, "chatty");
    }
    cluster.nodes[0].paper.write(2, 1, "quiet");
    let request = LogsRequest {
        project: "shop".to_owned(),
        environment: "production".to_owned(),
        tail: 20_000,
        ..LogsRequest::default()
    };
    let client = cluster.client();
    let answer = client.call(|mut api| {
        let request = request.clone();
        async move { api.logs(request).await }
    });
    let mut answer = answer.await.unwrap();
    let mut seen = Vec::new();
    while let Some(line) = answer.message().await.unwrap() {
        seen.push(line.text);
    }
    assert_eq!(seen.iter().filter(|text| ***text == *b"quiet").count(), 1, "of {}", seen.len());
}

#[tokio::test]
async fn the_release_command_can_always_be_chosen() {
    let cluster = Cluster::start(1).await;
    deploy(&cluster.client(), "v1").await;
    start(&cluster, 0, 1).await;
    cluster
        .plan(vec![Action::Start {
            environment: EnvironmentId(1),
            deployment: Some(DeploymentId(1)),
            release: ReleaseId(1),
            process: RELEASE_PROCESS.to_owned(),
            slot: 0,
            node: NodeId(1),
            why: None,
        }])
        .await;
    cluster.nodes[0].paper.write(1, 1, "of web");
    cluster.nodes[0].paper.write(2, 2, "of the command");
    let browser = Browser::sign_in(&cluster).await;
    let page = browser.get(&format!("{AT}?process=release&lines=")).await.text;
    assert_eq!((lines(&page, "of web"), lines(&page, "of the command")), (0, 1), "{page}");
    assert!(page.contains("<option value=\"release\" selected>"), "{page}");
    let page = browser.get(AT).await.text;
    assert!(page.contains("<option value=\"release\">") && page.contains("<option>web</option>"), "{page}");
}

#[tokio::test]
async fn a_build_log_that_is_cut_says_so_and_what_shows_the_rest() {
    let cluster = Cluster::start(1).await.with_containers().await;
    let number = deploy_build(&cluster.client(), "source").await;
    let id = DeploymentId(number);
    let build = Action::Build { deployment: id, node: NodeId(1) };
    cluster.plan(vec![Action::Begin { deployment: id }, build]).await;
    let browser = Browser::sign_in(&cluster).await;
    let path = format!("/deployments/{number}/log");
    let rest = format!("temps deployments logs {number}");
    for at in 0..2_000 {
        cluster.nodes[0].workshop.write(number, at, "step");
    }
    let page = browser.get(&path).await.text;
    assert!(lines(&page, "step") == 2_000 && !page.contains(&rest), "it is whole");
    cluster.nodes[0].workshop.write(number, 2_000, "last");
    let page = browser.get(&path).await.text;
    assert_eq!((lines(&page, "step"), lines(&page, "last")), (1_999, 1));
    assert!(page.contains("These are the last 2000 lines") && page.contains(&rest), "{}", &page[..3_000]);
}
