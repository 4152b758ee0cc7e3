//! Settings that change, and deploying again with them.

use proptest::prelude::{ProptestConfig, any, proptest};
use rand::Rng;
use rand::rngs::StdRng;
use temps_core::command::{Command, Made, SettingsChange};
use temps_core::model::{DeploymentId, Phase, Setting, Settings, Spec};

use super::{Behaviour, World, spec};
use crate::{limits, rules, strategy};

/// Values with which a release that works can be deployed, whatever its file says.
const VALUES: [(Setting, &[&str]); 7] = [
    (Setting::HealthPath, &["/up", "/api/health"]),
    (Setting::HealthyThreshold, &["1", "3"]),
    (Setting::Strategy, &["rolling", "blue_green", "recreate"]),
    (Setting::MaxSurge, &["1", "2"]),
    (Setting::DrainTimeout, &["0s", "1s", "20s"]),
    (Setting::Watch, &["0s", "8s"]),
    (Setting::Keep, &["1", "3"]),
];

/// Some settings are set, and others unset.
pub(crate) fn change(rng: &mut StdRng) -> Command {
    let (mut set, mut unset) = (Settings::default(), std::collections::BTreeSet::new());
    for (setting, values) in VALUES {
        match rng.random_range(0..4) {
            0 => {
                let value = setting.parse(values[rng.random_range(0..values.len())]).unwrap();
                set.0.insert(setting, value);
            }
            1 => {
                unset.insert(setting);
            }
            _ => {}
        }
    }
    let (project, environment) = ("shop".to_owned(), "production".to_owned());
    Command::SetSettings(SettingsChange { project, environment, set, unset })
}

impl World {
    /// One of the deployments that are known is deployed once more.
    pub(crate) fn deploy_again(&mut self) {
        let all: Vec<DeploymentId> = self.state.deployments.keys().copied().collect();
        if !all.is_empty() {
            let deployment = all[self.rng.random_range(0..all.len())];
            let receipt = self.write(Command::Redeploy { deployment });
            self.again += u64::from(receipt.made().is_ok());
        }
    }

    fn newest(&self) -> (DeploymentId, Phase, Spec, Spec) {
        let last = self.state.deployments.values().next_back().unwrap();
        let release = &self.state.releases[&last.to];
        (last.id, last.phase, release.spec.clone(), release.given())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// All instances are replaced within the limits, by the same with what is set; and what a file says is never lost.
    #[test]
    fn deploying_again_keeps_its_limits_and_the_file(
        seed in any::<u64>(), nodes in 1_u64..5, instances in 1_u32..6, rules in rules(), which in 0_usize..4,
    ) {
        let mut world = World::new(seed, nodes);
        let mut given = spec(instances, rules.0, rules.1);
        strategy(&mut world.rng, &mut given, which);
        world.deploy(given.clone(), Behaviour::Good);
        world.settle(10 * 60_000);
        for _ in 0..2 {
            let command = change(&mut world.rng);
            world.write(command);
            let settings = world.state.environment("shop", "production").unwrap().settings.clone();
            world.also = limits;
            let deployment = world.newest().0;
            let made = world.write(Command::Redeploy { deployment }).made();
            assert!(matches!(made, Ok(Made::Deployment(id)) if id != deployment), "{made:?}");
            world.settle(10 * 60_000);
            let (_, phase, effective, own) = world.newest();
            assert_eq!((phase, own), (Phase::Succeeded, given.clone()));
            for (setting, value) in &settings.0 {
                assert_eq!(setting.of(&effective).as_ref(), Some(value));
            }
            world.also = |_| Ok(());
        }
        world.check_end();
    }
}
