use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use sha2::{Digest, Sha256};
use temps_core::model::{Artifact, Form, NodeId};

use super::content;
use crate::store::{Chunks, Entry, Fetch, Hold, Kind, Manifest, Piece, Store, StoreError};

fn shelf() -> (tempfile::TempDir, Arc<Store>) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = Store::open(dir.path().join("artifacts")).expect("opened");
    (dir, Arc::new(store))
}

fn digest(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

fn manifest(pieces: &[&[u8]]) -> Manifest {
    let entry = |(place, piece): (usize, &&[u8])| Entry {
        name: format!("layer{place}"),
        kind: Kind::File,
        mode: 0o644,
        mtime: 0,
        size: 3,
        link: None,
        chunks: vec![Piece { digest: digest(piece), bytes: piece.len() as u64, size: 3 }],
    };
    let image = format!("sha256:{}", digest(&pieces.concat()));
    Manifest::new(image, pieces.iter().enumerate().map(entry).collect())
}

/// Stores an image of these chunks.
fn stored(store: &Arc<Store>, pieces: &[&[u8]]) -> Artifact {
    let mut hold = Hold::new(Arc::clone(store));
    for piece in pieces {
        hold.put(piece).expect("put");
    }
    hold.publish(&manifest(pieces)).expect("published")
}

/// Nodes with stores; what a node sends breaks off when it has sent so many bytes in all.
#[derive(Default)]
struct Nodes {
    stores: BTreeMap<NodeId, (Arc<Store>, Mutex<usize>)>,
    asked: Mutex<Vec<(NodeId, String, u64)>>,
}

impl Nodes {
    fn new<const N: usize>(stores: [(u64, &Arc<Store>, usize); N]) -> Self {
        let stores =
            stores.map(|(node, store, limit)| (NodeId(node), (Arc::clone(store), Mutex::new(limit))));
        Self { stores: BTreeMap::from(stores), asked: Mutex::default() }
    }

    fn asked(&self) -> Vec<(u64, String)> {
        self.asked.lock().expect("whole").iter().map(|(node, digest, _)| (node.0, digest.clone())).collect()
    }
}

#[async_trait]
impl Fetch for Nodes {
    async fn fetch(&self, from: &[NodeId], digest: &str, offset: u64) -> io::Result<Chunks> {
        let known = from.iter().find_map(|node| Some((node, self.stores.get(node)?)));
        let (node, (store, limit)) = known.ok_or_else(|| io::Error::other("nobody can be reached"))?;
        self.asked.lock().expect("whole").push((*node, digest.to_owned(), offset));
        let mut all = Vec::new();
        let mut read = store.read(digest, offset).await?;
        while let Some(part) = read.next().await {
            all.extend_from_slice(&part?);
        }
        let mut limit = limit.lock().expect("whole");
        let sent = all.len().min(*limit);
        *limit -= sent;
        let mut answer = vec![Ok(Bytes::copy_from_slice(&all[..sent]))];
        if sent < all.len() {
            answer.push(Err(io::Error::other("broken off")));
        }
        Ok(stream::iter(answer).boxed())
    }
}

const HOLDERS: [NodeId; 2] = [NodeId(2), NodeId(3)];

#[tokio::test]
async fn an_image_is_there_when_all_its_chunks_are() {
    let (dir, store) = shelf();
    let image = stored(&store, &[b"aaaa", b"bbbb", b"aaaa"]);
    assert!(matches!(&image.form, Form::Image { total: 8, .. }), "{image:?}");
    assert_eq!(store.list(), [image.digest.clone()].into());
    assert_eq!(store.bytes(), image.size());
    assert!(!store.has(&digest(b"aaaa")), "a chunk is no artifact");
    assert_eq!(content(&store, &digest(b"aaaa"), 0).await, b"aaaa");
    assert_eq!(content(&store, &digest(b"aaaa"), 3).await, b"a");
    assert_eq!(store.size_of(&digest(b"bbbb")), Some(4));
    assert_eq!(store.size_of(&image.digest), Some(image.bytes));
    assert!(store.find(&image.digest).expect("found").is_file());
    assert_eq!(store.find(&digest(b"cccc")), None);

    let again = Store::open(dir.path().join("artifacts")).expect("opened");
    assert_eq!(again.list(), store.list());
    assert_eq!(again.bytes(), store.bytes());
    std::fs::remove_file(store.find(&digest(b"bbbb")).expect("found")).expect("removed");
    let again = Store::open(dir.path().join("artifacts")).expect("opened");
    assert!(again.list().is_empty(), "an image without one of its chunks is not stored");
    assert_eq!(again.known(), store.list());
}

#[tokio::test]
async fn chunks_stay_as_long_as_something_needs_them() {
    let (_dir, store) = shelf();
    let one = stored(&store, &[b"both", b"one"]);
    let two = stored(&store, &[b"both", b"two"]);
    let hold = Hold::of_image(Arc::clone(&store), &two.digest).expect("read").expect("stored");
    store.delete(&one.digest).await.expect("deleted");
    assert_eq!(store.list(), [two.digest.clone()].into());
    assert!(store.find(&digest(b"both")).is_some());
    assert_eq!(store.find(&digest(b"one")), None);
    store.hide(&two.digest);
    assert!(!store.has(&two.digest));
    store.delete(&two.digest).await.expect("deleted");
    assert!(store.find(&digest(b"two")).is_some(), "somebody reads it");
    drop(hold);
    assert_eq!(store.bytes(), 0);
    for dir in ["chunks", "images", "incoming", "partial"] {
        assert_eq!(std::fs::read_dir(store.dir.join(dir)).expect("listed").count(), 0, "{dir}");
    }
}

#[tokio::test]
async fn an_export_that_was_given_up_leaves_nothing() {
    let (dir, store) = shelf();
    let kept = stored(&store, &[b"both"]);
    let mut hold = Hold::new(Arc::clone(&store));
    hold.put(b"both").expect("put");
    hold.put(b"new").expect("put");
    // As after a kill.
    let again = Store::open(dir.path().join("artifacts")).expect("opened");
    assert_eq!((again.find(&digest(b"new")), again.list()), (None, [kept.digest.clone()].into()));
    drop(hold);
    assert_eq!(store.bytes(), kept.size());
}

#[tokio::test]
async fn a_fetch_goes_on_chunk_by_chunk_and_at_another_holder() {
    let (_there, there) = shelf();
    let (dir, here) = shelf();
    let pieces: [&[u8]; 4] = [b"chunk-one", b"chunk-two", b"chunk-three", b"chunk-four"];
    let image = stored(&there, &pieces);
    let enough = usize::try_from(image.bytes).expect("small") + 12;
    let nodes = Nodes::new([(2, &there, enough)]);
    let broken = here.fetch(&image, &HOLDERS[..1], &nodes).await;
    assert!(broken.is_err(), "it broke off in the second chunk");
    assert!(!here.has(&image.digest) && here.list().is_empty());
    drop(here);
    // A kill in between; then the second holder answers.
    let here = Store::open(dir.path().join("artifacts")).expect("opened");
    let mut changes = here.changes();
    changes.mark_unchanged();
    let nodes = Nodes::new([(2, &there, 0), (3, &there, usize::MAX)]);
    here.fetch(&image, &HOLDERS, &nodes).await.expect("fetched");
    assert!(here.has(&image.digest) && changes.has_changed().expect("open"));
    let asked = nodes.asked.lock().expect("whole").clone();
    let offsets: Vec<_> =
        asked.iter().map(|(node, digest, offset)| (node.0, digest.as_str(), *offset)).collect();
    let [_, two, three, four] = pieces.map(digest);
    assert_eq!(offsets, [(2, &*two, 3), (3, &*two, 3), (3, &*three, 0), (3, &*four, 0)]);
    for piece in pieces {
        assert_eq!(content(&here, &digest(piece), 0).await, piece);
    }
}

#[tokio::test]
async fn only_what_is_missing_travels() {
    let (_there, there) = shelf();
    let (_dir, here) = shelf();
    let one = stored(&there, &[b"base", b"libs", b"one"]);
    let two = stored(&there, &[b"base", b"libs", b"two", b"two"]);
    let nodes = Nodes::new([(2, &there, usize::MAX)]);
    here.fetch(&one, &HOLDERS, &nodes).await.expect("fetched");
    nodes.asked.lock().expect("whole").clear();
    let (a, b) = tokio::join!(here.fetch(&two, &HOLDERS, &nodes), here.fetch(&two, &HOLDERS, &nodes));
    a.and(b).expect("fetched");
    assert_eq!(nodes.asked(), [(2, two.digest.clone()), (2, digest(b"two"))]);
    assert_eq!(here.list(), there.list());
}

#[tokio::test]
async fn a_damaged_chunk_is_noticed_and_only_that_comes_again() {
    let (_there, there) = shelf();
    let (_dir, here) = shelf();
    let image = stored(&there, &[b"good", b"evil"]);
    let nodes = Nodes::new([(2, &there, usize::MAX)]);
    here.fetch(&image, &HOLDERS, &nodes).await.expect("fetched");
    let path = here.find(&digest(b"evil")).expect("found");
    std::fs::write(path, b"EVIL").expect("written");
    // Another node asks for it.
    assert!(here.read(&digest(b"evil"), 0).await.is_err());
    assert!(!here.has(&image.digest), "it is not whole any more");
    here.delete(&image.digest).await.expect("nothing is stored that could be deleted");
    nodes.asked.lock().expect("whole").clear();
    here.fetch(&image, &HOLDERS, &nodes).await.expect("fetched");
    assert_eq!(nodes.asked(), [(2, digest(b"evil"))]);
    assert_eq!(content(&here, &digest(b"evil"), 0).await, b"evil");
}

#[tokio::test]
async fn a_holder_with_a_damaged_chunk_does_not_spoil_the_others() {
    let (_there, there) = shelf();
    let (_other, other) = shelf();
    let (_dir, here) = shelf();
    let image = stored(&there, &[b"good", b"evil"]);
    assert_eq!(stored(&other, &[b"good", b"evil"]), image);
    std::fs::write(there.find(&digest(b"evil")).expect("found"), b"EV").expect("written");
    let nodes = Nodes::new([(2, &there, usize::MAX), (3, &other, usize::MAX)]);
    here.fetch(&image, &HOLDERS, &nodes).await.expect("fetched");
    assert!(!there.has(&image.digest), "the holder has found out as well");
    there.fetch(&image, &HOLDERS[1..], &nodes).await.expect("healed");
}

#[tokio::test]
async fn a_manifest_that_is_not_as_announced_is_refused_and_thrown_away() {
    let (_there, there) = shelf();
    let (_dir, here) = shelf();
    let image = stored(&there, &[b"good"]);
    let nodes = Nodes::new([(2, &there, usize::MAX)]);
    let wrong =
        |total, id: &str| Artifact { form: Form::Image { id: id.to_owned(), total }, ..image.clone() };
    let Form::Image { id, .. } = &image.form else { panic!("an image") };
    for wrong in [wrong(3, id), wrong(u64::MAX, id), wrong(4, "sha256:beef")] {
        let refused = here.fetch(&wrong, &HOLDERS, &nodes).await;
        assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    }
    let huge = Artifact { bytes: 17 << 20, ..image.clone() };
    assert!(matches!(here.fetch(&huge, &HOLDERS, &nodes).await, Err(StoreError::Refused(_))));
    // Garbage with the right digest.
    let garbage = Artifact { digest: digest(b"garbage"), bytes: 7, form: wrong(0, id).form };
    let content = stream::iter([Ok(Bytes::from_static(b"garbage"))]);
    there.store(&Artifact { form: Form::Bundle, ..garbage.clone() }, content).await.expect("stored");
    let refused = here.fetch(&garbage, &HOLDERS, &nodes).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "{refused:?}");
    assert!(here.known().is_empty());
    here.fetch(&image, &HOLDERS, &nodes).await.expect("the right one is accepted");
    let pushed = here.store(&image, stream::empty()).await;
    assert!(pushed.is_ok(), "stored already");
    let (_dir, fresh) = shelf();
    let pushed = fresh.store(&image, stream::empty()).await;
    assert!(matches!(pushed, Err(StoreError::Refused(_))), "{pushed:?}");
}

#[tokio::test]
async fn what_nobody_goes_on_with_is_tidied_away() {
    let (_there, there) = shelf();
    let (_dir, here) = shelf();
    let image = stored(&there, &[b"first-chunk", b"second-chunk"]);
    let limit = usize::try_from(image.bytes).expect("small") + 15;
    let nodes = Nodes::new([(2, &there, limit)]);
    assert!(here.fetch(&image, &HOLDERS, &nodes).await.is_err());
    here.tidy(&[image.digest.clone()].into()).expect("tidied");
    assert_eq!(here.known(), [image.digest.clone()].into());
    assert!(here.find(&digest(b"first-chunk")).is_some());
    here.tidy(&BTreeSet::new()).expect("tidied");
    assert!(here.known().is_empty());
    assert_eq!(here.bytes(), 0);
    assert_eq!(std::fs::read_dir(here.dir.join("partial-chunks")).expect("listed").count(), 0);
}

#[tokio::test]
async fn a_full_disk_is_told_before_anything_is_fetched() {
    let (_dir, here) = shelf();
    let full = here.room_for(1 << 60).expect_err("no disk is that large").to_string();
    assert!(full.starts_with("no space on this node: ") && full.ends_with(" needed"), "{full}");
    here.room_for(0).expect("room for a little");
    assert!(here.free().expect("known") > 0);
}
