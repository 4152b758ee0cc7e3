//! What this node's edge counted over time, in files of a fixed size on this node's disk.
//!
//! Counters of an edge only grow; here are their differences by second, by ten seconds and by five minutes, of each
//! environment and of each release, and the most that was in flight at instances of each release. What is not known is
//! a gap and never a zero; a slot that is damaged is a gap and never another number. Who asks, and what other nodes
//! recorded, is not known here.
//!
//! The pure part is below [`ring`], [`meter`] and [`flight`]: time enters it as data. [`file`] knows the disk, [`History`] both.

mod checksum;
mod file;
mod flight;
mod head;
mod history;
mod meter;
mod numbers;
mod recorder;
mod ring;
mod slot;
mod track;

pub use history::History;
pub use numbers::Series;
