//! Proposals and reads that go to the leader on another node, and those that come from there.

use std::time::Duration;

use bytes::Bytes;
use temps_core::command::{Command, Receipt};
use temps_core::model::{Index, NodeId};
use temps_wire::codec;
use temps_wire::proto::{ProposeRequest, ProposeResponse, ReadIndexResponse};
use tokio::time::{Instant, timeout_at};

use super::propose::Try;
use super::{Inner, PATIENCE, RaftLedger};
use crate::receive::MessageError;
use crate::transport::{Peer, TransportError};

/// How long one leader is waited for before the proposal is made again; the key keeps it from counting twice.
const TRY: Duration = Duration::from_secs(2);

impl RaftLedger {
    /// Answers a proposal that another node sends to the leader.
    ///
    /// # Errors
    /// [`MessageError`]; it converts into a gRPC status.
    pub async fn handle_propose(&self, request: ProposeRequest) -> Result<ProposeResponse, MessageError> {
        let ProposeRequest { key, by, command } = request;
        let key = key.ok_or_else(|| MessageError::Malformed("a forwarded proposal has a key".to_owned()))?;
        let command: Command =
            codec::decode(&command).map_err(|error| MessageError::Malformed(error.to_string()))?;
        let until = Instant::now() + PATIENCE;
        match self.inner.write(&key, &by, command, until).await {
            Try::Done(receipt) => {
                let receipt = Some(Bytes::from(codec::encode(&receipt)));
                Ok(ProposeResponse { receipt, leader: None })
            }
            Try::Elsewhere(leader) => {
                Ok(ProposeResponse { receipt: None, leader: leader.map(|leader| leader.0) })
            }
            Try::Failed(why) => Err(MessageError::Unavailable(why)),
            Try::Closing => Err(MessageError::Unavailable("this node is shutting down".to_owned())),
        }
    }

    /// Answers another node's question for the index that a linearizable read has to wait for.
    ///
    /// # Errors
    /// [`MessageError`]; it converts into a gRPC status.
    pub async fn handle_read_index(&self) -> Result<ReadIndexResponse, MessageError> {
        match self.inner.read_index().await {
            Try::Done(index) => Ok(ReadIndexResponse { index: Some(index), leader: None }),
            Try::Elsewhere(leader) => {
                Ok(ReadIndexResponse { index: None, leader: leader.map(|leader| leader.0) })
            }
            Try::Failed(why) => Err(MessageError::Unavailable(why)),
            Try::Closing => Err(MessageError::Unavailable("this node is shutting down".to_owned())),
        }
    }
}

impl Inner {
    pub(super) async fn forward(
        &self,
        leader: NodeId,
        key: &str,
        by: &str,
        command: &Command,
        until: Instant,
    ) -> Try<Receipt> {
        let request = ProposeRequest {
            key: Some(key.to_owned()),
            by: by.to_owned(),
            command: Bytes::from(codec::encode(command)),
        };
        let Some(member) = self.book.get(leader.0) else { return unknown(leader) };
        let peer = Peer { node: leader, address: &member.address };
        match self.ask(peer, until, self.transport.propose(peer, request)).await {
            Try::Done(ProposeResponse { receipt: Some(receipt), .. }) => match codec::decode(&receipt) {
                Ok(receipt) => Try::Done(receipt),
                Err(error) => Try::Failed(format!("{leader} answered something else: {error}")),
            },
            Try::Done(ProposeResponse { leader, .. }) => Try::Elsewhere(leader.map(NodeId)),
            Try::Elsewhere(other) => Try::Elsewhere(other),
            Try::Failed(why) => Try::Failed(why),
            Try::Closing => Try::Closing,
        }
    }

    pub(super) async fn ask_read_index(&self, leader: NodeId, until: Instant) -> Try<Index> {
        let Some(member) = self.book.get(leader.0) else { return unknown(leader) };
        let peer = Peer { node: leader, address: &member.address };
        match self.ask(peer, until, self.transport.read_index(peer)).await {
            Try::Done(ReadIndexResponse { index: Some(index), .. }) => Try::Done(index),
            Try::Done(ReadIndexResponse { leader, .. }) => Try::Elsewhere(leader.map(NodeId)),
            Try::Elsewhere(other) => Try::Elsewhere(other),
            Try::Failed(why) => Try::Failed(why),
            Try::Closing => Try::Closing,
        }
    }

    /// Waits for the leader's answer, and gives up early where another one is elected meanwhile.
    async fn ask<T>(
        &self,
        peer: Peer<'_>,
        until: Instant,
        call: impl Future<Output = Result<T, TransportError>> + Send,
    ) -> Try<T> {
        let Peer { node: leader, address } = peer;
        let mut leadership = self.leadership.subscribe();
        let mut closing = self.closing.subscribe();
        let until = until.min(Instant::now() + TRY);
        tokio::select! {
            answer = timeout_at(until, call) => match answer {
                Ok(Ok(answer)) => Try::Done(answer),
                Ok(Err(error)) => Try::Failed(format!("{leader} at {address}: {error}")),
                Err(_) => Try::Failed(format!("{leader} at {address} did not answer in time")),
            },
            _ = leadership.wait_for(|now| now.leader.is_some_and(|now| now != leader)) => {
                Try::Failed(format!("{leader} no longer leads"))
            }
            _ = closing.wait_for(|closing| *closing) => Try::Closing,
        }
    }
}

fn unknown<T>(leader: NodeId) -> Try<T> {
    Try::Failed(format!("the address of {leader} is not known"))
}
