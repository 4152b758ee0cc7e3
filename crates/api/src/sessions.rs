//! People who sign in with a password: what stands on this shows pages and holds the secret of a session, such as
//! in a cookie.

use std::net::IpAddr;

use temps_core::audit;
use temps_core::command::{Access, Command, Receipt};
use temps_core::model::{ClusterState, Millis, Person, PersonId};
use temps_ledger::Proposal;
use temps_wire::token::{OnceCode, SessionSecret, TokenError};
use tokio::time::Instant;
use tonic::Status;

use crate::caller::{Caller, Who};
use crate::desk::{Answer, Desk};
use crate::people::login;
use crate::refusal::{refused, unanswered};

pub use crate::door::Door;

/// The shortest password, in characters; the longest, in bytes.
const PASSWORD_MIN: usize = 12;
const PASSWORD_MAX: usize = 256;
/// A session that was used is noted in the log so often: a twelfth of the time after which it ends unused.
const NOTED_EVERY: Millis = temps_core::model::SESSION_IDLE / 12;

/// Signs somebody in. They are signed in until they sign out, for
/// [`temps_core::model::SESSION_LONGEST`] at most, or [`temps_core::model::SESSION_IDLE`] without a request.
///
/// # Errors
/// `UNAUTHENTICATED` where name or password is wrong, which of them is not told; `RESOURCE_EXHAUSTED` with the
/// time to wait after too many of these; `UNAVAILABLE` without a quorum.
pub async fn sign_in(
    desk: &Desk,
    name: &str,
    password: &str,
    from: Option<IpAddr>,
) -> Result<SessionSecret, Status> {
    let wrong = || Status::unauthenticated("the name or the password is wrong");
    let name = login(name).map_err(|_| wrong())?;
    // Without a quorum nobody is wrong.
    let state = desk.fresh().await?;
    desk.door.knock(Some(&name), from, Instant::now())?;
    if password.len() > PASSWORD_MAX {
        return Err(wrong());
    }
    let person = state.people.named(&name).filter(|person| !person.disabled);
    let known = person.and_then(|person| person.password.as_ref());
    let is_right = desk.door.is_right(password, known).await?;
    let person = person.filter(|_| is_right).ok_or_else(wrong)?;
    let secret = enter(desk, person.id, &name, person.password_at, from).await?;
    desk.door.was_right(Some(&name), from);
    Ok(secret)
}

/// Whether a secret is of this cluster: nobody is asked about others.
pub(crate) fn is_ours(desk: &Desk, secret: &SessionSecret) -> bool {
    desk.identity.ca_fingerprint().is_ok_and(|cluster| cluster == secret.fingerprint())
}

/// Whoever is signed in with this secret. What they may do is checked by each operation.
///
/// `None` where the session is unknown or has ended.
pub async fn session(desk: &Desk, secret: &SessionSecret, from: Option<IpAddr>) -> Option<Caller> {
    if !is_ours(desk, secret) {
        return None;
    }
    let state = desk.at_hand().await.state;
    let caller = desk.signed_in(&state, secret, from)?;
    let Who::Person(_, id) = caller.who else { return None };
    let used_at = state.people.sessions.get(&id)?.used_at;
    if desk.ledger.now().saturating_sub(used_at) >= NOTED_EVERY {
        let (desk, by) = (desk.clone(), caller.by());
        // Nobody waits for it: where it fails, the next request tries again.
        tokio::spawn(async move {
            let command = Command::Access(Access::KeepSession { session: id });
            let _ = desk.ledger.propose(Proposal { key: None, by, command }).await;
        });
    }
    Some(caller)
}

/// Ends the session of a caller.
///
/// # Errors
/// `UNAVAILABLE` without a quorum: then they are still signed in.
pub async fn sign_out(desk: &Desk, caller: &Caller) -> Result<(), Status> {
    let Who::Person(_, session) = caller.who else { return Ok(()) };
    desk.change(caller, Command::Access(Access::SignOut { session })).await.map(|_| ())
}

/// Sets a password with a code, and signs in. The setup code adds an admin of that name; for the code of a person
/// the name may be left out.
///
/// # Errors
/// `INVALID_ARGUMENT` where password, name or the form of the code will not do; `PERMISSION_DENIED` where the
/// code is unknown, used or expired; `RESOURCE_EXHAUSTED` after too many of these; `UNAVAILABLE` without a quorum.
pub async fn redeem(
    desk: &Desk,
    code: &str,
    name: Option<&str>,
    password: &str,
    from: Option<IpAddr>,
) -> Result<SessionSecret, Status> {
    let state = desk.fresh().await?;
    desk.door.knock(None, from, Instant::now())?;
    let code = parse(desk, code)?.hash();
    let name = name.filter(|name| !name.trim().is_empty()).map(login).transpose()?;
    let owner = owner(&state, &code)?;
    let called = owner.map(|person| person.name.clone()).or_else(|| name.clone());
    let called = called.ok_or_else(|| Status::invalid_argument("choose a name for the admin"))?;
    check_password(&called, password)?;
    let password = desk.door.hash(password).await?;
    let receipt = propose(desk, &called, from, Access::Redeem { code, name, password }).await?;
    let state = desk.ledger.state();
    let person = state.people.named(&called).filter(|person| person.password_at == receipt.index);
    let person = person.ok_or_else(|| Status::aborted("the password was changed again meanwhile"))?;
    desk.door.was_right(None, from);
    enter(desk, person.id, &called, receipt.index, from).await
}

fn parse(desk: &Desk, code: &str) -> Answer<OnceCode> {
    let code: OnceCode = code.parse().map_err(|e: TokenError| Status::invalid_argument(e.to_string()))?;
    let cluster = desk.identity.ca_fingerprint().map_err(|e| Status::internal(e.to_string()))?;
    if code.fingerprint() == cluster {
        Ok(code)
    } else {
        Err(Status::permission_denied("the code is for another cluster"))
    }
}

/// Whose code it is; nobody's for that with which an admin is added. Nothing is hashed for a code that is unknown.
fn owner<'a>(state: &'a ClusterState, code: &str) -> Answer<Option<&'a Person>> {
    if state.people.setup.as_ref().is_some_and(|setup| setup.hash == code) {
        return Ok(None);
    }
    let has_it = |person: &&Person| person.code.as_ref().is_some_and(|known| known.hash == code);
    state.people.persons.values().find(has_it).map(Some).ok_or_else(|| {
        Status::permission_denied("the code is unknown or was used already; ask an admin for another one")
    })
}

/// Length alone is asked for (NIST SP 800-63B): rules about characters make passwords no harder to guess.
fn check_password(name: &str, password: &str) -> Answer<()> {
    if password.chars().count() < PASSWORD_MIN || password.len() > PASSWORD_MAX {
        return Err(Status::invalid_argument(format!(
            "a password has {PASSWORD_MIN} characters or more, and at most {PASSWORD_MAX} bytes"
        )));
    }
    if password.to_lowercase().contains(name)
        && password.chars().count() < name.chars().count() + PASSWORD_MIN
    {
        return Err(Status::invalid_argument("the password is too close to the name"));
    }
    Ok(())
}

async fn enter(
    desk: &Desk,
    person: PersonId,
    name: &str,
    seen: u64,
    from: Option<IpAddr>,
) -> Answer<SessionSecret> {
    let cluster = desk.identity.ca_fingerprint().map_err(|e| Status::internal(e.to_string()))?;
    let secret = SessionSecret::random(cluster);
    propose(desk, name, from, Access::SignIn { person, seen, hash: secret.hash() }).await?;
    Ok(secret)
}

async fn propose(desk: &Desk, name: &str, from: Option<IpAddr>, access: Access) -> Answer<Receipt> {
    let by = audit::by(name, from.map(|from| from.to_string()).as_deref());
    let proposal = Proposal { key: None, by, command: Command::Access(access) };
    let receipt = desk.ledger.propose(proposal).await.map_err(|e| unanswered(&e))?;
    receipt.made().map_err(|e| refused(&e))?;
    Ok(receipt)
}
