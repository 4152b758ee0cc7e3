//! Lines told to somebody elsewhere, over TCP: what outlives the instance, wherever it runs.
//!
//! A line counts as told once one byte has come back. Nothing is told twice: a line whose byte did not
//! come is reported as failed, and it is for the caller to decide.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long a line may take; the whole application waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where lines are told.
#[derive(Debug)]
pub(crate) struct Notes {
    address: SocketAddr,
    connection: Mutex<Option<TcpStream>>,
}

impl Notes {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self { address, connection: Mutex::new(None) }
    }

    /// Tells one line.
    ///
    /// # Errors
    /// When it is not known that the line has arrived.
    pub(crate) fn tell(&self, line: &str) -> io::Result<()> {
        let mut kept = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stream = match kept.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        stream.write_all(format!("{line}\n").as_bytes())?;
        stream.read_exact(&mut [0])?;
        // Only a connection on which all went well is used again.
        *kept = Some(stream);
        Ok(())
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}
