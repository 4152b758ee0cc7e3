//! What names mean, and what clean-up leaves alone.

use std::collections::BTreeSet;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptions, RemoveContainerOptions, TagImageOptions};
use temps_agent::build::Build;
use temps_agent::images::FindError;
use temps_agent::runtime::docker::ImageSource;
use temps_core::model::Artifact;

use crate::support::{Place, id_of};

async fn image(place: &Place, name: &str) -> Artifact {
    let dockerfile = "FROM scratch\nCOPY tool text /\nCMD [\"/tool\"]\n";
    place.build(1, &[("Dockerfile", dockerfile.as_bytes()), ("text", name.as_bytes())]).await.expect("built")
}

async fn tag(place: &mut Place, id: &str, tag: &str) -> String {
    let repository = format!("stranger-{}", place.cluster);
    let options = TagImageOptions { repo: Some(repository.clone()), tag: Some(tag.to_owned()) };
    place.docker.tag_image(id, Some(options)).await.expect("tagged");
    let name = format!("{repository}:{tag}");
    place.strangers.push(name.clone());
    name
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_means_one_content_and_a_moved_name_another() {
    let Some(mut place) = Place::new("a_name_means_one_content_and_a_moved_name_another").await else {
        return;
    };
    let [old, new] = [image(&place, "old").await, image(&place, "new").await];
    let name = tag(&mut place, id_of(&old), "latest").await;
    let found = |reference: String, pull| {
        let images = place.images.clone();
        async move { images.find(&reference, pull).await }
    };
    let meant = |image: &Artifact| Ok((id_of(image).to_owned(), None));
    assert_eq!(found(name.clone(), false).await, meant(&old));
    let short = name.strip_suffix(":latest").expect("a tag").to_owned();
    assert_eq!(found(short, false).await, meant(&old));
    assert_eq!(found(id_of(&old).to_owned(), true).await, meant(&old), "a content is not asked for");
    let bare = id_of(&old).strip_prefix("sha256:").expect("a digest").to_owned();
    assert_eq!(found(bare, false).await, meant(&old));

    // No registry answers here: what this node has is meant, and that is said.
    let (id, warning) = found(name.clone(), true).await.expect("found here");
    let warning = warning.expect("a warning");
    assert_eq!(id, id_of(&old));
    assert!(warning.contains(&name) && warning.contains(&id), "{warning}");

    let options =
        TagImageOptions { repo: name.split(':').next().map(str::to_owned), tag: Some("latest".into()) };
    place.docker.tag_image(id_of(&new), Some(options)).await.expect("tagged");
    assert_eq!(place.images.find(&name, false).await, meant(&new));
    // What was stored by its content stays what it was.
    place.wipe(id_of(&old)).await;
    place.images.ensure(&old).await.expect("brought");
    assert!(place.has(id_of(&old)).await);
    assert_eq!(place.images.find(&name, false).await, meant(&new));

    let missing = format!("{name}-not");
    for pull in [false, true] {
        let error = place.images.find(&missing, pull).await.expect_err("not found");
        assert!(matches!(&error, FindError::NotFound(why) if why.contains(&missing)), "{error}");
    }
    let error = place.images.find(&format!("sha256:{}", "0".repeat(64)), true).await.expect_err("not found");
    assert!(matches!(error, FindError::NotFound(_)), "{error}");
    let error = place.images.find("../containers", true).await.expect_err("no name");
    assert!(matches!(error, FindError::NotAName(_)), "{error}");
    let away = Place::without_engine().images.find("app", false).await.expect_err("nobody answers");
    assert!(matches!(away, FindError::NotNow(_)), "{away}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_up_takes_only_what_is_ours_and_not_needed() {
    let Some(mut place) = Place::new("clean_up_takes_only_what_is_ours_and_not_needed").await else { return };
    let [kept, gone, used, named] = [
        image(&place, "kept").await,
        image(&place, "gone").await,
        image(&place, "used").await,
        image(&place, "named").await,
    ];
    let stranger = tag(&mut place, id_of(&named), "mine").await;
    let options =
        CreateContainerOptions { name: Some(format!("stranger-{}", place.cluster)), ..Default::default() };
    let body = ContainerCreateBody { image: Some(id_of(&used).to_owned()), ..Default::default() };
    let container = place.docker.create_container(Some(options), body).await.expect("created").id;
    let other = Place::new("another cluster").await.expect("it answers");
    let others = image(&other, "others").await;

    place.images.sweep(&BTreeSet::from([kept.digest.clone()])).await.expect("swept");
    assert!(place.has(id_of(&kept)).await && place.has(&place.images.tag_of(&kept.digest)).await);
    assert!(!place.has(id_of(&gone)).await, "nothing needs it");
    assert!(place.has(id_of(&used)).await, "a container uses it");
    assert!(place.has(&stranger).await, "somebody has named it");
    assert!(!place.has(&place.images.tag_of(&named.digest)).await);
    assert!(other.has(id_of(&others)).await, "it is another cluster's");

    // Once nothing uses it, it goes.
    place.docker.remove_container(&container, None::<RemoveContainerOptions>).await.expect("removed");
    place.images.sweep(&BTreeSet::new()).await.expect("swept");
    assert!(!place.has(id_of(&used)).await && !place.has(id_of(&kept)).await);
    place.reopened().forget(&BTreeSet::new()).await;
    assert_eq!(place.labelled("dev.temps.cluster", &place.cluster).await, [id_of(&named)]);
}
