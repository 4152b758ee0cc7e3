//! Directories without a Dockerfile.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use temps_tests::browser;
use temps_tests::cluster::Cluster;
use temps_tests::ground::Ground;
use temps_tests::trouble::{Context, Result, Trouble};
use temps_tests::{check, check_eq, paths};

/// Kinds of projects, and their files. What answers tells that its files are there by answering at all.
const PROJECTS: &[(&str, &[(&str, &str)])] = &[
    ("pages", &[("index.html", "hello from a page")]),
    (
        "node",
        &[
            ("package.json", r#"{ "scripts": { "start": "node server.js" } }"#),
            ("package-lock.json", "{}"),
            ("server.js", ""),
        ],
    ),
    ("python", &[("requirements.txt", "flask\ngunicorn\n"), ("app.py", "app = Flask(__name__)\n")]),
    (
        "go",
        &[
            ("go.mod", "module example.com/shop\ngo 1.23\n"),
            ("go.sum", ""),
            ("main.go", "package main\nfunc main() {}\n"),
        ],
    ),
    (
        "rust",
        &[
            ("Cargo.toml", "[package]\nname = \"shop\"\nversion = \"1.0.0\"\n"),
            ("Cargo.lock", ""),
            ("src/main.rs", "fn main() {}\n"),
        ],
    ),
    (
        "ruby",
        &[
            ("Gemfile", "gem \"puma\"\n"),
            ("Gemfile.lock", "GEM\n  specs:\n    puma (6.4.0)\n"),
            ("config.ru", ""),
        ],
    ),
];

/// The tools of all languages, as far as a Dockerfile asks something of them: each makes or starts the sample.
const TOOLS: &[(&str, &str)] = &[
    ("npm", "[ -f package.json ] && mkdir -p node_modules"),
    ("node", "[ -f server.js ] && exec hello"),
    ("python", "[ \"$1 $2\" = '-m venv' ] && mkdir -p \"$3/bin\""),
    (
        "pip",
        "[ -f requirements.txt ] && printf '#!/bin/sh\\n[ -f app.py ] && exec hello\\n' >/opt/venv/bin/gunicorn && chmod 755 /opt/venv/bin/gunicorn",
    ),
    (
        "go",
        "while [ $# -gt 0 ]; do [ \"$1\" != -o ] || out=$2; shift; done; [ -z \"$out\" ] || { mkdir -p /out && cp /bin/hello \"$out\"; }",
    ),
    ("cargo", "[ \"$1\" = clean ] || { mkdir -p target/release && cp /bin/hello target/release/shop; }"),
    (
        "bundle",
        "if [ \"$1\" = install ]; then mkdir -p /usr/local/bundle; else [ -f config.ru ] && exec hello; fi",
    ),
    (
        "install",
        "while :; do case $1 in -d) shift ;; -o) o=$2; shift 2 ;; -g) g=$2; shift 2 ;; *) break ;; esac; done; mkdir -p \"$@\" && chown \"$o:$g\" \"$@\"",
    ),
    ("useradd", "echo 'app:x:10001:10001::/app:/bin/sh' >>/etc/passwd; echo 'app:x:10001:' >>/etc/group"),
    ("nginx", "exec busybox httpd -f -p 8080 -h /usr/share/nginx/html"),
];

const BASE: &str = "\
FROM scratch
COPY bin /bin
RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]
RUN mkdir -p /etc/ssl/certs /tmp /usr/share/nginx/html /usr/local/bundle && touch /etc/ssl/certs/ca-certificates.crt && \\
    echo 'root:x:0:0::/:/bin/sh' >/etc/passwd && echo 'root:x:0:' >/etc/group && \\
    echo 'node:x:1000:1000::/:/bin/sh' >>/etc/passwd && echo 'node:x:1000:' >>/etc/group
ENV PATH=/usr/local/bin:/bin
CMD [\"nginx\"]
";

/// A directory from which one image is built that stands for all bases.
fn base(parent: &Path) -> Result<PathBuf> {
    let dir = parent.join("base");
    let bin = dir.join("bin");
    fs::create_dir_all(&bin)?;
    fs::write(dir.join("Dockerfile"), BASE)?;
    let busybox = Path::new("/bin/busybox");
    fs::copy(busybox, bin.join("busybox")).context("/bin/busybox; scripts/setup installs it")?;
    let hello = paths::hello(Ground::Docker)?;
    fs::copy(&hello, bin.join("hello")).context(hello.display())?;
    for (name, script) in TOOLS {
        let tool = bin.join(name);
        fs::write(&tool, format!("#!/bin/sh\n{script}\n"))?;
        fs::set_permissions(&tool, fs::Permissions::from_mode(0o755))?;
    }
    Ok(dir)
}

fn project(parent: &Path, name: &str, files: &[(&str, &str)]) -> Result<String> {
    let dir = parent.join(format!("detected-{name}"));
    let file = format!(
        "[project]\nname = \"{name}\"\n[processes.web]\ninstances = 1\n[health]\ninterval = \"200ms\"\nstart_period = \"3s\"\n\
         [deploy]\nstop_grace = \"2s\"\ndeadline = \"20s\"\n[rollback]\nwatch = \"1s\"\n[env]\nVERSION = \"v1\"\n"
    );
    for (path, content) in files.iter().copied().chain([("temps.toml", file.as_str())]) {
        let path = dir.join(path);
        if let Some(above) = path.parent() {
            fs::create_dir_all(above)?;
        }
        fs::write(path, content)?;
    }
    Ok(dir.to_string_lossy().into_owned())
}

/// The images that a Dockerfile names.
fn bases(dockerfile: &str) -> BTreeSet<&str> {
    let named = dockerfile.lines().filter_map(|line| line.trim().strip_prefix("FROM ")?.split(' ').next());
    named.filter(|name| *name != "scratch").collect()
}

/// What is shown by `--dry-run` is built from bases of the names that it has, and runs.
pub(crate) fn built(cluster: &mut Cluster) -> Result {
    let base = base(cluster.root())?;
    let mut made = BTreeSet::new();
    for (name, files) in PROJECTS {
        let dir = project(cluster.root(), name, files)?;
        let ran = cluster.cli().run(&["deploy", "-p", name, &dir, "-y", "--dry-run"])?;
        check_eq!(ran.code, 0, "{ran:#?}");
        let shown = format!("{}\n{}", ran.stdout, ran.stderr);
        let bases = bases(&shown);
        check!(!bases.is_empty(), "no Dockerfile is shown for {name}: {shown}");
        for image in bases {
            if made.insert(image.to_owned()) {
                for node in 0..cluster.nodes.len() {
                    cluster.engine(node)?.build(image, &base)?;
                }
            }
        }
        let ran = cluster.cli().run(&["deploy", "-p", name, &dir, "-y"])?;
        if ran.code != 0 {
            return Err(Trouble::new(format!("{name} does not run: {shown}\n{}", ran.stderr)));
        }
        let page = browser::get(cluster.nodes[0].shape.edge, &format!("{name}.localhost"), "/")?;
        check_eq!(page.status, 200, "{name}: {}", page.text());
        let says = if *name == "pages" { page.text() } else { page.version().to_owned() };
        check_eq!(says, if *name == "pages" { "hello from a page" } else { "v1" }, "{name}");
    }
    Ok(())
}
