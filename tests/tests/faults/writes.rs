//! What the cluster said is so stays so.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use temps_tests::app::App;
use temps_tests::cluster::Cluster;
use temps_tests::deployment::list;
use temps_tests::trouble::{Result, Trouble};
use temps_tests::{check, wait};

/// Kills in one go.
const KILLS: usize = 4;

/// Writers through all nodes while one server after the other is killed: every write that was
/// acknowledged is there at the end.
pub(crate) fn kept(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
    let mut writers = Vec::new();
    for writer in 0..3_usize {
        let cli = cluster.cli_at(&[writer, (writer + 1) % 3, (writer + 2) % 3]);
        let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        writers.push(std::thread::spawn(move || {
            for n in 0.. {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                let name = format!("W{writer}_{n}");
                if cli.run(&["env", "set", "-p", "hello", &format!("{name}={n}")])?.code == 0 {
                    acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
                }
            }
            Ok::<_, Trouble>(())
        }));
    }
    let count = || acknowledged.lock().unwrap_or_else(PoisonError::into_inner).len();
    for kill in 0..KILLS {
        let before = count();
        wait::until("writes to be acknowledged", Duration::from_secs(40), || count() > before + 10)?;
        let victim = if kill % 2 == 0 { cluster.leader()? } else { kill % 3 };
        cluster.nodes[victim].kill()?;
        wait::nap(Duration::from_millis(1_500))?;
        cluster.nodes[victim].restart()?;
    }
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.join().map_err(|_| Trouble::new("a writer panicked"))??;
    }
    cluster.heal()?;
    let shown = cluster.cli().json(&["env", "list", "-p", "hello"])?;
    let kept: BTreeSet<&str> = list(&shown, "names").iter().filter_map(|name| name.as_str()).collect();
    let acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
    let lost: Vec<&String> = acknowledged.iter().filter(|name| !kept.contains(name.as_str())).collect();
    check!(lost.is_empty(), "lost: {lost:?} of {}", acknowledged.len());
    check!(acknowledged.len() > KILLS * 10, "only {} writes", acknowledged.len());
    drop(acknowledged);
    let mut forget = vec!["env", "rm", "-p", "hello"];
    forget.extend(kept.iter().filter(|name| name.starts_with('W')));
    cluster.cli().text(&forget)?;
    same_hash(cluster)
}

/// All nodes hold the same state, to the byte.
fn same_hash(cluster: &Cluster) -> Result {
    let mut last = Vec::new();
    let all: Vec<usize> = (0..cluster.nodes.len()).collect();
    let same = wait::until("equal states", Duration::from_secs(20), || {
        let of = |i: &usize| {
            let status = cluster.cli_at(&[*i]).json(&["cluster", "status"]).ok()?;
            Some((status.get("index")?.clone(), status.get("state_hash")?.clone()))
        };
        last = all.iter().map(of).collect();
        last.iter().all(|seen| seen.is_some() && *seen == last[0])
    });
    same.map_err(|trouble| Trouble::new(format!("{trouble}: {last:?}")))
}

/// From a leader's death to the next acknowledged write.
pub(crate) fn failover(cluster: &mut Cluster) -> Result {
    cluster.deploy_well(&App::quick("v1")?)?;
    for n in 0..3 {
        let leader = cluster.leader()?;
        let rest: Vec<usize> = (0..3).filter(|i| *i != leader).collect();
        cluster.nodes[leader].kill()?;
        let begun = Instant::now();
        cluster.cli_at(&rest).text(&["env", "set", "-p", "hello", &format!("AFTER={n}")])?;
        let took = begun.elapsed();
        check!(took < Duration::from_secs(5), "the next write took {took:?}");
        cluster.heal()?;
    }
    cluster.cli().text(&["env", "rm", "-p", "hello", "AFTER"])?;
    Ok(())
}
