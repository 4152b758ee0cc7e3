//! Values as people write them, in `temps.toml` as in the settings of an environment: read and written back the same
//! everywhere.

pub mod duration;

use crate::model::{MILLION, Strategy};

/// Millionths of a percentage such as `5%` or `0.5%`.
///
/// # Errors
/// What to write instead.
pub fn percent(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is not a percentage; write for example \"5%\", or \"0.5%\"");
    let number = text.strip_suffix('%').ok_or_else(wrong)?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |s: &str| !s.is_empty() && s.len() <= 4 && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) {
        return Err(wrong());
    }
    let millionths = format!("{whole}{part:0<4}").parse::<u64>().map_err(|_| wrong())?;
    if millionths > MILLION {
        return Err(format!("\"{text}\" is more than 100%"));
    }
    Ok(millionths)
}

/// A percentage as [`percent`] takes it.
#[must_use]
pub fn write_percent(millionths: u64) -> String {
    let part = format!("{:04}", millionths % 10_000);
    match part.trim_end_matches('0') {
        "" => format!("{}%", millionths / 10_000),
        part => format!("{}.{part}%", millionths / 10_000),
    }
}

/// An HTTP status from 100 to 599.
///
/// # Errors
/// What is wrong with it.
pub fn status(text: &str) -> Result<u16, String> {
    let status = text.parse().ok().filter(|status| (100..=599).contains(status));
    status.ok_or_else(|| format!("\"{text}\" is not an HTTP status from 100 to 599"))
}

/// A whole number, as far as one can be written in `temps.toml`.
///
/// # Errors
/// What is wrong with it.
pub fn number(text: &str) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| format!("\"{text}\" is not a whole number from 0 to {}", u32::MAX))
}

/// The strategy that has this word.
///
/// # Errors
/// Which there are.
pub fn strategy(word: &str) -> Result<Strategy, String> {
    let found = Strategy::ALL.into_iter().find(|known| known.word() == word);
    found.ok_or_else(|| {
        let words = Strategy::ALL.map(|known| format!("\"{}\"", known.word())).join(", ");
        format!("there is no strategy \"{word}\"; there are {words}")
    })
}

/// `true` or `false`.
///
/// # Errors
/// What to write instead.
pub fn flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("\"{text}\" is neither true nor false"))
}

#[cfg(test)]
mod tests {
    use super::{flag, number, percent, status, strategy, write_percent};

    #[test]
    fn percentages() {
        for (text, millionths) in [("5%", 50_000), ("0.5%", 5_000), ("100%", 1_000_000), ("0.0125%", 125)] {
            assert_eq!(percent(text), Ok(millionths), "{text}");
            assert_eq!(write_percent(millionths), text);
        }
        for text in ["5", "%", "-1%", "1.%", "101%", "1.23456%", ""] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_such_value_says_what_is() {
        assert_eq!((number("0"), number("4294967295"), status("204")), (Ok(0), Ok(u32::MAX), Ok(204)));
        for text in ["", "-1", "+1", "1.5", "4294967296", "three"] {
            assert!(number(text).unwrap_err().contains("whole number"), "{text}");
        }
        assert!(status("99").is_err() && status("600").is_err() && status("ok").is_err());
        assert_eq!(flag("yes").unwrap_err(), "\"yes\" is neither true nor false");
        let why = strategy("blue-green").unwrap_err();
        assert!(why.ends_with("\"rolling\", \"blue_green\", \"canary\", \"recreate\""), "{why}");
    }
}
