//! Clients that speak HTTP/2 without TLS.

use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::{App, Edge, choice, table, target, until, within};

type Sender = http2::SendRequest<Empty<bytes::Bytes>>;

async fn connect(edge: &Edge) -> Sender {
    let stream = TcpStream::connect(edge.http).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

async fn ask(mut sender: Sender, uri: String) -> Result<(u16, String), hyper::Error> {
    let response = sender.send_request(Request::get(uri).body(Empty::new()).unwrap()).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8(body.to_vec()).unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_reach_applications_and_a_stop_loses_none() {
    let mut edge = Edge::single().await;
    let app = App::start("app").await;
    edge.serve(1, table(vec![choice(1, 1, 1)], vec![target(1, 1, &app)], &[])).await;
    let sender = connect(&edge).await;
    assert_eq!(ask(sender.clone(), "http://A.test/x?y".to_owned()).await.unwrap(), (200, "app".to_owned()));
    let head = app.requests().pop().unwrap();
    assert_eq!((head.path.as_str(), head.all("host")), ("/x?y", vec!["A.test".to_owned()]));
    assert_eq!(ask(sender.clone(), "http://b.test/".to_owned()).await.unwrap().0, 404);

    let mut streams = JoinSet::new();
    for _ in 0..50 {
        streams.spawn(ask(sender.clone(), "http://a.test/slow?800".to_owned()));
    }
    until("all arrived", || app.count() >= 51).await;
    let stop = tokio::spawn(async move {
        edge.stop().await;
    });
    // Those sent while it stops are answered or cleanly refused, and none hangs.
    let mut late = JoinSet::new();
    for _ in 0..20 {
        late.spawn(ask(sender.clone(), "http://a.test/slow?50".to_owned()));
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    while let Some(answer) = within("a stream", streams.join_next()).await {
        assert_eq!(answer.unwrap().unwrap(), (200, "app".to_owned()));
    }
    while let Some(answer) = within("a late stream", late.join_next()).await {
        if let Ok(answer) = answer.unwrap() {
            assert_eq!(answer.0, 200);
        }
    }
    within("the end", stop).await.unwrap();
}
