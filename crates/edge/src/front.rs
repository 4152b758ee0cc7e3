//! The service for clients: who answers a request, and what the client gets when nobody can.
//!
//! Nothing here waits between choosing and counting; a request for which nobody is ready waits a little and is then
//! chosen for anew. It is sent again only where no application can have received it, or where receiving it twice does
//! no harm, and then once.

use std::convert::Infallible;
use std::rc::Rc;

use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use temps_core::model::{InstanceId, NodeId, ReleaseId};

use crate::answer::Why;
use crate::asked::{Asked, Refusal};
use crate::body::Answer;
use crate::call::Call;
use crate::client::{Active, Client};
use crate::count::{Account, Fault};
use crate::deliver::{Delivery, deliver};
use crate::head::{ANSWERED_BY, CUT, FAILED, ONCE, clean_request, is_grpc};
use crate::instance::{self, Lease, Sent};
use crate::maintenance;
use crate::peer::Reply;
use crate::pick::{Ask, Tried};
use crate::pool::Carrier;
use crate::record::Record;
use crate::secure;
use crate::ticket::Ticket;
use crate::told::tell;
use crate::wait::Wait;
use crate::worker::{Chosen, Worker};

/// Answers one request of a client.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    client: Rc<Client>,
    active: Active,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let version = request.version();
    let ticket = Ticket::of(&worker, &client, &request);
    let mut response = match Asked::of(&request) {
        Ok(asked) => match secure::instead(&worker, &client, &asked, &request) {
            Some(why) => ticket.answer(&why, asked.name(), active),
            None => {
                let hsts = secure::hsts(&worker, &client, &asked, request.uri());
                let mut response = respond(&worker, &client, &asked, &ticket, active, request).await;
                if let Some(seconds) = hsts {
                    secure::insist(&mut response, seconds);
                }
                response
            }
        },
        Err(refusal) => ticket.answer(&Why::Refused(refusal), "", active),
    };
    if worker.closing.get().is_some() && version < Version::HTTP_2 && response.status().as_u16() != 101 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(ticket.begin_answer(response))
}

async fn respond(
    worker: &Rc<Worker>,
    client: &Client,
    asked: &Asked,
    ticket: &Ticket,
    active: Active,
    mut request: Request<Incoming>,
) -> Response<Answer> {
    let upgrade = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
    let (parts, incoming) = request.into_parts();
    let mut headers = parts.headers;
    let wishes = clean_request(&mut headers, client);
    tell(&mut headers, client, &asked.host, &ticket.id);
    let mut call = Call::new(parts.method, &parts.uri, headers, incoming, &wishes, upgrade);
    if let Some(record) = &ticket.record {
        record.sent_on(&mut call);
    }
    // What a call of gRPC sends may be a conversation, in which the client has its pauses.
    if let Some(upload) = call.upload.as_ref().filter(|_| !is_grpc(&call.headers)) {
        upload.expect_within(worker.limits.body);
    }

    let mut search = Search::default();
    loop {
        let found = match worker.choose(asked.name(), parts.uri.path(), &call.headers, &search.tried) {
            Chosen::NotReady => break search.give_up(Why::NotReady, asked, &call, ticket, active),
            Chosen::Unknown => break search.give_up(Why::Unknown, asked, &call, ticket, active),
            Chosen::Maintenance(notice) => break maintenance::answer(&notice, &call.headers, active),
            Chosen::Nobody(account) => {
                let go_on =
                    search.lost.is_none() && Box::pin(search.wait.once_more(worker, &account.waiting)).await;
                search.account = Some(account);
                if go_on {
                    // Nobody has received it, and whoever could not take it may be able to by now.
                    search.tried = Tried::default();
                    continue;
                }
                break search.give_up(Why::NoInstance(String::new()), asked, &call, ticket, active);
            }
            Chosen::Local(account, lease) if lease.cannot_change(&call) => {
                account.answered(StatusCode::NOT_IMPLEMENTED);
                break ticket.answer(&Why::NoUpgrade, asked.name(), active);
            }
            Chosen::Local(account, lease) => {
                search.account = Some(account);
                search.at_instance(worker, lease, &mut call).await
            }
            Chosen::Remote(account, forward) => {
                search.account = Some(account);
                Box::pin(search.at_peer(worker, forward, &mut call)).await
            }
        };
        let Some(found) = found else {
            if search.over {
                break search.give_up(Why::NoInstance(String::new()), asked, &call, ticket, active);
            }
            continue;
        };
        let account = search.account.clone();
        if let Some(account) = &account {
            match found.response.headers().get(FAILED) {
                Some(how) if how == CUT => account.failed(Fault::Cut),
                Some(_) => account.failed(Fault::Reset),
                None => account.answered(found.response.status()),
            }
        }
        if let Some(record) = &ticket.record {
            search.note(&call, record);
            found.note(worker, record);
        }
        let Found { response, carrier, lease, .. } = found;
        let record = ticket.record.clone();
        let delivery = Delivery { response, carrier, lease, account, record, active };
        break match deliver(worker, call, delivery) {
            Ok(response) => response,
            Err(active) => {
                if let Some(account) = &search.account {
                    account.broke(Fault::Reset);
                }
                ticket.answer(&Why::BadUpgrade, asked.name(), active)
            }
        };
    }
}

/// The head of an application's answer.
struct Found {
    response: Response<Incoming>,
    carrier: Option<Carrier>,
    lease: Option<Lease>,
    /// The other node whose edge gave it.
    node: Option<NodeId>,
}

impl Found {
    /// Notes who answered.
    fn note(&self, worker: &Worker, record: &Record) {
        let headers = self.response.headers();
        record.note(|line| {
            line.node = self.node.or_else(|| worker.node());
            if let Some(lease) = &self.lease {
                line.release = Some(lease.pool.instance.release);
                line.instance = Some(lease.pool.instance.id);
            } else if let Some(by) = headers.get(ANSWERED_BY).and_then(|by| by.to_str().ok()) {
                let mut numbers = by.split(' ').map(|number| number.parse::<u64>().ok());
                line.release = numbers.next().flatten().map(ReleaseId);
                line.instance = numbers.next().flatten().map(InstanceId);
                let there = numbers.next().flatten().and_then(|n| u32::try_from(n).ok());
                line.retries += there.unwrap_or(0);
            }
            if let Some(how) = headers.get(FAILED) {
                let how = if how == CUT { "the instance was ended" } else { "the instance broke off" };
                line.error = Some(format!("{how} before it answered").into());
            }
        });
    }
}

/// Where a request was already, and what happened there.
#[derive(Default)]
struct Search {
    tried: Tried,
    wait: Wait,
    account: Option<Rc<Account>>,
    unsent: String,
    lost: Option<(String, Fault)>,
    /// It must not be sent again.
    over: bool,
    /// What is wrong with the request itself: nobody's failure but the client's.
    by_client: Option<Refusal>,
}

impl Search {
    async fn at_instance(&mut self, worker: &Worker, lease: Lease, call: &mut Call) -> Option<Found> {
        let uid = lease.pool.instance.uid;
        match instance::send(&lease, call, &worker.shared.retries).await {
            Sent::Answered(response, carrier) => {
                lease.answered(response.status());
                return Some(Found { response, carrier, lease: Some(lease), node: None });
            }
            Sent::Unsent(why) => {
                lease.refused();
                self.unsent = why;
            }
            Sent::Lost(why) => {
                self.lose(why, lease.lost(call.broken_by_client().is_some()), call);
            }
        }
        worker.shared.retries.add(worker.index, 1);
        call.retries += 1;
        self.tried.instances.push(uid);
        None
    }

    async fn at_peer(
        &mut self,
        worker: &Worker,
        forward: crate::worker::Forward,
        call: &mut Call,
    ) -> Option<Found> {
        let reply = forward.link.send(call, forward.environment, forward.ask).await;
        match reply {
            Reply::Sent(Sent::Answered(response, _))
                if call.may_repeat() && response.headers().get(FAILED).is_some_and(|how| how == ONCE) =>
            {
                self.lose(format!("on {}", forward.link.peer.node), Fault::Reset, call);
                // Of any release that node could offer the very instance that lost it.
                self.tried.asked.push((forward.link.peer.node, Ask::Any));
            }
            Reply::Sent(Sent::Answered(response, carrier)) => {
                let node = Some(forward.link.peer.node);
                return Some(Found { response, carrier, lease: None, node });
            }
            Reply::NotHere => {}
            Reply::Sent(Sent::Unsent(why)) => self.unsent = why,
            Reply::Sent(Sent::Lost(why)) => self.lose(why, Fault::Cut, call),
        }
        worker.shared.retries.add(worker.index, 1);
        call.retries += 1;
        self.tried.asked.push((forward.link.peer.node, forward.ask));
        None
    }

    /// An application may have received it. It may go elsewhere once, if that does no harm.
    fn lose(&mut self, why: String, fault: Fault, call: &mut Call) {
        self.by_client = call.broken_by_client();
        self.over = !call.may_repeat();
        call.note_repeat();
        self.lost = Some((why, fault));
    }

    fn give_up(
        &mut self,
        why: Why,
        asked: &Asked,
        call: &Call,
        ticket: &Ticket,
        active: Active,
    ) -> Response<Answer> {
        if let Some(record) = &ticket.record {
            self.note(call, record);
        }
        if let Some(refusal) = self.by_client {
            return ticket.answer(&Why::Refused(refusal), asked.name(), active);
        }
        let (why, fault) = match self.lost.take() {
            Some((lost, fault)) => (Why::Lost(lost), fault),
            None => match why {
                Why::NoInstance(_) if !self.unsent.is_empty() => {
                    (Why::NoInstance(std::mem::take(&mut self.unsent)), Fault::Refused)
                }
                why => (why, Fault::Shed),
            },
        };
        if let Some(account) = &self.account {
            account.failed(fault);
        }
        ticket.answer(&why, asked.name(), active)
    }

    fn note(&self, call: &Call, record: &Record) {
        record.note(|line| {
            line.environment = self.account.as_ref().map(|account| account.environment);
            line.retries = call.retries;
        });
    }
}
