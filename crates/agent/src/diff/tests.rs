use std::collections::{BTreeMap, BTreeSet};

use super::{Act, Here, Phase, Standing, diff};
use crate::testing::{assigned, digest, work};
use temps_core::assignment::{ArtifactWork, Assignment};
use temps_core::model::{Artifact, InstanceId, NodeId, Seen, Want};

const I7: InstanceId = InstanceId(7);

fn here(phase: Option<Phase>) -> Here {
    Here {
        standing: Standing::Current,
        instances: phase.map(|p| (I7, p)).into_iter().collect(),
        stored: BTreeSet::from([digest("a")]),
        fetching: BTreeSet::new(),
        unneeded: BTreeSet::new(),
    }
}

#[test]
fn every_pair_of_wanted_and_found_has_its_acts() {
    use Phase::{Draining, Ended, Found, Removed, Removing, Running, Starting, Stopping, Unstarted};
    let adopt = || vec![Act::Adopt(I7)];
    let rows: [(Want, Seen, Option<Phase>, Vec<Act>); 25] = [
        (Want::Run, Seen::Pending, None, vec![Act::Start(I7)]),
        (Want::Run, Seen::Pending, Some(Unstarted), vec![Act::Start(I7)]),
        (Want::Run, Seen::Starting, None, vec![]),
        (Want::Run, Seen::Ready, Some(Unstarted), vec![]),
        (Want::Run, Seen::Exited, None, vec![]),
        (Want::Run, Seen::Pending, Some(Starting), vec![]),
        (Want::Run, Seen::Pending, Some(Found), adopt()),
        (Want::Run, Seen::Ready, Some(Found), adopt()),
        (Want::Run, Seen::Ready, Some(Running), vec![]),
        (Want::Run, Seen::Ready, Some(Ended), vec![]),
        (Want::Run, Seen::Exited, Some(Ended), vec![]),
        (Want::Drain, Seen::Ready, Some(Found), vec![Act::Adopt(I7), Act::BeginDrain(I7)]),
        (Want::Drain, Seen::Ready, Some(Running), vec![Act::BeginDrain(I7)]),
        (Want::Drain, Seen::Ready, Some(Draining), vec![]),
        (Want::Drain, Seen::Ready, None, vec![]),
        (Want::Drain, Seen::Exited, Some(Ended), vec![]),
        (Want::Stop, Seen::Pending, None, vec![]),
        (Want::Stop, Seen::Pending, Some(Unstarted), vec![Act::Remove(I7)]),
        (Want::Stop, Seen::Pending, Some(Starting), vec![]),
        (Want::Stop, Seen::Ready, Some(Found), vec![Act::Adopt(I7), Act::Stop(I7)]),
        (Want::Stop, Seen::Ready, Some(Draining), vec![Act::Stop(I7)]),
        (Want::Stop, Seen::Ready, Some(Stopping), vec![]),
        (Want::Stop, Seen::Exited, Some(Ended), vec![Act::Remove(I7)]),
        (Want::Stop, Seen::Exited, Some(Removing), vec![]),
        (Want::Stop, Seen::Exited, Some(Removed), vec![]),
    ];
    for (want, seen, phase, acts) in rows {
        let done = diff(&assigned(work(want, seen)), &here(phase));
        assert_eq!(done, acts, "{want:?} {seen:?} {phase:?}");
    }
}

#[test]
fn nothing_starts_without_its_artifact_or_after_it_was_lost() {
    let mut without = here(None);
    without.stored.clear();
    assert_eq!(diff(&assigned(work(Want::Run, Seen::Pending)), &without), []);
    let mut lost = work(Want::Run, Seen::Pending);
    lost.instance.lost = true;
    assert_eq!(diff(&assigned(lost), &here(None)), []);
}

#[test]
fn what_may_be_old_starts_and_ends_nothing() {
    for want in [Want::Run, Want::Drain, Want::Stop] {
        for phase in [None, Some(Phase::Unstarted), Some(Phase::Running), Some(Phase::Ended)] {
            let old = Here { standing: Standing::MaybeOld, unneeded: [digest("a")].into(), ..here(phase) };
            let acts = diff(&assigned(work(want, Seen::Pending)), &old);
            let harmless = |a: &Act| matches!(a, Act::Adopt(_) | Act::BeginDrain(_));
            assert!(acts.iter().all(harmless), "{want:?} {phase:?}: {acts:?}");
            assert_eq!(diff(&Assignment::default(), &old), []);
        }
    }
    let found = Here { standing: Standing::MaybeOld, ..here(Some(Phase::Found)) };
    assert_eq!(diff(&assigned(work(Want::Stop, Seen::Ready)), &found), [Act::Adopt(I7)]);
}

#[test]
fn what_is_not_assigned_is_removed_once() {
    use Phase::{Draining, Ended, Found, Removed, Removing, Running, Starting, Stopping, Unstarted};
    for phase in [Unstarted, Found, Running, Draining, Ended] {
        assert_eq!(diff(&Assignment::default(), &here(Some(phase))), [Act::RemoveOrphan(I7)], "{phase:?}");
    }
    for phase in [Starting, Stopping, Removing, Removed] {
        assert_eq!(diff(&Assignment::default(), &here(Some(phase))), [], "{phase:?}");
    }
}

#[test]
fn artifacts_are_fetched_where_somebody_has_them_and_deleted_when_long_unneeded() {
    let wanted = |name: &str, holders: Vec<NodeId>| {
        let artifact = Artifact { digest: digest(name), bytes: 1, ..Artifact::default() };
        (digest(name), ArtifactWork { artifact, holders, reported: false })
    };
    let artifacts = BTreeMap::from([
        wanted("a", vec![NodeId(2)]),
        wanted("b", vec![NodeId(2)]),
        wanted("c", vec![]),
        wanted("d", vec![NodeId(2)]),
    ]);
    let assigned = Assignment { artifacts, ..Assignment::default() };
    let mut here = here(None);
    here.stored.extend([digest("e"), digest("f")]);
    here.fetching.insert(digest("d"));
    here.unneeded = BTreeSet::from([digest("a"), digest("e"), digest("0")]);
    assert_eq!(diff(&assigned, &here), [Act::FetchArtifact(digest("b")), Act::DeleteArtifact(digest("e"))]);
}

#[test]
fn what_is_over_is_ended_whatever_is_wanted_and_by_whoever_sees_it() {
    let over = |standing| Here { standing, ..here(Some(Phase::Over)) };
    for standing in [Standing::MaybeOld, Standing::Current] {
        for want in [Want::Run, Want::Drain, Want::Stop] {
            let acts = diff(&assigned(work(want, Seen::Ready)), &over(standing));
            assert_eq!(acts, [Act::Stop(I7)], "{standing:?} {want:?}");
        }
        assert_eq!(diff(&Assignment::default(), &over(standing)), [Act::Stop(I7)], "{standing:?}");
    }
}
