//! The kinds of requests.

use std::time::Duration;

use serde::Serialize;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A GET on a connection of its own.
    Fresh,
    /// A GET on a connection that was used before, where one is idle.
    KeepAlive,
    /// A POST whose body comes back.
    Post,
    /// A POST in several chunks with pauses, without a length.
    Chunked,
    /// An answer of 100 KiB.
    Download,
    /// A request of 100 KiB that comes back.
    Upload,
    /// A GET that takes two to three seconds.
    Slow,
    /// A WebSocket of about three seconds with an echo every 200 ms.
    WebSocket,
    /// About three seconds of server-sent events.
    Events,
    /// A GET or an echoed POST as one of many streams of an HTTP/2 connection, without TLS.
    Http2,
    /// A POST with an effect outside: one line in the application's `COUNT_FILE`.
    Count,
}

impl Kind {
    /// The word for reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Kind::Fresh => "GET, new connection",
            Kind::KeepAlive => "GET, keep-alive",
            Kind::Post => "POST, echoed",
            Kind::Chunked => "POST, chunked",
            Kind::Download => "100 KiB answer",
            Kind::Upload => "100 KiB request",
            Kind::Slow => "GET of 2 to 3 s",
            Kind::WebSocket => "WebSocket of 3 s",
            Kind::Events => "event stream of 3 s",
            Kind::Http2 => "HTTP/2 stream",
            Kind::Count => "POST, counted",
        }
    }

    /// How long request `number` of this kind takes when all is well.
    #[must_use]
    pub fn duration(self, number: u64) -> Duration {
        match self {
            Kind::Slow => Duration::from_millis(2_000 + (number % 11) * 100),
            Kind::WebSocket | Kind::Events => Duration::from_secs(3),
            Kind::Chunked => Duration::from_millis(100),
            Kind::Fresh
            | Kind::KeepAlive
            | Kind::Post
            | Kind::Download
            | Kind::Upload
            | Kind::Http2
            | Kind::Count => Duration::ZERO,
        }
    }
}
