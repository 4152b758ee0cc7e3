//! How a deployment ended, in the words that the command line and notices share.

use crate::model::{Phase, RELEASE_PROCESS, What};

/// How far a deployment had come when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its image was being made: nothing that runs was touched.
    Building,
    /// Its release command ran: no instance of it was started.
    Releasing,
    /// Instances were replaced.
    Replacing,
    /// All were, and its release command or what that waited for failed.
    Last,
}

impl Stage {
    /// The stage that an event begins, if it begins one.
    #[must_use]
    pub fn begun_by(what: &What) -> Option<Stage> {
        if matches!(what, What::Building { .. }) {
            Some(Stage::Building)
        } else if matches!(what, What::ReleaseStarted { .. }) {
            Some(Stage::Releasing)
        } else if matches!(what, What::Built { .. } | What::ReleaseDone { .. } | What::Starting { .. }) {
            Some(Stage::Replacing)
        } else if matches!(what, What::Failed { .. }) {
            Some(Stage::Last)
        } else {
            None
        }
    }
}

/// A deployment in a sentence.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// `Deployment` or `Rollback`.
    pub word: &'a str,
    /// Its number.
    pub number: u64,
    /// Name of its project.
    pub project: &'a str,
    /// Name of its environment.
    pub environment: &'a str,
    /// The number of its release.
    pub release: u64,
    /// The number of the release before it.
    pub from_release: Option<u64>,
    /// Where it stands; unknown where `None`.
    pub phase: Option<Phase>,
}

impl Subject<'_> {
    /// `Deployment #42 of my-app (production)`.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{} #{} of {} ({})", self.word, self.number, self.project, self.environment)
    }

    /// That it is not live, and what is.
    #[must_use]
    pub fn failure(&self, stage: Stage) -> String {
        let subject = self.text();
        let failed = match (self.phase, stage) {
            (_, Stage::Last) => {
                return format!("{subject} failed in its last step; its release r{} stays.", self.release);
            }
            (Some(Phase::Cancelled), _) | (_, Stage::Replacing) => None,
            (_, Stage::Building) => Some("failed to build"),
            (_, Stage::Releasing) => Some("failed in its release command"),
        };
        if let Some(failed) = failed {
            return match self.from_release {
                Some(from) => format!("{subject} {failed}; r{from} is live as before."),
                None => format!("{subject} {failed}; there is no release before it."),
            };
        }
        match (self.phase, self.from_release) {
            (Some(Phase::RolledBack), Some(from)) => {
                format!("{subject} failed and was rolled back to r{from}.")
            }
            (Some(Phase::RolledBack), None) => format!("{subject} failed and was rolled back."),
            (Some(Phase::Cancelled), Some(from)) => {
                format!("{subject} was cancelled and went back to r{from}.")
            }
            (Some(Phase::Cancelled), None) => format!("{subject} was cancelled."),
            (_, Some(_)) => format!("{subject} failed and could not be rolled back."),
            (_, None) => format!("{subject} failed; there was no release to go back to."),
        }
    }

    /// The commands that show more.
    #[must_use]
    pub fn next(&self, stage: Stage) -> [String; 2] {
        let Self { number, project, environment, .. } = self;
        let target = format!("-p {project} -e {environment}");
        let timeline = format!("temps deployments timeline {number}");
        match stage {
            Stage::Building => [format!("temps deployments logs {number}"), timeline],
            Stage::Releasing | Stage::Last => {
                [format!("temps logs {target} --process {RELEASE_PROCESS}"), timeline]
            }
            Stage::Replacing => [timeline, format!("temps logs {target}")],
        }
    }
}

/// `1204 requests meanwhile, 0 failed, 3 answered 5xx by the application.`
#[must_use]
pub fn traffic(requests: u64, failed: u64, app_errors: u64) -> String {
    let word = if requests == 1 { "request" } else { "requests" };
    let mut line = format!("{requests} {word} meanwhile, {failed} failed");
    if app_errors > 0 {
        line.push_str(&format!(", {app_errors} answered 5xx by the application"));
    }
    line.push('.');
    line
}
