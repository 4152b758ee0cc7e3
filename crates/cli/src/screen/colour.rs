//! Whether and how text is coloured. No meaning is carried by colour alone.

use clap::builder::styling::{AnsiColor, Style};

/// When output is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColourChoice {
    /// At a terminal, unless NO_COLOR is set or TERM is dumb.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Strong,
    Quiet,
    Good,
    Warn,
    Bad,
}

/// Whether colours are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    On,
    Off,
}

impl Paint {
    pub(crate) fn tone(self, tone: Tone, text: &str) -> String {
        if self == Paint::Off {
            return text.to_owned();
        }
        let style = match tone {
            Tone::Strong => Style::new().bold(),
            Tone::Quiet => Style::new().dimmed(),
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Warn => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default().bold(),
        };
        format!("{style}{text}{style:#}")
    }
}

/// Whether a stream gets colours.
pub(super) fn paint(
    choice: ColourChoice,
    terminal: bool,
    variable: impl Fn(&str) -> Option<String>,
) -> Paint {
    let refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = variable("TERM").is_some_and(|term| term == "dumb");
    match choice {
        ColourChoice::Always => Paint::On,
        ColourChoice::Auto if terminal && !refused && !dumb => Paint::On,
        ColourChoice::Auto | ColourChoice::Never => Paint::Off,
    }
}

#[cfg(test)]
mod tests {
    use super::{ColourChoice, Paint, Tone, paint};

    #[test]
    fn colours_are_for_terminals_that_want_them() {
        let none = |_: &str| None;
        let no_color = |name: &str| (name == "NO_COLOR").then(|| "1".to_owned());
        let empty = |name: &str| (name == "NO_COLOR").then(String::new);
        let dumb = |name: &str| (name == "TERM").then(|| "dumb".to_owned());
        assert_eq!(paint(ColourChoice::Auto, true, none), Paint::On);
        assert_eq!(paint(ColourChoice::Auto, true, empty), Paint::On);
        assert_eq!(paint(ColourChoice::Auto, false, none), Paint::Off);
        assert_eq!(paint(ColourChoice::Auto, true, no_color), Paint::Off);
        assert_eq!(paint(ColourChoice::Auto, true, dumb), Paint::Off);
        assert_eq!(paint(ColourChoice::Always, false, no_color), Paint::On);
        assert_eq!(paint(ColourChoice::Never, true, none), Paint::Off);
        assert_eq!(Paint::Off.tone(Tone::Bad, "x"), "x");
        assert_eq!(Paint::On.tone(Tone::Good, "x"), "\u{1b}[32mx\u{1b}[0m");
    }
}
