//! Why an instance exists, and what became of it.

use temps_core::model::InstanceId;
use temps_core::why;
use temps_wire::proto::{ExplainInstanceRequest, InstanceStory, StoryLine};
use tonic::Status;

use crate::caller::Caller;
use crate::desk::{Answer, Desk};
use crate::views;

pub(crate) async fn explain_instance(
    desk: &Desk,
    _: Caller,
    request: ExplainInstanceRequest,
) -> Answer<InstanceStory> {
    let state = desk.fresh().await?;
    let id = InstanceId(request.instance);
    let Some(instance) = state.instances.get(&id) else {
        let was = id.0 > 0 && id.0 <= state.last.instance;
        return Err(Status::not_found(match was {
            true => format!("{id} was forgotten, as it ended long ago"),
            false => format!("there is no instance {id}"),
        }));
    };
    let line =
        |line: why::Line| StoryLine { wall_ms: line.wall, kind: line.kind.to_owned(), text: line.text };
    Ok(InstanceStory {
        instance: Some(views::instance(&state, instance)),
        lines: why::story(&state, instance).into_iter().map(line).collect(),
    })
}
