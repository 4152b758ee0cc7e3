//! Machines for nodes that run containers: each a network namespace with a Docker engine of its own,
//! joined by cables to one switch. The load and the command line reach them from outside.
//!
//! Names of namespaces and interfaces carry our process id, and the directory of a cluster tells whose it
//! is, so that [`leftovers`] can clear away what a killed run has left. What runs on a machine besides its
//! engine is not known here.

mod api;
mod containers;
mod engine;
pub mod leftovers;
mod net;
mod stranger;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::trouble::{Context, Result, Trouble};

pub use self::containers::Container;
pub use self::engine::Engine;
pub(crate) use self::net::inside;
pub use self::net::{Place, Switch};
pub use self::stranger::Stranger;

/// Programs without which there is no machine; the first is its engine.
const PROGRAMS: [&str; 4] = ["dockerd", "ip", "iptables", "nsenter"];

/// A machine on a switch. Dropping it clears it.
#[derive(Debug)]
pub struct Machine {
    /// Where it is plugged in.
    pub place: Place,
    cleared: bool,
    /// What runs its containers.
    pub engine: Engine,
}

impl Machine {
    /// Plugs a machine in and starts its engine, whose files are below `dir`.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn start(switch: &Switch, dir: &Path) -> Result<Self> {
        Self::start_with(switch, dir, None)
    }

    /// The same; the images and containers of its engine have no more room than so many bytes of memory.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub fn start_with(switch: &Switch, dir: &Path, room: Option<u64>) -> Result<Self> {
        let place = switch.plug()?;
        let engine = Engine::new(place.namespace(), dir.to_owned());
        if let Some(room) = room {
            fs::create_dir_all(engine.data())?;
            let size = format!("size={room}");
            run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &engine.data().to_string_lossy()])?;
        }
        let mut machine = Self { place, engine, cleared: false };
        machine.engine.start()?;
        Ok(machine)
    }

    /// Its address, as all others see it.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.place.address()
    }

    /// Its network namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.place.namespace()
    }

    /// A command that runs there.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.place.command(program)
    }

    /// Pulls its cable: it hears and reaches nobody, and goes on.
    ///
    /// # Errors
    /// When it cannot be pulled.
    pub fn cut_off(&self) -> Result {
        self.place.link("down")
    }

    /// Plugs its cable in again.
    ///
    /// # Errors
    /// When it cannot be plugged in.
    pub fn reconnect(&self) -> Result {
        self.place.link("up")
    }

    /// Ends its containers and its engine, deletes their files, and unplugs it.
    ///
    /// # Errors
    /// When something cannot be ended or deleted.
    pub fn clear(&mut self) -> Result {
        if std::mem::replace(&mut self.cleared, true) {
            return Ok(());
        }
        let ended = self.engine.clear();
        let unplugged = self.place.unplug();
        ended.and(unplugged)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Err(trouble) = self.clear() {
            // Nobody is left to be told that stderr is closed.
            let _ = writeln!(std::io::stderr(), "cannot clear {}: {trouble}", self.place.namespace());
        }
    }
}

/// Why no machine can run here; found out once, with a machine for a moment.
///
/// # Errors
/// The reason.
pub fn possible() -> Result {
    static FOUND: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    FOUND.get_or_init(|| attempt().map_err(|trouble| trouble.to_string())).clone().map_err(Trouble::new)
}

/// Why no place without an engine can be made here.
///
/// # Errors
/// The reason.
pub fn places_possible() -> Result {
    needs(&PROGRAMS[1..])?;
    let place = Switch::new()?.plug()?;
    let nobody = [Ipv4Addr::new(192, 0, 2, 1)];
    place.part_from(&nobody)?;
    place.rejoin(&nobody)
}

fn needs(programs: &[&str]) -> Result {
    if !nix::unistd::geteuid().is_root() {
        return Err(Trouble::new("network namespaces and engines need root"));
    }
    match programs.iter().find(|program| find(program).is_none()) {
        Some(program) => Err(Trouble::new(format!("there is no {program} here; see scripts/setup"))),
        None => Ok(()),
    }
}

fn attempt() -> Result {
    needs(&PROGRAMS)?;
    leftovers::clear();
    let dir = leftovers::directory()?;
    let switch = Switch::new()?;
    Machine::start(&switch, &dir.path().join("try"))?.clear()
}

/// Where a program is.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let common = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(common).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Runs a program that has to succeed and returns its stdout.
fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let path = find(program).ok_or_else(|| Trouble::new(format!("there is no {program} here")))?;
    let mut command = Command::new(path);
    command.args(arguments);
    output(command, program)
}

/// The stdout of a command that has to succeed.
fn output(mut command: Command, program: &str) -> Result<String> {
    let output = command.output().context(program)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Trouble::new(format!("{command:?}: {}", said.trim())))
}

/// Unmounts everything below a directory, the innermost first.
fn unmount_below(dir: &Path) -> Result {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let mut points: Vec<&str> = points.filter(|point| Path::new(point).starts_with(dir)).collect();
    points.sort_unstable_by_key(|point| std::cmp::Reverse(point.len()));
    for point in points {
        // A busy one is detached, and gone with its last user.
        run("umount", &["-l", point])?;
    }
    Ok(())
}
