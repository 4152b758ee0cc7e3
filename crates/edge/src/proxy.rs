//! The PROXY protocol: a load balancer that passes bytes on says in front of them who the client is.
//!
//! Version 1 is a line, version 2 is binary; see <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. It
//! is read from the raw stream, before anything else.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Where the client is; `None`: the balancer itself asks, or does not know.
pub(crate) type Source = Option<IpAddr>;

/// Reads the header, and answers what it says and what was read beyond it.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Source, Bytes)> {
    let mut buffer = BytesMut::with_capacity(1024);
    loop {
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match parse(&buffer) {
            Parsed::Header(source, length) => {
                buffer.advance(length);
                return Ok((source, buffer.freeze()));
            }
            Parsed::Part => {}
            Parsed::Other => return Err(io::Error::other("it does not begin with a PROXY header")),
        }
    }
}

/// What bytes are.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    /// They begin with a header of this length.
    Header(Source, usize),
    /// They may become one.
    Part,
    /// They never will.
    Other,
}

const LINE: &[u8] = b"PROXY ";
/// Of the line, its end included.
const LONGEST_LINE: usize = 107;
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn parse(bytes: &[u8]) -> Parsed {
    if bytes.starts_with(LINE) {
        parse_line(bytes)
    } else if bytes.starts_with(BINARY) {
        parse_binary(bytes)
    } else if LINE.starts_with(bytes) || BINARY.starts_with(bytes) {
        Parsed::Part
    } else {
        Parsed::Other
    }
}

fn parse_line(bytes: &[u8]) -> Parsed {
    let most = &bytes[..bytes.len().min(LONGEST_LINE)];
    let Some(end) = most.windows(2).position(|pair| pair == b"\r\n") else {
        return if most.len() < LONGEST_LINE { Parsed::Part } else { Parsed::Other };
    };
    let source = std::str::from_utf8(&bytes[LINE.len()..end]).ok().and_then(source_of_line);
    source.map_or(Parsed::Other, |source| Parsed::Header(source, end + 2))
}

fn source_of_line(line: &str) -> Option<Source> {
    let words: Vec<&str> = line.split(' ').collect();
    // What follows it is to be ignored.
    if words.first() == Some(&"UNKNOWN") {
        return Some(None);
    }
    let [protocol, from, to, from_port, to_port] = &words[..] else { return None };
    let source = match *protocol {
        "TCP4" => both::<Ipv4Addr>(from, to)?,
        "TCP6" => both::<Ipv6Addr>(from, to)?,
        _ => return None,
    };
    (from_port.parse::<u16>().is_ok() && to_port.parse::<u16>().is_ok()).then_some(Some(source))
}

fn both<A: std::str::FromStr + Into<IpAddr>>(from: &str, to: &str) -> Option<IpAddr> {
    to.parse::<A>().ok()?;
    from.parse::<A>().ok().map(Into::into)
}

fn parse_binary(bytes: &[u8]) -> Parsed {
    let Some((head, rest)) = bytes[BINARY.len()..].split_first_chunk::<4>() else { return Parsed::Part };
    let [command, family, high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    // Both addresses and both ports; what follows says more than we ask.
    let least = match family >> 4 {
        1 => 12,
        2 => 36,
        _ => 0,
    };
    if !matches!(command, 0x20 | 0x21) || family >> 4 > 3 || family & 15 > 2 || length < least {
        return Parsed::Other;
    }
    let Some(body) = rest.get(..length) else { return Parsed::Part };
    let source = match (command, family >> 4) {
        (0x21, 1) => body.first_chunk::<4>().map(|source| IpAddr::from(*source)),
        (0x21, 2) => body.first_chunk::<16>().map(|source| IpAddr::from(*source)),
        _ => None,
    };
    Parsed::Header(source, BINARY.len() + head.len() + length)
}

#[cfg(test)]
mod tests {
    use super::{BINARY, Parsed, parse};

    fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [BINARY, &[command, family], &length, body].concat()
    }

    /// A header is the same however it arrives, and whatever follows it.
    fn check(header: &[u8], source: Option<&str>) {
        for length in 0..header.len() {
            assert_eq!(parse(&header[..length]), Parsed::Part, "{length} of {header:?}");
        }
        let whole = Parsed::Header(source.map(|source| source.parse().unwrap()), header.len());
        assert_eq!(parse(header), whole, "{header:?}");
        assert_eq!(parse(&[header, b"\r\nGET / HTTP/1.1\r\n"].concat()), whole);
    }

    #[test]
    fn both_versions_say_where_a_client_is() {
        check(b"PROXY TCP4 192.0.2.7 198.51.100.1 65535 80\r\n", Some("192.0.2.7"));
        check(b"PROXY TCP6 2001:db8::7 2001:db8::1 1 443\r\n", Some("2001:db8::7"));
        check(b"PROXY UNKNOWN\r\n", None);
        check(b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", None);
        let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0xff, 0xff, 0, 80];
        check(&binary(0x21, 0x11, &v4), Some("192.0.2.7"));
        check(&binary(0x20, 0x11, &v4), None);
        check(&binary(0x20, 0x00, &[]), None);
        check(&binary(0x21, 0x00, b"more"), None);
        let mut v6 = [0; 36];
        (v6[0], v6[15]) = (0x20, 7);
        check(&binary(0x21, 0x21, &v6), Some("2000::7"));
        // What is said beyond the addresses is passed over, as long as it may be.
        check(&binary(0x21, 0x11, &[&v4[..], &[0x04; 900]].concat()), Some("192.0.2.7"));
        check(&binary(0x21, 0x31, &[0; 216]), None);
    }

    #[test]
    fn anything_else_is_no_header() {
        for line in [
            "GET / HTTP/1.1\r\n",
            "PROXX",
            "proxy TCP4 192.0.2.7 198.51.100.1 1 2\r\n",
            "PROXY \r\n",
            "PROXY  TCP4 192.0.2.7 198.51.100.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 1\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n",
            "PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
            "PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n",
            "PROXY TCP4 192.0.2.7, 198.51.100.1 1 2\r\n",
            "PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n",
            "PROXY \u{fffd}\r\n",
        ] {
            assert_eq!(parse(line.as_bytes()), Parsed::Other, "{line:?}");
        }
        assert_eq!(parse(format!("PROXY UNKNOWN {}", "x".repeat(93)).as_bytes()), Parsed::Other);
        for (command, family, body) in
            [(0x11, 0x11, 12), (0x22, 0x11, 12), (0x21, 0x41, 12), (0x21, 0x13, 12), (0x21, 0x11, 11)]
        {
            assert_eq!(parse(&binary(command, family, &vec![0; body])), Parsed::Other, "{command:x}");
        }
    }
}
