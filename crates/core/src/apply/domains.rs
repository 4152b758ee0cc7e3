//! Names that are given to environments, and certificates for names.

use super::{Answer, Change, done, invalid, not_found, unchanged, validate};
use crate::command::{Certify, Rejection};
use crate::domains;
use crate::model::{
    Acme, Certificate, CertificateFrom, CertificateId, CertificateOrder, Challenge, EnvironmentId, Millis,
    Opaque, What,
};

/// The most names that are added to environments, and the most certificates.
const MOST: usize = 10_000;
/// The longest certificates with those up to the root, the longest key, in bytes.
const CHAIN_MAX: usize = 64 << 10;
const KEY_MAX: usize = 32 << 10;
/// The most names of one certificate.
const NAMES_MAX: usize = 100;
/// The longest text of a server or about it, in bytes.
const TEXT_MAX: usize = 2_000;

impl Change<'_> {
    pub(super) fn add_domain(&mut self, project: &str, environment: &str, name: &str) -> Answer {
        validate::name("project", project)?;
        validate::name("environment", environment)?;
        validate::domain(name)?;
        let own = self.state.environment(project, environment).map(|e| e.id);
        if own.is_some() && self.state.domains.get(name) == own.as_ref() {
            return unchanged();
        }
        if let Some(other) = domains::names(self.state)
            .get(name)
            .and_then(|of| of.keys().find(|id| Some(**id) != own).copied())
        {
            return Err(self.taken(name, other));
        }
        if self.state.domains.len() >= MOST {
            return Err(invalid(format!("the cluster has {MOST} added domains already; remove some first")));
        }
        let id = self.environment_named(project, environment);
        self.state.domains.insert(name.to_owned(), id);
        self.emit(None, Some(id), What::DomainAdded { name: name.to_owned(), by: self.by.to_owned() });
        done()
    }

    /// The refusal of a name that belongs to another environment.
    pub(super) fn taken(&self, name: &str, other: EnvironmentId) -> Rejection {
        let environment = self.state.environments.get(&other);
        let project = self.state.project_of_environment(other).unwrap_or("?");
        // Names of projects are for those who see them.
        if self.state.grant_of(self.by).is_some_and(|grant| grant.within(project).is_none()) {
            let why = format!("the domain {name:?} belongs to another project; ask an admin of the cluster");
            return Rejection::Conflict { why };
        }
        Rejection::Conflict {
            why: format!(
                "the domain {name:?} belongs to project {project:?}, environment {:?}; remove it there first",
                environment.map_or("?", |e| e.name.as_str())
            ),
        }
    }

    pub(super) fn remove_domain(&mut self, name: &str) -> Answer {
        let Some(environment) = self.state.domains.remove(name) else {
            return match domains::names(self.state).contains_key(name) {
                true => Err(invalid(format!(
                    "the domain {name:?} was not added by hand; take it out of [routes] in temps.toml and deploy"
                ))),
                false => Err(not_found(format!("domain {name:?}"))),
            };
        };
        self.state.tls.orders.remove(name);
        let names = domains::names(self.state);
        let is_used = |c: &Certificate| names.keys().any(|name| c.covers(name));
        self.state.tls.certificates.retain(|_, c| !c.covers(name) || is_used(c));
        let what = What::DomainRemoved { name: name.to_owned(), by: self.by.to_owned() };
        self.emit(None, Some(environment), what);
        done()
    }

    pub(super) fn put_certificate(&mut self, certificate: &Certificate) -> Answer {
        let mut certificate = certificate.clone();
        certificate.from = CertificateFrom::Uploaded;
        self.keep(certificate, Some(self.by.to_owned()))
    }

    pub(super) fn set_acme(&mut self, acme: Option<&Acme>) -> Answer {
        let mut acme = acme.cloned();
        if let Some(acme) = &mut acme {
            let texts = [Some(&acme.directory), acme.contact.as_ref(), acme.root.as_ref()];
            if texts.into_iter().flatten().any(|text| text.len() > CHAIN_MAX) {
                return Err(invalid("a setting of ACME is too long"));
            }
            if !acme.directory.starts_with("https://") {
                return Err(invalid("the directory of ACME must be a URL that begins with https://"));
            }
            let before = self.state.tls.acme.as_ref();
            let same = before.filter(|b| b.directory == acme.directory && b.contact == acme.contact);
            acme.account = same.and_then(|before| before.account.clone());
        }
        if self.state.tls.acme == acme {
            return unchanged();
        }
        self.state.tls.acme = acme;
        // What failed elsewhere is tried again.
        self.state.tls.orders.clear();
        done()
    }

    pub(super) fn certify(&mut self, certify: &Certify) -> Answer {
        match certify {
            Certify::Account { directory, account } => self.keep_account(directory, account),
            Certify::Challenge { name, token, authorization } => {
                if [name, token, authorization].iter().any(|text| text.len() > TEXT_MAX) {
                    return Err(invalid("the challenge is too long"));
                }
                let since = self.index;
                self.order(name)?.challenge =
                    Some(Challenge { token: token.clone(), authorization: authorization.clone(), since });
                done()
            }
            Certify::Failed { name, why, retry_at } => self.not_certified(name, why, *retry_at),
            Certify::Issued(certificate) => {
                let mut certificate = certificate.clone();
                certificate.from = CertificateFrom::Acme;
                self.keep(certificate, None)
            }
            Certify::Renewal { certificate, at } => self.renew_at(*certificate, *at),
        }
    }

    fn keep_account(&mut self, directory: &str, account: &Opaque) -> Answer {
        match &mut self.state.tls.acme {
            Some(acme) if acme.directory == directory && account.0.len() <= KEY_MAX => {
                acme.account = Some(account.clone());
                done()
            }
            _ => Err(Rejection::Conflict { why: "certificates are ordered elsewhere by now".to_owned() }),
        }
    }

    /// The order for a name that an environment has.
    fn order(&mut self, name: &str) -> Result<&mut CertificateOrder, Rejection> {
        if !domains::names(self.state).contains_key(name) {
            return Err(not_found(format!("domain {name:?}")));
        }
        Ok(self.state.tls.orders.entry(name.to_owned()).or_default())
    }

    fn not_certified(&mut self, name: &str, why: &str, retry_at: Millis) -> Answer {
        let why: String = why.chars().filter(|c| !c.is_control()).take(TEXT_MAX / 4).collect();
        let order = self.order(name)?;
        let first = order.attempts == 0;
        *order = CertificateOrder {
            challenge: None,
            attempts: order.attempts.saturating_add(1),
            retry_at,
            failure: Some(why.clone()),
        };
        if first {
            let environment = self.owner(name);
            self.emit(None, environment, What::CertificateFailed { name: name.to_owned(), why });
        }
        done()
    }

    pub(super) fn retry_certificate(&mut self, name: &str) -> Answer {
        match self.state.tls.orders.get_mut(name) {
            Some(order) if order.retry_at > 0 => {
                order.retry_at = 0;
                done()
            }
            Some(_) => unchanged(),
            None => Err(not_found(format!("order of a certificate for {name:?}"))),
        }
    }

    fn owner(&self, name: &str) -> Option<EnvironmentId> {
        domains::names(self.state).get(name).and_then(|of| of.keys().next().copied())
    }

    fn renew_at(&mut self, id: CertificateId, at: Millis) -> Answer {
        let found = self.state.tls.certificates.get_mut(&id);
        let found = found.ok_or_else(|| not_found(format!("certificate {id}")))?;
        if found.renew_at == at {
            return unchanged();
        }
        found.renew_at = at;
        done()
    }

    /// It takes the place of those for the same names that came the same way, and of what has ended.
    fn keep(&mut self, certificate: Certificate, by: Option<String>) -> Answer {
        check(&certificate)?;
        let wall = self.wall;
        let tls = &mut self.state.tls;
        if tls.certificates.values().any(|known| *known == certificate) {
            return unchanged();
        }
        tls.certificates.retain(|_, known| {
            let replaced = known.from == certificate.from && known.names == certificate.names;
            !replaced && known.not_after > wall
        });
        if tls.certificates.len() >= MOST {
            return Err(invalid(format!(
                "the cluster has {MOST} certificates already; remove domains first"
            )));
        }
        tls.orders.retain(|name, _| !certificate.covers(name));
        tls.last += 1;
        let id = CertificateId(tls.last);
        let names: Vec<_> = certificate.names.iter().cloned().collect();
        let environment = names.iter().find_map(|name| self.owner(name));
        let what = What::CertificateIssued { names, issuer: certificate.issuer.clone(), by };
        self.state.tls.certificates.insert(id, certificate);
        self.emit(None, environment, what);
        done()
    }
}

fn check(certificate: &Certificate) -> Result<(), Rejection> {
    let Certificate { names, chain, key, not_before, not_after, issuer, .. } = certificate;
    if names.is_empty() || names.len() > NAMES_MAX {
        return Err(invalid(format!("a certificate must be for 1 to {NAMES_MAX} names")));
    }
    for name in names {
        validate::domain(name.strip_prefix("*.").unwrap_or(name))?;
    }
    if chain.len() > CHAIN_MAX || key.0.len() > KEY_MAX || issuer.len() > TEXT_MAX {
        return Err(invalid("the certificate is too long"));
    }
    if not_before >= not_after {
        return Err(invalid("the certificate ends before it begins"));
    }
    Ok(())
}
