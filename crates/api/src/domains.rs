//! Names of environments, their certificates, and whether requests to them arrive here.

use std::net::SocketAddr;
use std::time::Duration;

use temps_core::command::Command;
use temps_core::domains::{self, Origin, is_certifiable};
use temps_core::host;
use temps_core::model::{
    Acme, Certificate, CertificateFrom, CertificateId, CertificateOrder, ClusterState, EnvironmentId, Role,
};
use temps_ledger::{Proposal, wall};
use temps_wire::certificate::{Read, read};
use temps_wire::proto::{
    self, AddDomainRequest, Domain, DomainChanged, ListDomainsRequest, ListDomainsResponse, Reached,
    RemoveDomainRequest, SetAcmeRequest, VerifyDomainRequest, VerifyDomainResponse,
};
use temps_wire::seal::{CERTIFICATE_KEY, Seal};
use temps_wire::token::Fingerprint;
use tonic::Status;

use crate::caller::Caller;
use crate::desk::{Answer, Desk};
use crate::permit::Scope;
use crate::refusal::{refused, unanswered};
use crate::{limits, reach, views};

/// The longest certificate with those up to the root, and the longest key, in bytes.
const PEM_MAX: usize = 64 << 10;
/// How many addresses of a name are asked.
const ADDRESSES: usize = 16;
/// How long the system may look for the addresses of a name.
const LOOKUP: Duration = Duration::from_secs(5);

pub(crate) async fn add(desk: &Desk, caller: Caller, request: AddDomainRequest) -> Answer<DomainChanged> {
    limits::environment(&request.project, &request.environment)?;
    let name = normal(&request.name)?;
    let given = match (request.certificate.as_str(), request.key.as_str()) {
        ("", "") => None,
        (certificate, key) => Some(certified(desk, &name, certificate, key)?),
    };
    if let Some(given) = &given {
        covers_nothing_else(desk, &caller, &name, given)?;
    }
    let command =
        Command::AddDomain { project: request.project, environment: request.environment, name: name.clone() };
    let changed = change(desk, &caller, command).await?;
    let Some(given) = given else { return Ok(changed) };
    // Under a key of its own: that of the caller is for the name.
    let key = caller.key().map(|key| format!("{key}/certificate"));
    let command = Command::PutCertificate(given);
    let proposal = Proposal { key, by: caller.by(), command };
    let receipt = desk.ledger.propose(proposal).await.map_err(|e| unanswered(&e))?;
    receipt.made().map_err(|e| refused(&e))?;
    Ok(DomainChanged { no_change: false })
}

pub(crate) async fn remove(
    desk: &Desk,
    caller: Caller,
    request: RemoveDomainRequest,
) -> Answer<DomainChanged> {
    change(desk, &caller, Command::RemoveDomain { name: normal(&request.name)? }).await
}

pub(crate) async fn list(
    desk: &Desk,
    caller: Caller,
    request: ListDomainsRequest,
) -> Answer<ListDomainsResponse> {
    let state = desk.at_hand().await.state;
    let mut listed = Vec::new();
    for (name, of) in domains::names(&state) {
        for (environment, origin) in of {
            let domain = domain(&state, &name, environment, origin);
            let wanted = |wish: &str, is: &str| wish.is_empty() || wish == is;
            if caller.sees(&domain.project)
                && wanted(&request.project, &domain.project)
                && wanted(&request.environment, &domain.environment)
            {
                listed.push(domain);
            }
        }
    }
    // Whoever runs the cluster is nobody's business in a project.
    let sees_all = caller.grant.everywhere().is_some();
    let seen = |text: &Option<String>| text.clone().filter(|_| sees_all).unwrap_or_default();
    let acme = state.tls.acme.as_ref().map(|acme| proto::Acme {
        directory: acme.directory.clone(),
        contact: seen(&acme.contact),
        root: seen(&acme.root),
    });
    Ok(ListDomainsResponse { domains: listed, acme })
}

fn failed(answer: &VerifyDomainResponse) -> bool {
    let order = answer.domain.as_ref().and_then(|domain| domain.order.as_ref());
    order.is_some_and(|order| !order.failure.is_empty())
}

pub(crate) async fn verify(
    desk: &Desk,
    caller: Caller,
    request: VerifyDomainRequest,
) -> Answer<VerifyDomainResponse> {
    let name = normal(&request.name)?;
    let port = match u16::try_from(request.port) {
        Ok(0) => 80,
        Ok(port) => port,
        Err(_) => return Err(Status::invalid_argument("a port is a number from 1 to 65535")),
    };
    let state = desk.at_hand().await.state;
    let names = domains::names(&state);
    let Some((environment, origin)) = names.get(&name).and_then(|of| of.iter().next()) else {
        return Err(Status::not_found(format!("there is no domain {name:?}; add it first")));
    };
    let mut answer = VerifyDomainResponse {
        domain: Some(domain(&state, &name, *environment, *origin)),
        ..VerifyDomainResponse::default()
    };
    let found = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((name.as_str(), port))).await;
    let mut addresses: Vec<SocketAddr> = match found {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(why)) => {
            answer.unresolved = why.to_string();
            return Ok(answer);
        }
        Err(_) => {
            answer.unresolved = "no name server answered in time".to_owned();
            return Ok(answer);
        }
    };
    addresses.sort();
    addresses.dedup();
    addresses.truncate(ADDRESSES);
    let cluster = desk.identity.ca_fingerprint().map_err(|e| Status::internal(e.to_string()))?;
    let asked = addresses.into_iter().map(|address| ask(address, &name, cluster));
    answer.reached = futures_util::future::join_all(asked).await;
    // What kept a certificate away may be gone: it need not wait for its time.
    if answer.reached.iter().any(|reached| reached.here) && failed(&answer) {
        let (key, by) = (None, caller.by());
        let proposal = Proposal { key, by, command: Command::RetryCertificate { name: name.clone() } };
        answer.ordered_again =
            desk.ledger.propose(proposal).await.is_ok_and(|receipt| receipt.made().is_ok());
    }
    Ok(answer)
}

pub(crate) async fn set_acme(desk: &Desk, caller: Caller, request: SetAcmeRequest) -> Answer<DomainChanged> {
    let SetAcmeRequest { directory, email, terms_agreed, root } = request;
    limits::text("the directory", &directory)?;
    limits::text("the address", &email)?;
    limits::pem("the root certificate", &root, PEM_MAX)?;
    if directory.is_empty() {
        return change(desk, &caller, Command::SetAcme { acme: None }).await;
    }
    if !terms_agreed {
        return Err(Status::invalid_argument(
            "certificates are ordered only where somebody agreed to the terms of the server",
        ));
    }
    let contact = match email.as_str() {
        "" => None,
        email if email.contains('@') && email.bytes().all(|b| b.is_ascii_graphic()) => {
            Some(format!("mailto:{email}"))
        }
        email => return Err(Status::invalid_argument(format!("{email:?} is no address for mail"))),
    };
    let acme = Acme { directory, contact, root: Some(root).filter(|root| !root.is_empty()), account: None };
    change(desk, &caller, Command::SetAcme { acme: Some(acme) }).await
}

async fn change(desk: &Desk, caller: &Caller, command: Command) -> Answer<DomainChanged> {
    Ok(DomainChanged { no_change: desk.change(caller, command).await? })
}

fn normal(name: &str) -> Answer<String> {
    limits::text("the domain", name)?;
    host::normalise(name).map_err(|why| Status::invalid_argument(format!("the domain {name:?}: {why}")))
}

/// What a person gave, checked, with a sealed key.
/// A certificate is shown for every name in it, at the dashboard, too: whoever gives one must have a say in all.
fn covers_nothing_else(desk: &Desk, caller: &Caller, name: &str, given: &Certificate) -> Answer<()> {
    let is_strange = |other: &str| {
        other != name
            && desk.permit(caller, Role::Deployer, Scope::Domain(other), "giving a certificate").is_err()
    };
    match given.names.iter().find(|other| is_strange(other)) {
        None => Ok(()),
        Some(other) => Err(Status::permission_denied(format!(
            "the certificate is for {other}, too, and that is no domain of yours: add that name first, give a \
             certificate for {name} alone, or have somebody do it whose role is for everything"
        ))),
    }
}

fn certified(desk: &Desk, name: &str, chain: &str, key: &str) -> Answer<Certificate> {
    limits::pem("the certificate", chain, PEM_MAX)?;
    limits::pem("the key", key, PEM_MAX)?;
    let Read { names, not_before, not_after, issuer } = read(chain, key).map_err(Status::invalid_argument)?;
    let key = Seal::of(&desk.identity).seal(CERTIFICATE_KEY, key);
    let certificate = Certificate {
        names,
        chain: chain.to_owned(),
        key: key.map_err(|why| Status::internal(why.to_string()))?,
        not_before,
        not_after,
        renew_at: not_after,
        issuer,
        from: CertificateFrom::Uploaded,
    };
    if !certificate.covers(name) {
        let names: Vec<_> = certificate.names.iter().map(String::as_str).collect();
        return Err(Status::invalid_argument(format!(
            "the certificate is for {}, not for {name}",
            names.join(", ")
        )));
    }
    if not_after <= wall() {
        return Err(Status::invalid_argument("the certificate has expired"));
    }
    Ok(certificate)
}

async fn ask(address: SocketAddr, name: &str, cluster: Fingerprint) -> Reached {
    let problem = reach::node_at(address, name, cluster).await.err();
    Reached {
        address: address.ip().to_canonical().to_string(),
        here: problem.is_none(),
        problem: problem.unwrap_or_default(),
    }
}

fn domain(state: &ClusterState, name: &str, environment: EnvironmentId, origin: Origin) -> Domain {
    let (project, environment) = views::names(state, state.environments.get(&environment));
    Domain {
        name: name.to_owned(),
        project,
        environment,
        origin: match origin {
            Origin::Added => "added",
            Origin::Release => "release",
            Origin::Default => "default",
        }
        .to_owned(),
        certificate: state.tls.certificate_for(name).map(|(id, c)| certificate(id, c)),
        order: state.tls.orders.get(name).map(order),
        certifiable: is_certifiable(name),
    }
}

fn certificate(id: CertificateId, certificate: &Certificate) -> proto::Certificate {
    let acme = certificate.from == CertificateFrom::Acme;
    proto::Certificate {
        id: id.to_string(),
        names: certificate.names.iter().cloned().collect(),
        issuer: certificate.issuer.clone(),
        origin: if acme { "acme" } else { "uploaded" }.to_owned(),
        not_before_ms: certificate.not_before,
        not_after_ms: certificate.not_after,
        renew_ms: acme.then_some(certificate.renew_at),
    }
}

fn order(order: &CertificateOrder) -> proto::CertificateOrder {
    proto::CertificateOrder {
        attempts: order.attempts,
        failure: order.failure.clone().unwrap_or_default(),
        retry_ms: order.failure.as_ref().map(|_| order.retry_at),
    }
}
