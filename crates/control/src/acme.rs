//! What is said to a server of ACME (RFC 8555).

use std::fs;
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use instant_acme::{
    AccountBuilder, AuthorizationStatus, CertificateIdentifier, Error, Identifier, NewAccount, NewOrder,
    Order, OrderStatus, RetryPolicy,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use temps_core::model::{Acme, Millis};

pub(crate) use instant_acme::{Account, ChallengeType};

/// How long the server may take to look, and then to sign.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(60));
/// The shortest and the longest time until a server wants to be asked again.
const AGAIN: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(24 * 60 * 60));

/// Why there is no certificate.
#[derive(Debug)]
pub(crate) struct Failure {
    /// For a person.
    pub(crate) why: String,
    /// The server looked, and did not find the name to be ours.
    pub(crate) seen: bool,
    /// It was asked too often.
    pub(crate) limited: bool,
}

impl Failure {
    pub(crate) fn of(why: impl Into<String>) -> Self {
        Self { why: why.into(), seen: false, limited: false }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let limited = matches!(&error, Error::Api(p) if p.r#type.as_deref().is_some_and(|t| t.ends_with(":rateLimited")));
        Self { why: told(&error), seen: false, limited }
    }
}

/// As the server tells it, without the names of this program's parts.
fn told(error: &Error) -> String {
    match error {
        Error::Api(problem) => problem.detail.clone().unwrap_or_else(|| problem.to_string()),
        other => {
            let mut text = other.to_string();
            let mut source = std::error::Error::source(other);
            while let Some(cause) = source {
                text.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            text
        }
    }
}

fn builder(acme: &Acme, data: &Path) -> Result<AccountBuilder, String> {
    let Some(root) = &acme.root else { return Account::builder().map_err(|error| told(&error)) };
    // The library reads it from a file.
    let path = data.join("acme-root.pem");
    let written = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(root.as_bytes()));
    written.map_err(|error| format!("{}: {error}", path.display()))?;
    Account::builder_with_root(&path).map_err(|error| told(&error))
}

/// A new account, and what opens it again.
pub(crate) async fn create(acme: &Acme, data: &Path) -> Result<(Account, String), String> {
    let contact: Vec<&str> = acme.contact.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let created = builder(acme, data)?.create(&new, acme.directory.clone(), None);
    let (account, credentials) = in_time(created).await?;
    let secret = serde_json::to_string(&credentials).map_err(|error| error.to_string())?;
    Ok((account, secret))
}

/// The account that was made before.
pub(crate) async fn open(acme: &Acme, data: &Path, secret: &str) -> Result<Account, String> {
    let credentials = serde_json::from_str(secret).map_err(|_| "the account is damaged".to_owned())?;
    in_time(builder(acme, data)?.from_credentials(credentials)).await
}

async fn in_time<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    match tokio::time::timeout(Duration::from_secs(30), asked).await {
        Ok(answered) => answered.map_err(|error| told(&error)),
        Err(_) => Err("the server did not answer in time".to_owned()),
    }
}

/// A certificate with those up to the root, and its key, both in PEM. `ready` returns once token and authorization can
/// be asked for.
pub(crate) async fn obtain<F: Future<Output = Result<(), String>>>(
    account: &Account,
    name: &str,
    replaced: Option<&str>,
    kind: ChallengeType,
    ready: impl Fn(String, String) -> F,
) -> Result<(String, String), Failure> {
    let mut order = place(account, name, replaced).await?;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            _ => return Err(Failure::of("the server does not want to look at the name any more")),
        }
        let Some(mut challenge) = authorization.challenge(kind.clone()) else {
            return Err(Failure::of(format!("the server does not offer to look by {}", by(&kind))));
        };
        let (token, answer) = (challenge.token.clone(), challenge.key_authorization().as_str().to_owned());
        ready(token, answer).await.map_err(Failure::of)?;
        challenge.set_ready().await?;
    }
    match order.poll_ready(&PATIENCE).await {
        Ok(OrderStatus::Ready) => {}
        Ok(_) => {
            return Err(refused(&mut order, &kind)
                .await
                .unwrap_or_else(|| Failure::of("it did not say why")));
        }
        Err(error) => return Err(refused(&mut order, &kind).await.unwrap_or_else(|| error.into())),
    }
    let key = order.finalize().await?;
    Ok((order.poll_certificate(&PATIENCE).await?, key))
}

/// An order that says what it replaces, where the server wants to know.
async fn place(account: &Account, name: &str, replaced: Option<&str>) -> Result<Order, Failure> {
    let names = [Identifier::Dns(name.to_owned())];
    let leaf = replaced.and_then(|chain| CertificateDer::from_pem_slice(chain.as_bytes()).ok());
    if let Some(id) = leaf.as_ref().and_then(|leaf| CertificateIdentifier::try_from(leaf).ok()) {
        match account.new_order(&NewOrder::new(&names).replaces(id)).await {
            Ok(order) => return Ok(order),
            // It may know the one before no more, or nothing of replacing.
            Err(error) => tracing::debug!(name, %error, "ordered as a new one"),
        }
    }
    Ok(account.new_order(&NewOrder::new(&names)).await?)
}

/// How a server looks.
fn by(kind: &ChallengeType) -> &'static str {
    if *kind == ChallengeType::TlsAlpn01 { "TLS" } else { "HTTP" }
}

/// What the server found where it looked, if it looked.
async fn refused(order: &mut Order, kind: &ChallengeType) -> Option<Failure> {
    let mut found = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if let Ok(state) = authorization.refresh().await {
            let problems = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
            found.extend(problems.map(|p| p.detail.clone().unwrap_or_else(|| p.to_string())));
        }
    }
    let why = format!("by {}: {}", by(kind), found.join("; "));
    (!found.is_empty()).then(|| Failure { seen: true, ..Failure::of(why) })
}

/// When the server wants a certificate to be renewed, in Unix milliseconds, and when to ask again. `None`: it has no
/// opinion.
pub(crate) async fn window(
    account: &Account,
    chain: &str,
) -> Result<Option<(Range<Millis>, Duration)>, String> {
    let leaf = CertificateDer::from_pem_slice(chain.as_bytes()).map_err(|error| format!("{error:?}"))?;
    let id = CertificateIdentifier::try_from(&leaf)?;
    let asked = tokio::time::timeout(Duration::from_secs(30), account.renewal_info(&id)).await;
    let (info, again) = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(Error::Unsupported(_))) => return Ok(None),
        Ok(Err(error)) => return Err(told(&error)),
        Err(_) => return Err("no answer in time".to_owned()),
    };
    let millis = |seconds: i64| Millis::try_from(seconds).unwrap_or(0) * 1_000;
    let window = info.suggested_window;
    let (start, end) = (millis(window.start.unix_timestamp()), millis(window.end.unix_timestamp()));
    Ok((start < end).then_some((start..end, again.clamp(AGAIN.0, AGAIN.1))))
}
