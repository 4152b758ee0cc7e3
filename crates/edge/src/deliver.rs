//! From the head of an answer to what the client gets.

use std::rc::Rc;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Response, StatusCode, Version};
use hyper::body::Incoming;

use crate::body::{Answer, Owed};
use crate::call::Call;
use crate::client::Active;
use crate::count::Account;
use crate::head::clean_response;
use crate::instance::Lease;
use crate::pool::Carrier;
use crate::record::Record;
use crate::tunnel;
use crate::worker::Worker;

/// An answer, and what belongs to it.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) response: Response<Incoming>,
    pub(crate) carrier: Option<Carrier>,
    pub(crate) lease: Option<Lease>,
    pub(crate) account: Option<Rc<Account>>,
    /// The client's line in the log, which lasts as long as a tunnel.
    pub(crate) record: Option<Rc<Record>>,
    pub(crate) active: Active,
}

/// What the client gets. `Err`: the protocol changed though the client had not asked.
pub(crate) fn deliver(
    worker: &Rc<Worker>,
    call: Call,
    delivery: Delivery,
) -> Result<Response<Answer>, Active> {
    let Delivery { mut response, carrier, lease, account, record, active } = delivery;
    *response.version_mut() = Version::HTTP_11;
    if let Some(upload) = &call.upload {
        upload.answer_begins();
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client) = call.upgrade else { return Err(active) };
        let protocol = response.headers().get(UPGRADE).cloned();
        clean_response(response.headers_mut());
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            response.headers_mut().insert(UPGRADE, protocol);
        }
        let upstream = hyper::upgrade::on(&mut response);
        tunnel::open(worker, client, upstream, tunnel::Held { carrier, lease, record });
        return Ok(response.map(|_| Answer::text(bytes::Bytes::new(), Some(active))));
    }
    clean_response(response.headers_mut());
    // A client that was not asked for its body must not send it as the next request.
    if call.upload.as_ref().is_some_and(|upload| upload.held_back()) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let owed = Owed { carrier, upload: call.upload, lease, account, active: Some(active) };
    Ok(response.map(|incoming| Answer::stream(incoming, owed)))
}
