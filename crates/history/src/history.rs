//! All series of this node.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use temps_core::history::{Numbered, Point, Recorded, Span, Step};
use temps_core::model::{EnvironmentId, Measured};
use temps_core::table::EdgeReport;
use tracing::{debug, warn};

use crate::file;
use crate::flight::Flight;
use crate::meter::{Look, Meter, News};
use crate::numbers::{Numbers, Series};
use crate::ring::Ring;
use crate::slot::Slot;
use crate::track::{Rest, Track};

/// The most series of one node, about 6 GB where half of them are releases that have requests in every second, and the
/// others their gauges.
const MOST: usize = 3_000;
/// A clock that is behind what is recorded by no more than this, in seconds, is waited for.
const BEHIND: u32 = 60;
/// How often series in which nothing changes are written, in seconds.
const RARELY: u32 = 300;
/// Series without a request for so long, in seconds, that their edge does not know any more are removed: a day more
/// than the coarsest ring is kept.
const UNUSED: u32 = 31 * 86_400;

/// What this node's edge counted over time.
#[derive(Debug)]
pub struct History {
    dir: PathBuf,
    most: usize,
    kept: Mutex<Kept>,
    /// Held while files are written, so that nobody reads what is half written.
    files: Mutex<()>,
}

#[derive(Debug, Default)]
struct Kept {
    tracks: BTreeMap<Series, Track>,
    meter: Meter,
    flight: Flight,
    /// The second up to which everything is settled; nothing before the first report.
    end: Option<u32>,
    /// When series in which nothing changes were last written.
    tidied: u32,
    /// Files that are to be removed.
    unused: BTreeSet<Series>,
    /// Whether it was said that there are too many series, and that files cannot be written.
    said: (bool, bool),
}

impl History {
    /// Reads what was recorded below `dir`. Files that cannot be read, or are damaged at their head, are begun anew.
    ///
    /// # Errors
    /// Where the directory cannot be made or listed.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        Self::open_with(dir, MOST)
    }

    /// The same with room for another number of series.
    ///
    /// # Errors
    /// As [`History::open`].
    pub fn open_with(dir: PathBuf, most: usize) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        let mut kept = Kept::default();
        for entry in fs::read_dir(&dir)? {
            let path = entry?.path();
            match file::open(&path) {
                Ok(Some(track)) if path.ends_with(track.series.name()) => {
                    kept.tracks.insert(track.series, track);
                }
                Ok(_) if is_old(&path) => fs::remove_file(&path)?,
                Ok(_) => warn!(path = %path.display(), "the head of a history is damaged: it begins anew"),
                Err(error) => warn!(path = %path.display(), %error, "a history cannot be read"),
            }
        }
        kept.recall();
        Ok(Self { dir, most, kept: Mutex::new(kept), files: Mutex::default() })
    }

    /// Takes in what is in flight just now. What is seen between two seconds of the clock is told with the later one.
    pub fn see(&self, report: &EdgeReport) {
        if report.pid > 0 {
            self.kept().flight.see(report);
        }
    }

    /// Takes in what the edge has counted when the clock shows `now`, in Unix seconds: it belongs to the second that
    /// is just over. Nothing happens while no edge was heard. What was in flight in that second is what was seen since
    /// the last time.
    ///
    /// A clock that was set back by up to a minute is waited for; what is counted meanwhile follows then. One that was
    /// set back further is believed, and what was recorded of later times is forgotten.
    pub fn record(&self, report: &EdgeReport, now: u64) {
        let now = u32::try_from(now).unwrap_or_default();
        if report.pid == 0 || now == 0 {
            return;
        }
        let mut kept = self.kept();
        let newest = kept.tracks.values().map(Track::end).max();
        let last = kept.end.or(newest);
        if let Some(end) = last.filter(|end| now <= *end) {
            if now == end || end - now <= BEHIND {
                return;
            }
            warn!(seconds = end - now, "the clock was set back: what was recorded of later is forgotten");
            drop(kept);
            self.back(now);
            return;
        }
        let look = kept.meter.look(report);
        kept.settle(&look, now);
        // What an edge had counted before anybody looked is of no known time.
        let since = last.filter(|_| kept.end.is_some() || look.anew).unwrap_or(now);
        for news in &look.news {
            if kept.has_room(news.series, since, self.most) {
                kept.take(news, now);
            }
        }
        for series in &look.gone {
            if let Some(track) = kept.tracks.get_mut(series) {
                (track.counted, track.changed) = (Numbers::zero(series.width()), true);
            }
        }
        kept.fly(now, self.most);
        kept.end = Some(now);
    }

    fn back(&self, now: u32) {
        let _files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = self.kept();
        let settled = kept.end;
        for track in kept.tracks.values_mut() {
            if let Some(end) = settled {
                track.catch_up(end);
            }
            if track.end() <= now {
                continue;
            }
            track.back(now);
            let path = self.dir.join(track.series.name());
            if let Err(error) = file::forget(&path, track.series, now) {
                warn!(path = %path.display(), %error, "what was recorded of later cannot be forgotten");
            }
        }
        kept.end = settled.map(|_| now);
        kept.tidied = kept.tidied.min(now);
    }

    /// Whether there is a series of which nothing is written yet.
    pub(crate) fn has_unwritten(&self) -> bool {
        self.kept().tracks.values().any(|track| track.generation == 0)
    }

    /// Writes what changed since the last time. What cannot be written is tried again the next time.
    pub fn flush(&self) {
        self.write(Which::Changed);
    }

    /// Writes everything, for a successor to go on where this ends.
    pub fn close(&self) {
        self.write(Which::All);
    }

    fn write(&self, which: Which) {
        let _files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let series = self.kept().due(which);
        let mut failed = None;
        for series in series {
            // Reports are taken in between any two.
            let mut kept = self.kept();
            let Kept { tracks, meter, end, .. } = &mut *kept;
            let Some(track) = tracks.get_mut(&series) else { continue };
            if let Some(end) = *end {
                track.catch_up(end);
            }
            (track.edge, track.changed) = (meter.edge, false);
            let mut copy = track.clone();
            let waiting = track.waiting.len();
            drop(kept);
            let written = file::write(&self.dir.join(series.name()), &mut copy);
            let mut kept = self.kept();
            match (written, kept.tracks.get_mut(&series)) {
                (Ok(()), Some(track)) => {
                    track.waiting.drain(..waiting.min(track.waiting.len()));
                    track.generation = copy.generation;
                }
                (Ok(()), None) => {}
                (Err(error), track) => {
                    track.into_iter().for_each(|track| track.changed = true);
                    failed = Some(error);
                }
            }
        }
        let mut kept = self.kept();
        for series in std::mem::take(&mut kept.unused) {
            if let Err(error) = fs::remove_file(self.dir.join(series.name())) {
                debug!(series = series.name(), %error, "a history that nobody needs stays");
            }
        }
        let said = std::mem::replace(&mut kept.said.1, failed.is_some());
        if let Some(error) = failed.filter(|_| !said) {
            warn!(dir = %self.dir.display(), %error, "what edges count cannot be recorded: it will have gaps");
        }
    }

    /// What is known of an environment; releases to which nothing came since its beginning are left out. Disks are
    /// read meanwhile: not for a thread that must not wait.
    #[must_use]
    pub fn recorded(&self, environment: EnvironmentId, span: Span) -> Recorded {
        let known: Vec<_> = {
            let kept = self.kept();
            let of = |track: &&Track| match track.series {
                Series::Environment(id) => id == environment,
                Series::Release(id, _) => id == environment && u64::from(track.busy) > span.from,
                Series::InFlight(id, _) => {
                    id == environment && (track.rest == Rest::Quiet || u64::from(track.busy) > span.from)
                }
            };
            kept.tracks.values().filter(of).map(|track| track.series).collect()
        };
        let mut recorded = Recorded::default();
        for series in known {
            let points = self.query(series, span);
            match series {
                Series::Environment(_) => recorded.traffic = counted(points),
                Series::Release(_, release) => {
                    recorded.releases.insert(release, counted(points));
                }
                Series::InFlight(_, release) => {
                    recorded.in_flight.insert(release, counted(points));
                }
            }
        }
        recorded
    }

    fn query(&self, series: Series, span: Span) -> Vec<Point<Numbers>> {
        let within = |second: u64| u32::try_from(second).unwrap_or(u32::MAX);
        let (from, to) = (within(span.from), within(span.to));
        let Some((ring, waiting)) = self.kept().view(series, span.step) else { return Vec::new() };
        let path = self.dir.join(series.name());
        let read = {
            let _files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            file::read(&path, series, &ring, from, to)
        };
        let mut slots = read.unwrap_or_else(|error| {
            debug!(path = %path.display(), %error, "a history cannot be read");
            Vec::new()
        });
        slots.extend(waiting);
        let told = ring.told(slots, from, to).into_iter();
        let point = |(at, (seconds, numbers)): (u32, (u32, Option<Numbers>))| Point {
            at: at.into(),
            seconds: seconds.into(),
            counted: numbers.unwrap_or_else(|| Numbers::zero(series.width())),
        };
        told.map(point).collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nobody has written it for as long as anything is kept.
fn is_old(path: &Path) -> bool {
    let age = fs::metadata(path).and_then(|data| data.modified()).ok().and_then(|at| at.elapsed().ok());
    age.is_some_and(|age| age.as_secs() > UNUSED.into())
}

fn counted<T: Numbered>(points: Vec<Point<Numbers>>) -> Vec<Point<T>> {
    let point = |Point { at, seconds, counted }: Point<Numbers>| Point { at, seconds, counted: counted.to() };
    points.into_iter().map(point).collect()
}

/// Which series are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Changed,
    All,
}

impl Kept {
    /// What the edge had counted when the process before this one ended.
    fn recall(&mut self) {
        let newest = self.tracks.values().max_by_key(|track| track.end());
        self.meter.edge = newest.map(|track| track.edge).unwrap_or_default();
        for (series, track) in &self.tracks {
            let measured: &mut Measured = self.meter.counted.entry(series.environment()).or_default();
            match series {
                Series::Environment(_) => measured.traffic = track.counted.to(),
                Series::Release(_, release) => {
                    measured.releases.insert(*release, track.counted.to());
                }
                // Nobody knows what became of it.
                Series::InFlight(..) => {}
            }
        }
        // An edge does not tell of those for which it counted nothing.
        self.meter.counted.retain(|_, measured| *measured != Measured::default());
    }

    /// Where another edge counts, nothing is known of the time between the two, unless it counted something: that
    /// is told with the time in which it was.
    fn settle(&mut self, look: &Look, now: u32) {
        if !look.anew {
            return;
        }
        let counting: BTreeSet<_> = look.news.iter().map(|news| news.series).collect();
        for track in self.tracks.values_mut().filter(|track| !counting.contains(&track.series)) {
            if let Some(end) = self.end {
                track.catch_up(end);
            }
            track.gap(now - 1);
            (track.counted, track.changed) = (Numbers::zero(track.series.width()), true);
        }
    }

    fn take(&mut self, news: &News, now: u32) {
        let Some(track) = self.tracks.get_mut(&news.series) else { return };
        track.counted = news.counted.clone();
        if let Some(end) = self.end {
            track.catch_up(end);
        }
        track.count(now, &news.since);
    }

    /// What was in flight at most in the second before `now`. Nothing is known of the time before that in which nobody
    /// looked, nor of a release that has no instance here any more: the second in which the edge first tells of none
    /// is its last, with 0.
    fn fly(&mut self, now: u32, most: usize) {
        let end = self.end.unwrap_or(now - 1);
        let told = self.flight.end();
        let (silent, seen) = (told.is_none(), told.unwrap_or_default());
        let ended = |track: &&mut Track| track.is_watched() && !seen.contains_key(&track.series);
        for track in self.tracks.values_mut().filter(ended) {
            track.catch_up(end);
            if !silent {
                track.gap(now - 1);
                track.catch_up(now);
            }
            (track.rest, track.changed) = (Rest::Unknown, true);
        }
        for (series, n) in seen {
            if !self.has_room(series, now - 1, most) {
                continue;
            }
            let Some(track) = self.tracks.get_mut(&series) else { continue };
            track.catch_up(end);
            track.gap(now - 1);
            track.rest = Rest::Quiet;
            if n > 0 {
                track.count(now, &Numbers(Box::new([n])));
            }
        }
    }

    /// Whether a series is recorded, from `since` on where it is new. Where there is no room for one more, the one
    /// that was unused for the longest makes some, if its edge does not know it any more.
    fn has_room(&mut self, series: Series, since: u32, most: usize) -> bool {
        if self.tracks.contains_key(&series) {
            return true;
        }
        if self.tracks.len() >= most {
            let Some(unused) = self.idle().min_by_key(|track| track.busy).map(|track| track.series) else {
                if !std::mem::replace(&mut self.said.0, true) {
                    warn!(most, "there are too many environments and releases to record them all");
                }
                return false;
            };
            self.remove(unused);
        }
        self.unused.remove(&series);
        self.tracks.insert(series, Track::new(series, since));
        true
    }

    /// Those that the edge does not know any more.
    fn idle(&self) -> impl Iterator<Item = &Track> {
        let known = |series: Series| {
            let measured = self.meter.counted.get(&series.environment());
            measured.is_some_and(|measured| match series {
                Series::Environment(_) => true,
                Series::Release(_, release) => measured.releases.contains_key(&release),
                Series::InFlight(..) => false,
            })
        };
        self.tracks.values().filter(move |track| !known(track.series) && !track.is_watched())
    }

    fn remove(&mut self, series: Series) {
        self.tracks.remove(&series);
        self.unused.insert(series);
    }

    fn due(&mut self, which: Which) -> Vec<Series> {
        let now = self.end.unwrap_or_default();
        let rarely = now.saturating_sub(self.tidied) >= RARELY;
        if rarely {
            self.tidied = now;
            let unused = self.idle().filter(|track| now.saturating_sub(track.busy) > UNUSED);
            let unused: Vec<_> = unused.map(|track| track.series).collect();
            unused.into_iter().for_each(|series| self.remove(series));
        }
        let chosen = self.tracks.values().filter(|track| rarely || which == Which::All || track.changed);
        chosen.map(|track| track.series).collect()
    }

    /// A ring with its slots that are not written yet.
    fn view(&mut self, series: Series, step: Step) -> Option<(Ring, Vec<Slot>)> {
        let end = self.end;
        let track = self.tracks.get_mut(&series)?;
        if let Some(end) = end {
            track.catch_up(end);
        }
        let ring = track.rings.iter().find(|ring| ring.step == step)?.clone();
        let waiting = track.waiting.iter().filter(|(of, _)| *of == step).map(|(_, slot)| slot.clone());
        Some((ring, waiting.collect()))
    }
}
