//! The user's words: what is typed, what is read from files, what is shown.
//!
//! The cluster owns deployments; this only asks and watches. How the cluster decides is not known here.

pub mod bundle;
mod detect;
mod exit;
pub mod file;
mod json;
mod names;
mod reach;
mod screen;
mod settings;
mod timeline;
mod verdict;
mod watch;
mod words;

pub use exit::{Code, Failure};
pub use screen::{ColourChoice, escape, escape_bytes};
pub use settings::Globals;
pub use words::{Words, run};
