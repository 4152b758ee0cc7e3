//! Clients of HTTP/2 that make much work at little cost of their own.

use std::time::Duration;

use crate::support::frames::{
    CONTINUATION, END_HEADERS, END_STREAM, Frames, GET, GO_AWAY, HEADERS, PING, RESET, SETTINGS, frame,
};
use crate::support::{App, Edge, HOST, choice, get, table, target, until, within};

const ENHANCE_YOUR_CALM: u32 = 11;
const REFUSED: u32 = 7;

async fn fixture() -> (Edge, App) {
    let edge = Edge::single().await;
    let app = App::start("app").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    (edge, app)
}

/// What another client gets, whatever the one in the test does.
async fn others_go_on(edge: &Edge) {
    for _ in 0..5 {
        assert_eq!(within("another client", get(edge.http, HOST, "/")).await.text(), "app");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_streams_and_no_more() {
    let (edge, app) = fixture().await;
    let mut client = Frames::connect(edge.http).await;
    let settings = client.next_of(SETTINGS).await.unwrap();
    let most = settings.payload.chunks(6).find(|setting| setting[..2] == [0, 3]).unwrap();
    assert_eq!(most[2..], 100_u32.to_be_bytes());
    // `/slow?9999`, so that none ends meanwhile.
    let slow = b"\x82\x86\x04\x0a/slow?9999\x41\x06a.test";
    for n in 0..=100 {
        client.send(&frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, slow)).await.unwrap();
    }
    let refused = client.next_of(RESET).await.unwrap();
    assert_eq!((refused.stream, refused.code(0)), (201, REFUSED));
    until("all but one arrive", || app.count() == 100).await;
    others_go_on(&edge).await;
    drop(client);
    until("none is left", || edge.in_flight(1) == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let (edge, app) = fixture().await;
    let mut client = Frames::connect(edge.http).await;
    let mut all = Vec::new();
    for n in 0..10_000_u32 {
        all.extend(frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, GET));
        all.extend(frame(RESET, 0, 2 * n + 1, &8_u32.to_be_bytes()));
    }
    // The edge may end it before all is sent.
    let _ = client.send(&all).await;
    if let Some(end) = client.next_of(GO_AWAY).await {
        assert_eq!(end.code(4), ENHANCE_YOUR_CALM);
    }
    assert!(client.next_of(GO_AWAY).await.is_none(), "then it ends");
    assert!(app.count() < 1_000, "{} of 10,000 reached the application", app.count());
    others_go_on(&edge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_do_streams_that_are_given_up_one_by_one() {
    let (edge, app) = fixture().await;
    let mut client = Frames::connect(edge.http).await;
    let slow = b"\x82\x86\x04\x0a/slow?9999\x41\x06a.test";
    let mut begun = 0;
    let told = 'told: {
        for n in 0..10_000_u32 {
            let mut pair = frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, slow);
            // An answer shows that the request was taken before it is given up.
            pair.extend(frame(PING, 0, 0, &[0; 8]));
            if client.send(&pair).await.is_err() {
                break 'told None;
            }
            loop {
                let Some(next) = within("a frame", client.next()).await else { break 'told None };
                match next.kind {
                    GO_AWAY => break 'told Some(next),
                    PING if next.flags == 1 => break,
                    _ => {}
                }
            }
            begun += 1;
            let _ = client.send(&frame(RESET, 0, 2 * n + 1, &8_u32.to_be_bytes())).await;
        }
        None
    };
    assert!((1_000..1_100).contains(&begun), "{begun} were begun");
    assert_eq!(told.expect("it is told").code(4), 0, "it may connect anew");
    others_go_on(&edge).await;
    assert!(app.count() <= begun + 5 + 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_end_ends() {
    let (edge, app) = fixture().await;
    // One never ends, the other is large once it is unpacked: the same entry of the table again and again.
    let mut endless = Frames::connect(edge.http).await;
    let mut sent = 0_usize;
    endless.send(&frame(HEADERS, END_STREAM, 1, GET)).await.unwrap();
    let more = frame(CONTINUATION, 0, 1, &[b"\x00\x01x\x7f\x80\x7f".to_vec(), vec![b'a'; 255]].concat());
    while endless.send(&more).await.is_ok() {
        sent += more.len();
        assert!(sent < 16 << 20, "it is still read");
    }
    let mut packed = Frames::connect(edge.http).await;
    let mut head = GET.to_vec();
    head.extend(b"\x40\x01x\x7f\xe1\x1e");
    head.extend([b'a'; 4_000]);
    head.extend([0xbe; 4_000]);
    packed.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &head)).await.unwrap();
    let answer = within("an end", packed.next_of(HEADERS)).await;
    // 431, or the end of the stream or connection: never the application's answer.
    if let Some(answer) = answer {
        assert!(!answer.payload.starts_with(b"\x88"), "{answer:?}");
    }
    assert_eq!(app.count(), 0);
    others_go_on(&edge).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_and_settings_without_end_delay_nobody_else() {
    let (edge, _app) = fixture().await;
    for flood in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9])] {
        // Its answers are not read: then it is not read any more, either.
        let mut client = Frames::connect(edge.http).await;
        let flood = flood.repeat(1_000);
        let mut sent = 0_usize;
        while let Ok(Ok(())) = tokio::time::timeout(Duration::from_millis(500), client.send(&flood)).await {
            sent += flood.len();
            assert!(sent < 256 << 20, "it is answered into the void");
        }
        others_go_on(&edge).await;
    }
}
