//! The machines of the cluster.

use serde_json::json;
use temps_wire::proto::{ListNodesRequest, Node};

use super::Desk;
use crate::exit::{Code, Failure};
use crate::json;
use crate::screen::Table;

/// Words behind `nodes`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Nodes {
    /// List the machines
    #[command(visible_alias = "ls")]
    List,
}

pub(super) async fn run(desk: &mut Desk, word: Nodes) -> Result<Code, Failure> {
    let Nodes::List = word;
    let nodes =
        desk.client()?.call(|mut api| async move { api.list_nodes(ListNodesRequest {}).await }).await?.nodes;
    if desk.screen.is_json() {
        desk.screen.object(&json!({ "nodes": nodes.iter().map(json::node).collect::<Vec<_>>() }))?;
    } else {
        desk.screen.say(&table(&nodes))?;
    }
    Ok(Code::Live)
}

pub(super) fn table(nodes: &[Node]) -> String {
    let mut table = Table::new(["NODE", "STATUS", "ROLE", "INSTANCES", "ENDPOINT", "EDGE", "VERSION"]);
    for n in nodes {
        let status = if n.cordoned { format!("{}, cordoned", n.status) } else { n.status.clone() };
        let role = if n.leader { "leader" } else { "" };
        let instances = n.instances.to_string();
        table.row([
            n.name.clone(),
            status,
            role.to_owned(),
            instances,
            n.control.clone(),
            n.edge_http.clone(),
            n.version.clone(),
        ]);
    }
    table.text()
}
