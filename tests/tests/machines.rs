//! The machines that clusters with containers stand on, tried alone: they reach each other, their engines and
//! containers come and go, and nothing of them stays.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use temps_tests::app::App;
use temps_tests::ground::Ground;
use temps_tests::machine::{Engine, Machine, Stranger, Switch};
use temps_tests::notes::Notes;
use temps_tests::trouble::{Context, Result};
use temps_tests::{check, check_eq, faults, paths, wait};

/// How long anything here may take, on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Why a test that needs machines cannot run here is told, and counted by whoever reads it.
fn possible(test: &str) -> bool {
    let why = Ground::Docker.possible().err();
    if let Some(why) = &why {
        // A closed stderr has nobody to tell.
        let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
    }
    why.is_none()
}

/// Starts the sample on an engine and returns the container.
fn hello(engine: &Engine, dir: &Path, name: &str, variables: &[(&str, &str)]) -> Result<String> {
    let context = App::sample("v1")?.write(dir, Ground::Docker)?;
    let image = engine.build("hello:v1", &context)?;
    let stranger = Stranger { name, image: &image, variables, ..Stranger::default() };
    let id = engine.create(&stranger)?;
    engine.start_container(&id)?;
    Ok(id)
}

fn is_running(engine: &Engine, id: &str) -> bool {
    engine.containers().is_ok_and(|all| all.iter().any(|container| container.id == id && container.runs()))
}

#[test]
fn containers_outlive_their_engine_and_nothing_outlives_their_machine() -> Result {
    if !possible("containers_outlive_their_engine_and_nothing_outlives_their_machine") {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let switch = Switch::new()?;
    let mut machine = Machine::start(&switch, &dir.path().join("one"))?;
    let notes = Notes::open(switch.address().into())?;
    let id = hello(&machine.engine, dir.path(), "app", &[("LOG_TO", &notes.address())])?;
    wait::until("the application to tell us", LIMIT, || notes.count("listening") == 1)?;
    let pid = machine.engine.process_in(&id, "hello")?;
    check!(machine.engine.pids().contains(&pid), "{pid} is not among the processes of its engine");

    machine.engine.stop()?;
    check!(faults::is_running(pid), "the application ended with its engine");
    check!(machine.engine.pids().contains(&pid), "it is not found while the engine is away");
    machine.engine.start()?;
    machine.engine.kill()?;
    machine.engine.start()?;
    check!(is_running(&machine.engine, &id), "{}", machine.engine.state_of(&id));
    check_eq!(machine.engine.process_in(&id, "hello")?, pid, "the application's process");

    let (socket, namespace) = (machine.engine.socket(), machine.namespace().to_owned());
    machine.engine.kill()?;
    machine.clear()?;
    check!(!faults::is_running(pid), "the application outlived its machine");
    check!(!socket.exists(), "files of the engine are left");
    check!(!Path::new("/var/run/netns").join(namespace).exists(), "the namespace is left");
    check_eq!(faults::processes_of(dir.path()), Vec::new(), "processes");
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    check!(!mounts.contains(&*dir.path().to_string_lossy()), "something is still mounted");
    Ok(())
}

/// Whether a connection from one machine to an address is taken.
fn reaches(machine: &Machine, address: SocketAddr) -> Result<bool> {
    let (ip, port) = (address.ip(), address.port());
    let script = format!("exec 3<>/dev/tcp/{ip}/{port}");
    let ended = machine.command("timeout").args(["2", "bash", "-c", &script]).output().context("timeout")?;
    Ok(ended.status.success())
}

#[test]
fn machines_reach_each_other_unless_a_cable_is_pulled_or_a_link_cut() -> Result {
    if !possible("machines_reach_each_other_unless_a_cable_is_pulled_or_a_link_cut") {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let switch = Switch::new()?;
    let one = Machine::start(&switch, &dir.path().join("one"))?;
    let two = Machine::start(&switch, &dir.path().join("two"))?;
    let notes = Notes::open(switch.address().into())?;
    let outside: SocketAddr = notes.address().parse()?;
    let mut listener = one
        .command(paths::hello(Ground::Docker)?)
        .env("PORT", "9000")
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let there = SocketAddr::from((IpAddr::from(one.address()), 9_000));
    let tried = (|| {
        wait::until("a connection to the other machine", LIMIT, || reaches(&two, there).unwrap_or(false))?;
        check!(reaches(&two, outside)?, "we are not reached");
        one.cut_off()?;
        check!(!reaches(&two, there)?, "a cable that is pulled carries");
        check!(!reaches(&one, outside)?, "a cable that is pulled carries to us");
        check!(reaches(&two, outside)?, "the other machine is cut off, too");
        one.reconnect()?;
        wait::until("the connection to be back", LIMIT, || reaches(&two, there).unwrap_or(false))?;
        one.place.part_from(&[two.address()])?;
        check!(!reaches(&two, there)?, "a link that is cut carries");
        check!(TcpStream::connect(there).is_ok(), "a cut link to another machine cuts us off");
        one.place.rejoin(&[two.address()])?;
        check!(reaches(&two, there)?, "a link that was mended does not carry");
        Ok(())
    })();
    listener.kill()?;
    listener.wait()?;
    tried
}
