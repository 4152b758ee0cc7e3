//! What an edge knows before any server speaks to it.

use std::sync::Arc;

use crate::support::{App, Authority, Edge, HOST, Plan, choice, get, table, target};

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_table_nothing_is_unknown() {
    let edge = Edge::single().await;
    let answer = get(edge.http, HOST, "/").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    edge.serve(1, table(vec![], vec![], &[])).await;
    assert_eq!(get(edge.http, "unknown.test", "/").await.status, 404);
    assert_eq!(get(edge.http, HOST, "/").await.status, 503, "known, and nobody there");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_table_is_served_without_a_server() {
    let authority = Authority::new();
    let mut edge = Plan::node(1).start(&authority).await;
    let app = App::start("app").await;
    edge.serve(7, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    edge.stop().await;
    let directory = Arc::clone(&edge.directory);
    let mut again = Plan { directory: Some(directory), ..Plan::node(1) }.start(&authority).await;
    again.link = None;
    assert_eq!(get(again.http, HOST, "/").await.text(), "app");
    assert_eq!(get(again.http, "unknown.test", "/").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_edge_of_a_directory_is_refused() {
    let edge = Edge::single().await;
    let directory = edge.directory.path().to_owned();
    let second = std::thread::spawn(move || temps_edge::run(crate::support::config_in(directory)));
    let refused = tokio::task::spawn_blocking(|| second.join().unwrap()).await.unwrap();
    assert!(matches!(refused, Err(temps_edge::EdgeError::Running(_))), "{refused:?}");
}
