//! Settings of an environment that are kept in the cluster, and what else is known of it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use temps_core::model::Setting;
use temps_wire::proto::{
    self, EnvironmentStatus, GetSettingsRequest, GetSettingsResponse, ListVariablesRequest,
    SetSettingsRequest, StatusRequest,
};

use super::super::Desk;
use crate::exit::{Code, Failure};
use crate::file;
use crate::json;
use crate::screen::{Table, escape};
use crate::settings::Target;

/// Arguments of `projects set`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  temps projects set my-app health.path=/api/health deploy.drain_timeout=10m\n  \
    temps projects set my-app -e staging --unset health.path\n\n\
    Keys and values are those of temps.toml. What is set here wins over temps.toml in every deployment\n\
    from then on, until it is unset. What runs stays as it is: the settings take effect with the next\n\
    deployment, or with  temps deployments redeploy ID.\n\n\
    `temps projects show` lists all keys."
)]
pub struct Set {
    /// The project; by default the one named in ./temps.toml
    #[arg(value_name = "PROJECT")]
    first: Option<String>,
    /// Settings and their values
    #[arg(value_name = "KEY=VALUE")]
    rest: Vec<String>,
    /// Let temps.toml decide again; may be given more than once
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
    #[command(flatten)]
    target: Target,
}

/// Arguments of `projects show`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  temps projects show my-app -e production")]
pub struct Show {
    /// The project; by default the one named in ./temps.toml
    #[arg(value_name = "PROJECT")]
    first: Option<String>,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn set(desk: &mut Desk, args: Set) -> Result<Code, Failure> {
    let Set { first, rest, unset, target } = args;
    // The project may be left out.
    let (project, first) = match first {
        Some(word) if word.contains('=') => (None, Some(word)),
        word => (word, None),
    };
    let mut wanted = BTreeMap::new();
    for pair in first.into_iter().chain(rest) {
        let (key, text) = pair
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("write KEY=VALUE, not \"{}\"", escape(&pair))))?;
        let setting = named(key)?;
        setting.parse(text).map_err(|why| Failure::usage(escape(&why)))?;
        if wanted.insert(key.to_owned(), text.to_owned()).is_some() {
            return Err(Failure::usage(format!("{key} is named twice")));
        }
    }
    for key in &unset {
        named(key)?;
    }
    if wanted.is_empty() && unset.is_empty() {
        return Err(Failure::usage("nothing to set")
            .help("write for example  temps projects set my-app health.path=/api/health"));
    }
    let (project, environment) = place(desk, project, target)?;
    let request = SetSettingsRequest { project, environment, set: wanted, unset };
    let answer = desk
        .client()?
        .call(|mut api| {
            let request = request.clone();
            async move { api.set_settings(request).await }
        })
        .await?;
    let SetSettingsRequest { project, environment, set, unset } = request;
    if desk.screen.is_json() {
        let value = json!({
            "project": project, "environment": environment, "set": set, "unset": unset,
            "no_change": answer.no_change, "deployment": answer.deployment,
        });
        desk.screen.object(&value)?;
        return Ok(Code::Live);
    }
    if answer.no_change {
        desk.screen.say(&format!("{project} ({environment}) has these settings already."))?;
    }
    let pairs: Vec<_> = set.iter().map(|(key, text)| format!("{key} = {}", escape(text))).collect();
    if !pairs.is_empty() && !answer.no_change {
        desk.screen.say(&format!("Set {} for {project} ({environment}).", pairs.join(", ")))?;
    }
    if !unset.is_empty() && !answer.no_change {
        let keys = unset.join(", ");
        desk.screen.say(&format!("Unset {keys} for {project} ({environment}): temps.toml decides again."))?;
    }
    if !answer.no_change {
        desk.screen.note(&effect(answer.deployment, &project, &environment));
    }
    Ok(Code::Live)
}

/// When a change takes effect.
fn effect(deployment: Option<u64>, project: &str, environment: &str) -> String {
    match deployment {
        Some(number) => format!(
            "What runs stays as it is, and ends as its release says. This takes effect with the next deployment, or \
             now with  temps deployments redeploy {number}"
        ),
        None => format!(
            "Nothing was deployed to {} ({}) yet; this takes effect with its first deployment.",
            escape(project),
            escape(environment)
        ),
    }
}

pub(super) async fn show(desk: &mut Desk, args: Show) -> Result<Code, Failure> {
    let (project, environment) = place(desk, args.first, args.target)?;
    let client = desk.client()?;
    let request = GetSettingsRequest { project: project.clone(), environment: environment.clone() };
    let settings = client.call(|mut api| {
        let request = request.clone();
        async move { api.get_settings(request).await }
    });
    let settings = settings.await?;
    let request = StatusRequest { project: project.clone(), environment: environment.clone() };
    let status = client.call(|mut api| {
        let request = request.clone();
        async move { api.status(request).await }
    });
    let status = status.await?.environments.into_iter().next().unwrap_or_default();
    let request =
        ListVariablesRequest { project: project.clone(), environment: environment.clone(), values: false };
    let variables = client.call(|mut api| {
        let request = request.clone();
        async move { api.list_variables(request).await }
    });
    let variables: Vec<String> = variables.await?.variables.into_keys().collect();
    if desk.screen.is_json() {
        let mut value = json::environment(&status);
        value["project"] = json!(project);
        value["environment"] = json!(environment);
        value["release"] = json!(settings.release);
        value["deployment"] = json!(settings.deployment);
        value["variables"] = json!(variables);
        value["settings"] = settings.settings.iter().map(object).collect();
        value["pending"] = json!(settings.pending);
        desk.screen.object(&value)?;
        return Ok(Code::Live);
    }
    desk.screen.say(&format!("{project} ({environment})\n{}", facts(&settings, &status, &variables)))?;
    desk.screen.say(&format!("\n{}", table(&settings.settings)))?;
    if settings.pending {
        desk.screen.note(&effect(settings.deployment, &project, &environment));
    }
    Ok(Code::Live)
}

fn facts(settings: &GetSettingsResponse, status: &EnvironmentStatus, variables: &[String]) -> String {
    let release = match (settings.release, settings.deployment) {
        (Some(release), Some(number)) => format!("r{release}, since deployment #{number}"),
        (Some(release), None) => format!("r{release}"),
        (None, _) => "none yet".to_owned(),
    };
    let scale: Vec<_> = status.processes.iter().map(|p| format!("{}={}", p.name, p.wanted)).collect();
    let lines = [
        ("Release", release),
        ("Hosts", status.hosts.join(", ")),
        ("Scale", scale.join(" ")),
        ("Variables", variables.join(", ")),
    ];
    let shown = lines.iter().filter(|(_, value)| !value.is_empty());
    shown.map(|(name, value)| format!("  {name:<10} {}", escape(value))).collect::<Vec<_>>().join("\n")
}

/// What the next deployment has, who says so, and what stands against it.
fn table(settings: &[proto::Setting]) -> String {
    let mut table = Table::new(["SETTING", "VALUE", "FROM", "RUNS WITH", "TEMPS.TOML SAYS"]);
    for s in settings {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        // Where no setting of the cluster covers it yet, what runs is what the file says.
        let file = s.file.clone().or_else(|| s.running.clone());
        let file = file.filter(|_| s.value.is_some()).unwrap_or_default();
        table.row([s.key.clone(), shown(&s.next), s.origin.clone(), shown(&s.running), file]);
    }
    table.text()
}

fn object(s: &proto::Setting) -> Value {
    json!({
        "key": s.key,
        "value": s.value,
        "running": s.running,
        "file": s.file,
        "default": s.default_value,
        "next": s.next,
        "origin": s.origin,
        "description": s.description,
    })
}

/// The project and environment that are meant.
fn place(desk: &Desk, first: Option<String>, target: Target) -> Result<(String, String), Failure> {
    let project = match (first, target.project) {
        (Some(first), Some(flag)) if first != flag => {
            return Err(Failure::usage(format!(
                "\"{}\" and -p {} both name a project",
                escape(&first),
                escape(&flag)
            )));
        }
        (first, flag) => first.or(flag),
    };
    let target = Target { project, ..target };
    Ok((desk.project(&target)?, desk.environment(&target)?))
}

/// The setting of this key, or what was probably meant.
fn named(key: &str) -> Result<Setting, Failure> {
    if let Some(setting) = Setting::named(key) {
        return Ok(setting);
    }
    let failure = Failure::usage(format!("there is no setting \"{}\"", escape(key)));
    let keys = || Setting::ALL.iter().map(|setting| setting.key());
    let in_section = keys().find(|known| known.rsplit('.').next() == Some(key));
    Err(match in_section.or_else(|| file::nearest(key, keys())) {
        Some(near) => failure.help(format!("did you mean `{near}`?")),
        None => failure.help(format!("there are: {}", keys().collect::<Vec<_>>().join(", "))),
    })
}
