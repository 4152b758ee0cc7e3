//! What names must look like. The cluster checks the same; here it costs no round trip.

/// The longest name.
const NAME_MAX: usize = 40;

/// Checks the name of a project, an environment or a process.
///
/// # Errors
/// What is wrong with it, for a person.
pub(crate) fn check(what: &str, name: &str) -> Result<(), String> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() {
        return Err(format!("the {what} name is empty"));
    }
    if name.len() > NAME_MAX {
        return Err(format!("the {what} name \"{name}\" is longer than {NAME_MAX} characters"));
    }
    if !name.bytes().all(inner) || name.starts_with('-') || name.ends_with('-') {
        let message =
            format!("the {what} name \"{name}\" must be lower-case letters, digits and inner dashes");
        let fixed = suggestion(name);
        return Err(if fixed.is_empty() { message } else { format!("{message}, for example \"{fixed}\"") });
    }
    Ok(())
}

/// Checks the name of an environment variable.
///
/// # Errors
/// What is wrong with it, for a person.
pub(crate) fn variable(name: &str) -> Result<(), String> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if name.is_empty() {
        return Err("the name of the variable is empty".to_owned());
    }
    if !name.bytes().all(word) || name.as_bytes()[0].is_ascii_digit() {
        return Err(format!(
            "the variable name \"{name}\" must be letters, digits and `_`, and not start with a digit"
        ));
    }
    Ok(())
}

/// The nearest name that would be taken.
fn suggestion(name: &str) -> String {
    let mapped: String = name
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect();
    mapped.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{check, variable};

    #[test]
    fn names() {
        for good in ["a", "my-app", "9", "web2", &"a".repeat(40)] {
            assert_eq!(check("project", good), Ok(()), "{good}");
        }
        let bad = check("project", "My_App").unwrap_err();
        assert_eq!(
            bad,
            "the project name \"My_App\" must be lower-case letters, digits and inner dashes, for example \"my-app\""
        );
        for name in ["", "-a", "a-", "ä", "a b", "a.b", &"a".repeat(41)] {
            assert!(check("project", name).is_err(), "{name}");
        }
    }

    #[test]
    fn variable_names() {
        for good in ["A", "_x", "LOG_LEVEL", "a9"] {
            assert_eq!(variable(good), Ok(()), "{good}");
        }
        for bad in ["", "9A", "A-B", "A B", "Ä", "A\0", "A="] {
            assert!(variable(bad).is_err(), "{bad:?}");
        }
    }
}
