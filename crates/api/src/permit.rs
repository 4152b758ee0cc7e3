//! What somebody may do, and with what: the one place where that is checked.
//!
//! Whoever has roles by project sees nothing else. Reading what belongs to another project is answered as if it
//! were not there, and so is everything that is known by a number; changing something in a project that is
//! named is refused alike whether there is such a project or not. So no answer tells what else there is.

use std::time::Duration;

use futures_util::stream::{StreamExt, unfold};
use temps_core::host;
use temps_core::model::{ClusterState, DeploymentId, Grant, InstanceId, Role};
use tokio::time::MissedTickBehavior;
use tonic::Status;

use crate::caller::Caller;
use crate::desk::{Answer, Desk, Lines};

/// How often somebody who follows a stream is looked at where nothing happens: time alone ends tokens.
const LOOK: Duration = Duration::from_secs(2);

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope<'a> {
    /// The cluster itself: a role for everything is needed.
    Cluster,
    /// Things of any project. The handler shows those that the caller sees, and no others.
    Listing,
    /// Nothing that belongs to a project, such as a bundle before it is deployed: a role in any project will do.
    Anywhere,
    /// A project, by name.
    Project(&'a str),
    /// A deployment, by number.
    Deployment(u64),
    /// An instance, by number.
    Instance(u64),
    /// A name of an application.
    Domain(&'a str),
}

impl Scope<'_> {
    /// The role of a grant here, and the project that it is about, where it is about one that is known.
    fn role(self, state: &ClusterState, grant: &Grant) -> Option<Role> {
        let within = |project: Option<&str>| match project {
            Some(project) => grant.within(project),
            None => grant.everywhere(),
        };
        match self {
            Self::Cluster => grant.everywhere(),
            Self::Listing | Self::Anywhere => grant.greatest(),
            Self::Project(name) => grant.within(name),
            Self::Deployment(number) => within(state.project_of(DeploymentId(number))),
            Self::Instance(number) => {
                let instance = state.instances.get(&InstanceId(number));
                within(instance.and_then(|i| state.project_of_environment(i.environment)))
            }
            Self::Domain(name) => {
                let names = temps_core::domains::names(state);
                let of = host::normalise(name).ok().and_then(|name| names.get(&name));
                let projects = of.iter().flat_map(|of| of.keys());
                let projects = projects.filter_map(|id| state.project_of_environment(*id));
                let role = projects.filter_map(|project| grant.within(project)).max();
                role.or_else(|| grant.everywhere())
            }
        }
    }

    /// The answer to somebody who has no role here.
    fn hidden(self, caller: &Caller, least: Role, to: &str) -> Status {
        let who = format!("{} {:?}", caller.who.word(), caller.name);
        match self {
            Self::Project(name) if least == Role::Viewer => {
                Status::not_found(format!("there is no project {name:?}"))
            }
            Self::Project(name) => Status::permission_denied(format!(
                "{who} is {}; {to} in project {name:?} needs {} there",
                caller.grant,
                a_role(least)
            )),
            Self::Deployment(number) => {
                Status::not_found(format!("there is no deployment {}", DeploymentId(number)))
            }
            Self::Instance(number) => {
                Status::not_found(format!("there is no instance {}", InstanceId(number)))
            }
            Self::Domain(name) => Status::not_found(format!("there is no domain {name:?}")),
            Self::Cluster | Self::Listing | Self::Anywhere => Status::permission_denied(format!(
                "{who} is {}; {to} needs {} of the whole cluster",
                caller.grant,
                a_role(least)
            )),
        }
    }
}

fn a_role(role: Role) -> &'static str {
    match role {
        Role::Viewer => "a viewer",
        Role::Deployer => "a deployer",
        Role::Admin => "an admin",
    }
}

impl Desk {
    /// Checks that the caller has at least this role in this scope; `to` says for what.
    pub(crate) fn permit(&self, caller: &Caller, least: Role, scope: Scope<'_>, to: &str) -> Answer<()> {
        let state = self.ledger.state();
        let Some(role) = scope.role(&state, &caller.grant) else {
            return Err(scope.hidden(caller, least, to));
        };
        if role >= least {
            return Ok(());
        }
        Err(Status::permission_denied(format!(
            "{} {:?} is {}{}; {to} needs {}",
            caller.who.word(),
            caller.name,
            a_role(role),
            if caller.grant.everywhere().is_some() { "" } else { " there" },
            a_role(least)
        )))
    }

    /// A stream that ends with an error once the caller is not known any more, or may do something else.
    pub(crate) fn while_permitted<T: Send + 'static>(&self, caller: &Caller, lines: Lines<T>) -> Lines<T> {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let follower = (Some(lines), self.ledger.changes(), look, self.clone(), caller.clone());
        unfold(follower, |(lines, mut changes, mut look, desk, caller)| async move {
            let mut lines = lines?;
            loop {
                // What changes and ends comes first: a stream that never pauses ends, too.
                tokio::select! {
                    biased;
                    Ok(()) = changes.changed() => {}
                    _ = look.tick() => {}
                    line = lines.next() => {
                        return line.map(|line| (line, (Some(lines), changes, look, desk, caller)));
                    }
                }
                if !desk.still_knows(&caller) {
                    let ended = Status::unauthenticated("the right to see this was taken or has ended");
                    return Some((Err(ended), (None, changes, look, desk, caller)));
                }
            }
        })
        .boxed()
    }
}
