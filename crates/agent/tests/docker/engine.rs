//! Engines that hang, stop and come back: an engine of the test's own, in a network namespace of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use temps_agent::runtime::docker::Engine;
use temps_agent::runtime::{Condition, Runtime, StartError};
use temps_core::model::InstanceId;

use crate::support::{GRACE, I7, condition, exit_found, on, skip, text, until};

/// An engine of its own.
struct Own {
    dir: tempfile::TempDir,
    namespace: String,
    live_restore: bool,
    daemon: Option<Child>,
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

impl Own {
    /// `None`, with the reason told, where this machine cannot have one.
    async fn start(name: &str, number: u32, live_restore: bool) -> Option<Self> {
        let namespace = format!("te{}-{number}", std::process::id());
        if !nix::unistd::geteuid().is_root() || !run("dockerd", &["--version"]) {
            skip(name, "no engine can be started: dockerd, or the right to run it, is missing");
            return None;
        }
        if !run("ip", &["netns", "add", &namespace]) {
            skip(name, "no engine can be started: no network namespace can be made");
            return None;
        }
        run("nsenter", &[&format!("--net=/var/run/netns/{namespace}"), "ip", "link", "set", "lo", "up"]);
        let dir = tempfile::Builder::new().prefix("engine").tempdir().expect("a directory");
        let mut own = Self { dir, namespace, live_restore, daemon: None };
        own.up(number).await;
        Some(own)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn engine(&self) -> Engine {
        Engine::new(self.path("sock"))
    }

    async fn up(&mut self, number: u32) {
        let log = File::options().append(true).create(true).open(self.path("log")).expect("a log");
        let option = |name: &str, value: &Path| format!("--{name}={}", value.display());
        let mut daemon = Command::new("nsenter");
        daemon
            .arg(format!("--net=/var/run/netns/{}", self.namespace))
            .arg("dockerd")
            .arg(option("data-root", &self.path("data")))
            .arg(option("exec-root", &self.path("exec")))
            .arg(option("pidfile", &self.path("pid")))
            .arg(format!("--host=unix://{}", self.path("sock").display()))
            .arg(format!("--bip=172.{}.0.1/24", 24 + number))
            .arg(format!("--default-address-pool=base=10.{}.0.0/16,size=24", 200 + number))
            .arg(format!("--containerd-namespace={}", self.namespace))
            .arg(format!("--containerd-plugins-namespace={}-plugins", self.namespace))
            .stdout(log.try_clone().expect("a log"))
            .stderr(log);
        if self.live_restore {
            daemon.arg("--live-restore");
        }
        self.daemon = Some(daemon.spawn().expect("started"));
        let engine = self.engine();
        until("the engine answers", || async {
            let log = || std::fs::read_to_string(self.path("log")).unwrap_or_default();
            let last = || log().lines().rev().take(5).map(str::to_owned).collect::<Vec<_>>();
            engine.ping().await.map_err(|error| (error.to_string(), last()))
        })
        .await;
    }

    fn signal(&self, signal: Signal) {
        let pid = self.daemon.as_ref().expect("it runs").id();
        kill(Pid::from_raw(i32::try_from(pid).expect("small")), signal).expect("signalled");
    }

    /// Stops the daemon without ending it, and waits until all of it stands still.
    async fn hang(&self) {
        self.signal(Signal::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.daemon.as_ref().expect("it runs").id());
        until("the engine stands still", || async {
            let moving = std::fs::read_dir(&tasks).expect("it is there").flatten().filter(|task| {
                let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
                !status.contains("State:\tT")
            });
            match moving.count() {
                0 => Ok(()),
                count => Err(count),
            }
        })
        .await;
    }

    /// Ends the daemon, and waits until nothing is left of the containerd that it took along: its successor
    /// mistakes one that has just ended for one that runs.
    fn down(&mut self, how: Signal) {
        let containerd = self.containerd();
        self.signal(how);
        let mut daemon = self.daemon.take().expect("it runs");
        daemon.wait().expect("it ended");
        let end = Instant::now() + Duration::from_secs(30);
        while containerd.is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists())
            && Instant::now() < end
        {
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn containerd(&self) -> Option<i32> {
        let pid = std::fs::read_to_string(self.path("exec/containerd/containerd.pid")).ok()?;
        pid.trim().parse().ok()
    }

    /// Whether a process is a part of this engine.
    fn owns(&self, pid: i32) -> bool {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains(&*self.dir.path().to_string_lossy())
    }

    /// What an engine that could not be ended in order leaves behind, containers first.
    fn leavings(&self) -> Vec<i32> {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let parts: Vec<i32> = pids.filter(|pid| self.owns(*pid)).collect();
        let children = |pid: &i32| {
            let file = format!("/proc/{pid}/task/{pid}/children");
            let text = std::fs::read_to_string(file).unwrap_or_default();
            text.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<i32>>()
        };
        parts.iter().flat_map(children).chain(parts.iter().copied()).collect()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let pid = Pid::from_raw(i32::try_from(daemon.id()).expect("small"));
            let _ = kill(pid, Signal::SIGCONT);
            let _ = kill(pid, Signal::SIGTERM);
            let end = Instant::now() + Duration::from_secs(30);
            while Instant::now() < end && matches!(daemon.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(100));
            }
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        for pid in self.leavings() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        // Of mounts too.
        for mount in [self.path("data"), self.path("exec")] {
            run("umount", &["--recursive", "--lazy", &mount.to_string_lossy()]);
        }
        run("ip", &["netns", "delete", &self.namespace]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_hangs_is_nobody_s_fault() {
    const NAME: &str = "an_engine_that_hangs_is_nobody_s_fault";
    let Some(own) = Own::start(NAME, 1, true).await else { return };
    let own = Arc::new(own);
    let engine = Arc::new(own.engine());
    let docker = engine.docker().await.expect("it answers");
    let hung = Arc::clone(&own);
    on(docker, engine, |place| async move {
        let runtime = Arc::new(place.runtime());
        let running = place.ready(&runtime, "/app finish 0").await;
        assert_eq!(runtime.trouble().await, None);

        hung.hang().await;
        let waiting = {
            let runtime = Arc::clone(&runtime);
            tokio::spawn(async move { runtime.wait(I7).await })
        };
        let began = Instant::now();
        assert!(runtime.is(I7, &running.incarnation).await, "what is not known is no change");
        let trouble = runtime.trouble().await.expect("it hangs");
        assert!(trouble.contains(&*hung.path("sock").to_string_lossy()), "{trouble}");
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        let began = Instant::now();
        let error = runtime.start(&place.job(InstanceId(8), "/app wait")).await.expect_err("it hangs");
        assert!(matches!(error, StartError::NotNow(_)), "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        let began = Instant::now();
        runtime.list().await.expect_err("nothing is known");
        runtime.stop(I7, GRACE).await.expect_err("nobody was signalled");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        assert!(!waiting.is_finished(), "it goes on");

        hung.signal(Signal::SIGCONT);
        until("the engine answers", || async { runtime.trouble().await.map_or(Ok(()), Err) }).await;
        assert!(runtime.is(I7, &running.incarnation).await);
        runtime.start(&place.job(InstanceId(8), "/app wait")).await.expect("started after all");
        runtime.stop(I7, GRACE).await.expect("stopped");
        let exit = waiting.await.expect("no panic");
        assert_eq!((exit.asked, exit.code), (true, Some(0)), "{exit:?}");
        assert_eq!(text(&runtime, I7).await, ["ready", "got SIGTERM", "job done"], "one signal");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_outlive_an_engine_with_live_restore() {
    const NAME: &str = "containers_outlive_an_engine_with_live_restore";
    let Some(own) = Own::start(NAME, 2, true).await else { return };
    let own = Arc::new(tokio::sync::Mutex::new(own));
    let engine = Arc::new(own.lock().await.engine());
    let docker = engine.docker().await.expect("it answers");
    let restarted = Arc::clone(&own);
    on(docker, engine, |place| async move {
        let runtime = Arc::new(place.runtime());
        let running = place.ready(&runtime, "/app finish 0").await;
        let waiting = {
            let runtime = Arc::clone(&runtime);
            tokio::spawn(async move { runtime.wait(I7).await })
        };
        for how in [Signal::SIGTERM, Signal::SIGKILL] {
            let mut own = restarted.lock().await;
            own.down(how);
            assert!(runtime.is(I7, &running.incarnation).await, "what is not known is no change");
            assert!(runtime.trouble().await.is_some());
            own.up(2).await;
            // It is news that the engine is back.
            tokio::time::timeout(Duration::from_secs(10), runtime.changed()).await.expect("told");
            let Some(Condition::Running(same)) = condition(&runtime, I7).await else {
                unreachable!("it runs")
            };
            assert_eq!((&same.incarnation, &same.endpoint), (&running.incarnation, &running.endpoint));
        }
        assert!(!waiting.is_finished(), "it goes on");
        runtime.stop(I7, GRACE).await.expect("stopped");
        let exit = waiting.await.expect("no panic");
        assert_eq!((exit.asked, exit.code), (true, Some(0)), "{exit:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_takes_its_containers_along_excuses_them() {
    const NAME: &str = "an_engine_that_takes_its_containers_along_excuses_them";
    let Some(own) = Own::start(NAME, 3, false).await else { return };
    let own = Arc::new(tokio::sync::Mutex::new(own));
    let engine = Arc::new(own.lock().await.engine());
    let docker = engine.docker().await.expect("it answers");
    let restarted = Arc::clone(&own);
    on(docker, engine, |place| async move {
        // With a server that watches.
        for (id, how) in [(7, Signal::SIGTERM), (8, Signal::SIGKILL)] {
            let id = InstanceId(id);
            let runtime = Arc::new(place.runtime());
            // One that ends at once, and one for which the engine has to wait.
            let slow = InstanceId(id.0 + 10);
            for (id, command) in [(id, "/app finish 0"), (slow, "/app ignore")] {
                let mut job = place.job(id, command);
                job.work.stop_grace = 5_000;
                runtime.start(&job).await.expect("started");
                crate::support::said(&runtime, id, "ready").await;
            }
            let waiting = {
                let runtime = Arc::clone(&runtime);
                tokio::spawn(async move { (runtime.wait(id).await, runtime.wait(slow).await) })
            };
            let mut own = restarted.lock().await;
            own.down(how);
            own.up(3).await;
            let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
            let (exit, slow) = waited.expect("they have ended").expect("no panic");
            assert!(slow.excused, "{how}: {slow:?}");
            assert!(exit.excused && !exit.is_crash(), "{how}: {exit:?}");
            assert!(exit.how().contains("engine"), "{how}: {exit:?}");
        }
        // With none, and a server that starts after it.
        let id = InstanceId(9);
        let runtime = place.runtime();
        runtime.start(&place.job(id, "/app finish 0")).await.expect("started");
        crate::support::said(&runtime, id, "ready").await;
        drop(runtime);
        let mut own = restarted.lock().await;
        own.down(Signal::SIGTERM);
        own.up(3).await;
        let runtime = place.runtime();
        let exit = exit_found(&runtime, id).await.expect("it ended");
        assert!(exit.excused, "{exit:?}");
        runtime.remove(id).await.expect("removed");
    })
    .await;
}
