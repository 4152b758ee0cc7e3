//! The machines of the cluster.

mod drain;
mod remove;

use serde_json::json;
use temps_wire::client::{Api, Client};
use temps_wire::machine::{self, free, labels, role, status};
use temps_wire::proto::{CordonNodeRequest, GetNodeRequest, ListNodesRequest, Node, UncordonNodeRequest};

use super::Desk;
use crate::exit::{Code, Failure};
use crate::screen::{Table, escape};
use crate::settings::Consent;
use crate::{json, timeline};

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
    /// Place nothing new on a machine; what runs there goes on
    Cordon {
        /// Its name, or its number such as n2
        #[arg(value_name = "NODE")]
        name: String,
    },
    /// Place instances on a machine again, after cordon or drain
    Uncordon {
        /// Its name, or its number such as n2
        #[arg(value_name = "NODE")]
        name: String,
    },
    /// Move everything that runs on a machine elsewhere, without a failed request, and place nothing new there
    #[command(after_help = DRAIN_HELP)]
    Drain {
        /// Its name, or its number such as n2
        #[arg(value_name = "NODE")]
        name: String,
        #[command(flatten)]
        waiting: drain::Waiting,
    },
    /// Remove a machine from the cluster for good: a drained one, or one that is lost
    #[command(visible_alias = "remove", after_help = REMOVE_HELP)]
    Rm {
        /// Its name, or its number such as n2
        #[arg(value_name = "NODE")]
        name: String,
        /// Although data is lost: volumes that are there, or a release that only it stores
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        consent: Consent,
    },
}

const DRAIN_HELP: &str = "Each instance is replaced elsewhere before it is withdrawn and finishes what it has begun; those with \
    order = \"stop_first\" or exclusive stop first. It is refused where something can run nowhere else.\n\n\
    Exit codes:\n  0    nothing is left\n  5    something is left when the time is up; it goes on\n  6    refused, or uncordoned meanwhile\n  130  interrupted; it goes on";

const REMOVE_HELP: &str = "A machine that is up has to be drained first. One that is lost can be removed as it is; should it come \
    back, it is refused and what it runs ends. Its name is free again, its number is not.\n\n\
    Example:\n  temps nodes drain n2 && temps nodes rm n2 -y";

pub(super) async fn run(desk: &mut Desk, word: Nodes) -> Result<Code, Failure> {
    let nodes = all(&desk.client()?).await?;
    match word {
        Nodes::List if desk.screen.is_json() => {
            desk.screen.object(&json!({ "nodes": nodes.iter().map(json::node).collect::<Vec<_>>() }))?;
            Ok(Code::Live)
        }
        Nodes::List => {
            desk.screen.say(&table(&nodes))?;
            Ok(Code::Live)
        }
        Nodes::Show { name } => show(desk, find(&nodes, &name)?.id).await,
        Nodes::Cordon { name } => mark(desk, find(&nodes, &name)?, Mark::Cordon).await,
        Nodes::Uncordon { name } => mark(desk, find(&nodes, &name)?, Mark::Uncordon).await,
        Nodes::Drain { name, waiting } => drain::drain(desk, find(&nodes, &name)?, waiting).await,
        Nodes::Rm { name, force, consent } => {
            remove::remove(desk, find(&nodes, &name)?, force, consent).await
        }
    }
}

async fn show(desk: &mut Desk, node: u64) -> Result<Code, Failure> {
    let request = GetNodeRequest { node };
    let detail = desk.client()?.call(|mut api| async move { api.get_node(request).await }).await?;
    if desk.screen.is_json() {
        desk.screen.object(&json::node_detail(&detail))?;
        return Ok(Code::Live);
    }
    desk.screen.say(&facts(&detail.node.clone().unwrap_or_default()))?;
    for left in &detail.left {
        let what = escape(&machine::left(left));
        desk.screen.say(&format!("  Left      {what}: {}", escape(&left.why)))?;
    }
    let (zone, paint) = (desk.screen.look.zone.clone(), desk.screen.look.out);
    for event in &detail.events {
        desk.screen.say(&timeline::line(event, &zone, paint))?;
    }
    Ok(Code::Live)
}

/// How a machine is marked for placement.
#[derive(Clone, Copy, Debug)]
enum Mark {
    Cordon,
    Uncordon,
}

async fn mark(desk: &mut Desk, node: &Node, mark: Mark) -> Result<Code, Failure> {
    let id = node.id;
    let call = |mut api: Api| async move {
        match mark {
            Mark::Cordon => api.cordon_node(CordonNodeRequest { node: id }).await,
            Mark::Uncordon => api.uncordon_node(UncordonNodeRequest { node: id }).await,
        }
    };
    let changed = desk.client()?.call(call).await?;
    if desk.screen.is_json() {
        let cordoned = matches!(mark, Mark::Cordon);
        let value = json!({ "node": node.name, "cordoned": cordoned, "no_change": changed.no_change });
        desk.screen.object(&value)?;
        return Ok(Code::Live);
    }
    let name = escape(&node.name);
    desk.screen.say(&match (mark, changed.no_change) {
        (Mark::Cordon, false) => {
            format!("{name} is cordoned: nothing new is placed there, what runs goes on.")
        }
        (Mark::Cordon, true) => format!("{name} is cordoned already."),
        (Mark::Uncordon, false) => format!("{name} takes instances again; none moves back by itself."),
        (Mark::Uncordon, true) => format!("{name} is not cordoned."),
    })?;
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
    let facts = machine::facts(n);
    let lines = facts.iter().map(|(name, value)| format!("  {name:<9} {}", escape(value)));
    std::iter::once(escape(&n.name)).chain(lines).collect::<Vec<_>>().join("\n")
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
