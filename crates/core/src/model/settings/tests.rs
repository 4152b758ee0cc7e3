use super::{Kind, Setting, Settings, SettingsChanged, Value};
use crate::model::{CanaryStep, Release, ReleaseId, Source, Spec, Strategy};

fn settings(pairs: &[(&str, &str)]) -> Settings {
    let each = |(key, text): &(&str, &str)| {
        let setting = Setting::named(key).unwrap();
        (setting, setting.parse(text).unwrap())
    };
    Settings(pairs.iter().map(each).collect())
}

fn release(settings: &Settings, given: &Spec) -> Release {
    let (spec, covered) = settings.over(given);
    Release {
        id: ReleaseId(1),
        environment: crate::model::EnvironmentId(1),
        source: Source::Bundle { bundle: crate::model::Artifact::default() },
        artifact: None,
        spec,
        covered,
        variables: Default::default(),
        created_at: 0,
    }
}

/// A value that is not the default one, as it is written.
fn other(setting: Setting) -> &'static str {
    match setting.kind() {
        Kind::Path => "/api/health",
        Kind::Host => "a.example",
        Kind::Duration => "41s",
        Kind::Number => "7",
        Kind::Percent => "12.5%",
        Kind::Status => "204",
        Kind::Flag => "true",
        Kind::Strategy => "blue_green",
    }
}

#[test]
fn every_setting_is_a_key_of_its_own_and_reaches_its_field_alone() {
    for setting in Setting::ALL.iter().copied() {
        assert_eq!(Setting::named(setting.key()), Some(setting));
        assert!(setting.description().ends_with('.'), "{}", setting.description());
        let value = setting.parse(other(setting)).unwrap();
        assert_eq!(setting.write(&value), other(setting), "{}", setting.key());
        let mut spec = Spec::default();
        setting.put(&mut spec, Some(&value));
        let changed: Vec<_> = Setting::ALL.iter().filter(|s| s.of(&spec) != s.of(&Spec::default())).collect();
        assert_eq!(changed, [&setting]);
        assert_eq!(setting.of(&spec), Some(value));
        setting.put(&mut spec, setting.default_value().as_ref());
        assert_eq!(spec, Spec::default());
    }
    assert_eq!(Setting::named("health.pth"), None);
}

#[test]
fn values_are_written_as_in_the_file() {
    for (key, text, why) in [
        ("health.path", "up", "health.path: a path must start with `/`; write \"/up\""),
        ("health.path", "/a b", "health.path: a path must be printable ASCII without spaces"),
        ("health.host", "a..b", "health.host: "),
        ("health.interval", "5", "health.interval: the duration \"5\" needs a unit"),
        ("health.timeout", "2m", "health.timeout: 2m is too much; at most 1m"),
        ("health.expect", "700", "health.expect: \"700\" is not an HTTP status from 100 to 599"),
        ("deploy.max_surge", "1001", "deploy.max_surge: 1001 is too much; at most 1000"),
        ("deploy.max_surge", "-1", "deploy.max_surge: \"-1\" is not a whole number"),
        ("deploy.strategy", "blue", "deploy.strategy: there is no strategy \"blue\"; there are \"rolling\""),
        ("rollback.error_rate_floor", "5", "rollback.error_rate_floor: \"5\" is not a percentage"),
        ("rollback.warm", "1", "rollback.warm: \"1\" is neither true nor false"),
    ] {
        let said = Setting::named(key).unwrap().parse(text).unwrap_err();
        assert!(said.starts_with(why), "{said}");
    }
    assert_eq!(Setting::HealthHost.parse("A.Example"), Ok(Value::Text("a.example".to_owned())));
}

#[test]
fn what_a_file_said_comes_back() {
    let mut canary = Spec::default();
    canary.deploy.strategy = Strategy::Canary;
    canary.deploy.canary = vec![CanaryStep { weight: 5, hold: 9 }];
    canary.deploy.sticky = Some("session".to_owned());
    canary.health.host = Some("b.example".to_owned());
    let all: Vec<_> = Setting::ALL.iter().map(|s| (s.key(), other(*s))).collect();
    for given in [Spec::default(), canary.clone()] {
        for set in
            [&all[..], &all[..1], &[("health.host", "a.example")], &[("deploy.strategy", "canary")], &[]]
        {
            let settings = settings(set);
            let release = release(&settings, &given);
            for (setting, value) in &settings.0 {
                assert_eq!(setting.of(&release.spec).as_ref(), Some(value), "the cluster wins");
            }
            let has_steps =
                release.spec.deploy.canary.len() + usize::from(release.spec.deploy.sticky.is_some());
            assert!(has_steps == 0 || release.spec.deploy.strategy == Strategy::Canary);
            assert_eq!(release.given(), given, "{set:?}");
        }
    }
}

#[test]
fn what_is_told_is_what_differs() {
    let set =
        settings(&[("health.host", "a.example"), ("health.path", "/"), ("deploy.drain_timeout", "10m")]);
    let told: Vec<_> = release(&set, &Spec::default())
        .instead()
        .into_iter()
        .map(|i| (i.setting.key(), i.value, i.file))
        .collect();
    assert_eq!(
        told,
        [
            ("health.host", "a.example".to_owned(), None),
            ("deploy.drain_timeout", "10m".to_owned(), Some("30s".to_owned())),
        ]
    );
    let changed = SettingsChanged { set, unset: [Setting::Keep].into(), by: "ann".to_owned() };
    assert_eq!(
        changed.line(),
        "Settings for the next deployment changed by ann: health.path = /, health.host = a.example, deploy.drain_timeout = 10m, rollback.keep as in temps.toml"
    );
}
