//! A node's configuration: a file, then flags over it, resolved once.

mod runtime;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use temps_cli::file::parse_duration;
use temps_edge::Network;
use temps_raft::Timings;

use runtime::RawDocker;
pub(crate) use runtime::RuntimeChoice;

/// The file that is read when no other is named.
pub(crate) const DEFAULT_FILE: &str = "/etc/temps/server.toml";

/// The file as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Raw {
    pub(crate) name: Option<String>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) advertise: Option<String>,
    pub(crate) domain: Option<String>,
    pub(crate) ports: Option<String>,
    pub(crate) runtime: Option<String>,
    #[serde(default)]
    pub(crate) docker: RawDocker,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) edge: RawEdge,
    #[serde(default)]
    pub(crate) raft: RawRaft,
    #[serde(default)]
    pub(crate) cluster: RawCluster,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawEdge {
    pub(crate) http: Option<SocketAddr>,
    pub(crate) https: Option<String>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) advertise: Option<String>,
    pub(crate) workers: Option<usize>,
    #[serde(default)]
    pub(crate) trusted: Vec<String>,
    #[serde(default)]
    pub(crate) proxy_protocol: Vec<String>,
    pub(crate) access_log: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRaft {
    pub(crate) heartbeat: Option<String>,
    pub(crate) election: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCluster {
    pub(crate) lease: Option<String>,
}

/// A node's configuration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The node's name in the cluster.
    pub(crate) name: String,
    pub(crate) data_dir: PathBuf,
    /// Where the API and the other nodes are answered.
    pub(crate) listen: SocketAddr,
    /// `host:port` under which others reach `listen`.
    pub(crate) advertise: String,
    /// The domain of a cluster that this node founds.
    pub(crate) domain: String,
    /// Ports that local processes listen on, both included.
    pub(crate) ports: RangeInclusive<u16>,
    /// What is to run instances here.
    pub(crate) runtime: RuntimeChoice,
    /// Where the Docker engine listens.
    pub(crate) docker_socket: PathBuf,
    /// For placement.
    pub(crate) labels: BTreeMap<String, String>,
    /// Where the edge answers the public.
    pub(crate) edge_http: SocketAddr,
    /// Where it does so with TLS.
    pub(crate) edge_https: Option<SocketAddr>,
    /// Where the edge answers other edges.
    pub(crate) edge_peer: SocketAddr,
    /// `host:port` under which other edges reach `edge_peer`.
    pub(crate) edge_advertise: String,
    pub(crate) edge_workers: usize,
    /// Proxies that are believed what they say of a client.
    pub(crate) edge_trusted: Vec<Network>,
    /// Load balancers whose connections begin with a header of the PROXY protocol.
    pub(crate) edge_proxy_protocol: Vec<Network>,
    /// Where each request is logged.
    pub(crate) edge_access_log: Option<PathBuf>,
    pub(crate) timings: Timings,
    /// Silence after which the leader counts a node as lost.
    pub(crate) lease: Duration,
}

/// The file at `path`, or nothing where the default file does not exist.
pub(crate) fn read(path: Option<&Path>) -> Result<Raw> {
    let (path, optional) = match path {
        Some(path) => (path, false),
        None => (Path::new(DEFAULT_FILE), true),
    };
    match std::fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).with_context(|| format!("{} is not valid", path.display())),
        Err(error) if optional && error.kind() == std::io::ErrorKind::NotFound => Ok(Raw::default()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Defaults put in, and everything checked.
pub(crate) fn resolve(raw: Raw) -> Result<Config> {
    let listen = raw.listen.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 7400)));
    let edge_http = raw.edge.http.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 80)));
    let edge_https = https(raw.edge.https.as_deref(), edge_http)?;
    let edge_peer = raw.edge.peer.unwrap_or(SocketAddr::new(listen.ip(), 7401));
    let advertise = advertised("advertise", raw.advertise, listen)?;
    let default_edge = if edge_peer.ip().is_unspecified() {
        let host = advertise.rsplit_once(':').map_or(advertise.as_str(), |(host, _)| host);
        Some(format!("{host}:{}", edge_peer.port()))
    } else {
        None
    };
    let edge_advertise = advertised("edge.advertise", raw.edge.advertise.or(default_edge), edge_peer)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let edge_workers = raw.edge.workers.unwrap_or(cores);
    ensure!((1..=256).contains(&edge_workers), "edge.workers must be from 1 to 256, not {edge_workers}");
    let name = match raw.name {
        Some(name) => name,
        None => host_name()?,
    };
    let lease = time("cluster.lease", raw.cluster.lease, Duration::from_secs(15))?;
    let timings = timings(raw.raft)?;
    ensure!(
        lease >= timings.election_max * 2,
        "cluster.lease must be at least twice the longest election time, or every election would lose nodes"
    );
    Ok(Config {
        name,
        data_dir: raw.data_dir.unwrap_or_else(|| PathBuf::from("/var/lib/temps")),
        listen,
        advertise,
        domain: raw.domain.unwrap_or_else(|| "localhost".to_owned()),
        ports: range("ports", raw.ports.as_deref().unwrap_or("20000-29999"))?,
        runtime: runtime::choice(raw.runtime.as_deref())?,
        docker_socket: runtime::socket(raw.docker.socket)?,
        labels: runtime::labels(raw.labels)?,
        edge_http,
        edge_https,
        edge_peer,
        edge_advertise,
        edge_workers,
        edge_trusted: networks("edge.trusted", &raw.edge.trusted)?,
        edge_proxy_protocol: networks("edge.proxy_protocol", &raw.edge.proxy_protocol)?,
        edge_access_log: absolute("edge.access_log", raw.edge.access_log)?,
        timings,
        lease,
    })
}

fn advertised(key: &str, given: Option<String>, listen: SocketAddr) -> Result<String> {
    match given {
        Some(given)
            if given.rsplit_once(':').is_some_and(|(h, p)| !h.is_empty() && p.parse::<u16>().is_ok()) =>
        {
            Ok(given)
        }
        Some(given) => bail!("{key} must be host:port, not {given:?}"),
        None if listen.ip().is_unspecified() => {
            bail!(
                "{key} is needed: {listen} listens everywhere and does not say under which address others reach this node; set {key} = \"ADDRESS:{}\"",
                listen.port()
            )
        }
        None => Ok(listen.to_string()),
    }
}

fn networks(key: &str, given: &[String]) -> Result<Vec<Network>> {
    given.iter().map(|text| text.parse().with_context(|| format!("{key} has {text:?}"))).collect()
}

fn absolute(key: &str, given: Option<PathBuf>) -> Result<Option<PathBuf>> {
    match given {
        Some(path) if !path.is_absolute() => {
            bail!("{key} must be an absolute path such as \"/var/log/temps/access.log\", not {path:?}")
        }
        given => Ok(given),
    }
}

/// Beside port 80 it is port 443.
fn https(given: Option<&str>, http: SocketAddr) -> Result<Option<SocketAddr>> {
    match given {
        None => Ok((http.port() == 80).then(|| SocketAddr::new(http.ip(), 443))),
        Some("off") => Ok(None),
        Some(given) => match given.parse() {
            Ok(address) => Ok(Some(address)),
            Err(_) => {
                bail!("edge.https must be an address such as \"0.0.0.0:443\", or \"off\", not {given:?}")
            }
        },
    }
}

fn host_name() -> Result<String> {
    let name = nix::unistd::gethostname().context("cannot read the host name; set `name`")?;
    let name = name.to_string_lossy().to_lowercase();
    Ok(name.split('.').next().unwrap_or(&name).to_owned())
}

fn time(key: &str, given: Option<String>, default: Duration) -> Result<Duration> {
    let Some(given) = given else { return Ok(default) };
    let millis = parse_duration(&given).with_context(|| format!("{key} = {given:?}"))?;
    Ok(Duration::from_millis(millis))
}

fn timings(raw: RawRaft) -> Result<Timings> {
    let default = Timings::default();
    let heartbeat = time("raft.heartbeat", raw.heartbeat, default.heartbeat)?;
    let (election_min, election_max) = match raw.election {
        None => (default.election_min, default.election_max),
        Some(text) => {
            let (min, max) = text.split_once('-').with_context(|| {
                format!("raft.election must be two times such as \"250ms-400ms\", not {text:?}")
            })?;
            let part = |part: &str| time("raft.election", Some(part.trim().to_owned()), default.election_min);
            (part(min)?, part(max)?)
        }
    };
    ensure!(
        heartbeat * 2 <= election_min && election_min < election_max,
        "raft.election must be two rising times, the first at least twice raft.heartbeat"
    );
    Ok(Timings { heartbeat, election_min, election_max })
}

fn range(key: &str, text: &str) -> Result<RangeInclusive<u16>> {
    let part = |part: &str| part.trim().parse::<u16>().ok();
    let parsed = text.split_once('-').and_then(|(first, last)| Some((part(first)?, part(last)?)));
    match parsed {
        Some((first, last)) if 1024 <= first && first <= last => Ok(first..=last),
        _ => bail!("{key} must be two rising ports above 1023 such as \"20000-29999\", not {text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Raw, RuntimeChoice, resolve};

    fn check(text: &str) -> Result<super::Config, String> {
        let raw: Raw = toml::from_str(text).map_err(|e| e.to_string())?;
        resolve(raw).map_err(|e| format!("{e:#}"))
    }

    #[test]
    fn defaults_follow_from_the_addresses() {
        let config = check("name = 'a'\nadvertise = '10.0.0.1:7400'").unwrap();
        assert_eq!(config.edge_advertise, "10.0.0.1:7401");
        assert_eq!(config.ports, 20_000..=29_999);
        assert_eq!(config.edge_https, Some("0.0.0.0:443".parse().unwrap()));
        for (edge, https) in [
            ("https = 'off'", None),
            ("http = '127.0.0.1:8080'", None),
            ("http = '127.0.0.1:80'", Some("127.0.0.1:443")),
            ("http = '127.0.0.1:8080'\nhttps = '[::1]:8443'", Some("[::1]:8443")),
        ] {
            let config = check(&format!("name = 'a'\nadvertise = 'x:1'\n[edge]\n{edge}")).unwrap();
            assert_eq!(config.edge_https, https.map(|at| at.parse().unwrap()), "{edge}");
        }
        let config = check("name = 'a'\nlisten = '127.0.0.1:9000'\n[edge]\npeer = '127.0.0.1:9001'").unwrap();
        assert_eq!(
            (config.advertise.as_str(), config.edge_advertise.as_str()),
            ("127.0.0.1:9000", "127.0.0.1:9001")
        );
    }

    #[test]
    fn what_runs_instances_is_chosen() {
        let config = check("name = 'a'\nadvertise = 'x:1'").unwrap();
        assert_eq!(config.runtime, RuntimeChoice::Auto);
        assert_eq!(config.docker_socket, Path::new("/var/run/docker.sock"));
        assert!(config.labels.is_empty());
        let config = check(
            "name = 'a'\nadvertise = 'x:1'\nruntime = 'docker'\n[docker]\nsocket = '/run/d.sock'\n[labels]\nzone = 'eu-1'\n'disk.kind' = 'ssd'",
        )
        .unwrap();
        assert_eq!(config.runtime, RuntimeChoice::Docker);
        assert_eq!(config.docker_socket, Path::new("/run/d.sock"));
        assert_eq!(config.labels["zone"], "eu-1");
        assert_eq!(config.labels["disk.kind"], "ssd");
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("name = 'a'", "advertise is needed"),
            ("nane = 'a'", "unknown field `nane`"),
            ("name = 'a'\nadvertise = 'x'", "must be host:port"),
            ("name = 'a'\nadvertise = 'x:1'\nports = '80-90'", "above 1023"),
            ("name = 'a'\nadvertise = 'x:1'\n[edge]\ntrusted = ['10.0.0.1/8']", "edge.trusted has"),
            (
                "name = 'a'\nadvertise = 'x:1'\n[edge]\nproxy_protocol = ['lb']",
                "edge.proxy_protocol has \"lb\"",
            ),
            ("name = 'a'\nadvertise = 'x:1'\n[edge]\naccess_log = 'access.log'", "absolute path"),
            ("name = 'a'\nadvertise = 'x:1'\n[edge]\nhttps = '443'", "or \"off\", not \"443\""),
            ("name = 'a'\nadvertise = 'x:1'\n[raft]\nelection = '10ms-20ms'", "twice raft.heartbeat"),
            ("name = 'a'\nadvertise = 'x:1'\n[cluster]\nlease = '100ms'", "twice the longest election"),
            ("name = 'a'\nadvertise = 'x:1'\nruntime = 'podman'", "\"auto\", \"docker\" or \"process\""),
            ("name = 'a'\nadvertise = 'x:1'\n[docker]\nhost = 'x'", "unknown field `host`"),
            ("name = 'a'\nadvertise = 'x:1'\n[docker]\nsocket = 'tcp://x:2375'", "absolute path"),
            ("name = 'a'\nadvertise = 'x:1'\n[labels]\nzone = ''", "1 to 64 printable"),
            ("name = 'a'\nadvertise = 'x:1'\n[labels]\nzone = 'a b'", "1 to 64 printable"),
            ("name = 'a'\nadvertise = 'x:1'\n[labels]\nzone = 'é'", "1 to 64 printable"),
            ("name = 'a'\nadvertise = 'x:1'\n[labels]\n'zo ne' = 'a'", "needs another name"),
            ("name = 'a'\nadvertise = 'x:1'\n[labels]\n1 = 'a'", "needs another name"),
            ("name = 'a'\nadvertise = 'x:1'\n[labels]\nnode = 'a'", "means the node itself"),
            ("name = 'a'\nadvertise = 'x:1'\n[labels]\nzone = 1", "expected a string"),
        ] {
            let why = check(text).unwrap_err();
            assert!(why.contains(expected), "{why:?} should say {expected:?}");
        }
    }
}
