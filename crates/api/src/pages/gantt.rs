//! What each instance did during a deployment, as bars: read off the same events that the timeline shows.

use std::collections::BTreeMap;

use temps_core::text;
use temps_wire::proto::{Event, Instance};

use super::words;

/// In units of the drawing: where bars begin, how long they get, and the height of a row.
const LEFT: u64 = 130;
const WIDTH: u64 = 730;
const ROW: u64 = 24;
/// Room for the words at moments of the whole deployment.
const HEAD: u64 = 16;
/// A letter's width.
const LETTER: u64 = 7;
/// Parts into which the time is divided.
const PARTS: u64 = 4;

/// The drawing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gantt {
    pub(super) rows: Vec<Row>,
    /// Moments of the whole deployment.
    pub(super) marks: Vec<Moment>,
    /// Where the time is told.
    pub(super) axis: Vec<Mark>,
    pub(super) width: u64,
    pub(super) height: u64,
    /// From where and until where lines go down.
    pub(super) head: u64,
    pub(super) foot: u64,
}

/// One instance.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) y: u64,
    pub(super) bars: Vec<Bar>,
    /// A tick for each health check until it was ready. They are known by number, so they are drawn evenly.
    pub(super) ticks: Vec<u64>,
}

/// A time in which an instance did one thing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bar {
    pub(super) x: u64,
    pub(super) width: u64,
    pub(super) what: What,
    pub(super) told: String,
}

/// What an instance did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Starting,
    Serving,
    Draining,
    /// By itself.
    Ended,
}

impl What {
    /// The class of the drawing, and the word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
            Self::Ended => "ended",
        }
    }
}

/// A moment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) x: u64,
    pub(super) told: String,
}

/// A moment of the whole deployment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) x: u64,
    /// A word for it and where that begins; nothing where there is no room.
    pub(super) label: Option<(u64, String)>,
    /// How long after the beginning.
    pub(super) after: String,
    pub(super) told: String,
}

/// A time in which one thing was done, and the checks that it took.
struct Spell {
    from: u64,
    to: u64,
    what: What,
    checks: u32,
    end: End,
}

/// Why it did no more of that.
#[derive(Clone, Copy)]
enum End {
    /// It did something else, or nothing is known of what came then.
    Next,
    /// Its node was lost: nobody knows what it did then.
    Lost,
}

impl Gantt {
    /// `now`: what is not over goes on to there, in Unix milliseconds; 0 where everything is over.
    pub(super) fn of(events: &[Event], instances: &[Instance], now: u64) -> Option<Self> {
        let from = events.iter().map(|event| event.wall_ms).min()?;
        let until = events.iter().map(|event| event.wall_ms).max()?.max(now).max(from + 1);
        let x = |at: u64| LEFT + (at.clamp(from, until) - from) * WIDTH / (until - from);
        // By number, so that the tenth follows the ninth; and where each runs: it never moves.
        let mut of = BTreeMap::<(u64, &str), &str>::new();
        for event in events.iter().filter(|event| !event.instance.is_empty()) {
            let number = event.instance.trim_start_matches('i').parse().unwrap_or(u64::MAX);
            let on = of.entry((number, &event.instance)).or_default();
            if on.is_empty() {
                *on = &event.node;
            }
        }
        let rows: Vec<_> = (0..)
            .zip(&of)
            .map(|(n, ((_, name), on))| {
                let checks = instances.iter().find(|i| i.id == **name).map_or(0, |i| i.attempts);
                let about = |event: &&Event| {
                    event.instance == **name || (is_of_node(&event.kind) && event.node == **on)
                };
                let events: Vec<_> = events.iter().filter(about).collect();
                let spells = spells(&events, (from, until), checks);
                Row {
                    name: format!("{name} on {on}"),
                    y: n * ROW + HEAD + 6,
                    ticks: spells.iter().flat_map(|spell| ticks(&x, spell)).collect(),
                    bars: spells.iter().map(|spell| bar(&x, from, spell)).collect(),
                }
            })
            .collect();
        let width = LEFT + WIDTH + 40;
        let mut room = 0;
        let moment = |event: &Event| {
            let (x, word) = (x(event.wall_ms), words::plain(&event.kind));
            let wide = word.len() as u64 * LETTER;
            let begins = (x + 3).min(width - wide);
            let label = (begins >= room).then_some((begins, word));
            if label.is_some() {
                room = begins + wide + LETTER;
            }
            let after = text::duration(event.wall_ms.saturating_sub(from));
            Moment { x, label, after, told: event.text.clone() }
        };
        let marks = events.iter().filter(|event| event.instance.is_empty() && is_mark(&event.kind));
        let marks = marks.map(moment).collect();
        let part = |n: u64| {
            let after = (until - from) * n / PARTS;
            Mark { x: x(from + after), told: text::duration(after) }
        };
        let foot = rows.len() as u64 * ROW + HEAD + 8;
        Some(Self {
            rows,
            marks,
            axis: (0..=PARTS).map(part).collect(),
            width,
            height: foot + 18,
            head: HEAD - 2,
            foot,
        })
    }
}

fn ticks(x: &impl Fn(u64) -> u64, spell: &Spell) -> Vec<u64> {
    /// More of them would be one block.
    const MOST: u64 = 40;
    let n = u64::from(spell.checks).min(MOST);
    (1..=n).map(|tick| x(spell.from + (spell.to - spell.from) * tick / (n + 1))).collect()
}

fn bar(x: &impl Fn(u64) -> u64, from: u64, spell: &Spell) -> Bar {
    let after = |at: u64| text::duration(at.saturating_sub(from));
    let checks = match spell.checks {
        0 => String::new(),
        1 => ", 1 health check".to_owned(),
        n => format!(", {n} health checks"),
    };
    let end = match spell.end {
        End::Next => "",
        End::Lost => ", when its node was lost",
    };
    Bar {
        x: x(spell.from),
        width: x(spell.to).saturating_sub(x(spell.from)).max(2),
        what: spell.what,
        told: format!("{} from {} to {}{checks}{end}", spell.what.word(), after(spell.from), after(spell.to)),
    }
}

/// One after another. An instance that was there before served until something else is told of it. While its node is
/// lost nothing is known of it; what is told of it then holds from the node's return on. `checks`: of one that is still
/// starting.
fn spells(events: &[&Event], (begin, until): (u64, u64), checks: u32) -> Vec<Spell> {
    let mut spells = Vec::<Spell>::new();
    let first =
        events.iter().find(|event| !event.instance.is_empty()).map_or("", |event| event.kind.as_str());
    let was_there = !matches!(first, "starting" | "release_started");
    let mut open = was_there.then_some((begin, What::Serving));
    // While its node is lost: what it does once that is back.
    let mut away: Option<Option<What>> = None;
    for event in events {
        match (event.kind.as_str(), away) {
            ("node_lost", None) => {
                let spell = open.take().map(|(from, what)| Spell {
                    from,
                    to: event.wall_ms.max(from),
                    what,
                    checks: 0,
                    end: End::Lost,
                });
                away = Some(spell.as_ref().map(|spell| spell.what));
                spells.extend(spell);
                continue;
            }
            ("node_returned", Some(what)) => {
                (open, away) = (what.map(|what| (event.wall_ms, what)), None);
                continue;
            }
            _ => {}
        }
        let does = away.unwrap_or(open.map(|(_, what)| what));
        let next = match event.kind.as_str() {
            "starting" | "release_started" => Some(What::Starting),
            "healthy" | "admitted" => Some(What::Serving),
            "draining" => Some(What::Draining),
            "crashed" => Some(What::Ended),
            "drained" | "drain_timed_out" if does == Some(What::Draining) => does,
            "removed" | "release_done" => None,
            _ => continue,
        };
        if away.is_some() {
            away = Some(next);
            continue;
        }
        if let Some((from, what)) = open {
            if Some(what) == next {
                continue;
            }
            // Clocks of leaders differ.
            spells.push(Spell {
                from,
                to: event.wall_ms.max(from),
                what,
                checks: event.attempts.unwrap_or(0),
                end: End::Next,
            });
        }
        open = next.map(|what| (event.wall_ms, what));
    }
    spells.extend(open.map(|(from, what)| {
        let checks = if what == What::Starting { checks } else { 0 };
        Spell { from, to: until.max(from), what, checks, end: End::Next }
    }));
    spells
}

fn is_mark(kind: &str) -> bool {
    let is_step = matches!(
        kind,
        "reverting" | "watching" | "ended" | "failed" | "paused" | "resumed" | "promoted" | "share"
    );
    is_step || is_of_node(kind)
}

/// What becomes of a node becomes of everything that runs there.
fn is_of_node(kind: &str) -> bool {
    matches!(kind, "node_lost" | "node_returned")
}

#[cfg(test)]
mod tests {
    use temps_wire::proto::{Event, Instance};

    use super::{Gantt, LEFT, WIDTH, What};

    fn event(at: u64, kind: &str, instance: &str) -> Event {
        Event {
            wall_ms: 1_000 + at,
            kind: kind.to_owned(),
            text: kind.to_owned(),
            instance: instance.to_owned(),
            node: "n1".to_owned(),
            attempts: (kind == "healthy").then_some(3),
            ..Event::default()
        }
    }

    #[test]
    fn a_rollout_is_bars_one_after_another() {
        let events = [
            event(0, "accepted", ""),
            event(100, "starting", "i2"),
            event(300, "healthy", "i2"),
            event(310, "admitted", "i2"),
            event(320, "draining", "i1"),
            event(600, "drained", "i1"),
            event(610, "removed", "i1"),
            event(1_000, "ended", ""),
        ];
        let gantt = Gantt::of(&events, &[], 0).unwrap();
        let names: Vec<_> = gantt.rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["i1 on n1", "i2 on n1"]);
        let bars = |row: usize| {
            let end = |bar: &super::Bar| bar.x + bar.width;
            gantt.rows[row].bars.iter().map(|bar| (bar.what, bar.x, end(bar))).collect::<Vec<_>>()
        };
        let x = |thousandths: u64| LEFT + WIDTH * thousandths / 1_000;
        assert_eq!(bars(0), [(What::Serving, x(0), x(320)), (What::Draining, x(320), x(610))]);
        assert_eq!(bars(1), [(What::Starting, x(100), x(300)), (What::Serving, x(300), x(1_000))]);
        assert_eq!(gantt.rows[1].ticks, [x(150), x(200), x(250)]);
        let moment = &gantt.marks[0];
        assert_eq!((gantt.marks.len(), moment.x, moment.after.as_str()), (1, x(1_000), "1s"));
        assert_eq!(moment.label, Some((x(1_000) + 3, "ended".to_owned())));
        assert_eq!(gantt.rows[1].bars[0].told, "starting from 100ms to 300ms, 3 health checks");
        assert_eq!(Gantt::of(&[], &[], 7), None);
    }

    #[test]
    fn what_ran_on_a_lost_node_ends_there_and_goes_on_once_it_is_back() {
        let events = [
            event(0, "accepted", ""),
            event(100, "starting", "i2"),
            event(200, "healthy", "i2"),
            event(500, "node_lost", ""),
            Event { node: "n2".to_owned(), ..event(600, "draining", "i3") },
            // The cluster decides; nobody knows whether the node does it.
            event(700, "draining", "i1"),
            event(800, "node_returned", ""),
            event(1_000, "watching", ""),
        ];
        let bars = |events: &[Event]| {
            let gantt = Gantt::of(events, &[], 0).unwrap();
            let told = |row: &super::Row| row.bars.iter().map(|bar| bar.told.clone()).collect::<Vec<_>>();
            gantt.rows.iter().map(told).collect::<Vec<_>>()
        };
        let [old, new, elsewhere] = bars(&events).try_into().unwrap();
        assert_eq!(old, ["serving from 0ms to 500ms, when its node was lost", "draining from 800ms to 1s"]);
        assert_eq!(
            new[1..],
            ["serving from 200ms to 500ms, when its node was lost", "serving from 800ms to 1s"]
        );
        assert_eq!(elsewhere, ["serving from 0ms to 600ms", "draining from 600ms to 1s"]);
        let [_, new, _] = bars(&[&events[..6], &events[7..]].concat()).try_into().unwrap();
        assert_eq!(new[1..], ["serving from 200ms to 500ms, when its node was lost"], "it is not back");
    }

    #[test]
    fn words_of_moments_stay_apart_and_inside() {
        let at = |at| event(at, "promoted", "");
        let gantt = Gantt::of(&[event(0, "accepted", ""), at(500), at(510), at(1_000)], &[], 0).unwrap();
        let labels: Vec<_> = gantt.marks.iter().map(|mark| mark.label.as_ref().map(|(x, _)| *x)).collect();
        assert_eq!(labels, [Some(LEFT + WIDTH / 2 + 3), None, Some(gantt.width - 56)]);
    }

    #[test]
    fn what_is_not_over_goes_on() {
        let events = [event(0, "starting", "i7")];
        let instance = Instance { id: "i7".to_owned(), attempts: 2, ..Instance::default() };
        let gantt = Gantt::of(&events, &[instance], 2_000).unwrap();
        assert_eq!((gantt.rows[0].bars[0].x, gantt.rows[0].bars[0].width), (LEFT, WIDTH));
        assert_eq!(gantt.rows[0].ticks.len(), 2);
    }

    #[test]
    fn a_clock_that_goes_back_tears_nothing() {
        let events = [event(5, "starting", "i9"), event(1, "healthy", "i9"), event(0, "drained", "i9")];
        assert!(Gantt::of(&events, &[], 0).is_some());
    }
}
