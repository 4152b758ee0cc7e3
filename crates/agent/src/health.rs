//! Looks after the health of one running instance until it is told to stop, or the instance is another.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt};
use temps_core::assignment::Work;
use temps_core::model::{Health, InstanceId, Millis, Seen};

use crate::gate::Gate;
use crate::logs::{TAIL, Until, printable};
use crate::probe::{self, Answer};
use crate::runtime::{Running, Runtime};

/// How long reading the log of what failed a check may take.
const LOG_WAIT: Duration = Duration::from_secs(1);

/// What is known about the health of a running instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vitals {
    /// Starting, ready or unready.
    pub(crate) seen: Seen,
    /// Checks until it was ready for the first time.
    pub(crate) attempts: u32,
    /// What the last check brought.
    pub(crate) last_check: Option<String>,
    /// The last lines of its log when a check failed otherwise than before, or once too often.
    pub(crate) log_tail: Vec<String>,
}

impl Vitals {
    /// Before any check.
    pub(crate) fn new(seen: Seen) -> Self {
        Self { seen, attempts: 0, last_check: None, log_tail: Vec::new() }
    }

    /// What the cluster knows already, so that an instance that is found again does not fall back.
    pub(crate) fn known(work: &Work) -> Self {
        let instance = &work.instance;
        let seen = match instance.seen {
            Seen::Ready => Seen::Ready,
            Seen::Unready => Seen::Unready,
            Seen::Pending | Seen::Starting | Seen::Exited | Seen::Gone => Seen::Starting,
        };
        let (last_check, log_tail) = (instance.last_check.clone(), instance.log_tail.clone());
        Self { seen, attempts: instance.attempts, last_check, log_tail }
    }
}

/// One running instance whose health is looked after.
pub(crate) struct Patient {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) work: Work,
    pub(crate) running: Running,
}

/// How an instance is asked.
enum Question<'a> {
    /// At this address, where it has one.
    Http(Option<SocketAddr>),
    /// By a command beside it.
    Command(&'a str),
}

impl Patient {
    /// Tells whenever something has changed. Returns when the instance is not this start any more; how it
    /// ended, others will know.
    pub(crate) async fn look_after(self, known: Vitals, tell: impl Fn(InstanceId, Vitals) + Send) {
        let process = &self.work.process;
        match (&self.work.health, &process.check) {
            (Some(health), _) if process.http => {
                let address = self.running.endpoint.as_ref().and_then(|e| e.address.parse().ok());
                self.ask_again_and_again(health, &Question::Http(address), known, tell).await;
            }
            (Some(health), Some(command)) => {
                self.ask_again_and_again(health, &Question::Command(command), known, tell).await;
            }
            (Some(_) | None, _) => self.settle(known, tell).await,
        }
    }

    /// Without a check, staying up is all there is to see.
    async fn settle(&self, known: Vitals, tell: impl Fn(InstanceId, Vitals)) {
        if known.seen == Seen::Ready {
            return;
        }
        let settle = Duration::from_millis(self.work.settle);
        tokio::time::sleep(settle.saturating_sub(self.running.age)).await;
        if self.is_the_same().await {
            tell(self.work.instance.id, Vitals::new(Seen::Ready));
        }
    }

    async fn ask_again_and_again(
        &self,
        health: &Health,
        question: &Question<'_>,
        known: Vitals,
        tell: impl Fn(InstanceId, Vitals),
    ) {
        let since = Instant::now();
        let mut gate = Gate::new(health.clone(), known.seen);
        let mut vitals = known;
        let mut was_ready = self.work.instance.was_ready;
        loop {
            let began = Instant::now();
            let answer = self.ask(health, question).await;
            if !self.is_the_same().await {
                // The answer may be somebody else's.
                return;
            }
            let mut pause = health.interval;
            if let Some(answer) = answer {
                pause = gate.record(self.age(since, began), answer.passed);
                let mut now = vitals.clone();
                if !was_ready {
                    now.attempts = now.attempts.saturating_add(1);
                }
                was_ready |= gate.seen() == Seen::Ready;
                now.seen = gate.seen();
                now.last_check = Some(answer.text);
                if answer.passed {
                    now.log_tail.clear();
                } else if now.seen != vitals.seen || now.last_check != vitals.last_check {
                    now.log_tail = self.log_tail().await;
                }
                if now != vitals {
                    vitals = now;
                    tell(self.work.instance.id, vitals.clone());
                }
            }
            tokio::time::sleep_until((began + Duration::from_millis(pause)).into()).await;
        }
    }

    /// `None` where it could not be asked, which the instance is not to blame for.
    async fn ask(&self, health: &Health, question: &Question<'_>) -> Option<Answer> {
        let failed = |text| Answer { passed: false, text };
        let answer = match question {
            Question::Http(Some(address)) => {
                return Some(
                    probe::check(*address, &self.work.host, health, self.work.process.protocol).await,
                );
            }
            Question::Http(None) => failed("it has no address".to_owned()),
            Question::Command(command) => {
                let limit = Duration::from_millis(health.timeout);
                match self.runtime.check(self.work.instance.id, command, limit).await {
                    Ok(()) => return Some(Answer { passed: true, text: "the check passed".to_owned() }),
                    Err(why) => failed(why),
                }
            }
        };
        self.runtime.trouble().await.is_none().then_some(answer)
    }

    /// What can be read of it in a moment, as a report must not wait for a log.
    async fn log_tail(&self) -> Vec<String> {
        let mut tail = Vec::new();
        let mut lines = self.runtime.lines(self.work.instance.id, TAIL, Until::Now).take(TAIL);
        let all = async {
            while let Ok(Some(line)) = lines.try_next().await {
                tail.push(printable(&line.bytes));
            }
        };
        let _ = tokio::time::timeout(LOG_WAIT, all).await;
        tail
    }

    fn age(&self, since: Instant, at: Instant) -> Millis {
        let age = self.running.age + at.duration_since(since);
        Millis::try_from(age.as_millis()).unwrap_or(Millis::MAX)
    }

    async fn is_the_same(&self) -> bool {
        self.runtime.is(self.work.instance.id, &self.running.incarnation).await
    }
}
