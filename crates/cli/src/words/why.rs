//! Why an instance exists, and what became of it.

use temps_wire::proto::{ExplainInstanceRequest, InstanceStory};

use super::Desk;
use crate::exit::{Code, Failure};
use crate::screen::{Tone, escape};
use crate::{json, timeline};

pub(super) async fn why(desk: &mut Desk, instance: u64) -> Result<Code, Failure> {
    let request = ExplainInstanceRequest { instance };
    let story = desk.client()?.call(|mut api| async move { api.explain_instance(request).await }).await?;
    if desk.screen.is_json() {
        desk.screen.object(&json::story(&story))?;
        return Ok(Code::Live);
    }
    desk.screen.say(&headline(&story))?;
    let (zone, paint) = (desk.screen.look.zone.clone(), desk.screen.look.out);
    for line in &story.lines {
        let time = paint.tone(Tone::Quiet, &timeline::clock(line.wall_ms, &zone));
        let decided = matches!(line.kind.as_str(), "started" | "withdrawn" | "stopped");
        let text = escape(&line.text);
        let text = if decided { paint.tone(Tone::Strong, &text) } else { text };
        desk.screen.say(&format!("{time}  {text}"))?;
    }
    Ok(Code::Live)
}

/// `i7  web of shop (production), release r3, on n2: serving`.
fn headline(story: &InstanceStory) -> String {
    let i = story.instance.clone().unwrap_or_default();
    let exit = if i.exit.is_empty() { String::new() } else { format!(" ({})", escape(&i.exit)) };
    format!(
        "{}  {} of {} ({}), release r{}, on {}: {}{exit}",
        escape(&i.id),
        escape(&i.process),
        escape(&i.project),
        escape(&i.environment),
        i.release,
        escape(&i.node),
        escape(&i.state),
    )
}

/// A number of an instance as it is typed: `i7` or `7`.
pub(super) fn instance_number(text: &str) -> Result<u64, String> {
    text.strip_prefix('i')
        .unwrap_or(text)
        .parse()
        .map_err(|_| "an instance is a number such as i7".to_owned())
}

#[cfg(test)]
mod tests {
    use super::instance_number;

    #[test]
    fn instances_as_they_are_typed() {
        assert_eq!(instance_number("i7"), Ok(7));
        assert_eq!(instance_number("7"), Ok(7));
        for text in ["", "i", "n7", "i-1", "ii7"] {
            assert!(instance_number(text).is_err(), "{text}");
        }
    }
}
