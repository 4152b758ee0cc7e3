//! Logs of containers.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use temps_agent::logs::{LogLine, Source, Until};
use temps_agent::runtime::Runtime;
use temps_core::model::InstanceId;

use crate::support::{GRACE, I7, ended, with_engine};

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_until_the_instance_has_ended() {
    with_engine("a_log_is_followed_until_the_instance_has_ended", |place| async move {
        let runtime = place.runtime();
        place.ready(&runtime, "/app finish 100").await;
        let following = runtime.lines(I7, 10, Until::Ended);
        let collecting = tokio::spawn(following.try_collect::<Vec<LogLine>>());
        runtime.stop(I7, GRACE).await.expect("stopped");
        let collected = tokio::time::timeout(Duration::from_secs(20), collecting).await;
        let lines = collected.expect("it ends").expect("no panic").expect("readable");
        let texts: Vec<&[u8]> = lines.iter().map(|line| &line.bytes[..]).collect();
        assert_eq!(texts, [&b"ready"[..], b"got SIGTERM", b"job done"]);
        assert!(
            lines.iter().all(|line| line.whole && line.source == Source::Out && line.at > 1_000_000_000_000)
        );

        let tail: Vec<LogLine> = runtime.lines(I7, 1, Until::Now).try_collect().await.expect("readable");
        assert_eq!(tail.len(), 1);
        assert_eq!(&tail[0].bytes[..], b"job done");
        assert!(runtime.lines(I7, 0, Until::Now).next().await.is_none());
        assert!(runtime.lines(InstanceId(99), 10, Until::Ended).next().await.is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_leaves_the_newest_lines_and_no_more_than_three_files() {
    with_engine("a_flood_leaves_the_newest_lines", |place| async move {
        let runtime = place.runtime();
        runtime.start(&place.job(I7, "/app flood 40")).await.expect("started");
        let exit = ended(&runtime, I7).await;
        assert_eq!(exit.code, Some(0), "{exit:?}");
        assert_eq!(exit.log_tail.len(), 20);
        assert!(exit.log_tail.last().is_some_and(|line| line.starts_with("0040959 ")), "{:?}", exit.log_tail);
        let tail: Vec<LogLine> = runtime.lines(I7, 100, Until::Now).try_collect().await.expect("readable");
        assert_eq!(tail.len(), 100);
        let file = place.inspect(I7).await.log_path.expect("a log");
        let dir = std::path::Path::new(&file).parent().expect("a directory");
        let sizes: u64 = std::fs::read_dir(dir)
            .expect("listed")
            .map(|entry| entry.expect("an entry"))
            .filter(|entry| entry.file_name().to_string_lossy().contains("-json.log"))
            .map(|entry| entry.metadata().expect("metadata").len())
            .sum();
        assert!(sizes > 0 && sizes <= 31_000_000, "{sizes} bytes");
    })
    .await;
}
