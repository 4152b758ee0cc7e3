//! One WebSocket session: open, echo every 200 ms, close by the client.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, Stream, StreamExt};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::Kind;
use super::exchange::{Pool, who};
use super::shot::{Answer, Cause, Miss};

/// Time between two messages.
const BEAT: Duration = Duration::from_millis(200);

/// Opens a socket, talks, and closes it. Whatever ends it otherwise once it is open is a cut.
pub(super) async fn session(pool: &Pool, host: &str, number: u64) -> Result<Answer, Miss> {
    let begun = Instant::now();
    let request = format!("ws://{host}/ws")
        .into_client_request()
        .map_err(|error| Miss::new(Cause::Connect, error.to_string()))?;
    let opened = tokio_tungstenite::client_async(request, pool.stream().await?).await;
    let (mut socket, response) = opened.map_err(refused)?;
    let project = who(response.headers()).map(|who| who.project).unwrap_or_default();
    let cut = |what: &str, error: &dyn std::fmt::Display| Miss::new(Cause::Cut, format!("{what}: {error}"));
    let mut version = String::new();
    let mut n = 0;
    while begun.elapsed() < Kind::WebSocket.duration(number) {
        let said = format!("{number}.{n}");
        socket.send(Message::text(said.clone())).await.map_err(|e| cut("cannot send", &e))?;
        let heard = next_text(&mut socket).await.map_err(|e| cut("no echo", &e))?;
        let Some((by, echo)) = heard.split_once(':') else {
            return Err(cut("a strange echo", &heard));
        };
        if echo != said || (!version.is_empty() && by != version) {
            return Err(cut("a wrong echo", &format!("{heard} for {said}")));
        }
        by.clone_into(&mut version);
        n += 1;
        tokio::time::sleep(BEAT).await;
    }
    socket.close(None).await.map_err(|e| cut("cannot close", &e))?;
    while let Some(message) = socket.next().await {
        message.map_err(|e| cut("no orderly close", &e))?;
    }
    Ok(Answer { version, project, is_error: false })
}

fn refused(error: Error) -> Miss {
    match error {
        Error::Http(response) if response.headers().contains_key("x-version") => {
            Miss::new(Cause::Body, format!("{} instead of a WebSocket", response.status()))
        }
        Error::Http(response) => {
            Miss::new(Cause::Platform, format!("{} not from the application", response.status()))
        }
        other => Miss::new(Cause::Reset, other.to_string()),
    }
}

async fn next_text(
    socket: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
) -> Result<String, String> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
            Some(Ok(Message::Close(frame))) => return Err(format!("closed by the other side: {frame:?}")),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("the connection ended".to_owned()),
        }
    }
}
