//! What an image's name means on this node.

use std::time::Duration;

use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;
use tokio::time::timeout;

use super::{Images, is_away, meaning, patient};
use crate::runtime::docker::EngineError;
use crate::store::{is_digest, is_image_id};

/// How long a registry may show no progress.
const NO_PROGRESS: Duration = Duration::from_secs(20);
/// A longer name is refused, in bytes.
const NAME: usize = 512;

/// Why a name means nothing here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// It cannot be the name of an image.
    #[error(
        "{0:?} is not the name of an image: write it as `name`, `name:tag`, `name@sha256:…` or `sha256:…`"
    )]
    NotAName(String),
    /// Neither this node has it, nor its registry if that was asked.
    #[error("{0}")]
    NotFound(String),
    /// The engine does not answer: try again.
    #[error("{0}")]
    NotNow(String),
}

impl From<EngineError> for FindError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Away { .. } => Self::NotNow(error.to_string()),
            EngineError::Missing(why) | EngineError::Conflict(why) | EngineError::Refused(why) => {
                Self::NotFound(why)
            }
        }
    }
}

/// A name, taken apart.
#[derive(Debug, PartialEq, Eq)]
enum Name<'a> {
    /// An image's identity for the engine.
    Id(String),
    /// A content in a repository.
    Digest { repository: &'a str, digest: &'a str },
    /// What is called so now.
    Tag { repository: &'a str, tag: &'a str },
}

impl Images {
    /// What a name means here: the image's identity for the engine, and what a person should know, if
    /// anything. With `pull` the registry is asked first, and where that does not help, what this node has
    /// is meant. What is named by its content is never asked for while it is here.
    ///
    /// # Errors
    /// [`FindError`].
    pub async fn find(&self, reference: &str, pull: bool) -> Result<(String, Option<String>), FindError> {
        let name = parse(reference).ok_or_else(|| FindError::NotAName(reference.to_owned()))?;
        let (repository, tag, is_fixed) = match &name {
            Name::Id(id) => {
                let found = self.local(id).await?.map(|id| (id, None));
                return found.ok_or_else(|| not_found(reference, "this node does not have it"));
            }
            Name::Digest { repository, digest } => (*repository, *digest, true),
            Name::Tag { repository, tag } => (*repository, *tag, false),
        };
        let local = self.local(reference).await?;
        match (local, pull) {
            (Some(id), pull) if is_fixed || !pull => Ok((id, None)),
            (None, false) => Err(not_found(
                reference,
                "this node does not have it, and its registry was not asked: pull it, or allow it to be pulled",
            )),
            (local, _) => match self.pull(repository, tag).await? {
                Ok(()) => match self.local(reference).await? {
                    Some(id) => Ok((id, None)),
                    None => Err(not_found(reference, "it was pulled and is not here any more")),
                },
                Err(why) => match local {
                    Some(id) => {
                        let warning = format!(
                            "{reference} could not be pulled ({why}): the image that this node has under \
                             that name is used, {id}"
                        );
                        Ok((id, Some(warning)))
                    }
                    None => Err(not_found(
                        reference,
                        &format!("this node does not have it, and it could not be pulled ({why})"),
                    )),
                },
            },
        }
    }

    /// The identity of an image that is here.
    async fn local(&self, name: &str) -> Result<Option<String>, EngineError> {
        Ok(self.inspect(name).await?.and_then(|found| found.id).filter(|id| is_image_id(id)))
    }

    /// Asks the registry; the inner error says why that did not help.
    async fn pull(&self, repository: &str, tag: &str) -> Result<Result<(), String>, EngineError> {
        let options = CreateImageOptions {
            from_image: Some(repository.to_owned()),
            tag: Some(tag.to_owned()),
            ..CreateImageOptions::default()
        };
        // What is not needed any more makes room first.
        if let Err(error) = self.sweep(&self.store.known()).await {
            tracing::warn!(%error, "old images are not removed");
        }
        let docker = patient(&self.engine).await?;
        let mut progress = docker.create_image(Some(options), None, None);
        loop {
            match timeout(NO_PROGRESS, progress.next()).await {
                Ok(None) => return Ok(Ok(())),
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(error))) => {
                    return match meaning(&self.engine, error) {
                        error if is_away(&error) => Err(error),
                        EngineError::Missing(why)
                        | EngineError::Conflict(why)
                        | EngineError::Refused(why) => Ok(Err(why)),
                        other => Ok(Err(other.to_string())),
                    };
                }
                Err(_) => {
                    self.engine.ping().await?;
                    return Ok(Err(format!("the registry did not answer for {}s", NO_PROGRESS.as_secs())));
                }
            }
        }
    }
}

fn not_found(reference: &str, why: &str) -> FindError {
    FindError::NotFound(format!("there is no image {reference}: {why}"))
}

fn parse(reference: &str) -> Option<Name<'_>> {
    if reference.len() > NAME {
        return None;
    }
    if is_digest(reference) {
        return Some(Name::Id(format!("sha256:{reference}")));
    }
    if is_image_id(reference) {
        return Some(Name::Id(reference.to_owned()));
    }
    if let Some((name, digest)) = reference.split_once('@') {
        let repository = split_tag(name).map_or(name, |(repository, _)| repository);
        return (is_repository(repository) && is_image_id(digest))
            .then_some(Name::Digest { repository, digest });
    }
    let (repository, tag) = split_tag(reference).unwrap_or((reference, "latest"));
    // It would be half of an identity.
    if repository == "sha256" {
        return None;
    }
    (is_repository(repository) && is_tag(tag)).then_some(Name::Tag { repository, tag })
}

/// A colon before the last slash is that of a port.
fn split_tag(name: &str) -> Option<(&str, &str)> {
    name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))
}

fn is_tag(tag: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (1..=128).contains(&tag.len()) && tag.bytes().all(is_allowed) && !tag.starts_with(['.', '-'])
}

/// Nothing that would be another path of the engine's interface.
fn is_repository(repository: &str) -> bool {
    let has_host = repository.contains('/');
    repository.split('/').enumerate().all(|(place, part)| {
        let is_host = has_host && place == 0;
        let is_allowed = |b: u8| {
            b.is_ascii_lowercase()
                || b.is_ascii_digit()
                || matches!(b, b'_' | b'.' | b'-')
                || (is_host && (b.is_ascii_uppercase() || b == b':'))
        };
        part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.bytes().all(is_allowed)
    })
}

#[cfg(test)]
mod tests;
