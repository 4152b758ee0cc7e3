//! The load and the application, tried on each other with nothing between: a load that cannot see
//! a failure would make every other test worthless.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use temps_tests::ground::Ground;
use temps_tests::load::{Cause, Kind, Load, Mix, Struck, Target};
use temps_tests::notes::Notes;
use temps_tests::trouble::Result;
use temps_tests::{browser, check, check_eq, faults, paths, wait};

struct Hello {
    child: Child,
    address: SocketAddr,
}

impl Hello {
    fn start(variables: &[(&str, &str)]) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let child = Command::new(paths::hello(Ground::Processes)?)
            .env("PORT", port.to_string())
            .env("VERSION", "v1")
            .envs(variables.iter().copied())
            .stderr(Stdio::null())
            .spawn()?;
        let hello = Self { child, address: (Ipv4Addr::LOCALHOST, port).into() };
        wait::until("the application", Duration::from_secs(10), || {
            browser::get(hello.address, "h", "/up").is_ok()
        })?;
        Ok(hello)
    }

    fn targets(&self) -> Vec<Target> {
        vec![Target { name: "direct".to_owned(), address: self.address }]
    }
}

impl Drop for Hello {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything but what the application does not speak itself.
fn direct() -> Mix {
    let mut mix = Mix::everything("hello.localhost");
    mix.rates.retain(|(kind, _)| *kind != Kind::Http2);
    mix
}

fn ended(load: &Load, n: usize) -> Result {
    wait::until("the load", Duration::from_secs(30), || load.ended() >= n)
}

#[test]
fn a_load_on_a_good_application_is_clean() -> Result {
    let hello = Hello::start(&[])?;
    let load = Load::start(hello.targets(), direct());
    ended(&load, 500)?;
    let report = load.stop()?;
    check!(report.is_clean(), "{}", report.table());
    check!(report.kinds.len() == 9, "not every kind was sent: {}", report.table());
    check!(report.websockets > 0 && report.app_errors == 0, "{}", report.table());
    check_eq!(report.versions_since(0).into_iter().collect::<Vec<_>>(), ["v1"], "versions");
    Ok(())
}

#[test]
fn a_load_sees_an_application_that_dies() -> Result {
    let hello = Hello::start(&[])?;
    let mix = direct().and(Kind::WebSocket, 5.0);
    let load = Load::start(hello.targets(), mix);
    ended(&load, 300)?;
    faults::slay(hello.child.id())?;
    ended(&load, 500)?;
    let report = load.stop()?;
    for cause in [Cause::Connect, Cause::Reset, Cause::Cut] {
        check!(report.causes.contains_key(&cause), "no {cause:?}: {}", report.table());
    }
    check!(report.failed > 50 && report.websockets_cut > 0, "{}", report.table());
    Ok(())
}

#[test]
fn a_load_sees_answers_of_somebody_else_and_silence() -> Result {
    // It accepts by the kernel alone and never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let hello = Hello::start(&[("ERROR_FRACTION", "50")])?;
    let mut targets = hello.targets();
    targets.push(Target { name: "silent".to_owned(), address: silent.local_addr()? });
    let load = Load::start(targets, Mix::of("h", vec![(Kind::Fresh, 20.0)]));
    ended(&load, 20)?;
    let report = load.stop()?;
    check_eq!(report.causes.keys().collect::<Vec<_>>(), [&Cause::Timeout], "{}", report.table());
    let answered = report.requests - report.failed;
    check!(report.app_errors.abs_diff(answered / 2) <= 1, "{} of {answered}", report.app_errors);
    Ok(())
}

#[test]
fn the_application_tells_what_came_after_sigterm() -> Result {
    let log = Notes::open(Ipv4Addr::LOCALHOST.into())?;
    let hello = Hello::start(&[("EXIT_ON_TERM", "500"), ("LOG_TO", &log.address())])?;
    browser::get(hello.address, "h", "/")?;
    faults::signal(hello.child.id(), nix::sys::signal::Signal::SIGTERM)?;
    wait::until("the signal", Duration::from_secs(5), || log.count("SIGTERM with 0 requests") == 1)?;
    browser::get(hello.address, "h", "/slow?ms=1")?;
    faults::await_end(hello.child.id())?;
    check_eq!(log.count("LATE"), 1, "log: {:?}", log.lines());
    check_eq!(log.count("LATE GET /slow?ms=1"), 1, "log: {:?}", log.lines());
    Ok(())
}

#[test]
fn a_load_tells_what_a_fault_took_from_what_failed() -> Result {
    let hello = Hello::start(&[])?;
    let load = Load::start(hello.targets(), Mix::of("h", vec![(Kind::Slow, 20.0), (Kind::Fresh, 20.0)]));
    ended(&load, 60)?;
    load.strike(Struck::Instances, || {
        faults::slay(hello.child.id())?;
        faults::await_end(hello.child.id())?;
        Ok(None)
    })?;
    ended(&load, 150)?;
    let report = load.stop()?;
    check!(report.cut_by_hand > 10, "what was under way was lost by hand: {}", report.table());
    check!(report.failed > 10, "what came later failed: {}", report.table());
    check_eq!(report.causes.keys().collect::<Vec<_>>(), [&Cause::Connect], "{}", report.table());
    Ok(())
}

#[test]
fn a_load_sees_answers_of_another_application() -> Result {
    let hello = Hello::start(&[("TEMPS_PROJECT", "other")])?;
    let load = Load::start(hello.targets(), direct());
    ended(&load, 60)?;
    let report = load.stop()?;
    check_eq!(report.strangers(), report.failed + report.websockets_cut, "{}", report.table());
    check_eq!(report.failed + report.websockets_cut, report.requests, "{}", report.table());
    Ok(())
}
