//! Commands that no honest node would write, drawn from a seed.

use rand::Rng;
use rand::rngs::StdRng;
use temps_core::command::{
    Access, Action, Attempt, Command, NewChannel, NewCode, NotTold, Notify, Observation, SettingsChange,
};
use temps_core::model::{
    Cause, ChannelId, Counts, DeploymentId, Endpoint, EnvironmentId, EventId, Exit, Grant, InstanceId,
    Measured, NodeId, Opaque, PersonId, Phase, Receiver, ReleaseId, Role, Seen, SessionId, Setting, Settings,
    Strategy, Times, TokenId, Traffic, Value,
};

fn number(rng: &mut StdRng) -> u64 {
    match rng.random_range(0..10) {
        0 => u64::MAX,
        1 => rng.random(),
        _ => rng.random_range(0..8),
    }
}

pub(crate) fn command(rng: &mut StdRng, revision: u64) -> Command {
    let (project, environment) = ("shop".to_owned(), "production".to_owned());
    match rng.random_range(0..10) {
        9 => Command::Access(access(rng)),
        8 => {
            let node = NodeId(number(rng));
            match rng.random_range(0..4) {
                0 => Command::CordonNode { node },
                1 => Command::UncordonNode { node },
                2 => Command::DrainNode { node },
                _ => Command::RemoveNode { node, force: number(rng) == 0 },
            }
        }
        0 => {
            let deployment = DeploymentId(number(rng));
            match rng.random_range(0..5) {
                4 => Command::Redeploy { deployment },
                0 => Command::Cancel { deployment },
                1 => Command::Pause { deployment },
                2 => Command::Resume { deployment },
                _ => Command::Promote { deployment, all: number(rng) == 0 },
            }
        }
        1 => Command::Rollback { project, environment, to: Some(DeploymentId(number(rng))) },
        2 => Command::Scale {
            project,
            environment,
            instances: [("web".to_owned(), u32::try_from(number(rng)).unwrap_or(u32::MAX))].into(),
        },
        3 => Command::Liveness { lost: vec![NodeId(number(rng))], back: vec![NodeId(number(rng))] },
        4 if rng.random_bool(0.5) => settings(rng),
        4 => notifications(rng),
        5 => Command::Plan { seen: revision, actions: (0..4).map(|_| action(rng)).collect() },
        _ => Command::Report {
            node: NodeId(number(rng)),
            boot: number(rng),
            seq: number(rng),
            observations: (0..4).map(|_| observation(rng)).collect(),
        },
    }
}

fn settings(rng: &mut StdRng) -> Command {
    let some = |rng: &mut StdRng| Setting::ALL[rng.random_range(0..Setting::ALL.len())];
    let value = match rng.random_range(0..4) {
        0 => Value::Text(["/up", "\x1b[2J", ""][rng.random_range(0..3)].to_owned()),
        1 => Value::Flag(number(rng) == 0),
        2 => Value::Strategy(Strategy::Canary),
        _ => Value::Number(number(rng)),
    };
    let (project, environment) = ("shop".to_owned(), "production".to_owned());
    let (set, unset) = (Settings([(some(rng), value)].into()), [some(rng)].into());
    Command::SetSettings(SettingsChange { project, environment, set, unset })
}

fn access(rng: &mut StdRng) -> Access {
    let person = PersonId(number(rng));
    let code = || NewCode { hash: "ab".to_owned(), ttl: u64::MAX };
    let grant = || Grant::Projects([("shop".to_owned(), Role::Admin)].into());
    match rng.random_range(0..8) {
        0 => Access::RevokeToken { token: TokenId(number(rng)) },
        1 => Access::AddPerson { name: format!("p{}", number(rng)), grant: grant(), code: code() },
        2 => Access::SetPerson { person, grant: Some(grant()), disabled: Some(false), code: Some(code()) },
        3 => Access::RemovePerson { person },
        4 => Access::SetupCode(code()),
        5 => {
            let name = (number(rng) > 3).then(|| "eve".to_owned());
            Access::Redeem { code: "ab".to_owned(), name, password: Opaque("x".to_owned()) }
        }
        6 => Access::SignIn { person, seen: number(rng), hash: "cd".to_owned() },
        _ => Access::KeepSession { session: SessionId(number(rng)) },
    }
}

fn notifications(rng: &mut StdRng) -> Command {
    let name = format!("channel {}", number(rng));
    match rng.random_range(0..6) {
        0 | 1 => Command::AddChannel(NewChannel {
            name,
            receiver: Receiver::Webhook { host: "hooks.example".to_owned() },
            secret: Opaque::default(),
            root: None,
            projects: [].into(),
            topics: [].into(),
            allow_private: false,
        }),
        2 => Command::TestChannel { name },
        3 => Command::RemoveChannel { name },
        _ => Command::Notify(told(rng)),
    }
}

fn told(rng: &mut StdRng) -> Notify {
    let told = |rng: &mut StdRng| Attempt {
        channel: ChannelId(number(rng)),
        notice: EventId { index: number(rng), place: 0 },
        failure: rng.random_bool(0.5).then(|| NotTold { why: "\x1b[2J".repeat(500), retry_at: number(rng) }),
    };
    if number(rng) == 0 { Notify::Expiring } else { Notify::Tried((0..3).map(|_| told(rng)).collect()) }
}

fn action(rng: &mut StdRng) -> Action {
    let (deployment, instance) = (DeploymentId(number(rng)), InstanceId(number(rng)));
    match rng.random_range(0..10) {
        0 => match rng.random_range(0..4) {
            0 => Action::Begin { deployment },
            1 => Action::Build { deployment, node: NodeId(number(rng)) },
            2 => Action::RunReleaseCommand { deployment, node: NodeId(number(rng)) },
            _ => Action::Proceed { deployment },
        },
        1..4 => Action::Start {
            environment: EnvironmentId(number(rng)),
            deployment: Some(deployment),
            release: ReleaseId(number(rng)),
            process: "web".to_owned(),
            slot: 0,
            node: NodeId(number(rng)),
            why: None,
        },
        4 => Action::Admit { instance },
        5 => Action::Drain { instance, why: None },
        6 => Action::Stop { instance, why: None },
        7 => Action::Watch { deployment },
        8 => Action::Revert { deployment, cause: Cause::Cancelled { by: "eve".to_owned() } },
        _ => Action::End { deployment, phase: [Phase::Failed, Phase::Stepping][rng.random_range(0..2)] },
    }
}

fn observation(rng: &mut StdRng) -> Observation {
    let instance = InstanceId(number(rng));
    match rng.random_range(0..6) {
        0 => Observation::Draining { instance, in_flight: number(rng) },
        1 => Observation::Drained { instance },
        2 => Observation::Cut { instance, in_flight: number(rng) },
        3 => Observation::Applied { index: number(rng) },
        4 => Observation::Traffic { environment: EnvironmentId(number(rng)), measured: measured(rng) },
        _ => Observation::Instance {
            instance,
            seen: [Seen::Starting, Seen::Ready, Seen::Unready, Seen::Exited, Seen::Gone]
                [rng.random_range(0..5)],
            endpoint: Some(Endpoint::default()),
            attempts: u32::MAX,
            last_check: None,
            log_tail: Vec::new(),
            exit: rng.random_bool(0.5).then(Exit::default),
        },
    }
}

fn measured(rng: &mut StdRng) -> Measured {
    let huge = |rng: &mut StdRng| if rng.random_bool(0.3) { u64::MAX - number(rng) } else { number(rng) };
    let traffic =
        Traffic { requests: huge(rng), app_errors: huge(rng), shed: huge(rng), ..Traffic::default() };
    let mut measured = Measured { traffic, ..Measured::default() };
    for _ in 0..rng.random_range(0..4) {
        let counts = Counts {
            requests: huge(rng),
            errors: huge(rng),
            refused: huge(rng),
            times: Times([(u8::try_from(number(rng) % 256).unwrap_or(0), huge(rng))].into()),
            ..Counts::default()
        };
        measured.releases.insert(ReleaseId(number(rng)), counts);
    }
    measured
}
