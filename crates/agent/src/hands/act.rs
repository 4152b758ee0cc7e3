//! Acts carried out: each sets what is true from now on and starts a task for what takes time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use temps_core::model::InstanceId;

use super::{Event, Fetching, Hands};
use crate::diff::Act;
use crate::drain;
use crate::health::{Patient, Vitals};
use crate::local::{Care, Local, Stage};
use crate::outbox::Key;
use crate::runtime::Job;

/// How long a stop waits until the cluster knows what it cuts. The stop itself was decided before.
const CUT_WAIT: Duration = Duration::from_secs(1);

impl Hands {
    pub(super) fn act(&mut self, act: Act, now: Instant) {
        tracing::debug!(?act, "acts");
        match act {
            Act::Start(id) => self.start(id),
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

    /// Lists everything on this node after a while.
    pub(crate) fn list_after(&mut self, wait: Duration) {
        let (runtime, tell) = (Arc::clone(&self.runtime), self.tell.clone());
        self.tasks.spawn(async move {
            tokio::time::sleep(wait).await;
            let _ = tell.send(Event::Listed(runtime.list().await));
        });
    }

    fn start(&mut self, id: InstanceId) {
        let Some(work) = self.assigned.instances.get(&id).cloned() else { return };
        let grace = Duration::from_millis(work.stop_grace);
        self.locals.insert(id, Local::new(Stage::Starting, work.artifact.digest.clone(), grace));
        let artifact = self.store.path(&work.artifact.digest);
        let job = Job { work, node: self.ledger.node(), artifact };
        let (runtime, tell) = (Arc::clone(&self.runtime), self.tell.clone());
        self.tasks.spawn(async move {
            let _ = tell.send(Event::Started(id, runtime.start(&job).await));
        });
    }

    pub(super) fn wait_for_end(&mut self, id: InstanceId) {
        let (runtime, tell) = (Arc::clone(&self.runtime), self.tell.clone());
        self.tasks.spawn(async move {
            let _ = tell.send(Event::Ended(id, runtime.wait(id).await));
        });
    }

    fn adopt(&mut self, id: InstanceId) {
        let Some(work) = self.assigned.instances.get(&id).cloned() else { return };
        let Some(local) = self.locals.get_mut(&id) else { return };
        let Stage::Up(running, care) = &mut local.stage else { return };
        *care = Care::Health;
        let vitals = Vitals::known(&work);
        local.vitals = vitals.clone();
        let patient = Patient { runtime: Arc::clone(&self.runtime), work, running: running.clone() };
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
        local.stage = Stage::Stopping(running);
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
        local.stage = Stage::Removing(exit);
        let (runtime, tell) = (Arc::clone(&self.runtime), self.tell.clone());
        self.tasks.spawn(async move {
            let _ = tell.send(Event::Removed(id, runtime.remove(id).await));
        });
    }

    fn fetch(&mut self, digest: String) {
        let Some(wanted) = self.assigned.artifacts.get(&digest).cloned() else { return };
        let failures = self.fetching.get(&digest).map_or(0, |f| f.failures);
        self.fetching.insert(digest.clone(), Fetching { failures, again_at: None });
        let (store, fetch, tell) = (Arc::clone(&self.store), Arc::clone(&self.fetch), self.tell.clone());
        self.tasks.spawn(async move {
            let outcome = store.fetch(&wanted.artifact, &wanted.holders, fetch.as_ref()).await;
            let _ = tell.send(Event::Fetched(digest, outcome));
        });
    }

    pub(super) fn forget_artifact(&mut self, digest: String) {
        self.unneeded.remove(&digest);
        // At once, so that nothing is started from it meanwhile.
        self.store.hide(&digest);
        let (store, runtime) = (Arc::clone(&self.store), Arc::clone(&self.runtime));
        self.tasks.spawn(async move {
            tracing::info!(digest, "artifact deleted");
            if let Err(error) = store.delete(&digest).await {
                tracing::warn!(digest, %error, "artifact not deleted");
            }
            if let Err(error) = runtime.discard(&digest).await {
                tracing::warn!(digest, %error, "bundle not removed");
            }
        });
    }
}
