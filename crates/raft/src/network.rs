//! openraft's calls to other members, over a [`Transport`].

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RPCTypes};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use temps_core::model::NodeId;

use crate::message::{self, Chunk, ChunkAnswer, Envelope, kind};
use crate::transport::{Peer, Transport};
use crate::types::{Member, Snapshot, TypeConfig, Vote};

/// How long the answer to entries may take. openraft offers the heartbeat interval, which a batch on a
/// busy disk misses again and again without anything being wrong.
const ENTRIES_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the answer to one part of a snapshot may take; the last one includes the installation.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);

/// The newest known address of each member. A running stream of openraft keeps the address it began with.
#[derive(Debug, Default)]
pub(crate) struct AddressBook {
    members: RwLock<BTreeMap<u64, Member>>,
}

impl AddressBook {
    /// Takes over the members of a membership.
    pub(crate) fn update<'a>(&self, members: impl Iterator<Item = (&'a u64, &'a Member)>) {
        let members: BTreeMap<u64, Member> = members.map(|(id, member)| (*id, member.clone())).collect();
        let mut current = self.members.write().unwrap_or_else(PoisonError::into_inner);
        if *current != members {
            *current = members;
        }
    }

    /// A member.
    pub(crate) fn get(&self, node: u64) -> Option<Member> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }
}

/// Makes clients.
pub(crate) struct Network {
    /// This node.
    pub(crate) node: u64,
    /// The way to the others.
    pub(crate) transport: Arc<dyn Transport>,
    /// Where they are.
    pub(crate) book: Arc<AddressBook>,
}

impl Network {
    fn client(&self, target: u64, member: &Member, patience: Duration) -> Client {
        Client {
            node: self.node,
            target,
            member: member.clone(),
            transport: Arc::clone(&self.transport),
            book: Arc::clone(&self.book),
            patience,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: u64, node: &Member) -> Client {
        self.client(target, node, ENTRIES_TIMEOUT)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Member) -> Client {
        self.client(target, node, Duration::ZERO)
    }
}

/// Calls one member.
pub(crate) struct Client {
    node: u64,
    target: u64,
    member: Member,
    transport: Arc<dyn Transport>,
    book: Arc<AddressBook>,
    /// How long an answer to entries is waited for at least.
    patience: Duration,
}

impl Client {
    async fn call<Q, A>(
        &self,
        kind: &'static str,
        request: Q,
        timeout: Duration,
        action: RPCTypes,
    ) -> Result<A, RPCError<TypeConfig>>
    where
        Q: Serialize + Send,
        A: DeserializeOwned,
    {
        let member = self.book.get(self.target).filter(|known| known.store == self.member.store);
        let address = member.map_or_else(|| self.member.address.clone(), |known| known.address);
        let envelope = Envelope { to: self.target, store: Some(self.member.store), body: request };
        let body = message::encode(&envelope);
        let peer = Peer { node: NodeId(self.target), address: &address };
        match tokio::time::timeout(timeout, self.transport.raft(peer, kind, body)).await {
            Err(_) => Err(RPCError::Timeout(Timeout { action, id: self.node, target: self.target, timeout })),
            Ok(Err(error)) => Err(RPCError::Unreachable(Unreachable::new(&error))),
            Ok(Ok(answer)) => {
                message::decode(&answer).map_err(|error| RPCError::Unreachable(Unreachable::new(&error)))
            }
        }
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: Snapshot,
        chunk: usize,
    ) -> Result<SnapshotResponse<TypeConfig>, RPCError<TypeConfig>> {
        let Snapshot { meta, snapshot: data } = snapshot;
        let digest = Sha256::digest(&data).into();
        let mut offset = 0;
        loop {
            let part = Chunk {
                vote,
                meta: meta.clone(),
                digest,
                total: data.len() as u64,
                offset: offset as u64,
                data: part_of(&data, offset, chunk),
            };
            let answer = self.call(kind::SNAPSHOT, part, CHUNK_TIMEOUT, RPCTypes::InstallSnapshot).await?;
            match answer {
                ChunkAnswer::Installed(response) => return Ok(response),
                ChunkAnswer::Next(next) => match usize::try_from(next) {
                    Ok(next) if next <= data.len() => offset = next,
                    Ok(_) | Err(_) => {
                        let why = format!("asked for offset {next} of {}", data.len());
                        return Err(RPCError::Unreachable(Unreachable::from_string(why)));
                    }
                },
            }
        }
    }
}

fn part_of(data: &Bytes, offset: usize, chunk: usize) -> Bytes {
    data.slice(offset..data.len().min(offset.saturating_add(chunk)))
}

impl RaftNetworkV2<TypeConfig> for Client {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let timeout = option.soft_ttl().max(self.patience);
        self.call(kind::APPEND, rpc, timeout, RPCTypes::AppendEntries).await
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(kind::VOTE, rpc, option.soft_ttl(), RPCTypes::Vote).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(kind::PRE_VOTE, rpc, option.soft_ttl(), RPCTypes::Vote).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let chunk = option.snapshot_chunk_size().unwrap_or(1024 * 1024).max(1);
        let timeout = option.soft_ttl();
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = tokio::time::timeout(timeout, self.send_snapshot(vote, snapshot, chunk)) => match sent {
                Ok(sent) => Ok(sent?),
                Err(_) => Err(StreamingError::Timeout(Timeout {
                    action: RPCTypes::InstallSnapshot,
                    id: self.node,
                    target: self.target,
                    timeout,
                })),
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.call(kind::TRANSFER, req, option.soft_ttl(), RPCTypes::TransferLeader).await
    }
}
