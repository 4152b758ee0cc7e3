//! Which host a request asks for.

use http::header::{HOST, HeaderValue, TRANSFER_ENCODING};
use http::{Method, Request, Version};
use temps_core::host;

/// Which host a request asks for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// As the client wrote it; applications are told the same.
    pub(crate) host: HeaderValue,
    /// In the one form that tables use, where the client wrote another.
    normal: Option<String>,
}

/// Why a request asks for no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NoHost,
    ManyHosts,
    BadHost,
    /// It asks for a tunnel to somewhere else.
    Connect,
    /// Its target is neither a path nor a URL.
    BadTarget,
    /// Its body is coded in a way that we cannot undo.
    Coding,
    /// Its body is not what its lines say.
    BadBody,
    /// Its body stopped on the way.
    SlowBody,
}

impl Asked {
    /// The name to look up.
    pub(crate) fn name(&self) -> &str {
        match &self.normal {
            Some(name) => name,
            None => std::str::from_utf8(self.host.as_bytes()).unwrap_or(""),
        }
    }

    pub(crate) fn of<B>(request: &Request<B>) -> Result<Self, Refusal> {
        if request.method() == Method::CONNECT {
            return Err(Refusal::Connect);
        }
        if request.uri().scheme().is_none() && request.uri().authority().is_some() {
            return Err(Refusal::BadTarget);
        }
        // Of everything one can ask for the options alone.
        if request.uri().path() == "*" && request.method() != Method::OPTIONS {
            return Err(Refusal::BadTarget);
        }
        // What is more than one coding was understood by its last.
        let mut codings = request.headers().get_all(TRANSFER_ENCODING).iter();
        let known = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        if !known || codings.next().is_some() {
            return Err(Refusal::Coding);
        }
        let mut hosts = request.headers().get_all(HOST).iter();
        let line = hosts.next();
        if hosts.next().is_some() {
            return Err(Refusal::ManyHosts);
        }
        if request.version() == Version::HTTP_11 && line.is_none() {
            return Err(Refusal::NoHost);
        }
        // The line must be good even where the target of the request wins over it.
        let by_line = line.map(|line| Self::from(line.clone())).transpose()?;
        match request.uri().authority() {
            Some(authority) => {
                HeaderValue::from_str(authority.as_str()).map_or(Err(Refusal::BadHost), Self::from)
            }
            None => by_line.ok_or(Refusal::NoHost),
        }
    }

    fn from(host: HeaderValue) -> Result<Self, Refusal> {
        if is_plain(host.as_bytes()) {
            return Ok(Self { host, normal: None });
        }
        let text = std::str::from_utf8(host.as_bytes()).map_err(|_| Refusal::BadHost)?;
        let normal = host::normalise(text).map_err(|_| Refusal::BadHost)?;
        Ok(Self { host, normal: Some(normal) })
    }
}

/// Whether a name is certainly in the form that tables use; costs no allocation.
fn is_plain(name: &[u8]) -> bool {
    let mut before = b'.';
    for &byte in name {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => {}
            // An IDNA label is checked with care.
            b'-' if before != b'-' => {}
            b'.' if before != b'.' => {}
            _ => return false,
        }
        before = byte;
    }
    before != b'.'
}

#[cfg(test)]
mod tests {
    use super::{Asked, Refusal};
    use http::Request;

    fn of(uri: &str, hosts: &[&str]) -> Result<String, Refusal> {
        let mut request = Request::builder().uri(uri);
        for host in hosts {
            request = request.header("host", *host);
        }
        Asked::of(&request.body(()).unwrap()).map(|asked| asked.name().to_owned())
    }

    #[test]
    fn one_host_however_it_is_written() {
        for host in ["a.test", "A.TEST", "a.test:8080", "a.test.", "a.test.:80"] {
            assert_eq!(of("/", &[host]).as_deref(), Ok("a.test"), "{host}");
        }
        assert_eq!(of("/", &["[::1]:80"]).as_deref(), Ok("[::1]"));
        assert_eq!(of("http://b.test/", &["a.test"]).as_deref(), Ok("b.test"));
        assert_eq!(of("/", &["xn--bcher-kva.example"]).as_deref(), Ok("xn--bcher-kva.example"));
    }

    #[test]
    fn what_names_no_host_is_refused() {
        assert_eq!(of("/", &[]), Err(Refusal::NoHost));
        assert_eq!(of("http://b.test/", &[]), Err(Refusal::NoHost));
        assert_eq!(of("/", &["a.test", "b.test"]), Err(Refusal::ManyHosts));
        assert_eq!(of("http://b.test/", &["a.test", "b.test"]), Err(Refusal::ManyHosts));
        for host in ["", ".", "a..test", "a.test,b.test", "a.test b", "a.test:x", "user@a.test"] {
            assert_eq!(of("/", &[host]), Err(Refusal::BadHost), "{host:?}");
        }
        assert_eq!(of("http://user@b.test/", &["a.test"]), Err(Refusal::BadHost));
    }
}
