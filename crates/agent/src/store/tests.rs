mod images;

use std::collections::BTreeMap;
use std::io;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use temps_core::model::{Artifact, Form, NodeId};

use super::{Chunks, Fetch, Store, StoreError};

fn artifact(content: &[u8]) -> Artifact {
    Artifact { digest: hex::encode(Sha256::digest(content)), bytes: content.len() as u64, form: Form::Bundle }
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path().join("artifacts")).expect("opened");
    (dir, store)
}

fn chunks(content: &[u8]) -> Vec<io::Result<Bytes>> {
    content.chunks(7).map(|c| Ok(Bytes::copy_from_slice(c))).collect()
}

async fn content(store: &Store, digest: &str, offset: u64) -> Vec<u8> {
    let read = store.read(digest, offset).await.expect("stored");
    read.try_fold(Vec::new(), |mut all, c| async move {
        all.extend_from_slice(&c);
        Ok(all)
    })
    .await
    .expect("readable")
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_restart() {
    let (dir, store) = store();
    let what = artifact(b"the whole content");
    let mut changes = store.changes();
    store.store(&what, stream::iter(chunks(b"the whole content"))).await.expect("stored");
    assert!(changes.has_changed().expect("open"));
    changes.mark_unchanged();
    let again = Store::open(dir.path().join("artifacts")).expect("opened");
    assert_eq!(again.list(), [what.digest.clone()].into());
    assert_eq!(content(&again, &what.digest, 0).await, b"the whole content");
    assert_eq!(content(&again, &what.digest, 10).await, b"content");
    again.delete(&what.digest).await.expect("removed");
    again.delete(&what.digest).await.expect("nothing to remove is no error");
    assert!(!again.has(&what.digest));
    assert!(again.read(&what.digest, 0).await.is_err());
}

#[tokio::test]
async fn what_is_not_what_its_name_says_is_not_stored() {
    let (dir, store) = store();
    let what = artifact(b"good");
    let refused = store.store(&what, stream::iter(chunks(b"evil"))).await;
    assert!(matches!(refused, Err(StoreError::Mismatch(_))), "{refused:?}");
    for wrong in [&b"goo"[..], b"good and more"] {
        let refused = store.store(&what, stream::iter(chunks(wrong))).await;
        assert!(matches!(refused, Err(StoreError::Size { .. })), "{refused:?}");
    }
    let broken = stream::iter(vec![Ok(Bytes::from_static(b"go")), Err(io::Error::other("cut"))]);
    assert!(store.store(&what, broken).await.is_err());
    for name in ["", "../../etc/passwd", &what.digest.to_uppercase(), &what.digest[1..]] {
        let named = Artifact { digest: name.to_owned(), bytes: 4, form: Form::Bundle };
        let refused = store.store(&named, stream::iter(chunks(b"good"))).await;
        assert!(matches!(refused, Err(StoreError::NotADigest(_))), "{name}: {refused:?}");
    }
    assert!(store.list().is_empty());
    let incoming = std::fs::read_dir(dir.path().join("artifacts/incoming")).expect("listed");
    assert_eq!(incoming.count(), 0);
}

/// Nodes that have some content and break off, or fall silent, after some bytes of each answer.
#[derive(Default)]
struct Nodes {
    silent: bool,
    content: BTreeMap<NodeId, (Vec<u8>, usize)>,
    asked: Mutex<Vec<(NodeId, u64)>>,
}

#[async_trait]
impl Fetch for Nodes {
    async fn fetch(&self, from: &[NodeId], _digest: &str, offset: u64) -> io::Result<Chunks> {
        for node in from {
            let Some((content, limit)) = self.content.get(node) else { continue };
            self.asked.lock().expect("not poisoned").push((*node, offset));
            let rest = &content[usize::try_from(offset).expect("small")..];
            let mut answer = chunks(&rest[..rest.len().min(*limit)]);
            if rest.len() > *limit {
                if self.silent {
                    return Ok(stream::iter(answer).chain(stream::pending()).boxed());
                }
                answer.push(Err(io::Error::other("broken off")));
            }
            return Ok(stream::iter(answer).boxed());
        }
        Err(io::Error::other("nobody can be reached"))
    }
}

#[tokio::test]
async fn a_fetch_goes_on_at_another_holder_where_the_last_one_stopped() {
    let (dir, store) = store();
    let good = b"0123456789abcdefghij".to_vec();
    let what = artifact(&good);
    let nodes = Nodes {
        content: BTreeMap::from([(NodeId(2), (good.clone(), 7)), (NodeId(3), (good.clone(), 6))]),
        ..Nodes::default()
    };
    let holders = [NodeId(1), NodeId(2), NodeId(3)];
    assert!(store.fetch(&what, &holders[..2], &nodes).await.is_err());
    // The rest comes after a restart.
    let store = Store::open(dir.path().join("artifacts")).expect("opened");
    store.fetch(&what, &holders[1..], &nodes).await.expect("fetched");
    assert_eq!(content(&store, &what.digest, 0).await, good);
    let asked = nodes.asked.lock().expect("not poisoned").clone();
    assert_eq!(asked, [(NodeId(2), 0), (NodeId(2), 7), (NodeId(2), 14)]);
}

#[tokio::test]
async fn a_holder_with_wrong_content_does_not_spoil_the_others() {
    let (_dir, store) = store();
    let good = b"0123456789".to_vec();
    let what = artifact(&good);
    let content = BTreeMap::from([
        (NodeId(1), (b"0123456666".to_vec(), 100)),
        (NodeId(2), (b"01234567890000".to_vec(), 100)),
        (NodeId(3), (good.clone(), 100)),
    ]);
    let nodes = Nodes { content, ..Nodes::default() };
    assert!(store.fetch(&what, &[], &nodes).await.is_err());
    store.fetch(&what, &[NodeId(1), NodeId(2), NodeId(3)], &nodes).await.expect("fetched");
    assert_eq!(self::content(&store, &what.digest, 0).await, good);
}

#[tokio::test]
async fn a_silent_holder_holds_nobody_up() {
    let (_dir, store) = store();
    let good = b"0123456789abcdefghij".to_vec();
    let what = artifact(&good);
    let content = BTreeMap::from([(NodeId(1), (good.clone(), 7)), (NodeId(2), (good.clone(), 100))]);
    let nodes = Nodes { content, silent: true, ..Nodes::default() };
    store.fetch(&what, &[NodeId(1), NodeId(2)], &nodes).await.expect("fetched");
    let asked = nodes.asked.lock().expect("not poisoned").clone();
    assert_eq!(asked, [(NodeId(1), 0), (NodeId(2), 7)]);
}
