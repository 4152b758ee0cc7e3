//! What the instances of a deployment are doing, told from its events alone.

use std::time::{Duration, Instant};

use temps_core::text;
use temps_wire::proto::Event;

use crate::timeline;

/// While instances are replaced.
const BEGUN: &str = "replacing instances";
/// What may come before that.
const BEFORE: [&str; 4] =
    ["waiting to begin", "building the image", "storing the image", "running the release command"];

/// The instances that something is happening to, in the order in which they appeared.
#[derive(Debug)]
pub(super) struct Board {
    phase: &'static str,
    since: Instant,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    instance: String,
    place: String,
    state: &'static str,
    since: Instant,
}

impl Board {
    pub(super) fn new(now: Instant) -> Self {
        Self { phase: "waiting to begin", since: now, rows: Vec::new() }
    }

    /// Takes in an event that was seen at `now`.
    pub(super) fn apply(&mut self, event: &Event, now: Instant) {
        let state = match event.kind.as_str() {
            "starting" => "starting",
            "healthy" => "healthy",
            "admitted" => "serving",
            "unhealthy" => "unhealthy",
            "draining" => "draining",
            "drained" | "drain_timed_out" => "stopping",
            "removed" | "crashed" => {
                self.rows.retain(|row| row.instance != event.instance);
                return;
            }
            "building" => return self.enter("building the image", now),
            "built" => return self.enter("storing the image", now),
            "release_started" => return self.enter("running the release command", now),
            "release_done" => return self.enter(BEGUN, now),
            "watching" => return self.enter("watching the release", now),
            "reverting" => return self.enter("rolling back", now),
            _ => return,
        };
        if BEFORE.contains(&self.phase) {
            self.enter(BEGUN, now);
        }
        match self.rows.iter_mut().find(|row| row.instance == event.instance) {
            Some(row) => {
                row.state = state;
                row.since = now;
            }
            None => self.rows.push(Row {
                instance: event.instance.clone(),
                place: timeline::place(event),
                state,
                since: now,
            }),
        }
    }

    fn enter(&mut self, phase: &'static str, now: Instant) {
        if self.phase != phase {
            self.phase = phase;
            self.since = now;
        }
    }

    /// One line for the deployment, then one for each instance.
    pub(super) fn lines(&self, now: Instant) -> Vec<String> {
        let width = self.rows.iter().map(|row| row.place.chars().count()).max().unwrap_or_default();
        let head = format!("{}  {}", self.phase, elapsed(now, self.since));
        let rows = self.rows.iter().map(|row| {
            let time = elapsed(now, row.since);
            format!("{:<width$}  {:<9}  {time}", row.place, row.state)
        });
        std::iter::once(head).chain(rows).collect()
    }

    /// All of it on one line: `still replacing instances (30s): i7 on n2 starting (17s)`.
    pub(super) fn heartbeat(&self, now: Instant) -> String {
        let head = format!("still {} ({})", self.phase, elapsed(now, self.since));
        let busy: Vec<String> = self
            .rows
            .iter()
            .filter(|row| row.state != "serving")
            .map(|row| format!("{} {} ({})", row.place, row.state, elapsed(now, row.since)))
            .collect();
        if busy.is_empty() { head } else { format!("{head}: {}", busy.join(", ")) }
    }
}

/// Whole seconds, so that a line does not flicker.
fn elapsed(now: Instant, since: Instant) -> String {
    let seconds = Duration::from_secs(now.saturating_duration_since(since).as_secs());
    match u64::try_from(seconds.as_millis()) {
        Ok(0) | Err(_) => "0s".to_owned(),
        Ok(millis) => text::duration(millis),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use temps_wire::proto::Event;

    use super::Board;

    fn event(kind: &str, instance: &str) -> Event {
        Event {
            kind: kind.to_owned(),
            instance: instance.to_owned(),
            node: "n2".to_owned(),
            ..Event::default()
        }
    }

    #[test]
    fn one_line_for_each_instance_that_something_happens_to() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut board = Board::new(start);
        assert_eq!(board.lines(at(4)), ["waiting to begin  4s"]);
        assert_eq!(board.heartbeat(at(15)), "still waiting to begin (15s)");
        board.apply(&event("accepted", ""), at(5));
        board.apply(&event("starting", "i10"), at(10));
        assert_eq!(board.heartbeat(at(25)), "still replacing instances (15s): i10 on n2 starting (15s)");
        board.apply(&event("healthy", "i10"), at(30));
        board.apply(&event("admitted", "i10"), at(31));
        board.apply(&event("draining", "i3"), at(31));
        assert_eq!(
            board.lines(at(40)),
            ["replacing instances  30s", "i10 on n2  serving    9s", "i3 on n2   draining   9s"]
        );
        assert_eq!(board.heartbeat(at(46)), "still replacing instances (36s): i3 on n2 draining (15s)");
        board.apply(&event("drained", "i3"), at(41));
        board.apply(&event("removed", "i3"), at(42));
        board.apply(&event("watching", ""), at(43));
        assert_eq!(board.lines(at(45)), ["watching the release  2s", "i10 on n2  serving    14s"]);
        board.apply(&event("crashed", "i10"), at(50));
        board.apply(&event("reverting", ""), at(50));
        assert_eq!(board.lines(at(163)), ["rolling back  1m53s"]);
    }

    #[test]
    fn what_comes_before_instances_is_told() {
        let start = Instant::now();
        let mut board = Board::new(start);
        for (kind, expected) in [
            ("building", "building the image  0s"),
            ("built", "storing the image  0s"),
            ("release_started", "running the release command  0s"),
            ("release_done", "replacing instances  0s"),
        ] {
            board.apply(&event(kind, ""), start);
            assert_eq!(board.lines(start), [expected]);
        }
        board.apply(&event("building", ""), start);
        board.apply(&event("starting", "i7"), start);
        assert_eq!(board.lines(start)[0], "replacing instances  0s");
    }

    #[test]
    fn hostile_names_are_inert() {
        let mut board = Board::new(Instant::now());
        board.apply(&event("starting", "i1\x1b[2J"), Instant::now());
        assert!(board.lines(Instant::now())[1].starts_with("i1\\x1b[2J on n2"));
    }
}
