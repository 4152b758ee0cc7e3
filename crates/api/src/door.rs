//! The door at which people show passwords: how often somebody may be wrong, and how much work that is.
//!
//! It is counted in the memory of one node: with many nodes there are as many more tries, which is still far
//! from enough to guess. Who is kept waiting by somebody else's guesses can go to another node.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use temps_core::model::Opaque;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::Status;

use crate::desk::Answer;

/// Wrong passwords for one name, and from one address, before anybody has to wait. Behind one address may be a
/// whole office.
const NAME_TRIES: u32 = 5;
const ADDRESS_TRIES: u32 = 20;
/// The first wait; each further wrong password doubles it.
const WAIT: Duration = Duration::from_secs(30);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);
/// After so long without a wrong password all is forgotten.
const FORGET: Duration = Duration::from_secs(60 * 60);
/// How many names and addresses are counted; with more, those whose last try is the oldest are forgotten.
const COUNTED_MAX: usize = 10_000;
/// How many passwords are hashed at once: each takes 19 MiB of memory and some ten milliseconds of a core.
const HASHED_AT_ONCE: usize = 2;
/// How long a password waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(5);

/// Counts wrong passwords of one node, and bounds its work for them.
pub struct Door {
    counts: Mutex<Counts>,
    turns: Semaphore,
    /// A hash of no password: names that nobody has take as long as others.
    nobody: OnceLock<String>,
}

impl Default for Door {
    fn default() -> Self {
        Self { counts: Mutex::default(), turns: Semaphore::new(HASHED_AT_ONCE), nobody: OnceLock::new() }
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Door")
    }
}

#[derive(Debug, Default)]
struct Counts {
    names: BTreeMap<String, Wrong>,
    addresses: BTreeMap<IpAddr, Wrong>,
}

/// Wrong passwords in a row.
#[derive(Clone, Copy, Debug)]
struct Wrong {
    times: u32,
    last: Instant,
}

impl Wrong {
    /// How long is to be waited at `now`.
    fn wait(self, tries: u32, now: Instant) -> Option<Duration> {
        let over = self.times.checked_sub(tries)?;
        let wait = WAIT.saturating_mul(1 << over.min(10)).min(WAIT_MAX);
        (self.last + wait).checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

impl Door {
    /// Counts a try as wrong before it is looked at, so that many at once are no way around. Whoever turns out to
    /// be right is let go with [`Door::was_right`].
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` with the time to wait.
    pub(crate) fn knock(&self, name: Option<&str>, from: Option<IpAddr>, now: Instant) -> Answer<()> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let from = from.map(network);
        let of_name = name.and_then(|name| wait(&mut counts.names, name, NAME_TRIES, now));
        let of_address = from.and_then(|from| wait(&mut counts.addresses, &from, ADDRESS_TRIES, now));
        if let Some(left) = of_name.max(of_address) {
            return Err(Status::resource_exhausted(format!(
                "too many wrong passwords or codes; try again in {} s",
                left.as_secs() + 1
            )));
        }
        if let Some(name) = name {
            count(&mut counts.names, name.to_owned(), now);
        }
        if let Some(from) = from {
            count(&mut counts.addresses, from, now);
        }
        Ok(())
    }

    /// The last try was right.
    pub(crate) fn was_right(&self, name: Option<&str>, from: Option<IpAddr>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = name {
            counts.names.remove(name);
        }
        // One who is right does not speak for everybody else behind that address.
        if let Some(wrong) = from.and_then(|from| counts.addresses.get_mut(&network(from))) {
            wrong.times = wrong.times.saturating_sub(1);
        }
    }

    /// Hashes a password with a salt of its own.
    pub(crate) async fn hash(&self, password: &str) -> Answer<Opaque> {
        let password = password.to_owned();
        self.in_turn(move || hash(&password)).await?.map(Opaque)
    }

    /// Whether it is the password; with none to compare with, it takes as long and is not.
    pub(crate) async fn is_right(&self, password: &str, known: Option<&Opaque>) -> Answer<bool> {
        let nobody = self.nobody.get().cloned();
        let (password, known) = (password.to_owned(), known.map(|known| known.0.clone()));
        let (is_right, nobody) = self
            .in_turn(move || {
                let somebody = known.is_some();
                let nobody = match nobody {
                    Some(nobody) => nobody,
                    None => hash("")?,
                };
                let with = known.unwrap_or_else(|| nobody.clone());
                let with = PasswordHash::new(&with).map_err(|why| unhashed(&why))?;
                let is_right = Argon2::default().verify_password(password.as_bytes(), &with).is_ok();
                Ok::<_, Status>((is_right && somebody, nobody))
            })
            .await??;
        // Whoever is second finds it there.
        let _ = self.nobody.set(nobody);
        Ok(is_right)
    }

    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Answer<T> {
        let turn = tokio::time::timeout(TURN_WITHIN, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Status::resource_exhausted("too many sign in at once; try again in a moment"));
        };
        tokio::task::spawn_blocking(work).await.map_err(|why| Status::internal(why.to_string()))
    }
}

fn hash(password: &str) -> Answer<String> {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).map_err(|why| unhashed(&why))?;
    // Argon2id with 19 MiB, two passes and one lane: what OWASP names as the least, and the crate's default.
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt).map_err(|why| unhashed(&why))?;
    Ok(hash.to_string())
}

fn unhashed(why: &argon2::password_hash::Error) -> Status {
    Status::internal(format!("the password could not be hashed: {why}"))
}

/// Somebody with an IPv6 network has as many addresses as they like.
fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

fn wait<K, Q>(wrong: &mut BTreeMap<K, Wrong>, of: &Q, tries: u32, now: Instant) -> Option<Duration>
where
    K: Ord + std::borrow::Borrow<Q>,
    Q: Ord + ?Sized,
{
    let found = wrong.get(of).copied()?;
    if now.saturating_duration_since(found.last) >= FORGET {
        wrong.remove(of);
        return None;
    }
    found.wait(tries, now)
}

fn count<K: Ord + Clone>(wrong: &mut BTreeMap<K, Wrong>, of: K, now: Instant) {
    if wrong.len() >= COUNTED_MAX && !wrong.contains_key(&of) {
        wrong.retain(|_, wrong| now.saturating_duration_since(wrong.last) < FORGET);
        let oldest = wrong.iter().min_by_key(|(_, wrong)| wrong.last).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest.filter(|_| wrong.len() >= COUNTED_MAX) {
            wrong.remove(&oldest);
        }
    }
    let entry = wrong.entry(of).or_insert(Wrong { times: 0, last: now });
    *entry = Wrong { times: entry.times.saturating_add(1), last: now };
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{ADDRESS_TRIES, COUNTED_MAX, Door, FORGET, NAME_TRIES, WAIT, WAIT_MAX};

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn guessing_at_a_name_takes_longer_and_longer() {
        let (door, mut now) = (Door::default(), Instant::now());
        for _ in 0..NAME_TRIES {
            door.knock(Some("anna"), None, now).unwrap();
        }
        let mut wait = WAIT;
        for _ in 0..10 {
            let why = door.knock(Some("anna"), None, now + wait - Duration::from_millis(1)).unwrap_err();
            assert_eq!(why.code(), tonic::Code::ResourceExhausted);
            now += wait;
            door.knock(Some("anna"), None, now).unwrap();
            wait = (wait * 2).min(WAIT_MAX);
        }
        door.knock(Some("ben"), None, now).unwrap();
        assert!(door.knock(Some("anna"), None, now).is_err());
        door.knock(Some("anna"), None, now + FORGET).unwrap();
        door.knock(Some("anna"), None, now + FORGET).unwrap();
    }

    #[test]
    fn whoever_was_right_starts_afresh() {
        let (door, now) = (Door::default(), Instant::now());
        for _ in 0..50 {
            door.knock(Some("anna"), address("192.0.2.1"), now).unwrap();
            door.was_right(Some("anna"), address("192.0.2.1"));
        }
    }

    #[test]
    fn many_names_from_one_network_are_one_guesser() {
        let (door, now) = (Door::default(), Instant::now());
        for n in 0..ADDRESS_TRIES {
            door.knock(Some(&format!("n{n}")), address(&format!("2001:db8::{n:x}")), now).unwrap();
        }
        assert!(door.knock(Some("other"), address("2001:db8::ffff"), now).is_err());
        door.knock(Some("other"), address("2001:db8:0:1::1"), now).unwrap();
        door.knock(Some("other"), None, now).unwrap();
    }

    #[test]
    fn what_is_counted_is_bounded() {
        let (door, mut now) = (Door::default(), Instant::now());
        for n in 0..COUNTED_MAX + 100 {
            now += Duration::from_millis(1);
            door.knock(Some(&format!("n{n}")), None, now).unwrap();
        }
        let counts = door.counts.lock().unwrap();
        assert_eq!(counts.names.len(), COUNTED_MAX);
        assert!(!counts.names.contains_key("n0") && counts.names.contains_key("n100"));
    }

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_alone() {
        let door = Door::default();
        let known = door.hash("correct horse battery").await.unwrap();
        assert!(known.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", known.0);
        assert_ne!(door.hash("correct horse battery").await.unwrap(), known, "each has its own salt");
        assert!(door.is_right("correct horse battery", Some(&known)).await.unwrap());
        assert!(!door.is_right("correct horse batterz", Some(&known)).await.unwrap());
        assert!(!door.is_right("", None).await.unwrap(), "nobody has the empty password");
    }
}
