//! What is packed of a directory besides what is in it, and what is left out.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::dockerignore::{self, DockerIgnored};
use super::ignore::{self, Ignored, Sort};
use super::{BundleError, What};

/// What is packed, and how.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Whether `.dockerignore` counts: the directory is the source of an image.
    image: bool,
    /// What stays in whatever `.dockerignore` says, relative to the top.
    needed: Vec<PathBuf>,
    /// What stays out unless `.dockerignore` says otherwise, in its patterns.
    left_out: String,
    /// Files that are packed although they are not there, by path; they win over those that are.
    made: Vec<(PathBuf, Vec<u8>)>,
}

impl Plan {
    /// The directory runs as it is.
    #[must_use]
    pub fn bundle() -> Self {
        Self::default()
    }

    /// An image is built from the directory with a Dockerfile that is in it.
    #[must_use]
    pub fn source(dockerfile: &str) -> Self {
        let needed = vec![PathBuf::from(dockerfile), PathBuf::from(dockerignore::NAME), own_list(dockerfile)];
        Self { image: true, needed, ..Self::default() }
    }

    /// An image is built from the directory with a Dockerfile that was written for it. Neither that nor
    /// the list of what is left out gets into the image.
    ///
    /// # Errors
    /// [`BundleError::Read`] where `.dockerignore` cannot be read.
    pub fn written(
        root: &Path,
        path: &str,
        dockerfile: &str,
        left_out: &[String],
    ) -> Result<Self, BundleError> {
        let mut list = read(root, dockerignore::NAME)?.unwrap_or_default();
        if !list.is_empty() && !list.ends_with(b"\n") {
            list.push(b'\n');
        }
        let top = path.split('/').next().unwrap_or(path);
        list.extend_from_slice(format!("{top}\n{}\n", dockerignore::NAME).as_bytes());
        let made = vec![
            (PathBuf::from(path), dockerfile.as_bytes().to_vec()),
            (PathBuf::from(dockerignore::NAME), list),
        ];
        Ok(Self { image: true, left_out: left_out.join("\n"), made, ..Self::default() })
    }

    pub(super) fn made(&self) -> &[(PathBuf, Vec<u8>)] {
        &self.made
    }

    /// What stays out of the directory.
    pub(super) fn rules(&self, root: &Path) -> Result<Rules, BundleError> {
        let ours = match read(root, ignore::NAME)? {
            Some(text) => Ignored::parse(&text)?,
            None => Ignored::default(),
        };
        let docker = if self.image { Some(self.docker(root)?) } else { None };
        Ok(Rules { ours, docker, needed: self.needed.clone() })
    }

    /// A list beside the Dockerfile, of its name, counts instead of the one at the top.
    fn docker(&self, root: &Path) -> Result<DockerIgnored, BundleError> {
        let mut text = None;
        if let Some(dockerfile) = self.needed.first().and_then(|path| path.to_str()) {
            text = read(root, &own_list(dockerfile).to_string_lossy())?;
        }
        if text.is_none() {
            text = read(root, dockerignore::NAME)?;
        }
        let usual = DockerIgnored::parse(self.left_out.as_bytes());
        Ok(usual.then(DockerIgnored::parse(&text.unwrap_or_default())))
    }
}

fn own_list(dockerfile: &str) -> PathBuf {
    PathBuf::from(format!("{dockerfile}{}", dockerignore::NAME))
}

fn read(root: &Path, name: &str) -> Result<Option<Vec<u8>>, BundleError> {
    let path = root.join(name);
    match std::fs::read(&path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(BundleError::Read { path, source }),
    }
}

/// What stays out of a directory.
#[derive(Debug)]
pub(super) struct Rules {
    ours: Ignored,
    docker: Option<DockerIgnored>,
    needed: Vec<PathBuf>,
}

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    In,
    Out,
    /// It stays out, but something in it may not.
    OnlyInside,
}

impl Rules {
    pub(super) fn fate(&self, path: &Path, sort: Sort) -> Fate {
        if self.needed.iter().any(|needed| needed == path) {
            return Fate::In;
        }
        // A directory that stays out is entered where something needed is in it: the rest of it stays out.
        let above = || path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
        let ours =
            self.ours.matches(path, sort) || above().any(|above| self.ours.matches(above, Sort::Directory));
        let docker = self.docker.as_ref().is_some_and(|docker| docker.matches(path));
        if !ours && !docker {
            return Fate::In;
        }
        let taken_in = || !ours && self.docker.as_ref().is_some_and(|docker| docker.may_take_in_below(path));
        let holds_needed = || self.needed.iter().any(|needed| needed.starts_with(path));
        if sort == Sort::Directory && (holds_needed() || taken_in()) { Fate::OnlyInside } else { Fate::Out }
    }
}

/// Puts the files that are made among those that are there.
pub(super) fn add_made(plan: &Plan, entries: &mut Vec<super::Entry>) {
    for (path, content) in plan.made() {
        let above = |entry: &super::Entry| path.starts_with(&entry.path);
        // Whatever is in the way gives way: a file of this name, or one where a directory has to be.
        entries.retain(|entry| !(above(entry) && (entry.what != What::Directory || entry.path == *path)));
        let mut parents: Vec<&Path> =
            path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()).collect();
        parents.reverse();
        for parent in parents {
            if !entries.iter().any(|entry| entry.path == parent) {
                entries.push(super::Entry { path: parent.to_owned(), what: What::Directory });
            }
        }
        entries.push(super::Entry { path: path.clone(), what: What::Made(content.clone()) });
    }
}
