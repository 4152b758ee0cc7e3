//! Header lines that may pass, and those that we write.
//!
//! What concerns one connection ends here. What tells an application who the client is comes from us alone.
//! Lines that begin with `temps-` are between edges: none comes from a client or an application, and
//! none reaches them.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

pub(crate) const ENVIRONMENT: HeaderName = HeaderName::from_static("temps-environment");
pub(crate) const RELEASE: HeaderName = HeaderName::from_static("temps-release");
pub(crate) const CLIENT_HOST: HeaderName = HeaderName::from_static("temps-host");
pub(crate) const NOT_HERE: HeaderName = HeaderName::from_static("temps-not-here");
pub(crate) const FAILED: HeaderName = HeaderName::from_static("temps-failed");
/// In [`FAILED`]: an application may have received the request, but no more than once.
pub(crate) const ONCE: &str = "once";
/// In [`FAILED`]: the instance was being stopped.
pub(crate) const CUT: &str = "cut";

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What a client wants beyond the exchange itself.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// The protocol it wants to change to.
    pub(crate) upgrade: Option<HeaderValue>,
    /// It waits to be asked for the body.
    pub(crate) expects: bool,
}

/// From a client's lines to those for an application; all but who the client is.
pub(crate) fn clean_request(headers: &mut HeaderMap) -> Wishes {
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
    remove(headers, |name| is_hop_by_hop(name) || is_ours(name));
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = &wishes.upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
    wishes
}

/// Tells an application who the client is: one line each.
pub(crate) fn tell_client(headers: &mut HeaderMap, address: &HeaderValue, host: &HeaderValue) {
    headers.insert(header::HOST, host.clone());
    headers.insert(FORWARDED_FOR, address.clone());
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    headers.insert(FORWARDED_HOST, host.clone());
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

/// Lines that applications believe because a proxy wrote them, and what some servers take for them.
fn is_ours(name: &str) -> bool {
    if name.contains('_') {
        let name = name.replace('_', "-");
        return is_ours(&name) || is_hop_by_hop(&name) || matches!(&*name, "content-length" | "host");
    }
    matches!(name, "forwarded" | "x-real-ip" | "proxy")
        || name.starts_with("x-forwarded-")
        || name.starts_with("temps-")
}

fn lists(value: &HeaderValue, token: &str) -> bool {
    value.to_str().is_ok_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
}

fn connection_names(headers: &HeaderMap, token: &str) -> bool {
    headers.get_all(header::CONNECTION).iter().any(|value| lists(value, token))
}

/// Removes the lines that `Connection` names, before ours are written.
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
        .collect();
    for name in named {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::{clean_request, clean_response, tell_client};
    use http::header::{HeaderMap, HeaderName, HeaderValue};

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
    fn only_we_say_who_the_client_is() {
        let mut headers = map(&[
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "/admin"),
            ("x-real-ip", "10.0.0.3"),
            ("forwarded", "for=1.1.1.1"),
            ("x_forwarded_for", "9.9.9.9"),
            ("x-forwarded_for", "9.9.9.8"),
            ("content_length", "5"),
            ("transfer_encoding", "chunked"),
            ("temps-environment", "1"),
            ("connection", "x-forwarded-for, x-secret, host"),
            ("x-secret", "1"),
            ("accept", "*/*"),
        ]);
        clean_request(&mut headers);
        tell_client(
            &mut headers,
            &HeaderValue::from_static("192.0.2.7"),
            &HeaderValue::from_static("a.test"),
        );
        assert_eq!(
            lines(&headers),
            [
                "accept: */*",
                "host: a.test",
                "x-forwarded-for: 192.0.2.7",
                "x-forwarded-host: a.test",
                "x-forwarded-proto: http",
            ]
        );
    }

    #[test]
    fn a_client_may_change_to_websocket_but_not_to_http2() {
        let mut headers =
            map(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket"), ("te", "trailers, gzip")]);
        let wishes = clean_request(&mut headers);
        assert!(wishes.upgrade.is_some());
        assert_eq!(lines(&headers), ["connection: upgrade", "te: trailers", "upgrade: websocket"]);

        let mut headers =
            map(&[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("http2-settings", "x")]);
        assert!(clean_request(&mut headers).upgrade.is_none());
        assert!(headers.is_empty());

        let mut headers = map(&[("upgrade", "websocket")]);
        assert!(clean_request(&mut headers).upgrade.is_none(), "the connection does not name it");
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
