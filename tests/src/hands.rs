//! What somebody does to containers by hand, behind the cluster's back.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::faults;
use crate::load::{Load, Struck};
use crate::machine::{Container, Engine, Stranger};
use crate::trouble::{Result, Trouble};

/// Two applications on one engine that were given each other's address.
#[derive(Debug)]
pub struct Swap {
    /// Names of the containers that were removed.
    pub removed: [String; 2],
    /// The containers that run at their addresses now, or would have.
    pub strangers: Vec<String>,
    /// Whether both got the address.
    pub complete: bool,
}

/// A container that answers for a project.
///
/// # Errors
/// When the engine does not answer.
pub fn running(engine: &Engine, project: &str) -> Result<Option<Container>> {
    let all = engine.containers_of(project)?;
    Ok(all
        .into_iter()
        .find(|container| container.runs() && engine.process_in(&container.id, "hello").is_ok()))
}

/// Removes a container; returns when its application was gone, where it ran.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(engine: &Engine, container: &Container) -> Result<Option<Instant>> {
    let Ok(pid) = engine.process_in(&container.id, "hello") else {
        engine.remove(&container.id)?;
        return Ok(None);
    };
    let gone = std::thread::spawn(move || {
        let until = Instant::now() + Duration::from_secs(10);
        while faults::is_running(pid) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        Instant::now()
    });
    engine.remove(&container.id)?;
    gone.join().map(Some).map_err(|_| Trouble::new("the watch over a process panicked"))
}

/// Removes a container of each of two projects and at once starts the other's image at its address. What was under
/// way in them is lost to the loads, which are in the order of the projects.
///
/// # Errors
/// When something cannot be done.
pub fn swap(engine: &Engine, projects: [&str; 2], loads: [&Load; 2]) -> Result<Option<Swap>> {
    let (Some(one), Some(two)) = (running(engine, projects[0])?, running(engine, projects[1])?) else {
        return Ok(None);
    };
    let mut swap =
        Swap { removed: [one.name.clone(), two.name.clone()], strangers: Vec::new(), complete: true };
    let mut prepared = Vec::new();
    for (here, other) in [(&one, &two), (&two, &one)] {
        occupy_below(engine, here, other, &mut swap.strangers)?;
        // Created before, so that nothing takes time once an address is free.
        let stranger = create_beside(engine, here, other, "stranger")?;
        swap.strangers.push(stranger.clone());
        prepared.push(stranger);
    }
    for ((here, load), stranger) in [&one, &two].into_iter().zip(loads).zip(prepared) {
        load.strike(Struck::Instances, || {
            let gone = remove(engine, here);
            engine.start_container(&stranger)?;
            gone
        })?;
        let started = engine.containers()?.into_iter().find(|container| container.id == stranger);
        swap.complete &= started.is_some_and(|started| started.addresses == here.addresses);
    }
    Ok(Some(swap))
}

/// An engine gives the lowest address that is free: those below that of `here` are taken.
fn occupy_below(engine: &Engine, here: &Container, other: &Container, taken: &mut Vec<String>) -> Result {
    let address = |container: &Container| -> Result<Ipv4Addr> { Ok(container.place()?.1.parse()?) };
    for n in 0..10 {
        let id = create_beside(engine, here, other, &format!("filler-{n}"))?;
        taken.push(id.clone());
        engine.start_container(&id)?;
        let started = engine.containers()?.into_iter().find(|container| container.id == id);
        let started = started.ok_or_else(|| Trouble::new("somebody removed a stranger"))?;
        if address(&started)? > address(here)? {
            return engine.remove(&id);
        }
    }
    Ok(())
}

/// A container with the image of `other` on the network of `here`, which will listen on the same port.
fn create_beside(engine: &Engine, here: &Container, other: &Container, what: &str) -> Result<String> {
    let told = engine.inspect(&here.id)?;
    let variables =
        told.pointer("/Config/Env").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let port = variables.iter().find_map(|variable| variable.as_str()?.strip_prefix("PORT="));
    let port = port.ok_or_else(|| Trouble::new(format!("{} is not told its port", here.name)))?;
    let variables = [("PORT", port), ("VERSION", "stranger"), ("TEMPS_PROJECT", other.label("project"))];
    let name = format!("{what}-beside-{}", here.name);
    let (network, _) = here.place()?;
    let stranger =
        Stranger { name: &name, image: &other.image, network, variables: &variables, ..Stranger::default() };
    engine.create(&stranger)
}
