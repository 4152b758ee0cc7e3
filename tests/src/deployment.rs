//! A deployment as the command line shows it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::trouble::{Result, Trouble};

/// A deployment as `temps deployments show --json` tells it.
#[derive(Clone, Debug, Default)]
pub struct Deployment {
    /// Its number.
    pub number: u64,
    /// The release that it moves to.
    pub release: u64,
    /// The image's identity for Docker; empty where there is none.
    pub image: String,
    /// The word for where it stands.
    pub phase: String,
    /// Whether it has ended.
    pub ended: bool,
    /// Why it was taken back.
    pub reason: String,
    /// The last log lines of the instance at fault.
    pub log_tail: Vec<String>,
    /// From begin to end.
    pub seconds: f64,
    /// Its timeline.
    pub events: Vec<Event>,
    /// Its instances.
    pub instances: Vec<Instance>,
}

/// One line of a timeline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Such as `healthy`.
    pub kind: String,
    /// The line.
    pub text: String,
    /// Such as `i7`, where it is about an instance.
    pub instance: String,
    /// Where that is.
    pub node: String,
}

/// An instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance {
    /// Such as `i7`.
    pub id: String,
    /// Its node.
    pub node: String,
    /// Its process.
    pub process: String,
    /// Its place.
    pub slot: u64,
    /// Its release.
    pub release: u64,
    /// Such as `serving`.
    pub state: String,
    /// How it ended.
    pub exit: String,
}

impl Deployment {
    /// Reads the object.
    ///
    /// # Errors
    /// When it has no number or no phase.
    pub fn read(value: &Value) -> Result<Self> {
        let number = value.get("deployment").and_then(Value::as_u64);
        let phase = text(value, "phase");
        let (Some(number), false) = (number, phase.is_empty()) else {
            return Err(Trouble::new(format!("this is no deployment: {value}")));
        };
        Ok(Self {
            number,
            release: value.get("release").and_then(Value::as_u64).unwrap_or(0),
            image: text(value, "image"),
            phase,
            ended: value.get("ended").and_then(Value::as_bool).unwrap_or(false),
            reason: text(value, "reason"),
            log_tail: list(value, "log_tail").iter().filter_map(|l| Some(l.as_str()?.to_owned())).collect(),
            seconds: value.get("duration_ms").and_then(Value::as_f64).unwrap_or(0.0) / 1000.0,
            events: list(value, "events").iter().map(Event::read).collect(),
            instances: list(value, "instances").iter().map(Instance::read).collect(),
        })
    }

    /// Whether its timeline has such a line.
    #[must_use]
    pub fn has(&self, kind: &str) -> bool {
        self.events.iter().any(|event| event.kind == kind)
    }

    /// How many lines of this kind its timeline has.
    #[must_use]
    pub fn count(&self, kind: &str) -> usize {
        self.events.iter().filter(|event| event.kind == kind).count()
    }

    /// Instances that were started more than once.
    #[must_use]
    pub fn started_twice(&self) -> Vec<String> {
        let mut starts: BTreeMap<&str, usize> = BTreeMap::new();
        for event in self.events.iter().filter(|event| event.kind == "starting") {
            *starts.entry(&event.instance).or_default() += 1;
        }
        starts.into_iter().filter(|(_, n)| *n > 1).map(|(instance, _)| instance.to_owned()).collect()
    }

    /// The timeline for the output of a failing test.
    #[must_use]
    pub fn story(&self) -> String {
        let lines = self.events.iter().map(|e| format!("  {} {} {}", e.text, e.instance, e.node));
        let head = format!("#{} {}: {}", self.number, self.phase, self.reason);
        std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")
    }
}

impl Event {
    /// Reads the object; what is absent is empty.
    #[must_use]
    pub fn read(value: &Value) -> Self {
        Self {
            kind: text(value, "kind"),
            text: text(value, "text"),
            instance: text(value, "instance"),
            node: text(value, "node"),
        }
    }
}

impl Instance {
    /// Reads the object; what is absent is empty.
    #[must_use]
    pub fn read(value: &Value) -> Self {
        let number = |name| value.get(name).and_then(Value::as_u64).unwrap_or(0);
        Self {
            id: text(value, "id"),
            node: text(value, "node"),
            process: text(value, "process"),
            slot: number("slot"),
            release: number("release"),
            state: text(value, "state"),
            exit: text(value, "exit"),
        }
    }
}

/// The number of the deployment in what a command printed.
///
/// # Errors
/// When there is none.
pub fn number_in(value: &Value) -> Result<u64> {
    let number = value.get("deployment").and_then(Value::as_u64);
    number.ok_or_else(|| Trouble::new(format!("no deployment number in {value}")))
}

/// The string of this name, or an empty one.
#[must_use]
pub fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The list of this name, or an empty one.
#[must_use]
pub fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
