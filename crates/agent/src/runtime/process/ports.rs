//! Ports for instances.
//!
//! A port that was given back is used again as late as possible: the next one is always the one after
//! the last, never the lowest that is free. What listens on a port is not known here.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::files;

/// Gives out the ports of a range, one after the other.
#[derive(Debug)]
pub(super) struct Ports {
    range: RangeInclusive<u16>,
    last: Option<u16>,
    /// Where the last one is remembered over a restart.
    file: PathBuf,
}

impl Ports {
    pub(super) fn open(range: RangeInclusive<u16>, file: PathBuf) -> Self {
        // Forgetting it, or a file that says nonsense, only means to begin at the start of the range.
        let last = files::read_json(&file).ok().and_then(files::Content::value);
        Self { range, last, file }
    }

    /// The next port that is not `held`, and that nobody listens on.
    pub(super) fn next(&mut self, held: &BTreeSet<u16>) -> Option<u16> {
        let after = self.last.filter(|last| self.range.contains(last) && last != self.range.end());
        let from = after.map_or(*self.range.start(), |last| last + 1);
        let port = (from..=*self.range.end())
            .chain(*self.range.start()..from)
            .find(|port| !held.contains(port) && is_free(*port))?;
        self.last = Some(port);
        let _ = files::write_json(&self.file, &port);
        Some(port)
    }

    /// The range, for people.
    pub(super) fn shown(&self) -> String {
        format!("{}-{}", self.range.start(), self.range.end())
    }
}

/// An application may listen on the local address or on all.
fn is_free(port: u16) -> bool {
    [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED].iter().all(|ip| TcpListener::bind((*ip, port)).is_ok())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::TcpListener;
    use std::ops::RangeInclusive;

    use super::{Ports, is_free};

    /// Some ports in a row that nobody uses now. Below the range from which the system gives out ports,
    /// so that other tests do not get them meanwhile.
    fn free_range() -> RangeInclusive<u16> {
        let from = 10_000 + u16::try_from(std::process::id() % 1_000).expect("small") * 10;
        (from..30_000).find(|p| (*p..*p + 4).all(is_free)).map(|p| p..=p + 3).expect("a free range")
    }

    #[test]
    fn a_port_comes_again_only_after_all_others() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("port");
        let range = free_range();
        let first = *range.start();
        let none = BTreeSet::new();
        let mut ports = Ports::open(range.clone(), file.clone());
        assert_eq!(ports.next(&none), Some(first));
        assert_eq!(ports.next(&none), Some(first + 1));

        let mut ports = Ports::open(range, file);
        assert_eq!(ports.next(&BTreeSet::from([first + 2])), Some(first + 3));
        assert_eq!(ports.next(&BTreeSet::from([first])), Some(first + 1));

        let everywhere = TcpListener::bind(("0.0.0.0", first + 2)).expect("free");
        assert_eq!(ports.next(&none), Some(first + 3));
        let local = TcpListener::bind(("127.0.0.1", first)).expect("free");
        assert_eq!(ports.next(&none), Some(first + 1));
        assert_eq!(ports.next(&BTreeSet::from([first + 1, first + 3])), None);
        drop((everywhere, local));
    }
}
