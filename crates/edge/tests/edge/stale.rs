//! Tables that are no longer true, and nodes that are gone.

use crate::support::{App, Authority, Client, Edge, HOST, Load, Plan, choice, get, table, target, until};

async fn three() -> [Edge; 3] {
    let authority = Authority::new();
    [
        Plan::node(1).start(&authority).await,
        Plan::node(2).start(&authority).await,
        Plan::node(3).start(&authority).await,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_knows_only_an_old_release_still_serves() {
    let [stale, second, third] = three().await;
    let (one, two) = (App::start("one").await, App::start("two").await);
    stale.serve(1, table(vec![choice(1, 2, 1), choice(1, 3, 1)], vec![], &[&second, &third])).await;
    second.serve(5, table(vec![choice(2, 2, 1)], vec![target(2, 2, &two)], &[&stale, &third])).await;
    third.serve(5, table(vec![choice(2, 2, 1)], vec![], &[&stale, &second])).await;

    for _ in 0..20 {
        assert_eq!(get(stale.http, HOST, "/").await.text(), "two");
    }
    // A body is not lost on the way, whatever its size and kind, and arrives once.
    for size in [0, 10, 100_000, 3_000_000] {
        let before = two.count();
        let answer = Client::connect(stale.http).await.post(HOST, "/", &"x".repeat(size)).await;
        let expected = if size == 0 { "two".to_owned() } else { size.to_string() };
        assert_eq!((answer.status, answer.text()), (200, expected));
        assert_eq!(two.count(), before + 1);
    }
    assert_eq!(one.count(), 0);
    assert_eq!(stale.traffic().failed(), 0);

    // Nobody has anything: only then 503.
    second.serve(6, table(vec![], vec![], &[&stale, &third])).await;
    let answer = get(stale.http, HOST, "/").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
    assert!(answer.text().starts_with("no instance of a.test is ready\n"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_instance_finishes_for_those_who_have_not_heard() {
    let [stale, second, _third] = three().await;
    let (one, two) = (App::start("one").await, App::start("two").await);
    let mut draining = target(1, 1, &one);
    draining.draining = true;
    stale.serve(1, table(vec![choice(1, 2, 1)], vec![], &[&second])).await;
    second.serve(2, table(vec![choice(2, 2, 1)], vec![draining, target(2, 2, &two)], &[&stale])).await;
    assert_eq!(get(stale.http, HOST, "/").await.text(), "one");
    assert_eq!(get(second.http, HOST, "/").await.text(), "two");
    // Its process is gone before its record is: that is "not here" too.
    one.refuse().await;
    until("kept connections end", || one.open() == 0).await;
    assert_eq!(get(stale.http, HOST, "/").await.text(), "two");
    assert_eq!(Client::connect(stale.http).await.post(HOST, "/", "hello").await.text(), "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_is_passed_over() {
    let [first, mut second, third] = three().await;
    let app = App::start("app").await;
    first.serve(1, table(vec![choice(1, 2, 1), choice(1, 3, 1)], vec![], &[&second, &third])).await;
    third.serve(1, table(vec![choice(1, 3, 1)], vec![target(3, 1, &app)], &[&first, &second])).await;
    second.stop().await;
    for _ in 0..10 {
        assert_eq!(get(first.http, HOST, "/").await.text(), "app");
        assert_eq!(Client::connect(first.http).await.post(HOST, "/", "hello").await.text(), "5");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_without_its_server_serves_through_whole_rollouts() {
    let [mut orphan, second, third] = three().await;
    let first = App::start("v1").await;
    orphan.serve(1, table(vec![choice(1, 2, 1)], vec![], &[&second, &third])).await;
    second.serve(1, table(vec![choice(1, 2, 1)], vec![target(1, 1, &first)], &[&orphan, &third])).await;
    third.serve(1, table(vec![choice(1, 2, 1)], vec![], &[&orphan, &second])).await;
    orphan.link = None;
    let load = Load::start(&[orphan.http], 8, "/slow?2");
    let mut old = first;
    for release in 2..6_u64 {
        let new = App::start(&format!("v{release}")).await;
        let mut draining = target(release - 1, release - 1, &old);
        draining.draining = true;
        let choices = vec![choice(release, 2, 1)];
        let both = vec![draining, target(release, release, &new)];
        second.serve(release * 2, table(choices.clone(), both, &[&orphan, &third])).await;
        // The cluster counts the orphan as lost and does not wait for it: the old record goes while it still asks.
        second
            .serve(release * 2 + 1, table(choices, vec![target(release, release, &new)], &[&orphan, &third]))
            .await;
        until("the old one is idle", || second.in_flight(release - 1) == 0).await;
        old.refuse().await;
        let name = format!("v{release}");
        until("the new release answers", || load.seen(&name) > 30).await;
        old = new;
    }
    let tally = load.stop().await;
    assert_eq!(tally.failures, [""; 0]);
}
