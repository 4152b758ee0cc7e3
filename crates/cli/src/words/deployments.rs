//! Looking at deployments, and taking them back.

mod redeploy;

use std::time::Duration;

use serde_json::json;
use temps_core::model::Phase;
use temps_core::text;
use temps_wire::client::Api;
use temps_wire::proto::{
    Accepted, CancelRequest, CoveredSetting, Deployment, DeploymentDetail, ListDeploymentsRequest,
    PauseRequest, PromoteRequest, ResumeRequest, RollbackRequest,
};
use temps_wire::told;

use super::{Desk, build_log, deployment_number, duration, metrics, why};
use crate::exit::{Code, Failure};
use crate::screen::{Table, Tone, escape};
use crate::settings::{Consent, Target};
use crate::watch::{self, Follow, Lines, follow, interrupted};
use crate::{json, timeline, verdict};

/// Words behind `deployments`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Deployments {
    /// List deployments, the newest first
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        target: Target,
        /// How many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
    },
    /// Show a deployment: how it stands, and why
    Show {
        /// Its number
        #[arg(value_name = "ID", value_parser = deployment_number)]
        number: u64,
    },
    /// Follow a deployment until it ends; the exit code says how it did
    #[command(after_help = EXIT_CODES)]
    Watch {
        /// Its number
        #[arg(value_name = "ID", value_parser = deployment_number)]
        number: u64,
        /// How long to wait; the deployment goes on afterwards
        #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
        timeout: Duration,
    },
    /// Print what happened, line by line
    Timeline {
        /// Its number
        #[arg(value_name = "ID", value_parser = deployment_number)]
        number: u64,
    },
    /// Print what it did to requests: error rates and response times by release, and the receipt
    Metrics {
        /// Its number
        #[arg(value_name = "ID", value_parser = deployment_number)]
        number: u64,
    },
    /// Tell why an instance exists, and why it was withdrawn or ended
    #[command(after_help = "Example:\n  temps deployments why i7")]
    Why {
        /// The instance, such as i7
        #[arg(value_name = "INSTANCE", value_parser = why::instance_number)]
        instance: u64,
    },
    /// Print the log of a deployment's build
    #[command(
        after_help = "What applications print is shown by `temps logs`.\n\nExample:\n  temps deployments logs 42 --tail 50"
    )]
    Logs {
        /// Its number
        #[arg(value_name = "ID", value_parser = deployment_number)]
        number: u64,
        /// Go on until the build has ended
        #[arg(short, long)]
        follow: bool,
        /// How many of the last lines; all unless given
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        tail: Option<u32>,
    },
    /// Deploy what a deployment brought once more, with the settings and variables of now
    Redeploy(redeploy::Redeploy),
    /// Stop a deployment and go back to the release before it
    Cancel {
        /// Its number
        #[arg(value_name = "ID", value_parser = deployment_number)]
        number: u64,
        #[command(flatten)]
        consent: Consent,
    },
    /// Let a deployment wait after its current step, for as long as it takes
    Pause {
        /// Its number
        #[arg(value_name = "ID", value_parser = deployment_number)]
        number: u64,
    },
    /// Let a paused deployment go on
    Resume {
        /// Its number
        #[arg(value_name = "ID", value_parser = deployment_number)]
        number: u64,
    },
    /// Go on to the next step without waiting for the end of this one's hold
    Promote {
        /// Its number
        #[arg(value_name = "ID", value_parser = deployment_number)]
        number: u64,
        /// Past all holds that are left
        #[arg(long)]
        all: bool,
    },
    /// Go back to the release of an earlier deployment
    #[command(
        after_help = "Examples:\n  temps deployments rollback -p my-app -e production\n  temps deployments rollback -p my-app --to 42 -y\n\n\
        A rollback is a new deployment of a stored release: nothing is built or sent again."
    )]
    Rollback {
        #[command(flatten)]
        target: Target,
        /// Which deployment; by default the last one that succeeded with another release
        #[arg(long, value_name = "ID", value_parser = deployment_number)]
        to: Option<u64>,
        #[command(flatten)]
        consent: Consent,
        #[command(flatten)]
        waiting: Waiting,
    },
}

/// What the exit codes of a watched deployment mean.
pub(super) const EXIT_CODES: &str = "Exit codes:\n  0    live\n  3    failed or cancelled, the release before it is live\n  \
    4    failed and not rolled back, or paused\n  5    not ended in time; it goes on\n  6    something else is under way, or it was superseded\n  \
    7    not logged in or not allowed\n  8    no node reachable, or no quorum\n  130  interrupted; it goes on";

/// How a started deployment is waited for.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Waiting {
    /// Return as soon as the cluster has accepted it
    #[arg(long)]
    pub(super) detach: bool,
    /// How long to wait; the deployment goes on afterwards
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration)]
    pub(super) timeout: Duration,
    /// With --json: print each event as one line instead of one object at the end
    #[arg(long, conflicts_with = "detach")]
    pub(super) watch: bool,
}

pub(super) async fn run(desk: &mut Desk, word: Deployments) -> Result<Code, Failure> {
    match word {
        Deployments::List { target, limit } => list(desk, &target, limit).await,
        Deployments::Show { number } => show(desk, number).await,
        Deployments::Watch { number, timeout } => {
            let lines = if desk.screen.is_json() { Lines::Json } else { Lines::Result };
            // The log of a build that has ended is no news.
            let now = watch::get(&desk.client()?, number).await.ok().and_then(|detail| detail.deployment);
            let with_build =
                now.is_some_and(|d| matches!(Phase::named(&d.phase), Some(Phase::Queued | Phase::Building)));
            watch_it(desk, Follow { number, lines, timeout, with_build }).await
        }
        Deployments::Logs { number, follow, tail } => build_log::show(desk, number, follow, tail).await,
        Deployments::Why { instance } => why::why(desk, instance).await,
        Deployments::Timeline { number } => timeline_of(desk, number).await,
        Deployments::Metrics { number } => metrics::show(desk, number).await,
        Deployments::Redeploy(args) => redeploy::run(desk, args).await,
        Deployments::Cancel { number, consent } => cancel(desk, number, consent).await,
        Deployments::Pause { number } => direct(desk, number, Direction::Pause).await,
        Deployments::Resume { number } => direct(desk, number, Direction::Resume).await,
        Deployments::Promote { number, all } => direct(desk, number, Direction::Promote { all }).await,
        Deployments::Rollback { target, to, consent, waiting } => {
            rollback(desk, &target, to, consent, waiting).await
        }
    }
}

async fn list(desk: &mut Desk, target: &Target, limit: u32) -> Result<Code, Failure> {
    let request = ListDeploymentsRequest {
        project: desk.project_if_any(target)?.unwrap_or_default(),
        environment: target.environment.clone().unwrap_or_default(),
        limit,
    };
    let answer = desk
        .client()?
        .call(|mut api| {
            let request = request.clone();
            async move { api.list_deployments(request).await }
        })
        .await?;
    if desk.screen.is_json() {
        let all: Vec<_> = answer.deployments.iter().map(json::deployment).collect();
        desk.screen.object(&json!({ "deployments": all }))?;
        return Ok(Code::Live);
    }
    let mut table = Table::new([
        "ID",
        "PROJECT",
        "ENVIRONMENT",
        "KIND",
        "RELEASE",
        "PHASE",
        "BY",
        "CREATED",
        "TOOK",
        "SOURCE",
        "IMAGE",
    ]);
    for d in &answer.deployments {
        let created = timeline::date(d.created_ms, &desk.screen.look.zone);
        table.row([
            format!("#{}", d.number),
            d.project.clone(),
            d.environment.clone(),
            d.kind.clone(),
            format!("r{}", d.release),
            verdict::stands(d),
            d.by.clone(),
            created,
            text::duration(d.duration_ms),
            d.source.clone(),
            short_image(&d.image).to_owned(),
        ]);
    }
    desk.screen.say(&table.text())?;
    Ok(Code::Live)
}

async fn show(desk: &mut Desk, number: u64) -> Result<Code, Failure> {
    let detail = watch::get(&desk.client()?, number).await?;
    if desk.screen.is_json() {
        desk.screen.object(&json::detail(&detail))?;
        return Ok(Code::Live);
    }
    let d = detail.deployment.clone().unwrap_or_default();
    desk.screen.say(&verdict::text_of(&detail))?;
    desk.screen.say("")?;
    desk.screen.say(&facts(&d, &timeline::date(d.created_ms, &desk.screen.look.zone)))?;
    if !detail.instances.is_empty() {
        let mut table = Table::new(["INSTANCE", "PROCESS", "NODE", "RELEASE", "STATE", "LAST CHECK"]);
        for i in &detail.instances {
            let last = told::last(i).to_owned();
            let release = format!("r{}", i.release);
            table.row([i.id.clone(), i.process.clone(), i.node.clone(), release, i.state.clone(), last]);
        }
        desk.screen.say("")?;
        desk.screen.say(&table.text())?;
    }
    Ok(Code::Live)
}

fn facts(d: &Deployment, created: &str) -> String {
    let from = d.from_release.map_or("nothing".to_owned(), |release| format!("r{release}"));
    let target = if d.rollback_target { "yes" } else { "no" };
    let mut lines = vec![
        format!("  Created   {created} by {}", escape(&d.by)),
        format!("  Moves     {from} to r{}", d.release),
        format!("  Took      {}", text::duration(d.duration_ms)),
    ];
    for (name, value) in [("Paused by", &d.paused), ("Source", &d.source), ("Image", &d.image)] {
        if !value.is_empty() {
            lines.push(format!("  {name:<9} {}", escape(value)));
        }
    }
    lines.extend(d.covered.iter().map(|covered| format!("  Setting   {}", instead(covered))));
    lines.push(format!("  Can be rolled back to: {target}"));
    lines.join("\n")
}

/// As much of an image's identity as people need to tell images apart.
fn short_image(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..12).unwrap_or(digits)
}

async fn timeline_of(desk: &mut Desk, number: u64) -> Result<Code, Failure> {
    let detail = watch::get(&desk.client()?, number).await?;
    if desk.screen.is_json() {
        let events: Vec<_> = detail.events.iter().map(json::event).collect();
        desk.screen.object(&json!({ "deployment": number, "events": events }))?;
        return Ok(Code::Live);
    }
    let (zone, paint) = (desk.screen.look.zone.clone(), desk.screen.look.out);
    for event in &detail.events {
        desk.screen.say(&timeline::line(event, &zone, paint))?;
    }
    Ok(Code::Live)
}

async fn cancel(desk: &mut Desk, number: u64, consent: Consent) -> Result<Code, Failure> {
    let agreed = desk.settings.agreed(consent);
    let client = desk.client()?;
    desk.screen
        .confirm(&format!("Cancel deployment #{number} and go back to the release before it?"), agreed)?;
    let request = CancelRequest { deployment: number };
    let accepted = client.call(|mut api| async move { api.cancel(request).await }).await?;
    if desk.screen.is_json() {
        let number = accepted.deployment;
        desk.screen.object(&json!({ "deployment": number, "cancelling": !accepted.no_change }))?;
    } else if accepted.no_change {
        desk.screen.say(&format!("Deployment #{number} is being cancelled already, or has ended."))?;
    } else {
        desk.screen.say(&format!("Deployment #{number} is being cancelled."))?;
        desk.screen.note(&format!("Follow it with  temps deployments watch {number}"));
    }
    Ok(Code::Live)
}

/// How a deployment that is under way is directed.
#[derive(Clone, Copy, Debug)]
enum Direction {
    Pause,
    Resume,
    Promote { all: bool },
}

async fn direct(desk: &mut Desk, deployment: u64, direction: Direction) -> Result<Code, Failure> {
    let call = |mut api: Api| async move {
        match direction {
            Direction::Pause => api.pause(PauseRequest { deployment }).await,
            Direction::Resume => api.resume(ResumeRequest { deployment }).await,
            Direction::Promote { all } => api.promote(PromoteRequest { deployment, all }).await,
        }
    };
    let accepted = desk.client()?.call(call).await?;
    if desk.screen.is_json() {
        desk.screen.object(&json!({ "deployment": deployment, "no_change": accepted.no_change }))?;
        return Ok(Code::Live);
    }
    let said = match (direction, accepted.no_change) {
        (Direction::Pause, false) => "waits after its current step",
        (Direction::Pause, true) => "is paused already",
        (Direction::Resume, false) => "goes on",
        (Direction::Resume, true) => "is not paused",
        (Direction::Promote { all: false }, false) => "goes on to its next step",
        (Direction::Promote { all: true }, false) => "goes on without holding again",
        (Direction::Promote { .. }, true) => "holds nowhere",
    };
    desk.screen.say(&format!("Deployment #{deployment} {said}."))?;
    if let (Direction::Pause, false) = (direction, accepted.no_change) {
        desk.screen.note(&format!("Let it go on with  temps deployments resume {deployment}"));
    }
    Ok(Code::Live)
}

async fn rollback(
    desk: &mut Desk,
    target: &Target,
    to: Option<u64>,
    consent: Consent,
    waiting: Waiting,
) -> Result<Code, Failure> {
    let (project, environment) = (desk.project(target)?, desk.environment(target)?);
    let agreed = desk.settings.agreed(consent);
    let client = desk.client()?;
    let where_to = to.map_or("the release before the current one".to_owned(), |n| {
        format!("the release of deployment #{n}")
    });
    desk.screen.confirm(&format!("Roll {project} ({environment}) back to {where_to}?"), agreed)?;
    let request = RollbackRequest { project, environment, to };
    let accepted = client
        .call(|mut api| {
            let request = request.clone();
            async move { api.rollback(request).await }
        })
        .await?;
    if accepted.no_change {
        return no_change(desk, &accepted, &request.project, &request.environment);
    }
    wait(desk, &accepted, waiting).await
}

/// Nothing was started, as everything is so already.
pub(super) fn no_change(
    desk: &mut Desk,
    accepted: &Accepted,
    project: &str,
    environment: &str,
) -> Result<Code, Failure> {
    tell_covered(desk, &accepted.covered);
    if desk.screen.is_json() {
        let value = json!({
            "deployment": accepted.deployment, "project": project, "environment": environment, "no_change": true,
            "covered": json::covered(&accepted.covered),
        });
        desk.screen.object(&value)?;
    } else {
        desk.screen.say(&format!(
            "{project} ({environment}) runs this release already, since deployment #{}. Nothing was started.",
            accepted.deployment
        ))?;
    }
    Ok(Code::Live)
}

/// Waits for a deployment that was just accepted, or does not where that was asked for.
pub(super) async fn wait(desk: &mut Desk, accepted: &Accepted, waiting: Waiting) -> Result<Code, Failure> {
    let number = accepted.deployment;
    tell_covered(desk, &accepted.covered);
    if waiting.detach {
        if desk.screen.is_json() {
            let covered = json::covered(&accepted.covered);
            desk.screen.object(&json!({ "deployment": number, "detached": true, "covered": covered }))?;
        } else {
            desk.screen.say(&format!("Deployment #{number} accepted."))?;
            desk.screen.note(&format!("Follow it with  temps deployments watch {number}"));
        }
        return Ok(Code::Live);
    }
    desk.screen.note(&format!("Deployment #{number} accepted"));
    let lines = if waiting.watch && desk.screen.is_json() { Lines::Json } else { Lines::Progress };
    watch_it(desk, Follow { number, lines, timeout: waiting.timeout, with_build: true }).await
}

/// A line for each setting of the cluster that goes before what the file says.
pub(super) fn tell_covered(desk: &mut Desk, covered: &[CoveredSetting]) {
    for covered in covered {
        desk.screen.note(&instead(covered));
    }
}

fn instead(covered: &CoveredSetting) -> String {
    let CoveredSetting { key, value, file } = covered;
    let file = file.as_ref().map_or("nothing".to_owned(), |file| escape(file));
    format!("{} is {} (set in the cluster); temps.toml says {file}", escape(key), escape(value))
}

async fn watch_it(desk: &mut Desk, what: Follow) -> Result<Code, Failure> {
    let client = desk.client()?;
    let detail = follow(&client, &mut desk.screen, what, interrupted()).await?;
    conclude(desk, &detail, what.lines)
}

/// Prints how it ended, and maps it to the exit code.
fn conclude(desk: &mut Desk, detail: &DeploymentDetail, lines: Lines) -> Result<Code, Failure> {
    let deployment = detail.deployment.clone().unwrap_or_default();
    let code = Phase::named(&deployment.phase).and_then(Code::of_phase);
    match lines {
        // The events are the whole result; the last one says how it ended.
        Lines::Json => {}
        Lines::Progress if desk.screen.is_json() => desk.screen.object(&json::detail(detail))?,
        Lines::Result | Lines::Progress => {
            let said = verdict::text_of(detail);
            let (headline, rest) = said.split_at(said.find('\n').unwrap_or(said.len()));
            if code == Some(Code::Live) {
                desk.screen.say(&format!("{}{rest}", desk.screen.look.out.tone(Tone::Good, headline)))?;
            } else {
                // The reason of a failure is for people; the result is that there is none.
                desk.screen.note(&format!("{}{rest}", desk.screen.look.err.tone(Tone::Bad, headline)));
            }
        }
    }
    code.ok_or_else(|| {
        let phase = escape(&deployment.phase);
        Failure::other(format!("deployment #{} ended in the unknown phase \"{phase}\"", deployment.number))
    })
}
