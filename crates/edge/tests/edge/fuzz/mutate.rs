//! Bytes that nearly are requests.

/// A stream of numbers that depends on its seed alone (xorshift64*).
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        // Neighbours among seeds must not begin alike.
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// From 0 to below.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n.max(1) as u64).unwrap()
    }

    pub(crate) fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// Pieces on whose reading servers have disagreed.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"\x0b",
    b"\x7f",
    b"\xff",
    b"0",
    b"+",
    b"-",
    b"\r\n\r\n",
    b"\n\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"5;a=\"\r\nhello\r\n",
    b"ffffffffffffffff\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"transfer-encoding:chunked\r\n",
    b"Transfer_Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 05\r\n",
    b"Content_Length: 5\r\n",
    b"Host: @\r\n",
    b"Host: other.test\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Upgrade: h2c\r\n",
    b"Connection: host, content-length\r\n",
    b"Connection: x-forwarded-for\r\n",
    b"TE: trailers\r\n",
    b"TE: gzip, trailers\r\n",
    b"Trailer: Host\r\n",
    b"0\r\nHost: x\r\n\r\n",
    b"0\r\nContent-Length: 9\r\n\r\n",
    b"0\r\nTemps-Release: 1\r\n\r\n",
    b"Expect: 100-continue\r\n",
    b"Temps-Environment: 1\r\n",
    b"temps_release: any\r\n",
    b"X-Forwarded-For: 9.9.9.9\r\n",
    b"X_Forwarded_For: 9.9.9.9\r\n",
    b"Forwarded: for=1\r\n",
    b"Keep-Alive: x\r\n",
    b"Proxy-Connection: close\r\n",
    b"GET / HTTP/1.1\r\nHost: @\r\n\r\n",
    b" HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/1.1",
    b"http://@/",
    b"GET",
    b"POST",
    b"HEAD",
    b"OPTIONS *",
    b"chunked",
    b"/%0d%0a",
    b"#",
    b"?",
];

/// A request, or a few, changed in a few places.
pub(crate) fn mutated(dice: &mut Dice, seeds: &[&[u8]]) -> Vec<u8> {
    let mut bytes = dice.one(seeds).to_vec();
    for _ in 0..=dice.below(4) {
        let at = dice.below(bytes.len() + 1);
        let end = (at + 1 + dice.below(12)).min(bytes.len()).max(at);
        match dice.below(8) {
            0 if at < bytes.len() => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
            1 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            2 => drop(bytes.drain(at..end)),
            3 => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            4 => {
                let other = dice.one(seeds);
                bytes.splice(at.., other[dice.below(other.len())..].iter().copied());
            }
            5 => bytes.extend(dice.one(seeds)),
            _ => {
                // Whole lines mostly where lines begin.
                let lines: Vec<usize> = bytes
                    .windows(2)
                    .enumerate()
                    .filter(|(_, two)| *two == b"\r\n")
                    .map(|(n, _)| n + 2)
                    .collect();
                let line = lines.get(dice.below(lines.len())).copied();
                let at = line.filter(|_| dice.below(3) > 0).unwrap_or(at);
                bytes.splice(at..at, dice.one(PIECES).iter().copied());
            }
        }
    }
    bytes
}

/// A try may take a second.
const TRIES: usize = 60;

/// What is left of bytes that fail after taking out as much as can be taken.
pub(crate) async fn shrunk(mut bytes: Vec<u8>, mut fails: impl AsyncFnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut size = bytes.len() / 2;
    let mut left = TRIES;
    while size > 0 {
        let mut at = 0;
        while at < bytes.len() {
            if left == 0 {
                return bytes;
            }
            left -= 1;
            let mut less = bytes.clone();
            drop(less.drain(at..(at + size).min(bytes.len())));
            if fails(&less).await { bytes = less } else { at += size }
        }
        size /= 2;
    }
    bytes
}
