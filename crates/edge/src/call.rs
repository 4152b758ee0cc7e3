//! A client's request, ready to be sent: to an instance or to another edge, again if need be.

use std::rc::Rc;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use temps_core::host;
use temps_core::model::{EnvironmentId, NodeId};

use crate::asked::Refusal;
use crate::head::{ANSWERED_BY, CLIENT_HOST, ENVIRONMENT, RELEASE, Wishes};
use crate::pick::Ask;
use crate::upload::{RequestBody, Upload};

/// A client's request, ready to be sent.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    path: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) upload: Option<Rc<Upload>>,
    /// The client's connection, where it wants to change the protocol.
    pub(crate) upgrade: Option<OnUpgrade>,
    /// An application that receives it twice is in the state of one that receives it once.
    pub(crate) repeatable: bool,
    repeated: bool,
    /// Tries that failed.
    pub(crate) retries: u32,
    /// Whoever answers is to be told.
    pub(crate) is_logged: bool,
}

impl Call {
    /// `headers` must have been cleaned.
    pub(crate) fn new(
        method: Method,
        uri: &Uri,
        mut headers: HeaderMap,
        incoming: Incoming,
        wishes: &Wishes,
        upgrade: Option<OnUpgrade>,
    ) -> Self {
        // A length with zeros in front is read in more than one way.
        if let (Some(length), Some(exact)) = (headers.get(CONTENT_LENGTH), incoming.size_hint().exact())
            && length.as_bytes().starts_with(b"0")
        {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(exact));
        }
        let upload = Upload::new(incoming, wishes.expects);
        let safe_twice = matches!(
            method,
            Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
        );
        Self {
            repeatable: safe_twice && upload.is_none(),
            repeated: false,
            retries: 0,
            is_logged: false,
            path: origin_form(uri),
            upgrade: upgrade.filter(|_| wishes.upgrade.is_some()),
            method,
            headers,
            upload,
        }
    }

    /// Whether it may be sent once more though an application may have received it.
    pub(crate) fn may_repeat(&self) -> bool {
        self.repeatable && !self.repeated
    }

    /// The client broke off its request, or never ended it: then nobody else is to blame.
    pub(crate) fn broken_by_client(&self) -> Option<Refusal> {
        let upload = self.upload.as_ref().filter(|upload| upload.failed())?;
        Some(if upload.stopped() { Refusal::SlowBody } else { Refusal::BadBody })
    }

    pub(crate) fn note_repeat(&mut self) {
        self.repeated = true;
    }

    /// For an instance of this node.
    pub(crate) fn to_instance(&self) -> Request<RequestBody> {
        let mut request = self.request(self.path.clone());
        if let Some(gate) = self.upload.as_ref().and_then(|upload| upload.gate.as_ref()) {
            request.headers_mut().insert(EXPECT, HeaderValue::from_static("100-continue"));
            gate.open_later();
            let gate = Arc::clone(gate);
            hyper::ext::on_informational(&mut request, move |interim| {
                if interim.status() == http::StatusCode::CONTINUE {
                    gate.open();
                }
            });
        }
        request
    }

    /// For an instance of this node that speaks HTTP/2. It may refuse it after some of the body was sent.
    pub(crate) fn to_instance_in_http2(&self) -> Request<RequestBody> {
        self.send_at_once();
        let host = self.headers.get(HOST).map_or(&b""[..], HeaderValue::as_bytes);
        let authority = Authority::try_from(host).ok().or_else(|| {
            let normal = host::normalise(std::str::from_utf8(host).ok()?).ok()?;
            Authority::try_from(normal).ok()
        });
        let uri =
            authority.map_or_else(|| self.path.clone(), |name| absolute(&self.path, Scheme::HTTP, &name));
        let mut request = self.request(uri);
        request.headers_mut().remove(TRANSFER_ENCODING);
        request.headers_mut().remove(HOST);
        request
    }

    /// The body is not held back, and its beginning is remembered.
    fn send_at_once(&self) {
        if let Some(upload) = &self.upload {
            upload.remember();
            if let Some(gate) = &upload.gate {
                gate.open();
            }
        }
    }

    /// For the edge of another node.
    pub(crate) fn to_peer(
        &self,
        name: &Authority,
        environment: EnvironmentId,
        ask: Ask,
    ) -> Request<RequestBody> {
        self.send_at_once();
        let mut request = self.request(absolute(&self.path, Scheme::HTTPS, name));
        let headers = request.headers_mut();
        headers.remove(TRANSFER_ENCODING);
        if let Some(host) = headers.remove(HOST) {
            headers.insert(CLIENT_HOST, host);
        }
        headers.insert(ENVIRONMENT, HeaderValue::from(environment.0));
        let release = match ask {
            Ask::Release(release) => HeaderValue::from(release.0),
            Ask::Any => HeaderValue::from_static("any"),
        };
        headers.insert(RELEASE, release);
        if self.is_logged {
            headers.insert(ANSWERED_BY, HeaderValue::from_static("?"));
        }
        request
    }

    /// For the edge of another node, on a connection of HTTP/1 that changes its protocol.
    pub(crate) fn to_peer_tunnel(
        &self,
        name: &Authority,
        environment: EnvironmentId,
        ask: Ask,
    ) -> Request<RequestBody> {
        let mut request = self.to_peer(name, environment, ask);
        *request.uri_mut() = self.path.clone();
        if let Ok(host) = HeaderValue::from_str(name.as_str()) {
            request.headers_mut().insert(HOST, host);
        }
        request
    }

    fn request(&self, uri: Uri) -> Request<RequestBody> {
        let body = self.upload.as_ref().map_or(RequestBody::Empty, Upload::read);
        let chunked = !body.is_end_stream() && body.size_hint().exact().is_none();
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_11;
        *request.headers_mut() = self.headers.clone();
        if chunked && self.upgrade.is_none() {
            request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        request
    }
}

/// The name in the certificate of a node.
pub(crate) fn name_of(node: NodeId) -> String {
    format!("node-{}.temps.internal", node.0)
}

/// Path and query alone.
fn origin_form(uri: &Uri) -> Uri {
    if uri.scheme().is_none() && uri.authority().is_none() {
        return uri.clone();
    }
    // A path that a fragment cut to nothing is written as nothing unless it is read anew.
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    PathAndQuery::try_from(path).map_or_else(|_| Uri::from_static("/"), Uri::from)
}

fn absolute(path: &Uri, scheme: Scheme, name: &Authority) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(name.clone());
    parts.path_and_query =
        Some(path.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_else(|_| path.clone())
}
