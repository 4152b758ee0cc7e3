//! Whether something wants TLS: only to tell a person why a check fails.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long it may take to answer.
const LIMIT: Duration = Duration::from_millis(500);
/// A record with a greeting that names one common cipher and nothing else. Whoever speaks TLS answers it with
/// a record of its own, be it a refusal.
const HELLO: [u8; 50] = {
    let mut hello = [0; 50];
    // Record: handshake, version 1.0, 45 bytes.
    (hello[0], hello[1], hello[2], hello[4]) = (22, 3, 1, 45);
    // Handshake: the client's greeting, 41 bytes, version 1.2; then 32 bytes of chance, which are 0 here.
    (hello[5], hello[8], hello[9], hello[10]) = (1, 41, 3, 3);
    // No session; one cipher suite; one compression, which is none.
    (hello[45], hello[46], hello[47], hello[48]) = (2, 0xc0, 0x2f, 1);
    hello
};

/// Whether what listens there answers a greeting of TLS.
pub(super) async fn speaks(address: SocketAddr) -> bool {
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&HELLO).await?;
        let mut start = [0; 2];
        stream.read_exact(&mut start).await?;
        Ok::<_, std::io::Error>(start)
    };
    // A record that is a refusal or part of a handshake, of any version.
    matches!(tokio::time::timeout(LIMIT, asking).await, Ok(Ok([21 | 22, 3])))
}
