//! Engines that hang, forget, and are used by others as well.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use temps_core::model::{Exit, Health, Seen, Want};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Bench, I7, worker};
use crate::local::Stage;
use crate::runtime::{Condition, StartError};
use crate::testing::script::running;
use crate::testing::work;

/// An application that answers every request well.
async fn application() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    });
    address
}

/// Nobody answers there.
const NOWHERE: &str = "127.0.0.1:1";

#[tokio::test]
async fn an_engine_that_hangs_is_no_news() {
    let mut bench = Bench::with_running(worker(Want::Run, Seen::Ready), running("first", None)).await;
    bench.script.hangs.store(true, Ordering::SeqCst);
    for _ in 0..5 {
        bench.script.hint();
        bench.work(Duration::from_millis(200)).await;
    }
    assert!(matches!(bench.local().expect("known").stage, Stage::Up(..)));
    assert!(bench.view.borrow().down.is_empty() && bench.view.borrow().unready.is_empty());
    assert_eq!(bench.last_told(), None);
    bench.script.hangs.store(false, Ordering::SeqCst);
    bench.script.end(I7, Exit { code: Some(3), ..Exit::default() });
    bench.until("its end", |b| b.exit().is_some_and(|e| e.code == Some(3))).await;
}

#[tokio::test]
async fn before_the_first_list_nothing_is_concluded_and_nothing_begins() {
    let mut bench = Bench::new();
    bench.script.hangs.store(true, Ordering::SeqCst);
    bench.assign(worker(Want::Run, Seen::Ready));
    bench.hands.begin();
    bench.work(Duration::from_millis(300)).await;
    assert_eq!(bench.last_told(), None);
    assert!(!bench.view.borrow().listed);
    // What this node is, it can tell.
    assert!(!bench.ledger.told().is_empty());
    bench.assign(worker(Want::Run, Seen::Pending));
    bench.work(Duration::from_millis(300)).await;
    assert_eq!(bench.script.done(), [] as [&str; 0]);
    bench.script.hangs.store(false, Ordering::SeqCst);
    bench.until("its start", |b| b.script.count("start i7") == 1).await;
}

#[tokio::test]
async fn another_address_is_used_at_once_and_is_the_one_that_is_checked() {
    let mut known = work(Want::Run, Seen::Starting);
    known.health = Some(Health { interval: 50, timeout: 500, ..Health::default() });
    let mut bench = Bench::with_running(known, running("first", Some(NOWHERE))).await;
    bench.until("a failed check", |b| b.local().is_some_and(|l| l.vitals.last_check.is_some())).await;
    assert_eq!(bench.view.borrow().endpoints[&I7].address, NOWHERE);

    let address = application().await;
    bench.script.show(I7, Condition::Running(running("first", Some(&address))));
    bench.script.hint();
    let began = Instant::now();
    bench.until("the new address", |b| b.view.borrow().endpoints[&I7].address == address).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    bench.until("health", |b| b.local().is_some_and(|l| l.vitals.seen == Seen::Ready)).await;
    assert_eq!(bench.script.count("stop i7"), 0);
    bench.until("it is told", |b| b.last_told().is_some_and(|t| t.0 == Seen::Ready)).await;
}

#[tokio::test]
async fn what_has_lost_its_address_gets_nothing_until_it_has_one_again() {
    let address = application().await;
    let mut known = work(Want::Run, Seen::Ready);
    known.instance.endpoint = running("first", Some(&address)).endpoint;
    let mut bench = Bench::with_running(known, running("first", Some(&address))).await;
    bench.script.show(I7, Condition::Running(running("first", None)));
    bench.script.hint();
    bench.until("it gets nothing", |b| b.view.borrow().down.contains(&I7)).await;
    bench.script.show(I7, Condition::Running(running("first", Some(&address))));
    bench.script.hint();
    bench.until("it is back", |b| b.view.borrow().endpoints.contains_key(&I7)).await;
    assert!(bench.view.borrow().down.is_empty());
}

#[tokio::test]
async fn what_somebody_started_again_is_over_is_ended_and_is_no_crash() {
    let mut bench = Bench::with_running(worker(Want::Run, Seen::Ready), running("first", None)).await;
    bench.script.show(I7, Condition::Running(running("second", None)));
    bench.script.hint();
    bench.until("it is down", |b| b.view.borrow().down.contains(&I7)).await;
    bench.until("its end", |b| b.exit().is_some()).await;
    assert_eq!(bench.script.count("stop i7"), 1);
    let exit = bench.exit().expect("it ended");
    assert!(exit.excused && !exit.asked && exit.error.is_some(), "{exit:?}");
    bench.until("it is told", |b| b.last_told().is_some_and(|t| t.0 == Seen::Exited)).await;
    assert_eq!(bench.script.count("start i7"), 0);
}

#[tokio::test]
async fn the_end_that_was_told_stays_also_where_somebody_starts_it_again() {
    let mut bench = Bench::with_running(worker(Want::Run, Seen::Ready), running("first", None)).await;
    bench.script.end(I7, Exit { code: Some(3), ..Exit::default() });
    bench.until("its end", |b| b.exit().is_some()).await;
    bench.script.show(I7, Condition::Running(running("second", None)));
    bench.script.hint();
    bench.until("it is ended", |b| b.script.count("stop i7") == 1).await;
    bench.until("its end", |b| b.exit().is_some()).await;
    assert_eq!(bench.exit().map(|e| (e.code, e.excused)), Some((Some(3), false)));
    assert!(!bench.ledger.told().iter().any(|told| format!("{told:?}").contains("second")));
}

#[tokio::test]
async fn a_start_that_the_cluster_never_heard_of_is_over() {
    let mut known = work(Want::Run, Seen::Ready);
    known.instance.endpoint = running("first", Some(NOWHERE)).endpoint;
    let mut bench = Bench::new();
    bench.script.show(I7, Condition::Running(running("second", Some(NOWHERE))));
    bench.assign(known);
    bench.hands.begin();
    bench.until("its end", |b| b.exit().is_some_and(|e| e.excused)).await;
    assert_eq!(bench.script.count("stop i7"), 1);
}

#[tokio::test]
async fn what_was_removed_by_somebody_else_has_ended_and_is_no_crash() {
    let mut bench = Bench::with_running(worker(Want::Run, Seen::Ready), running("first", None)).await;
    bench.script.vanish(I7);
    bench.script.hint();
    bench.until("its end", |b| b.exit().is_some()).await;
    let exit = bench.exit().expect("it ended");
    assert!(exit.excused && !exit.asked && exit.error.is_some(), "{exit:?}");
    bench.until("it is told", |b| b.last_told().is_some_and(|t| t.0 == Seen::Exited)).await;
}

#[tokio::test]
async fn who_waits_for_an_end_knows_better_than_a_list_that_does_not_show_it() {
    let mut bench = Bench::with_running(worker(Want::Run, Seen::Ready), running("first", None)).await;
    bench.script.vanish(I7);
    bench.script.hint();
    bench.until("a list without it", |b| b.local().is_some_and(|l| l.missed)).await;
    bench.script.end(I7, Exit { code: Some(3), ..Exit::default() });
    bench.until("its end", |b| b.exit().is_some()).await;
    assert_eq!(bench.exit().map(|e| (e.code, e.excused)), Some((Some(3), false)));
}

#[tokio::test]
async fn what_has_ended_gets_nothing_more_before_it_is_known_how() {
    let mut bench = Bench::with_running(worker(Want::Run, Seen::Ready), running("first", None)).await;
    bench.script.begin_end(I7);
    bench.until("it gets nothing", |b| b.view.borrow().down.contains(&I7)).await;
    assert_eq!((bench.exit(), bench.last_told()), (None, None));
    bench.script.end(I7, Exit { code: Some(3), ..Exit::default() });
    bench.until("its end", |b| b.exit().is_some_and(|e| e.code == Some(3))).await;
}

#[tokio::test]
async fn what_cannot_start_now_waits_says_why_and_starts_once() {
    let mut bench = Bench::new();
    for _ in 0..2 {
        let error = StartError::NotNow("the engine does not answer".to_owned());
        bench.script.starts.lock().unwrap_or_else(PoisonError::into_inner).push_back(error);
    }
    bench.assign(worker(Want::Run, Seen::Pending));
    bench.hands.begin();
    bench.until("why it waits", |b| b.last_told().is_some()).await;
    let told = (Seen::Pending, Some("waiting: the engine does not answer".to_owned()), None);
    assert_eq!(bench.last_told(), Some(told));
    let began = Instant::now();
    bench.until("its start", |b| matches!(b.local(), Some(l) if l.running().is_some())).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    bench.until("it is ready", |b| b.last_told().is_some_and(|t| t.0 == Seen::Ready)).await;
    assert_eq!(bench.script.count("start i7"), 3);
}

#[tokio::test]
async fn what_cannot_start_now_and_is_not_wanted_any_more_is_removed() {
    let mut bench = Bench::new();
    for _ in 0..100 {
        let error = StartError::NotNow("the engine does not answer".to_owned());
        bench.script.starts.lock().unwrap_or_else(PoisonError::into_inner).push_back(error);
    }
    bench.assign(worker(Want::Run, Seen::Pending));
    bench.hands.begin();
    bench.until("a first try", |b| b.script.count("start i7") == 1).await;
    bench.assign(worker(Want::Stop, Seen::Pending));
    bench.until("it is gone", |b| b.last_told().is_some_and(|t| t.0 == Seen::Gone)).await;
    assert_eq!(bench.script.count("remove i7"), 1);
}

#[tokio::test]
async fn of_what_ran_before_its_start_was_heard_of_the_end_is_told_and_not_that_it_cannot_start() {
    let mut bench = Bench::new();
    // The answer to the first start was lost; by the next one it had ended.
    let lost = [StartError::NotNow("no answer".to_owned()), StartError::Ended];
    bench.script.starts.lock().unwrap_or_else(PoisonError::into_inner).extend(lost);
    bench.assign(worker(Want::Run, Seen::Pending));
    bench.hands.begin();
    bench.until("a first try", |b| b.script.count("start i7") == 1).await;
    bench.script.show(I7, Condition::Ended(Exit { code: Some(3), ..Exit::default() }));
    bench.until("its end", |b| b.exit().is_some()).await;
    assert_eq!(bench.exit().map(|e| (e.code, e.error)), Some((Some(3), None)));
}

#[tokio::test]
async fn what_runs_once_is_not_checked_and_its_end_is_what_counts() {
    let mut once = worker(Want::Run, Seen::Pending);
    once.once = true;
    let mut bench = Bench::new();
    bench.assign(once);
    bench.hands.begin();
    bench.until("its start", |b| b.last_told().is_some()).await;
    bench.work(Duration::from_millis(300)).await;
    assert_eq!(bench.last_told().map(|t| t.0), Some(Seen::Starting));
    let exit = Exit { code: Some(0), log_tail: vec!["migrated".to_owned()], ..Exit::default() };
    bench.script.end(I7, exit.clone());
    bench.until("its end", |b| b.last_told().is_some_and(|t| t.0 == Seen::Exited)).await;
    assert_eq!(bench.last_told().and_then(|t| t.2), Some(exit));
    assert_eq!(bench.script.count("start i7"), 1);
}

#[tokio::test]
async fn a_worker_with_a_check_is_ready_by_it_and_a_hanging_engine_is_not_its_fault() {
    let mut checked = worker(Want::Run, Seen::Starting);
    checked.process.check = Some("am-i-well".to_owned());
    let health = Health { interval: 50, timeout: 500, start_period: 0, ..Health::default() };
    checked.health = Some(Health { unhealthy_threshold: 2, ..health });
    let mut bench = Bench::with_running(checked, running("first", None)).await;
    bench.until("health", |b| b.local().is_some_and(|l| l.vitals.seen == Seen::Ready)).await;
    assert!(bench.script.count("check i7 am-i-well") >= 2);
    let fail = |bench: &Bench, times: usize| {
        let mut checks = bench.script.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.extend(std::iter::repeat_n("no queue".to_owned(), times));
    };
    *bench.script.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some("it hangs".to_owned());
    fail(&bench, 5);
    let before = bench.script.done().len();
    bench.until("failures", |b| b.script.done().len() >= before + 5).await;
    assert_eq!(bench.local().map(|l| l.vitals.seen), Some(Seen::Ready));
    *bench.script.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    fail(&bench, 1_000);
    bench.until("it is unready", |b| b.view.borrow().unready.contains(&I7)).await;
    assert_eq!(bench.local().and_then(|l| l.vitals.last_check.clone()).as_deref(), Some("no queue"));
}
