//! What is known of one series beside its written slots.

use temps_core::history::Step;

use crate::meter::Edge;
use crate::numbers::{Merge, Numbers, Series};
use crate::ring::Ring;
use crate::slot::Slot;

/// The most slots that wait to be written. They are few even where a disk is slow; of more the oldest become gaps.
pub(crate) const WAITING: usize = 16;

/// What it means that nothing is told of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing was counted, or in flight.
    Quiet,
    /// Nobody knows.
    Unknown,
}

/// One series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Track {
    pub(crate) series: Series,
    /// What the edge had counted when it was last settled.
    pub(crate) counted: Numbers,
    /// Which edge that was.
    pub(crate) edge: Edge,
    /// The second in which something was last counted; of a gauge, until which it was known.
    pub(crate) busy: u32,
    /// What follows where nothing more is told.
    pub(crate) rest: Rest,
    /// In the order of [`Step::ALL`].
    pub(crate) rings: [Ring; 3],
    /// Slots that are not written yet.
    pub(crate) waiting: Vec<(Step, Slot)>,
    /// Counts the times that it was written.
    pub(crate) generation: u64,
    /// Something changed since.
    pub(crate) changed: bool,
}

impl Track {
    /// Nothing is known before `at`.
    pub(crate) fn new(series: Series, at: u32) -> Self {
        let width = series.width();
        Self {
            series,
            counted: Numbers::zero(width),
            edge: Edge::default(),
            busy: at,
            // Counters stand still until they are told; a gauge has a value only as long as somebody reads it.
            rest: match series.merge() {
                Merge::Sum => Rest::Quiet,
                Merge::Greatest => Rest::Unknown,
            },
            rings: Step::ALL.map(|step| Ring::new(step, width, at)),
            waiting: Vec::new(),
            generation: 0,
            changed: true,
        }
    }

    /// The second up to which it is settled; all rings are settled together.
    pub(crate) fn end(&self) -> u32 {
        self.rings[0].end
    }

    /// Whether it is a gauge that somebody reads.
    pub(crate) fn is_watched(&self) -> bool {
        self.series.merge() == Merge::Greatest && self.rest == Rest::Quiet
    }

    /// Until `to` nothing was told.
    pub(crate) fn catch_up(&mut self, to: u32) {
        match (self.rest, self.series.merge()) {
            (Rest::Unknown, _) => self.gap(to),
            (Rest::Quiet, Merge::Sum) => self.quiet(to),
            (Rest::Quiet, Merge::Greatest) => {
                self.busy = self.busy.max(to);
                self.quiet(to);
            }
        }
    }

    fn quiet(&mut self, to: u32) {
        self.each(|ring, out| ring.quiet(to, out));
    }

    /// Until `to` nothing is known.
    pub(crate) fn gap(&mut self, to: u32) {
        self.each(|ring, out| ring.gap(to, out));
    }

    /// So much was counted until `to`, since it was last settled.
    pub(crate) fn count(&mut self, to: u32, numbers: &Numbers) {
        let merge = self.series.merge();
        self.each(|ring, out| ring.count(to, numbers, merge, out));
        self.busy = to;
        self.changed = true;
    }

    /// The clock was set back to `at`: what it called later is forgotten.
    pub(crate) fn back(&mut self, at: u32) {
        let width = self.series.width();
        self.rings = Step::ALL.map(|step| Ring::new(step, width, at));
        self.waiting.clear();
        self.busy = self.busy.min(at);
        self.changed = true;
    }

    fn each(&mut self, mut settle: impl FnMut(&mut Ring, &mut Vec<Slot>)) {
        for ring in &mut self.rings {
            let mut out = Vec::new();
            settle(ring, &mut out);
            self.changed |= !out.is_empty();
            self.waiting.extend(out.into_iter().map(|slot| (ring.step, slot)));
        }
        let many = self.waiting.len().saturating_sub(WAITING);
        self.waiting.drain(..many);
    }
}
