//! Certificates: which are due, who orders them, and when.
//!
//! Only the leader orders. What a server asks is state before it is asked, and no server is told to ask before every
//! edge that counts can answer; so it may ask any node. A new leader begins an order anew: servers know it again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use temps_core::assignment::served_everywhere;
use temps_core::command::{Certify, Command, Receipt};
use temps_core::domains::{Due, due};
use temps_core::model::{
    Acme, Certificate, CertificateFrom, CertificateId, ClusterState, Index, Millis, Opaque,
};
use temps_ledger::{Ledger, Proposal, wall};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::acme::{self, Account, ChallengeType};

/// How often it is looked what is due, where nothing happens.
const EVERY: Duration = Duration::from_secs(1);
/// Orders under way at a time.
const AT_ONCE: usize = 4;
/// How long one order may take.
const ORDER: Duration = Duration::from_secs(180);
/// How long edges may take until they can answer.
const SERVED: Duration = Duration::from_secs(30);
/// When a certificate is asked about that could not be.
const ASK_AGAIN: Duration = Duration::from_secs(6 * 60 * 60);

/// Secrets of certificates, which the log knows sealed alone.
pub trait Vault: Send + Sync + 'static {
    /// A certificate that was issued with its key, both in PEM: read, checked, and the key sealed.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    fn issued(&self, chain: &str, key: &str) -> Result<Certificate, String>;

    /// Seals an account.
    ///
    /// # Errors
    /// Why it cannot be.
    fn seal_account(&self, account: &str) -> Result<Opaque, String>;

    /// Opens an account.
    ///
    /// # Errors
    /// Why it cannot be.
    fn open_account(&self, sealed: &Opaque) -> Result<String, String>;
}

/// Orders certificates whenever this node leads.
pub struct Certifier {
    desk: Desk,
    /// The account in use, and for which settings.
    account: Option<(Acme, Account)>,
    under_way: BTreeSet<String>,
    orders: JoinSet<String>,
    /// When certificates are to be asked about next.
    asks: BTreeMap<CertificateId, Instant>,
}

/// What every order works with.
#[derive(Clone)]
struct Desk {
    ledger: Arc<dyn Ledger>,
    vault: Arc<dyn Vault>,
    /// A directory for a file that others may not read.
    data: PathBuf,
}

impl Certifier {
    /// Orders on this ledger.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, vault: Arc<dyn Vault>, data: PathBuf) -> Self {
        Self {
            desk: Desk { ledger, vault, data },
            account: None,
            under_way: BTreeSet::new(),
            orders: JoinSet::new(),
            asks: BTreeMap::new(),
        }
    }

    /// Works until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut leadership = self.desk.ledger.leadership();
        loop {
            if leadership.borrow_and_update().leader == Some(self.desk.ledger.node()) {
                self.lead().await;
            } else if !self.under_way.is_empty() {
                // Whoever leads begins them anew.
                self.orders.abort_all();
                while self.orders.join_next().await.is_some() {}
                self.under_way.clear();
                self.asks.clear();
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
                changed = leadership.changed() => if changed.is_err() { return },
                Some(ended) = self.orders.join_next() => {
                    // One that panicked is forgotten with the next leader.
                    if let Ok(name) = ended {
                        self.under_way.remove(&name);
                    }
                }
            }
        }
    }

    async fn lead(&mut self) {
        let state = self.desk.ledger.state();
        let room = AT_ONCE.saturating_sub(self.under_way.len());
        let mut due = due(&state, wall());
        due.retain(|due| !self.under_way.contains(&due.name));
        due.truncate(room);
        let Some(acme) = state.tls.acme.clone() else { return };
        if due.is_empty() && !self.is_time_to_ask(&state) {
            return;
        }
        let account = match self.account(&acme).await {
            Ok(account) => account,
            Err(why) => {
                warn!(why, "there is no account with the server of ACME");
                for due in due {
                    self.desk.failed(due, &format!("no account: {why}"), false).await;
                }
                return;
            }
        };
        for due in due {
            self.under_way.insert(due.name.clone());
            let (desk, account, state) = (self.desk.clone(), account.clone(), Arc::clone(&state));
            self.orders.spawn(async move { desk.order(&account, &state, due).await });
        }
        self.ask(&account, &state).await;
    }

    /// The account with the server; made with the first order.
    async fn account(&mut self, acme: &Acme) -> Result<Account, String> {
        // The account itself is no setting.
        let setting = Acme { account: None, ..acme.clone() };
        if let Some((of, account)) = &self.account
            && *of == setting
        {
            return Ok(account.clone());
        }
        let desk = &self.desk;
        let account = match &acme.account {
            Some(sealed) => acme::open(acme, &desk.data, &desk.vault.open_account(sealed)?).await?,
            None => {
                let (account, secret) = acme::create(acme, &desk.data).await?;
                let account_sealed = desk.vault.seal_account(&secret)?;
                let directory = acme.directory.clone();
                desk.write(Certify::Account { directory, account: account_sealed }).await?;
                info!(directory = acme.directory, "made an account");
                account
            }
        };
        self.account = Some((setting, account.clone()));
        Ok(account)
    }

    fn is_time_to_ask(&self, state: &ClusterState) -> bool {
        ordered(state).any(|(id, _)| self.asks.get(&id).is_none_or(|at| *at <= Instant::now()))
    }

    /// Asks when certificates should be renewed (RFC 9773), one at a time.
    async fn ask(&mut self, account: &Account, state: &ClusterState) {
        self.asks.retain(|id, _| state.tls.certificates.contains_key(id));
        let now = Instant::now();
        let next = ordered(state).find(|(id, _)| self.asks.get(id).is_none_or(|at| *at <= now));
        let Some((id, certificate)) = next else { return };
        let (window, again) = match acme::window(account, &certificate.chain).await {
            Ok(Some((window, again))) => (Some(window), again),
            Ok(None) => (None, ASK_AGAIN),
            Err(why) => {
                debug!(%id, why, "no answer when a certificate should be renewed");
                (None, ASK_AGAIN)
            }
        };
        self.asks.insert(id, now + again);
        if let Some(window) = window.filter(|window| !window.contains(&certificate.renew_at)) {
            let at = rand::random_range(window);
            if let Err(why) = self.desk.write(Certify::Renewal { certificate: id, at }).await {
                debug!(%id, why, "the time of a renewal was not written");
            }
        }
    }
}

/// Certificates that were ordered.
fn ordered(state: &ClusterState) -> impl Iterator<Item = (CertificateId, &Certificate)> {
    let all = state.tls.certificates.iter().map(|(id, certificate)| (*id, certificate));
    all.filter(|(_, certificate)| certificate.from == CertificateFrom::Acme)
}

impl Desk {
    /// Answers the name again.
    async fn order(&self, account: &Account, state: &ClusterState, due: Due) -> String {
        let name = due.name.clone();
        let replaced = due.replaces.and_then(|id| state.tls.certificates.get(&id));
        let replaced = replaced.map(|certificate| certificate.chain.clone());
        let ready = |token: String, authorization: String| {
            let (desk, name) = (self.clone(), name.clone());
            async move { desk.challenge(name, token, authorization).await }
        };
        let obtained = async {
            let by = |kind| acme::obtain(account, &name, replaced.as_deref(), kind, &ready);
            match by(ChallengeType::Http01).await {
                // Not every machine can be reached by HTTP.
                Err(first) if first.seen => by(ChallengeType::TlsAlpn01).await.map_err(|mut second| {
                    second.why = format!("{}; {}", first.why, second.why);
                    second
                }),
                obtained => obtained,
            }
        };
        let obtained = match tokio::time::timeout(ORDER, obtained).await {
            Ok(obtained) => obtained,
            Err(_) => Err(acme::Failure::of("the server did not finish in time")),
        };
        let issued =
            obtained.and_then(|(chain, key)| self.vault.issued(&chain, &key).map_err(acme::Failure::of));
        match issued {
            Ok(certificate) => match self.write(Certify::Issued(certificate)).await {
                Ok(_) => info!(name, "a certificate was issued"),
                Err(why) => warn!(name, why, "a certificate was issued, and could not be kept"),
            },
            Err(failure) => self.failed(due, &failure.why, failure.limited).await,
        }
        name
    }

    /// Returns once every edge that counts can answer.
    async fn challenge(&self, name: String, token: String, authorization: String) -> Result<(), String> {
        let receipt = self.write(Certify::Challenge { name, token, authorization }).await?;
        let served = self.served(receipt.index);
        let served = tokio::time::timeout(SERVED, served).await;
        served.map_err(|_| "the edge of a node did not take what the server asks".to_owned())
    }

    async fn served(&self, since: Index) {
        let mut changes = self.ledger.changes();
        while !served_everywhere(&self.ledger.state(), since) {
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    async fn failed(&self, due: Due, why: &str, limited: bool) {
        let Due { name, attempts, .. } = due;
        warn!(name, why, "no certificate");
        let retry_at = wall() + pause(attempts, limited);
        let failed = Certify::Failed { name: name.clone(), why: why.to_owned(), retry_at };
        if let Err(why) = self.write(failed).await {
            debug!(name, why, "a failure was not written");
        }
    }

    async fn write(&self, certify: Certify) -> Result<Receipt, String> {
        let command = Command::Certify(certify);
        let proposal = Proposal { key: None, by: "planner".to_owned(), command };
        let receipt = self.ledger.propose(proposal).await.map_err(|why| why.to_string())?;
        receipt.made().map_err(|why| why.to_string())?;
        Ok(receipt)
    }
}

/// After so many failures in a row, of two looks each. Servers allow some five an hour for a name.
fn pause(attempts: u32, limited: bool) -> Millis {
    const MINUTE: Millis = 60_000;
    let pause = match attempts {
        0 => 5 * MINUTE,
        1 => 60 * MINUTE,
        2 => 3 * 60 * MINUTE,
        _ => 12 * 60 * MINUTE,
    };
    if limited { pause.max(2 * 60 * MINUTE) } else { pause }
}

#[cfg(test)]
mod tests;
