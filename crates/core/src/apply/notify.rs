//! Who is told what happens. What has still to be told is written in the entry in which it happens, so it is never
//! forgotten, whoever leads then.

use std::collections::BTreeSet;

use super::{Answer, Change, done, invalid, not_found, unchanged};
use crate::command::{Attempt, NewChannel, NotTold, Notify, Rejection};
use crate::model::{
    Channel, ChannelId, Event, EventId, GIVE_UP, MailSecurity, Mishap, NodeId, NodeStatus, Notice,
    PENDING_MAX, Receiver, Sent, Tested, Topic, What,
};
use crate::{domains, notices};

/// The most channels: each is told on its own.
const CHANNELS_MAX: usize = 100;
/// The longest name, in characters.
const NAME_MAX: usize = 64;
/// The longest host, address, or channel, in bytes.
const TEXT_MAX: usize = 256;
/// The largest sealed secret and root certificate, in bytes.
const SECRET_MAX: usize = 16 << 10;
const ROOT_MAX: usize = 64 << 10;
/// The most addresses of one channel for mail, and the most projects.
const LIST_MAX: usize = 100;
/// The longest reason, in characters.
const WHY_MAX: usize = 500;
/// The longest wait until a channel is tried again, in milliseconds.
const RETRY_MAX: u64 = 15 * 60 * 1_000;
/// News shortens the wait for a channel that failed to this, in milliseconds: it may be back, and the news urgent.
const NEWS_WAITS: u64 = 30_000;

const MIB: u64 = 1 << 20;
/// Below this much free space a disk is nearly full, in bytes: agents report that at once.
const DISK_LOW: u64 = 1_024 * MIB;
/// From this much on it is not any more, so that one at the border is told of once.
const DISK_FINE: u64 = 1_536 * MIB;

impl Change<'_> {
    pub(super) fn add_channel(&mut self, new: &NewChannel) -> Answer {
        check(new)?;
        let all = &mut self.state.notifications;
        if all.channel(&new.name).is_some() {
            return Err(Rejection::Conflict {
                why: format!(
                    "a notification named {:?} exists; choose another name, or remove it first",
                    new.name
                ),
            });
        }
        if all.channels.len() >= CHANNELS_MAX {
            return Err(invalid(format!(
                "there are {CHANNELS_MAX} notifications already; remove some first"
            )));
        }
        all.last += 1;
        let channel = Channel {
            name: new.name.clone(),
            receiver: new.receiver.clone(),
            secret: new.secret.clone(),
            root: new.root.clone(),
            projects: new.projects.clone(),
            topics: new.topics.clone(),
            allow_private: new.allow_private,
            by: self.by.to_owned(),
            pending: Default::default(),
            failing: 0,
            retry_at: 0,
            sent: 0,
            given_up: 0,
            dropped: 0,
            last_sent: None,
            last_failure: None,
            tested: None,
        };
        all.channels.insert(ChannelId(all.last), channel);
        done()
    }

    pub(super) fn remove_channel(&mut self, name: &str) -> Answer {
        let id = self.channel_named(name)?;
        let removed = self.state.notifications.channels.remove(&id);
        self.forget(removed.map(|channel| channel.pending.into_keys().collect()).unwrap_or_default());
        done()
    }

    pub(super) fn test_channel(&mut self, name: &str) -> Answer {
        let id = self.channel_named(name)?;
        let notice = notices::test(self.state, self.wall, name, self.by);
        let at = EventId { index: self.index, place: self.place };
        let all = &mut self.state.notifications;
        let Some(channel) = all.channels.get_mut(&id) else { return unchanged() };
        channel.pending.insert(at, 0);
        // Whoever tests has mended something, and does not want to wait.
        channel.retry_at = 0;
        all.notices.insert(at, notice);
        self.bound(id);
        done()
    }

    fn channel_named(&self, name: &str) -> Result<ChannelId, Rejection> {
        let found = self.state.notifications.channel(name).map(|(id, _)| id);
        found.ok_or_else(|| not_found(format!("notification {name:?}; see `temps notifications list`")))
    }

    /// Puts an event into the outbox of everybody who wants to be told of it.
    pub(super) fn announce(&mut self, event: &Event) {
        if self.state.notifications.channels.is_empty() {
            return;
        }
        let Some(notice) = notices::notice(self.state, event) else { return };
        let clock = self.state.clock;
        let mut told = Vec::new();
        for (id, channel) in &mut self.state.notifications.channels {
            if channel.wants(&notice) {
                channel.pending.insert(event.id, 0);
                channel.retry_at = channel.retry_at.min(clock.saturating_add(NEWS_WAITS));
                told.push(*id);
            }
        }
        if told.is_empty() {
            return;
        }
        self.state.notifications.notices.insert(event.id, notice);
        for id in told {
            self.bound(id);
        }
    }

    /// Drops the oldest of what waits for a channel where that is too much.
    fn bound(&mut self, id: ChannelId) {
        let mut dropped = Vec::new();
        if let Some(channel) = self.state.notifications.channels.get_mut(&id) {
            while channel.pending.len() > PENDING_MAX {
                dropped.extend(channel.pending.pop_first().map(|(id, _)| id));
                channel.dropped = channel.dropped.saturating_add(1);
            }
        }
        self.forget(dropped);
    }

    /// Forgets those of these notices that nobody has still to be told.
    fn forget(&mut self, ids: Vec<EventId>) {
        let all = &mut self.state.notifications;
        for id in ids {
            if !all.channels.values().any(|channel| channel.pending.contains_key(&id)) {
                all.notices.remove(&id);
            }
        }
    }

    pub(super) fn notify(&mut self, notify: &Notify) -> Answer {
        match notify {
            Notify::Tried(results) => {
                let mut changed = false;
                for told in results {
                    changed |= self.attempted(told);
                }
                if changed { done() } else { unchanged() }
            }
            Notify::Expiring => self.warn_of_expiry(),
        }
    }

    /// What came of telling a channel; of what it is not to be told any more, nothing.
    fn attempted(&mut self, told: &Attempt) -> bool {
        let (clock, wall) = (self.state.clock, self.wall);
        let all = &mut self.state.notifications;
        let Some(channel) = all.channels.get_mut(&told.channel) else { return false };
        let Some(tries) = channel.pending.get_mut(&told.notice) else { return false };
        *tries = tries.saturating_add(1);
        let notice = all.notices.get(&told.notice);
        let is_test = notice.is_some_and(|notice| notice.topic == Topic::Test);
        let title = notice.map(|notice| notice.title.clone()).unwrap_or_default();
        let mut over = vec![told.notice];
        match &told.failure {
            None => {
                (channel.failing, channel.retry_at) = (0, 0);
                channel.sent = channel.sent.saturating_add(1);
                channel.last_sent = Some(Sent { notice: told.notice, title, wall });
            }
            Some(NotTold { why, retry_at }) => {
                let why: String = why.chars().filter(|c| !c.is_control()).take(WHY_MAX).collect();
                channel.failing = channel.failing.saturating_add(1);
                channel.retry_at = (*retry_at).min(clock.saturating_add(RETRY_MAX));
                channel.last_failure = Some(Mishap { notice: told.notice, title, wall, why });
                // A test is answered at once; whoever tests again asks again.
                if !is_test {
                    over = given_up(channel, &all.notices, clock);
                    channel.given_up = channel.given_up.saturating_add(over.len() as u64);
                }
            }
        }
        if is_test {
            let failure = channel.last_failure.as_ref().filter(|_| told.failure.is_some());
            let failure = failure.map(|mishap| mishap.why.clone());
            channel.tested = Some(Tested { notice: told.notice, failure });
        }
        for id in &over {
            channel.pending.remove(id);
        }
        self.forget(over);
        true
    }

    fn warn_of_expiry(&mut self) -> Answer {
        let soon = notices::expiring(self.state, self.wall);
        let known: BTreeSet<_> = self.state.tls.certificates.keys().copied().collect();
        self.state.notifications.warned.retain(|id, _| known.contains(id));
        if soon.is_empty() {
            return unchanged();
        }
        let owners = domains::names(self.state);
        for (id, within) in soon {
            self.state.notifications.warned.insert(id, within);
            let Some(certificate) = self.state.tls.certificates.get(&id) else { continue };
            let days = certificate.not_after.saturating_sub(self.wall) / (24 * 60 * 60 * 1_000);
            let names: Vec<_> = certificate.names.iter().cloned().collect();
            let owner = owners.iter().find(|(name, _)| certificate.covers(name));
            let environment = owner.and_then(|(_, of)| of.keys().next().copied());
            self.emit(None, environment, What::CertificateExpiring { names, days });
        }
        done()
    }

    /// Tells it where these losses left exactly as many nodes as it takes to agree. With fewer nobody could write it;
    /// of one node, or of two, that is so as long as they live, and no news.
    pub(super) fn note_quorum(&mut self, lost: &[NodeId]) {
        let Some(node) = lost.last().copied() else { return };
        let of = self.state.nodes.len() as u64;
        let up = self.state.nodes.values().filter(|n| n.status == NodeStatus::Up).count() as u64;
        if up == of / 2 + 1 {
            self.tell_all(&What::QuorumAtRisk { node, up, of });
        }
    }

    /// Tells it where the disk of a node is nearly full, once until it is not any more.
    pub(super) fn note_space(&mut self, node: NodeId, free: Option<u64>) {
        let Some(free) = free else { return };
        let short = &mut self.state.notifications.short_of_space;
        let nodes = &self.state.nodes;
        short.retain(|id| nodes.contains_key(id));
        if free >= DISK_FINE {
            short.remove(&node);
        } else if free < DISK_LOW && short.insert(node) {
            self.tell_all(&What::DiskLow { node, free });
        }
    }
}

/// What a channel was to be told for too long.
fn given_up(
    channel: &Channel,
    notices: &std::collections::BTreeMap<EventId, Notice>,
    clock: u64,
) -> Vec<EventId> {
    let is_old =
        |id: &&EventId| notices.get(id).is_none_or(|notice| notice.at.saturating_add(GIVE_UP) <= clock);
    channel.pending.keys().filter(is_old).copied().collect()
}

fn check(new: &NewChannel) -> Result<(), Rejection> {
    let NewChannel { name, receiver, secret, root, projects, .. } = new;
    let plain = |text: &str, longest: usize| {
        !text.trim().is_empty() && text.len() <= longest && !text.chars().any(char::is_control)
    };
    if !plain(name, NAME_MAX * 4) || name.chars().count() > NAME_MAX || name.trim() != name {
        return Err(invalid(format!(
            "the name of a notification must be 1 to {NAME_MAX} characters, without control characters, and spaces only inside"
        )));
    }
    let texts: Vec<&String> = match receiver {
        Receiver::Slack { host, channel } => [host].into_iter().chain(channel).collect(),
        Receiver::Webhook { host } => vec![host],
        Receiver::Email { host, port, user, from, to, security } => {
            if *security == MailSecurity::None && user.is_some() {
                return Err(invalid(
                    "without TLS everybody on the way could read the password; use starttls or tls, or leave user and password out",
                ));
            }
            if *port == 0 {
                return Err(invalid("the mail server must have a port from 1 to 65535"));
            }
            if to.is_empty() || to.len() > LIST_MAX {
                return Err(invalid(format!("mail must go to 1 to {LIST_MAX} addresses")));
            }
            [host, from].into_iter().chain(user).chain(to).collect()
        }
    };
    if let Some(wrong) = texts.into_iter().find(|text| !plain(text, TEXT_MAX)) {
        return Err(invalid(format!(
            "{wrong:?} must be 1 to {TEXT_MAX} characters without control characters"
        )));
    }
    if projects.len() > LIST_MAX {
        return Err(invalid(format!("a notification can be about {LIST_MAX} projects at most")));
    }
    for project in projects {
        super::validate::name("project", project)?;
    }
    if secret.0.len() > SECRET_MAX || root.as_ref().is_some_and(|root| root.len() > ROOT_MAX) {
        return Err(invalid("the secret or the root certificate of the notification is too long"));
    }
    Ok(())
}
