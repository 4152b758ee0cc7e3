//! Builds that succeed, fail, take too long and are called off.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use temps_agent::build::{Build, BuildError};
use temps_agent::logs::Until;
use temps_agent::runtime::docker::ImageSource;
use temps_core::model::{DeploymentId, Form, NodeId, Source};

use crate::support::{Place, id_of, until};

fn failed(outcome: Result<temps_core::model::Artifact, BuildError>) -> (String, Vec<String>) {
    match outcome {
        Err(BuildError::Failed { why, log_tail }) => (why, log_tail),
        other => unreachable!("{other:?} instead of a failure"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_becomes_an_image() {
    let Some(place) = Place::new("a_directory_becomes_an_image").await else { return };
    let dockerfile =
        format!("FROM scratch\nCOPY tool /\nRUN [\"/tool\", \"{}\"]\nCMD [\"/tool\"]\n", place.cluster);
    let image = place.build(42, &[("Dockerfile", dockerfile.as_bytes())]).await.expect("built");
    assert!(matches!(image.form, Form::Image { total, .. } if total > 0), "{image:?}");
    assert!(place.store.has(&image.digest));
    let found = place.docker.inspect_image(id_of(&image)).await.expect("there");
    let labels = found.config.and_then(|config| config.labels).expect("labels");
    for (label, value) in
        [("cluster", &*place.cluster), ("project", "shop"), ("release", "r3"), ("node", "n1")]
    {
        assert_eq!(labels.get(&format!("dev.temps.{label}")).map(String::as_str), Some(value), "{label}");
    }
    let log = place.log(42).await;
    assert!(log.iter().any(|line| line.contains("RUN [\"/tool\"")), "{log:?}");
    assert!(log.iter().any(|line| line.contains("the image is stored")), "{log:?}");
    assert_eq!(place.containers(&place.cluster).await, 0, "nothing of a build stays");

    // It can be stored again from its name, without its source.
    let id = id_of(&image).to_owned();
    let source = Source::Image { reference: "shop:1".to_owned(), id, node: NodeId(1) };
    let again = place.builder.build(DeploymentId(43), &place.making(source)).await.expect("stored");
    assert_eq!(again, image);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_build_names_the_step_and_keeps_its_log() {
    let Some(place) = Place::new("a_failed_build_names_the_step_and_keeps_its_log").await else { return };
    let dockerfile = b"FROM scratch\nCOPY tool /\nRUN [\"/tool\", \"exit\", \"3\"]\n";
    let (why, tail) = failed(place.build(7, &[("Dockerfile", dockerfile)]).await);
    assert_eq!(why, "the step `RUN [\"/tool\", \"exit\", \"3\"]` ended with exit code 3");
    assert!(tail.len() <= 20 && tail.iter().any(|line| line == "about to fail"), "{tail:?}");
    let log = place.log(7).await;
    assert!(log.iter().any(|line| line.contains("about to fail")), "{log:?}");
    assert!(log.last().expect("lines").contains("exit code 3"), "{log:?}");
    assert!(place.store.list().len() == 1, "only the source is stored");
    assert_eq!(place.containers("exit 3").await, 0);

    for (dockerfile, reason) in [
        (&b"FROM scratch\nNONSENSE\n"[..], "NONSENSE"),
        (b"FROM scratch\nCOPY missing /\n", "the step `COPY missing /` failed"),
        (b"FROM temps-there-is-no-such-image-anywhere:1\n", "temps-there-is-no-such-image-anywhere"),
    ] {
        let (why, _) = failed(place.build(8, &[("Dockerfile", dockerfile)]).await);
        assert!(why.contains(reason), "{why}");
    }
    let (why, _) = failed(place.build(9, &[("other", b"x")]).await);
    assert!(why.contains("Dockerfile"), "{why}");
    let id = format!("sha256:{}", "0".repeat(64));
    let source = Source::Image { reference: "shop:1".to_owned(), id, node: NodeId(1) };
    let (why, _) = failed(place.builder.build(DeploymentId(9), &place.making(source)).await);
    assert!(why.contains("does not have the image") && why.contains("deploy shop:1 again"), "{why}");

    let logs = place.builder.logs();
    place.builder.forget(&BTreeSet::from([DeploymentId(8)])).await;
    assert!(!logs.has(DeploymentId(7)) && logs.has(DeploymentId(8)) && !logs.has(DeploymentId(9)));
    place.builder.forget(&BTreeSet::new()).await;
    assert!(!logs.has(DeploymentId(8)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_is_called_off_leaves_no_container() {
    let Some(place) = Place::new("a_build_that_is_called_off_leaves_no_container").await else { return };
    let run = format!("sleep {}", place.cluster);
    let dockerfile =
        format!("FROM scratch\nCOPY tool /\nRUN [\"/tool\", \"sleep\", \"{}\"]\n", place.cluster);
    let work = place.work(&[("Dockerfile", dockerfile.as_bytes())]).await;
    let builder = place.builder.clone();
    let building = tokio::spawn(async move { builder.build(DeploymentId(5), &work).await });
    until("the container runs", async || place.containers(&run).await == 1).await;
    // Somebody follows the log meanwhile.
    let mut following = place.builder.logs().lines(DeploymentId(5), usize::MAX, Until::Ended);
    let following = tokio::spawn(async move {
        let mut last = None;
        while let Some(line) = following.next().await {
            last = Some(line.expect("readable").bytes);
        }
        last
    });
    building.abort();
    assert!(building.await.expect_err("called off").is_cancelled());
    until("the container is gone", async || place.containers(&run).await == 0).await;
    assert_eq!(following.await.expect("ended").as_deref(), Some(&b"cancelled"[..]));

    // One that takes too long ends the same way.
    let dockerfile = "Dockerfile".to_owned();
    let Source::Build { context, .. } =
        place.work(&[("Dockerfile", dockerfile_of(&place).as_bytes())]).await.source
    else {
        panic!("a build")
    };
    let source = Source::Build { context, dockerfile, timeout: 3_000 };
    let (why, _) = failed(place.builder.build(DeploymentId(6), &place.making(source)).await);
    assert_eq!(why, "building took longer than 3s");
    until("the container is gone", async || place.containers(&run).await == 0).await;
    assert!(place.log(6).await.last().expect("lines").contains("took longer"));
}

fn dockerfile_of(place: &Place) -> String {
    format!("FROM scratch\nCOPY tool /\nRUN [\"/tool\", \"sleep\", \"{}\"]\n", place.cluster)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_forgotten_build_stays() {
    let Some(place) = Place::new("nothing_of_a_forgotten_build_stays").await else { return };
    let own = place.cluster.clone();
    // The name is in a layer of its own, so that no other test shares it.
    let dockerfile = format!("FROM scratch\nCOPY own /\nCOPY tool /\nENV X {own}\n");
    let files = [("own", own.as_bytes()), ("Dockerfile", dockerfile.as_bytes())];
    let image = place.build(1, &files).await.expect("built");
    let bad = format!("{dockerfile}COPY missing /\n");
    let files = [("own", own.as_bytes()), ("Dockerfile", bad.as_bytes())];
    failed(place.build(2, &files).await);
    let layers = place.layers(id_of(&image)).await;
    assert!(layers.len() >= 4, "{layers:?}");
    place.builder.forget(&BTreeSet::from([DeploymentId(1)])).await;
    place.builder.forget(&BTreeSet::new()).await;
    assert_eq!(place.layers(id_of(&image)).await, layers, "the image needs them");
    assert!(!place.builder.logs().has(DeploymentId(1)));

    place.images.discard(&image.digest).await.expect("discarded");
    let again = place.reopened();
    again.forget(&BTreeSet::new()).await;
    for layer in layers {
        assert!(!place.has(&layer).await, "{layer} is left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_source_is_fetched_again() {
    let Some(place) = Place::new("a_damaged_source_is_fetched_again").await else { return };
    let work = place.work(&[("Dockerfile", b"FROM scratch\nCOPY tool /\n")]).await;
    let Source::Build { context, .. } = &work.source else { panic!("a build") };
    std::fs::write(place.store.path(&context.digest), b"damaged").expect("written");
    let refused = place.builder.build(DeploymentId(1), &work).await;
    assert!(matches!(&refused, Err(BuildError::NotNow(why)) if why.contains("damaged")), "{refused:?}");
    assert!(!place.store.has(&context.digest), "so that it is fetched");
    let refused = place.builder.build(DeploymentId(1), &work).await;
    assert!(matches!(&refused, Err(BuildError::NotNow(why)) if why.contains("not stored")), "{refused:?}");

    // What is whole, and is no archive, is the user's.
    let garbage = b"no archive at all".repeat(100);
    let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&garbage));
    let context = temps_core::model::Artifact { digest, bytes: garbage.len() as u64, form: Form::Bundle };
    let content = futures_util::stream::iter([Ok(bytes::Bytes::from(garbage))]);
    place.store.store(&context, content).await.expect("stored");
    let source = Source::Build { context, dockerfile: "Dockerfile".to_owned(), timeout: 60_000 };
    failed(place.builder.build(DeploymentId(2), &place.making(source)).await);
}

#[tokio::test]
async fn without_an_engine_a_build_waits() {
    let place = Place::without_engine();
    let source = Source::Image { reference: "a".to_owned(), id: "b".to_owned(), node: NodeId(1) };
    let work = place.making(source);
    let building = place.builder.build(DeploymentId(1), &work);
    let outcome = tokio::time::timeout(Duration::from_secs(20), building).await.expect("soon");
    assert!(matches!(&outcome, Err(BuildError::NotNow(_))), "{outcome:?}");
}
