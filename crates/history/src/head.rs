//! The head of a file: all that is known beside the slots, and the slots that are being written.
//!
//! It is written first, to the older of two places. Slots that a process could not write any more are in it, so
//! that the next one writes them, and what an edge counted is never added twice.

use temps_core::history::Step;
use temps_core::model::{EnvironmentId, ReleaseId};

use crate::checksum::checksum;
use crate::meter::Edge;
use crate::numbers::{Numbers, Series};
use crate::ring::{Open, Ring};
use crate::slot::Slot;
use crate::track::Track;

/// Bytes of one of the two places.
pub(crate) const PLACE: usize = 4_096;
/// Bytes before the first ring.
pub(crate) const BYTES: usize = 2 * PLACE;
const MAGIC: [u8; 8] = *b"TEMPSHIS";
/// The form of the files; others are begun anew.
const FORMAT: u32 = 1;

/// Which of the two places a head is written to.
pub(crate) fn place(generation: u64) -> usize {
    if generation.is_multiple_of(2) { 0 } else { PLACE }
}

/// The bytes of one place.
pub(crate) fn encode(track: &Track) -> Vec<u8> {
    let mut out = Writer(MAGIC.to_vec());
    out.word(FORMAT);
    let (kind, release) = track.series.key();
    out.word(kind.into());
    out.long(track.series.environment().0);
    out.long(release);
    out.long(track.generation);
    out.word(track.edge.pid);
    out.long(track.edge.counting);
    out.word(track.busy);
    out.numbers(&track.counted);
    for ring in &track.rings {
        out.word(ring.end);
        out.word(ring.quiet_from);
        out.word(ring.open.start);
        out.word(ring.open.seconds);
        out.numbers(&ring.open.numbers);
    }
    let slots =
        track.waiting.iter().filter_map(|(step, slot)| Some((step, slot.encode(track.series, *step)?)));
    let slots: Vec<_> = slots.collect();
    out.word(u32::try_from(slots.len()).unwrap_or(u32::MAX));
    for (step, slot) in slots {
        out.word(u32::try_from(step.seconds()).unwrap_or(u32::MAX));
        out.0.extend_from_slice(&slot);
    }
    out.0.resize(PLACE - 4, 0);
    let sum = checksum(&[&out.0]);
    out.word(sum);
    out.0
}

/// What both places together say; nothing where it is not certain which is the newer one, as then nobody knows
/// what was counted already.
pub(crate) fn decode(bytes: &[u8]) -> Option<Track> {
    let (first, second) = bytes.get(..BYTES)?.split_at(PLACE);
    match (one(first), one(second)) {
        (Some(even), Some(odd)) if even.generation.abs_diff(odd.generation) == 1 => {
            Some(if even.generation > odd.generation { even } else { odd })
        }
        // Only the very first one stands alone.
        (None, Some(odd)) if odd.generation == 1 && first.iter().all(|byte| *byte == 0) => Some(odd),
        (Some(_) | None, _) => None,
    }
}

fn one(bytes: &[u8]) -> Option<Track> {
    let (content, sum) = bytes.split_at_checked(PLACE - 4)?;
    if Reader(sum).word()? != checksum(&[content]) {
        return None;
    }
    let mut from = Reader(content);
    if from.bytes(MAGIC.len())? != MAGIC || from.word()? != FORMAT {
        return None;
    }
    let (kind, environment, release) = (from.word()?, EnvironmentId(from.long()?), ReleaseId(from.long()?));
    let series = match kind {
        1 => Series::Environment(environment),
        2 => Series::Release(environment, release),
        3 => Series::InFlight(environment, release),
        _ => return None,
    };
    let width = series.width();
    let mut track = Track::new(series, 0);
    track.generation = from.long()?;
    track.edge = Edge { pid: from.word()?, counting: from.long()? };
    track.busy = from.word()?;
    track.counted = from.numbers(width)?;
    for ring in &mut track.rings {
        let (end, quiet_from) = (from.word()?, from.word()?);
        let open = Open { start: from.word()?, seconds: from.word()?, numbers: from.numbers(width)? };
        *ring = Ring { step: ring.step, end, open, quiet_from };
    }
    for _ in 0..from.word()? {
        let step = Step::of_seconds(from.word()?.into())?;
        let slot = Slot::decode(from.bytes(Slot::bytes(series))?, series, step)?;
        track.waiting.push((step, slot));
    }
    track.changed = false;
    Some(track)
}

struct Writer(Vec<u8>);

impl Writer {
    fn word(&mut self, n: u32) {
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    fn long(&mut self, n: u64) {
        self.0.extend_from_slice(&n.to_le_bytes());
    }

    fn numbers(&mut self, numbers: &Numbers) {
        numbers.0.iter().for_each(|n| self.long(*n));
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, n: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(bytes)
    }

    fn word(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.bytes(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn numbers(&mut self, width: usize) -> Option<Numbers> {
        (0..width).map(|_| self.long()).collect::<Option<_>>().map(Numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES, PLACE, decode, encode, place};
    use crate::numbers::{Numbers, Series};
    use crate::track::{Track, WAITING};
    use temps_core::model::{EnvironmentId, ReleaseId};

    /// As large as one can be.
    fn track(generation: u64) -> Track {
        track_of(Series::Release(EnvironmentId(3), ReleaseId(u64::MAX)), generation)
    }

    fn track_of(series: Series, generation: u64) -> Track {
        let mut track = Track::new(series, 1_000);
        let numbers = Numbers(vec![7; series.width()].into());
        for second in 1_001..1_100 {
            track.count(second, &numbers);
        }
        assert_eq!(track.waiting.len(), WAITING);
        (track.generation, track.changed) = (generation, false);
        track
    }

    fn file(generations: [u64; 2]) -> Vec<u8> {
        let mut bytes = vec![0; BYTES];
        for generation in generations.into_iter().filter(|generation| *generation > 0) {
            bytes[place(generation)..][..PLACE].copy_from_slice(&encode(&track(generation)));
        }
        bytes
    }

    #[test]
    fn the_newer_of_two_is_taken() {
        assert_eq!(encode(&track(1)).len(), PLACE);
        for (generations, newest) in [([0, 1], 1), ([2, 1], 2), ([2, 3], 3)] {
            assert_eq!(decode(&file(generations)), Some(track(newest)));
        }
    }

    #[test]
    fn each_kind_of_series_is_known_again() {
        let (e3, r7) = (EnvironmentId(3), ReleaseId(7));
        for series in [Series::Environment(e3), Series::Release(e3, r7), Series::InFlight(e3, r7)] {
            let mut bytes = vec![0; PLACE];
            bytes.extend(encode(&track_of(series, 1)));
            assert_eq!(decode(&bytes), Some(track_of(series, 1)));
        }
    }

    #[test]
    fn where_one_is_damaged_nobody_knows_which_was_the_newer() {
        let whole = file([2, 3]);
        for byte in (0..BYTES).step_by(97) {
            let mut damaged = whole.clone();
            damaged[byte] ^= 4;
            assert_eq!(decode(&damaged), None, "byte {byte}");
        }
        assert_eq!(decode(&file([0, 3])), None, "one is gone");
        assert_eq!(decode(&file([4, 1])), None, "one is old");
        assert_eq!(decode(&whole[..PLACE]), None);
        assert_eq!(decode(&[0; BYTES]), None);
    }
}
