use super::{Name, parse};

#[test]
fn names_are_understood_as_people_write_them() {
    let digest = "a".repeat(64);
    let id = format!("sha256:{digest}");
    let tag = |repository, tag| Some(Name::Tag { repository, tag });
    for (given, meant) in [
        ("app", tag("app", "latest")),
        ("app:1.2", tag("app", "1.2")),
        ("team/app", tag("team/app", "latest")),
        ("registry.example.com:5000/team/app", tag("registry.example.com:5000/team/app", "latest")),
        ("LOCALHOST:5000/app:v1", tag("LOCALHOST:5000/app", "v1")),
        ("[::1]:5000/app", None),
        (&digest, Some(Name::Id(id.clone()))),
        (&id, Some(Name::Id(id.clone()))),
        (&format!("app@{id}"), Some(Name::Digest { repository: "app", digest: &id })),
        (
            &format!("r.example:1/app:v1@{id}"),
            Some(Name::Digest { repository: "r.example:1/app", digest: &id }),
        ),
    ] {
        assert_eq!(parse(given), meant, "{given}");
    }
}

#[test]
fn what_is_no_name_is_refused() {
    let long = "a".repeat(600);
    for given in [
        "",
        " ",
        "App",
        "app:",
        ":tag",
        "app:a b",
        "../containers/x",
        "a/../b",
        "a//b",
        "a/",
        "/a",
        "app?x=1",
        "app#x",
        "app%2f",
        "app@sha256:beef",
        "app@",
        "sha256:beef",
        "app:-x",
        "app\n",
        "-app",
        &long,
    ] {
        assert_eq!(parse(given), None, "{given:?}");
    }
}
