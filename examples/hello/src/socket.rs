//! `GET /ws`: a WebSocket that answers every text message with `version:message`.

use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::answers::text;
use crate::busy::{Busy, Held};

/// Answers the upgrade; the socket is then served by a task of its own, which holds `busy`.
pub(crate) fn upgrade(mut request: Request<Incoming>, version: String, busy: Busy) -> Response<Held> {
    let Some(accept) = accept_key(request.headers()) else {
        return text(StatusCode::BAD_REQUEST, "this is a WebSocket".to_owned());
    };
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let _busy = busy;
        if let Ok(stream) = upgraded.await {
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Server, None).await;
            echo(socket, &version).await;
        }
    });
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, String::new());
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

fn accept_key(headers: &HeaderMap) -> Option<header::HeaderValue> {
    let asked = headers.get(header::UPGRADE)?.to_str().ok()?;
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    if !asked.eq_ignore_ascii_case("websocket") {
        return None;
    }
    derive_accept_key(key.as_bytes()).parse().ok()
}

async fn echo(mut socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>, version: &str) {
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(said) = message else {
            continue;
        };
        if socket.send(Message::text(format!("{version}:{said}"))).await.is_err() {
            return;
        }
    }
}
