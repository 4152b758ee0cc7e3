//! What applications are told about the client: where it is, and how and for what it asked.
//!
//! One line each. A client's own words on that are dropped. Of a proxy that is trusted they are passed on: it is added
//! to the list of those whom the request went through, and what it says of scheme, host and port stands if it can be
//! understood. The client's address is then the last one of the list that is not a trusted proxy's.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue};
use temps_core::host;

use crate::client::Client;
use crate::network::Network;
use crate::ticket::REQUEST_ID;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(crate) const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Whether applications believe a line because a proxy wrote it. The id of a request is one of them.
pub(crate) fn tells_of_client(name: &str) -> bool {
    name.starts_with("x-forwarded-") || matches!(name, "forwarded" | "x-real-ip" | "x-request-id")
}

/// Tells an application who the client is, and what the request is called. `headers` were cleaned of what this client may not say.
pub(crate) fn tell(headers: &mut HeaderMap, client: &Client, host: &HeaderValue, id: &HeaderValue) {
    headers.insert(HOST, host.clone());
    headers.insert(REQUEST_ID, id.clone());
    let Some(trusted) = &client.trusted else {
        headers.insert(FOR, client.address.clone());
        headers.insert(PROTO, HeaderValue::from_static(client.scheme));
        headers.insert(FORWARDED_HOST, host.clone());
        headers.insert(PORT, port_of(host, client.scheme));
        headers.insert(REAL_IP, client.address.clone());
        return;
    };
    let address = first(headers, trusted).and_then(|ip| HeaderValue::try_from(ip.to_string()).ok());
    headers.insert(REAL_IP, address.unwrap_or_else(|| client.address.clone()));
    append(headers, FOR, client.address.as_bytes());
    if headers.contains_key(FORWARDED) {
        append(headers, FORWARDED, element(client).as_bytes());
    }
    let scheme = keep(headers, PROTO, |proto| matches!(proto, "http" | "https"));
    let scheme = scheme.unwrap_or_else(|| HeaderValue::from_static(client.scheme));
    let asked = keep(headers, FORWARDED_HOST, |asked| host::normalise(asked).is_ok());
    let asked = asked.unwrap_or_else(|| host.clone());
    let port = keep(headers, PORT, is_port);
    let port = port.unwrap_or_else(|| port_of(&asked, scheme.to_str().unwrap_or_default()));
    headers.insert(PROTO, scheme);
    headers.insert(FORWARDED_HOST, asked);
    headers.insert(PORT, port);
}

/// The port of the URL that was asked for.
fn port_of(host: &HeaderValue, scheme: &str) -> HeaderValue {
    let port = host.to_str().ok().and_then(|host| host.rsplit_once(':')).map(|(_, port)| port);
    let port = port.filter(|port| is_port(port)).and_then(|port| HeaderValue::from_str(port).ok());
    port.unwrap_or_else(|| HeaderValue::from_static(if scheme == "https" { "443" } else { "80" }))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// The only value of a line, if it is good.
fn keep(headers: &HeaderMap, name: HeaderName, is_good: impl Fn(&str) -> bool) -> Option<HeaderValue> {
    let mut values = headers.get_all(name).iter();
    let only = values.next().filter(|_| values.next().is_none())?;
    only.to_str().is_ok_and(is_good).then(|| only.clone())
}

/// Adds to a list, and makes one line of it.
fn append(headers: &mut HeaderMap, name: HeaderName, last: &[u8]) {
    let values = headers.get_all(&name).iter().map(HeaderValue::as_bytes);
    let values: Vec<&[u8]> = values.filter(|value| !value.is_empty()).chain([last]).collect();
    // Of parts that may stand in a line each the whole may, too.
    if let Ok(line) = HeaderValue::from_bytes(&values.join(&b", "[..])) {
        headers.insert(name, line);
    }
}

/// The last address of the list that is not a trusted proxy's; where all are, the first.
fn first(headers: &HeaderMap, trusted: &[Network]) -> Option<IpAddr> {
    let mut found = None;
    for line in headers.get_all(FOR).iter().rev() {
        for entry in line.to_str().ok()?.split(',').rev() {
            // Whatever stands before what nobody understands may be anybody's.
            let Some(address) = address_of(entry.trim()) else { return found };
            found = Some(address);
            if !trusted.iter().any(|network| network.contains(address)) {
                return found;
            }
        }
    }
    found
}

/// Some proxies write a port behind it.
fn address_of(entry: &str) -> Option<IpAddr> {
    let address = entry.parse().ok().or_else(|| entry.parse::<SocketAddr>().ok().map(|at| at.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

/// What `Forwarded` says of one that the request went through.
fn element(client: &Client) -> String {
    let Client { ip, scheme, .. } = client;
    match ip {
        IpAddr::V4(ip) => format!("for={ip};proto={scheme}"),
        IpAddr::V6(ip) => format!("for=\"[{ip}]\";proto={scheme}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::header::{HeaderMap, HeaderName, HeaderValue};

    use super::tell;
    use crate::client::Client;
    use crate::head::clean_request;
    use crate::network::Network;

    /// What an application is told of what `peer` says.
    fn told(peer: &str, host: &'static str, said: &[(&'static str, &'static str)]) -> Vec<String> {
        let trusted: Arc<[Network]> = Arc::from(["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let client = Client::new(peer.parse().unwrap(), "http", &trusted);
        let line =
            |(n, v): &(&'static str, &'static str)| (HeaderName::from_static(n), HeaderValue::from_static(v));
        let mut headers: HeaderMap = said.iter().map(line).collect();
        clean_request(&mut headers, &client);
        tell(&mut headers, &client, &HeaderValue::from_static(host), &HeaderValue::from_static("id"));
        let lines = headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap()));
        let mut lines: Vec<String> =
            lines.filter(|line| !line.starts_with("host: ") && line != "x-request-id: id").collect();
        lines.sort();
        lines
    }

    const SAID: &[(&str, &str)] = &[
        ("x-forwarded-for", "192.0.2.1, 198.51.100.7"),
        ("x-forwarded-for", "10.9.9.9"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "public.test:8443"),
        ("x-forwarded-prefix", "/app"),
        ("x-forwarded-user", "ada"),
        ("x-real-ip", "192.0.2.2"),
        ("forwarded", "for=192.0.2.1"),
        ("x_forwarded_for", "9.9.9.9"),
        ("x-forwarded_for", "9.9.9.8"),
        ("content_length", "5"),
        ("transfer_encoding", "chunked"),
        ("proxy", "evil.test"),
        ("temps-environment", "1"),
        ("x-request-id", "evil"),
        ("x_request_id", "evil"),
        ("connection", "x-forwarded-for, x-secret, host"),
        ("x-secret", "1"),
        ("accept", "*/*"),
    ];

    #[test]
    fn only_we_say_who_the_client_is() {
        let expected = [
            "accept: */*",
            "x-forwarded-for: 203.0.113.5",
            "x-forwarded-host: a.test",
            "x-forwarded-port: 80",
            "x-forwarded-proto: http",
            "x-real-ip: 203.0.113.5",
        ];
        assert_eq!(told("203.0.113.5", "a.test", SAID), expected);
    }

    #[test]
    fn what_a_trusted_proxy_says_is_passed_on() {
        let expected = [
            "accept: */*",
            "forwarded: for=192.0.2.1, for=10.0.0.1;proto=http",
            "x-forwarded-for: 192.0.2.1, 198.51.100.7, 10.9.9.9, 10.0.0.1",
            "x-forwarded-host: public.test:8443",
            "x-forwarded-port: 8443",
            "x-forwarded-prefix: /app",
            "x-forwarded-proto: https",
            "x-forwarded-user: ada",
            "x-real-ip: 198.51.100.7",
        ];
        assert_eq!(told("::ffff:10.0.0.1", "a.test", SAID), expected);
    }

    #[test]
    fn what_cannot_be_understood_does_not_stand() {
        let said = &[
            ("x-forwarded-for", "192.0.2.1, unknown, [fd00::1]:80"),
            ("x-forwarded-proto", "https, http"),
            ("x-forwarded-host", "a.test/evil"),
            ("x-forwarded-port", "8443"),
            ("x-forwarded-port", "80"),
        ];
        let expected = [
            "x-forwarded-for: 192.0.2.1, unknown, [fd00::1]:80, fd00::2",
            "x-forwarded-host: [::1]:81",
            "x-forwarded-port: 81",
            "x-forwarded-proto: http",
            "x-real-ip: fd00::1",
        ];
        assert_eq!(told("fd00::2", "[::1]:81", said), expected);
        let expected = [
            "forwarded: for=_x, for=\"[fd00::2]\";proto=http",
            "x-forwarded-for: fd00::2",
            "x-forwarded-host: [::1]",
            "x-forwarded-port: 443",
            "x-forwarded-proto: https",
            "x-real-ip: fd00::2",
        ];
        let said = &[("forwarded", "for=_x"), ("x-forwarded-for", ""), ("x-forwarded-proto", "https")];
        assert_eq!(told("fd00::2", "[::1]", said), expected);
    }
}
