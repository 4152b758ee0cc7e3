//! Names of applications, and their certificates.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect};
use temps_wire::proto::{
    Acme, AddDomainRequest, Domain, ListDomainsRequest, Reached, RemoveDomainRequest, SetAcmeRequest,
    VerifyDomainRequest,
};
use temps_wire::told;

use super::super::frame::Frame;
use super::super::visitor::{Fields, Posted, Visitor};
use super::super::{Page, show};
use super::{Came, SAME, SO_ALREADY, back, nothing, pem, port};
use crate::desk::Desk;
use crate::operations::Operations;

const AT: &str = "/domains";
const ADDED: &str = "added";
/// The directory of Let's Encrypt.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

#[derive(Template)]
#[template(path = "domains.html")]
struct Domains {
    frame: Frame,
    /// What came of a form.
    notice: String,
    domains: Vec<Domain>,
    /// Where certificates are ordered.
    acme: Option<Acme>,
}

impl Domains {
    /// What is typed where certificates are ordered: what is so, or what most begin with.
    fn typed(&self) -> Acme {
        let first = || Acme { directory: LETS_ENCRYPT.to_owned(), ..Acme::default() };
        let mut acme = self.acme.clone().unwrap_or_else(first);
        acme.contact = acme.contact.trim_start_matches("mailto:").to_owned();
        acme
    }
}

/// Whether a name leads here, and what was found.
#[derive(Template)]
#[template(path = "verified.html")]
struct Verified {
    frame: Frame,
    domain: Domain,
    leads: bool,
    unresolved: String,
    reached: Vec<Reached>,
    certificate: String,
    /// The port that was asked; empty for the usual one.
    port: String,
}

pub(in crate::pages) async fn domains(visitor: Visitor, Query(came): Query<Came>) -> Page {
    let asked = ListDomainsRequest::default();
    let listed = Operations::list_domains(&visitor.desk, visitor.caller.clone(), asked).await?;
    let notice = notice(&came, &listed.domains);
    let frame = Frame::new(&visitor, AT).await;
    show(&Domains { frame, notice, domains: listed.domains, acme: listed.acme })
}

fn notice(came: &Came, domains: &[Domain]) -> String {
    let next = "Point it at your machines, then verify it.";
    match (came.came.as_str(), domains.iter().find(|domain| domain.name == came.of)) {
        (SAME, None) => SO_ALREADY.to_owned(),
        (SAME, Some(Domain { name, project, environment, .. })) => {
            format!("{name} belongs to {project} ({environment}) already.")
        }
        (ADDED, Some(Domain { name, project, environment, .. })) => {
            format!("{name} belongs to {project} ({environment}). {next}")
        }
        (_, _) => String::new(),
    }
}

pub(in crate::pages) async fn change_domains(
    State(desk): State<Desk>,
    Path(action): Path<String>,
    posted: Posted,
) -> Page {
    let Posted { visitor, fields } = posted;
    let (caller, name) = (visitor.caller.clone(), fields.get("name").to_owned());
    match action.as_str() {
        "add" => {
            let [project, environment] = ["project", "environment"].map(|field| fields.get(field).to_owned());
            let [certificate, key] = ["certificate", "key"].map(|field| pem(&fields, field));
            let asked = AddDomainRequest { project, environment, name: name.clone(), certificate, key };
            let changed = Operations::add_domain(&desk, caller, asked).await?;
            return back(AT, if changed.no_change { SAME } else { ADDED }, &name.to_lowercase());
        }
        "acme" => {
            let directory =
                if fields.is_set("off") { String::new() } else { fields.get("directory").to_owned() };
            let asked = SetAcmeRequest {
                directory,
                email: fields.get("email").to_owned(),
                terms_agreed: fields.is_set("terms"),
                root: pem(&fields, "root"),
            };
            if Operations::set_acme(&desk, caller, asked).await?.no_change {
                return back(AT, SAME, "");
            }
        }
        "remove" => drop(Operations::remove_domain(&desk, caller, RemoveDomainRequest { name }).await?),
        "verify" => return verify(&desk, &visitor, &fields).await,
        other => return nothing(other),
    }
    Ok(Redirect::to(AT).into_response())
}

async fn verify(desk: &Desk, visitor: &Visitor, fields: &Fields) -> Page {
    let caller = || visitor.caller.clone();
    let asked = VerifyDomainRequest { name: fields.get("name").to_owned(), port: port(fields.get("port"))? };
    let found = Operations::verify_domain(desk, caller(), asked).await?;
    let of = Operations::list_domains(desk, caller(), ListDomainsRequest::default()).await?;
    let leads = told::leads_here(&found);
    let domain = found.domain.unwrap_or_default();
    let certificate = match found.ordered_again {
        true => "ordered again now".to_owned(),
        false => told::certificate(&domain, of.acme.is_some()).unwrap_or_else(|| "none".to_owned()),
    };
    let frame = Frame::new(visitor, AT).await;
    let (unresolved, reached) = (found.unresolved, found.reached);
    let port = fields.get("port").to_owned();
    show(&Verified { frame, domain, leads, unresolved, reached, certificate, port })
}

/// Whether ordering a certificate failed last, be it the first or another one.
fn fails(domain: &Domain) -> bool {
    domain.order.as_ref().is_some_and(|order| !order.failure.is_empty())
}
