//! Host names, compared alike whether configured or sent by a client.

use thiserror::Error;

/// Why a name is not a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HostError {
    /// There is nothing.
    #[error("the host name is empty")]
    Empty,
    /// A character or form that no host name has.
    #[error("it is not a host name")]
    Malformed,
    /// The part behind the colon is not a port.
    #[error("the port is not a number from 0 to 65535")]
    Port,
}

/// Lower case, no port, no trailing dot, IDNA form. An IPv6 address keeps its brackets.
///
/// # Errors
/// [`HostError`] where it is not a host with an optional port.
pub fn normalise(authority: &str) -> Result<String, HostError> {
    if authority.is_empty() {
        return Err(HostError::Empty);
    }
    if let Some(rest) = authority.strip_prefix('[') {
        let (inside, after) = rest.split_once(']').ok_or(HostError::Malformed)?;
        if let Some(port) = after.strip_prefix(':') {
            check_port(port)?;
        } else if !after.is_empty() {
            return Err(HostError::Malformed);
        }
        let address: std::net::Ipv6Addr = inside.parse().map_err(|_| HostError::Malformed)?;
        return Ok(format!("[{address}]"));
    }
    let name = match authority.split_once(':') {
        Some((name, port)) => {
            check_port(port)?;
            name
        }
        None => authority,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err(HostError::Empty);
    }
    // The common case costs no IDNA work.
    if name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_'))
        && !name.contains("xn--")
    {
        return check_labels(name).map(|()| name.to_owned());
    }
    if name
        .bytes()
        .any(|b| b.is_ascii() && !matches!(b, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_'))
    {
        return Err(HostError::Malformed);
    }
    let name = idna::domain_to_ascii(name).map_err(|_| HostError::Malformed)?;
    check_labels(&name).map(|()| name)
}

fn check_port(port: &str) -> Result<(), HostError> {
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    if digits && (port.is_empty() || port.parse::<u16>().is_ok()) { Ok(()) } else { Err(HostError::Port) }
}

fn check_labels(name: &str) -> Result<(), HostError> {
    let fits = name.len() <= 253 && name.split('.').all(|label| !label.is_empty() && label.len() <= 63);
    if fits { Ok(()) } else { Err(HostError::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::{HostError, normalise};

    #[test]
    fn one_name_has_one_form() {
        for sent in ["a.test", "A.TEST", "a.test:8080", "a.test.", "a.test.:80", "a.test:"] {
            assert_eq!(normalise(sent).as_deref(), Ok("a.test"), "{sent}");
        }
        assert_eq!(normalise("Bücher.example").as_deref(), Ok("xn--bcher-kva.example"));
        assert_eq!(normalise("[::1]:80").as_deref(), Ok("[::1]"));
        assert_eq!(normalise("127.0.0.1:80").as_deref(), Ok("127.0.0.1"));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for sent in [
            "a.test,b.test",
            "a.test b",
            "a..test",
            ".",
            "a.test:80x",
            "a.test:99999",
            "[::1",
            "[::1]x",
            "[zz]",
            "a/b",
            "a@b",
            "a\u{0}b",
        ] {
            assert!(normalise(sent).is_err(), "{sent:?}");
        }
        assert_eq!(normalise(""), Err(HostError::Empty));
    }
}
