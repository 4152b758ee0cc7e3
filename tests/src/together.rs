//! Work that goes on side by side.

use crate::trouble::{Result, Trouble};

/// Does the work of 0 to `n`, all at once, and tells the first trouble.
///
/// # Errors
/// The first trouble, or that the work panicked.
pub fn all(n: usize, work: impl Fn(usize) -> Result + Sync) -> Result {
    let work = &work;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n).map(|i| scope.spawn(move || work(i))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(panicked())))
    })
}

/// Does both at once.
///
/// # Errors
/// The first trouble, or that the work panicked.
pub fn both<A: Send, B: Send>(
    a: impl FnOnce() -> Result<A> + Send,
    b: impl FnOnce() -> Result<B> + Send,
) -> Result<(A, B)> {
    std::thread::scope(|scope| {
        let a = scope.spawn(a);
        let b = b();
        Ok((a.join().unwrap_or_else(|_| Err(panicked()))?, b?))
    })
}

fn panicked() -> Trouble {
    Trouble::new("a thread panicked")
}
