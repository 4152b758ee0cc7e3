//! The problems that were found so far, and the checks that many keys share.

use std::ops::Range;

use temps_core::model::Millis;
use toml::Spanned;

use super::problem::Problem;
use super::raw;
use crate::names;

/// The most instances of one process.
pub(super) const INSTANCES_MAX: u32 = 1_000;

/// The problems so far.
#[derive(Default)]
pub(super) struct Found(pub(super) Vec<Problem>);

impl Found {
    pub(super) fn at(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.0.push(Problem::at(Some(span), message));
    }

    pub(super) fn with_help(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.0.push(Problem::at(Some(span), message).help(help));
    }

    pub(super) fn name(&mut self, what: &str, name: &Spanned<String>) {
        if let Err(why) = names::check(what, name.get_ref()) {
            self.at(name.span(), why);
        }
    }

    pub(super) fn at_least_one(&mut self, what: &str, number: &raw::Number, default: u32) -> u32 {
        let Some(number) = number else { return default };
        if *number.get_ref() == 0 {
            self.at(number.span(), format!("{what} must be at least 1"));
        }
        *number.get_ref()
    }

    pub(super) fn instances(&mut self, number: &raw::Number) -> Option<u32> {
        let number = number.as_ref()?;
        if !(1..=INSTANCES_MAX).contains(number.get_ref()) {
            self.at(number.span(), format!("instances must be from 1 to {INSTANCES_MAX}"));
        }
        Some(*number.get_ref())
    }

    pub(super) fn longer_than_zero(
        &mut self,
        what: &str,
        duration: &raw::Duration,
        default: Millis,
    ) -> Millis {
        if let Some(duration) = duration.as_ref().filter(|d| d.get_ref().0 == 0) {
            self.at(duration.span(), format!("{what} must be longer than 0"));
        }
        millis(duration, default)
    }

    /// A command line; `what` is what it is called in a message.
    pub(super) fn command(&mut self, what: &str, command: &Spanned<String>) -> String {
        if command.get_ref().trim().is_empty() {
            self.at(command.span(), format!("{what} is empty"));
        }
        if command.get_ref().contains('\0') {
            let message = format!("{what} contains a NUL character, which no command line can hold");
            self.at(command.span(), message);
        }
        command.get_ref().clone()
    }

    /// A label of a node, or a value of one.
    pub(super) fn label(&mut self, text: &Spanned<String>) -> String {
        let fits = (1..=64).contains(&text.get_ref().len());
        if !fits || !text.get_ref().bytes().all(|b| b.is_ascii_graphic()) {
            self.at(text.span(), "a label is 1 to 64 printable ASCII characters without spaces");
        }
        text.get_ref().clone()
    }
}

pub(super) fn millis(duration: &raw::Duration, default: Millis) -> Millis {
    duration.as_ref().map_or(default, |duration| duration.get_ref().0)
}
