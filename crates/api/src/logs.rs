//! The logs of an environment, from every node that runs one of its instances.
//!
//! Lines of one instance come in order. Without following, lines of all are merged by time; while
//! following they come as they arrive. A node that is lost is left out until it is back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{self, BoxStream, SelectAll, StreamExt};
use temps_core::model::{ClusterState, EnvironmentId, Instance, InstanceId, NodeId, Seen};
use temps_ledger::LedgerError;
use temps_wire::proto::{InstanceLogLine, InstanceLogsRequest, LogLine, LogsRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::debug;

use crate::caller::Caller;
use crate::desk::{Answer, Desk, Lines};
use crate::limits;
use crate::reads::find;
use crate::refusal::unanswered;

/// The most lines of one node in one answer, and of an instance that appears while it is followed.
const LINES_MAX: u32 = 10_000;
/// How long a node may take to give lines that it has.
const GIVE_WITHIN: Duration = Duration::from_secs(10);
/// Time before a node whose stream broke is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// Lines that wait for a slow reader.
const WAITING: usize = 256;

pub(crate) async fn logs(desk: &Desk, caller: Caller, request: LogsRequest) -> Answer<Lines<LogLine>> {
    limits::environment(&request.project, &request.environment)?;
    let state = desk.at_hand().await.state;
    let environment = find(&state, &request.project, &request.environment)?.id;
    let wish = Wish { environment, process: request.process, tail: request.tail };
    if request.follow {
        let (out, lines) = mpsc::channel(WAITING);
        tokio::spawn(follow(desk.clone(), wish, out));
        Ok(desk.while_permitted(&caller, ReceiverStream::new(lines).boxed()))
    } else {
        Ok(stream::iter(so_far(desk, &state, &wish).await.into_iter().map(Ok)).boxed())
    }
}

struct Wish {
    environment: EnvironmentId,
    /// Empty: all.
    process: String,
    tail: u32,
}

impl Wish {
    fn includes(&self, instance: &Instance) -> bool {
        instance.environment == self.environment
            && !instance.lost
            && (self.process.is_empty() || instance.process == self.process)
    }

    /// Instances that run, and those of the newest deployment: where it failed, they tell why.
    fn of_now(&self, state: &ClusterState) -> BTreeMap<NodeId, Vec<InstanceId>> {
        let newest = state.deployments_of(self.environment).next().map(|d| d.id);
        let shown = |i: &&Instance| i.occupies() || (newest.is_some() && i.deployment == newest);
        by_node(state.instances.values().filter(|i| self.includes(i)).filter(shown))
    }

    /// Instances that run and are not followed yet. One that nobody has seen run has no log yet.
    fn new_ones(
        &self,
        state: &ClusterState,
        followed: &BTreeSet<InstanceId>,
    ) -> BTreeMap<NodeId, Vec<InstanceId>> {
        let new = |i: &&Instance| i.occupies() && i.seen != Seen::Pending && !followed.contains(&i.id);
        by_node(state.instances.values().filter(|i| self.includes(i)).filter(new))
    }
}

fn by_node<'a>(instances: impl Iterator<Item = &'a Instance>) -> BTreeMap<NodeId, Vec<InstanceId>> {
    let mut nodes = BTreeMap::<_, Vec<_>>::new();
    for instance in instances {
        nodes.entry(instance.node).or_default().push(instance.id);
    }
    nodes
}

async fn so_far(desk: &Desk, state: &ClusterState, wish: &Wish) -> Vec<LogLine> {
    let nodes = wish.of_now(state);
    let mut collected = Vec::new();
    for (node, instances) in nodes {
        // Where not all fit, those that say much leave room for those that say little.
        let each = LINES_MAX / u32::try_from(instances.len()).unwrap_or(u32::MAX).clamp(1, LINES_MAX);
        let tail = wish.tail.min(each);
        collected.push(given(desk, state, node, Ask { instances, follow: false, tail }));
    }
    let mut lines: Vec<_> = join_all(collected).await.into_iter().flatten().collect();
    lines.sort_by_key(|line| line.wall_ms);
    lines
}

/// The lines that one node has.
async fn given(desk: &Desk, state: &ClusterState, node: NodeId, ask: Ask) -> Vec<LogLine> {
    let within = tokio::time::sleep(GIVE_WITHIN);
    let source = stream::once(lines(desk, state, node, ask)).flatten();
    let kept = source.filter_map(|line| std::future::ready(line.ok())).take(LINES_MAX as usize);
    // What has arrived by then is shown, although the rest is not.
    kept.take_until(within).collect().await
}

struct Ask {
    instances: Vec<InstanceId>,
    follow: bool,
    tail: u32,
}

/// The node, or the way to it, was lost.
#[derive(Debug)]
struct Lost;

async fn lines(
    desk: &Desk,
    state: &ClusterState,
    node: NodeId,
    ask: Ask,
) -> BoxStream<'static, Result<LogLine, Lost>> {
    let name = state.node_name(node);
    let shown = move |line: InstanceLogLine| LogLine {
        wall_ms: line.wall_ms,
        instance: InstanceId(line.instance).to_string(),
        node: name.clone(),
        stream: line.stream,
        text: line.text,
    };
    if node == desk.ledger.node() {
        let lines = desk.logs.lines(ask.instances, ask.follow, ask.tail);
        return lines.map(move |line| Ok(shown(line))).boxed();
    }
    let Some(address) = state.nodes.get(&node).map(|n| n.control.clone()) else {
        return stream::empty().boxed();
    };
    let request = InstanceLogsRequest {
        instances: ask.instances.iter().map(|i| i.0).collect(),
        follow: ask.follow,
        tail: ask.tail,
    };
    match desk.peers.bulk(node, &address).instance_logs(request).await {
        Ok(response) => response.into_inner().map(move |line| line.map(&shown).map_err(|_| Lost)).boxed(),
        Err(status) => {
            debug!(%node, status = status.message(), "a node gives no logs");
            stream::once(async { Err(Lost) }).boxed()
        }
    }
}

enum Heard {
    Line(LogLine),
    /// The node of these instances can be asked again.
    Again(Vec<InstanceId>),
}

async fn follow(desk: Desk, wish: Wish, out: mpsc::Sender<Answer<LogLine>>) {
    let mut changes = desk.ledger.changes();
    let mut sources = SelectAll::<BoxStream<'static, Heard>>::new();
    let mut followed = BTreeSet::new();
    let mut known = BTreeSet::new();
    let mut tail = wish.tail;
    loop {
        changes.borrow_and_update();
        let state = desk.ledger.state();
        for (node, instances) in wish.new_ones(&state, &followed) {
            followed.extend(instances.iter().copied());
            // Of one that was followed before, the lines until now were shown.
            let (old, new): (Vec<_>, Vec<_>) = instances.into_iter().partition(|i| known.contains(i));
            known.extend(new.iter().copied());
            for (instances, tail) in [(new, tail), (old, 0)] {
                if !instances.is_empty() {
                    sources.push(source(desk.clone(), node, Ask { instances, follow: true, tail }));
                }
            }
        }
        tail = LINES_MAX;
        tokio::select! {
            () = out.closed() => return,
            changed = changes.changed() => if changed.is_err() {
                // The reader may be gone as well, and then nobody is to be told.
                let _ = out.send(Err(unanswered(&LedgerError::Closing))).await;
                return;
            },
            Some(heard) = sources.next() => match heard {
                Heard::Line(line) => if out.send(Ok(line)).await.is_err() {
                    return;
                },
                Heard::Again(instances) => followed.retain(|i| !instances.contains(i)),
            },
        }
    }
}

/// The lines of some instances of a node; where it is lost, a pause and then the word to ask again.
fn source(desk: Desk, node: NodeId, ask: Ask) -> BoxStream<'static, Heard> {
    let instances = ask.instances.clone();
    let opened = async move {
        let state = desk.ledger.state();
        lines(&desk, &state, node, ask).await
    };
    stream::once(opened)
        .flatten()
        .then(move |line| {
            let instances = instances.clone();
            async move {
                match line {
                    Ok(line) => Heard::Line(line),
                    Err(Lost) => {
                        tokio::time::sleep(PAUSE).await;
                        Heard::Again(instances)
                    }
                }
            }
        })
        .boxed()
}
