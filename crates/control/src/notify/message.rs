//! What a notice looks like where it arrives: pure.

use jiff::Timestamp;
use serde_json::{Value, json};
use temps_core::model::{ChannelId, EventId, Notice};

/// The longest text for Slack, in characters: it shortens longer ones itself, in the middle.
const SLACK_MAX: usize = 3_500;

/// A notice on its way to one channel.
pub(super) struct Message<'a> {
    pub(super) notice: &'a Notice,
    /// The same however often, and by whomever, it is sent.
    pub(super) id: String,
    /// The domain of the cluster.
    pub(super) cluster: &'a str,
}

/// `n120.0-ch3-1a2b3c4d`: which event, to whom, of which cluster.
pub(super) fn id(event: EventId, channel: ChannelId, cluster: &str) -> String {
    let cluster: String = cluster.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    format!("n{}.{}-{channel}-{}", event.index, event.place, cluster.to_ascii_lowercase())
}

impl Message<'_> {
    /// Everything that it says.
    pub(super) fn text(&self) -> String {
        let mut text = self.notice.title.clone();
        for line in &self.notice.lines {
            text.push('\n');
            text.push_str(line);
        }
        text
    }

    /// For an incoming webhook of Slack.
    pub(super) fn slack(&self, channel: Option<&str>) -> Value {
        let text: String = self.text().chars().take(SLACK_MAX).collect();
        // All that its markup needs escaped.
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let mut body = json!({ "text": text, "unfurl_links": false });
        if let Some(channel) = channel {
            body["channel"] = json!(channel);
        }
        body
    }

    /// For programs. The names of the fields are stable.
    pub(super) fn webhook(&self) -> Value {
        let named = |name: &str| if name.is_empty() { Value::Null } else { json!(name) };
        let notice = self.notice;
        let at = i64::try_from(notice.wall).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let deployment = notice.deployment.as_ref().map(|deployment| {
            json!({
                "number": deployment.number.0,
                "phase": deployment.phase.word(),
                "reason": named(&deployment.reason),
            })
        });
        json!({
            "id": self.id,
            "topic": notice.topic.word(),
            "time": at.map(|at| at.to_string()),
            "cluster": self.cluster,
            "project": named(&notice.project),
            "environment": named(&notice.environment),
            "deployment": deployment,
            "text": notice.title,
            "lines": notice.lines,
        })
    }

    /// The subject of a mail.
    pub(super) fn subject(&self) -> String {
        let title: String = self.notice.title.trim_end_matches('.').chars().take(150).collect();
        format!("[temps] {title}")
    }

    /// The text of a mail.
    pub(super) fn mail(&self) -> String {
        format!("{}\n\n-- \nTemps, cluster {}, notice {}\n", self.text(), self.cluster, self.id)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use temps_core::model::{ChannelId, DeploymentId, EventId, Notice, Outcome, Phase, Topic};

    use super::{Message, id};

    fn notice() -> Notice {
        Notice {
            topic: Topic::RolledBack,
            wall: 1_770_906_662_000,
            at: 5,
            project: "shop".to_owned(),
            environment: "production".to_owned(),
            deployment: Some(Outcome {
                number: DeploymentId(42),
                phase: Phase::RolledBack,
                reason: "exit <code> 3".to_owned(),
            }),
            title: "Deployment #42 of shop (production) failed & was rolled back to r6.".to_owned(),
            lines: vec!["Why: exit <code> 3".to_owned()],
        }
    }

    #[test]
    fn each_receiver_gets_its_form() {
        let notice = notice();
        let id = id(EventId { index: 120, place: 1 }, ChannelId(3), "1A-2b_3c4d5e6f");
        assert_eq!(id, "n120.1-ch3-1a2b3c4d");
        let message = Message { notice: &notice, id: id.clone(), cluster: "example.com" };
        assert_eq!(
            message.slack(Some("#deploys")),
            json!({
                "text": "Deployment #42 of shop (production) failed &amp; was rolled back to r6.\nWhy: exit &lt;code&gt; 3",
                "unfurl_links": false,
                "channel": "#deploys",
            })
        );
        assert_eq!(message.slack(None).get("channel"), None);
        assert_eq!(
            message.webhook(),
            json!({
                "id": id,
                "topic": "rolled_back",
                "time": "2026-02-12T14:31:02Z",
                "cluster": "example.com",
                "project": "shop",
                "environment": "production",
                "deployment": { "number": 42, "phase": "rolled_back", "reason": "exit <code> 3" },
                "text": "Deployment #42 of shop (production) failed & was rolled back to r6.",
                "lines": ["Why: exit <code> 3"],
            })
        );
        assert_eq!(
            message.subject(),
            "[temps] Deployment #42 of shop (production) failed & was rolled back to r6"
        );
    }
}
