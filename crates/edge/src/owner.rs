//! The service for other edges: this node decides which of its instances answers.
//!
//! Only here are the lines between edges believed, because the connection proved that the other side is a node of
//! this cluster. What was forwarded once is never forwarded again.

use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{CONNECTION, HOST, HeaderMap, HeaderValue};
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use temps_core::model::{EnvironmentId, ReleaseId};
use tokio::net::TcpStream;
use tracing::{debug, warn};

use crate::answer::{Why, answer as said, failed, lost as lost_once, not_here};
use crate::body::Answer;
use crate::call::Call;
use crate::client::{Active, Connection, Whose, drive};
use crate::count::Fault;
use crate::deliver::{Delivery, deliver};
use crate::head::{ANSWERED_BY, CLIENT_HOST, ENVIRONMENT, RELEASE, clean_forwarded};
use crate::identity::{HTTP2, node_of};
use crate::instance::{self, Lease, Sent};
use crate::pick::{Ask, Tried};
use crate::ticket::REQUEST_ID;
use crate::worker::Worker;

/// How long another edge's handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// Serves one connection of another edge.
pub(crate) async fn serve(worker: Rc<Worker>, stream: TcpStream) {
    let connection = Arc::new(Connection::new(Whose::Edge, worker.ticks.clone()));
    let _known = worker.know(&connection);
    let accepting = worker.shared.tls.accept.accept(stream);
    let stream = match tokio::time::timeout(HANDSHAKE, accepting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%error, "a connection from another edge failed"),
        Err(_) => return debug!("a connection from another edge took too long"),
    };
    let session = stream.get_ref().1;
    let Some(node) = session.peer_certificates().and_then(<[_]>::first).and_then(node_of) else {
        return warn!("a certificate of the cluster that names no node was refused");
    };
    let http2 = session.alpn_protocol() == Some(HTTP2);
    connection.http2.store(http2, Ordering::Relaxed);
    let state = Arc::clone(&connection);
    let of_edge = Rc::clone(&worker);
    let service = service_fn(move |request| answer(Rc::clone(&of_edge), Active::begin(&state), request));
    let io = TokioIo::new(stream);
    let ended = if http2 {
        drive(worker.http2_for_edges().serve_connection(io, service), &connection).await
    } else {
        let mut http1 = hyper::server::conn::http1::Builder::new();
        http1.timer(TokioTimer::new()).header_read_timeout(None);
        drive(http1.serve_connection(io, service).with_upgrades(), &connection).await
    };
    if let Err(error) = ended {
        debug!(%node, %error, "a connection from another edge ended");
    }
}

/// Answers one forwarded request.
async fn answer(
    worker: Rc<Worker>,
    active: Active,
    mut request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let Some((environment, ask)) = asked(request.headers()) else { return Ok(not_here(active)) };
    let upgrade = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
    let version = request.version();
    let (parts, incoming) = request.into_parts();
    let mut headers = parts.headers;
    let host = headers.remove(CLIENT_HOST).unwrap_or_else(|| HeaderValue::from_static(""));
    let name = String::from_utf8_lossy(host.as_bytes()).into_owned();
    let is_logged = headers.contains_key(ANSWERED_BY);
    let wishes = clean_forwarded(&mut headers);
    headers.insert(HOST, host);
    let mut call = Call::new(parts.method, &parts.uri, headers, incoming, &wishes, upgrade);

    let id = call.headers.get(REQUEST_ID).cloned();
    let mut tried = Tried::default();
    let mut lost = None;
    let mut response = loop {
        let Some(lease) = worker.choose_for_peer(environment, ask, &tried) else {
            break match lost {
                // The first loss is the only one that leads here: what is lost again ends the search.
                Some(why) => lost_once(why, &name, id.as_ref(), active),
                None => not_here(active),
            };
        };
        if lease.cannot_change(&call) {
            break said(&Why::NoUpgrade, &name, id.as_ref(), active);
        }
        tried.instances.push(lease.pool.instance.uid);
        match instance::send(&lease, &mut call, &worker.shared.retries).await {
            Sent::Answered(response, carrier) => {
                lease.answered(response.status());
                let by = is_logged.then(|| answered_by(&lease, &call));
                let delivery =
                    Delivery { response, carrier, lease: Some(lease), account: None, record: None, active };
                let mut delivered = deliver(&worker, call, delivery).unwrap_or_else(|active| {
                    failed(&Why::BadUpgrade, Fault::Reset, &name, id.as_ref(), active)
                });
                if let Some(Ok(by)) = by.map(HeaderValue::try_from) {
                    delivered.headers_mut().insert(ANSWERED_BY, by);
                }
                break delivered;
            }
            Sent::Unsent(_) => lease.refused(),
            Sent::Lost(why) => {
                let fault = lease.lost(call.broken_by_client().is_some());
                if !call.may_repeat() {
                    break failed(&Why::Lost(why), fault, &name, id.as_ref(), active);
                }
                call.note_repeat();
                lost = Some(why);
            }
        }
        worker.shared.retries.add(worker.index, 1);
        call.retries += 1;
    };
    if worker.closing.get().is_some() && version < Version::HTTP_2 && response.status().as_u16() != 101 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// What the edge that asked notes in its log.
fn answered_by(lease: &Lease, call: &Call) -> String {
    let instance = &lease.pool.instance;
    format!("{} {} {}", instance.release.0, instance.id.0, call.retries)
}

fn asked(headers: &HeaderMap) -> Option<(EnvironmentId, Ask)> {
    let environment = headers.get(ENVIRONMENT)?.to_str().ok()?.parse().ok()?;
    let ask = match headers.get(RELEASE)?.to_str().ok()? {
        "any" => Ask::Any,
        number => Ask::Release(ReleaseId(number.parse().ok()?)),
    };
    Some((EnvironmentId(environment), ask))
}
