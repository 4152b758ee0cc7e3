//! Which keys there are, and what was probably meant.

use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// What may stand at a key.
enum Shape {
    /// A value or a list.
    Value,
    /// Anything: names that the user chooses, with values.
    Free,
    /// A table with these keys.
    Table(&'static [Key]),
    /// A table whose keys the user chooses, each holding a table with these keys.
    Named(&'static [Key]),
    /// Known from elsewhere, and never done here: why, and what to do.
    Never(&'static str, &'static str),
}

struct Key {
    name: &'static str,
    shape: Shape,
}

impl Key {
    fn can_be_written(&self) -> bool {
        !matches!(self.shape, Shape::Never(..))
    }
}

const fn value(name: &'static str) -> Key {
    Key { name, shape: Shape::Value }
}

const fn table(name: &'static str, keys: &'static [Key]) -> Key {
    Key { name, shape: Shape::Table(keys) }
}

const FILE: &[Key] = &[
    table("project", &[value("name")]),
    table("build", BUILD),
    Key { name: "processes", shape: Shape::Named(PROCESS) },
    table("health", HEALTH),
    table("deploy", DEPLOY),
    table("rollback", ROLLBACK),
    table("release", &[value("command"), value("timeout")]),
    table("schema", &[value("provides"), value("requires")]),
    table("routes", ROUTES),
    table("placement", PLACEMENT),
    Key { name: "volumes", shape: Shape::Free },
    Key { name: "env", shape: Shape::Free },
    Key { name: "environments", shape: Shape::Named(ENVIRONMENT) },
];

const PROCESS: &[Key] = &[
    value("command"),
    value("port"),
    value("instances"),
    value("http"),
    value("memory"),
    value("cpus"),
    value("drain_timeout"),
    value("order"),
    value("protocol"),
    value("exclusive"),
    value("check"),
    value("stop_signal"),
    host_port("host_port"),
    host_port("ports"),
    host_port("publish"),
];

/// A port of the machine itself cannot be rolled over.
const fn host_port(name: &'static str) -> Key {
    let why = "a fixed port of the node is not possible: while a release is replaced two instances run at once, and only one could have it";
    let help = "write `port = 8080` with the port on which the process listens inside of its container; the edge of each node routes requests to it";
    Key { name, shape: Shape::Never(why, help) }
}

const BUILD: &[Key] = &[value("dockerfile"), value("builder"), value("timeout")];

const PLACEMENT: &[Key] = &[value("spread"), Key { name: "require", shape: Shape::Free }];

const HEALTH: &[Key] = &[
    value("path"),
    value("interval"),
    value("timeout"),
    value("healthy_threshold"),
    value("unhealthy_threshold"),
    value("start_period"),
    value("expect"),
    value("host"),
];

const DEPLOY: &[Key] = &[
    value("strategy"),
    value("max_surge"),
    value("max_unavailable"),
    value("drain_timeout"),
    value("stop_grace"),
    value("deadline"),
    table("canary", &[value("steps"), value("sticky")]),
];

const ROLLBACK: &[Key] = &[
    value("watch"),
    value("crash_limit"),
    value("keep"),
    value("error_rate_factor"),
    value("error_rate_floor"),
    value("latency_floor"),
    value("min_requests"),
    value("warm"),
];

const ROUTES: &[Key] = &[value("domains"), value("path_prefix"), value("https"), value("hsts")];

const ENVIRONMENT: &[Key] = &[
    Key { name: "processes", shape: Shape::Named(&[value("instances"), value("memory"), value("cpus")]) },
    table("routes", ROUTES),
    table("placement", PLACEMENT),
    Key { name: "env", shape: Shape::Free },
];

/// Every key that is unknown or never possible.
pub(super) fn check(document: &DeTable<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    walk(document, FILE, &mut Vec::new(), &mut problems);
    problems
}

fn walk(found: &DeTable<'_>, keys: &'static [Key], path: &mut Vec<String>, problems: &mut Vec<Problem>) {
    for (name, held) in found {
        let Some(key) = keys.iter().find(|key| key.name == name.get_ref()) else {
            let place = section(path);
            let message = format!("unknown key `{}` {place}", name.get_ref());
            problems.push(Problem::at(Some(name.span()), message).help(meant(name.get_ref(), keys)));
            continue;
        };
        match &key.shape {
            Shape::Value | Shape::Free => {}
            Shape::Never(why, help) => {
                problems.push(Problem::at(Some(name.span()), *why).help(*help));
            }
            Shape::Table(inner) => {
                if let DeValue::Table(inside) = held.get_ref() {
                    path.push(key.name.to_owned());
                    walk(inside, inner, path, problems);
                    path.pop();
                }
            }
            Shape::Named(inner) => {
                let DeValue::Table(all) = held.get_ref() else { continue };
                path.push(key.name.to_owned());
                for (chosen, one) in all {
                    if let DeValue::Table(inside) = one.get_ref() {
                        path.push(chosen.get_ref().to_string());
                        walk(inside, inner, path, problems);
                        path.pop();
                    }
                }
                path.pop();
            }
        }
    }
}

fn section(path: &[String]) -> String {
    if path.is_empty() { "at the top of the file".to_owned() } else { format!("in [{}]", path.join(".")) }
}

/// What was probably meant by an unknown key.
fn meant(name: &str, keys: &'static [Key]) -> String {
    let known = || keys.iter().filter(|key| key.can_be_written()).map(|key| key.name);
    if let Some(key) = nearest(name, known()) {
        return format!("did you mean `{key}`?");
    }
    if let Some(home) = home(name) {
        return format!("`{name}` belongs in {home}");
    }
    format!("known keys: {}", known().collect::<Vec<_>>().join(", "))
}

/// The known word that was probably meant by another, if one is near enough.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |known: &&str| strsim::damerau_levenshtein(word, known);
    let allowed = 1 + word.chars().count() / 3;
    known.min_by_key(distance).filter(|known| distance(known) <= allowed)
}

/// The section that has a key of this name.
fn home(name: &str) -> Option<String> {
    FILE.iter().find_map(|section| {
        let (keys, suffix) = match &section.shape {
            Shape::Table(keys) => (keys, ""),
            Shape::Named(keys) => (keys, ".NAME"),
            Shape::Value | Shape::Free | Shape::Never(..) => return None,
        };
        let known = keys.iter().any(|key| key.name == name && key.can_be_written());
        known.then(|| format!("[{}{suffix}]", section.name))
    })
}
