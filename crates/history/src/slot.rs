//! A slot as bytes: its own time, what was counted, and a checksum. What is not exactly that is no slot.

use temps_core::history::Step;

use crate::checksum::checksum;
use crate::numbers::{Numbers, Series};
use crate::ring::length;

/// What was counted in one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The first second of the step.
    pub(crate) start: u32,
    /// Of how many seconds this is; see [`temps_core::history::Point::seconds`].
    pub(crate) seconds: u32,
    /// So many steps right before it are known, and nothing was counted in them.
    pub(crate) quiet: u32,
    pub(crate) numbers: Numbers,
}

/// Bytes beside the numbers: start, seconds, quiet, checksum.
const FRAME: usize = 16;

impl Slot {
    /// How many bytes a slot of a series has.
    pub(crate) const fn bytes(series: Series) -> usize {
        FRAME + 4 * series.width()
    }

    /// Its place in its ring.
    pub(crate) fn place(start: u32, step: Step) -> u32 {
        let kept = u32::try_from(step.kept()).unwrap_or(u32::MAX);
        (start / length(step)) % kept
    }

    /// Nothing where a number does not fit in 32 bits: then it becomes a gap.
    pub(crate) fn encode(&self, series: Series, step: Step) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(Self::bytes(series));
        for n in [self.start, self.seconds, self.quiet] {
            bytes.extend_from_slice(&n.to_le_bytes());
        }
        for n in &self.numbers.0 {
            bytes.extend_from_slice(&u32::try_from(*n).ok()?.to_le_bytes());
        }
        let sum = checksum(&[&series.mark(), &[mark(step)], &bytes]);
        bytes.extend_from_slice(&sum.to_le_bytes());
        Some(bytes)
    }

    /// Start and quiet as they stand there, unchecked; nothing where nothing was ever written.
    pub(crate) fn glance(bytes: &[u8]) -> Option<(u32, u32)> {
        Some((word(bytes, 0).filter(|start| *start > 0)?, word(bytes, 2)?))
    }

    /// The slot that these bytes are.
    pub(crate) fn decode(bytes: &[u8], series: Series, step: Step) -> Option<Self> {
        let (content, _) = bytes.split_at_checked(Self::bytes(series) - 4)?;
        if word(bytes, content.len() / 4)? != checksum(&[&series.mark(), &[mark(step)], content]) {
            return None;
        }
        let start = word(bytes, 0).filter(|start| start.is_multiple_of(length(step)))?;
        let numbers = (0..series.width()).map(|n| word(bytes, 3 + n).map(u64::from));
        let numbers = Numbers(numbers.collect::<Option<_>>()?);
        Some(Self { start, seconds: word(bytes, 1)?, quiet: word(bytes, 2)?, numbers })
    }
}

fn mark(step: Step) -> u8 {
    match step {
        Step::Second => 1,
        Step::TenSeconds => 2,
        Step::FiveMinutes => 3,
    }
}

fn word(bytes: &[u8], place: usize) -> Option<u32> {
    let word = bytes.get(place * 4..place * 4 + 4)?;
    word.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::Slot;
    use crate::numbers::{Numbers, Series};
    use temps_core::history::Step;
    use temps_core::model::EnvironmentId;

    const SERIES: Series = Series::Environment(EnvironmentId(7));

    fn slot() -> Slot {
        Slot { start: 1_700_000_010, seconds: 10, quiet: 3, numbers: Numbers([5, 0, 0, 1, 0, 9].into()) }
    }

    #[test]
    fn any_damage_makes_it_no_slot() {
        let bytes = slot().encode(SERIES, Step::TenSeconds).unwrap();
        assert_eq!(bytes.len(), Slot::bytes(SERIES));
        assert_eq!(Slot::decode(&bytes, SERIES, Step::TenSeconds), Some(slot()));
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[place] ^= 1 << bit;
                assert_eq!(Slot::decode(&damaged, SERIES, Step::TenSeconds), None, "byte {place}, bit {bit}");
            }
            assert_eq!(Slot::decode(&bytes[..place], SERIES, Step::TenSeconds), None, "{place} bytes");
        }
        assert_eq!(Slot::decode(&bytes, SERIES, Step::Second), None, "of another ring");
        assert_eq!(Slot::decode(&bytes, Series::Environment(EnvironmentId(8)), Step::TenSeconds), None);
        assert_eq!(Slot::decode(&vec![0; bytes.len()], SERIES, Step::TenSeconds), None);
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let large = Slot { numbers: Numbers([1 << 32, 0, 0, 0, 0, 0].into()), ..slot() };
        assert_eq!(large.encode(SERIES, Step::TenSeconds), None);
    }
}
