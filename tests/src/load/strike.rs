//! Faults of which a loss is part: who may lose what, and until when. Everything else that fails has failed.

use std::time::Duration;

use super::shot::Shot;
use super::{Cause, Kind};

/// How long after a fault a request that it took is seen to be lost, at most.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How long an edge goes on sending over a link that is silent, and a little.
const NOTICED: Duration = Duration::from_secs(3);

/// How long it waits for what it has sent there, and a little.
const SILENCE: Duration = Duration::from_secs(9);

/// What a fault destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Struck {
    /// Instances: with them went what they were answering.
    Instances,
    /// The edge of this name: with it went its clients' connections, and what other edges had sent to it. Until it
    /// answers again, nobody can connect to it.
    Edge(String),
    /// The links between an edge and the others: what cannot be sent a second time may be lost on them, until the edges
    /// notice that they are silent.
    Links,
}

/// A fault, in times since the load began.
#[derive(Clone, Debug)]
pub(super) struct Strike {
    pub(super) struck: Struck,
    pub(super) begun: Duration,
    /// When all that it destroys was destroyed.
    pub(super) over: Duration,
    /// When everything was there again.
    pub(super) back: Duration,
}

impl Strike {
    /// Whether it took a request that failed: that was under way then, and was lost at once. A request that is sent
    /// later, hangs, or is answered wrongly has no such excuse.
    pub(super) fn took(&self, shot: &Shot) -> bool {
        let Some(cause) = shot.miss().map(|miss| miss.cause) else { return false };
        let broken = matches!(cause, Cause::Reset | Cause::Platform | Cause::Cut);
        let end = shot.at + shot.latency;
        let in_time = |last_sent: Duration, last_seen: Duration| {
            shot.sent <= last_sent && end >= self.begun && end <= last_seen
        };
        match &self.struck {
            Struck::Instances => broken && in_time(self.over, self.over + AT_ONCE),
            Struck::Edge(name) if *name == shot.edge => {
                matches!(cause, Cause::Connect | Cause::Reset | Cause::Cut)
                    && in_time(self.back, self.back + AT_ONCE)
            }
            Struck::Edge(_) => broken && sent_once(shot) && in_time(self.over, self.over + AT_ONCE),
            Struck::Links => {
                let last_sent = self.back.min(self.begun + NOTICED);
                // What is open stays on its link, and is slow to go on; clients of these two do not wait for long.
                let stalled = matches!(
                    (shot.kind, cause),
                    (Kind::Events, Cause::Body) | (Kind::WebSocket, Cause::Timeout)
                );
                (stalled && in_time(last_sent, end))
                    || (broken && sent_once(shot) && in_time(last_sent, shot.sent.max(self.begun) + SILENCE))
            }
        }
    }
}

/// Whether an edge must not send it a second time, or may have begun its answer: the others are sent again.
fn sent_once(shot: &Shot) -> bool {
    match shot.kind {
        Kind::Fresh | Kind::KeepAlive | Kind::Slow => false,
        Kind::Http2 => shot.number % 2 == 1,
        Kind::Post
        | Kind::Chunked
        | Kind::Download
        | Kind::Upload
        | Kind::WebSocket
        | Kind::Events
        | Kind::Count => true,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::shot::{Ending, Miss, Shot};
    use super::super::{Cause, Kind};
    use super::{Strike, Struck};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// A request through `edge` from `sent` to `end`.
    fn shot(edge: &str, kind: Kind, sent: u64, end: u64, cause: Cause) -> Shot {
        Shot {
            number: 1,
            kind,
            edge: edge.to_owned(),
            at: ms(sent),
            sent: ms(sent),
            latency: ms(end - sent),
            ending: Ending::Failed(Miss::new(cause, "")),
        }
    }

    #[test]
    fn only_what_a_fault_must_take_is_excused() {
        let strike = |struck| Strike { struck, begun: ms(10_000), over: ms(10_010), back: ms(10_500) };
        let edge = strike(Struck::Edge("n1".to_owned()));
        let instances = strike(Struck::Instances);
        let links = strike(Struck::Links);
        let long = Strike { back: ms(16_000), ..strike(Struck::Links) };
        for (what, strike, shot, taken) in [
            ("it refuses", &edge, shot("n1", Kind::Fresh, 10_400, 10_401, Cause::Connect), true),
            ("it refuses again", &edge, shot("n1", Kind::Fresh, 10_600, 10_601, Cause::Connect), false),
            ("it answers itself", &edge, shot("n1", Kind::Fresh, 10_400, 10_501, Cause::Platform), false),
            ("it was in the middle", &edge, shot("n1", Kind::Slow, 8_000, 10_005, Cause::Reset), true),
            ("it had ended", &edge, shot("n1", Kind::Slow, 8_000, 9_900, Cause::Reset), false),
            ("forwarded", &edge, shot("n2", Kind::Post, 9_990, 10_020, Cause::Platform), true),
            ("forwarded afterwards", &edge, shot("n2", Kind::Post, 10_100, 10_120, Cause::Platform), false),
            ("can be repeated", &edge, shot("n2", Kind::Fresh, 9_990, 10_020, Cause::Platform), false),
            ("another refuses", &edge, shot("n2", Kind::Post, 9_990, 10_020, Cause::Connect), false),
            ("in an instance", &instances, shot("n2", Kind::Fresh, 9_990, 10_020, Cause::Platform), true),
            ("hangs", &instances, shot("n2", Kind::Fresh, 9_990, 10_020, Cause::Timeout), false),
            ("over the link", &links, shot("n3", Kind::Upload, 10_200, 18_300, Cause::Platform), true),
            ("over the link, again", &links, shot("n3", Kind::Slow, 10_200, 18_300, Cause::Platform), false),
            ("before it is noticed", &long, shot("n3", Kind::Upload, 12_500, 20_000, Cause::Platform), true),
            ("after it is noticed", &long, shot("n3", Kind::Upload, 13_500, 20_000, Cause::Platform), false),
            ("a stream stalls", &links, shot("n3", Kind::Events, 9_900, 12_900, Cause::Body), true),
            ("a socket stalls", &links, shot("n3", Kind::WebSocket, 9_900, 22_900, Cause::Timeout), true),
            ("a request hangs", &links, shot("n3", Kind::Post, 9_900, 19_900, Cause::Timeout), false),
            ("another answer is wrong", &links, shot("n3", Kind::Post, 9_900, 12_900, Cause::Body), false),
            ("the link is there", &links, shot("n3", Kind::Upload, 10_600, 10_700, Cause::Platform), false),
        ] {
            assert_eq!(strike.took(&shot), taken, "{what}");
        }
    }
}
