//! One file for each series: a head, then the rings, the finest first. Nothing in it is waited for to reach the
//! disk; the file is sparse, and what was never written takes no space.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use temps_core::history::Step;

use crate::head;
use crate::numbers::Series;
use crate::ring::{Ring, length};
use crate::slot::Slot;
use crate::track::Track;

/// The size of the file of a series in bytes.
pub(crate) fn size(series: Series) -> u64 {
    let slots: u64 = Step::ALL.into_iter().map(Step::kept).sum();
    head::BYTES as u64 + slots * Slot::bytes(series) as u64
}

/// Where a ring begins.
fn begin(series: Series, step: Step) -> u64 {
    let before = Step::ALL.into_iter().filter(|other| *other < step).map(Step::kept);
    head::BYTES as u64 + before.sum::<u64>() * Slot::bytes(series) as u64
}

fn at(series: Series, step: Step, start: u32) -> u64 {
    begin(series, step) + u64::from(Slot::place(start, step)) * Slot::bytes(series) as u64
}

/// What a file's head says, where it is one and whole. Slots that were being written when its process ended are
/// written.
///
/// # Errors
/// That of the disk.
pub(crate) fn open(path: &Path) -> io::Result<Option<Track>> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut bytes = vec![0; head::BYTES];
    if let Err(error) = file.read_exact_at(&mut bytes, 0) {
        return if error.kind() == io::ErrorKind::UnexpectedEof { Ok(None) } else { Err(error) };
    }
    let Some(mut track) = head::decode(&bytes) else { return Ok(None) };
    if file.metadata()?.len() != size(track.series) {
        return Ok(None);
    }
    put(&file, track.series, &track.waiting)?;
    track.waiting.clear();
    Ok(Some(track))
}

/// Writes what changed: first the head, then the slots that wait.
///
/// # Errors
/// That of the disk. The slots wait on.
pub(crate) fn write(path: &Path, track: &mut Track) -> io::Result<()> {
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
    let size = size(track.series);
    if file.metadata()?.len() != size {
        // It was just made, or is of another form.
        file.set_len(0)?;
        file.set_len(size)?;
        track.generation = 0;
    } else if track.generation == 0 {
        // Its head was damaged: two new ones, so that no older one stands beside.
        file.write_all_at(&vec![0; head::BYTES], 0)?;
    }
    track.generation += 1;
    file.write_all_at(&head::encode(track), head::place(track.generation) as u64)?;
    put(&file, track.series, &track.waiting)?;
    track.waiting.clear();
    track.changed = false;
    Ok(())
}

/// Writes slots; those side by side at once.
fn put(file: &File, series: Series, slots: &[(Step, Slot)]) -> io::Result<()> {
    let mut runs: Vec<(u64, Vec<u8>)> = Vec::new();
    for step in Step::ALL {
        for (_, slot) in slots.iter().filter(|(of, _)| *of == step) {
            let Some(bytes) = slot.encode(series, step) else { continue };
            let at = at(series, step, slot.start);
            match runs.last_mut() {
                Some((from, run)) if *from + run.len() as u64 == at => run.extend(bytes),
                _ => runs.push((at, bytes)),
            }
        }
    }
    runs.iter().try_for_each(|(at, run)| file.write_all_at(run, *at))
}

/// The slots that say something of the steps from `from` to `to`. Damaged ones are left out.
///
/// # Errors
/// That of the disk.
pub(crate) fn read(path: &Path, series: Series, ring: &Ring, from: u32, to: u32) -> io::Result<Vec<Slot>> {
    let step = ring.step;
    let file = match File::open(path) {
        // Nothing was written yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let from = from - from % length(step);
    let mut slots = Vec::new();
    for (first, n) in ring.places(from) {
        let mut bytes = vec![0; Slot::bytes(series) * usize::try_from(n).unwrap_or_default()];
        let begin = begin(series, step) + u64::from(first) * Slot::bytes(series) as u64;
        file.read_exact_at(&mut bytes, begin)?;
        for (slot, place) in bytes.chunks_exact(Slot::bytes(series)).zip(first..) {
            // Most need not be checked.
            let near = |(start, quiet)| ring.concerns(start, quiet, from, to);
            if Slot::glance(slot).is_some_and(near)
                && let Some(slot) = Slot::decode(slot, series, step)
                && Slot::place(slot.start, step) == place
            {
                slots.push(slot);
            }
        }
    }
    Ok(slots)
}

/// Makes slots of steps that are not over at `at` to such as were never written.
///
/// # Errors
/// That of the disk.
pub(crate) fn forget(path: &Path, series: Series, at: u32) -> io::Result<()> {
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let size = Slot::bytes(series);
    for step in Step::ALL {
        let begin = begin(series, step);
        let mut bytes = vec![0; size * usize::try_from(step.kept()).unwrap_or_default()];
        file.read_exact_at(&mut bytes, begin)?;
        for (slot, place) in bytes.chunks_exact(size).zip(0_u64..) {
            if Slot::glance(slot).is_some_and(|(start, _)| start.saturating_add(length(step)) > at) {
                file.write_all_at(&vec![0; size], begin + place * size as u64)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt;

    use temps_core::history::Step;
    use temps_core::model::EnvironmentId;

    use super::{begin, open, read, size, write};
    use crate::head;
    use crate::numbers::{Numbers, Series};
    use crate::track::Track;

    const E1: Series = Series::Environment(EnvironmentId(1));

    fn seconds(track: &Track, path: &std::path::Path) -> Vec<(u32, u64)> {
        let ring = &track.rings[0];
        let told = ring.told(read(path, E1, ring, 0, u32::MAX).unwrap(), 0, u32::MAX).into_iter();
        told.map(|(at, (_, numbers))| (at, numbers.map_or(0, |numbers| numbers.0[0]))).collect()
    }

    #[test]
    fn slots_that_a_process_could_not_write_any_more_are_written_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e1");
        let mut track = Track::new(E1, 1_000);
        (1_001..1_004).for_each(|to| track.count(to, &Numbers([to.into(), 0, 0, 0, 0, 0].into())));
        write(&path, &mut track).unwrap();
        let told = [(1_000, 1_001), (1_001, 1_002), (1_002, 1_003)];
        assert_eq!(seconds(&track, &path), told);
        // As if it had ended after the head.
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(&[0; 4_000], head::BYTES as u64 + 1_000 * 40).unwrap();
        assert_eq!(seconds(&track, &path), []);
        let next = open(&path).unwrap().unwrap();
        assert_eq!(seconds(&next, &path), told);
        assert_eq!(next, track);
    }

    #[test]
    fn rings_lie_one_behind_the_other() {
        assert_eq!(begin(E1, Step::Second), 8_192);
        assert_eq!(begin(E1, Step::TenSeconds), 8_192 + 7_200 * 40);
        assert_eq!(begin(E1, Step::FiveMinutes), 8_192 + 15_840 * 40);
        assert_eq!(size(E1), 8_192 + 24_480 * 40);
    }

    #[test]
    fn what_is_no_history_is_none() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in [("empty", vec![]), ("short", vec![7; 100]), ("other", vec![7; 900_000])] {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(open(&path).unwrap(), None, "{name}");
        }
        assert!(open(&dir.path().join("none")).is_err());
    }
}
