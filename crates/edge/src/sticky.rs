//! Clients that stay with one of two releases.
//!
//! The value of a cookie falls somewhere between 0 and all shares, on every node at the same place. Below the share of
//! the new release the client belongs to it. When the share grows, nobody who went there goes back.

use http::HeaderMap;
use http::header::COOKIE;
use temps_core::model::ReleaseId;
use temps_core::table::{SHARES, Sticky};

/// To which of two releases a client belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lean {
    /// This one.
    To(ReleaseId),
    /// The other.
    From(ReleaseId),
}

impl Lean {
    /// Of a request; `None` where it has no such cookie.
    pub(crate) fn of(sticky: &Sticky, headers: &HeaderMap) -> Option<Self> {
        let value = cookie(headers, sticky.cookie.as_bytes())?;
        let to = place(value) < sticky.share;
        Some(if to { Lean::To(sticky.release) } else { Lean::From(sticky.release) })
    }

    pub(crate) fn takes(self, release: ReleaseId) -> bool {
        match self {
            Lean::To(own) => release == own,
            Lean::From(other) => release != other,
        }
    }
}

/// The first value of a cookie.
fn cookie<'a>(headers: &'a HeaderMap, name: &[u8]) -> Option<&'a [u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|b| *b == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
}

/// Where a value falls, from 0 to all shares: FNV-1a, and the bits mixed as in SplitMix64, so that values which
/// differ little fall far apart.
fn place(value: &[u8]) -> u32 {
    let hash = value.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    u32::try_from((hash ^ (hash >> 31)) % u64::from(SHARES)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use http::header::COOKIE;
    use http::{HeaderMap, HeaderValue};
    use temps_core::model::ReleaseId;
    use temps_core::table::{SHARES, Sticky};

    use super::{Lean, cookie, place};

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, HeaderValue::from_str(line).unwrap())).collect()
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let check = |lines: &[&str], expected: Option<&str>| {
            assert_eq!(cookie(&headers(lines), b"id"), expected.map(str::as_bytes), "{lines:?}");
        };
        check(&[], None);
        check(&["id=7"], Some("7"));
        check(&["a=1; id=7; id=8"], Some("7"));
        check(&["a=1", " id=a=b "], Some("a=b"));
        check(&["xid=1; idx=2; id"], None);
        check(&["id="], Some(""));
        check(&["a=id=7;;;"], None);
    }

    #[test]
    fn shares_are_kept_and_who_went_to_the_new_release_stays_there() {
        let release = ReleaseId(2);
        let all: Vec<String> = (0..20_000).map(|n| format!("id=user{n}")).collect();
        let mut there = vec![false; all.len()];
        for percent in [0, 5, 25, 50, 100] {
            let sticky = Sticky { cookie: "id".to_owned(), release, share: percent * (SHARES / 100) };
            let mut count = 0;
            for (client, was) in all.iter().zip(&mut there) {
                let is = Lean::of(&sticky, &headers(&[client])) == Some(Lean::To(release));
                assert!(is || !*was, "{client} went back at {percent} %");
                *was = is;
                count += u32::from(is);
            }
            let wanted = percent * 200;
            assert!(count.abs_diff(wanted) <= 200, "{count} of 20000 at {percent} %");
        }
        assert_eq!(
            Lean::of(&Sticky { cookie: "id".to_owned(), ..Sticky::default() }, &HeaderMap::new()),
            None
        );
    }

    #[test]
    fn the_place_of_a_value_is_the_same_on_every_node_and_in_every_version() {
        assert_eq!([place(b""), place(b"a"), place(b"user1")], [6203, 3736, 6729]);
    }
}
