//! Go and Rust.

use super::{Wanted, body, detect, detected, lines, unclear, wanted};
use crate::detect::Tree;
use crate::file::Language;

#[test]
fn a_go_program_is_all_there_is_in_its_image() {
    let files = [
        ("go.mod", "module example.com/shop // ours\n\ngo 1.23.4\n"),
        ("go.sum", ""),
        ("main.go", "// A shop.\npackage main\n"),
    ];
    assert_eq!(
        body(&files),
        "\
FROM golang:1.23.4 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags=\"-s -w\" -tags timetzdata -o /out/app . && mkdir /out/empty

FROM scratch
# There is no shell here: a command of a process can only name a program.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 /out/empty /tmp
COPY --from=build /out/app /app
ENV PORT=8080 HOME=/tmp
USER 65532:65532
EXPOSE 8080
CMD [\"/app\"]
"
    );
    let tree = Tree::of(&files);
    let volumes = ["/data".to_owned()];
    let text = detect(wanted(&tree, &volumes)).unwrap().dockerfile;
    assert!(text.contains("\nCOPY --from=build --chown=65532:65532 /out/empty /data\n"), "{text}");
}

#[test]
fn which_package_of_go_is_the_program() {
    let package = |files: &[(&str, &str)]| {
        let mut all = vec![("go.mod", "module example.com/shop/v2\ngo 1.22\ntoolchain go1.23.1\n")];
        all.extend_from_slice(files);
        detected(&all).seen
    };
    assert_eq!(package(&[("cmd/api/main.go", "")]), "go.mod, Go 1.23.1, package ./cmd/api");
    assert_eq!(
        package(&[("cmd/admin/main.go", ""), ("cmd/shop/main.go", ""), ("shop.go", "package shop")]),
        "go.mod, Go 1.23.1, package ./cmd/shop"
    );
    let several = unclear(&[("go.mod", "module x/y"), ("cmd/a/main.go", ""), ("cmd/b/main.go", "")]);
    assert_eq!(several.to_string(), "this is a go project with several programs in cmd: a, b");
    let none = unclear(&[("go.mod", "module x/y"), ("y.go", "package y"), ("main_test.go", "package main")]);
    assert_eq!(none.to_string(), "this is a go project, and it is not known which package is the program");
    // Modules of the directory are needed even to fetch the others.
    let local = body(&[("go.mod", "module x\nreplace y => ./y\n"), ("main.go", "package main")]);
    assert!(!local.contains("go mod download"), "{local}");
}

#[test]
fn a_rust_program() {
    let files = [
        ("Cargo.toml", "[package]\nname = \"shop\"\n"),
        ("Cargo.lock", "[[package]]\nname = \"serde\"\n"),
        ("rust-toolchain.toml", "[toolchain]\nchannel = \"1.88.0\"\n"),
        ("src/main.rs", ""),
    ];
    assert_eq!(
        body(&files),
        "\
FROM rust:1.88.0-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock rust-toolchain.toml ./
RUN mkdir src && echo 'fn main() {}' > src/main.rs && cargo build --release --locked && cargo clean --release -p shop && rm -r src
COPY . .
RUN cargo build --release --locked -p shop --bin shop && mkdir -p /out/empty && cp target/release/shop /out/app

FROM debian:bookworm-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/app /usr/local/bin/app
ENV PORT=8080 HOME=/tmp
USER 10001:10001
EXPOSE 8080
CMD [\"app\"]
"
    );
    let tree = Tree::of(&files);
    let volumes = ["/data".to_owned()];
    let text = detect(wanted(&tree, &volumes)).unwrap().dockerfile;
    assert!(text.contains("\nRUN install -d -o 10001 -g 10001 /data\n"), "{text}");
    let openssl = [
        ("Cargo.toml", "[package]\nname = \"x\""),
        ("Cargo.lock", "name = \"openssl-sys\""),
        ("src/main.rs", ""),
    ];
    assert!(lines(&openssl, "RUN").iter().any(|line| line.contains("libssl3")));
}

#[test]
fn which_program_of_rust() {
    let seen = |files: &[(&str, &str)]| detected(files).seen;
    let main = ("src/main.rs", "");
    assert_eq!(seen(&[("Cargo.toml", "[package]\nname = \"a\""), main]), "Cargo.toml, Rust 1, program a");
    assert_eq!(
        seen(&[("Cargo.toml", "[package]\nname = \"a\"\ndefault-run = \"b\""), main, ("src/bin/b.rs", "")]),
        "Cargo.toml, Rust 1, program b"
    );
    assert_eq!(
        seen(&[
            ("Cargo.toml", "[package]\nname = \"a\"\n[[bin]]\nname = \"server\"\npath = \"src/main.rs\""),
            main
        ]),
        "Cargo.toml, Rust 1, program server"
    );
    assert_eq!(
        seen(&[
            ("Cargo.toml", "[workspace]\nmembers = [\"core\", \"server\"]"),
            ("core/Cargo.toml", "[package]\nname = \"core\""),
            ("core/src/lib.rs", ""),
            ("server/Cargo.toml", "[package]\nname = \"shop-server\""),
            ("server/src/main.rs", ""),
            ("rust-toolchain", "nightly-2026-01-01\n"),
        ]),
        "Cargo.toml, Rust 1, program shop-server"
    );
    let two =
        unclear(&[("Cargo.toml", "[package]\nname = \"a\""), ("src/bin/b.rs", ""), ("src/bin/c.rs", "")]);
    assert_eq!(two.to_string(), "this is a rust project with several programs: b, c");
    let library = unclear(&[("Cargo.toml", "[package]\nname = \"a\""), ("src/lib.rs", "")]);
    assert_eq!(library.to_string(), "this is a rust project, and it has no program");
    let tree = Tree::of(&[("Cargo.toml", "[package]\nname = \"a\"\n[lib]"), main, ("src/lib.rs", "")]);
    let named = Wanted { language: Some(Language::Rust), ..wanted(&tree, &[]) };
    assert!(!detect(named).unwrap().dockerfile.contains("fn main()"), "its library would be missing");
}
