use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::pack::pack_up_to;
use super::{Bundle, BundleError, Plan, pack};

fn app(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

fn packed(root: &Path) -> Bundle {
    packed_as(root, &Plan::bundle())
}

fn packed_as(root: &Path, plan: &Plan) -> Bundle {
    pack(root, plan, |_, _| ControlFlow::Continue(())).unwrap()
}

fn refused(root: &Path) -> String {
    pack(root, &Plan::bundle(), |_, _| ControlFlow::Continue(())).unwrap_err().to_string()
}

/// Paths with kind, mode, link and content.
fn listed(bundle: Bundle) -> Vec<String> {
    let age = age(&bundle);
    let mut archive = tar::Archive::new(zstd::Decoder::new(bundle.file).unwrap());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (age, 0, 0));
        let mode = header.mode().unwrap();
        let path = entry.path().unwrap().display().to_string();
        let link = entry.link_name().unwrap().map_or(String::new(), |to| format!(" -> {}", to.display()));
        let mut text = String::new();
        std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
        format!("{mode:o} {path}{link} {text}").trim_end().to_owned()
    });
    entries.collect()
}

/// The time of the first entry.
fn age(bundle: &Bundle) -> u64 {
    let mut file = bundle.file.try_clone().unwrap();
    let mut archive = tar::Archive::new(zstd::Decoder::new(&file).unwrap());
    let age = archive.entries().unwrap().next().unwrap().unwrap().header().mtime().unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    age
}

#[test]
fn another_content_of_the_same_size_has_another_time() {
    let root = app(&[("index.html", "one"), ("style.css", "x")]);
    let first = age(&packed(root.path()));
    fs::write(root.path().join("index.html"), "two").unwrap();
    let second = age(&packed(root.path()));
    assert_ne!(first, second, "a server would call them the same file");
    let range = 1_000_000_000..1_300_000_000;
    assert!(range.contains(&first) && range.contains(&second), "{first} {second}");
    fs::write(root.path().join("index.html"), "one").unwrap();
    assert_eq!(age(&packed(root.path())), first);
}

#[test]
fn the_source_of_an_image_honours_what_docker_leaves_out() {
    let root = app(&[
        (".dockerignore", "**\n!src\nsrc/*.tmp\n!deep/er/kept\n"),
        (".tempsignore", "*.log\nsecret/\n"),
        (".git/HEAD", "ref"),
        ("Dockerfile", "FROM scratch"),
        ("other", "x"),
        ("src/main.rs", "x"),
        ("src/a.tmp", "x"),
        ("src/a.log", "x"),
        ("deep/er/kept", "x"),
        ("deep/er/out", "x"),
        ("deep/out/x", "x"),
    ]);
    // What is left out may be anything.
    nix::unistd::mkfifo(&root.path().join("deep/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let paths = |plan: &Plan| -> Vec<String> {
        let lines = listed(packed_as(root.path(), plan));
        lines.iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
    };
    assert_eq!(
        paths(&Plan::source("Dockerfile")),
        [".dockerignore", "Dockerfile", "deep", "deep/er", "deep/er/kept", "src", "src/main.rs"]
    );
    // A Dockerfile elsewhere stays in, even where our own list leaves it out.
    fs::create_dir(root.path().join("secret")).unwrap();
    fs::write(root.path().join("secret/Dockerfile"), "FROM x").unwrap();
    fs::write(root.path().join("secret/other"), "x").unwrap();
    let with_secret = paths(&Plan::source("secret/Dockerfile"));
    assert!(with_secret.contains(&"secret/Dockerfile".to_owned()), "{with_secret:?}");
    assert!(
        !with_secret.iter().any(|path| path == "secret/other" || path == "Dockerfile"),
        "{with_secret:?}"
    );
    // And a list of its own counts instead.
    fs::write(root.path().join("secret/Dockerfile.dockerignore"), "*\n!other\n").unwrap();
    assert_eq!(
        paths(&Plan::source("secret/Dockerfile")),
        [".dockerignore", "other", "secret", "secret/Dockerfile", "secret/Dockerfile.dockerignore"]
    );
    // A bundle knows nothing of Docker.
    fs::remove_file(root.path().join("deep/pipe")).unwrap();
    assert!(paths(&Plan::bundle()).contains(&"other".to_owned()));
}

#[test]
fn a_dockerfile_that_was_written_is_packed_and_wins_over_one_that_is_there() {
    let root = app(&[
        (".dockerignore", "*.md\n!node_modules/kept"),
        ("a.md", "x"),
        ("server.js", "x"),
        ("node_modules/left-pad/index.js", "x"),
        ("node_modules/kept/index.js", "x"),
        (".temps/Dockerfile", "an older one"),
    ]);
    let left_out = ["node_modules".to_owned()];
    let plan = Plan::written(root.path(), ".temps/Dockerfile", "FROM scratch\n", &left_out).unwrap();
    let first = packed_as(root.path(), &plan);
    let digest = first.digest.clone();
    assert_eq!(
        listed(first),
        [
            "755 .temps",
            "755 node_modules",
            "755 node_modules/kept",
            "644 node_modules/kept/index.js x",
            "644 server.js x",
            "644 .temps/Dockerfile FROM scratch",
            "644 .dockerignore *.md\n!node_modules/kept\n.temps\n.dockerignore",
        ]
    );
    assert!(root.path().join("a.md").exists() && !root.path().join(".temps/.x").exists());
    assert_eq!(fs::read_to_string(root.path().join(".temps/Dockerfile")).unwrap(), "an older one");
    assert_eq!(packed_as(root.path(), &plan).digest, digest);
    let other = Plan::written(root.path(), ".temps/Dockerfile", "FROM other\n", &left_out).unwrap();
    assert_ne!(packed_as(root.path(), &other).digest, digest);

    // A file where its directory has to be gives way, and nothing besides it is no application.
    let root = app(&[(".temps", "x")]);
    let plan = Plan::written(root.path(), ".temps/Dockerfile", "FROM scratch\n", &[]).unwrap();
    let error = pack(root.path(), &plan, |_, _| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, BundleError::Empty { .. }), "{error}");
}

#[test]
fn the_same_content_has_the_same_digest_whenever_and_wherever_it_was_made() {
    let one = app(&[("b/2", "two"), ("a", "one"), ("b/1", "x"), ("run.sh", "#!/bin/sh")]);
    let other = app(&[("run.sh", "#!/bin/sh"), ("b/1", "x"), ("a", "one"), ("b/2", "two")]);
    fs::set_permissions(one.path().join("run.sh"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(other.path().join("run.sh"), fs::Permissions::from_mode(0o775)).unwrap();
    fs::set_permissions(other.path().join("a"), fs::Permissions::from_mode(0o600)).unwrap();
    let old = SystemTime::now() - Duration::from_secs(86_400);
    fs::File::options().write(true).open(other.path().join("a")).unwrap().set_modified(old).unwrap();
    let (first, second) = (packed(one.path()), packed(other.path()));
    assert_eq!(first.digest, second.digest);
    assert_eq!((first.digest.len(), first.files), (64, 4));
    assert_eq!(first.bytes, first.file.metadata().unwrap().len());
    assert_eq!(listed(first), ["644 a one", "755 b", "644 b/1 x", "644 b/2 two", "755 run.sh #!/bin/sh"],);

    fs::write(other.path().join("a"), "One").unwrap();
    assert_ne!(packed(other.path()).digest, second.digest, "another content has another digest");
}

#[test]
fn long_paths_empty_files_and_deep_directories_survive() {
    let deep = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let root = app(&[(&deep, ""), ("x/y/z/w", "deep")]);
    fs::create_dir(root.path().join("empty")).unwrap();
    let bundle = packed(root.path());
    let listed = listed(bundle);
    assert!(listed.contains(&format!("644 {deep}")), "{listed:?}");
    assert!(listed.contains(&"755 empty".to_owned()), "{listed:?}");
    assert!(listed.contains(&"644 x/y/z/w deep".to_owned()), "{listed:?}");
}

#[test]
fn what_is_named_stays_out() {
    let root = app(&[
        (".tempsignore", "*.log\nnode_modules/\n"),
        (".git/HEAD", "ref"),
        ("a.log", "x"),
        ("node_modules/left-pad/index.js", "x"),
        ("server", "x"),
    ]);
    // A pipe that is left out is no problem either.
    let pipe = root.path().join("pipe.log");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(listed(packed(root.path())), ["644 .tempsignore *.log\nnode_modules/", "644 server x"]);
}

#[test]
fn links_that_stay_inside_are_kept_as_links() {
    let root = app(&[("bin/server", "x"), ("lib/a", "y")]);
    symlink("server", root.path().join("bin/current")).unwrap();
    symlink("../lib/a", root.path().join("bin/a")).unwrap();
    symlink("missing", root.path().join("bin/dangling")).unwrap();
    symlink("lib", root.path().join("libs")).unwrap();
    let listed = listed(packed(root.path()));
    for link in ["bin/current -> server", "bin/a -> ../lib/a", "bin/dangling -> missing", "libs -> lib"] {
        assert!(listed.contains(&format!("777 {link}")), "{listed:?}");
    }
    assert!(!listed.iter().any(|line| line.contains("libs/a")), "a link is not followed: {listed:?}");
}

#[test]
fn links_that_lead_out_are_refused() {
    for target in ["/etc/passwd", "../outside", "../../x", "b/../../x", "up/../../x", "loop-a"] {
        let root = app(&[("sub/b/file", "x")]);
        // Inside the directory each; but `up/..` is the directory above the top.
        symlink("../..", root.path().join("sub/b/top")).unwrap();
        symlink("sub", root.path().join("up")).unwrap();
        symlink("loop-b", root.path().join("loop-a")).unwrap();
        symlink("loop-a", root.path().join("loop-b")).unwrap();
        symlink(target, root.path().join("link")).unwrap();
        if target != "loop-a" {
            fs::remove_file(root.path().join("loop-a")).unwrap();
            fs::remove_file(root.path().join("loop-b")).unwrap();
            let message = format!(
                "link is a symbolic link to {target}, which is outside of the directory and would not exist on a node; copy the file, or name the link in .tempsignore"
            );
            assert_eq!(refused(root.path()), message);
        } else {
            assert!(refused(root.path()).contains("symbolic link"));
        }
    }
    // By way of another link that itself stays inside.
    let root = app(&[("sub/file", "x")]);
    symlink("..", root.path().join("sub/top")).unwrap();
    symlink("sub/top/../passwd", root.path().join("z")).unwrap();
    assert!(refused(root.path()).starts_with("z is a symbolic link to sub/top/../passwd"));
}

#[test]
fn pipes_and_sockets_are_refused() {
    let root = app(&[("a", "x")]);
    nix::unistd::mkfifo(&root.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(
        refused(root.path()),
        "pipe is a named pipe and cannot be deployed; remove it, or name it in .tempsignore"
    );
    fs::remove_file(root.path().join("pipe")).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(root.path().join("sock")).unwrap();
    assert_eq!(
        refused(root.path()),
        "sock is a socket and cannot be deployed; remove it, or name it in .tempsignore"
    );
}

#[test]
fn nothing_and_no_directory_are_refused() {
    let root = app(&[(".git/HEAD", "x")]);
    fs::create_dir(root.path().join("empty")).unwrap();
    assert_eq!(refused(root.path()), format!("there is nothing to deploy in {}", root.path().display()));
    let file = app(&[("a", "x")]);
    assert!(refused(&file.path().join("a")).ends_with("is not a directory"));
    assert!(refused(&file.path().join("none")).ends_with("is not a directory"));
}

#[test]
fn too_much_is_refused_and_the_largest_parts_are_named() {
    // Bytes that do not compress, from a small generator with a fixed start.
    let mut seed = 7_u64;
    let mut noise = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u8
    };
    let root = app(&[("small", "x")]);
    fs::create_dir(root.path().join("target")).unwrap();
    fs::write(root.path().join("target/big"), (0..300_000).map(|_| noise()).collect::<Vec<_>>()).unwrap();
    let error =
        pack_up_to(root.path(), &Plan::bundle(), 100_000, &mut |_, _| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, BundleError::TooLarge { .. }));
    assert_eq!(
        error.to_string(),
        "the bundle is larger than 100kB; the largest parts are target (300kB), small (1B). Name what is not needed in .tempsignore"
    );
}

#[test]
fn progress_reaches_the_end() {
    let root = app(&[("a", "12345"), ("b", "678")]);
    let mut seen = BTreeMap::new();
    pack(root.path(), &Plan::bundle(), |done, total| {
        seen.insert(done, total);
        ControlFlow::Continue(())
    })
    .unwrap();
    let stopped = pack(root.path(), &Plan::bundle(), |_, _| ControlFlow::Break(())).unwrap_err();
    assert!(matches!(stopped, BundleError::Stopped));
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(5, 16), (8, 16), (13, 16), (16, 16)]);
}
