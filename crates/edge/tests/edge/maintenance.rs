//! Environments in maintenance.

use temps_core::model::Maintenance;
use temps_core::table::Table;
use tokio::io::AsyncWriteExt;

use crate::support::{App, Authority, Client, HOST, Plan, choice, get, table, target, until, within};

fn closed(mut table: Table, message: Option<&str>) -> Table {
    for route in &mut table.routes {
        route.maintenance = Some(Maintenance { message: message.map(str::to_owned), retry_after: 120 });
    }
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_without_the_application_and_what_is_under_way_goes_on() {
    let authority = Authority::new();
    let (near, far) = (Plan::node(1).start(&authority).await, Plan::node(2).start(&authority).await);
    let app = App::start("app").await;
    let of_near = || table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[&far]);
    let of_far = || table(vec![choice(1, 1, 1)], vec![], &[&near]);
    near.serve(1, of_near()).await;
    far.serve(1, of_far()).await;

    let mut open = Vec::new();
    for edge in [&near, &far] {
        let (mut tunnel, mut slow) = (Client::connect(edge.http).await, Client::connect(edge.http).await);
        tunnel
            .send(format!(
                "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
            ))
            .await;
        assert_eq!(tunnel.head().await.unwrap().status, 101);
        tunnel.through(b"hello app\n").await.unwrap();
        slow.send(format!("GET /slow?500 HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        open.push((tunnel, slow));
    }
    until("all have arrived", || app.count() == 4).await;
    near.serve(2, closed(of_near(), Some("Back at <noon>"))).await;
    far.serve(2, closed(of_far(), None)).await;

    let answer = get(near.http, HOST, "/").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("120")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.text(), "Down for maintenance. Back at <noon>\n");
    let mut client = Client::connect(near.http).await;
    for (accept, kind, text) in [
        ("text/html,*/*", "text/html; charset=utf-8", "<p>Back at &lt;noon&gt;</p>"),
        ("application/json", "application/json", r#""message":"Back at <noon>""#),
    ] {
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nAccept: {accept}\r\n\r\n")).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.header("content-type")), (503, Some(kind)));
        assert!(answer.text().contains(text), "{}", answer.text());
    }
    let answer = Client::connect(far.http).await.post(HOST, "/", "x").await;
    assert_eq!(answer.status, 503);
    assert!(answer.text().starts_with("Down for maintenance. Please"), "{}", answer.text());
    assert_eq!(app.count(), 4, "nothing reaches the application");
    let challenge = "/.well-known/acme-challenge/abc";
    assert_eq!(get(far.http, HOST, challenge).await.text(), "app", "but challenges do");

    for (tunnel, slow) in &mut open {
        tunnel.stream.write_all(b"ping").await.unwrap();
        within("the echo", tunnel.through(b"ping")).await.unwrap();
        assert_eq!(slow.answer().await.text(), "app");
    }
    // Two slow ones, two tunnels, a challenge: nothing of what was refused is counted.
    until("all is counted", || near.traffic().requests + far.traffic().requests == 5).await;
    assert_eq!(near.traffic().failed() + near.traffic().app_errors + near.traffic().shed, 0);
    assert_eq!(far.traffic().failed() + far.traffic().app_errors + far.traffic().shed, 0);
    assert_eq!(near.counts(1).failed(), 0);

    near.serve(3, of_near()).await;
    assert_eq!(client.get(HOST, "/").await.text(), "app", "on the same connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_told_that_maintenance_began() {
    let edge = Plan { limits: temps_edge::Limits::default(), ..Plan::node(1) }.start(&Authority::new()).await;
    edge.serve(1, table(vec![], vec![], &[])).await;
    let mut client = Client::connect(edge.http).await;
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    edge.serve(2, closed(table(vec![], vec![], &[]), None)).await;
    assert!(client.answer().await.text().starts_with("Down for maintenance"));
}
