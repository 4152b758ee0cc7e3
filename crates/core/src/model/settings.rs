//! Settings of an environment that are kept in the cluster. They win over `temps.toml` in every deployment that is
//! accepted after they were set, until they are taken away; what runs, they never change.

mod field;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::artifact::Source;
use super::cluster::Release;
use super::id::Millis;
use super::spec::{CanaryStep, Spec, Strategy, Variables};
use crate::written;
use field::Field;

/// The longest time that one health check may take: a longer one could not tell a dead instance in useful time.
pub const HEALTH_TIMEOUT_MAX: Millis = 60_000;
/// The most instances beyond, or missing from, those that are wanted.
const MOVED_MAX: u64 = 1_000;

/// How the value of a setting is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A path of a URL.
    Path,
    /// The name of a host.
    Host,
    /// `1m30s`; milliseconds.
    Duration,
    /// A whole number.
    Number,
    /// `5%`; millionths.
    Percent,
    /// An HTTP status.
    Status,
    /// `true` or `false`.
    Flag,
    /// The word for a strategy.
    Strategy,
}

/// A value, in the unit of its [`Kind`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// A path or a host.
    Text(String),
    /// A duration, number, part or status.
    Number(u64),
    /// Yes or no.
    Flag(bool),
    /// How a release takes the place of another.
    Strategy(Strategy),
}

macro_rules! settings {
    ($($name:ident $key:literal $kind:ident $part:ident.$field:ident $what:literal;)*) => {
        /// What can be set, by its key in `temps.toml`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Setting {
            $(#[doc = $what] #[serde(rename = $key)] $name,)*
        }

        impl Setting {
            /// All, in the order in which they are shown.
            pub const ALL: &[Setting] = &[$(Setting::$name),*];

            /// Section and key in `temps.toml`, such as `health.path`.
            #[must_use]
            pub fn key(self) -> &'static str {
                match self { $(Setting::$name => $key),* }
            }

            /// One sentence for a person.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self { $(Setting::$name => $what),* }
            }

            /// How its value is written.
            #[must_use]
            pub fn kind(self) -> Kind {
                match self { $(Setting::$name => Kind::$kind),* }
            }

            /// Its value in a specification, where it has one.
            #[must_use]
            pub fn of(self, spec: &Spec) -> Option<Value> {
                match self { $(Setting::$name => spec.$part.$field.value()),* }
            }

            /// Gives it that value in a specification.
            pub fn put(self, spec: &mut Spec, value: Option<&Value>) {
                match self { $(Setting::$name => spec.$part.$field.put(value)),* }
            }
        }
    };
}

settings! {
    HealthPath "health.path" Path health.path "The path that health checks ask.";
    HealthInterval "health.interval" Duration health.interval "Time between two health checks of an instance.";
    HealthTimeout "health.timeout" Duration health.timeout "The longest time that an answer to a health check may take.";
    HealthyThreshold "health.healthy_threshold" Number health.healthy_threshold "So many successes in a row make an instance ready.";
    UnhealthyThreshold "health.unhealthy_threshold" Number health.unhealthy_threshold "So many failures in a row make an instance unready.";
    StartPeriod "health.start_period" Duration health.start_period "Time after the start of an instance in which failures do not count.";
    Expect "health.expect" Status health.expect "The one HTTP status that counts as healthy.";
    HealthHost "health.host" Host health.host "The Host header of health checks; the first domain where none is given.";
    Strategy "deploy.strategy" Strategy deploy.strategy "How a release takes the place of another: rolling, blue_green, canary or recreate.";
    MaxSurge "deploy.max_surge" Number deploy.max_surge "So many instances may run beyond those wanted while a release is replaced.";
    MaxUnavailable "deploy.max_unavailable" Number deploy.max_unavailable "So many of the wanted instances may be missing while a release is replaced.";
    DrainTimeout "deploy.drain_timeout" Duration deploy.drain_timeout "Time that requests in flight have after their instance was withdrawn, and that workers have for their last job.";
    StopGrace "deploy.stop_grace" Duration deploy.stop_grace "Time between the stop signal and the kill.";
    Deadline "deploy.deadline" Duration deploy.deadline "How long a deployment may go on without a newly healthy instance.";
    Watch "rollback.watch" Duration rollback.watch "How long a release is watched after all instances were replaced.";
    ErrorRateFactor "rollback.error_rate_factor" Number rollback.error_rate_factor "So many times as many failed requests as before take a release back.";
    ErrorRateFloor "rollback.error_rate_floor" Percent rollback.error_rate_floor "The part of requests that may fail in any case.";
    LatencyFloor "rollback.latency_floor" Duration rollback.latency_floor "How long half of the answers may take in any case.";
    MinRequests "rollback.min_requests" Number rollback.min_requests "With fewer requests to a release nothing is judged by them.";
    CrashLimit "rollback.crash_limit" Number rollback.crash_limit "So many exits of instances that were healthy take a release back.";
    Keep "rollback.keep" Number rollback.keep "Of so many succeeded deployments everything stays stored for a way back.";
    Warm "rollback.warm" Flag rollback.warm "Whether the old instances stay until watching ends, for a return at once.";
}

impl Setting {
    /// The setting with this key.
    #[must_use]
    pub fn named(key: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|setting| setting.key() == key)
    }

    /// A value as it is written in `temps.toml`, without quotes.
    ///
    /// # Errors
    /// What is wrong with it and what to write instead.
    pub fn parse(self, text: &str) -> Result<Value, String> {
        let value = match self.kind() {
            Kind::Path => path(text).map(Value::Text),
            Kind::Host => crate::host::normalise(text).map(Value::Text).map_err(|why| why.to_string()),
            Kind::Duration => {
                written::duration::parse(text).map(Value::Number).map_err(|why| why.to_string())
            }
            Kind::Number => written::number(text).map(|n| Value::Number(n.into())),
            Kind::Percent => written::percent(text).map(Value::Number),
            Kind::Status => written::status(text).map(|n| Value::Number(n.into())),
            Kind::Flag => written::flag(text).map(Value::Flag),
            Kind::Strategy => written::strategy(text).map(Value::Strategy),
        };
        let fits = value.and_then(|value| match (self.most(), &value) {
            (Some(most), Value::Number(n)) if *n > most => {
                Err(format!("{text} is too much; at most {}", self.write(&Value::Number(most))))
            }
            _ => Ok(value),
        });
        fits.map_err(|why| format!("{}: {why}", self.key()))
    }

    /// A value as [`Setting::parse`] takes it.
    #[must_use]
    pub fn write(self, value: &Value) -> String {
        match (value, self.kind()) {
            (Value::Number(millis), Kind::Duration) => written::duration::write(*millis),
            (Value::Number(millionths), Kind::Percent) => written::write_percent(*millionths),
            (Value::Number(n), _) => n.to_string(),
            (Value::Text(text), _) => text.clone(),
            (Value::Flag(flag), _) => flag.to_string(),
            (Value::Strategy(strategy), _) => strategy.word().to_owned(),
        }
    }

    /// Its value where nobody says anything; `None` where it has none then.
    #[must_use]
    pub fn default_value(self) -> Option<Value> {
        self.of(&Spec::default())
    }

    /// The largest value, where that is less than what can be written.
    fn most(self) -> Option<u64> {
        match self {
            Setting::HealthTimeout => Some(HEALTH_TIMEOUT_MAX),
            Setting::MaxSurge | Setting::MaxUnavailable => Some(MOVED_MAX),
            Setting::HealthPath
            | Setting::HealthInterval
            | Setting::HealthyThreshold
            | Setting::UnhealthyThreshold
            | Setting::StartPeriod
            | Setting::Expect
            | Setting::HealthHost
            | Setting::Strategy
            | Setting::DrainTimeout
            | Setting::StopGrace
            | Setting::Deadline
            | Setting::Watch
            | Setting::ErrorRateFactor
            | Setting::ErrorRateFloor
            | Setting::LatencyFloor
            | Setting::MinRequests
            | Setting::CrashLimit
            | Setting::Keep
            | Setting::Warm => None,
        }
    }
}

fn path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err(format!("a path must start with `/`; write \"/{text}\""));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("a path must be printable ASCII without spaces; write other characters as %XX".to_owned());
    }
    Ok(text.to_owned())
}

/// What is set for an environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(pub BTreeMap<Setting, Value>);

/// What the file said where settings of the cluster were taken in its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Covered {
    /// By setting; `None` where the file said nothing and there is no default.
    pub settings: BTreeMap<Setting, Option<Value>>,
    /// The steps of the file's canary, where it gave way to another strategy.
    pub canary: Vec<CanaryStep>,
    /// The cookie of the file's canary, where it gave way to another strategy.
    pub sticky: Option<String>,
}

/// A setting of the cluster that was taken in place of something else in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instead {
    /// Which.
    pub setting: Setting,
    /// What was taken.
    pub value: String,
    /// What the file says; `None` where it says nothing and there is no default.
    pub file: Option<String>,
}

impl Settings {
    /// A file's specification with these settings, and what they cover.
    #[must_use]
    pub fn over(&self, given: &Spec) -> (Spec, Covered) {
        let (mut spec, mut covered) = (given.clone(), Covered::default());
        for (setting, value) in &self.0 {
            covered.settings.insert(*setting, setting.of(given));
            setting.put(&mut spec, Some(value));
        }
        // Only a canary has steps.
        if covered.settings.contains_key(&Setting::Strategy) && spec.deploy.strategy != Strategy::Canary {
            covered.canary = std::mem::take(&mut spec.deploy.canary);
            covered.sticky = spec.deploy.sticky.take();
        }
        (spec, covered)
    }

    /// All of them for a person: `health.path = /up, deploy.drain_timeout = 10m`.
    #[must_use]
    pub fn text(&self) -> String {
        let each =
            self.0.iter().map(|(setting, value)| format!("{} = {}", setting.key(), setting.write(value)));
        each.collect::<Vec<_>>().join(", ")
    }
}

impl Release {
    /// Whether both run the same in the same way.
    #[must_use]
    pub fn is_as(&self, other: &Self) -> bool {
        self.runs(&other.source, &other.spec, &other.variables)
    }

    /// Whether it runs this, in this way.
    #[must_use]
    pub fn runs(&self, source: &Source, spec: &Spec, variables: &Variables) -> bool {
        self.source.is_same(source) && self.spec == *spec && self.variables == *variables
    }

    /// The specification as the file gave it.
    #[must_use]
    pub fn given(&self) -> Spec {
        let mut spec = self.spec.clone();
        for (setting, said) in &self.covered.settings {
            setting.put(&mut spec, said.as_ref());
        }
        if !self.covered.canary.is_empty() {
            spec.deploy.canary.clone_from(&self.covered.canary);
            spec.deploy.sticky.clone_from(&self.covered.sticky);
        }
        spec
    }

    /// Where it runs with something else than its file says.
    #[must_use]
    pub fn instead(&self) -> Vec<Instead> {
        let each = self.covered.settings.iter().filter_map(|(setting, said)| {
            let value = setting.of(&self.spec)?;
            let write = |value: &Value| setting.write(value);
            let differs = said.as_ref() != Some(&value);
            differs.then(|| Instead {
                setting: *setting,
                value: write(&value),
                file: said.as_ref().map(write),
            })
        });
        each.collect()
    }
}

/// Somebody changed settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsChanged {
    /// What was set.
    pub set: Settings,
    /// What was taken away.
    pub unset: BTreeSet<Setting>,
    /// Who asked.
    pub by: String,
}

impl SettingsChanged {
    /// What changed, for a person.
    #[must_use]
    pub fn line(&self) -> String {
        let set = Some(self.set.text()).filter(|text| !text.is_empty());
        let unset = self.unset.iter().map(|setting| format!("{} as in temps.toml", setting.key()));
        let all: Vec<_> = set.into_iter().chain(unset).collect();
        format!("Settings for the next deployment changed by {}: {}", self.by, all.join(", "))
    }
}

#[cfg(test)]
mod tests;
