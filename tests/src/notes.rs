//! Lines that the application tells, wherever it runs: what it did outlives it here.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::trouble::Result;

/// A listener for lines; each is acknowledged with one byte once it is kept.
#[derive(Debug)]
pub struct Notes {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
    closed: Arc<AtomicBool>,
}

impl Notes {
    /// Listens on any port of this address.
    ///
    /// # Errors
    /// When it cannot.
    pub fn open(at: IpAddr) -> Result<Self> {
        let listener = TcpListener::bind((at, 0))?;
        let notes = Self { address: listener.local_addr()?, lines: Arc::default(), closed: Arc::default() };
        let (lines, closed) = (Arc::clone(&notes.lines), Arc::clone(&notes.closed));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if closed.load(Ordering::SeqCst) {
                    return;
                }
                let lines = Arc::clone(&lines);
                std::thread::spawn(move || keep(&stream, &lines));
            }
        });
        Ok(notes)
    }

    /// What the application is given: `address:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// All lines until now.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many lines have this text in them.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(text)).count()
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // Only to wake the listener, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

fn keep(mut stream: &TcpStream, lines: &Mutex<Vec<String>>) {
    // One byte is not worth waiting for more; without this it only takes longer.
    let _ = stream.set_nodelay(true);
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else {
            return;
        };
        lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        if stream.write_all(b"\n").is_err() {
            return;
        }
    }
}
