//! Command lines as they are typed, against a small cluster over real TLS.

mod access;
mod building;
mod deploying;
mod domains;
mod fidelity;
mod history;
mod nodes;
mod notifications;
mod others;
mod settings;
mod town;

use std::fs;
use std::path::Path;
use std::sync::MutexGuard;

use clap::{CommandFactory, Parser};
use temps_core::model::{InstanceId, NodeId, Phase, What};
use temps_wire::proto::{Deployment, DeploymentDetail, Event, EventId};

use super::{Desk, Words, finish};
use crate::exit::Failure;
use crate::screen::testing::screen;
use crate::screen::{Form, Look, Terminals};
use crate::settings::{Globals, Settings, Variables};
use town::{Running, Town};

/// The command line of the binary, as far as it is ours.
#[derive(Debug, Parser)]
#[command(name = "temps")]
struct Line {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    words: Words,
}

/// What a shell sees of a command.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    code: u8,
    out: String,
    err: String,
}

/// A user with a home, a working directory, and a town to log in to.
struct User {
    home: tempfile::TempDir,
    running: Running,
    /// Whether the three streams are terminals.
    terminal: bool,
    input: String,
    logged_in: bool,
}

impl User {
    async fn new() -> Self {
        Self::of(town::start(1).await)
    }

    fn of(running: Running) -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { home, running, terminal: false, input: String::new(), logged_in: true }
    }

    fn here(&self) -> &Path {
        self.home.path()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.here().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn town(&self) -> MutexGuard<'_, Town> {
        self.running.town.lock().unwrap()
    }

    async fn types(&self, line: &str) -> Seen {
        self.types_words(&line.split_whitespace().collect::<Vec<_>>()).await
    }

    /// Words that may have spaces in them.
    async fn types_words(&self, words: &[&str]) -> Seen {
        let words = std::iter::once("temps").chain(words.iter().copied());
        let line = Line::try_parse_from(words).unwrap();
        let config = self.here().join("config/config.toml").display().to_string();
        let endpoints = self.running.endpoints.join(",");
        let variables = match self.logged_in {
            true => Variables::of([
                ("TEMPS_CONFIG", config.as_str()),
                ("TEMPS_ENDPOINTS", &endpoints),
                ("TEMPS_TOKEN", &self.running.token),
                ("TEMPS_PATIENCE", "2s"),
            ]),
            false => Variables::of([("TEMPS_CONFIG", config.as_str()), ("TEMPS_PATIENCE", "2s")]),
        };
        let terminals = Terminals { stdin: self.terminal, stdout: self.terminal, stderr: self.terminal };
        let form = if line.globals.json { Form::Json } else { Form::Text };
        let (screen, out, err) = screen(&self.input, Look { terminals, form, ..Look::default() });
        let settings = Settings::load(line.globals, variables).unwrap();
        let mut desk = Desk { settings, screen, here: self.here().to_owned() };
        let result: Result<_, Failure> = desk.answer(line.words, Line::command()).await;
        let code = finish(&mut desk.screen, result).number();
        Seen { code, out: out.text(), err: err.text() }
    }
}

/// An event at 14:31:00 plus its index in seconds.
fn event(index: u64, kind: &str, what: &What) -> Event {
    let place = what.instance();
    Event {
        id: Some(EventId { index, place: 0 }),
        wall_ms: 52_260_000 + index * 1_000,
        kind: kind.to_owned(),
        text: what.line(),
        instance: place.map_or(String::new(), |(instance, _)| instance.to_string()),
        node: place.map_or(String::new(), |(_, node)| node.to_string()),
        deployment: Some(42),
        attempts: None,
    }
}

/// A deployment that went well, in the words of the article.
fn good_events() -> Vec<Event> {
    let (old, new, node) = (InstanceId(3), InstanceId(7), NodeId(2));
    vec![
        event(1, "starting", &What::Starting { instance: new, node }),
        event(2, "healthy", &What::Healthy { instance: new, node, attempts: 3 }),
        event(3, "admitted", &What::Admitted { instance: new, node }),
        event(4, "draining", &What::Draining { instance: old, node, in_flight: 12, new: false }),
        event(5, "drained", &What::Drained { instance: old, node }),
        event(6, "removed", &What::Removed { instance: old, node, killed: false, new: false }),
        event(7, "ended", &What::Ended { phase: Phase::Succeeded, errors: Some(0) }),
    ]
}

const GOOD_LINES: &str = "\
14:31:01  New container starting  i7 on n2
14:31:02  Health check passed (attempt 3)  i7 on n2
14:31:03  Traffic shifting to new container  i7 on n2
14:31:04  Old container draining (12 active connections)  i3 on n2
14:31:05  All connections drained  i3 on n2
14:31:06  Old container removed  i3 on n2
14:31:07  Deployment complete. Zero errors.
";

fn detail(phase: &str) -> DeploymentDetail {
    let deployment = Deployment {
        number: 42,
        project: "my-app".to_owned(),
        environment: "production".to_owned(),
        kind: "deploy".to_owned(),
        release: 7,
        from_release: Some(6),
        phase: phase.to_owned(),
        ended: true,
        duration_ms: 6_000,
        ..Deployment::default()
    };
    DeploymentDetail { deployment: Some(deployment), ..DeploymentDetail::default() }
}

#[test]
fn the_command_line_is_sound() {
    Line::command().debug_assert();
}
