//! Emptying a machine, and following that until nothing is left on it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use temps_core::text;
use temps_wire::client::Client;
use temps_wire::machine;
use temps_wire::proto::{DrainNodeRequest, GetNodeRequest, LeftOnNode, Node, NodeDetail};
use tokio::time::{Instant, sleep};

use super::super::Desk;
use crate::exit::{Code, Failure};
use crate::json::left as left_json;
use crate::screen::{Screen, escape};
use crate::watch::interrupted;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// After so long without news, what is left is told again.
const STILL: Duration = Duration::from_secs(15);

/// How it is waited for.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Waiting {
    /// Return as soon as the cluster has begun
    #[arg(long)]
    detach: bool,
    /// How long to wait; the draining goes on afterwards
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = super::super::duration)]
    timeout: Duration,
}

pub(super) async fn drain(desk: &mut Desk, node: &Node, waiting: Waiting) -> Result<Code, Failure> {
    let client = desk.client()?;
    let request = DrainNodeRequest { node: node.id };
    client.call(|mut api| async move { api.drain_node(request).await }).await?;
    let name = escape(&node.name);
    if waiting.detach {
        if desk.screen.is_json() {
            desk.screen.object(&json!({ "node": node.name, "draining": true, "detached": true }))?;
        } else {
            desk.screen.say(&format!("{name} is being drained."))?;
            desk.screen.note(&format!("Follow it with  temps nodes drain {name}"));
        }
        return Ok(Code::Live);
    }
    let mut told = Told::default();
    let followed = tokio::select! {
        biased;
        () = interrupted() => Err(go_on(Failure::new(Code::Interrupted, format!("detached; {name} is drained all the same")), &name)),
        followed = follow(&client, &mut desk.screen, node.id, waiting.timeout, &mut told) => followed,
    };
    if desk.screen.is_json() && !matches!(&followed, Err(failure) if failure.code == Code::Unreachable) {
        let left: Vec<Value> = told.left.iter().map(left_json).collect();
        desk.screen.object(&json!({ "node": node.name, "drained": followed.is_ok(), "left": left }))?;
    }
    let detail = followed?;
    if !desk.screen.is_json() {
        let lost = detail.node.is_some_and(|n| n.status == "lost");
        let and = if lost { ", which is lost: what ran there was replaced" } else { "" };
        desk.screen.say(&format!("Nothing is left on {name}{and}."))?;
        desk.screen.note(&format!("Remove it with  temps nodes rm {name}"));
        desk.screen.note(&format!("Take it back with  temps nodes uncordon {name}"));
    }
    Ok(Code::Live)
}

/// What was told of what is left.
#[derive(Debug, Default)]
struct Told {
    left: Vec<LeftOnNode>,
    lines: BTreeMap<String, String>,
    at: Option<Instant>,
}

async fn follow(
    client: &Client,
    screen: &mut Screen,
    node: u64,
    timeout: Duration,
    told: &mut Told,
) -> Result<NodeDetail, Failure> {
    let until = Instant::now().checked_add(timeout);
    loop {
        let request = GetNodeRequest { node };
        let detail = client.call(|mut api| async move { api.get_node(request).await }).await?;
        told.left.clone_from(&detail.left);
        told.news(screen);
        let known = detail.node.clone().unwrap_or_default();
        let name = escape(&known.name);
        if !known.draining {
            return Err(Failure::new(
                Code::Conflict,
                format!("{name} was uncordoned, so it is drained no longer"),
            ));
        }
        if detail.left.is_empty() {
            return Ok(detail);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            let after = text::duration(millis);
            let mut failure =
                Failure::new(Code::TimedOut, format!("{name} is not empty after {after}; it is drained on"));
            for left in &detail.left {
                failure = failure.help(format!("{}: {}", called(left), escape(&left.why)));
            }
            return Err(go_on(failure, &name));
        }
        sleep(LOOK).await;
    }
}

impl Told {
    /// Tells what has changed, and after a while without a change what is left.
    fn news(&mut self, screen: &mut Screen) {
        let now: BTreeMap<String, String> =
            self.left.iter().map(|left| (called(left), escape(&left.why))).collect();
        let silent = self.at.is_none_or(|at| at.elapsed() >= STILL);
        for (what, why) in &now {
            if silent || self.lines.get(what) != Some(why) {
                let stuck = self.left.iter().any(|left| left.stuck && called(left) == *what);
                let line = format!("{what}: {why}");
                if stuck {
                    screen.warn(&line)
                } else {
                    screen.note(&line)
                }
                self.at = Some(Instant::now());
            }
        }
        for what in self.lines.keys().filter(|what| !now.contains_key(*what)) {
            screen.note(&format!("{what}: gone"));
            self.at = Some(Instant::now());
        }
        self.lines = now;
    }
}

/// `i2 (web of shop, production)`.
fn called(left: &LeftOnNode) -> String {
    escape(&machine::left(left))
}

fn go_on(failure: Failure, name: &str) -> Failure {
    failure
        .help(format!("follow it with  temps nodes drain {name}"))
        .help(format!("take the node back with  temps nodes uncordon {name}"))
}
