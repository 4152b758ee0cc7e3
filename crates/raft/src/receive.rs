//! Messages from the Raft groups of other nodes, answered.
//!
//! Who may send them is checked before they come here.

use bytes::Bytes;
use openraft::Snapshot as RaftSnapshot;
use openraft::raft::SnapshotResponse;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::machine;
use crate::message::{self, Chunk, ChunkAnswer, Envelope, MalformedError, kind};
use crate::store::Owner;
use crate::types::{Raft, SnapshotMeta, TypeConfig};

/// The largest snapshot that is accepted, in bytes.
const SNAPSHOT_MAX: u64 = 1024 * 1024 * 1024;

/// Why a message was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// It is no message that this version knows.
    #[error("{0}")]
    Malformed(String),
    /// It is meant for another node, or for a store that this node no longer has.
    #[error("{0}")]
    NotForMe(String),
    /// It cannot be answered now: no majority, or this node is shutting down.
    #[error("{0}")]
    Unavailable(String),
}

impl From<MessageError> for tonic::Status {
    fn from(error: MessageError) -> Self {
        let text = error.to_string();
        match error {
            MessageError::Malformed(_) => Self::invalid_argument(text),
            MessageError::NotForMe(_) => Self::failed_precondition(text),
            MessageError::Unavailable(_) => Self::unavailable(text),
        }
    }
}

impl From<MalformedError> for MessageError {
    fn from(error: MalformedError) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// A snapshot that is being received.
#[derive(Debug)]
pub(crate) struct Incoming {
    digest: [u8; 32],
    total: u64,
    data: Vec<u8>,
}

/// What answers for this node.
pub(crate) struct Receiver {
    /// Who this is.
    pub(crate) owner: Owner,
    /// The group.
    pub(crate) raft: Raft,
    /// The snapshot that is being received; one at a time.
    pub(crate) incoming: tokio::sync::Mutex<Option<Incoming>>,
}

impl Receiver {
    /// Answers a consensus message.
    pub(crate) async fn answer(&self, kind: &str, body: &[u8]) -> Result<Bytes, MessageError> {
        match kind {
            kind::APPEND => reply(self.raft.append_entries(self.open(body)?).await),
            kind::VOTE => reply(self.raft.vote(self.open(body)?).await),
            kind::PRE_VOTE => reply(self.raft.pre_vote(self.open(body)?).await),
            kind::TRANSFER => reply(self.raft.handle_transfer_leader(self.open(body)?).await),
            kind::SNAPSHOT => Ok(message::encode(&self.take(self.open(body)?).await?)),
            kind::HELLO => {
                self.open::<()>(body)?;
                Ok(message::encode(&self.owner))
            }
            other => Err(MessageError::Malformed(format!("there is no kind of message {other:?}"))),
        }
    }

    /// The body of a message for this node.
    pub(crate) fn open<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, MessageError> {
        let envelope: Envelope<T> = message::decode(body)?;
        let Owner { node, store } = self.owner;
        if envelope.to != node {
            return Err(MessageError::NotForMe(format!("this is n{node}, and not n{}", envelope.to)));
        }
        if envelope.store.is_some_and(|wanted| wanted != store) {
            return Err(MessageError::NotForMe(format!(
                "n{node} lost its data and is not the member it was; remove it and let it join again"
            )));
        }
        Ok(envelope.body)
    }

    async fn take(&self, chunk: Chunk) -> Result<ChunkAnswer, MessageError> {
        let mut incoming = self.incoming.lock().await;
        let Some(data) = collect(&mut incoming, &chunk)? else {
            let next = incoming.as_ref().map_or(0, |incoming| incoming.data.len() as u64);
            return Ok(ChunkAnswer::Next(next));
        };
        self.install(chunk, data).await
    }

    /// openraft panics on a snapshot that no leader can have sent, so it does not get to see one.
    async fn install(&self, chunk: Chunk, data: Bytes) -> Result<ChunkAnswer, MessageError> {
        let Chunk { vote, meta, .. } = chunk;
        let plausible = meta.last_log_id.is_some_and(|id| id.leader_id <= vote.leader_id) && vote.committed;
        if !plausible {
            return Err(MessageError::Malformed(
                "the snapshot is not of the leader that sends it".to_owned(),
            ));
        }
        if let Some(answer) = self.has(&meta).await? {
            return Ok(answer);
        }
        machine::unpack(&meta, &data).map_err(|error| MessageError::Malformed(error.to_string()))?;
        let snapshot = RaftSnapshot { meta, snapshot: data };
        match self.raft.install_full_snapshot(vote, snapshot).await {
            Ok(response) => Ok(ChunkAnswer::Installed(response)),
            Err(fatal) => Err(MessageError::Unavailable(fatal.to_string())),
        }
    }

    /// Refuses a snapshot that contradicts what this node knows to be committed.
    async fn has(&self, meta: &SnapshotMeta) -> Result<Option<ChunkAnswer>, MessageError> {
        let offered = meta.last_log_id;
        let known = self
            .raft
            .with_raft_state(move |state| {
                let committed = state.local_committed().copied();
                (committed, *state.vote_ref())
            })
            .await
            .map_err(|fatal| MessageError::Unavailable(fatal.to_string()))?;
        let (committed, vote) = known;
        if offered <= committed {
            return Ok(Some(ChunkAnswer::Installed(SnapshotResponse::<TypeConfig>::new(vote))));
        }
        if offered.map(|id| id.index) <= committed.map(|id| id.index) {
            return Err(MessageError::Malformed("the snapshot contradicts committed entries".to_owned()));
        }
        Ok(None)
    }
}

/// Adds a part; answers the whole once it is complete and undamaged.
fn collect(incoming: &mut Option<Incoming>, chunk: &Chunk) -> Result<Option<Bytes>, MessageError> {
    let wrong = |why: &str| MessageError::Malformed(why.to_owned());
    if chunk.total > SNAPSHOT_MAX || chunk.data.len() > temps_wire::MESSAGE_MAX {
        return Err(wrong("the snapshot is too large"));
    }
    let current = incoming.take().filter(|i| i.digest == chunk.digest && i.total == chunk.total);
    let mut current = match current {
        Some(current) => current,
        None => Incoming { digest: chunk.digest, total: chunk.total, data: Vec::new() },
    };
    let have = current.data.len() as u64;
    if chunk.offset == 0 {
        current.data.clear();
    } else if chunk.offset != have {
        *incoming = Some(current);
        return Ok(None);
    }
    current.data.extend_from_slice(&chunk.data);
    let have = current.data.len() as u64;
    if have > chunk.total || (chunk.data.is_empty() && have < chunk.total) {
        return Err(wrong("the parts of the snapshot do not add up"));
    }
    if have < chunk.total {
        *incoming = Some(current);
        return Ok(None);
    }
    let digest: [u8; 32] = Sha256::digest(&current.data).into();
    if digest != current.digest {
        return Err(wrong("the snapshot was damaged on its way"));
    }
    Ok(Some(Bytes::from(current.data)))
}

fn reply<T: Serialize, E: std::error::Error>(answer: Result<T, E>) -> Result<Bytes, MessageError> {
    match answer {
        Ok(answer) => Ok(message::encode(&answer)),
        Err(fatal) => Err(MessageError::Unavailable(fatal.to_string())),
    }
}
