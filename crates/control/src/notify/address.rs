//! Which addresses may be talked to: none of a private network, unless a channel allows that.
//!
//! A name is looked up once, every address of it is checked, and the connection goes to one that was checked. So a name
//! that leads elsewhere a moment later leads nowhere.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;

/// How long name servers may take.
const LOOKUP: Duration = Duration::from_secs(5);
/// How many addresses of a name are tried.
const ADDRESSES: usize = 4;

/// Who knows the addresses of names.
#[async_trait]
pub(super) trait Names: Send + Sync + 'static {
    /// All addresses of a name, as they are now.
    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// Those that this machine asks.
pub(super) struct NameServers;

#[async_trait]
impl Names for NameServers {
    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}

/// The addresses of a host, checked unless private ones are allowed.
///
/// # Errors
/// Why there is none, for a person.
pub(super) async fn find(
    names: &dyn Names,
    host: &str,
    port: u16,
    allow_private: bool,
) -> Result<Vec<SocketAddr>, String> {
    let mut found: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => match tokio::time::timeout(LOOKUP, names.look_up(host, port)).await {
            Ok(Ok(found)) => found,
            Ok(Err(why)) => return Err(format!("{host} has no address: {why}")),
            Err(_) => return Err(format!("no name server told the address of {host} in time")),
        },
    };
    if !allow_private && let Some(private) = found.iter().find(|address| !is_public(address.ip())) {
        return Err(format!(
            "{host} leads to {}, which is no public address; add the notification with --allow-private if that is meant",
            private.ip()
        ));
    }
    if found.is_empty() {
        return Err(format!("{host} has no address"));
    }
    found.truncate(ADDRESSES);
    Ok(found)
}

/// Whether anybody on the Internet could have this address (the registries of RFC 6890).
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = match (a, b) {
        // This network, loopback, what is reserved, multicast and broadcast.
        (0 | 10 | 127 | 224.., _) => true,
        // Carrier-grade NAT.
        (100, 64..128) => true,
        // Link-local, with the metadata of clouds.
        (169, 254) => true,
        (172, 16..32) => true,
        // Protocol assignments, documentation, 6to4 relays, private.
        (192, 0) => c == 0 || c == 2,
        (192, 88) => c == 99,
        (192, 168) => true,
        // Benchmarks, documentation.
        (198, 18 | 19) => true,
        (198, 51) => c == 100,
        (203, 0) => c == 113,
        _ => false,
    };
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    if let Some(v4) = ip.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    let [a, b, c, d, e, f, g, h] = ip.segments();
    // A translator's prefix has an address of IPv4 at its end (RFC 6052).
    if [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0] {
        let [g, h] = [g.to_be_bytes(), h.to_be_bytes()];
        return is_public_v4(Ipv4Addr::new(g[0], g[1], h[0], h[1]));
    }
    // Only 2000::/3 is given out; of it 2001::/23 is for protocols such as Teredo, 2002::/16 for 6to4, and 2001:db8::/32
    // and 3fff::/20 for documentation.
    let given_out = a & 0xe000 == 0x2000;
    let special = (a == 0x2001 && (b < 0x200 || b == 0xdb8)) || a == 0x2002 || (a == 0x3fff && b < 0x1000);
    given_out && !special
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::{NameServers, find as find_by, is_public};

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "192.167.1.1",
            "198.20.0.1",
            "223.255.255.254",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2001:4860::8888",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    async fn find(host: &str, port: u16, allow_private: bool) -> Result<Vec<SocketAddr>, String> {
        find_by(&NameServers, host, port, allow_private).await
    }

    #[tokio::test]
    async fn a_name_is_refused_where_an_address_of_it_is_private() {
        for host in ["localhost", "127.0.0.1", "::1", "127.1", "2130706433", "0x7f000001"] {
            let why = find(host, 80, false).await.unwrap_err();
            assert!(why.contains("no public address") || why.contains("has no address"), "{host}: {why}");
        }
        assert!(find("localhost", 80, true).await.unwrap().iter().all(|address| address.ip().is_loopback()));
        assert!(
            find("nobody.invalid", 80, true).await.unwrap_err().contains("nobody.invalid has no address")
        );
    }
}
