//! `Procfile`: how a project of another platform starts.

use super::Tree;

/// The command of its `web` line.
pub(super) fn web(tree: &Tree) -> Option<&str> {
    entries(tree).find(|(name, _)| *name == "web").map(|(_, command)| command)
}

/// What else it names.
pub(super) fn note(tree: &Tree) -> Option<String> {
    let others: Vec<&str> = entries(tree).map(|(name, _)| name).filter(|name| *name != "web").collect();
    if others.is_empty() {
        return None;
    }
    Some(format!(
        "of the Procfile only `web` is used; for {} add a process with its command to temps.toml",
        others.join(", ")
    ))
}

fn entries(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.text("Procfile").lines().filter_map(|line| {
        let (name, command) = line.split_once(':')?;
        let (name, command) = (name.trim(), command.trim());
        let is_name =
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        (is_name && !command.is_empty()).then_some((name, command))
    })
}

#[cfg(test)]
mod tests {
    use super::{note, web};
    use crate::detect::Tree;

    #[test]
    fn the_web_line_is_found_and_the_others_are_told() {
        let tree =
            Tree::of(&[("Procfile", "# web: no\nweb:  gunicorn app:app  \r\nworker: python w.py\nclock:\n")]);
        assert_eq!(web(&tree), Some("gunicorn app:app"));
        assert_eq!(
            note(&tree).as_deref(),
            Some(
                "of the Procfile only `web` is used; for worker add a process with its command to temps.toml"
            )
        );
        assert_eq!((web(&Tree::default()), note(&Tree::default())), (None, None));
    }
}
