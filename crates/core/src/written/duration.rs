//! Durations as people write them: `500ms`, `5s`, `2m`, `1m30s`, `1h`.

use crate::model::Millis;

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// There is nothing.
    #[error("the duration is empty; write for example \"30s\"")]
    Empty,
    /// A number has no unit.
    #[error("the duration \"{0}\" needs a unit; write for example \"{1}s\" (units: ms, s, m, h)")]
    Unit(String, String),
    /// It is something else.
    #[error("\"{0}\" is not a duration; write for example \"30s\" or \"1m30s\" (units: ms, s, m, h)")]
    Malformed(String),
    /// A unit follows a smaller one or itself.
    #[error("the units of the duration \"{0}\" must go from large to small, each at most once")]
    Order(String),
    /// It does not fit.
    #[error("the duration \"{0}\" is too long; at most 1000h fit")]
    TooLong(String),
}

/// The longest duration that makes sense anywhere here.
const LONGEST: Millis = 1_000 * 3_600_000;

/// Milliseconds of a duration such as `1m30s`.
///
/// # Errors
/// [`DurationError`] with what to write instead.
pub fn parse(text: &str) -> Result<Millis, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let malformed = || DurationError::Malformed(text.to_owned());
    let mut total: Millis = 0;
    let mut rest = text;
    let mut smallest = Millis::MAX;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, next) = after.split_at(letters);
        if number.is_empty() {
            return Err(malformed());
        }
        let size: Millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "" if next.is_empty() => return Err(DurationError::Unit(text.to_owned(), number.to_owned())),
            _ => return Err(malformed()),
        };
        if size >= smallest {
            return Err(DurationError::Order(text.to_owned()));
        }
        smallest = size;
        let part = number.parse::<Millis>().ok().and_then(|n| n.checked_mul(size));
        total = part
            .and_then(|part| total.checked_add(part))
            .filter(|total| *total <= LONGEST)
            .ok_or_else(|| DurationError::TooLong(text.to_owned()))?;
        rest = next;
    }
    Ok(total)
}

/// A duration as [`parse`] takes it, exactly.
#[must_use]
pub fn write(millis: Millis) -> String {
    let parts = [
        (millis / 3_600_000, "h"),
        (millis / 60_000 % 60, "m"),
        (millis / 1_000 % 60, "s"),
        (millis % 1_000, "ms"),
    ];
    let text: String = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::{parse, write};

    #[test]
    fn what_is_written_is_read_back() {
        for (millis, text) in
            [(0, "0s"), (500, "500ms"), (1_500, "1s500ms"), (90_000, "1m30s"), (3_600_000, "1h")]
        {
            assert_eq!(write(millis), text);
            assert_eq!(parse(text), Ok(millis));
        }
    }

    #[test]
    fn durations_as_people_write_them() {
        for (text, millis) in [
            ("500ms", 500),
            ("0s", 0),
            ("5s", 5_000),
            ("2m", 120_000),
            ("1m30s", 90_000),
            ("1h2m3s4ms", 3_723_004),
            ("1000h", 3_600_000_000),
        ] {
            assert_eq!(parse(text), Ok(millis), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_says_what_to_write() {
        for (text, message) in [
            ("", "the duration is empty; write for example \"30s\""),
            ("5", "the duration \"5\" needs a unit; write for example \"5s\" (units: ms, s, m, h)"),
            ("1m30", "the duration \"1m30\" needs a unit; write for example \"30s\" (units: ms, s, m, h)"),
            ("5 s", "\"5 s\" is not a duration; write for example \"30s\" or \"1m30s\" (units: ms, s, m, h)"),
            ("-5s", "\"-5s\" is not a duration; write for example \"30s\" or \"1m30s\" (units: ms, s, m, h)"),
            (
                "1.5s",
                "\"1.5s\" is not a duration; write for example \"30s\" or \"1m30s\" (units: ms, s, m, h)",
            ),
            ("3d", "\"3d\" is not a duration; write for example \"30s\" or \"1m30s\" (units: ms, s, m, h)"),
            ("30s1m", "the units of the duration \"30s1m\" must go from large to small, each at most once"),
            ("1s1s", "the units of the duration \"1s1s\" must go from large to small, each at most once"),
            ("1001h", "the duration \"1001h\" is too long; at most 1000h fit"),
            (
                "99999999999999999999h",
                "the duration \"99999999999999999999h\" is too long; at most 1000h fit",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message, "{text}");
        }
    }
}
