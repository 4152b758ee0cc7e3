//! The edge beside nginx and haproxy, in turns: each has one core to itself, and whoever asks and answers has another.

mod load;
mod ours;
mod peers;
mod usage;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use temps_tests::stage::{Stage, Verdict};
use temps_tests::trouble::{Context, Result, Trouble};

use self::load::{Sample, Workload};
use self::ours::Edges;
use self::peers::Peers;

/// The core of the proxy that is measured.
pub(super) const PROXY_CORE: &str = "0";
/// The core of clients and applications.
pub(super) const OTHER_CORE: &str = "1";

/// How many routes are many.
const MANY: usize = 10_000;

/// How long one sample takes, and how many there are of each.
pub(super) struct Wish {
    rounds: usize,
    time: Duration,
    works: Vec<Workload>,
}

impl Wish {
    /// From the words of the command line.
    pub(super) fn read(words: &[&str]) -> Result<Self> {
        let mut wish = Self { rounds: 5, time: Duration::from_secs(3), works: Workload::ALL.to_vec() };
        for pair in words.chunks(2) {
            match pair {
                ["--rounds", n] => wish.rounds = n.parse().context("--rounds")?,
                ["--workload", word] => wish.works.retain(|work| work.word() == *word),
                ["--seconds", n] => wish.time = Duration::from_secs(n.parse().context("--seconds")?),
                _ => return Err(Trouble::new(super::USAGE)),
            }
        }
        if wish.works.is_empty() || wish.rounds == 0 || wish.time.is_zero() {
            return Err(Trouble::new(super::USAGE));
        }
        Ok(wish)
    }
}

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Proxy {
    Direct,
    Nginx,
    Haproxy,
    Ours,
    OursFar,
    OursManyRoutes,
    OursSwapping,
}

impl Proxy {
    const ALL: [Self; 7] = [
        Self::Direct,
        Self::Nginx,
        Self::Haproxy,
        Self::Ours,
        Self::OursFar,
        Self::OursManyRoutes,
        Self::OursSwapping,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Ours => "ours",
            Self::OursFar => "ours via another node",
            Self::OursManyRoutes => "ours, 10000 routes",
            Self::OursSwapping => "ours, 5 new tables a second",
        }
    }

    /// Whether it is measured with this work.
    fn takes(self, work: Workload) -> bool {
        work == Workload::Small || !matches!(self, Self::OursManyRoutes | Self::OursSwapping)
    }
}

pub(super) fn run(stage: Stage, wish: &Wish) -> Result<Verdict> {
    if std::thread::available_parallelism()?.get() < 2 {
        return Err(Trouble::new("this needs two cores: one for the proxy, one for who asks and answers"));
    }
    let peers = Peers::start()?;
    let few = Edges::start(&peers, 1)?;
    let many = Edges::start(&peers, MANY)?;
    let mut samples: BTreeMap<(Workload, Proxy), Vec<Sample>> = BTreeMap::new();
    for round in 0..wish.rounds {
        for work in wish.works.iter().copied() {
            for turn in 0..Proxy::ALL.len() {
                let proxy = Proxy::ALL[(turn + round) % Proxy::ALL.len()];
                if !proxy.takes(work) {
                    continue;
                }
                let measure =
                    |port, host: &str, pids: &[u32]| load::measure(&peers, work, port, host, pids, wish.time);
                let sample = match proxy {
                    Proxy::Direct => measure(peers.application, "app0.test", &[]),
                    Proxy::Nginx => measure(peers.nginx, "app0.test", &[peers.nginx_pid()]),
                    Proxy::Haproxy => measure(peers.haproxy, "app0.test", &[peers.haproxy_pid()]),
                    Proxy::Ours => measure(few.near.http, "app0.test", &[few.near.pid()]),
                    Proxy::OursFar => measure(few.near.http, ours::FAR, &[few.near.pid(), few.far.pid()]),
                    Proxy::OursManyRoutes => {
                        measure(many.near.http, &format!("app{}.test", MANY / 2), &[many.near.pid()])
                    }
                    Proxy::OursSwapping => {
                        few.swapping(|| measure(few.near.http, "app0.test", &[few.near.pid()]))
                    }
                }?;
                stage.say(&format!("{:<10} {:<28} {sample}", work.word(), proxy.word()));
                samples.entry((work, proxy)).or_default().push(sample);
            }
        }
    }
    let medians: BTreeMap<_, _> =
        samples.iter().map(|(at, samples)| (*at, Sample::median(samples))).collect();
    let memory = memory(&peers, &few, &many)?;
    Ok(tell(stage, wish, &medians, &memory))
}

/// Bytes for one idle connection of a client, by proxy, and for one route.
fn memory(peers: &Peers, few: &Edges, many: &Edges) -> Result<Value> {
    let mut each = BTreeMap::new();
    for (proxy, port, pid) in [
        (Proxy::Nginx, peers.nginx, peers.nginx_pid()),
        (Proxy::Haproxy, peers.haproxy, peers.haproxy_pid()),
        (Proxy::Ours, few.near.http, few.near.pid()),
    ] {
        each.insert(proxy.word(), usage::of_idle_connection(port, "app0.test", pid)?);
    }
    let (with_few, with_many) = (few.near.at_rest, many.near.at_rest);
    let per_route = with_many.saturating_sub(with_few) / u64::try_from(MANY)?;
    Ok(json!({ "bytes_per_idle_connection": each, "bytes_per_route": per_route, "bytes_at_rest": with_few }))
}

fn tell(stage: Stage, wish: &Wish, medians: &BTreeMap<(Workload, Proxy), Sample>, memory: &Value) -> Verdict {
    let mut rows = Vec::new();
    let mut ratios = BTreeMap::new();
    let mut complaints = Vec::new();
    stage.say(&format!("\nmedians of {}", wish.rounds));
    for ((work, proxy), sample) in medians {
        stage.say(&format!("{:<10} {:<28} {sample}", work.word(), proxy.word()));
        rows.push(sample.row(proxy.word(), work.word()));
        if sample.failed > 0 {
            complaints.push(format!("{} of {} failed: {}", proxy.word(), work.word(), sample.failed));
        }
    }
    for (name, peer) in [("nginx", Proxy::Nginx), ("haproxy", Proxy::Haproxy)] {
        for work in Workload::ALL {
            let of = |proxy| medians.get(&(work, proxy));
            let (Some(ours), Some(peer)) = (of(Proxy::Ours), of(peer)) else { continue };
            for (kind, ratio) in
                [("ratio", ours.per_core() / peer.per_core()), ("p99", ours.p99_us / peer.p99_us)]
            {
                let of_kind = ratios.entry(format!("{kind}_{name}")).or_insert_with(BTreeMap::new);
                of_kind.insert(work.word(), ratio);
            }
        }
    }
    for (name, of) in &ratios {
        let told: Vec<_> = of.iter().map(|(work, ratio)| format!("{work} {ratio:.2}")).collect();
        stage.say(&format!("{name}: {}", told.join(", ")));
    }
    stage.say(&format!("memory: {memory}"));
    let mut object =
        json!({ "rounds": wish.rounds, "seconds": wish.time.as_secs_f64(), "rows": rows, "memory": memory });
    for (name, of) in ratios {
        object[&name] = json!(of);
    }
    Verdict { object, complaints }
}
