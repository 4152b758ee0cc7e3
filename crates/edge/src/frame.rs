//! What is said on an edge's unix socket: frames of JSON, each after its length.

use std::io;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use temps_core::table::{Certificates, Table};
use tokio::net::UnixStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// Larger than the table of any cluster that one machine can hold.
pub(crate) const LONGEST: usize = 512 * 1024 * 1024;

/// From a server, or from the edge that takes over, to an edge. The edge answers with reports.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ToEdge {
    /// A server is here. The one before is heard no more.
    Hello,
    /// Show these to clients.
    Certificates(Certificates),
    /// Serve this.
    Table(Box<Table>),
    /// Finish what is under way, and end.
    Shutdown {
        /// How long that may take.
        grace_ms: u64,
    },
    /// Hand over the listeners.
    Takeover,
    /// They are in use: accept no more.
    Taken,
}

/// A connection on the socket.
pub(crate) type Wire = Framed<UnixStream, LengthDelimitedCodec>;

pub(crate) fn wire(stream: UnixStream) -> Wire {
    let codec = LengthDelimitedCodec::builder().max_frame_length(LONGEST).new_codec();
    Framed::new(stream, codec)
}

/// # Errors
/// Where the other side is gone.
pub(crate) async fn send<T: Serialize>(wire: &mut Wire, message: &T) -> io::Result<()> {
    wire.send(Bytes::from(serde_json::to_vec(message)?)).await
}

/// `None` at the end. Can be given up at any moment without losing a frame.
///
/// # Errors
/// Where the other side broke off, or says what nobody understands.
pub(crate) async fn receive<T: DeserializeOwned>(wire: &mut Wire) -> io::Result<Option<T>> {
    match wire.next().await {
        Some(frame) => Ok(Some(serde_json::from_slice(&frame?)?)),
        None => Ok(None),
    }
}
