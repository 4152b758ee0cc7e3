//! Removing a machine for good.

use serde_json::json;
use temps_wire::machine;
use temps_wire::proto::{Node, RemoveNodeRequest};

use super::super::Desk;
use crate::exit::{Code, Failure};
use crate::screen::escape;
use crate::settings::Consent;

pub(super) async fn remove(
    desk: &mut Desk,
    node: &Node,
    force: bool,
    consent: Consent,
) -> Result<Code, Failure> {
    let agreed = desk.settings.agreed(consent);
    let client = desk.client()?;
    let name = escape(&node.name);
    desk.screen.confirm(&question(node, force), agreed)?;
    let request = RemoveNodeRequest { node: node.id, force };
    let changed = client.call(|mut api| async move { api.remove_node(request).await }).await?;
    if desk.screen.is_json() {
        desk.screen.object(&json!({ "node": node.name, "removed": true, "no_change": changed.no_change }))?;
        return Ok(Code::Live);
    }
    desk.screen.say(&format!("{name} is removed."))?;
    desk.screen.note("Its server ends by itself. The machine can join again, with a new data directory.");
    Ok(Code::Live)
}

fn question(node: &Node, force: bool) -> String {
    let data = if force { machine::FORCED } else { "" };
    format!("{}{data}", escape(&machine::removal(node)))
}

#[cfg(test)]
mod tests {
    use temps_wire::proto::Node;

    use super::question;

    #[test]
    fn the_question_says_what_it_means() {
        let node = Node { name: "n2".to_owned(), status: "up".to_owned(), ..Node::default() };
        assert_eq!(question(&node, false), "Remove n2 from the cluster for good?");
        assert_eq!(
            question(&Node { status: "lost".to_owned(), ..node }, true),
            "Remove n2 from the cluster for good? Should it come back, what it runs ends. Data that only it has is lost \
             to the cluster."
        );
    }
}
