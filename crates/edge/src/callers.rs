//! How many connections each client has open, so that one cannot take the room of all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Open connections by address, of all workers together. Looked at once for each connection.
#[derive(Debug, Default)]
pub(crate) struct Callers(Mutex<HashMap<IpAddr, usize>>);

/// A connection that counts for its address, until this is dropped.
#[derive(Debug)]
pub(crate) struct Caller {
    all: Arc<Callers>,
    address: IpAddr,
}

impl Callers {
    /// `None`: the address has as many connections as it may have.
    pub(crate) fn admit(self: &Arc<Self>, from: IpAddr, most: usize) -> Option<Caller> {
        let address = network(from);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= most.max(1) {
            return None;
        }
        *count += 1;
        Some(Caller { all: Arc::clone(self), address })
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let mut open = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// What belongs to one client: a host of IPv6 has a whole network to choose addresses from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::Callers;
    use std::net::IpAddr;
    use std::sync::Arc;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_client_has_a_share() {
        let callers = Arc::new(Callers::default());
        let first = callers.admit(address("192.0.2.1"), 2);
        let second = callers.admit(address("::ffff:192.0.2.1"), 2);
        assert!(first.is_some() && second.is_some());
        assert!(callers.admit(address("192.0.2.1"), 2).is_none(), "however it is written");
        assert!(callers.admit(address("192.0.2.2"), 2).is_some());
        drop(first);
        assert!(callers.admit(address("192.0.2.1"), 2).is_some());
        drop(second);
        assert!(callers.0.lock().unwrap().is_empty(), "nothing is kept of those that left");

        let _open = callers.admit(address("2001:db8:1:2::1"), 1);
        assert!(callers.admit(address("2001:db8:1:2:ffff::2"), 1).is_none(), "the same network");
        assert!(callers.admit(address("2001:db8:1:3::1"), 1).is_some());
    }
}
