//! Acts carried out: each sets what is true from now on and starts a task for what takes time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use temps_core::model::InstanceId;

use super::{Event, Hands, listing};
use crate::diff::Act;
use crate::drain;
use crate::health::{Patient, Vitals};
use crate::local::{Care, Local, Stage};
use crate::outbox::Key;
use crate::runtime::{Condition, Job, Runtime, StartError};

/// How long a stop waits until the cluster knows what it cuts. The stop itself was decided before.
const CUT_WAIT: Duration = Duration::from_secs(1);

impl Hands {
    pub(super) fn act(&mut self, act: Act, now: Instant) {
        tracing::debug!(?act, "acts");
        match act {
            Act::Start(id) => self.start(id, now),
            Act::Adopt(id) => self.adopt(id),
            Act::BeginDrain(id) => self.begin_drain(id),
            Act::Stop(id) => self.stop(id, now),
            Act::Remove(id) => self.remove(id, now),
            Act::RemoveOrphan(id) => {
                let runs = self.locals.get(&id).is_some_and(|local| local.running().is_some());
                if runs { self.stop(id, now) } else { self.remove(id, now) }
            }
            Act::FetchArtifact(digest) => self.fetch(digest),
            Act::DeleteArtifact(digest) => self.forget_artifact(digest),
        }
    }

    fn start(&mut self, id: InstanceId, now: Instant) {
        let Some(work) = self.assigned.instances.get(&id).cloned() else { return };
        if work.process.exclusive && self.own.lease.is_over(now) {
            return;
        }
        let grace = Duration::from_millis(work.stop_grace);
        let digest = work.artifact.digest.clone();
        let unstarted = || Local::new(Stage::Unstarted, String::new(), grace);
        let local = self.locals.entry(id).or_insert_with(unstarted);
        if local.not_before.is_some_and(|at| now < at) {
            return;
        }
        (local.not_before, local.digest, local.stop_grace) = (None, digest, grace);
        local.enter(Stage::Starting);
        let artifact = self.store.path(&work.artifact.digest);
        let job = Job { work, node: self.ledger.node(), artifact };
        let (runtime, tell) = (Arc::clone(&self.runtime), self.tell.clone());
        self.tasks.spawn(async move {
            let outcome = runtime.start(&job).await;
            let event = match &outcome {
                Err(StartError::Ended) => how_it_ended(runtime.as_ref(), id).await,
                Ok(_) | Err(_) => None,
            };
            let _ = tell.send(event.unwrap_or(Event::Started(id, outcome)));
        });
    }

    pub(super) fn wait_for_end(&mut self, id: InstanceId) {
        let (runtime, tell) = (Arc::clone(&self.runtime), self.tell.clone());
        self.tasks.spawn(async move {
            runtime.ends(id).await;
            let _ = tell.send(Event::Ends(id));
            let _ = tell.send(Event::Ended(id, runtime.wait(id).await));
        });
    }

    fn adopt(&mut self, id: InstanceId) {
        let Some(work) = self.assigned.instances.get(&id).cloned() else { return };
        let Some(local) = self.locals.get_mut(&id) else { return };
        let Stage::Up(running, care) = &mut local.stage else { return };
        // An instance starts once: what started it since the cluster heard of it was somebody else.
        let incarnation = running.endpoint.as_ref().map_or(&running.incarnation, |e| &e.incarnation);
        if work.instance.endpoint.as_ref().is_some_and(|known| known.incarnation != *incarnation) {
            local.call_over(listing::anew());
            return;
        }
        *care = Care::Health;
        local.vitals = Vitals::known(&work);
        let vitals = local.vitals.clone();
        self.begin_checks(id, vitals);
    }

    /// Checks its health from now on, and not as before.
    pub(super) fn begin_checks(&mut self, id: InstanceId, vitals: Vitals) {
        let Some(work) = self.assigned.instances.get(&id).cloned() else { return };
        let Some(local) = self.locals.get_mut(&id) else { return };
        let Some(running) = local.running().cloned() else { return };
        local.end_checks();
        // What runs once is never ready.
        if work.once {
            return;
        }
        let patient = Patient { runtime: Arc::clone(&self.runtime), work, running };
        let tell = self.tell.clone();
        local.checks = Some(self.tasks.spawn(patient.look_after(vitals, move |id, vitals| {
            let _ = tell.send(Event::Checked(id, vitals));
        })));
    }

    /// Readiness matters no more: nothing new is sent to it.
    fn begin_drain(&mut self, id: InstanceId) {
        let Some(local) = self.locals.get_mut(&id) else { return };
        local.end_checks();
        if let Stage::Up(_, care) = &mut local.stage {
            *care = Care::Drain;
        }
    }

    fn stop(&mut self, id: InstanceId, now: Instant) {
        let work = self.assigned.instances.get(&id);
        let Some(local) = self.locals.get_mut(&id) else { return };
        if local.not_before.is_some_and(|at| now < at) {
            return;
        }
        if let (None, Some(work)) = (local.cut, work) {
            local.cut = drain::cut(work, &self.edge.borrow()).map(|n| (n, now));
        }
        if let Some((_, since)) = local.cut
            && !self.outbox.knows(&Key::Cut(id))
            && now.duration_since(since) < CUT_WAIT
        {
            return;
        }
        let Some(running) = local.running().cloned() else { return };
        local.end_checks();
        local.enter(Stage::Stopping(running));
        let grace = work.map_or(local.stop_grace, |work| Duration::from_millis(work.stop_grace));
        tracing::info!(instance = %id, ?grace, "stopping");
        let (runtime, tell) = (Arc::clone(&self.runtime), self.tell.clone());
        self.tasks.spawn(async move {
            let _ = tell.send(Event::Stopped(id, runtime.stop(id, grace).await));
        });
    }

    fn remove(&mut self, id: InstanceId, now: Instant) {
        let Some(local) = self.locals.get_mut(&id) else { return };
        if local.not_before.is_some_and(|at| now < at) {
            return;
        }
        let exit = match &local.stage {
            Stage::Ended(exit) => Some(exit.clone()),
            Stage::Unstarted => None,
            Stage::Starting | Stage::Up(..) | Stage::Stopping(_) | Stage::Removing(_) | Stage::Removed(_) => {
                return;
            }
        };
        local.enter(Stage::Removing(exit));
        let (runtime, tell) = (Arc::clone(&self.runtime), self.tell.clone());
        self.tasks.spawn(async move {
            let _ = tell.send(Event::Removed(id, runtime.remove(id).await));
        });
    }
}

/// Of what has run before: how it ended, so that the cause is told and not only that it cannot start.
async fn how_it_ended(runtime: &dyn Runtime, id: InstanceId) -> Option<Event> {
    let found = runtime.list().await.ok()?.into_iter().find(|found| found.instance == id)?;
    match found.condition {
        Condition::Ended(exit) => Some(Event::Ended(id, exit)),
        Condition::Running(_) | Condition::Unstarted => None,
    }
}
