//! Versions as projects write them, and the tag of an image that fits.

/// `20`, `20.11` or `20.11.1` of a text that is a version, with or without a `v` before it.
pub(super) fn plain(text: &str) -> Option<&str> {
    let text = text.trim().trim_start_matches(['v', 'V', '=']).trim();
    let parts: Vec<&str> = text.split('.').collect();
    let is_number =
        |part: &&str| !part.is_empty() && part.len() <= 5 && part.bytes().all(|b| b.is_ascii_digit());
    ((1..=3).contains(&parts.len()) && parts.iter().all(is_number)).then_some(text)
}

/// The first `n` parts of a version.
pub(super) fn parts(version: &str, n: usize) -> String {
    version.split('.').take(n).collect::<Vec<_>>().join(".")
}

/// The parts of a version that are numbers.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map_while(|part| part.parse().ok()).collect()
}

/// The tag for a range such as `>=18 <21`, `^20.1`, `~=3.11` or `3.11.*`. `depth` is how many parts of a version
/// change what a program can rely on: 1 for Node, 2 for Python. `usual` is taken where it fits.
pub(super) fn in_range(range: &str, usual: &str, depth: usize) -> Option<String> {
    // Of alternatives the last is the newest.
    let range = range.rsplit("||").next().unwrap_or(range);
    let range = range.replace(',', " ").replace("< ", "<").replace("> ", ">").replace("= ", "=");
    let mut least: Option<Vec<u32>> = None;
    let mut below: Option<Vec<u32>> = None;
    for word in range.split_whitespace().filter(|word| *word != "-") {
        let at = word.find(|c: char| c.is_ascii_digit() || c == 'v').unwrap_or(word.len());
        let (sign, written) = word.split_at(at);
        let written = written.trim_start_matches('v');
        let stars = written.split('.').position(|part| matches!(part, "x" | "X" | "*"));
        let version = stars.map_or(written.to_owned(), |at| parts(written, at));
        let Some(version) = plain(&version).map(str::to_owned) else {
            if matches!(word, "*" | "x" | "latest") {
                return Some(usual.to_owned());
            }
            return None;
        };
        match sign {
            ">=" | ">" => least = Some(numbers(&version)),
            "<=" => below = Some(next(&numbers(&version), depth)),
            "<" => below = Some(numbers(&version)),
            "^" => return Some(parts(&version, depth)),
            "~" | "~=" | "~>" => return Some(parts(&version, depth.max(2).min(numbers(&version).len()))),
            "" | "=" | "==" | "===" => return Some(version),
            "!=" => {}
            _ => return None,
        }
    }
    let wanted = numbers(usual);
    let high_enough = least.as_ref().is_none_or(|least| not_less(&wanted, least, depth));
    let low_enough = below.as_ref().is_none_or(|below| wanted < *below);
    match (high_enough, low_enough, least, below) {
        (true, true, ..) => Some(usual.to_owned()),
        // The newest below the limit.
        (true, false, _, Some(below)) => newest_below(&below, depth),
        (false, _, Some(least), _) => Some(join(&least[..depth.min(least.len())])),
        _ => None,
    }
}

fn not_less(wanted: &[u32], least: &[u32], depth: usize) -> bool {
    wanted >= &least[..depth.min(least.len())]
}

/// The first version that is not of the same line.
fn next(version: &[u32], depth: usize) -> Vec<u32> {
    let mut next: Vec<u32> = version.iter().copied().take(depth).collect();
    if let Some(last) = next.last_mut() {
        *last += 1;
    }
    next
}

fn newest_below(below: &[u32], depth: usize) -> Option<String> {
    let mut line: Vec<u32> = below.iter().copied().take(depth).collect();
    // `<20.5` still has versions of line 20.
    if below.len() > depth && below[depth..].iter().any(|part| *part > 0) {
        return Some(join(&line));
    }
    let last = line.last_mut()?;
    *last = last.checked_sub(1)?;
    Some(join(&line))
}

fn join(parts: &[u32]) -> String {
    parts.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::{in_range, plain};

    #[test]
    fn versions() {
        for (text, version) in [
            ("v20.11.1", Some("20.11.1")),
            (" 3.12 ", Some("3.12")),
            ("22", Some("22")),
            ("lts/iron", None),
            ("", None),
            ("3..1", None),
            ("1.2.3.4", None),
            ("20; rm", None),
        ] {
            assert_eq!(plain(text), version, "{text}");
        }
    }

    #[test]
    fn ranges_of_node() {
        for (range, tag) in [
            ("20.x", Some("20")),
            ("20", Some("20")),
            ("20.11.1", Some("20.11.1")),
            ("^20.1.0", Some("20")),
            ("~20.11", Some("20.11")),
            (">=18", Some("24")),
            (">= 18.17.0", Some("24")),
            (">=18 <21", Some("20")),
            (">=18.0.0 <=20.x", Some("20")),
            (">=25", Some("25")),
            ("18 || 20 || 22", Some("22")),
            ("^18 || >=20", Some("24")),
            ("*", Some("24")),
            ("<20.5", Some("20")),
            ("lts", None),
            ("; rm -rf /", None),
        ] {
            assert_eq!(in_range(range, "24", 1).as_deref(), tag, "{range}");
        }
    }

    #[test]
    fn ranges_of_python() {
        for (range, tag) in [
            (">=3.11", Some("3.13")),
            (">=3.11,<3.13", Some("3.12")),
            (">=3.9, <4.0", Some("3.13")),
            ("<3.13", Some("3.12")),
            ("<4", Some("3.13")),
            ("==3.11.*", Some("3.11")),
            ("~=3.11", Some("3.11")),
            ("^3.10", Some("3.10")),
            (">=3.14", Some("3.14")),
            ("!=3.12.1,>=3.10", Some("3.13")),
        ] {
            assert_eq!(in_range(range, "3.13", 2).as_deref(), tag, "{range}");
        }
    }
}
