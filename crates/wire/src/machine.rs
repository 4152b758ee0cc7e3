//! Machines of the cluster in the words that the command line and the dashboard share.

use temps_core::text;

use crate::proto::{LeftOnNode, Node};

/// What removing a machine means although data is lost with it, after [`removal`].
pub const FORCED: &str = " Data that only it has is lost to the cluster.";

/// What is to be said of a machine beside whether it is up, such as that it is drained.
#[must_use]
pub fn marks(n: &Node) -> Vec<&'static str> {
    let placement = match (n.drained, n.draining, n.cordoned) {
        (true, _, _) => Some("drained"),
        (false, true, _) => Some("draining"),
        (false, false, true) => Some("cordoned"),
        (false, false, false) => None,
    };
    placement.into_iter().chain((!n.trouble.is_empty()).then_some("trouble")).collect()
}

/// `up, draining, trouble`.
#[must_use]
pub fn status(n: &Node) -> String {
    let mut words = vec![n.status.as_str()];
    words.extend(marks(n));
    words.join(", ")
}

/// What it is in the replicated log; empty for one that follows.
#[must_use]
pub fn role(n: &Node) -> &'static str {
    if n.leader { "leader" } else { "" }
}

/// Space left for deployments; empty where it is not known.
#[must_use]
pub fn free(n: &Node) -> String {
    n.free_bytes.map(text::bytes).unwrap_or_default()
}

/// Its labels, in one order on every call.
#[must_use]
pub fn labels(n: &Node) -> String {
    let mut all: Vec<String> = n.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    all.sort();
    all.join(",")
}

/// Everything about a machine by name, without what is not known.
#[must_use]
pub fn facts(n: &Node) -> Vec<(&'static str, String)> {
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
    rows.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

/// What is still on a machine: `i2 (web of shop, production)`, `build (shop, production)`.
#[must_use]
pub fn left(left: &LeftOnNode) -> String {
    let of = format!("{}, {}", left.project, left.environment);
    match (left.instance.as_str(), left.state.as_str()) {
        ("", "building") => format!("build ({of})"),
        ("", _) => format!("copy ({of})"),
        (instance, _) => format!("{instance} ({} of {of})", left.process),
    }
}

/// The question before a machine is removed.
#[must_use]
pub fn removal(n: &Node) -> String {
    let returns = if n.status == "lost" { " Should it come back, what it runs ends." } else { "" };
    format!("Remove {} from the cluster for good?{returns}", n.name)
}

/// What a token to join with is good for.
#[must_use]
pub fn admits(ttl_ms: u64, uses: u32) -> String {
    let machines = if uses == 1 { "one machine".to_owned() } else { format!("{uses} machines") };
    format!("Lets {machines} join within {}", text::duration(ttl_ms))
}

#[cfg(test)]
mod tests {
    use super::{FORCED, admits, facts, left, removal, status};
    use crate::proto::{LeftOnNode, Node};

    #[test]
    fn a_machine_says_everything_that_is_so() {
        let node = Node {
            id: 2,
            status: "up".to_owned(),
            cordoned: true,
            draining: true,
            trouble: "the engine does not answer".to_owned(),
            ..Node::default()
        };
        assert_eq!(status(&node), "up, draining, trouble");
        assert_eq!(status(&Node { drained: true, ..node.clone() }), "up, drained, trouble");
        let names: Vec<_> = facts(&node).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["Number", "Status", "Instances", "Trouble"]);
    }

    #[test]
    fn what_is_left_has_a_name() {
        let of = |instance: &str, state: &str| LeftOnNode {
            instance: instance.to_owned(),
            project: "shop".to_owned(),
            environment: "production".to_owned(),
            process: "web".to_owned(),
            state: state.to_owned(),
            ..LeftOnNode::default()
        };
        assert_eq!(left(&of("i2", "serving")), "i2 (web of shop, production)");
        assert_eq!(left(&of("", "building")), "build (shop, production)");
        assert_eq!(left(&of("", "copying")), "copy (shop, production)");
    }

    #[test]
    fn questions_say_what_it_means() {
        let node = Node { name: "n2".to_owned(), status: "up".to_owned(), ..Node::default() };
        assert_eq!(removal(&node), "Remove n2 from the cluster for good?");
        let lost = Node { status: "lost".to_owned(), ..node };
        assert_eq!(
            removal(&lost) + FORCED,
            "Remove n2 from the cluster for good? Should it come back, what it runs ends. Data that only it has is lost \
             to the cluster."
        );
        assert_eq!(admits(3_600_000, 1), "Lets one machine join within 1h");
        assert_eq!(admits(1_800_000, 3), "Lets 3 machines join within 30m");
    }
}
