//! What people and tokens may do, and for how long: as it is typed and shown, everywhere alike.

use std::collections::BTreeMap;

use crate::model::Millis;
use crate::text;
use crate::written::duration;

const DAY: Millis = 86_400_000;
/// The longest time that can be typed in days.
const DAYS_MAX: u32 = 3_650;

/// A duration as it is typed, also in days: `90d`, `12h`.
///
/// # Errors
/// What to write instead, for a person.
pub fn days(typed: &str) -> Result<Millis, String> {
    match typed.strip_suffix('d').map(str::parse::<u32>) {
        Some(Ok(days)) if days <= DAYS_MAX => Ok(Millis::from(days) * DAY),
        Some(_) => Err(format!("write a number of days up to {DAYS_MAX}d, such as 90d")),
        None => duration::parse(typed).map_err(|why| why.to_string()),
    }
}

/// How long something is still valid: `89d`, `2h`, `expired`.
#[must_use]
pub fn left(millis: Millis) -> String {
    match millis {
        0 => "expired".to_owned(),
        millis if millis >= 2 * DAY => format!("{}d", millis / DAY),
        millis => text::duration(millis),
    }
}

/// What is allowed: `admin`, or `deployer in my-app, viewer in shop`.
#[must_use]
pub fn grant(role: &str, projects: &BTreeMap<String, String>) -> String {
    if projects.is_empty() {
        return role.to_owned();
    }
    let each: Vec<_> = projects.iter().map(|(project, role)| format!("{role} in {project}")).collect();
    each.join(", ")
}

/// Whether a person can sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// They may do nothing for now.
    Disabled,
    /// They have a password.
    Active,
    /// They have a code with which they set a password, for so long.
    HasCode(Millis),
    /// Their code was not used in time.
    CodeExpired,
    /// They have neither a password nor a code.
    NoPassword,
}

impl Standing {
    /// Of somebody who is not disabled. `code`: for how long theirs is still valid, where there is one; 0 where its time
    /// is over.
    #[must_use]
    pub fn of(code: Option<Millis>, has_password: bool) -> Self {
        match (code, has_password) {
            (_, true) => Self::Active,
            (Some(0), false) => Self::CodeExpired,
            (Some(time), false) => Self::HasCode(time),
            (None, false) => Self::NoPassword,
        }
    }

    /// For a person who reads it.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::Disabled => "disabled".to_owned(),
            Self::Active => "active".to_owned(),
            Self::HasCode(time) => format!("sets a password within {}", left(time)),
            Self::CodeExpired => "code expired".to_owned(),
            Self::NoPassword => "has no password".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Standing, days, grant, left};

    #[test]
    fn times_are_told_in_days() {
        assert_eq!(days("90d"), Ok(7_776_000_000));
        assert_eq!(days("12h"), Ok(43_200_000));
        assert!(days("d").is_err() && days("4000d").is_err() && days("x").is_err());
        for (millis, text) in [(0, "expired"), (7_776_000_000, "90d"), (7_200_000, "2h")] {
            assert_eq!(left(millis), text);
        }
    }

    #[test]
    fn a_grant_is_for_everything_or_by_project() {
        assert_eq!(grant("admin", &[].into()), "admin");
        let projects = [("shop", "deployer"), ("blog", "viewer")];
        let projects = projects.map(|(project, role)| (project.to_owned(), role.to_owned())).into();
        assert_eq!(grant("", &projects), "viewer in blog, deployer in shop");
    }

    #[test]
    fn it_is_told_what_keeps_somebody_out() {
        for (standing, told) in [
            (Standing::Disabled, "disabled"),
            (Standing::of(None, true), "active"),
            (Standing::of(Some(7_200_000), false), "sets a password within 2h"),
            (Standing::of(Some(0), false), "code expired"),
            (Standing::of(None, false), "has no password"),
        ] {
            assert_eq!(standing.text(), told);
        }
    }
}
