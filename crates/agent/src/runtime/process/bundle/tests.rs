use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use super::Bundles;
use crate::runtime::StartError;

/// One entry: kind, path, and content or link target. Written raw, as a hostile client would.
type Row<'a> = (EntryType, &'a str, &'a str);

fn archive(rows: &[Row<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, path, content) in rows {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        header.set_mtime(1_000_000);
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        if is_link {
            header.as_mut_bytes()[157..157 + content.len()].copy_from_slice(content.as_bytes());
        }
        let body = if is_link { "" } else { content };
        header.set_size(body.len() as u64);
        header.set_cksum();
        builder.append(&header, body.as_bytes()).expect("appended");
    }
    builder.into_inner().expect("finished")
}

struct Place {
    dir: tempfile::TempDir,
    bundles: Bundles,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let bundles = Bundles::open(dir.path().join("bundles"), "boot").expect("opened");
        Self { dir, bundles }
    }

    async fn unpack(&self, bytes: &[u8]) -> Result<PathBuf, StartError> {
        let digest = hex::encode(Sha256::digest(bytes));
        let artifact = self.dir.path().join(&digest);
        fs::write(&artifact, bytes).expect("written");
        self.bundles.unpacked(&digest, &artifact).await
    }

    fn leftovers(&self) -> usize {
        let list = fs::read_dir(self.dir.path().join("bundles")).expect("listed");
        list.filter(|e| e.as_ref().expect("entry").file_name() != ".boot").count()
    }
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).expect("readable")
}

#[tokio::test]
async fn a_bundle_is_unpacked_once_and_cannot_be_changed() {
    let place = Place::new();
    let plain = archive(&[
        (EntryType::Directory, "./", ""),
        (EntryType::Regular, "./bin/app", "#!/bin/sh\n"),
        (EntryType::Symlink, "bin/link", "../lib/data"),
        (EntryType::Regular, "lib/data", "old"),
        (EntryType::Regular, "lib/data", "new"),
        (EntryType::Link, "lib/hard", "bin/app"),
    ]);
    let packed = zstd::encode_all(&plain[..], 1).expect("packed");
    for bytes in [&plain, &packed] {
        let root = place.unpack(bytes).await.expect("unpacked");
        assert_eq!(text(&root.join("bin/link")), "new");
        assert_eq!(text(&root.join("lib/hard")), "#!/bin/sh\n");
        let found = fs::metadata(root.join("bin/app")).expect("there");
        assert_eq!(found.permissions().mode() & 0o7777, 0o555);
        assert_eq!(fs::metadata(&root).expect("there").permissions().mode() & 0o7777, 0o555);
        let written = found.modified().expect("a time").duration_since(std::time::UNIX_EPOCH);
        assert_eq!(written.expect("after 1970").as_secs(), 1_000_000);

        let inode = |p: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(p).expect("there"));
        let before = inode(&root);
        assert_eq!(inode(&place.unpack(bytes).await.expect("there already")), before);
    }
    let digest = hex::encode(Sha256::digest(&plain));
    place.bundles.discard(&digest).await.expect("removed");
    place.bundles.discard(&digest).await.expect("nothing to remove is no error");
    assert_eq!(place.leftovers(), 1);
}

#[tokio::test]
async fn what_reaches_outside_is_refused_as_a_whole() {
    let place = Place::new();
    let outside = place.dir.path().join("outside");
    fs::write(&outside, "untouched").expect("written");
    let ok: Row<'_> = (EntryType::Regular, "ok", "fine");
    let rows: [&[Row<'_>]; 14] = [
        &[ok, (EntryType::Regular, "../outside", "evil")],
        &[ok, (EntryType::Regular, "a/../../outside", "evil")],
        &[ok, (EntryType::Regular, "/tmp/outside-of-a-bundle", "evil")],
        &[ok, (EntryType::Symlink, "l", "/etc/passwd")],
        &[ok, (EntryType::Symlink, "l", "../outside")],
        &[ok, (EntryType::Symlink, "a/l", "../../outside")],
        &[ok, (EntryType::Symlink, "l", "."), (EntryType::Regular, "l/x", "evil")],
        &[(EntryType::Directory, "d/e", ""), (EntryType::Symlink, "l", "d/e/../../..")],
        &[(EntryType::Symlink, "d/s", ".."), (EntryType::Symlink, "d/s/l", "../outside")],
        &[ok, (EntryType::Link, "h", "../outside")],
        &[ok, (EntryType::Link, "h", "missing")],
        &[ok, (EntryType::Char, "c", "")],
        &[ok, (EntryType::Block, "b", "")],
        &[ok, (EntryType::Fifo, "f", "")],
    ];
    for row in rows {
        let refused = place.unpack(&archive(row)).await;
        assert!(matches!(refused, Err(StartError::Refused(_))), "{row:?}: {refused:?}");
        assert_eq!(place.leftovers(), 0, "{row:?}");
    }
    assert_eq!(text(&outside), "untouched");
}

#[tokio::test]
async fn garbage_is_refused_and_damage_is_told_apart() {
    let place = Place::new();
    for garbage in [&[0x28, 0xb5, 0x2f, 0xfd, 9, 9, 9][..], &[7; 2_000]] {
        let refused = place.unpack(garbage).await;
        assert!(matches!(refused, Err(StartError::Refused(_) | StartError::Io(_))), "{refused:?}");
    }
    let artifact = place.dir.path().join("damaged");
    let mut bytes = archive(&[(EntryType::Regular, "app", "good")]);
    let digest = hex::encode(Sha256::digest(&bytes));
    bytes[512] ^= 1;
    fs::write(&artifact, bytes).expect("written");
    let damaged = place.bundles.unpacked(&digest, &artifact).await;
    assert!(matches!(damaged, Err(StartError::Damaged)), "{damaged:?}");
    assert_eq!(place.leftovers(), 0);
}

#[tokio::test]
async fn a_restart_of_the_machine_throws_away_what_may_be_torn() {
    let place = Place::new();
    place.unpack(&archive(&[(EntryType::Regular, "d/app", "good")])).await.expect("unpacked");
    let dir = place.dir.path().join("bundles");
    Bundles::open(dir.clone(), "boot").expect("opened");
    assert_eq!(place.leftovers(), 1);
    Bundles::open(dir, "another boot").expect("opened");
    assert_eq!(place.leftovers(), 0);
}
