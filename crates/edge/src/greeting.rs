//! A connection that tells whether the other side greets in HTTP/2, and how many requests it takes at once.
//!
//! Who speaks something else may take the beginning of a request for one of its own, so none is sent before.

use tokio::sync::oneshot;

use crate::watched::{Watch, Watched};

/// The head of a frame.
const HEAD: usize = 9;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;
/// The setting for how many streams there may be at once.
const STREAMS: [u8; 2] = [0, 3];
/// Longer is no greeting.
const LONGEST: usize = 4096;

/// How another side greets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// In HTTP/2; it takes so many requests at once.
    Http2(usize),
    /// In no way that we know.
    Other,
}

/// Tells whether the other side of a connection greets in HTTP/2.
#[derive(Debug)]
pub(crate) struct Greeted {
    first: Vec<u8>,
    tell: Option<oneshot::Sender<Greeting>>,
}

impl Greeted {
    /// The receiver hears of the greeting once it has come, and an error where none came.
    pub(crate) fn on<T>(io: T) -> (Watched<T, Self>, oneshot::Receiver<Greeting>) {
        let (tell, told) = oneshot::channel();
        (Watched { io, watch: Self { first: Vec::new(), tell: Some(tell) } }, told)
    }
}

impl Watch for Greeted {
    fn read(&mut self, bytes: &[u8]) {
        if self.tell.is_none() {
            return;
        }
        self.first.extend(bytes);
        if let Some(greeting) = greeting(&self.first) {
            self.first = Vec::new();
            if let Some(tell) = self.tell.take() {
                let _ = tell.send(greeting);
            }
        }
    }
}

/// `None`: there is more to come.
fn greeting(bytes: &[u8]) -> Option<Greeting> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    if head[3] != SETTINGS || head[4] & ACK != 0 || head[5..] != [0; 4] || length > LONGEST {
        return Some(Greeting::Other);
    }
    let settings = rest.get(..length)?;
    let told = settings.chunks_exact(6).rfind(|setting| setting[..2] == STREAMS);
    let streams = told.map(|setting| u32::from_be_bytes([setting[2], setting[3], setting[4], setting[5]]));
    Some(Greeting::Http2(streams.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))))
}

#[cfg(test)]
mod tests {
    use super::{Greeting, greeting};

    #[test]
    fn what_is_a_greeting() {
        assert_eq!(greeting(b"\0\0\0\x04\0\0\0\0\0"), Some(Greeting::Http2(usize::MAX)));
        let told = b"\0\0\x0c\x04\0\0\0\0\0\0\x04\0\0\xff\xff\0\x03\0\0\0\x07";
        assert_eq!(greeting(told), Some(Greeting::Http2(7)));
        for n in 0..told.len() {
            assert_eq!(greeting(&told[..n]), None, "{n} bytes");
        }
        for other in
            [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\0\0\0\x04\x01\0\0\0\0", b"\0\0\0\x04\0\0\0\0\x01"]
        {
            assert_eq!(greeting(other), Some(Greeting::Other), "{other:?}");
        }
    }
}
