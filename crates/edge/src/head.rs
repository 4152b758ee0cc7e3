//! Header lines that may pass, and those that we write.
//!
//! What concerns one connection ends here. What tells an application who the client is comes from us alone, and from
//! proxies that are trusted.
//! Lines that begin with `temps-` are between edges: none comes from a client or an application, and
//! none reaches them.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use temps_core::model::SESSION_COOKIE;

use crate::client::Client;
use crate::told::tells_of_client;

pub(crate) const ENVIRONMENT: HeaderName = HeaderName::from_static("temps-environment");
pub(crate) const RELEASE: HeaderName = HeaderName::from_static("temps-release");
pub(crate) const CLIENT_HOST: HeaderName = HeaderName::from_static("temps-host");
pub(crate) const NOT_HERE: HeaderName = HeaderName::from_static("temps-not-here");
pub(crate) const FAILED: HeaderName = HeaderName::from_static("temps-failed");
/// An edge that logs asks so who answered, and is told: release, instance, tries that failed.
pub(crate) const ANSWERED_BY: HeaderName = HeaderName::from_static("temps-answered-by");
/// In [`FAILED`]: an application may have received the request, but no more than once.
pub(crate) const ONCE: &str = "once";
/// In [`FAILED`]: the instance was being stopped.
pub(crate) const CUT: &str = "cut";

/// What a client wants beyond the exchange itself.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// The protocol it wants to change to.
    pub(crate) upgrade: Option<HeaderValue>,
    /// It waits to be asked for the body.
    pub(crate) expects: bool,
}

/// From a client's lines to those for an application; all but who the client is.
pub(crate) fn clean_request(headers: &mut HeaderMap, client: &Client) -> Wishes {
    let mut wishes = Wishes::default();
    let mut trailers = false;
    if headers.contains_key(header::UPGRADE) && connection_names(headers, "upgrade") {
        let protocol = headers.get(header::UPGRADE).cloned();
        // Speaking HTTP/2 to an application is not for a client to arrange.
        wishes.upgrade = protocol.filter(|p| !p.as_bytes().eq_ignore_ascii_case(b"h2c"));
    }
    if let Some(te) = headers.get(header::TE) {
        trailers = lists(te, "trailers");
    }
    if let Some(expect) = headers.remove(header::EXPECT) {
        wishes.expects = expect.as_bytes().eq_ignore_ascii_case(b"100-continue");
    }
    remove_named_by_connection(headers);
    remove(headers, |name| {
        is_hop_by_hop(name) || is_never_a_clients(name) || (client.trusted.is_none() && tells_of_client(name))
    });
    keep_session(headers);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = &wishes.upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
    wishes
}

/// Whether what follows these lines is a call of gRPC.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// From another edge's lines to those for an application: the client's were cleaned where they came in.
pub(crate) fn clean_forwarded(headers: &mut HeaderMap) -> Wishes {
    let upgrade = headers.get(header::UPGRADE).cloned();
    let trailers = headers.get(header::TE).is_some_and(|te| lists(te, "trailers"));
    remove(headers, |name| is_hop_by_hop(name) || name.starts_with("temps-") || name == "expect");
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = &upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
    Wishes { upgrade, expects: false }
}

/// From an application's lines to those for a client.
pub(crate) fn clean_response(headers: &mut HeaderMap) {
    // Where both are given, the length is what everybody must ignore.
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    remove_named_by_connection(headers);
    remove(headers, |name| is_hop_by_hop(name) || name.starts_with("temps-"));
    if headers.get_all(header::SET_COOKIE).iter().any(is_session) {
        let others = headers.get_all(header::SET_COOKIE).iter().filter(|line| !is_session(line));
        let others: Vec<HeaderValue> = others.cloned().collect();
        headers.remove(header::SET_COOKIE);
        for line in others {
            headers.append(header::SET_COOKIE, line);
        }
    }
}

/// Browsers send a cookie to every port of a host, and applications may have the host of a node: who is signed in at the
/// dashboard there is not for them to know.
fn keep_session(headers: &mut HeaderMap) {
    let has = |line: &HeaderValue| line.as_bytes().split(|b| *b == b';').any(is_session_pair);
    if !headers.get_all(header::COOKIE).iter().any(has) {
        return;
    }
    let lines: Vec<HeaderValue> = headers.get_all(header::COOKIE).iter().cloned().collect();
    headers.remove(header::COOKIE);
    for line in lines {
        let pairs: Vec<&[u8]> =
            line.as_bytes().split(|b| *b == b';').filter(|pair| !is_session_pair(pair)).collect();
        let left = pairs.join(&b';');
        if let Ok(line) = HeaderValue::from_bytes(left.trim_ascii())
            && !line.is_empty()
        {
            headers.append(header::COOKIE, line);
        }
    }
}

fn is_session(line: &HeaderValue) -> bool {
    is_session_pair(line.as_bytes())
}

fn is_session_pair(pair: &[u8]) -> bool {
    let name = pair.split(|b| *b == b'=').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(SESSION_COOKIE.as_bytes())
}

fn remove(headers: &mut HeaderMap, unwanted: impl Fn(&str) -> bool) {
    // Mostly there is nothing to remove, and then nothing is allocated.
    let names: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name.as_str())).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Lines that no client and no proxy may send: those between edges, and what some servers take for others.
fn is_never_a_clients(name: &str) -> bool {
    if name.contains('_') {
        let name = name.replace('_', "-");
        return is_never_a_clients(&name)
            || tells_of_client(&name)
            || is_hop_by_hop(&name)
            || matches!(&*name, "content-length" | "host");
    }
    name == "proxy" || name.starts_with("temps-")
}

fn lists(value: &HeaderValue, token: &str) -> bool {
    value.to_str().is_ok_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
}

fn connection_names(headers: &HeaderMap, token: &str) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|value| lists(value, token))
}

/// Removes the lines that `Connection` names, but none that says who the client is: a client could name what a proxy
/// wrote.
fn remove_named_by_connection(headers: &mut HeaderMap) {
    let Some(first) = headers.get(header::CONNECTION) else { return };
    let usual = [&b"keep-alive"[..], b"close", b"Keep-Alive", b"upgrade", b"Upgrade"];
    if usual.contains(&first.as_bytes()) && headers.get_all(header::CONNECTION).iter().count() == 1 {
        return;
    }
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| HeaderName::try_from(name.trim()).ok())
        .filter(|name| {
            *name != header::HOST && *name != header::CONTENT_LENGTH && *name != header::CONNECTION
        })
        .filter(|name| !tells_of_client(name.as_str()))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::{clean_request, clean_response};
    use crate::client::Client;
    use http::header::{HeaderMap, HeaderName, HeaderValue};
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    fn client() -> Client {
        Client::new(Ipv4Addr::LOCALHOST.into(), "http", &Arc::from([]))
    }

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> =
            headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn a_client_may_change_to_websocket_but_not_to_http2() {
        let mut headers =
            map(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket"), ("te", "trailers, gzip")]);
        let wishes = clean_request(&mut headers, &client());
        assert!(wishes.upgrade.is_some());
        assert_eq!(lines(&headers), ["connection: upgrade", "te: trailers", "upgrade: websocket"]);

        let mut headers =
            map(&[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("http2-settings", "x")]);
        assert!(clean_request(&mut headers, &client()).upgrade.is_none());
        assert!(headers.is_empty());

        let mut headers = map(&[("upgrade", "websocket")]);
        assert!(clean_request(&mut headers, &client()).upgrade.is_none(), "the connection does not name it");
    }

    #[test]
    fn an_application_learns_no_session_of_the_dashboard_and_sets_none() {
        let mut headers =
            map(&[("cookie", "a=1; __Host-temps=secret; b=2"), ("cookie", "__Host-temps=more")]);
        clean_request(&mut headers, &client());
        assert_eq!(lines(&headers), ["cookie: a=1; b=2"]);
        let mut headers = map(&[("cookie", "a=1;b=2; __Host-temps2=x")]);
        clean_request(&mut headers, &client());
        assert_eq!(lines(&headers), ["cookie: a=1;b=2; __Host-temps2=x"]);
        let mut headers = map(&[("set-cookie", "a=1"), ("set-cookie", "__Host-temps=mine; Path=/; Secure")]);
        headers.append("set-cookie", HeaderValue::from_static("b=2"));
        clean_response(&mut headers);
        assert_eq!(lines(&headers), ["set-cookie: a=1", "set-cookie: b=2"]);
    }

    #[test]
    fn an_application_cannot_speak_as_an_edge() {
        let mut headers = map(&[
            ("temps-not-here", "1"),
            ("connection", "close"),
            ("keep-alive", "timeout=5"),
            ("x-app", "1"),
        ]);
        clean_response(&mut headers);
        assert_eq!(lines(&headers), ["x-app: 1"]);
    }
}
