//! An image leaves the engine, travels, and comes back.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use temps_agent::runtime::StartError;
use temps_agent::runtime::docker::ImageSource;
use temps_agent::store::{Chunks, Fetch, Store};
use temps_core::model::{Artifact, NodeId};

use crate::support::{Place, id_of, noise};

const MIB: usize = 1024 * 1024;

/// Two images with a large common layer.
async fn two_images(place: &Place, seed: u64) -> [Artifact; 2] {
    let base = noise(seed, 9 * MIB);
    let mut images = Vec::new();
    for name in ["one", "two"] {
        let dockerfile = format!("FROM scratch\nCOPY base /\nCOPY {name} /\nCMD [\"/{name}\"]\n");
        let files = [("Dockerfile", dockerfile.as_bytes()), ("base", &base), (name, name.as_bytes())];
        images.push(place.build(1, &files).await.expect("built"));
    }
    images.try_into().expect("two")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_was_wiped_comes_back_as_the_same() {
    let Some(place) = Place::new("an_image_that_was_wiped_comes_back_as_the_same").await else { return };
    let [one, two] = two_images(&place, 1).await;
    let tag = place.images.tag_of(&one.digest);
    assert!(place.has(&tag).await, "what was built is kept under a tag");
    let again = place.images.export(id_of(&one)).await.expect("exported");
    assert_eq!(again, one, "the same image is the same artifact");
    place.wipe(id_of(&one)).await;
    place.wipe(id_of(&two)).await;
    let bring = || place.images.ensure(&one);
    let (a, b, c) = tokio::join!(bring(), bring(), bring());
    a.and(b).and(c).expect("brought");
    assert!(place.has(id_of(&one)).await && place.has(&tag).await);
    assert!(!place.has(id_of(&two)).await);
    bring().await.expect("it is there");
    // Only the tag went.
    place.images.discard(&one.digest).await.expect("discarded");
    assert!(!place.has(&tag).await && !place.has(id_of(&one)).await);
    place.images.discard(&one.digest).await.expect("nothing to discard is no error");
    bring().await.expect("brought again");
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_layers_are_stored_once_and_stay_for_the_other() {
    let Some(place) = Place::new("equal_layers_are_stored_once_and_stay_for_the_other").await else { return };
    let [one, two] = two_images(&place, 2).await;
    let [first, second] = [&one, &two].map(|image| place.chunks(image));
    let (first, second): (BTreeSet<_>, BTreeSet<_>) =
        (first.await.into_iter().collect(), second.await.into_iter().collect());
    let common: u64 =
        first.intersection(&second).map(|chunk| place.store.size_of(chunk).expect("stored")).sum();
    assert!(common > 8 * MIB as u64, "{common} bytes are common");
    let context = place.store.bytes() - (one.size() + two.size() - common);
    assert!(context > 0, "what is common is counted once");
    place.wipe(id_of(&two)).await;
    place.store.delete(&one.digest).await.expect("deleted");
    assert!(!place.store.has(&one.digest) && place.store.has(&two.digest));
    place.images.ensure(&two).await.expect("nothing of it is missing");
    assert!(place.has(id_of(&two)).await);
}

/// Node 2, which breaks off after some bytes, and node 3, which has the same.
struct Peers {
    store: Arc<Store>,
    left: Mutex<usize>,
    asked: Mutex<Vec<(u64, String)>>,
}

#[async_trait]
impl Fetch for Peers {
    async fn fetch(&self, from: &[NodeId], digest: &str, offset: u64) -> io::Result<Chunks> {
        let node = from[0].0;
        self.asked.lock().expect("whole").push((node, digest.to_owned()));
        let mut read = self.store.read(digest, offset).await?;
        let mut parts = Vec::new();
        while let Some(part) = read.next().await {
            let part = part?;
            let mut left = self.left.lock().expect("whole");
            if node == 2 && *left < part.len() {
                parts.push(Err(io::Error::other("broken off")));
                break;
            }
            if node == 2 {
                *left -= part.len();
            }
            parts.push(Ok::<Bytes, io::Error>(part));
        }
        Ok(stream::iter(parts).boxed())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_travels_from_two_nodes_and_only_what_is_missing() {
    let test = "an_image_travels_from_two_nodes_and_only_what_is_missing";
    let (Some(there), Some(here)) = (Place::new(test).await, Place::new(test).await) else { return };
    let [one, two] = two_images(&there, 3).await;
    for image in [&one, &two] {
        there.wipe(id_of(image)).await;
    }
    let peers = Peers { store: there.store.clone(), left: Mutex::new(6 * MIB), asked: Mutex::default() };
    let holders = [NodeId(2), NodeId(3)];
    here.store.fetch(&one, &holders, &peers).await.expect("fetched");
    let asked = std::mem::take(&mut *peers.asked.lock().expect("whole"));
    assert!(asked[0].0 == 2 && asked.last().expect("asked").0 == 3, "{asked:?}");
    here.images.ensure(&one).await.expect("brought");
    assert!(here.has(id_of(&one)).await);

    let known: BTreeSet<_> = here.chunks(&one).await.into_iter().collect();
    here.store.fetch(&two, &holders[1..], &peers).await.expect("fetched");
    let asked: BTreeSet<_> =
        peers.asked.lock().expect("whole").iter().map(|(_, digest)| digest.clone()).collect();
    let missing: BTreeSet<_> = here.chunks(&two).await.into_iter().filter(|c| !known.contains(c)).collect();
    assert_eq!(asked, missing.into_iter().chain([two.digest.clone()]).collect());
    here.images.ensure(&two).await.expect("brought");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_never_reaches_the_engine() {
    let test = "a_damaged_chunk_never_reaches_the_engine";
    let (Some(there), Some(here)) = (Place::new(test).await, Place::new(test).await) else { return };
    let [one, _] = two_images(&there, 4).await;
    let peers = Peers { store: there.store.clone(), left: Mutex::new(0), asked: Mutex::default() };
    let holders = [NodeId(3)];
    here.store.fetch(&one, &holders, &peers).await.expect("fetched");
    there.wipe(id_of(&one)).await;
    let chunks = here.chunks(&one).await;
    let chunk = chunks.iter().max_by_key(|chunk| here.store.size_of(chunk)).expect("a chunk");
    let path = here.store.find(chunk).expect("stored");
    let mut bytes = std::fs::read(&path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    let refused = here.images.ensure(&one).await;
    assert!(matches!(refused, Err(StartError::Damaged)), "{refused:?}");
    assert!(!here.has(id_of(&one)).await && !here.store.has(&one.digest));
    let later = here.images.ensure(&one).await;
    assert!(matches!(later, Err(StartError::NotNow(_))), "{later:?}");
    peers.asked.lock().expect("whole").clear();
    // Also after a restart.
    drop(here.images.clone());
    here.store.fetch(&one, &holders, &peers).await.expect("fetched");
    assert_eq!(*peers.asked.lock().expect("whole"), [(3, chunk.clone())]);
    here.images.ensure(&one).await.expect("brought");
    assert!(Store::open(here.artifacts()).expect("opened").has(&one.digest));
}

#[tokio::test]
async fn without_an_engine_it_is_not_the_applications_fault() {
    let place = Place::without_engine();
    let image = Artifact {
        digest: "a".repeat(64),
        bytes: 1,
        form: temps_core::model::Form::Image { id: format!("sha256:{}", "b".repeat(64)), total: 0 },
    };
    let refused = place.images.ensure(&image).await;
    assert!(matches!(&refused, Err(StartError::NotNow(why)) if why.contains("engine.sock")), "{refused:?}");
    assert!(place.images.discard(&image.digest).await.is_err());
    // One that takes connections and never says anything.
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("engine.sock");
    let _hangs = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
    let hung = Place::on_socket(&socket);
    let ensuring = tokio::time::timeout(Duration::from_secs(60), hung.images.ensure(&image));
    let refused = ensuring.await.expect("it is not waited for long");
    assert!(matches!(&refused, Err(StartError::NotNow(_))), "{refused:?}");
    let bundle = Artifact { form: temps_core::model::Form::Bundle, ..image };
    assert!(matches!(place.images.ensure(&bundle).await, Err(StartError::Refused(_))));
}
