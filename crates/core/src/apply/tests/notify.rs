//! Who is told what happens, and that nothing of it is lost.

use super::{Cluster, deploy, node, spec};
use crate::command::{Action, Attempt, Command, Made, NewChannel, NotTold, Notify, Observation, Outcome};
use crate::model::{
    Cause, Certificate, CertificateFrom, Channel, ChannelId, DeploymentId, EventId, Exit, GIVE_UP,
    InstanceId, NodeFacts, NodeId, Opaque, PENDING_MAX, Phase, Receiver, Seen, Topic,
};

const DAY: u64 = 86_400_000;

fn new(name: &str) -> NewChannel {
    NewChannel {
        name: name.to_owned(),
        receiver: Receiver::Slack {
            host: "hooks.slack.com".to_owned(),
            channel: Some("#deploys".to_owned()),
        },
        secret: Opaque("CANARY".to_owned()),
        root: None,
        projects: [].into(),
        topics: [].into(),
        allow_private: false,
    }
}

fn about(name: &str, projects: &[&str], topics: &[Topic]) -> NewChannel {
    NewChannel {
        projects: projects.iter().map(|p| (*p).to_owned()).collect(),
        topics: topics.iter().copied().collect(),
        ..new(name)
    }
}

impl Cluster {
    fn channel(&self, name: &str) -> &Channel {
        self.state.notifications.channel(name).unwrap().1
    }

    /// The topics of what a channel has still to be told, oldest first.
    fn waiting(&self, name: &str) -> Vec<&'static str> {
        let all = &self.state.notifications;
        self.channel(name).pending.keys().map(|id| all.notices[id].topic.word()).collect()
    }

    fn first(&self, name: &str) -> (ChannelId, EventId) {
        let (id, channel) = self.state.notifications.channel(name).unwrap();
        (id, *channel.pending.first_key_value().unwrap().0)
    }

    fn text(&self, name: &str) -> String {
        let all = &self.state.notifications;
        let (id, _) = self.channel(name).pending.last_key_value().unwrap();
        let notice = &all.notices[id];
        [&[notice.title.clone()][..], &notice.lines].concat().join("\n")
    }

    fn tried(&mut self, (channel, notice): (ChannelId, EventId), failure: Option<&str>) -> Outcome {
        let failure = failure.map(|why| NotTold { why: why.to_owned(), retry_at: self.clock + 1_000 });
        self.write(Command::Notify(Notify::Tried(vec![Attempt { channel, notice, failure }]))).outcome
    }

    fn liveness(&mut self, lost: &[u64], back: &[u64]) {
        let ids = |numbers: &[u64]| numbers.iter().map(|n| NodeId(*n)).collect();
        self.ok(Command::Liveness { lost: ids(lost), back: ids(back) });
    }

    fn join(&mut self, names: &[&str]) {
        for name in names {
            self.ok(Command::CreateJoinToken { hash: (*name).to_owned(), ttl: 60_000, uses: 1 });
            self.ok(Command::AddNode(node(name, Some(name))));
        }
    }

    fn free(&mut self, seq: u64, mib: u64) {
        let facts = NodeFacts { free: Some(mib << 20), ..NodeFacts::default() };
        self.see(seq, Observation::Facts(facts));
    }
}

#[test]
fn everybody_is_told_what_they_chose() {
    let mut cluster = Cluster::new();
    for channel in [
        new("everything"),
        about("bad news", &[], &[Topic::RolledBack, Topic::NodeLost]),
        about("shop", &["shop"], &[]),
        about("blog", &["blog"], &[]),
    ] {
        cluster.ok(Command::AddChannel(channel));
    }
    cluster.succeed(deploy('a', spec()));
    let Made::Deployment(bad) = cluster.ok(deploy('b', spec())) else { panic!() };
    cluster.act(Action::Begin { deployment: bad });
    cluster.act(Action::End { deployment: bad, phase: Phase::RolledBack });
    cluster.join(&["n2", "n3"]);
    cluster.liveness(&[3], &[]);
    let (deployed, lost) =
        (["started", "succeeded", "started", "rolled_back"], ["node_lost", "quorum_at_risk"]);
    assert_eq!(cluster.waiting("everything"), [&deployed[..], &lost].concat());
    assert_eq!(cluster.waiting("bad news"), ["rolled_back", "node_lost"]);
    assert_eq!(cluster.waiting("shop"), deployed);
    assert!(cluster.waiting("blog").is_empty());
}

#[test]
fn names_are_unique_and_what_is_wrong_is_refused() {
    let mut cluster = Cluster::new();
    cluster.ok(Command::AddChannel(new("Deploy Alerts")));
    let why = cluster.refused(Command::AddChannel(new("Deploy Alerts")));
    assert!(why.contains("\"Deploy Alerts\" exists"), "{why}");
    let long = "x".repeat(300);
    let mail = |port, to: &[&str]| Receiver::Email {
        host: "smtp.example".to_owned(),
        port,
        security: crate::model::MailSecurity::Tls,
        user: None,
        from: "a@shop.example".to_owned(),
        to: to.iter().map(|to| (*to).to_owned()).collect(),
    };
    let with = |receiver| NewChannel { receiver, ..new("mail") };
    for (wrong, why) in [
        (new(""), "1 to 64 characters"),
        (new(" x"), "spaces only inside"),
        (new("a\nb"), "control characters"),
        (about("x", &["No"], &[]), "project name"),
        (with(Receiver::Webhook { host: long.clone() }), "control characters"),
        (with(mail(0, &["b@shop.example"])), "port"),
        (with(mail(25, &[])), "1 to 100 addresses"),
        (with(mail(25, &["b@shop.example\r\nBcc: c"])), "control characters"),
        (NewChannel { secret: Opaque("x".repeat(20_000)), ..new("x") }, "too long"),
    ] {
        let told = cluster.refused(Command::AddChannel(wrong));
        assert!(told.contains(why), "{told}");
    }
    assert!(
        cluster.refused(Command::TestChannel { name: "No".to_owned() }).contains("there is no notification")
    );
    assert!(!format!("{:?}", cluster.state).contains("CANARY"));
    cluster.ok(Command::RemoveChannel { name: "Deploy Alerts".to_owned() });
    assert!(
        cluster.refused(Command::RemoveChannel { name: "Deploy Alerts".to_owned() }).contains("there is no")
    );
}

#[test]
fn what_was_acknowledged_is_over_and_everything_else_stays() {
    let mut cluster = Cluster::new();
    cluster.ok(Command::AddChannel(new("a")));
    cluster.ok(Command::AddChannel(new("b")));
    cluster.succeed(deploy('a', spec()));
    let first = cluster.first("a");
    assert_ne!(first, cluster.first("b"), "ids are unique by channel");
    assert!(matches!(cluster.tried(first, None), Outcome::Done(_)));
    // Two leaders may have sent it; the later answer changes nothing.
    assert!(matches!(cluster.tried(first, Some("late")), Outcome::NoChange(_)));
    assert_eq!(cluster.waiting("a"), ["succeeded"]);
    assert_eq!(cluster.waiting("b"), ["started", "succeeded"]);
    assert_eq!((cluster.channel("a").sent, cluster.channel("a").failing), (1, 0));
    assert_eq!(cluster.channel("a").last_sent.as_ref().unwrap().notice, first.1);

    let second = cluster.first("a");
    cluster.tried(second, Some("no\x1b[31m route"));
    let channel = cluster.channel("a");
    assert_eq!((channel.failing, channel.retry_at), (1, cluster.clock + 1_000));
    assert_eq!(channel.last_failure.as_ref().unwrap().why, "no[31m route");
    assert_eq!(cluster.waiting("a"), ["succeeded"]);
    // What b has still to be told is not forgotten with a.
    cluster.ok(Command::RemoveChannel { name: "a".to_owned() });
    assert_eq!(cluster.waiting("b"), ["started", "succeeded"]);
    cluster.ok(Command::RemoveChannel { name: "b".to_owned() });
    assert!(cluster.state.notifications.notices.is_empty());
}

#[test]
fn what_waits_is_bounded_and_what_is_dropped_is_counted() {
    let mut cluster = Cluster::new();
    cluster.ok(Command::AddChannel(new("slow")));
    cluster.ok(Command::AddChannel(about("picky", &[], &[Topic::NodeLost])));
    cluster.join(&["n2"]);
    let more = PENDING_MAX / 2 + 5;
    for _ in 0..more {
        cluster.liveness(&[2], &[]);
        cluster.liveness(&[], &[2]);
    }
    let slow = cluster.channel("slow");
    assert_eq!((slow.pending.len(), slow.dropped), (PENDING_MAX, 10));
    assert_eq!(cluster.waiting("slow").last(), Some(&"node_returned"), "the oldest goes");
    assert_eq!(cluster.channel("picky").pending.len(), more);
    // What slow has dropped and picky has not is still there.
    assert_eq!(cluster.state.notifications.notices.len(), PENDING_MAX + 5);
}

#[test]
fn what_cannot_be_told_for_a_day_is_given_up() {
    let mut cluster = Cluster::new();
    cluster.ok(Command::AddChannel(new("dead")));
    cluster.succeed(deploy('a', spec()));
    cluster.clock += GIVE_UP - 1;
    let first = cluster.first("dead");
    cluster.tried(first, Some("refused"));
    assert_eq!(cluster.waiting("dead"), ["started", "succeeded"]);
    cluster.succeed(deploy('b', spec()));
    cluster.clock += 1;
    cluster.tried(first, Some("refused"));
    assert_eq!(cluster.waiting("dead"), ["started", "succeeded"], "what is younger stays");
    assert_eq!((cluster.channel("dead").given_up, cluster.channel("dead").failing), (2, 2));
    assert_eq!(cluster.state.notifications.notices.len(), 2);
}

#[test]
fn news_shorten_the_wait_for_a_channel_that_failed() {
    let mut cluster = Cluster::new();
    cluster.ok(Command::AddChannel(new("a")));
    cluster.succeed(deploy('a', spec()));
    let (channel, notice) = cluster.first("a");
    let failure = Some(NotTold { why: "x".to_owned(), retry_at: u64::MAX });
    cluster.ok(Command::Notify(Notify::Tried(vec![Attempt { channel, notice, failure }])));
    assert_eq!(cluster.channel("a").retry_at, cluster.clock + 15 * 60_000);
    cluster.ok(deploy('b', spec()));
    assert_eq!(cluster.channel("a").retry_at, cluster.clock + 30_000);
}

#[test]
fn a_test_goes_to_one_channel_at_once_and_is_tried_once() {
    let mut cluster = Cluster::new();
    cluster.ok(Command::AddChannel(about("a", &["blog"], &[Topic::Failed])));
    cluster.ok(Command::AddChannel(new("b")));
    let test = |cluster: &mut Cluster| {
        let index = cluster.write(Command::TestChannel { name: "a".to_owned() }).index;
        (ChannelId(1), EventId { index, place: 0 })
    };
    let first = test(&mut cluster);
    assert!(cluster.waiting("b").is_empty());
    assert_eq!(cluster.text("a"), "Test of \"a\", asked for by ann.\nNotices of this cluster arrive here.");
    cluster.tried(first, Some("no answer"));
    assert!(cluster.waiting("a").is_empty());
    let tested = cluster.channel("a").tested.clone().unwrap();
    assert_eq!((tested.notice, tested.failure.as_deref()), (first.1, Some("no answer")));
    assert!(cluster.channel("a").retry_at > cluster.clock);
    let second = test(&mut cluster);
    assert_eq!(cluster.channel("a").retry_at, 0, "who tests does not wait");
    cluster.tried(second, None);
    let tested = cluster.channel("a").tested.clone().unwrap();
    assert_eq!((tested.notice, tested.failure), (second.1, None));
}

#[test]
fn a_rollback_is_told_with_its_reason_and_stays_whole_when_it_is_forgotten() {
    let mut cluster = Cluster::new();
    cluster.succeed(deploy('a', spec()));
    cluster.ok(Command::AddChannel(about("bad news", &[], &[Topic::RolledBack])));
    let Made::Deployment(bad) = cluster.ok(deploy('b', spec())) else { panic!() };
    cluster.act(Action::Begin { deployment: bad });
    cluster.act(Action::Start {
        environment: crate::model::EnvironmentId(1),
        deployment: Some(bad),
        release: cluster.state.deployments[&bad].to,
        process: "web".to_owned(),
        slot: 0,
        node: NodeId(1),
        why: None,
    });
    let instance = InstanceId(1);
    let exit = Exit { code: Some(3), ..Exit::default() };
    cluster.see(
        3,
        Observation::Instance {
            instance,
            seen: Seen::Exited,
            endpoint: None,
            attempts: 1,
            last_check: Some("connection refused".to_owned()),
            log_tail: Vec::new(),
            exit: Some(exit),
        },
    );
    let cause = Cause::Exited {
        instance,
        node: NodeId(1),
        how: "exit code 3".to_owned(),
        log_tail: vec!["password=CANARY".to_owned()],
    };
    cluster.act(Action::Revert { deployment: bad, cause });
    cluster.act(Action::End { deployment: bad, phase: Phase::RolledBack });
    let told = cluster.text("bad news");
    assert_eq!(
        told,
        "Deployment #2 of shop (production) failed and was rolled back to r1.\n\
        Why: i1 on n1 ended before it was healthy (exit code 3)\n\
        Instance: i1 (web, r2) on n1\n\
        Exit: exit code 3\n\
        Check: connection refused\n\
        Next: temps deployments timeline 2, temps logs -p shop -e production"
    );
    let (_, id) = cluster.first("bad news");
    let outcome = cluster.state.notifications.notices[&id].deployment.clone().unwrap();
    assert_eq!((outcome.number, outcome.phase), (DeploymentId(2), Phase::RolledBack));
    assert!(outcome.reason.contains("exit code 3"));
    cluster.act(Action::Stop { instance, why: None });
    cluster.see(
        4,
        Observation::Instance {
            instance,
            seen: Seen::Gone,
            endpoint: None,
            attempts: 1,
            last_check: None,
            log_tail: Vec::new(),
            exit: None,
        },
    );
    for _ in 0..60 {
        cluster.succeed(deploy('c', spec()));
        cluster.succeed(deploy('d', spec()));
    }
    assert!(!cluster.state.deployments.contains_key(&bad), "it is forgotten");
    assert_eq!(cluster.text("bad news"), told);
}

#[test]
fn the_quorum_is_at_risk_where_no_more_node_may_be_lost() {
    // Nodes, those lost one after another, and after which of them it is told.
    for (nodes, lost, told_at) in
        [(2, vec![2], vec![]), (3, vec![3], vec![3]), (4, vec![4], vec![4]), (5, vec![5, 4], vec![4])]
    {
        let mut cluster = Cluster::new();
        cluster.ok(Command::AddChannel(about("a", &[], &[Topic::QuorumAtRisk])));
        let names: Vec<String> = (2..=nodes).map(|n| format!("n{n}")).collect();
        cluster.join(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let mut told = Vec::new();
        for node in lost {
            let before = cluster.channel("a").pending.len();
            cluster.liveness(&[node], &[]);
            if cluster.channel("a").pending.len() > before {
                told.push(node);
            }
        }
        assert_eq!(told, told_at, "{nodes} nodes");
    }
    let mut cluster = Cluster::new();
    cluster.ok(Command::AddChannel(new("a")));
    cluster.join(&["n2", "n3"]);
    cluster.liveness(&[3], &[]);
    assert!(cluster.text("a").starts_with("Quorum at risk: 2 of 3 nodes are left"), "{}", cluster.text("a"));
    cluster.liveness(&[], &[3]);
    assert_eq!(cluster.waiting("a"), ["node_lost", "quorum_at_risk", "node_returned"]);
}

#[test]
fn a_disk_that_is_nearly_full_is_told_once_until_it_is_not() {
    let mut cluster = Cluster::new();
    cluster.ok(Command::AddChannel(new("a")));
    for (seq, mib) in [4_096, 1_024, 960, 1_024, 896, 1_535, 512, 1_536, 960].into_iter().enumerate() {
        cluster.free(10 + seq as u64, mib);
    }
    assert_eq!(cluster.waiting("a"), ["disk_low", "disk_low"]);
    assert!(
        cluster.text("a").starts_with("Disk of node n1 nearly full (1.0GB free)."),
        "{}",
        cluster.text("a")
    );
}

#[test]
fn a_certificate_that_nothing_renews_is_told_twice_before_it_ends() {
    let mut cluster = Cluster::new();
    let mut with_domain = spec();
    with_domain.routes.domains = vec!["shop.example".to_owned()];
    cluster.succeed(deploy('a', with_domain));
    cluster.ok(Command::AddChannel(about("a", &["shop"], &[Topic::CertificateExpiring])));
    let certificate = |name: &str, not_after| Certificate {
        names: [name.to_owned()].into(),
        chain: format!("chain until {not_after}"),
        key: Opaque("sealed".to_owned()),
        not_before: 0,
        not_after,
        renew_at: not_after,
        issuer: "Test CA".to_owned(),
        from: CertificateFrom::Uploaded,
    };
    cluster.ok(Command::PutCertificate(certificate("shop.example", 100 * DAY)));
    cluster.ok(Command::PutCertificate(certificate("nobody.example", 100 * DAY)));
    let mut told = Vec::new();
    for day in 80..100 {
        cluster.clock = day * DAY + 1;
        let before = cluster.channel("a").pending.len();
        cluster.write(Command::Notify(Notify::Expiring));
        if cluster.channel("a").pending.len() > before {
            told.push((day, cluster.text("a").lines().next().unwrap().to_owned()));
        }
    }
    let line = |days| format!("Certificate for shop.example ends in {days} days, and nothing renews it.");
    assert_eq!(told, [(86, line(13)), (97, line(2))]);
    cluster.ok(Command::PutCertificate(certificate("shop.example", 300 * DAY)));
    assert!(matches!(cluster.write(Command::Notify(Notify::Expiring)).outcome, Outcome::NoChange(_)));
    assert!(cluster.state.notifications.warned.is_empty(), "of what is gone nothing is kept");
}
