//! The file as it is written: nothing is merged, nothing has a default.

use std::collections::BTreeMap;

use serde::Deserialize;
use temps_core::written;
use toml::Spanned;

use super::amount;

pub(super) type Text = Option<Spanned<String>>;
pub(super) type Number = Option<Spanned<u32>>;
pub(super) type Duration = Option<Spanned<Written>>;
pub(super) type Flag = Option<Spanned<bool>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub(super) project: Project,
    pub(super) build: Build,
    pub(super) processes: BTreeMap<Spanned<String>, Process>,
    pub(super) health: Health,
    pub(super) deploy: Deploy,
    pub(super) rollback: Rollback,
    pub(super) release: Option<Spanned<Release>>,
    pub(super) schema: Option<Spanned<Schema>>,
    pub(super) routes: Routes,
    pub(super) placement: Placement,
    pub(super) volumes: Texts,
    pub(super) env: Variables,
    pub(super) environments: BTreeMap<Spanned<String>, Environment>,
}

pub(super) type Variables = BTreeMap<Spanned<String>, Spanned<Value>>;
pub(super) type Texts = BTreeMap<Spanned<String>, Spanned<String>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Project {
    pub(super) name: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Process {
    pub(super) command: Text,
    pub(super) port: Option<Spanned<u32>>,
    pub(super) instances: Number,
    pub(super) http: Option<bool>,
    pub(super) memory: Option<Spanned<Memory>>,
    pub(super) cpus: Option<Spanned<Cpus>>,
    pub(super) drain_timeout: Duration,
    pub(super) stop_signal: Text,
    pub(super) order: Text,
    pub(super) exclusive: Flag,
    pub(super) check: Text,
    pub(super) protocol: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Build {
    pub(super) dockerfile: Text,
    pub(super) builder: Text,
    pub(super) timeout: Duration,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Release {
    pub(super) command: Text,
    pub(super) timeout: Duration,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Placement {
    pub(super) spread: Text,
    pub(super) require: Option<Texts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Health {
    pub(super) path: Text,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) healthy_threshold: Number,
    pub(super) unhealthy_threshold: Number,
    pub(super) start_period: Duration,
    pub(super) expect: Option<Spanned<Status>>,
    pub(super) host: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Deploy {
    pub(super) strategy: Text,
    pub(super) max_surge: Number,
    pub(super) max_unavailable: Number,
    pub(super) drain_timeout: Duration,
    pub(super) stop_grace: Duration,
    pub(super) deadline: Duration,
    pub(super) canary: Option<Spanned<Canary>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Canary {
    pub(super) steps: Option<Spanned<Vec<Spanned<CanaryStep>>>>,
    pub(super) sticky: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CanaryStep {
    pub(super) weight: Number,
    pub(super) hold: Duration,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rollback {
    pub(super) watch: Duration,
    pub(super) crash_limit: Number,
    pub(super) keep: Number,
    pub(super) error_rate_factor: Number,
    pub(super) error_rate_floor: Option<Spanned<Percent>>,
    pub(super) latency_floor: Duration,
    pub(super) min_requests: Number,
    pub(super) warm: Flag,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Schema {
    pub(super) provides: Option<Spanned<u64>>,
    pub(super) requires: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Routes {
    pub(super) domains: Option<Vec<Spanned<String>>>,
    pub(super) path_prefix: Text,
    pub(super) https: Text,
    pub(super) hsts: Option<Spanned<u64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Environment {
    pub(super) processes: BTreeMap<Spanned<String>, Override>,
    pub(super) routes: Routes,
    pub(super) placement: Placement,
    pub(super) env: Variables,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Override {
    pub(super) instances: Number,
    pub(super) memory: Option<Spanned<Memory>>,
    pub(super) cpus: Option<Spanned<Cpus>>,
}

/// A duration that was understood.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written(pub(super) u64);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Written;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a duration such as \"30s\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Written, E> {
                written::duration::parse(text).map(Written).map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Written, E> {
                self.visit_str(&n.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// An HTTP status; `200` and `"200"` are the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Status(pub(super) u16);

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Status;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an HTTP status such as 200")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Status, E> {
                written::status(text).map(Status).map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Status, E> {
                self.visit_str(&n.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// An amount of memory that was understood, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory(pub(super) u64);

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Memory;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an amount of memory such as \"512M\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Memory, E> {
                amount::memory(text).map(Memory).map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Memory, E> {
                self.visit_str(&n.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Processor time that was understood, in thousandths of a core; `0.5` and `"0.5"` are the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cpus(pub(super) u32);

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Cpus;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number of cores such as 0.5")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Cpus, E> {
                amount::cpus(text).map(Cpus).map_err(E::custom)
            }

            fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Cpus, E> {
                self.visit_str(&n.to_string())
            }

            fn visit_f64<E: serde::de::Error>(self, n: f64) -> Result<Cpus, E> {
                // The shortest text that means this number is the one in the file.
                self.visit_str(&n.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A part of all, in millionths; `"5%"`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Percent(pub(super) u64);

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Percent;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a percentage such as \"5%\"")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Percent, E> {
                written::percent(text).map(Percent).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The value of a variable. It never prints, as it may be a secret.
#[derive(Clone)]
pub(super) struct Value(pub(super) String);

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Value;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text in quotes")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
                Ok(Value(text.to_owned()))
            }

            fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Value, E> {
                Err(E::custom("the value of a variable is a text; put it in quotes"))
            }

            fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Value, E> {
                self.visit_i64(0)
            }

            fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Value, E> {
                self.visit_i64(0)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
