//! Whether a symbolic link stays inside the directory, wherever the links on its way lead.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// As many links as Linux follows.
const LINKS_MAX: usize = 40;

/// Whether following `target` from the link at `link` never leaves `root`. `link` is relative to
/// `root`. Parts that do not exist are taken as plain names.
pub(super) fn stays_inside(root: &Path, link: &Path, target: &Path) -> bool {
    let mut at: Vec<OsString> =
        link.parent().into_iter().flat_map(|parent| parent.iter().map(OsString::from)).collect();
    let mut left: VecDeque<Part> = VecDeque::new();
    if !take(target, &mut left) {
        return false;
    }
    let mut links = 0;
    while let Some(part) = left.pop_front() {
        let Part::Name(name) = part else {
            if at.pop().is_none() {
                return false;
            }
            continue;
        };
        at.push(name);
        let here: PathBuf = root.join(at.iter().collect::<PathBuf>());
        if let Ok(next) = std::fs::read_link(&here) {
            links += 1;
            at.pop();
            if links > LINKS_MAX || !take(&next, &mut left) {
                return false;
            }
        }
    }
    true
}

enum Part {
    Up,
    Name(OsString),
}

/// Puts the parts of a path before those that are left; an absolute path has none that stay inside.
fn take(path: &Path, left: &mut VecDeque<Part>) -> bool {
    for component in path.components().rev() {
        match component {
            Component::Prefix(_) | Component::RootDir => return false,
            Component::CurDir => {}
            Component::ParentDir => left.push_front(Part::Up),
            Component::Normal(name) => left.push_front(Part::Name(name.to_owned())),
        }
    }
    true
}
