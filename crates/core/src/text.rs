//! Numbers for people.

use crate::model::Millis;

/// `1.2MB`, as in the article's "image: 142MB": decimal units, one digit below ten.
#[must_use]
pub fn bytes(n: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    for (size, unit) in UNITS {
        if n >= size {
            let tenths = n / (size / 10);
            return if tenths < 100 {
                format!("{}.{}{unit}", tenths / 10, tenths % 10)
            } else {
                format!("{}{unit}", n / size)
            };
        }
    }
    format!("{n}B")
}

/// `350ms`, `12s`, `2m`, `2m5s`, `1h3m`.
#[must_use]
pub fn duration(millis: Millis) -> String {
    if millis < 1_000 {
        return format!("{millis}ms");
    }
    if millis < 10_000 && !millis.is_multiple_of(1_000) {
        return format!("{}.{}s", millis / 1_000, millis % 1_000 / 100);
    }
    let s = millis / 1_000;
    match (s / 3_600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, 0) => format!("{m}m"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, 0, _) => format!("{h}h"),
        (h, m, _) => format!("{h}h{m}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::{bytes, duration};

    #[test]
    fn numbers_read_as_in_the_article() {
        for (n, text) in
            [(0, "0B"), (999, "999B"), (1_200, "1.2kB"), (142_000_000, "142MB"), (9_960_000, "9.9MB")]
        {
            assert_eq!(bytes(n), text);
        }
        for (n, text) in [
            (350, "350ms"),
            (1_500, "1.5s"),
            (2_000, "2s"),
            (12_345, "12s"),
            (120_000, "2m"),
            (3_780_000, "1h3m"),
        ] {
            assert_eq!(duration(n), text);
        }
    }
}
