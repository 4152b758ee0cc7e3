//! The one error of the harness: a text for the person who reads the test's output.

use std::fmt;

/// Why a test cannot go on, or what it found wrong.
pub struct Trouble {
    text: String,
    skips: bool,
}

/// What fallible functions of the harness return.
pub type Result<T = ()> = std::result::Result<T, Trouble>;

impl Trouble {
    /// A trouble with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), skips: false }
    }

    /// Not a trouble at all: why a test makes no sense here.
    pub fn skip(why: impl Into<String>) -> Self {
        Self { text: why.into(), skips: true }
    }

    /// Whether the test made no sense here, instead of having failed.
    #[must_use]
    pub fn skips(&self) -> bool {
        self.skips
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<E: std::error::Error> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::new(chain(&error))
    }
}

/// An error with all its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Adds what was being done to an error.
pub trait Context<T> {
    /// Adds what was being done.
    ///
    /// # Errors
    /// The error, with the text before it.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Trouble>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Trouble::new(format!("{what}: {}", error.into())))
    }
}

/// Returns with a trouble unless the condition holds.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::trouble::Trouble::new(format!($($text)+)));
        }
    };
}

/// Returns with a trouble that shows both values unless they are equal.
#[macro_export]
macro_rules! check_eq {
    ($left:expr, $right:expr, $($text:tt)+) => {
        match (&$left, &$right) {
            (left, right) => {
                if left != right {
                    let what = format!($($text)+);
                    let text = format!("{what}\n     got: {left:?}\nexpected: {right:?}");
                    return Err($crate::trouble::Trouble::new(text));
                }
            }
        }
    };
}
