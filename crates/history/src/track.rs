//! What is known of one series beside its written slots.

use temps_core::history::Step;

use crate::meter::Edge;
use crate::numbers::{Numbers, Series};
use crate::ring::Ring;
use crate::slot::Slot;

/// The most slots that wait to be written. They are few even where a disk is slow; of more the oldest become gaps.
pub(crate) const WAITING: usize = 16;

/// One series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Track {
    pub(crate) series: Series,
    /// What the edge had counted when it was last settled.
    pub(crate) counted: Numbers,
    /// Which edge that was.
    pub(crate) edge: Edge,
    /// The second in which something was last counted.
    pub(crate) busy: u32,
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

    /// Until `to` nothing was counted.
    pub(crate) fn quiet(&mut self, to: u32) {
        self.each(|ring, out| ring.quiet(to, out));
    }

    /// Until `to` nothing is known.
    pub(crate) fn gap(&mut self, to: u32) {
        self.each(|ring, out| ring.gap(to, out));
    }

    /// So much was counted until `to`, since it was last settled.
    pub(crate) fn count(&mut self, to: u32, numbers: &Numbers) {
        self.each(|ring, out| ring.count(to, numbers, out));
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
