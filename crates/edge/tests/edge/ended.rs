//! Instances that end by themselves, without a word from the network: the next table no longer has them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use temps_core::table::{Table, Target};
use tokio::task::JoinHandle;

use crate::support::{
    App, Authority, Client, Edge, HOST, Load, Plan, choice, get, table, target, until, within,
};

/// Longer than a request may wait once its instance is known to have ended, on a busy machine, and shorter than an
/// answer under way is left alone.
const AT_ONCE: Duration = Duration::from_millis(2500);

/// Answers until it is told to be mute; then it takes requests, and keeps its connections open.
async fn mute(name: &str, from_now: bool) -> (App, Arc<AtomicBool>) {
    let (own, is_mute) = (name.to_owned(), Arc::new(AtomicBool::new(from_now)));
    let state = Arc::clone(&is_mute);
    let app = App::script(name, move |mut conversation| {
        let (own, state) = (own.clone(), Arc::clone(&state));
        async move {
            while let Some(head) = conversation.head().await {
                if conversation.body(&head).await.is_none() || state.load(Ordering::SeqCst) {
                    break;
                }
                conversation.answer("200 OK", &own).await;
            }
            while conversation.more().await.is_some() {}
        }
    });
    (app.await, is_mute)
}

/// Both instances serve.
fn both(one: &App, two: &App) -> Table {
    table(vec![choice(1, 1, 1)], vec![target(1, 1, one), target(2, 1, two)], &[])
}

fn only(local: Vec<Target>) -> Table {
    table(vec![choice(1, 1, 1)], local, &[])
}

/// Sends a request and answers when and with what it came back.
fn ask(edge: &Edge, method: &'static str) -> JoinHandle<(u16, String)> {
    let at = edge.http;
    tokio::spawn(async move {
        let mut client = Client::connect(at).await;
        let answer = match method {
            "POST" => client.post(HOST, "/", "hello").await,
            _ => client.get(HOST, "/").await,
        };
        (answer.status, answer.text())
    })
}

async fn at_once(asked: JoinHandle<(u16, String)>, since: Instant) -> (u16, String) {
    let answer = within("an answer in place of the one that ended", asked).await.unwrap();
    assert!(since.elapsed() < AT_ONCE, "after {:?}: {answer:?}", since.elapsed());
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_instance_that_ended_goes_elsewhere_at_once() {
    // On fresh connections, and on connections that had been used before.
    for used in [false, true] {
        let edge = Edge::single().await;
        let (dies, is_mute) = mute("dies", !used).await;
        let lives = App::start("lives").await;
        edge.serve(1, only(vec![target(1, 1, &dies)])).await;
        let clients: Vec<_> = (0..if used { 8 } else { 0 }).map(|_| ask(&edge, "GET")).collect();
        for client in clients {
            assert_eq!(within("an answer", client).await.unwrap().1, "dies");
        }
        is_mute.store(true, Ordering::SeqCst);
        let before = dies.count();
        let gets: Vec<_> = (0..4).map(|_| ask(&edge, "GET")).collect();
        let posts: Vec<_> = (0..4).map(|_| ask(&edge, "POST")).collect();
        until("all wait", || dies.count() == before + 8).await;

        let since = Instant::now();
        edge.serve(2, only(vec![target(2, 1, &lives)])).await;
        for get in gets {
            assert_eq!(at_once(get, since).await, (200, "lives".to_owned()));
        }
        for post in posts {
            let (status, text) = at_once(post, since).await;
            assert_eq!(status, 502, "{text}");
            assert!(text.contains(HOST) && text.contains("it has ended"), "{text}");
        }
        assert_eq!(dies.count(), before + 8);
        assert!(lives.requests().iter().all(|head| head.method == "GET"), "a POST is never sent twice");
        assert_eq!(lives.count(), 4);
        until("nothing is in flight", || edge.in_flight(1) == 0).await;
        until("its connections are closed", || dies.open() == 0).await;
        until("the failures are counted", || edge.traffic().failed() == 4).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_connections_to_an_instance_that_ended_are_closed_at_once() {
    let edge = Edge::single().await;
    let (dies, lives) = (App::start("dies").await, App::start("lives").await);
    edge.serve(1, both(&dies, &lives)).await;
    let load = Load::start(&[edge.http], 8, "/slow?2");
    until("both answer", || load.seen("dies") > 20 && load.seen("lives") > 20).await;
    load.stop().await;
    assert!(dies.open() > 0);
    edge.serve(2, only(vec![target(2, 1, &lives)])).await;
    until("they are closed", || dies.open() == 0).await;
    assert!(lives.open() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_instance_is_never_taken_for_one_that_ended() {
    let edge = Edge::single().await;
    let says = Arc::new(AtomicBool::new(false));
    let may = Arc::clone(&says);
    let old = App::script("old", move |mut conversation| {
        let may = Arc::clone(&may);
        async move {
            conversation.head().await;
            until("the test lets it answer", || may.load(Ordering::SeqCst)).await;
            conversation.answer("200 OK", "old").await;
        }
    })
    .await;
    let new = App::start("new").await;
    edge.serve(1, only(vec![target(1, 1, &old)])).await;
    let (get, post) = (ask(&edge, "GET"), ask(&edge, "POST"));
    until("both wait", || old.count() == 2).await;
    let mut draining = target(1, 1, &old);
    draining.draining = true;
    edge.serve(2, only(vec![draining, target(2, 1, &new)])).await;
    // Everybody has withdrawn it: the table has no more use for it, and it is still at work.
    edge.serve(3, only(vec![target(2, 1, &new)])).await;
    for _ in 0..5 {
        assert_eq!(self::get(edge.http, HOST, "/").await.text(), "new");
    }
    assert_eq!(edge.in_flight(1), 2);
    says.store(true, Ordering::SeqCst);
    for asked in [get, post] {
        assert_eq!(within("an answer", asked).await.unwrap(), (200, "old".to_owned()));
    }
    assert_eq!(edge.traffic().failed(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_under_way_may_end_and_is_cut_after_a_while() {
    let edge = Edge::single().await;
    let says = Arc::new(AtomicBool::new(false));
    let may = Arc::clone(&says);
    let dies = App::script("dies", move |mut conversation| {
        let may = Arc::clone(&may);
        async move {
            let Some(head) = conversation.head().await else { return };
            if head.path == "/ws" {
                conversation
                    .say("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello\n")
                    .await;
            } else {
                conversation.say("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await;
            }
            if head.path == "/ends" {
                until("the test lets it end", || may.load(Ordering::SeqCst)).await;
                conversation.say("end.").await;
            }
            while conversation.more().await.is_some() {}
        }
    })
    .await;
    let lives = App::start("lives").await;
    edge.serve(1, only(vec![target(1, 1, &dies)])).await;
    let mut clients = Vec::new();
    for path in ["/ends", "/never", "/ws"] {
        let mut client = Client::connect(edge.http).await;
        let upgrade = if path == "/ws" { "Connection: Upgrade\r\nUpgrade: websocket\r\n" } else { "" };
        client.send(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{upgrade}\r\n")).await;
        client.head().await.unwrap();
        assert_eq!(client.exactly(4).await.unwrap(), if path == "/ws" { b"hell" } else { b"half" });
        clients.push(client);
    }
    until("all are in flight", || edge.in_flight(1) == 3).await;
    edge.serve(2, only(vec![target(2, 1, &lives)])).await;
    says.store(true, Ordering::SeqCst);
    assert_eq!(within("the end", clients[0].exactly(4)).await.unwrap(), b"end.");
    assert!(clients[1].rest().await.is_empty(), "nothing comes, and then it is cut");
    assert_eq!(clients[2].rest().await, b"o\n");
    until("nothing is in flight", || edge.in_flight(1) == 0).await;
    until("its connections are closed", || dies.open() == 0).await;
    until("one answer is counted as cut", || edge.traffic().failed() == 1).await;
}

/// A connection belongs to the start of an instance that it was opened for: here each connection says who was
/// behind the address when it was accepted.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_changes_hands_answers_for_nobody_else() {
    const OTHER: &str = "b.test";
    let edge = Edge::single().await;
    let changed = Arc::new(AtomicBool::new(false));
    let state = Arc::clone(&changed);
    let address = App::script("address", move |mut conversation| {
        let name = if state.load(Ordering::SeqCst) { "b" } else { "a" };
        async move { while conversation.serve(name).await.is_some() {} }
    })
    .await;
    let lives = App::start("a").await;
    // Instance 1 belongs to the first application, instance 3 to the second; both have the address, in turn.
    let of = |first: bool| {
        let mut one = target(1, 1, &address);
        one.endpoint.incarnation = "first".to_owned();
        let mut three = target(3, 3, &address);
        three.endpoint.incarnation = "second".to_owned();
        let mut local = vec![target(2, 1, &lives)];
        local.extend(first.then_some(one));
        let mut made = table(vec![choice(1, 1, 1)], local, &[]);
        let mut other = made.routes[0].clone();
        other.environment.0 = 2;
        other.hosts = vec![OTHER.to_owned()];
        other.choices = if first { Vec::new() } else { vec![choice(3, 1, 1)] };
        other.local = if first { Vec::new() } else { vec![three] };
        made.routes.push(other);
        made
    };
    for round in 0..10_u64 {
        changed.store(false, Ordering::SeqCst);
        edge.serve(round * 2 + 1, of(true)).await;
        let used = address.count();
        let load = Load::start(&[edge.http], 8, "/slow?1");
        until("connections to the address are kept", || address.count() > used + 20).await;
        edge.serve(round * 2 + 2, of(false)).await;
        changed.store(true, Ordering::SeqCst);
        for _ in 0..20 {
            assert_eq!(get(edge.http, OTHER, "/").await.text(), "b", "round {round}");
        }
        let tally = load.stop().await;
        assert_eq!(tally.failures, [""; 0], "round {round}");
        assert_eq!(tally.answers.keys().collect::<Vec<_>>(), ["a"], "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_start_of_an_instance_gets_no_connection_of_the_one_before() {
    let edge = Edge::single().await;
    let app = App::script("app", |mut conversation| async move {
        let own = conversation.stream.peer_addr().unwrap().to_string();
        while conversation.serve(&own).await.is_some() {}
    })
    .await;
    let mut start = target(1, 1, &app);
    let mut client = Client::connect(edge.http).await;
    let mut connections = Vec::new();
    for index in 1..6 {
        start.endpoint.incarnation = format!("start {index}");
        edge.serve(index, only(vec![start.clone()])).await;
        let connection = client.get(HOST, "/").await.text();
        assert_eq!(client.get(HOST, "/").await.text(), connection, "kept while it is the same start");
        connections.push(connection);
    }
    connections.sort();
    connections.dedup();
    assert_eq!(connections.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_another_node_goes_to_a_third() {
    let authority = Authority::new();
    let edges = [
        Plan::node(1).start(&authority).await,
        Plan::node(2).start(&authority).await,
        Plan::node(3).start(&authority).await,
    ];
    let [first, second, third] = &edges;
    let (dies, _) = mute("dies", true).await;
    let lives = App::start("lives").await;
    let choices = vec![choice(1, 2, 1)];
    first.serve(1, table(choices.clone(), vec![], &[second, third])).await;
    second.serve(1, table(choices, vec![target(2, 1, &dies)], &[first, third])).await;
    let choices = vec![choice(1, 3, 1)];
    third.serve(1, table(choices.clone(), vec![target(3, 1, &lives)], &[first, second])).await;
    let (get, post) = (ask(first, "GET"), ask(first, "POST"));
    until("both wait", || dies.count() == 2).await;
    let since = Instant::now();
    second.serve(2, table(choices, vec![], &[first, third])).await;
    assert_eq!(at_once(get, since).await, (200, "lives".to_owned()));
    let (status, text) = at_once(post, since).await;
    assert_eq!(status, 502, "{text}");
    assert!(text.contains("it has ended"), "{text}");
    assert_eq!((dies.count(), lives.count()), (2, 1));
    until("one failure is counted", || first.traffic().failed() == 1).await;
}
