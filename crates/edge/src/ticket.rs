//! What a request is known by: its id, and its line in the log.
//!
//! The id is a UUID of version 7, which begins with the time, unless a trusted proxy gave it one. The application, the
//! client and the log are told the same.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};

use crate::answer::{Why, answer};
use crate::body::Answer;
use crate::client::{Active, Client};
use crate::record::Record;
use crate::worker::Worker;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Of an id that somebody else gave.
const LONGEST: usize = 128;

/// What a request is known by.
#[derive(Debug)]
pub(crate) struct Ticket {
    pub(crate) id: HeaderValue,
    /// Where requests are logged.
    pub(crate) record: Option<Rc<Record>>,
}

impl Ticket {
    pub(crate) fn of<B>(worker: &Worker, client: &Client, request: &Request<B>) -> Self {
        let given = client.trusted.as_ref().and_then(|_| given(request.headers()));
        let id = given.unwrap_or_else(|| worker.ids.next());
        let record = worker.shared.log.as_ref().map(|log| Record::begin(log, client, &id, request));
        Self { id, record }
    }

    /// The answer to the client where no application answers.
    pub(crate) fn answer(&self, why: &Why, host: &str, active: Active) -> Response<Answer> {
        if let Some(record) = &self.record {
            record.note(|line| line.error = Some(why.text(host).into()));
        }
        answer(why, host, Some(&self.id), active)
    }

    /// The answer begins, whoever gave it.
    pub(crate) fn begin_answer(self, mut response: Response<Answer>) -> Response<Answer> {
        response.headers_mut().entry(REQUEST_ID).or_insert(self.id);
        let Some(record) = self.record else { return response };
        record.begin_answer(response.status());
        response.map(|body| body.recorded(record))
    }
}

/// What a proxy calls it.
fn given(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut ids = headers.get_all(REQUEST_ID).iter();
    let id = ids.next().filter(|_| ids.next().is_none())?;
    let bytes = id.as_bytes();
    let is_good = (1..=LONGEST).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
    is_good.then(|| id.clone())
}

/// Where a worker's ids come from. They share their memory, so that few are allocated.
#[derive(Debug)]
pub(crate) struct Ids(RefCell<BytesMut>);

impl Ids {
    pub(crate) fn new() -> Self {
        Self(RefCell::new(BytesMut::with_capacity(4096)))
    }

    pub(crate) fn next(&self) -> HeaderValue {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let text = uuid(since.as_millis(), rand::random());
        let mut block = self.0.borrow_mut();
        block.extend_from_slice(&text);
        HeaderValue::from_maybe_shared(block.split().freeze()).expect("a UUID is visible ASCII")
    }
}

/// A UUID of version 7, as text.
fn uuid(ms: u128, random: u128) -> [u8; 36] {
    let bits = ms << 80 | random & ((1 << 80) - 1);
    let bits = bits & !(0xf << 76) | 0x7 << 76;
    let mut bits = bits & !(0b11 << 62) | 0b10 << 62;
    let mut text = [b'-'; 36];
    for at in (0..36).rev().filter(|at| !matches!(at, 8 | 13 | 18 | 23)) {
        text[at] = b"0123456789abcdef"[usize::try_from(bits & 15).unwrap_or(0)];
        bits >>= 4;
    }
    text
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderMap, HeaderValue};

    use super::{Ids, REQUEST_ID, given, uuid};

    #[test]
    fn an_id_has_its_time_and_is_its_own() {
        let text = String::from_utf8(uuid(0x0123_4567_89ab, u128::MAX).to_vec()).unwrap();
        assert_eq!(text, "01234567-89ab-7fff-bfff-ffffffffffff");
        let text = String::from_utf8(uuid(0x0123_4567_89ab, 0).to_vec()).unwrap();
        assert_eq!(text, "01234567-89ab-7000-8000-000000000000");
        let ids = Ids::new();
        let mut all: Vec<HeaderValue> = (0..1000).map(|_| ids.next()).collect();
        let first = all[0].to_str().unwrap()[..8].to_owned();
        assert!(all.iter().all(|id| id.len() == 36));
        assert!(all[999].to_str().unwrap()[..8] >= first[..]);
        all.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        all.dedup();
        assert_eq!(all.len(), 1000);
    }

    #[test]
    fn what_a_proxy_calls_it_must_be_one_short_word() {
        let check = |ids: &[&str], good: bool| {
            let headers: HeaderMap =
                ids.iter().map(|id| (REQUEST_ID, HeaderValue::from_bytes(id.as_bytes()).unwrap())).collect();
            assert_eq!(given(&headers).is_some(), good, "{ids:?}");
        };
        check(&["7"], true);
        check(&["a!~/=,\"{"], true);
        check(&[&"x".repeat(128)], true);
        check(&[], false);
        check(&[""], false);
        check(&["a b"], false);
        check(&["a\tb"], false);
        check(&["caf\u{e9}"], false);
        check(&["1", "1"], false);
        check(&[&"x".repeat(129)], false);
    }
}
