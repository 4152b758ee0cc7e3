//! `[volumes]` and `[placement]`: where instances run, and what they find there.

use std::collections::{BTreeMap, BTreeSet};

use temps_core::model::Placement;
use toml::Spanned;

use super::found::Found;
use super::raw;

/// The longest path of a volume.
const PATH_MAX: usize = 255;
/// What every container brings itself.
const TAKEN: [&str; 3] = ["proc", "sys", "dev"];

pub(super) fn volumes(raw: &raw::Texts, found: &mut Found) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut paths = BTreeSet::new();
    for (name, path) in raw {
        found.name("volume", name);
        let path_text = mounted(name.get_ref(), path, found);
        if !paths.insert(path_text.clone()) {
            found.at(path.span(), format!("two volumes cannot both be at {path_text}"));
        }
        all.insert(name.get_ref().clone(), path_text);
    }
    all
}

/// Where a volume is mounted, without a slash at the end.
fn mounted(name: &str, written: &Spanned<String>, found: &mut Found) -> String {
    let path = written.get_ref();
    let short = path.trim_end_matches('/');
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    let help = format!("write for example `{name} = \"/var/lib/{name}\"`");
    let Some(rest) = short.strip_prefix('/') else {
        let message = if path.starts_with('/') {
            "a volume cannot be all of the container"
        } else {
            "a volume is mounted at an absolute path inside of the container"
        };
        found.with_help(written.span(), message, help);
        return short.to_owned();
    };
    let printable = path.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b':' | b','));
    if !rest.split('/').all(plain) || !printable || short.len() > PATH_MAX {
        let message = format!(
            "the path of a volume is printable ASCII without spaces, `:`, `,`, `.` and `..` as parts, and at most {PATH_MAX} characters"
        );
        found.with_help(written.span(), message, help);
    } else if rest.split('/').next().is_some_and(|top| TAKEN.contains(&top)) {
        found.with_help(written.span(), format!("{short} belongs to the system of the container"), help);
    }
    short.to_owned()
}

/// What is written over what is there.
pub(super) fn placement(base: &Placement, raw: &raw::Placement, found: &mut Found) -> Placement {
    let require = raw
        .require
        .as_ref()
        .map(|labels| labels.iter().map(|(name, value)| (found.label(name), found.label(value))).collect());
    Placement {
        spread: raw.spread.as_ref().map_or_else(|| base.spread.clone(), |label| found.label(label)),
        require: require.unwrap_or_else(|| base.require.clone()),
    }
}
