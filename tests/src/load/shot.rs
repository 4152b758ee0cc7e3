//! The record of one request.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::Kind;

/// One request, from its moment to its end.
#[derive(Clone, Debug)]
pub struct Shot {
    /// Its number, which it also carried as `x-number: rN`.
    pub number: u64,
    /// What was sent.
    pub kind: Kind,
    /// Through which edge.
    pub edge: String,
    /// Its moment, since the load began.
    pub at: Duration,
    /// When it was really sent, since the load began.
    pub sent: Duration,
    /// From its moment to its end.
    pub latency: Duration,
    /// How it ended.
    pub ending: Ending,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// The application answered.
    Answered(Answer),
    /// A user would say that it failed.
    Failed(Miss),
}

/// What the application answered.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The version that answered.
    pub version: String,
    /// The project that answered, where it says so.
    pub project: String,
    /// It was a 5xx of the application's own.
    pub is_error: bool,
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No connection.
    Connect,
    /// The connection ended before the answer did.
    Reset,
    /// Nothing within the time.
    Timeout,
    /// An answer that the application did not send.
    Platform,
    /// Not the bytes that were to come.
    Body,
    /// Another application's answer.
    Stranger,
    /// An open WebSocket or stream that ended before the client ended it.
    Cut,
}

/// A failed request's reason.
#[derive(Clone, Debug)]
pub struct Miss {
    /// The kind of reason.
    pub cause: Cause,
    /// In full.
    pub detail: String,
}

impl Miss {
    /// A reason.
    pub fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, detail: detail.into() }
    }
}

impl Shot {
    /// The reason, where it failed.
    #[must_use]
    pub fn miss(&self) -> Option<&Miss> {
        match &self.ending {
            Ending::Failed(miss) => Some(miss),
            Ending::Answered(_) => None,
        }
    }

    /// A WebSocket that was open and did not end by the client.
    #[must_use]
    pub fn is_cut_socket(&self) -> bool {
        self.kind == Kind::WebSocket && self.miss().is_some_and(|miss| miss.cause == Cause::Cut)
    }
}

impl fmt::Display for Shot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, took) = (self.at.as_secs_f64(), self.latency.as_secs_f64());
        write!(f, "r{} at {at:.3} s through {}, {}, ", self.number, self.edge, self.kind.word())?;
        match &self.ending {
            Ending::Failed(miss) => {
                write!(f, "failed after {took:.3} s: {:?}: {}", miss.cause, miss.detail)
            }
            Ending::Answered(answer) => write!(f, "answered by {} in {took:.3} s", answer.version),
        }
    }
}
