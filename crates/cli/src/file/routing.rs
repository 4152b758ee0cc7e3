//! `[routes]`: which requests belong to an environment, and how they come.

use std::collections::BTreeSet;

use temps_core::model::{Https, RouteRules};
use toml::Spanned;

use super::found::Found;
use super::raw;
use super::resolve::{normal_host, url_path};

/// What is not written stays as it was.
pub(super) fn routes(before: RouteRules, raw: &raw::Routes, found: &mut Found) -> RouteRules {
    RouteRules {
        domains: raw.domains.as_ref().map_or(before.domains, |written| domains(written, found)),
        path_prefix: path_prefix(raw, found).unwrap_or(before.path_prefix),
        https: raw.https.as_ref().map_or(before.https, |written| https(written, found)),
        hsts: raw.hsts.as_ref().map_or(before.hsts, |written| hsts(written, found)),
    }
}

fn domains(written: &[Spanned<String>], found: &mut Found) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for domain in written {
        let normal = normal_host(domain, found);
        if seen.insert(normal.clone()) {
            all.push(normal);
        } else {
            found.at(domain.span(), format!("the domain \"{normal}\" is listed twice"));
        }
    }
    all
}

fn path_prefix(raw: &raw::Routes, found: &mut Found) -> Option<String> {
    let prefix = raw.path_prefix.as_ref()?;
    url_path("path_prefix", prefix, found);
    if prefix.get_ref().contains(['?', '#']) {
        found.at(prefix.span(), "path_prefix is a path alone, without `?` and `#`");
    }
    let short = prefix.get_ref().trim_end_matches('/');
    Some(if short.is_empty() { "/".to_owned() } else { short.to_owned() })
}

fn https(written: &Spanned<String>, found: &mut Found) -> Https {
    match written.get_ref().as_str() {
        "redirect" => Https::Redirect,
        "optional" => Https::Optional,
        other => {
            found.at(written.span(), format!("https is \"redirect\" or \"optional\", not {other:?}"));
            Https::default()
        }
    }
}

/// In seconds, as browsers are told.
fn hsts(written: &Spanned<u64>, found: &mut Found) -> Option<u64> {
    let seconds = *written.get_ref();
    if seconds > HSTS_MAX {
        found.at(
            written.span(),
            format!("hsts is a number of seconds up to {HSTS_MAX}, which is three years"),
        );
    }
    Some(seconds).filter(|seconds| *seconds > 0)
}

const HSTS_MAX: u64 = 3 * 365 * 24 * 60 * 60;
