//! Sets of addresses, as `192.0.2.0/24` or `2001:db8::/32`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};
use thiserror::Error;

/// Addresses that begin with the same bits.
///
/// An IPv4 address is the same however it is written: `::ffff:192.0.2.1` is in `192.0.2.0/24`. So `::/0` is all of
/// IPv6, and none of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// Whether an address is one of these.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// Why a text is not a network.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NetworkError {
    /// What stands before the `/` is not an address.
    #[error("{0:?} is not an IP address")]
    Address(String),
    /// What stands behind the `/` is not a number of bits that such an address has.
    #[error("{0:?} is not a number of bits from 0 to {1}")]
    Bits(String, u8),
    /// Bits are set that do not count; most likely something else is meant.
    #[error("{0} has bits beyond the first {1}; the network is {2}")]
    Beyond(IpAddr, u8, Network),
}

impl FromStr for Network {
    type Err = NetworkError;

    /// An address with a number of bits, or one address.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, bits)| (a, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address(address.to_owned()))?;
        let Some(bits) = bits else { return Ok(Self(address.to_canonical().into())) };
        let most = if address.is_ipv4() { 32 } else { 128 };
        let refuse = || NetworkError::Bits(bits.to_owned(), most);
        // `from_str` of a number takes a sign.
        let digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
        let length = bits.parse().ok().filter(|_| digits).ok_or_else(refuse)?;
        let written = IpNet::new(address, length).map_err(|_| refuse())?;
        let network = Self(canonical(written.trunc()));
        if written.network() != address {
            return Err(NetworkError::Beyond(address, length, network));
        }
        Ok(network)
    }
}

/// IPv4 as IPv4.
fn canonical(network: IpNet) -> IpNet {
    match (network.addr().to_canonical(), network.prefix_len().checked_sub(96)) {
        (IpAddr::V4(address), Some(bits)) if network.addr().is_ipv6() => {
            Ipv4Net::new(address, bits).map_or(network, IpNet::V4)
        }
        _ => network,
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::Network;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_in_its_network_however_it_is_written() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"),
            ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.2"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.6/31", "192.0.2.7", "192.0.2.8"),
            ("0.0.0.0/0", "255.255.255.255", "::"),
            ("::/0", "2001:db8::1", "1.2.3.4"),
            ("2001:db8::/33", "2001:db8:7fff::", "2001:db8:8000::"),
            ("::1", "::1", "::2"),
        ] {
            let network = network(text);
            assert!(network.contains(inside.parse().unwrap()), "{inside} in {text}");
            assert!(!network.contains(outside.parse().unwrap()), "{outside} in {text}");
        }
    }

    #[test]
    fn what_is_not_a_network_is_told() {
        for (text, why) in [
            ("", r#""" is not an IP address"#),
            ("a.test/8", r#""a.test" is not an IP address"#),
            ("10.0.0/8", r#""10.0.0" is not an IP address"#),
            ("10.0.0.0/", r#""" is not a number of bits from 0 to 32"#),
            ("10.0.0.0/+8", r#""+8" is not a number of bits from 0 to 32"#),
            ("10.0.0.0/33", r#""33" is not a number of bits from 0 to 32"#),
            ("::/129", r#""129" is not a number of bits from 0 to 128"#),
            ("10.0.0.1/8", "10.0.0.1 has bits beyond the first 8; the network is 10.0.0.0/8"),
        ] {
            assert_eq!(text.parse::<Network>().unwrap_err().to_string(), why);
        }
    }
}
