//! The log of a deployment's build, from the node that builds it or built it last.
//!
//! Where that node is lost while it builds, another one builds anew; who follows is told its lines next.

use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt};
use temps_core::model::{ClusterState, Deployment, DeploymentId, EventId, NodeId, NodeStatus, Phase, What};
use temps_ledger::LedgerError;
use temps_wire::proto::{BuildLinesRequest, BuildLogRequest, InstanceLogLine, LogLine};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::caller::Caller;
use crate::desk::{Answer, Desk, Lines};
use crate::reads;
use crate::refusal::unanswered;

/// Time before a node that gave no log, or no more of it, is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often the builder is asked for the rest of its log once the build is over.
const TRIES: u32 = 6;
/// How long a node may take to begin with an answer.
const ASK_WITHIN: Duration = Duration::from_secs(5);
/// Lines that wait for a slow reader.
const WAITING: usize = 256;

pub(crate) async fn build_log(
    desk: &Desk,
    caller: Caller,
    request: BuildLogRequest,
) -> Answer<Lines<LogLine>> {
    let id = DeploymentId(request.deployment);
    // One that was accepted a moment ago by another node may not have arrived here.
    let mut state = desk.ledger.state();
    if !state.deployments.contains_key(&id) {
        state = desk.fresh().await?;
    }
    let deployment = reads::deployment(&state, id)?;
    if request.follow && is_ahead(&state, deployment) {
        let (out, lines) = mpsc::channel(WAITING);
        let reader = Reader { desk: desk.clone(), id, out, tail: request.tail };
        tokio::spawn(reader.follow());
        return Ok(desk.while_permitted(&caller, ReceiverStream::new(lines).boxed()));
    }
    let Some(Builder { node, .. }) = builder(&state, deployment) else {
        return Err(Status::not_found(unbuilt(&state, deployment)));
    };
    match lines(desk, &state, id, node, Ask { follow: false, tail: request.tail }).await {
        Ok(lines) => Ok(lines.take_while(|line| std::future::ready(line.is_ok())).filter_map(told).boxed()),
        Err(why) => Err(Status::not_found(why.words(&state, node, is_ahead(&state, deployment)))),
    }
}

async fn told(line: Result<LogLine, Broken>) -> Option<Answer<LogLine>> {
    line.ok().map(Ok)
}

/// The node that builds, or built last.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Builder {
    node: NodeId,
    /// The event that tells when it was asked to; events are forgotten in time.
    asked: Option<EventId>,
}

fn builder(state: &ClusterState, deployment: &Deployment) -> Option<Builder> {
    let of_it = state.events.values().rev().filter(|event| event.deployment == Some(deployment.id));
    let mut asked = of_it.filter_map(|event| match &event.what {
        What::Building { node } => Some((*node, event.id)),
        _ => None,
    });
    match (deployment.builder, asked.next()) {
        (Some(node), asked) => {
            Some(Builder { node, asked: asked.filter(|(asked, _)| *asked == node).map(|(_, id)| id) })
        }
        (None, Some((node, id))) => Some(Builder { node, asked: Some(id) }),
        (None, None) => None,
    }
}

/// Whether its image may still be built, so that lines may follow.
fn is_ahead(state: &ClusterState, deployment: &Deployment) -> bool {
    let made = state.releases.get(&deployment.to).is_none_or(|release| release.artifact.is_some());
    !made && matches!(deployment.phase, Phase::Queued | Phase::Building)
}

/// Why there is no builder.
fn unbuilt(state: &ClusterState, deployment: &Deployment) -> String {
    let id = deployment.id;
    if is_ahead(state, deployment) {
        return format!("the build of deployment {id} has not begun yet; follow its log to wait for it");
    }
    match state.releases.get(&deployment.to).map(|release| (&release.source, &release.artifact)) {
        Some((source, _)) if source.ready().is_some() => {
            format!("deployment {id} runs a bundle as it was sent; nothing was built")
        }
        Some((_, None)) => format!("deployment {id} ended before its build began"),
        Some((_, Some(_))) => format!("nothing was built for deployment {id}: its image was there already"),
        None => format!("the release of deployment {id} is forgotten, and its build with it"),
    }
}

/// Why a node gives no lines.
#[derive(Debug)]
enum NoLines {
    /// The cluster has no such node any more.
    Removed,
    /// It answers, and has none.
    None,
    /// It does not answer, in words.
    Silent(String),
}

impl NoLines {
    fn words(&self, state: &ClusterState, node: NodeId, ahead: bool) -> String {
        let name = state.node_name(node);
        let lost = state.nodes.get(&node).is_some_and(|n| n.status == NodeStatus::Lost);
        match self {
            Self::Removed => {
                format!("it was built on {name}, which was removed from the cluster with its log")
            }
            Self::None if ahead => {
                format!("the build on {name} has not begun yet; follow its log to wait for it")
            }
            Self::None => format!("{name}, where it was built, has no log of it any more"),
            Self::Silent(_) if lost => {
                format!(
                    "its log is on {name}, where it was built, and that node is lost; ask again once it is back"
                )
            }
            Self::Silent(why) => {
                format!(
                    "its log is on {name}, where it was built, and that node does not answer: {why}; ask again later"
                )
            }
        }
    }
}

/// The way to the node was lost before the log's end.
#[derive(Debug)]
struct Broken;

type Told = BoxStream<'static, Result<LogLine, Broken>>;

#[derive(Clone, Copy)]
struct Ask {
    follow: bool,
    tail: u32,
}

async fn lines(
    desk: &Desk,
    state: &ClusterState,
    id: DeploymentId,
    node: NodeId,
    Ask { follow, tail }: Ask,
) -> Result<Told, NoLines> {
    let name = state.node_name(node);
    let shown = move |line: InstanceLogLine| LogLine {
        wall_ms: line.wall_ms,
        instance: String::new(),
        node: name.clone(),
        stream: line.stream,
        text: line.text,
    };
    if node == desk.ledger.node() {
        let lines = desk.builds.lines(id, follow, tail).ok_or(NoLines::None)?;
        return Ok(lines.map(move |line| Ok(shown(line))).boxed());
    }
    let address = state.nodes.get(&node).map(|n| n.control.clone()).ok_or(NoLines::Removed)?;
    let request = BuildLinesRequest { deployment: id.0, follow, tail };
    let mut client = desk.peers.bulk(node, &address);
    match tokio::time::timeout(ASK_WITHIN, client.build_lines(request)).await {
        Ok(Ok(answer)) => {
            let lines = answer.into_inner();
            Ok(lines.map(move |line| line.map(&shown).map_err(|_| Broken)).boxed())
        }
        Ok(Err(status)) if status.code() == Code::NotFound => Err(NoLines::None),
        Ok(Err(status)) => Err(NoLines::Silent(status.message().to_owned())),
        Err(_) => Err(NoLines::Silent(format!("no answer within {} s", ASK_WITHIN.as_secs()))),
    }
}

/// Follows a build from node to node.
struct Reader {
    desk: Desk,
    id: DeploymentId,
    out: mpsc::Sender<Answer<LogLine>>,
    /// Lines of the past that are wanted until the first line is there; afterwards none is left out.
    tail: u32,
}

/// One builder's log, and how far it was read.
struct Source {
    builder: Builder,
    shown: Shown,
    read: Read,
}

/// How far the log of a builder was read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    /// To its end.
    Whole,
    /// Not to its end: it has not begun, or the way to it was lost.
    Part,
}

/// What was passed on of one node's log, by time: a log is told from its beginning each time it is asked for.
#[derive(Clone, Copy, Default)]
struct Shown {
    /// Time of the newest line.
    at: u64,
    /// How many lines have that time.
    of_then: usize,
}

impl Shown {
    fn add(&mut self, line: &LogLine) {
        if line.wall_ms == self.at {
            self.of_then += 1;
        } else if line.wall_ms > self.at {
            *self = Self { at: line.wall_ms, of_then: 1 };
        }
    }
}

impl Reader {
    async fn follow(mut self) {
        let out = self.out.clone();
        tokio::select! {
            () = out.closed() => {}
            failed = self.builders() => if let Err(status) = failed {
                // The reader may be gone as well, and then nobody is to be told.
                let _ = out.send(Err(status)).await;
            },
        }
    }

    /// One builder after the other, until the build is over and its log was read.
    async fn builders(&mut self) -> Answer<()> {
        let mut changes = self.desk.ledger.changes();
        let mut source: Option<Source> = None;
        let mut tries = 0;
        loop {
            changes.borrow_and_update();
            let state = self.desk.ledger.state();
            let Some(deployment) = state.deployments.get(&self.id) else { return Ok(()) };
            let ahead = is_ahead(&state, deployment);
            let now = builder(&state, deployment);
            if now != source.as_ref().map(|source| source.builder) {
                source = now.map(|builder| {
                    let same = source.take().filter(|before| before.builder.node == builder.node);
                    let shown = same.map(|before| before.shown).unwrap_or_default();
                    Source { builder, shown, read: Read::Part }
                });
                tries = 0;
            }
            let pause = match &mut source {
                Some(source) if source.read == Read::Part => {
                    self.read(&state, source).await;
                    if source.read == Read::Whole {
                        continue;
                    }
                    tries += u32::from(!ahead);
                    if tries == TRIES {
                        return Err(rest_is_missing(&state, source));
                    }
                    PAUSE
                }
                _ if !ahead => return Ok(()),
                // Only the state can bring anything new.
                _ => Duration::MAX,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = changes.changed() => if changed.is_err() {
                    return Err(unanswered(&LedgerError::Closing));
                },
            }
        }
    }

    /// Passes on what one builder says and was not passed on before, until its end or until another builds.
    async fn read(&mut self, state: &ClusterState, source: &mut Source) {
        let node = source.builder.node;
        let Ok(mut lines) =
            lines(&self.desk, state, self.id, node, Ask { follow: true, tail: self.tail }).await
        else {
            return;
        };
        let before = source.shown;
        let mut of_then = 0;
        let mut changes = self.desk.ledger.changes();
        loop {
            let line = tokio::select! {
                line = lines.next() => line,
                changed = changes.changed() => {
                    if changed.is_err() || self.is_over(source.builder) {
                        return;
                    }
                    continue;
                }
            };
            match line {
                None => {
                    source.read = Read::Whole;
                    return;
                }
                Some(Err(Broken)) => return,
                Some(Ok(line)) => {
                    of_then += usize::from(line.wall_ms == before.at);
                    let known =
                        line.wall_ms < before.at || (line.wall_ms == before.at && of_then <= before.of_then);
                    if known {
                        continue;
                    }
                    source.shown.add(&line);
                    self.tail = 0;
                    if self.out.send(Ok(line)).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Whether another builder's turn has come.
    fn is_over(&self, turn: Builder) -> bool {
        let state = self.desk.ledger.state();
        state.deployments.get(&self.id).is_none_or(|d| builder(&state, d).is_some_and(|now| now != turn))
    }
}

fn rest_is_missing(state: &ClusterState, source: &Source) -> Status {
    let name = state.node_name(source.builder.node);
    Status::not_found(if source.shown.of_then == 0 {
        format!("{name}, where it was built, gives no log of it")
    } else {
        format!("{name} does not answer any more; ask it for the rest of the log later")
    })
}
