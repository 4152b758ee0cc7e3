//! Between edges: who is believed, and who counts.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{App, Authority, HOST, Load, Plan, choice, get, table, target, until, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_counted_where_the_client_is_and_in_flight_where_the_instance_is() {
    let authority = Authority::new();
    let (far, near) = (Plan::node(1).start(&authority).await, Plan::node(2).start(&authority).await);
    let app = App::start("app").await;
    far.serve(1, table(vec![choice(1, 2, 1)], vec![], &[&near])).await;
    near.serve(1, table(vec![choice(1, 2, 1)], vec![target(1, 1, &app)], &[&far])).await;
    let load = Load::start(&[far.http], 8, "/slow?1");
    until("much was answered", || load.total() > 100).await;
    let tally = load.stop().await;
    assert_eq!(tally.failures, [""; 0]);
    assert_eq!(get(far.http, HOST, "/fail").await.status, 500);
    let answered = tally.total() as u64 + 1;
    until("the counts are told", || far.traffic().requests == answered).await;
    assert_eq!((far.traffic().app_errors, far.traffic().failed()), (1, 0));
    assert_eq!(near.traffic().requests, 0);
    until("the owner tells, too", || near.counts(1).requests == answered).await;
    let counts = near.counts(1);
    assert_eq!((counts.errors, counts.failed()), (1, 1));
    assert_eq!(counts.times.count(), answered);
    assert_eq!(far.counts(1).requests, 0);
    assert_eq!(far.report().in_flight.len(), 0);
    until("nothing is in flight", || near.in_flight(1) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_behind_another_node_is_the_fault_of_its_release() {
    let authority = Authority::new();
    let (far, near) = (Plan::node(1).start(&authority).await, Plan::node(2).start(&authority).await);
    let app = App::script("deaf", |mut conversation| async move {
        conversation.head().await;
        conversation.reset();
    })
    .await;
    far.serve(1, table(vec![choice(1, 2, 1)], vec![], &[&near])).await;
    near.serve(1, table(vec![choice(1, 2, 1)], vec![target(1, 1, &app)], &[&far])).await;
    let answer = get(far.http, HOST, "/").await;
    assert_eq!(answer.status, 502);
    assert!(!answer.headers.iter().any(|(name, _)| name.starts_with("temps-")), "{answer:?}");
    until("it is counted once", || far.traffic().failed() == 1).await;
    assert_eq!(far.traffic().app_errors + near.traffic().requests, 0);
    assert_eq!((far.traffic().reset, far.traffic().by_platform()), (1, 0));
    until("the owner tells, too", || near.counts(1).reset == 1).await;
    assert_eq!(near.counts(1).requests, 1);
    assert_eq!(app.count(), 1, "the other node has no other instance to ask");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_a_node_of_the_cluster_is_heard() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let near = Plan::node(2).start(&authority).await;
    let other = Plan::node(1).start(&stranger).await;
    let app = App::start("app").await;
    near.serve(1, table(vec![choice(1, 2, 1)], vec![target(1, 1, &app)], &[])).await;
    other.serve(1, table(vec![choice(1, 2, 1)], vec![], &[&near])).await;
    assert_eq!(get(other.http, HOST, "/").await.status, 503);
    let mut plain = TcpStream::connect(near.peer).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nTemps-Environment: 1\r\nTemps-Release: 1\r\n\r\n").await.unwrap();
    let mut heard = Vec::new();
    let _ = within("the end", plain.read_to_end(&mut heard)).await;
    assert!(!heard.starts_with(b"HTTP/"));
    assert_eq!(app.count(), 0);
}
