//! Who changed what.

use super::access::{add, redeem, token, within};
use super::settings::set;
use super::{Cluster, deploy, node, spec};
use crate::apply::apply;
use crate::audit::{ENTRIES_KEPT, by, verify};
use crate::command::{Access, Action, Command, ENTRY_VERSION, Entry, Observation};
use crate::model::{AuditEntry, DeploymentId, NodeId, Opaque, Role, TokenId};

impl Cluster {
    fn entries(&self) -> Vec<AuditEntry> {
        self.state.audit.entries.values().map(|entry| entry.as_ref().clone()).collect()
    }

    /// The newest entry in a line.
    fn newest(&self) -> String {
        self.state.audit.entries.values().last().map(|entry| line(entry)).unwrap_or_default()
    }

    fn by(&mut self, by: &str, command: Command) {
        let (version, wall) = (ENTRY_VERSION, self.clock);
        let entry = Entry { version, clock: self.clock, wall, key: None, by: by.to_owned(), command };
        let index = self.state.index + 1;
        apply(&mut self.state, index, &entry);
    }
}

fn line(entry: &AuditEntry) -> String {
    let (outcome, why) = entry.outcome.words();
    let project = entry.project.as_deref().unwrap_or("-");
    let from = entry.from.as_deref().unwrap_or("-");
    let kind = entry.kind.word();
    format!(
        "{kind} {} {from} | {} | {project} | {} | {outcome}{why}",
        entry.by, entry.operation, entry.object
    )
}

#[test]
fn each_change_that_somebody_asked_for_is_told_once() {
    let mut cluster = Cluster::new();
    let all: Vec<_> = cluster.entries().iter().map(line).collect();
    assert_eq!(
        all,
        ["cluster ann - | cluster found | - | localhost | done", "node n1 - | node join | - | n1 | done"],
        "reports are nobody's wish"
    );
    cluster.ok(add("anna", within("shop", Role::Deployer)));
    assert_eq!(cluster.newest(), "cluster ann - | person add | - | anna: deployer in shop | done");
    cluster.ok(redeem("code of anna", None));
    assert_eq!(cluster.newest(), "person ann - | password set | - | anna | done");
    cluster.ok(token("ann", Role::Admin, None));

    let before = cluster.entries().len();
    cluster.write_as(Some("k"), deploy('a', spec()));
    assert_eq!(cluster.newest(), "token ann - | deploy | shop | shop (production) #1 | done");
    cluster.write_as(Some("k"), deploy('a', spec()));
    assert_eq!(cluster.entries().len(), before + 1, "the same wish under one key is one");
    cluster.write(deploy('a', spec()));
    assert_eq!(cluster.newest(), "token ann - | deploy | shop | shop (production) | no change");
    cluster.act(Action::Begin { deployment: DeploymentId(1) });
    cluster.see(9, Observation::Applied { index: 1 });
    cluster.ok(Command::Liveness { lost: vec![NodeId(1)], back: vec![] });
    cluster.write(Command::AddNode(node("n1", None)));
    assert_eq!(cluster.entries().len(), before + 2, "planner, reports and a repeated join are none");

    cluster.by(&by("anna", Some("192.0.2.7")), Command::Cancel { deployment: DeploymentId(1) });
    assert_eq!(cluster.newest(), "person anna 192.0.2.7 | deployment cancel | shop | #1 | done");
    assert_eq!(cluster.state.deployments[&DeploymentId(1)].cancel.as_deref(), Some("anna"));
    cluster.by("anna", Command::Cancel { deployment: DeploymentId(7) });
    assert_eq!(
        cluster.newest(),
        "person anna - | deployment cancel | - | #7 | refusedthere is no deployment #7"
    );
    cluster.ok(Command::Liveness { lost: vec![], back: vec![NodeId(1)] });
    cluster.by("ann", Command::Redeploy { deployment: DeploymentId(1) });
    assert_eq!(cluster.newest(), "token ann - | redeploy | shop | shop (production) as 1 #2 | done");
    cluster.by("ann", Command::Redeploy { deployment: DeploymentId(7) });
    assert_eq!(cluster.newest(), "token ann - | redeploy | - | #7 | refusedthere is no deployment #7");
    cluster.by("ann", set(&["health.path=/up"], &["deploy.deadline"]));
    assert_eq!(
        cluster.newest(),
        "token ann - | settings set | shop | shop (production): set health.path = /up, unset deploy.deadline | done"
    );
    // Who takes their own right away is still named.
    cluster.ok(token("other", Role::Admin, None));
    let ann = cluster.state.tokens.values().find(|token| token.name == "ann").unwrap().id;
    cluster.ok(Command::Access(Access::RevokeToken { token: ann }));
    assert_eq!(cluster.newest(), "token ann - | token revoke | - | ann | done");
    assert_eq!(verify("", &cluster.entries()), Ok(cluster.entries().last().unwrap().hash.clone()));
}

#[test]
fn secrets_are_named_and_not_told() {
    let mut cluster = Cluster::new();
    cluster.ok(Command::SetVariables {
        project: "shop".to_owned(),
        environment: "production".to_owned(),
        set: [("KEY".to_owned(), Opaque("CANARY".to_owned()))].into(),
        remove: vec!["OLD".to_owned()],
    });
    assert!(cluster.newest().contains("| shop (production): set KEY, remove OLD |"), "{}", cluster.newest());
    let acme = |directory: &str| Command::SetAcme {
        acme: Some(crate::model::Acme {
            directory: directory.to_owned(),
            contact: None,
            root: None,
            account: None,
        }),
    };
    cluster.ok(acme("https://user:CANARY@ca.example:14000/dir/CANARY?CANARY"));
    assert!(cluster.newest().contains("| acme set | - | ca.example:14000 |"), "{}", cluster.newest());
    cluster.refused(acme("CANARY\x1b[2J"));
    cluster.ok(Command::SetAcme { acme: None });
    let all = format!("{:?}", &cluster.entries()[..cluster.entries().len() - 2]);
    assert!(!all.contains("CANARY"), "{all}");
    assert!(!format!("{:?}", cluster.entries()).contains('\x1b'));
}

#[test]
fn a_changed_a_missing_and_an_added_entry_show() {
    let mut cluster = Cluster::new();
    for n in 0..5 {
        cluster.ok(Command::CreateProject { name: format!("p{n}") });
    }
    let good = cluster.entries();
    assert!(verify("", &good).is_ok());
    let third = good[2].index;
    for change in [
        |e: &mut AuditEntry| e.by = "eve".to_owned(),
        |e: &mut AuditEntry| e.object.push('x'),
        |e: &mut AuditEntry| e.wall += 1,
        |e: &mut AuditEntry| e.from = Some("192.0.2.1".to_owned()),
        |e: &mut AuditEntry| e.project = None,
        // What moves from one field to the next is another entry.
        |e: &mut AuditEntry| {
            let last = e.by.pop().unwrap();
            e.from = Some(last.to_string());
        },
    ] {
        let mut bad = good.clone();
        change(&mut bad[2]);
        assert_eq!(verify("", &bad), Err(third));
    }
    let mut bad = good.clone();
    bad.remove(2);
    assert_eq!(verify("", &bad), Err(good[3].index));
    let mut bad = good.clone();
    bad.insert(2, good[1].clone());
    assert!(verify("", &bad).is_err());
    assert_eq!(verify("00", &good), Err(good[0].index));
}

#[test]
fn the_newest_entries_are_kept_and_their_chain_can_be_followed() {
    let mut cluster = Cluster::new();
    let (mut first, mut all) = (cluster.entries(), ENTRIES_KEPT + 20);
    all -= first.len();
    for n in 0..all {
        cluster.write(Command::Access(Access::RevokeToken { token: TokenId(1_000 + n as u64) }));
        first.extend((first.len() < 21).then(|| cluster.entries().pop().unwrap()));
    }
    let audit = &cluster.state.audit;
    assert_eq!((audit.entries.len(), audit.forgotten), (ENTRIES_KEPT, 20));
    assert_eq!(verify("", &first[..20]).as_ref(), Ok(&audit.before));
    assert!(verify(&audit.before, audit.entries.values().map(AsRef::as_ref)).is_ok());
}
