//! An image by name: what the name means is asked once, and that is what runs.

use temps_core::model::{NodeId, Source};
use temps_wire::client::Client;
use temps_wire::proto::{ResolveImageRequest, ResolveImageResponse};

use super::Desk;
use crate::exit::Failure;
use crate::screen::escape;

/// The longest name.
const NAME_MAX: usize = 512;

/// Asks the cluster what a name means now.
pub(super) async fn ask(client: &Client, reference: &str) -> Result<ResolveImageResponse, Failure> {
    check(reference)?;
    let answer = client
        .call(|mut api| {
            let request = ResolveImageRequest { reference: reference.to_owned() };
            async move { api.resolve_image(request).await }
        })
        .await?;
    Ok(answer)
}

/// The image that a name means now.
pub(super) async fn resolve(desk: &mut Desk, client: &Client, reference: &str) -> Result<Source, Failure> {
    let answer = ask(client, reference).await?;
    if !answer.warning.is_empty() {
        desk.screen.warn(&escape(&answer.warning));
    }
    desk.screen.note(&format!("{reference} is {} on {}", escape(&answer.id), escape(&answer.node_name)));
    Ok(Source::Image { reference: reference.to_owned(), id: answer.id, node: NodeId(answer.node) })
}

/// What cannot be a name is refused here; what it names is known to the cluster.
fn check(reference: &str) -> Result<(), Failure> {
    let fits = reference.bytes().all(|b| b.is_ascii_graphic()) && !reference.starts_with('-');
    if reference.is_empty() || reference.len() > NAME_MAX || !fits {
        return Err(Failure::usage(format!("\"{}\" is not the name of an image", escape(reference)))
            .help("write for example --image registry.example.com/my-app:1.2"));
    }
    Ok(())
}
