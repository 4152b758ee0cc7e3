//! Names of applications, and certificates for them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use temps_wire::client::Api;
use temps_wire::proto::{
    AddDomainRequest, Domain, ListDomainsRequest, ListDomainsResponse, RemoveDomainRequest,
    VerifyDomainRequest, VerifyDomainResponse,
};
use temps_wire::told;

use super::Desk;
use crate::exit::{Code, Failure};
use crate::json::{text, time};
use crate::screen::{Table, escape};
use crate::settings::Target;

/// Words behind `domains`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Domains {
    /// Give an application one more name
    #[command(
        after_help = "Point the name at your machines, to all of them where you can. Where certificates are ordered (see \
        `temps cluster acme`) one for the name follows by itself.\n\n\
        Examples:\n  temps domains add www.example.com -p shop\n  temps domains add shop.example.com -p shop --cert chain.pem --key key.pem"
    )]
    Add {
        /// The name
        #[arg(value_name = "DOMAIN")]
        name: String,
        /// A file with a certificate for it, and those up to the root, in PEM
        #[arg(long, value_name = "FILE", requires = "key")]
        cert: Option<PathBuf>,
        /// A file with the key of the certificate, in PEM
        #[arg(long, value_name = "FILE", requires = "cert")]
        key: Option<PathBuf>,
        #[command(flatten)]
        target: Target,
    },
    /// List names with their certificates
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        target: Target,
    },
    /// Take a name that was added, with its certificate
    #[command(visible_alias = "remove")]
    Rm {
        /// The name
        #[arg(value_name = "DOMAIN")]
        name: String,
    },
    /// Check that a name leads to this cluster and has a certificate
    #[command(after_help = "The node that answers looks the name up and asks what it finds there.\n\n\
        Exit codes:\n  0  every address of the name is a node of this cluster\n  1  one is not, or the name has none")]
    Verify {
        /// The name
        #[arg(value_name = "DOMAIN")]
        name: String,
        /// The port that is asked
        #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
    },
}

pub(super) async fn run(desk: &mut Desk, word: Domains) -> Result<Code, Failure> {
    match word {
        Domains::Add { name, cert, key, target } => add(desk, name, cert.zip(key), &target).await,
        Domains::List { target } => list(desk, &target).await,
        Domains::Rm { name } => remove(desk, name).await,
        Domains::Verify { name, port } => verify(desk, name, port).await,
    }
}

async fn add(
    desk: &mut Desk,
    name: String,
    pair: Option<(PathBuf, PathBuf)>,
    target: &Target,
) -> Result<Code, Failure> {
    let (certificate, key) = match pair {
        Some((certificate, key)) => (pem(desk, &certificate)?, pem(desk, &key)?),
        None => Default::default(),
    };
    let with_certificate = !certificate.is_empty();
    let (project, environment) = (desk.project(target)?, desk.environment(target)?);
    let request = AddDomainRequest { project, environment, name, certificate, key };
    let call = |mut api: Api| {
        let request = request.clone();
        async move { api.add_domain(request).await }
    };
    let changed = desk.client()?.call(call).await?;
    let AddDomainRequest { project, environment, name, .. } = request;
    if desk.screen.is_json() {
        let value = json!({
            "domain": name,
            "project": project,
            "environment": environment,
            "certificate": with_certificate,
            "no_change": changed.no_change,
        });
        desk.screen.object(&value)?;
        return Ok(Code::Live);
    }
    let name = escape(&name);
    desk.screen.say(&match (changed.no_change, with_certificate) {
        (true, _) => format!("{name} belongs to {project} ({environment}) already."),
        (false, true) => format!("{name} belongs to {project} ({environment}), with your certificate."),
        (false, false) => format!("{name} belongs to {project} ({environment})."),
    })?;
    if !with_certificate {
        desk.screen.note(&format!("Point it at your machines, then check with: temps domains verify {name}"));
    }
    Ok(Code::Live)
}

/// A file in PEM; not printed, not even where it is wrong.
pub(super) fn pem(desk: &Desk, path: &Path) -> Result<String, Failure> {
    let path = desk.here.join(path);
    std::fs::read_to_string(&path).map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))
}

async fn list(desk: &mut Desk, target: &Target) -> Result<Code, Failure> {
    let project = desk.project_if_any(target)?.unwrap_or_default();
    let environment = target.environment.clone().unwrap_or_default();
    let request = ListDomainsRequest { project, environment };
    let call = |mut api: Api| {
        let request = request.clone();
        async move { api.list_domains(request).await }
    };
    let answer = desk.client()?.call(call).await?;
    if desk.screen.is_json() {
        desk.screen.object(&json!({ "domains": answer.domains.iter().map(shape).collect::<Vec<_>>() }))?;
    } else {
        desk.screen.say(&table(&answer))?;
    }
    Ok(Code::Live)
}

fn table(answer: &ListDomainsResponse) -> String {
    let mut table = Table::new(["DOMAIN", "PROJECT", "ENVIRONMENT", "FROM", "CERTIFICATE"]);
    for domain in &answer.domains {
        table.row([
            escape(&domain.name),
            escape(&domain.project),
            escape(&domain.environment),
            escape(told::origin(domain)),
            certificate(domain, answer.acme.is_some()),
        ]);
    }
    table.text()
}

/// What a person wants to know about the certificate of a name.
fn certificate(domain: &Domain, ordered: bool) -> String {
    let none = || "none; see `temps cluster acme`".to_owned();
    told::certificate(domain, ordered).map_or_else(none, |text| escape(&text))
}

async fn remove(desk: &mut Desk, name: String) -> Result<Code, Failure> {
    let request = RemoveDomainRequest { name };
    let call = |mut api: Api| {
        let request = request.clone();
        async move { api.remove_domain(request).await }
    };
    desk.client()?.call(call).await?;
    if desk.screen.is_json() {
        desk.screen.object(&json!({ "domain": request.name, "removed": true }))?;
    } else {
        desk.screen.say(&format!("{} is nobody's any more.", escape(&request.name)))?;
    }
    Ok(Code::Live)
}

async fn verify(desk: &mut Desk, name: String, port: u16) -> Result<Code, Failure> {
    let request = VerifyDomainRequest { name, port: u32::from(port) };
    let call = |mut api: Api| {
        let request = request.clone();
        async move { api.verify_domain(request).await }
    };
    let answer = desk.client()?.call(call).await?;
    let good = told::leads_here(&answer);
    if desk.screen.is_json() {
        let reached: Vec<_> = answer
            .reached
            .iter()
            .map(|r| json!({ "address": r.address, "here": r.here, "problem": text(&r.problem) }))
            .collect();
        let value = json!({
            "domain": shape(&answer.domain.clone().unwrap_or_default()),
            "reached": reached,
            "unresolved": text(&answer.unresolved),
            "ordered_again": answer.ordered_again,
            "verified": good,
        });
        desk.screen.object(&value)?;
    } else {
        desk.screen.say(&verdict(&answer))?;
    }
    Ok(if good { Code::Live } else { Code::Other })
}

fn verdict(answer: &VerifyDomainResponse) -> String {
    let domain = answer.domain.clone().unwrap_or_default();
    let mut lines = vec![format!(
        "{} belongs to {} ({})",
        escape(&domain.name),
        escape(&domain.project),
        escape(&domain.environment)
    )];
    if !answer.unresolved.is_empty() {
        lines.push(format!("  no address: {}", escape(&answer.unresolved)));
        lines.push("  add a record A or AAAA for each of your machines where the name is managed".to_owned());
    }
    for reached in &answer.reached {
        lines.push(format!("  {}: {}", escape(&reached.address), escape(told::found(reached))));
    }
    lines.push(if answer.ordered_again {
        "  certificate: ordered again now".to_owned()
    } else {
        format!("  certificate: {}", certificate(&domain, false))
    });
    lines.join("\n")
}

fn shape(domain: &Domain) -> Value {
    let certificate = domain.certificate.as_ref().map(|c| {
        json!({
            "id": c.id,
            "names": c.names,
            "issuer": c.issuer,
            "from": c.origin,
            "not_before": time(Some(c.not_before_ms)),
            "not_after": time(Some(c.not_after_ms)),
            "renew_at": time(c.renew_ms),
        })
    });
    let order = domain.order.as_ref().map(|order| {
        json!({
            "attempts": order.attempts,
            "failure": text(&order.failure),
            "retry_at": time(order.retry_ms),
        })
    });
    json!({
        "domain": domain.name,
        "project": domain.project,
        "environment": domain.environment,
        "from": domain.origin,
        "certificate": certificate,
        "order": order,
        "certifiable": domain.certifiable,
    })
}
