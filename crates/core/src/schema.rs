//! Which releases may run beside each other while the schema of their database changes.
//!
//! The database is at one version. A release's command brings it to the one that the release provides, and every
//! release says with which ones it runs. So a change is safe as long as every release that may run, somewhere, runs
//! with the version that the database has and with the one that it gets. What takes something away comes last: the
//! new release first replaces the old one everywhere, and its command runs once nothing of that is left.

use crate::model::{ClusterState, Environment, RELEASE_PROCESS, Release, ReleaseId, Schema, Want};

/// When the release command of a deployment runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migration {
    /// Before the first new instance: what runs now runs with the new version, too.
    First,
    /// After watching, once no instance of another release is left on any node.
    Last,
}

/// When the release command of a release with this schema can run, next to what runs now.
///
/// # Errors
/// Why it never can, and what to do instead.
pub fn migration(
    state: &ClusterState,
    environment: &Environment,
    to: Option<ReleaseId>,
    schema: Option<Schema>,
) -> Result<Migration, String> {
    let (Some(new), Some(now)) = (schema, environment.schema) else { return Ok(Migration::First) };
    let next = now.max(new.provides);
    let in_the_way = running(state, environment)
        .filter(|release| Some(release.id) != to)
        .find_map(|release| release.spec.schema.filter(|schema| !schema.takes(next)).map(|s| (release, s)));
    match in_the_way {
        None if new.takes(next) => Ok(Migration::First),
        Some(_) if new.takes(now) => Ok(Migration::Last),
        None => Err(format!(
            "the database is at schema {now}, and this release runs with {} alone; deploy one that runs with {now}",
            range(new)
        )),
        Some((old, schema)) => Err(format!(
            "the database is at schema {now}, and {}, which runs, takes {} alone, while this release takes {}; first deploy one with `requires = \"{now}..{next}\"`",
            old.id,
            range(schema),
            range(new)
        )),
    }
}

/// Whether a release runs with the version that the database has.
#[must_use]
pub fn fits(environment: &Environment, release: &Release) -> bool {
    match (release.spec.schema, environment.schema) {
        (Some(schema), Some(now)) => schema.takes(now),
        (None, _) | (_, None) => true,
    }
}

/// `10..11`, or `11` alone.
pub(crate) fn range(schema: Schema) -> String {
    if schema.from == schema.to { schema.from.to_string() } else { format!("{}..{}", schema.from, schema.to) }
}

/// Releases of which an instance may run on some node, lost ones included, and the one to go back to.
fn running<'a>(state: &'a ClusterState, environment: &'a Environment) -> impl Iterator<Item = &'a Release> {
    let known = state.releases.values().filter(|release| release.environment == environment.id);
    known.filter(|release| {
        Some(release.id) == environment.current || !is_gone(state, |of| of == release.id, environment)
    })
}

/// Whether no instance of such releases may run on any node.
pub(crate) fn is_gone(
    state: &ClusterState,
    of: impl Fn(ReleaseId) -> bool,
    environment: &Environment,
) -> bool {
    let mut instances = state.instances.values().filter(|i| i.environment == environment.id);
    !instances.any(|i| of(i.release) && i.process != RELEASE_PROCESS && i.want != Want::Gone)
}
