//! What others have on the same engine, and what was left over.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, NetworkCreateRequest};
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use temps_agent::runtime::{Condition, Runtime, StartError};
use temps_core::model::InstanceId;

use crate::support::{I7, Place, condition, said, with_engine};

/// Creates a container beside the runtime.
async fn create(place: &Place, name: &str, labels: &[(&str, &str)]) -> String {
    let labels: HashMap<String, String> =
        labels.iter().map(|(k, v)| (format!("dev.temps.{k}"), (*v).to_owned())).collect();
    let body = ContainerCreateBody {
        image: Some(place.image.clone()),
        cmd: Some(vec!["/app".to_owned(), "wait".to_owned()]),
        labels: Some(labels),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::new().name(name).build();
    place.docker.create_container(Some(options), body).await.expect("created").id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_left_over_before_its_start_is_replaced() {
    with_engine("a_container_left_over_before_its_start_is_replaced", |place| async move {
        let ours = [("cluster", place.cluster.as_str()), ("node", "n1"), ("instance", "i7")];
        let left = create(&place, &place.name(I7), &ours).await;
        let runtime = place.runtime();
        assert!(matches!(condition(&runtime, I7).await, Some(Condition::Unstarted)));
        let running = runtime.start(&place.job(I7, "/app wait")).await.expect("started");
        assert!(!running.incarnation.starts_with(&left), "it is another one");
        assert_eq!(runtime.list().await.expect("listed").len(), 1);
        // Asked again, also by the next server, it is the same.
        for runtime in [&runtime, &place.runtime()] {
            let again = runtime.start(&place.job(I7, "/app wait")).await.expect("it runs");
            assert_eq!(again.incarnation, running.incarnation);
            assert_eq!(again.endpoint, running.endpoint);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_whose_start_was_not_written_down_is_adopted() {
    with_engine("a_container_whose_start_was_not_written_down_is_adopted", |place| async move {
        let runtime = place.runtime();
        let running = place.ready(&runtime, "/app wait").await;
        drop(runtime);
        std::fs::remove_dir_all(place.data()).expect("removed");
        let runtime = place.runtime();
        let Some(Condition::Running(again)) = condition(&runtime, I7).await else {
            unreachable!("it is not found")
        };
        assert_eq!((again.incarnation, again.endpoint), (running.incarnation, running.endpoint));
        assert_eq!(crate::support::found(&runtime, I7).await.expect("found").digest, "ab".repeat(32));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_of_the_same_name_is_named_and_stays() {
    with_engine("a_stranger_of_the_same_name_is_named_and_stays", |place| async move {
        let runtime = place.runtime();
        let others = [("cluster", "ffffffffffff"), ("node", "n1"), ("instance", "i7")];
        for labels in [&[][..], &others] {
            let stranger = create(&place, &place.name(I7), labels).await;
            place.docker.start_container(&stranger, None).await.expect("started");
            let error = runtime.start(&place.job(I7, "/app wait")).await.expect_err("the name is taken");
            assert!(matches!(error, StartError::Failed(_)), "{error:?}");
            assert!(error.to_string().contains(&place.name(I7)), "{error}");
            assert!(condition(&runtime, I7).await.is_none_or(|c| matches!(c, Condition::Unstarted)));
            runtime.stop(I7, std::time::Duration::ZERO).await.expect("nothing to stop");
            runtime.remove(I7).await.expect("nothing to remove");
            assert!(runtime.lines(I7, 10, temps_agent::logs::Until::Now).next().await.is_none());
            let state = place.inspect(I7).await.state.expect("a state");
            assert_eq!(state.running, Some(true), "the stranger goes on");
            let options = RemoveContainerOptionsBuilder::new().force(true).build();
            place.docker.remove_container(&stranger, Some(options)).await.expect("removed");
        }
    })
    .await;
}

use futures_util::StreamExt;

#[tokio::test(flavor = "multi_thread")]
async fn the_containers_of_other_nodes_and_of_copied_images_are_not_ours() {
    with_engine("the_containers_of_other_nodes_are_not_ours", |place| async move {
        let cluster = place.cluster.as_str();
        create(
            &place,
            &place.name(InstanceId(8)),
            &[("cluster", cluster), ("node", "n2"), ("instance", "i8")],
        )
        .await;
        let copy = format!("{}-copy", place.name(I7));
        create(&place, &copy, &[("cluster", cluster), ("node", "n1"), ("instance", "i7")]).await;
        let runtime = place.runtime();
        assert_eq!(runtime.list().await.expect("listed").len(), 0);
        runtime.remove(InstanceId(8)).await.expect("nothing to remove");
        place.inspect(InstanceId(8)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_has_one_network_whoever_is_faster() {
    with_engine("a_project_has_one_network_whoever_is_faster", |place| async move {
        let (one, other) = (place.runtime(), place.runtime());
        let jobs = [7, 8, 9, 10].map(|id| place.job(InstanceId(id), "/app wait"));
        let (a, b, c, d) = tokio::join!(
            one.start(&jobs[0]),
            other.start(&jobs[1]),
            one.start(&jobs[2]),
            other.start(&jobs[3])
        );
        for started in [a, b, c, d] {
            assert!(started.expect("started").endpoint.is_some());
        }
        let mut networks = Vec::new();
        for id in [7, 8, 9, 10] {
            let told = place.inspect(InstanceId(id)).await;
            let settings = told.network_settings.and_then(|s| s.networks).expect("networks");
            networks.extend(settings.into_values().filter_map(|n| n.network_id));
        }
        networks.sort();
        networks.dedup();
        assert_eq!(networks.len(), 1, "all are in one network");
    })
    .await;
}

/// The engine starts nothing in a network whose name another has, too.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_networks_of_a_project_one_is_left() {
    with_engine("of_two_networks_of_a_project_one_is_left", |place| async move {
        let name = format!("temps-{}-shop", place.cluster);
        for _ in 0..2 {
            let labels = [("cluster", place.cluster.as_str()), ("node", "n1"), ("project", "shop")];
            let labels = labels.map(|(name, value)| (format!("dev.temps.{name}"), value.to_owned()));
            let request = NetworkCreateRequest {
                name: name.clone(),
                labels: Some(HashMap::from(labels)),
                ..NetworkCreateRequest::default()
            };
            place.docker.create_network(request).await.expect("created");
        }
        place.runtime().start(&place.job(I7, "/app wait")).await.expect("started");
        let all = place.docker.list_networks(None).await.expect("listed");
        assert_eq!(all.iter().filter(|network| network.name.as_ref() == Some(&name)).count(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_s_network_is_not_used() {
    with_engine("a_stranger_s_network_is_not_used", |place| async move {
        let name = format!("temps-{}-shop", place.cluster);
        let request = NetworkCreateRequest { name: name.clone(), ..NetworkCreateRequest::default() };
        place.docker.create_network(request).await.expect("created");
        let error = place.runtime().start(&place.job(I7, "/app wait")).await.expect_err("refused");
        assert!(matches!(&error, StartError::Failed(why) if why.contains(&name)), "{error:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_away_is_noticed() {
    with_engine("an_address_that_is_taken_away_is_noticed", |place| async move {
        let runtime = place.runtime();
        place.ready(&runtime, "/app serve").await;
        // What has happened until now is told once.
        while tokio::time::timeout(std::time::Duration::from_secs(1), runtime.changed()).await.is_ok() {}
        let network = format!("temps-{}-shop", place.cluster);
        let request =
            bollard::models::NetworkDisconnectRequest { container: place.name(I7), force: Some(true) };
        place.docker.disconnect_network(&network, request).await.expect("disconnected");
        tokio::time::timeout(std::time::Duration::from_secs(10), runtime.changed()).await.expect("told");
        let Some(Condition::Running(running)) = condition(&runtime, I7).await else {
            unreachable!("it runs")
        };
        assert_eq!(running.endpoint, None, "an address that it has not got any more");
        said(&runtime, I7, "ready").await;
    })
    .await;
}
