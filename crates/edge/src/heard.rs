//! A connection that remembers when it was heard last.
//!
//! What is sent into a broken link vanishes for seconds before anybody is told. Until then the connection is kept, as
//! the link may be mended; but it is no place for new requests.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::watched::{Watch, Watched};

/// Remembers when a connection was heard last.
#[derive(Debug)]
pub(crate) struct Heard(Rc<Cell<Instant>>);

/// When a connection was heard last.
#[derive(Debug)]
pub(crate) struct Silence(Rc<Cell<Instant>>);

impl Heard {
    /// A connection that was heard just now.
    pub(crate) fn on<T>(io: T) -> (Watched<T, Self>, Silence) {
        let last = Rc::new(Cell::new(Instant::now()));
        (Watched { io, watch: Self(Rc::clone(&last)) }, Silence(last))
    }
}

impl Silence {
    /// How long it was not heard.
    pub(crate) fn lasts(&self) -> Duration {
        self.0.get().elapsed()
    }
}

impl Watch for Heard {
    fn read(&mut self, _: &[u8]) {
        self.0.set(Instant::now());
    }
}
