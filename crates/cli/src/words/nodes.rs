//! The machines of the cluster.

use serde_json::json;
use temps_core::text;
use temps_wire::client::Client;
use temps_wire::proto::{ListNodesRequest, Node};

use super::Desk;
use crate::exit::{Code, Failure};
use crate::json;
use crate::screen::{Table, escape};

/// Words behind `nodes`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Nodes {
    /// List the machines
    #[command(visible_alias = "ls")]
    List,
    /// Show everything about a machine
    Show {
        /// Its name, or its number such as n2
        #[arg(value_name = "NODE")]
        name: String,
    },
}

pub(super) async fn run(desk: &mut Desk, word: Nodes) -> Result<Code, Failure> {
    let nodes = all(&desk.client()?).await?;
    match word {
        Nodes::List if desk.screen.is_json() => {
            desk.screen.object(&json!({ "nodes": nodes.iter().map(json::node).collect::<Vec<_>>() }))?;
        }
        Nodes::List => desk.screen.say(&table(&nodes))?,
        Nodes::Show { name } => {
            let node = find(&nodes, &name)?;
            if desk.screen.is_json() {
                desk.screen.object(&json::node(node))?;
            } else {
                desk.screen.say(&facts(node))?;
            }
        }
    }
    Ok(Code::Live)
}

/// All machines, as some node knows them.
pub(super) async fn all(client: &Client) -> Result<Vec<Node>, Failure> {
    Ok(client.call(|mut api| async move { api.list_nodes(ListNodesRequest {}).await }).await?.nodes)
}

fn find<'a>(nodes: &'a [Node], name: &str) -> Result<&'a Node, Failure> {
    let is_it = |node: &&Node| node.name == name || format!("n{}", node.id) == name;
    nodes.iter().find(is_it).ok_or_else(|| {
        let known: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        Failure::other(format!("there is no node \"{}\"", escape(name)))
            .help(format!("known: {}", escape(&known.join(", "))))
    })
}

pub(super) fn table(nodes: &[Node]) -> String {
    let mut table = Table::new([
        "NODE",
        "STATUS",
        "ROLE",
        "RUNTIME",
        "INSTANCES",
        "FREE",
        "LABELS",
        "ENDPOINT",
        "EDGE",
        "VERSION",
    ]);
    for n in nodes {
        table.row([
            n.name.clone(),
            status(n),
            role(n).to_owned(),
            n.runtime.clone(),
            n.instances.to_string(),
            free(n),
            labels(n),
            n.control.clone(),
            n.edge_http.clone(),
            n.version.clone(),
        ]);
    }
    let troubled = nodes.iter().filter(|node| !node.trouble.is_empty());
    let troubles = troubled.map(|node| format!("\n{}: {}", escape(&node.name), escape(&node.trouble)));
    table.text() + &troubles.collect::<String>()
}

fn facts(n: &Node) -> String {
    let rows = [
        ("Number", format!("n{}", n.id)),
        ("Status", status(n)),
        ("Role", role(n).to_owned()),
        ("Runtime", n.runtime.clone()),
        ("Instances", n.instances.to_string()),
        ("Free", free(n)),
        ("Labels", labels(n)),
        ("Trouble", n.trouble.clone()),
        ("Endpoint", n.control.clone()),
        ("Edge", n.edge_http.clone()),
        ("Version", n.version.clone()),
    ];
    let shown = rows.iter().filter(|(_, value)| !value.is_empty());
    let lines = shown.map(|(name, value)| format!("  {name:<9} {}", escape(value)));
    std::iter::once(escape(&n.name)).chain(lines).collect::<Vec<_>>().join("\n")
}

fn status(n: &Node) -> String {
    let mut words = vec![n.status.as_str()];
    if n.cordoned {
        words.push("cordoned");
    }
    if !n.trouble.is_empty() {
        words.push("trouble");
    }
    words.join(", ")
}

fn role(n: &Node) -> &'static str {
    if n.leader { "leader" } else { "" }
}

fn free(n: &Node) -> String {
    n.free_bytes.map(text::bytes).unwrap_or_default()
}

/// In one order on every call.
fn labels(n: &Node) -> String {
    let mut all: Vec<String> = n.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    all.sort();
    all.join(",")
}

#[cfg(test)]
mod tests {
    use temps_wire::proto::Node;

    use super::{facts, find, table};

    fn nodes() -> Vec<Node> {
        let good = Node {
            id: 1,
            name: "n1".to_owned(),
            status: "up".to_owned(),
            leader: true,
            control: "10.0.0.1:7443".to_owned(),
            runtime: "docker".to_owned(),
            labels: [("zone", "b"), ("disk", "ssd")].map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
            free_bytes: Some(42_000_000_000),
            instances: 3,
            ..Node::default()
        };
        let bad = Node {
            id: 2,
            name: "n2".to_owned(),
            status: "up".to_owned(),
            cordoned: true,
            trouble: "the engine does not answer\x1b[2J".to_owned(),
            ..Node::default()
        };
        vec![good, bad]
    }

    #[test]
    fn the_table_tells_what_runs_there_and_what_is_wrong() {
        assert_eq!(
            table(&nodes()),
            "\
NODE  STATUS                 ROLE    RUNTIME  INSTANCES  FREE  LABELS           ENDPOINT       EDGE  VERSION
n1    up                     leader  docker   3          42GB  disk=ssd,zone=b  10.0.0.1:7443
n2    up, cordoned, trouble                   0
n2: the engine does not answer\\x1b[2J"
        );
    }

    #[test]
    fn one_machine() {
        let nodes = nodes();
        assert_eq!(
            facts(find(&nodes, "n2").unwrap()),
            "n2\n  Number    n2\n  Status    up, cordoned, trouble\n  Instances 0\n  Trouble   the engine does not answer\\x1b[2J"
        );
        assert_eq!(find(&nodes, "n3").unwrap_err().to_string(), "there is no node \"n3\"\n  known: n1, n2");
    }
}
