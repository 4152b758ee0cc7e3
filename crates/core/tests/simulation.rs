//! Seeded simulation: first everything goes wrong and nothing unsafe may happen, then nothing goes wrong
//! any more and everything must come to its end.
//!
//! `TEMPS_SIM_SEED=7` replays one seed, `TEMPS_SIM_SEEDS=5000` runs more.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr, missing_docs)]

mod world;

use proptest::prelude::{ProptestConfig, Strategy as _, any, proptest};
use rand::Rng;
use temps_core::apply::apply;
use temps_core::assignment::{assignment, served_everywhere};
use temps_core::command::{Command, ENTRY_VERSION, Entry, Made};
use temps_core::model::{
    CanaryStep, Cause, ClusterState, NodeId, Order, Phase, ReleaseCommand, Schema, Spec, Strategy, What,
};
use temps_core::plan::plan;
use temps_core::routes::routes;
use world::{Behaviour, TICK, Weather, World, spec};

// Which seeds to run is the only thing that comes from outside.
#[allow(clippy::disallowed_methods)]
fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

#[test]
fn storms_are_survived() {
    let (first, count) = match number("TEMPS_SIM_SEED", u64::MAX) {
        u64::MAX => (0, number("TEMPS_SIM_SEEDS", 500)),
        one => (one, 1),
    };
    let (mut stale, mut replaced, mut drained, mut again) = (0, 0, 0, 0);
    let mut ended = std::collections::BTreeMap::<&str, u64>::new();
    for seed in first..first + count {
        let result = std::panic::catch_unwind(|| storm(seed));
        match result {
            Ok(world) => {
                stale += world.stale_plans;
                replaced += world.replaced;
                again += world.again;
                drained += world
                    .state
                    .events
                    .values()
                    .filter(|e| matches!(e.what, What::NodeDrained { .. }))
                    .count();
                for deployment in world.state.deployments.values() {
                    *ended.entry(deployment.phase.word()).or_default() += 1;
                }
            }
            Err(panic) => {
                eprintln!("replay with TEMPS_SIM_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    if count >= 100 {
        // The storms must have been storms: every end and many stale plans occurred.
        for word in ["succeeded", "rolled_back", "cancelled", "superseded", "failed"] {
            assert!(ended.contains_key(word), "no deployment ended {word}: {ended:?}");
        }
        assert!(stale > count, "only {stale} stale plans");
        assert!(replaced > count / 10, "only {replaced} nodes were removed");
        assert!(again > count, "only {again} were deployed again");
        assert!(drained > 100, "only {drained} nodes were drained");
    }
}

fn storm(seed: u64) -> World {
    let mut world = World::new(seed, 3);
    if seed % 2 == 1 {
        world = world.with_containers();
    }
    world.weather = Weather::Stormy;
    let ticks = world.rng.random_range(200..600);
    for _ in 0..ticks {
        disturb(&mut world);
        world.tick();
    }
    world.weather = Weather::Calm;
    // What an operator paused waits for him, for ever.
    for deployment in world.state.deployments.keys().copied().collect::<Vec<_>>() {
        if world.state.deployments[&deployment].paused.is_some() {
            world.write(Command::Resume { deployment });
        }
    }
    for node in world.nodes.values_mut().filter(|n| !n.up) {
        node.restart();
    }
    for node in world.nodes.keys().copied().collect::<Vec<_>>() {
        world.write(Command::UncordonNode { node });
    }
    // A release that crashes for ever cannot come to rest: one that works follows.
    let size = world.rng.random_range(1..4);
    let mut good = spec(size, 1, 0);
    good.release = world.rng.random_bool(0.5).then(migrate);
    let last = world.deploy(good, Behaviour::Good);
    assert!(matches!(last.made(), Ok(Made::Deployment(_))), "{last:?}");
    world.settle(30 * 60_000);
    world.check_end();
    no_good_release_is_judged_bad(&world);
    let end = world.state.deployments.values().next_back().unwrap();
    assert_eq!(end.phase, Phase::Succeeded, "{:?}", end.cause);
    let running: usize = world.nodes.values().map(world::VirtualNode::running).sum();
    assert_eq!(running, size as usize, "what runs is what is wanted");
    world
}

/// Whatever happened meanwhile, by its requests only one is taken back that fails them.
fn no_good_release_is_judged_bad(world: &World) {
    for deployment in world.state.deployments.values() {
        let judged = matches!(deployment.cause, Some(Cause::Traffic { .. }));
        let release = world.state.release(Some(deployment.to)).filter(|_| judged);
        let digest = release.and_then(|r| r.artifact.as_ref()).map(|a| &a.digest);
        let behaviour = digest.and_then(|digest| world.behaviours.get(digest));
        assert!(behaviour.is_none_or(|b| *b == Behaviour::Errs), "{:?}: {:?}", behaviour, deployment.cause);
    }
}

fn strategy(rng: &mut rand::rngs::StdRng, spec: &mut Spec, which: usize) {
    let strategies = [Strategy::Rolling, Strategy::BlueGreen, Strategy::Canary, Strategy::Recreate];
    spec.deploy.strategy = strategies[which];
    if spec.deploy.strategy == Strategy::Canary {
        let steps = [(5, rng.random_range(0..20_000)), (50, 3_000)];
        spec.deploy.canary = steps.map(|(weight, hold)| CanaryStep { weight, hold }).into();
        spec.deploy.sticky = rng.random_bool(0.5).then(|| "session".to_owned());
    }
}

fn migrate() -> ReleaseCommand {
    ReleaseCommand { command: "./migrate".to_owned(), timeout: 20_000 }
}

fn disturb(world: &mut World) {
    let node = world.some_node();
    match world.rng.random_range(0..100) {
        0..4 => {
            let behaviour = match world.rng.random_range(0..13) {
                0..5 => Behaviour::Good,
                12 => Behaviour::Errs,
                10 => Behaviour::NotBuilt,
                11 => Behaviour::CommandFails,
                5 => Behaviour::NeverHealthy,
                6 => Behaviour::ExitsAtOnce,
                7 => Behaviour::Crashes(world.rng.random_range(500..6_000)),
                _ => Behaviour::NeverDrains,
            };
            let (surge, unavailable) = [(1, 0), (1, 1), (2, 0), (0, 1)][world.rng.random_range(0..4)];
            let instances = world.rng.random_range(1..5);
            let mut spec = spec(instances, surge, unavailable);
            spec.release = world.rng.random_bool(0.3).then(migrate);
            if let Some(web) = spec.processes.get_mut("web").filter(|_| world.rng.random_bool(0.2)) {
                web.order = Order::StopFirst;
                web.exclusive = web.instances == 1;
            }
            let which = world.rng.random_range(0..4);
            strategy(&mut world.rng, &mut spec, which);
            spec.rollback.warm = world.rng.random_bool(0.2);
            if world.rng.random_bool(0.3) {
                let provides = world.rng.random_range(1..5);
                let from = world.rng.random_range(1..=provides);
                spec.schema = Some(Schema { provides, from, to: provides + world.rng.random_range(0..2) });
            }
            if world.containers && world.rng.random_bool(0.2) {
                spec.volumes.insert("data".to_owned(), "/data".to_owned());
            }
            world.deploy(spec, behaviour);
        }
        4 => {
            world.write(Command::Rollback {
                project: "shop".to_owned(),
                environment: "production".to_owned(),
                to: None,
            });
        }
        5 => {
            if let Some(deployment) = world.state.deployments.keys().next_back().copied() {
                world.write(Command::Cancel { deployment });
            }
        }
        90..93 => {
            if let Some(deployment) = world.state.deployments.keys().next_back().copied() {
                let all = world.rng.random_bool(0.5);
                let command = match world.rng.random_range(0..4) {
                    0 => Command::Pause { deployment },
                    1 => Command::Promote { deployment, all },
                    _ => Command::Resume { deployment },
                };
                world.write(command);
            }
        }
        20..22 => {
            let command = match world.rng.random_range(0..5) {
                0 => Command::CordonNode { node },
                1..3 => Command::UncordonNode { node },
                _ => Command::DrainNode { node },
            };
            world.write(command);
        }
        22..24 => world.replace(node),
        24 => world.deploy_again(),
        25 => {
            let command = world::again::change(&mut world.rng);
            world.write(command);
        }
        6..9 => {
            if let Some(node) = world.nodes.get_mut(&node) {
                node.up = false;
            }
        }
        9 => {
            if let Some(node) = world.nodes.get_mut(&node) {
                node.power_off();
            }
        }
        10..20 => {
            if let Some(node) = world.nodes.get_mut(&node).filter(|n| !n.up) {
                node.restart();
            }
        }
        _ => {}
    }
}

/// What a healthy rollout keeps, whatever its numbers: enough serve, and not too many run.
fn limits(state: &ClusterState) -> Result<(), String> {
    let Some(environment) = state.environment("shop", "production") else { return Ok(()) };
    let Some(live) = state.live(environment.id).filter(|d| d.from.is_some()) else { return Ok(()) };
    let old = state.release(live.from).ok_or("no release")?;
    let new = state.release(Some(live.to)).ok_or("no release")?;
    let wanted = |spec: &Spec| state.wanted(environment, spec, "web");
    let strategy = new.spec.deploy.strategy;
    let releases: std::collections::BTreeSet<_> =
        state.instances.values().filter(|i| i.occupies()).map(|i| i.release).collect();
    if strategy == Strategy::Recreate {
        return if releases.len() < 2 { Ok(()) } else { Err(format!("{releases:?} run at once")) };
    }
    let fewest = wanted(&new.spec).min(wanted(&old.spec));
    let least = fewest.saturating_sub(new.spec.deploy.max_unavailable).max(1);
    let serving = state
        .instances
        .values()
        .filter(|i| i.serves() && i.admitted.is_some_and(|index| served_everywhere(state, index)))
        .count();
    // An admission that not every edge knows yet counts for the limit as soon as they do.
    let admitted = state.instances.values().filter(|i| i.serves()).count();
    if serving.max(admitted) < least as usize {
        return Err(format!("{admitted} serve, at least {least} should"));
    }
    let most = wanted(&new.spec).max(wanted(&old.spec)) + new.spec.deploy.max_surge.max(1);
    let most = most.max(match strategy {
        Strategy::BlueGreen => wanted(&old.spec) + wanted(&new.spec),
        Strategy::Canary => wanted(&old.spec) + wanted(&new.spec).div_ceil(2),
        Strategy::Rolling | Strategy::Recreate => 0,
    });
    let total = state.instances.values().filter(|i| i.occupies()).count();
    if total > most as usize {
        return Err(format!("{total} run, at most {most} may"));
    }
    Ok(())
}

fn rules() -> impl proptest::prelude::Strategy<Value = (u32, u32)> {
    (0_u32..3, 0_u32..3).prop_filter("something must move", |(surge, unavailable)| surge + unavailable > 0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rollout_keeps_its_limits(
        seed in any::<u64>(), nodes in 1_u64..5, old in 1_u32..6, new in 1_u32..6, rules in rules(),
        drains in any::<bool>(), which in 0_usize..4,
    ) {
        let mut world = World::new(seed, nodes);
        world.deploy(spec(old, 1, 0), if drains { Behaviour::Good } else { Behaviour::NeverDrains });
        world.settle(10 * 60_000);
        world.also = limits;
        let mut next = spec(new, rules.0, rules.1);
        strategy(&mut world.rng, &mut next, which);
        world.deploy(next, Behaviour::Good);
        world.settle(10 * 60_000);
        let last = world.state.deployments.values().next_back().unwrap();
        assert_eq!(last.phase, Phase::Succeeded);
        world.check_end();
    }

    #[test]
    fn a_bad_release_is_taken_back_and_the_old_instances_stay(
        seed in any::<u64>(), nodes in 1_u64..5, instances in 1_u32..6, exits in any::<bool>(),
    ) {
        let mut world = World::new(seed, nodes);
        world.deploy(spec(instances, 1, 0), Behaviour::Good);
        world.settle(10 * 60_000);
        let before: Vec<_> = world.state.instances.values().filter(|i| i.serves()).map(|i| i.id).collect();
        world.also = limits;
        world.deploy(spec(instances, 1, 0), if exits { Behaviour::ExitsAtOnce } else { Behaviour::NeverHealthy });
        let asked = world.now;
        world.settle(10 * 60_000);
        let last = world.state.deployments.values().next_back().unwrap();
        assert_eq!(last.phase, Phase::RolledBack);
        let after: Vec<_> = world.state.instances.values().filter(|i| i.serves()).map(|i| i.id).collect();
        assert_eq!(before, after, "the healthy old instances were touched");
        assert!(world.now - asked <= 8_000 + 20 * TICK, "it took {} ms", world.now - asked);
        world.check_end();
    }
}

#[test]
fn a_release_that_fails_requests_is_taken_back_and_a_good_one_is_not() {
    for seed in 0..40 {
        let mut world = World::new(seed, 3);
        world.deploy(spec(3, 1, 0), Behaviour::Good);
        world.settle(10 * 60_000);
        world.now += 60_000;
        let mut next = spec(3, 1, 0);
        next.rollback.watch = 60_000;
        strategy(&mut world.rng, &mut next, usize::try_from(seed % 3).unwrap());
        next.rollback.warm = seed % 2 == 0;
        let errs = seed % 4 < 2;
        world.deploy(next, if errs { Behaviour::Errs } else { Behaviour::Good });
        world.settle(10 * 60_000);
        let last = world.state.deployments.values().next_back().unwrap();
        let expected = if errs { Phase::RolledBack } else { Phase::Succeeded };
        assert_eq!(last.phase, expected, "seed {seed}: {:?}", last.cause);
        assert_eq!(matches!(last.cause, Some(Cause::Traffic { .. })), errs);
        world.check_end();
    }
}

#[test]
fn the_newest_of_three_deployments_wins() {
    let mut world = World::new(1, 3);
    world.deploy(spec(3, 1, 0), Behaviour::Good);
    world.tick();
    world.deploy(spec(3, 1, 0), Behaviour::Good);
    let receipt = world.deploy(spec(2, 1, 0), Behaviour::Good);
    let Ok(Made::Deployment(newest)) = receipt.made() else { panic!("{receipt:?}") };
    world.settle(10 * 60_000);
    let phases: Vec<_> = world.state.deployments.values().map(|d| d.phase).collect();
    assert_eq!(phases, [Phase::Succeeded, Phase::Superseded, Phase::Succeeded]);
    let environment = world.state.environment("shop", "production").unwrap();
    assert_eq!(environment.current, Some(world.state.deployments[&newest].to));
}

#[test]
fn no_command_makes_apply_or_plan_panic() {
    for seed in 0..300 {
        let mut world = World::new(seed, 3);
        world.deploy(spec(2, 1, 0), Behaviour::Good);
        let mut state = world.state.clone();
        for _ in 0..200 {
            let command = world::hostile::command(&mut world.rng, state.revision);
            let entry = Entry {
                version: ENTRY_VERSION,
                clock: world.rng.random_range(0..u64::MAX / 2),
                wall: 0,
                key: None,
                by: "eve".to_owned(),
                command,
            };
            let index = state.index + 1;
            apply(&mut state, index, &entry);
            let _ = plan(&state, world.rng.random_range(0..u64::MAX / 2));
            for node in 1..=3 {
                let _ = (assignment(&state, NodeId(node)), routes(&state, NodeId(node)));
            }
        }
        assert_eq!(state.hash().len(), 64);
    }
}

/// While nodes are drained, what serves stays within the limits of the release, whatever they are.
fn serves(state: &ClusterState) -> Result<(), String> {
    let Some(environment) = state.environment("shop", "production") else { return Ok(()) };
    let Some(release) = state.release(environment.current) else { return Ok(()) };
    let wanted = state.wanted(environment, &release.spec, "web");
    let rules = &release.spec.deploy;
    let (least, surge) = if rules.strategy == Strategy::Recreate {
        (wanted, 1)
    } else if rules.max_unavailable >= wanted {
        (1, rules.max_surge.max(1))
    } else {
        (wanted - rules.max_unavailable, rules.max_surge)
    };
    let everywhere = |index: &u64| served_everywhere(state, *index);
    let all = || state.instances.values();
    let serving = all().filter(|i| i.serves() && i.admitted.as_ref().is_some_and(everywhere)).count();
    let admitted = all().filter(|i| i.serves()).count();
    if serving.max(admitted) < least as usize {
        return Err(format!("{admitted} serve, at least {least} should"));
    }
    let total = all().filter(|i| i.occupies()).count();
    if total > (wanted + surge) as usize {
        return Err(format!("{total} run, at most {} may", wanted + surge));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_drained_node_is_empty_and_enough_serve_meanwhile(
        seed in any::<u64>(), nodes in 2_u64..5, instances in 1_u32..6, rules in rules(),
        drains in any::<bool>(), which in 0_usize..4,
    ) {
        let mut world = World::new(seed, nodes);
        let mut wanted = spec(instances, rules.0, rules.1);
        strategy(&mut world.rng, &mut wanted, which);
        world.deploy(wanted, if drains { Behaviour::Good } else { Behaviour::NeverDrains });
        world.settle(10 * 60_000);
        world.also = serves;
        let node = world.some_node();
        world.write(Command::DrainNode { node }).made().unwrap();
        for _ in 0..3_000 {
            world.tick();
        }
        let left = temps_core::drain::left(&world.state, node);
        assert!(left.is_empty(), "{left:?}");
        assert!(world.is_settled());
        world.check_end();
        world.also = |_| Ok(());
        if nodes > 2 || world.state.up().count() > 1 {
            world.write(Command::RemoveNode { node, force: false }).made().unwrap();
            assert!(!world.state.nodes.contains_key(&node));
            world.nodes.remove(&node);
            world.settle(60_000);
        }
    }

    #[test]
    fn a_rollout_and_a_drain_go_together(
        seed in any::<u64>(), nodes in 2_u64..5, old in 1_u32..6, new in 1_u32..6, rules in rules(),
        which in 0_usize..4, ticks in 0_u32..60,
    ) {
        let mut world = World::new(seed, nodes);
        world.deploy(spec(old, 1, 0), Behaviour::Good);
        world.settle(10 * 60_000);
        let mut next = spec(new, rules.0, rules.1);
        strategy(&mut world.rng, &mut next, which);
        world.deploy(next, Behaviour::Good);
        for _ in 0..ticks {
            world.tick();
        }
        let node = world.some_node();
        world.write(Command::DrainNode { node }).made().unwrap();
        world.settle(20 * 60_000);
        for _ in 0..600 {
            world.tick();
        }
        let last = world.state.deployments.values().next_back().unwrap();
        assert_eq!(last.phase, Phase::Succeeded);
        let left = temps_core::drain::left(&world.state, node);
        assert!(left.is_empty(), "{left:?}");
        world.check_end();
    }
}

#[test]
fn a_hold_and_a_pause_do_not_keep_instances_on_a_drained_node() {
    for (seed, paused) in [(1, false), (2, true), (3, false), (4, true)] {
        let mut world = World::new(seed, 3);
        world.deploy(spec(3, 1, 0), Behaviour::Good);
        world.settle(10 * 60_000);
        let mut next = spec(3, 1, 0);
        if !paused {
            next.deploy.strategy = Strategy::Canary;
            next.deploy.canary = vec![CanaryStep { weight: 5, hold: 60 * 60_000 }];
        }
        let receipt = world.deploy(next, Behaviour::Good);
        let Ok(Made::Deployment(deployment)) = receipt.made() else { panic!("{receipt:?}") };
        world.tick();
        if paused {
            world.write(Command::Pause { deployment }).made().unwrap();
        }
        for _ in 0..200 {
            world.tick();
        }
        let node = NodeId(seed % 3 + 1);
        world.write(Command::DrainNode { node }).made().unwrap();
        for _ in 0..600 {
            world.tick();
        }
        let left = temps_core::drain::left(&world.state, node);
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(world.state.deployments[&deployment].phase, Phase::Stepping);
        let of = |new: bool| {
            let d = &world.state.deployments[&deployment];
            world.state.instances.values().filter(|i| i.serves() && (i.release == d.to) == new).count()
        };
        assert_eq!(of(true) + of(false), if paused { 3 } else { 4 });
    }
}
