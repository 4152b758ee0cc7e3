use serde_json::{Value, json};
use temps_core::model::{Artifact, Form};

use super::{Manifest, PIECE};

fn digest(letter: &str) -> String {
    letter.repeat(64)
}

/// A manifest as an export makes it.
fn good() -> Value {
    let layer = |name: &str, letter: &str| {
        json!({"name": name, "kind": "file", "mode": 0o644, "mtime": 0, "size": 5,
               "chunks": [{"digest": digest(letter), "bytes": 9, "size": 5}]})
    };
    json!({
        "version": 1,
        "image": format!("sha256:{}", digest("e")),
        "entries": [
            {"name": "one/", "kind": "directory", "mode": 0o755, "mtime": 7},
            layer("one/layer.tar", "a"),
            layer("two/layer.tar", "b"),
            {"name": "three/layer.tar", "kind": "symlink", "mode": 0o777, "mtime": 0, "link": "../one/layer.tar"},
            {"name": "four", "kind": "hardlink", "mode": 0o644, "mtime": 0, "link": "one/layer.tar"},
            layer("again", "a"),
            {"name": "empty", "kind": "file", "mode": 0o600, "mtime": 0},
        ],
    })
}

fn parse(value: &Value) -> Result<Manifest, String> {
    Manifest::parse(&serde_json::to_vec(value).expect("JSON"))
}

#[test]
fn what_an_export_makes_is_accepted() {
    let manifest = parse(&good()).expect("accepted");
    assert_eq!(manifest.chunks().len(), 2);
    assert_eq!((manifest.total(), manifest.plain()), (18, 15));
    let again = Manifest::parse(&serde_json::to_vec(&manifest).expect("JSON")).expect("accepted");
    assert_eq!(again, manifest);
    let form = |id: &str, total| Form::Image { id: format!("sha256:{}", digest(id)), total };
    let artifact = |form| Artifact { digest: digest("f"), bytes: 1, form };
    manifest.check_against(&artifact(form("e", 18))).expect("as announced");
    for (wrong, why) in [
        (form("e", 17), "18 bytes instead of 17"),
        (form("d", 18), "of the image"),
        (Form::Bundle, "no image"),
    ] {
        let refused = manifest.check_against(&artifact(wrong)).expect_err("refused");
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn what_could_do_harm_is_refused() {
    let too_big = PIECE as u64 + 1;
    let chunk = |bytes: u64, size: u64| json!([{"digest": digest("c"), "bytes": bytes, "size": size}]);
    let rows: Vec<(&str, Value, &str)> = vec![
        ("/version", json!(2), "version"),
        ("/version", json!(-1), "cannot be read"),
        ("/image", json!("latest"), "names no image"),
        ("/image", json!(format!("sha256:{}", digest("E"))), "names no image"),
        ("/entries", json!("none"), "cannot be read"),
        ("/entries/1/name", json!("../etc/passwd"), "a name"),
        ("/entries/1/name", json!("one/../../x"), "a name"),
        ("/entries/1/name", json!("/etc/passwd"), "a name"),
        ("/entries/1/name", json!(""), "a name"),
        ("/entries/1/name", json!("."), "a name"),
        ("/entries/1/name", json!("a\u{0}b"), "a name"),
        ("/entries/1/name", json!("x".repeat(2_000)), "a name"),
        ("/entries/1/kind", json!("device"), "cannot be read"),
        ("/entries/1/mode", json!(0o10_000), "a mode"),
        ("/entries/1/link", json!("x"), "a file and a link"),
        ("/entries/1/size", json!(6), "a size of 6"),
        ("/entries/1/size", json!(u64::MAX), "a size of"),
        ("/entries/1/chunks/0/digest", json!("../../x"), "without a digest"),
        ("/entries/1/chunks/0/digest", json!(digest("A")), "without a digest"),
        ("/entries/1/chunks", chunk(9, too_big), "impossible size"),
        ("/entries/1/chunks", chunk(u64::MAX, 5), "impossible size"),
        ("/entries/1/chunks", chunk(0, 5), "impossible size"),
        ("/entries/1/chunks", chunk(9, 0), "impossible size"),
        ("/entries/5/chunks/0/bytes", json!(10), "two sizes"),
        ("/entries/3/link", json!("../../x"), "not allowed"),
        ("/entries/3/link", json!("/etc/passwd"), "not allowed"),
        ("/entries/3/link", json!("x/../../../y"), "not allowed"),
        ("/entries/3/link", json!(null), "not allowed"),
        ("/entries/4/link", json!("../x"), "not allowed"),
        ("/entries/0/size", json!(1), "although it is no file"),
    ];
    for (place, value, why) in rows {
        let mut manifest = good();
        match manifest.pointer_mut(place) {
            Some(at) => *at = value.clone(),
            None => {
                let (parent, key) = place.rsplit_once('/').expect("a place");
                manifest.pointer_mut(parent).expect("a parent")[key] = value.clone();
            }
        }
        let refused = parse(&manifest).expect_err(&format!("{place} = {value} is refused"));
        assert!(refused.contains(why), "{place}: {refused}");
        assert!(refused.len() < 400, "{place}: {refused}");
    }
    let many = json!({"name": "x", "kind": "file", "mode": 0, "mtime": 0});
    let mut manifest = good();
    manifest["entries"] = Value::Array(vec![many; 100_001]);
    assert!(parse(&manifest).expect_err("refused").contains("entries"));
    assert!(Manifest::parse(&vec![b' '; 17 << 20]).expect_err("refused").contains("bytes"));
    assert!(Manifest::parse("[".repeat(1 << 20).as_bytes()).is_err());
}

#[test]
fn no_bytes_make_it_panic() {
    let good = serde_json::to_vec(&good()).expect("JSON");
    // The same pseudo-random numbers each time.
    let mut seed: u64 = 42;
    let mut next = |limit: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).expect("31 bits") % limit
    };
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=next(4) {
            match next(4) {
                0 => bytes.truncate(next(bytes.len()).max(1)),
                1 => {
                    let at = next(bytes.len());
                    bytes[at] = u8::try_from(next(256)).expect("a byte");
                }
                2 => {
                    let at = next(bytes.len());
                    bytes[at] = b"0123456789\"{}[]:,.-/"[next(20)];
                }
                _ => {
                    let (from, to) = (next(bytes.len()), next(bytes.len()));
                    let piece = bytes[from.min(to)..from.max(to)].to_vec();
                    bytes.splice(from..from, piece);
                }
            }
        }
        if let Ok(manifest) = Manifest::parse(&bytes) {
            // What is accepted is harmless.
            assert!(manifest.entries.iter().all(|e| !e.name.starts_with('/') && !e.name.contains("..")));
            assert!(manifest.pieces().all(|p| p.size <= PIECE as u64));
        }
    }
}
