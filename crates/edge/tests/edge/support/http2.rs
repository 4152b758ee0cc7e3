//! Applications and clients that speak HTTP/2 from the first byte on.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream, client, server};
use http::{HeaderMap, Request, Response};
use temps_core::table::{Protocol, Target};
use tokio::net::TcpStream;

use super::{App, target, within};

/// An application; each request goes to the script, so many of one connection at a time.
pub(crate) async fn app<F, S>(name: &str, most: u32, script: S) -> App
where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Clone + Send + Sync + 'static,
{
    App::script(name, move |mut conversation| {
        let script = script.clone();
        async move {
            let mut builder = server::Builder::new();
            builder.max_concurrent_streams(most);
            let Ok(mut connection) = builder.handshake(&mut conversation.stream).await else { return };
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(script(request, respond));
            }
        }
    })
    .await
}

/// What a table says of such an application.
pub(crate) fn target_in_http2(instance: u64, release: u64, app: &App) -> Target {
    Target { protocol: Protocol::Http2, ..target(instance, release, app) }
}

/// A client, without TLS.
pub(crate) async fn connect(at: SocketAddr) -> client::SendRequest<Bytes> {
    let stream = TcpStream::connect(at).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, connection) = client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

/// The next piece of a body; `None` at its end.
pub(crate) async fn piece(body: &mut RecvStream) -> Option<String> {
    let bytes = within("a piece of a body", body.data()).await?.unwrap();
    body.flow_control().release_capacity(bytes.len()).unwrap();
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

/// All of a body.
pub(crate) async fn text(body: &mut RecvStream) -> String {
    let mut all = String::new();
    while let Some(piece) = piece(body).await {
        all.push_str(&piece);
    }
    all
}

/// Its trailers, as lines.
pub(crate) async fn trailers(body: &mut RecvStream) -> Vec<String> {
    let trailers = within("trailers", body.trailers()).await.unwrap().unwrap_or_default();
    lines(&trailers)
}

pub(crate) fn lines(headers: &HeaderMap) -> Vec<String> {
    headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
}

/// Answers with one text.
pub(crate) fn say(mut respond: SendResponse<Bytes>, text: &str) {
    if let Ok(mut body) = respond.send_response(Response::new(()), false) {
        let _ = body.send_data(Bytes::copy_from_slice(text.as_bytes()), true);
    }
}

/// Sends a piece, and nothing more for now.
pub(crate) fn push(body: &mut SendStream<Bytes>, piece: &str) {
    body.send_data(Bytes::copy_from_slice(piece.as_bytes()), false).unwrap();
}
