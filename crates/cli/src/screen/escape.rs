//! Text from elsewhere is made harmless before it reaches a terminal.

use std::fmt::Write as _;

/// The text with everything that a terminal would act on, or that would reorder what a person reads,
/// written out as `\x1b` or `\u{202e}`. Tabs stay.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        push(&mut out, c);
    }
    out
}

/// The same for bytes that need not be text; those that are none become `\xff`.
#[must_use]
pub fn escape_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push(&mut out, c);
        }
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}").expect("a string takes everything");
        }
    }
    out
}

/// JSON text in which such characters stand as `\u009b`; they can only be inside its strings.
#[must_use]
pub(crate) fn escape_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if acts(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").expect("a string takes everything");
            }
        } else {
            out.push(c);
        }
    }
    out
}

fn push(out: &mut String, c: char) {
    let written = match c {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        c if !acts(c) => out.write_char(c),
        c if c.is_ascii() => write!(out, "\\x{:02x}", u32::from(c)),
        c => write!(out, "\\u{{{:x}}}", u32::from(c)),
    };
    written.expect("a string takes everything");
}

/// Control characters, line separators, and marks that change the direction of writing.
fn acts(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::{escape, escape_bytes, escape_json};

    #[test]
    fn hostile_text_is_inert() {
        for (text, shown) in [
            ("plain, Ünïcode 🦀\tand tabs", "plain, Ünïcode 🦀\tand tabs"),
            ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"),
            ("a\r\nb\0", "a\\r\\nb\\x00"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\x7f"),
            ("abc\u{202e}fed\u{2066}", "abc\\u{202e}fed\\u{2066}"),
        ] {
            assert_eq!(escape(text), shown);
            assert_eq!(escape_bytes(text.as_bytes()), shown);
        }
        assert_eq!(escape_bytes(b"ok \xff\xfe\x1b"), "ok \\xff\\xfe\\x1b");
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({ "text": "\u{9b}31m\x1b \u{202e}\u{feff} 🦀\n" });
        let shown = escape_json(&value.to_string());
        assert!(shown.chars().all(|c| !c.is_control()), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
