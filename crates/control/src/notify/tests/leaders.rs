//! A thousand notices while ten leaders die: none is lost, what comes twice is the same, and no receiver waits for
//! another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::rngs::StdRng;
use rand::seq::{IteratorRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::Value;
use temps_core::command::Command;
use temps_core::model::{ChannelId, NodeId, PENDING_MAX, Receiver, Topic};
use temps_ledger::Ledger;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::group::{Group, Point};
use super::receivers::{Hook, Seen};
use super::{Open, SIGNING, World, channel, hook_secret, node};
use crate::notify::Notifier;

/// It takes 10 s, and a minute where ten others want each processor.
const LIMIT: Duration = Duration::from_secs(180);
const NOTICES: usize = 1_000;
/// So many more are made than the receiver that is well has heard, so that leaders die while they are made.
const AHEAD: usize = 50;
const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
const WELL: ChannelId = ChannelId(1);
const FAILING: ChannelId = ChannelId(2);
const HANGING: ChannelId = ChannelId(3);
const DEAD: ChannelId = ChannelId(4);

/// How a node ceases to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It dies, whatever it is doing.
    Anywhere,
    /// It dies exactly there.
    At(Point),
    /// Another is elected, and it lives on.
    Deposed,
}

/// Ten deaths and two elections.
const ENDS: [End; 12] = [
    End::Anywhere,
    End::Anywhere,
    End::Anywhere,
    End::Anywhere,
    End::At(Point::Received),
    End::At(Point::Received),
    End::At(Point::Unwritten),
    End::At(Point::Unwritten),
    End::At(Point::Written),
    End::At(Point::Written),
    End::Deposed,
    End::Deposed,
];

/// Three nodes, each with a sender.
struct Trio {
    group: Arc<Group>,
    senders: BTreeMap<NodeId, JoinHandle<()>>,
    dice: StdRng,
}

impl Trio {
    fn new(seed: u64) -> Self {
        let (group, senders) = (Group::new(seed), BTreeMap::new());
        let mut trio = Self { group, senders, dice: StdRng::seed_from_u64(seed) };
        NODES.into_iter().for_each(|node| trio.start(node));
        trio.group.elect(Some(NODES[0]));
        trio.write(Command::Found { domain: "example.com".to_owned(), token_hash: "00".to_owned() });
        trio.write(Command::CreateJoinToken { hash: "t".to_owned(), ttl: 60_000, uses: 9 });
        for name in ["n1", "n2", "n3"] {
            let token_hash = (name != "n1").then(|| "t".to_owned());
            trio.write(Command::AddNode(temps_core::command::NewNode { token_hash, ..node(name) }));
        }
        trio
    }

    fn write(&self, command: Command) {
        self.group.write(command).expect("somebody leads").made().unwrap();
    }

    fn start(&mut self, node: NodeId) {
        let mut sender = Notifier::new(self.group.join(node), Arc::new(Open), "abcdef0123".to_owned());
        // A receiver that hangs holds its own channel up, so this is how long the test takes.
        sender.patience = Duration::from_secs(3);
        self.senders.insert(node, tokio::spawn(sender.run(CancellationToken::new())));
    }

    /// Adds a webhook that is told of machines that are lost and come back, of each once.
    fn add(&self, name: &str, at: std::net::SocketAddr) {
        let receiver = Receiver::Webhook { host: "127.0.0.1".to_owned() };
        let mut new = channel(name, receiver, hook_secret(&format!("http://{at}/{name}")), true, None);
        new.topics = BTreeSet::from([Topic::NodeLost, Topic::NodeReturned]);
        self.write(Command::AddChannel(new));
    }

    /// Another node leads, after the one that led came to this end.
    async fn end(&mut self, end: End) {
        let leader = self.group.leader().unwrap();
        if end != End::Deposed {
            match end {
                // Any instant will do, so there is nothing to wait for.
                End::Anywhere | End::Deposed => {
                    tokio::time::sleep(Duration::from_micros(self.dice.random_range(0..5_000))).await;
                }
                End::At(point) => self.group.trap(point).await.unwrap(),
            }
            let sender = self.senders.remove(&leader).unwrap();
            sender.abort();
            assert!(sender.await.unwrap_err().is_cancelled());
            self.group.leave(leader);
        }
        self.group.elect(None);
        // An election takes its time, and notices of other things go on being asked for.
        tokio::time::sleep(Duration::from_millis(self.dice.random_range(0..20))).await;
        self.group.elect(NODES.into_iter().filter(|node| *node != leader).choose(&mut self.dice));
        if end != End::Deposed {
            self.start(leader);
        }
    }
}

/// What happens in a cluster: machines are lost and come back, and time passes.
async fn happen(group: Arc<Group>, well: Arc<Hook>) {
    for number in 0..NOTICES {
        well.reached(number.saturating_sub(AHEAD)).await;
        let ids = |these: bool| if these { vec![NodeId(3)] } else { Vec::new() };
        let command = || Command::Liveness {
            lost: ids(number.is_multiple_of(2)),
            back: ids(!number.is_multiple_of(2)),
        };
        while group.write(command()).is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        group.write(Command::Liveness { lost: Vec::new(), back: Vec::new() });
    }
}

/// Whether this came from us, as a receiver finds out.
fn is_signed(seen: &Seen) -> bool {
    let header = |name: &str| seen.headers[name].to_str().unwrap();
    let key = STANDARD.decode(SIGNING.strip_prefix("whsec_").unwrap()).unwrap();
    let tag = STANDARD.decode(header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    let signed = format!("{}.{}.{}", header("webhook-id"), header("webhook-timestamp"), seen.body);
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes(), &tag).is_ok()
}

/// By id what was accepted, with how often; all that came under one id is the same.
fn accepted(hook: &Hook) -> BTreeMap<String, (String, usize)> {
    let (mut bodies, mut accepted) = (BTreeMap::new(), BTreeMap::new());
    for seen in hook.seen() {
        assert!(is_signed(&seen), "{seen:?}");
        let id = seen.headers["webhook-id"].to_str().unwrap().to_owned();
        let body: &mut String = bodies.entry(id.clone()).or_insert_with(|| seen.body.clone());
        assert_eq!(*body, seen.body, "{id} says one thing");
        if seen.answered == Some(200) {
            accepted.entry(id).or_insert((seen.body, 0)).1 += 1;
        }
    }
    accepted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_notices_arrive_while_ten_leaders_die() {
    let seed = std::env::var("TEMPS_SIM_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    let seeded = format!("TEMPS_SIM_SEED={seed}");
    let test = tokio::spawn(run(seed));
    let ended = tokio::time::timeout(LIMIT, test).await;
    assert!(matches!(ended, Ok(Ok(()))), "{ended:?} with {seeded}");
}

async fn run(seed: u64) {
    let mut trio = Trio::new(seed);
    let group = Arc::clone(&trio.group);
    let gate = Arc::clone(&group);
    let well = Arc::new(
        Hook::start_slow(move |_| {
            let gate = Arc::clone(&gate);
            async move {
                gate.pass(Point::Received).await;
                (200, "")
            }
        })
        .await,
    );
    let whims = Mutex::new(StdRng::seed_from_u64(seed));
    let failing =
        Hook::start(move |_| if whims.lock().unwrap().random_ratio(1, 20) { (500, "") } else { (200, "") })
            .await;
    let hangs: BTreeSet<usize> = (0..2).map(|_| trio.dice.random_range(0..NOTICES)).collect();
    let hanging = Hook::start_slow(move |number| {
        let hangs = hangs.contains(&number);
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            (200, "")
        }
    })
    .await;
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    trio.add("well", well.address);
    trio.add("failing", failing.address);
    trio.add("hanging", hanging.address);
    trio.add("dead", dead);

    let happening = tokio::spawn(happen(Arc::clone(&group), Arc::clone(&well)));
    let mut ends = ENDS;
    ends.shuffle(&mut trio.dice);
    let mut at: Vec<usize> = ends.iter().map(|_| trio.dice.random_range(0..NOTICES - AHEAD)).collect();
    at.sort_unstable();
    for (end, at) in ends.into_iter().zip(at) {
        well.reached(at).await;
        trio.end(end).await;
    }

    // The one that is well has all, and the dead one's still wait.
    group.until(|state| state.notifications.channels[&WELL].sent == NOTICES as u64).await;
    let state = group.states().remove(0);
    let waiting = &state.notifications.channels[&DEAD];
    assert_eq!((waiting.sent, waiting.pending.len(), waiting.dropped), (0, NOTICES, 0));
    let why = &waiting.last_failure.as_ref().expect("the dead one is tried, too").why;
    assert!(why.contains("no connection to 127.0.0.1"), "{why}");

    let told = |id| move |all: &temps_core::model::Notifications| all.channels[&id].pending.is_empty();
    group.until(|state| [FAILING, HANGING].into_iter().all(|id| told(id)(&state.notifications))).await;
    let made = group.made();
    assert_eq!(made.len(), NOTICES);
    let mut twice = 0;
    for (hook, channel) in [(&*well, "ch1"), (&failing, "ch2"), (&hanging, "ch3")] {
        let accepted = accepted(hook);
        let id = |event: &temps_core::model::EventId| {
            format!("n{}.{}-{channel}-abcdef01", event.index, event.place)
        };
        let wanted: BTreeSet<_> = made.keys().map(id).collect();
        let lost: Vec<_> = wanted.iter().filter(|id| !accepted.contains_key(*id)).collect();
        assert!(lost.is_empty(), "{channel} never heard {lost:?}");
        assert_eq!(accepted.len(), NOTICES, "{channel} was told more than happened");
        for (event, notice) in &made {
            let body: Value = serde_json::from_str(&accepted[&id(event)].0).unwrap();
            assert_eq!((&body["id"], &body["text"]), (&id(event).into(), &notice.title.clone().into()));
        }
        let again: usize = accepted.values().map(|(_, times)| times - 1).sum();
        assert!(again <= ENDS.len(), "{channel} heard {again} again");
        twice += again;
    }
    // Leaders did die in the middle of it: what was answered and not written is told again, and what was not answered.
    assert!(twice >= 2, "{twice}");
    let again = well.seen().len() - NOTICES;
    assert!((2..=ENDS.len()).contains(&again), "{again}");
    let hashes: BTreeSet<_> = group.states().iter().map(|state| state.hash()).collect();
    assert_eq!(hashes.len(), 1, "all nodes have one state");
    happening.abort();
    trio.senders.into_values().for_each(|sender| sender.abort());
}

/// A receiver that takes connections and never answers holds up itself alone.
#[tokio::test]
async fn a_receiver_that_hangs_delays_nobody() {
    let (world, hook) = (World::new().await, Hook::start(|_| (200, "")).await);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.add_hook("silent", &format!("http://{}/", silent.local_addr().unwrap())).await;
    world.add_hook("well", &format!("http://{}/", hook.address)).await;
    let running = world.start();
    world.happen(100).await;
    let well = world.until("well", |channel| channel.pending.is_empty()).await;
    assert_eq!(well.sent, 100);
    let silent = world.channel("silent");
    // The first try is not even over.
    assert_eq!((silent.pending.len(), silent.failing, silent.last_failure), (100, 0, None));
    running.abort();
}

/// With more notices than an outbox holds the oldest are dropped and counted; the others arrive when the receiver is
/// back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_outbox_cannot_hold_is_counted() {
    const TOO_MANY: usize = 100;
    let is_back = Arc::new(AtomicBool::new(false));
    let back = Arc::clone(&is_back);
    let hook = Hook::start(move |_| if back.load(Ordering::SeqCst) { (200, "") } else { (503, "") }).await;
    let world = World::new().await;
    world.add_hook("late", &format!("http://{}/", hook.address)).await;
    let running = world.start();
    let before = world.ledger.state().index;
    world.happen(PENDING_MAX + TOO_MANY).await;
    let channel = world.until("late", |channel| channel.failing > 0).await;
    assert_eq!((channel.pending.len(), channel.dropped, channel.sent), (PENDING_MAX, TOO_MANY as u64, 0));
    let kept: BTreeSet<_> = channel.pending.into_keys().collect();
    assert!(kept.first().unwrap().index > before + TOO_MANY as u64, "the oldest are dropped");
    let refused = hook.seen().len();
    is_back.store(true, Ordering::SeqCst);
    // Whoever mended the receiver asks for a test, and what waited comes after it.
    world.write(Command::TestChannel { name: "late".to_owned() }).await;
    let channel = world.until("late", |channel| channel.pending.is_empty()).await;
    assert_eq!(channel.sent + channel.dropped, (PENDING_MAX + TOO_MANY + 1) as u64, "no other way out");
    let heard: BTreeSet<_> =
        hook.seen().into_iter().skip(refused).map(|seen| seen.headers["webhook-id"].clone()).collect();
    assert_eq!(heard.len() as u64, channel.sent);
    running.abort();
}
