//! A ring of steps: what is put into slots, and what slots tell.
//!
//! Steps in which nothing was counted get no slot. The next slot says how many of them came right before it, so a
//! slot that is lost is a gap, together with them, and never looks like a time without requests.

use std::collections::BTreeMap;

use temps_core::history::Step;

use crate::numbers::{Merge, Numbers};
use crate::slot::Slot;

/// The step that is not over yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) start: u32,
    /// Of how many seconds it is known, or contains what was counted.
    pub(crate) seconds: u32,
    pub(crate) numbers: Numbers,
}

/// One ring, without its slots that are written already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    pub(crate) step: Step,
    /// The second up to which everything is settled.
    pub(crate) end: u32,
    pub(crate) open: Open,
    /// Steps from here to the open one are known and empty, and no slot says so yet.
    pub(crate) quiet_from: u32,
}

impl Ring {
    /// Nothing is known before `at`.
    pub(crate) fn new(step: Step, width: usize, at: u32) -> Self {
        let start = at - at % length(step);
        let open = Open { start, seconds: 0, numbers: Numbers::zero(width) };
        Self { step, end: at, open, quiet_from: start }
    }

    /// Until `to` nothing was counted.
    pub(crate) fn quiet(&mut self, to: u32, out: &mut Vec<Slot>) {
        if to <= self.end {
            return;
        }
        let stop = self.over().min(to);
        self.open.seconds = self.open.seconds.saturating_add(stop - self.end);
        self.end = stop;
        self.close_if_over(out);
        if self.end < to {
            // Whole steps between are known and empty.
            self.open.start = to - to % length(self.step);
            self.open.seconds = to - self.open.start;
            self.end = to;
        }
    }

    /// Until `to` nothing is known.
    pub(crate) fn gap(&mut self, to: u32, out: &mut Vec<Slot>) {
        if to <= self.end {
            return;
        }
        let start = to - to % length(self.step);
        if start != self.open.start {
            if self.open.seconds > 0 {
                self.close(out);
            } else {
                self.tell_quiet(out);
            }
            self.open.start = start;
            self.quiet_from = start;
        }
        self.end = to;
    }

    /// So much was counted until `to`, since nobody looked; it belongs to the last second before `to`. What the step
    /// has already becomes one with it by `merge`.
    pub(crate) fn count(&mut self, to: u32, numbers: &Numbers, merge: Merge, out: &mut Vec<Slot>) {
        if to <= self.end {
            return;
        }
        let seconds = to - self.end;
        self.gap(to - 1, out);
        self.open.seconds = self.open.seconds.saturating_add(seconds);
        self.open.numbers.merge(numbers, merge);
        self.end = to;
        self.close_if_over(out);
    }

    fn over(&self) -> u32 {
        self.open.start.saturating_add(length(self.step))
    }

    fn close_if_over(&mut self, out: &mut Vec<Slot>) {
        if self.end >= self.over() {
            self.close(out);
        }
    }

    /// Ends the open step, of which something is known.
    fn close(&mut self, out: &mut Vec<Slot>) {
        let next = self.over();
        let empty = Open { start: next, seconds: 0, numbers: Numbers::zero(self.open.numbers.0.len()) };
        let Open { start, seconds, numbers } = std::mem::replace(&mut self.open, empty);
        if seconds == length(self.step) && numbers.is_zero() {
            return;
        }
        if seconds > 0 {
            let quiet = (start - self.quiet_from) / length(self.step);
            out.push(Slot { start, seconds, quiet, numbers });
        }
        self.quiet_from = next;
    }

    /// Puts what is known of the last steps into a slot, where nothing was counted in them.
    fn tell_quiet(&mut self, out: &mut Vec<Slot>) {
        if self.quiet_from >= self.open.start {
            return;
        }
        let (seconds, numbers) = (length(self.step), Numbers::zero(self.open.numbers.0.len()));
        let start = self.open.start - seconds;
        out.push(Slot { start, seconds, quiet: (start - self.quiet_from) / seconds, numbers });
        self.quiet_from = self.open.start;
    }

    /// The oldest second that is still kept.
    pub(crate) fn oldest(&self) -> u32 {
        let kept = u32::try_from(self.step.kept()).unwrap_or(u32::MAX);
        self.open.start.saturating_sub(kept.saturating_mul(length(self.step)))
    }

    /// Where slots of the steps from `from` on lie, the first place and how many, in two parts where they begin anew
    /// in between. Those that say something of a time come no sooner than that.
    pub(crate) fn places(&self, from: u32) -> [(u32, u32); 2] {
        let kept = u32::try_from(self.step.kept()).unwrap_or(u32::MAX);
        let first = self.oldest().max(from);
        let many = (self.open.start.saturating_sub(first) / length(self.step)).min(kept);
        let begin = Slot::place(first, self.step);
        let straight = many.min(kept - begin);
        [(begin, straight), (0, many - straight)]
    }

    /// Whether a slot with these numbers may say something about steps from `from` to `to`.
    pub(crate) fn concerns(&self, start: u32, quiet: u32, from: u32, to: u32) -> bool {
        let first = start.saturating_sub(quiet.saturating_mul(length(self.step)));
        start < self.open.start && start >= self.oldest().max(from) && first < to
    }

    /// What slots and the ring itself tell of the steps from `from` to `to`: first second, seconds, and numbers,
    /// where something was counted.
    pub(crate) fn told(&self, slots: Vec<Slot>, from: u32, to: u32) -> BTreeMap<u32, (u32, Option<Numbers>)> {
        let step = length(self.step);
        let oldest = self.oldest().max(from - from % step);
        let mut told = BTreeMap::new();
        let mut empty = |first: u32, end: u32| {
            let first = first.max(oldest);
            let steps = (first..end.min(to)).step_by(step as usize);
            told.extend(steps.map(|start| (start, (step, None))));
        };
        empty(self.quiet_from, self.open.start);
        for slot in &slots {
            if self.concerns(slot.start, slot.quiet, from - from % step, to) {
                empty(slot.start.saturating_sub(slot.quiet.saturating_mul(step)), slot.start);
            }
        }
        let mut put = |start: u32, seconds: u32, numbers: Numbers| {
            if start >= oldest && start < to {
                told.insert(start, (seconds, Some(numbers)));
            }
        };
        for slot in slots.into_iter().filter(|slot| slot.start < self.open.start) {
            put(slot.start, slot.seconds, slot.numbers);
        }
        if self.open.seconds > 0 {
            put(self.open.start, self.open.seconds, self.open.numbers.clone());
        }
        told
    }
}

pub(crate) fn length(step: Step) -> u32 {
    u32::try_from(step.seconds()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
