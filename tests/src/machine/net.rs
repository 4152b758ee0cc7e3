//! The switch and the cables between machines: a bridge, and a pair of interfaces for each namespace.

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::process::{Command, id};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use super::{find, output, run};
use crate::trouble::{Result, Trouble};

/// The bits of an address that are the same on one switch.
const PREFIX: u8 = 24;

/// How our names begin; our process id follows, then a letter and a number.
const OURS: &str = "tt";

/// A switch of its own, with a range of addresses that is free here. The first address is ours. Dropping it
/// takes it away.
#[derive(Debug)]
pub struct Switch {
    bridge: String,
    range: [u8; 3],
    plugged: AtomicU8,
}

/// Where a machine is plugged in: a network namespace with a cable. Dropping it unplugs it.
#[derive(Debug)]
pub struct Place {
    namespace: String,
    address: Ipv4Addr,
    cable: String,
}

/// A name that nobody else uses: interfaces may have 15 characters.
fn name(letter: char) -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    format!("{OURS}{}{letter}{}", id(), LAST.fetch_add(1, Ordering::SeqCst))
}

/// The process that gave a name, if it is one of ours.
pub(super) fn owner(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(OURS)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (pid, rest) = rest.split_at(digits);
    let numbered = rest.strip_prefix(['b', 'n', 'v'])?;
    (!numbered.is_empty() && numbered.bytes().all(|byte| byte.is_ascii_digit())).then(|| pid.parse().ok())?
}

/// A command that runs in a network namespace, and in everything else where we are.
pub(crate) fn inside(namespace: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(find("nsenter").unwrap_or_else(|| "nsenter".into()));
    command.arg(format!("--net=/var/run/netns/{namespace}")).arg("--").arg(program);
    command
}

impl Switch {
    /// Makes a switch.
    ///
    /// # Errors
    /// When there is no free range, or it may not be made.
    pub fn new() -> Result<Self> {
        let range = free_range()?;
        let switch = Self { bridge: name('b'), range, plugged: AtomicU8::new(0) };
        let address = format!("{}/{PREFIX}", switch.address());
        let bridge = switch.bridge.as_str();
        run("ip", &["link", "add", "name", bridge, "type", "bridge"])?;
        run("ip", &["addr", "add", &address, "dev", bridge])?;
        run("ip", &["link", "set", bridge, "up"])?;
        // Where packets between machines pass the host's filter, it may drop what is not its own.
        switch.rules().iter().try_for_each(|rule| filter("-I", rule))?;
        Ok(switch)
    }

    /// Our address on it.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        let [a, b, c] = self.range;
        Ipv4Addr::new(a, b, c, 1)
    }

    fn rules(&self) -> [String; 2] {
        let bridge = &self.bridge;
        [format!("FORWARD -i {bridge} -o {bridge} -j ACCEPT"), format!("INPUT -i {bridge} -j ACCEPT")]
    }

    /// Makes a namespace with a cable to this switch. It has no way out: names of the outside fail at once.
    ///
    /// # Errors
    /// When it may not be made.
    pub fn plug(&self) -> Result<Place> {
        let number = self.plugged.fetch_add(1, Ordering::SeqCst);
        let [a, b, c] = self.range;
        let place =
            Place { namespace: name('n'), address: Ipv4Addr::new(a, b, c, 11 + number), cable: name('v') };
        place.make(&self.bridge)?;
        Ok(place)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for rule in self.rules() {
            // A rule that is not there needs no removal.
            let _ = filter("-D", &rule);
        }
        // What stays is cleared away by the next run.
        let _ = remove_link(&self.bridge);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What stays is cleared away by the next run.
        let _ = self.unplug();
    }
}

impl Place {
    /// Its address, as all others see it.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its name.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// A command that runs there.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        inside(&self.namespace, program)
    }

    /// Drops every packet from and to other places, silently, as a broken cable would.
    ///
    /// # Errors
    /// When its filter cannot be changed.
    pub fn part_from(&self, others: &[Ipv4Addr]) -> Result {
        self.filter("-I", others)
    }

    /// Lets packets through again.
    ///
    /// # Errors
    /// When its filter cannot be changed.
    pub fn rejoin(&self, others: &[Ipv4Addr]) -> Result {
        self.filter("-D", others)
    }

    fn filter(&self, what: &str, others: &[Ipv4Addr]) -> Result {
        let rules =
            others.iter().flat_map(|other| [["INPUT", "-s"], ["OUTPUT", "-d"]].map(|way| (other, way)));
        for (other, [chain, way]) in rules {
            let iptables = find("iptables").ok_or_else(|| Trouble::new("there is no iptables here"))?;
            let mut command = self.command(iptables);
            command.args(["-w", what, chain, way, &other.to_string(), "-j", "DROP"]);
            output(command, "iptables")?;
        }
        Ok(())
    }

    fn make(&self, bridge: &str) -> Result {
        let Self { namespace, address, cable } = self;
        run("ip", &["netns", "add", namespace])?;
        run("ip", &["link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", namespace])?;
        run("ip", &["link", "set", cable, "master", bridge, "up"])?;
        let address = format!("{address}/{PREFIX}");
        for arguments in [
            &["link", "set", "lo", "up"][..],
            &["addr", "add", &address, "dev", "eth0"],
            &["link", "set", "eth0", "up"],
        ] {
            let mut all = vec!["-n", namespace];
            all.extend(arguments);
            run("ip", &all)?;
        }
        Ok(())
    }

    pub(super) fn link(&self, state: &str) -> Result {
        run("ip", &["link", "set", &self.cable, state]).map(drop)
    }

    pub(super) fn unplug(&self) -> Result {
        remove_link(&self.cable)?;
        remove_namespace(&self.namespace)
    }
}

/// Removes an interface; one that is gone already is fine.
pub(super) fn remove_link(name: &str) -> Result {
    if std::path::Path::new("/sys/class/net").join(name).exists() {
        run("ip", &["link", "del", name])?;
    }
    Ok(())
}

/// Removes a namespace; one that is gone already is fine.
pub(super) fn remove_namespace(name: &str) -> Result {
    if std::path::Path::new("/var/run/netns").join(name).exists() {
        run("ip", &["netns", "del", name])?;
    }
    Ok(())
}

/// Changes the host's filter.
pub(super) fn filter(what: &str, rule: &str) -> Result {
    let mut arguments = vec!["-w", what];
    arguments.extend(rule.split(' '));
    run("iptables", &arguments).map(drop)
}

/// A range in 10.0.0.0/8 that no interface and no route here touches.
fn free_range() -> Result<[u8; 3]> {
    let mut seen = run("ip", &["-4", "-o", "addr"])?;
    seen.push_str(&run("ip", &["-4", "-o", "route"])?);
    let taken: Vec<_> = seen.split_whitespace().filter_map(network).collect();
    for _ in 0..200 {
        let range = [10, rand::random_range(64..=250), rand::random_range(0..=255)];
        let first = u32::from_be_bytes([range[0], range[1], range[2], 0]);
        let touches = |(network, bits): &(u32, u8)| {
            let bits = (*bits).min(PREFIX);
            // The default route touches nothing of its own.
            bits > 0 && (network ^ first) >> (32 - u32::from(bits)) == 0
        };
        if !taken.iter().any(touches) {
            return Ok(range);
        }
    }
    Err(Trouble::new("no free range of addresses in 10.64.0.0 to 10.250.255.0"))
}

/// An address or a network as `ip` prints it.
fn network(word: &str) -> Option<(u32, u8)> {
    let (address, bits) = word.split_once('/').unwrap_or((word, "32"));
    let bits = bits.parse().ok().filter(|bits| *bits <= 32)?;
    Some((u32::from(address.parse::<Ipv4Addr>().ok()?), bits))
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn names_tell_whose_they_are() {
        for (name, pid) in [
            ("tt1234b0", Some(1234)),
            ("tt4194304v12", Some(4_194_304)),
            ("tt1n3", Some(1)),
            ("tt1x3", None),
            ("tt1n", None),
            ("ttn1", None),
            ("docker0", None),
            ("tt12", None),
        ] {
            assert_eq!(owner(name), pid, "{name}");
        }
    }
}
