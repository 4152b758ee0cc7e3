//! Following a deployment from node to node.

use std::time::{Duration, Instant};

use futures_util::stream::{BoxStream, StreamExt, unfold};
use tonic::Streaming;

use super::error::Failure;
use super::{Client, ClientError};
use crate::proto::{Event, EventId, WatchDeploymentRequest};

/// Time before a lost stream is opened again.
const PAUSE: Duration = Duration::from_millis(200);

struct Watch {
    client: Client,
    number: u64,
    /// The last event that was given out.
    after: Option<EventId>,
    stream: Option<Streaming<Event>>,
    /// Since when nothing new arrived although it was tried.
    stuck: Option<Instant>,
    over: bool,
}

impl Client {
    /// The events of a deployment after `after`, each once and in order, until the deployment has
    /// ended. Where its node is lost, it goes on from another; an error is the last item, and the
    /// caller may begin again after the last event that it saw.
    #[must_use]
    pub fn watch_deployment(
        &self,
        number: u64,
        after: Option<EventId>,
    ) -> BoxStream<'static, Result<Event, ClientError>> {
        let watch = Watch { client: self.clone(), number, after, stream: None, stuck: None, over: false };
        unfold(watch, |mut watch| async {
            let item = watch.next().await?;
            watch.over = item.is_err();
            Some((item, watch))
        })
        .boxed()
    }
}

impl Watch {
    async fn next(&mut self) -> Option<Result<Event, ClientError>> {
        if self.over {
            return None;
        }
        loop {
            let message = match self.opened().await {
                Ok(stream) => stream.message().await,
                Err(error) => return Some(Err(error)),
            };
            match message.map_err(Failure::from) {
                Ok(Some(event)) => {
                    if place(event.id) > self.after.map(|id| (id.index, id.place)) {
                        self.after = event.id;
                        self.stuck = None;
                        return Some(Ok(event));
                    }
                }
                Ok(None) => return None,
                Err(Failure::Final(error)) => return Some(Err(error)),
                Err(failure) => {
                    self.stream = None;
                    if self.stuck.get_or_insert_with(Instant::now).elapsed() > self.client.patience {
                        return Some(Err(failure.into_error()));
                    }
                    self.client.turn_away();
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn opened(&mut self) -> Result<&mut Streaming<Event>, ClientError> {
        if self.stream.is_none() {
            let request = WatchDeploymentRequest { number: self.number, after: self.after };
            let stream =
                self.client.call(|mut api| async move { api.watch_deployment(request).await }).await?;
            self.stream = Some(stream);
        }
        Ok(self.stream.as_mut().expect("it was just opened"))
    }
}

fn place(id: Option<EventId>) -> Option<(u64, u32)> {
    id.map(|id| (id.index, id.place))
}
