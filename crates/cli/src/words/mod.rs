//! One file for each word that a user types.

mod audit;
mod build_log;
mod cluster;
mod config;
mod context;
mod deploy;
mod deployments;
mod domains;
mod env;
mod grant;
mod history;
mod login;
mod logs;
mod maintenance;
mod metrics;
mod nodes;
mod notifications;
mod people;
mod projects;
mod scale;
mod status;
#[cfg(test)]
mod tests;
mod tokens;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use jiff::tz::TimeZone;
use temps_wire::client::Client;

use crate::exit::{Code, Failure};
use crate::screen::{Form, Look, Screen, Tone};
use crate::settings::{Globals, Settings, Target, Variables};
use crate::{file, names, reach};

/// What a user can ask a cluster for.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Words {
    /// Log in to a cluster
    Login(login::Login),
    /// Forget the token of a cluster
    Logout(login::Logout),
    /// Show who you are and which node answers
    Whoami,
    /// List clusters, and choose between them
    #[command(subcommand)]
    Context(context::Context),
    /// Deploy a directory or an image without downtime
    Deploy(deploy::Deploy),
    /// Look at deployments, watch, cancel, or roll back
    #[command(subcommand, visible_alias = "deployment")]
    Deployments(deployments::Deployments),
    /// Create and list projects, and set how they are deployed
    #[command(subcommand, visible_alias = "project")]
    Projects(projects::Projects),
    /// Show what runs and where
    Status(status::Status),
    /// Show what applications print
    Logs(logs::Logs),
    /// Show what clients got and releases did over time
    Metrics(history::Metrics),
    /// Change how many instances run
    Scale(scale::Scale),
    /// Set, list and remove environment variables
    #[command(subcommand)]
    Env(env::Env),
    /// Answer all requests of an application with 503 and a page, and not by it
    #[command(subcommand)]
    Maintenance(maintenance::Maintenance),
    /// Give applications names, and certificates for them
    #[command(subcommand, visible_alias = "domain")]
    Domains(domains::Domains),
    /// Have people and programs told what happens
    #[command(subcommand, visible_alias = "notification")]
    Notifications(notifications::Notifications),
    /// Look at the machines of the cluster
    #[command(subcommand, visible_alias = "node")]
    Nodes(nodes::Nodes),
    /// Look at the cluster itself, and let machines join
    #[command(subcommand)]
    Cluster(cluster::Cluster),
    /// Create, list and revoke tokens for people and programs
    #[command(subcommand, visible_alias = "token")]
    Tokens(tokens::Tokens),
    /// Add people who sign in with a password, and say what they may do
    #[command(subcommand, visible_alias = "person")]
    People(people::People),
    /// Show who changed what
    Audit(audit::Audit),
    /// Show the settings of this command
    #[command(subcommand)]
    Config(config::Config),
    /// Print completions for a shell
    #[command(
        after_help = "Example:\n  temps completions bash > ~/.local/share/bash-completion/completions/temps"
    )]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Does what was asked. `root` is the whole command line with the subcommands of the binary, for completions.
pub async fn run(words: Words, globals: Globals, root: clap::Command) -> ExitCode {
    let (mut screen, result) = match open(globals) {
        Ok(mut desk) => {
            let result = desk.answer(words, root).await;
            (desk.screen, result)
        }
        Err(failure) => (Screen::of_process(Look::default()), Err(failure)),
    };
    finish(&mut screen, result).into()
}

/// Says why a command failed, if it did.
fn finish(screen: &mut Screen, result: Result<Code, Failure>) -> Code {
    match result {
        Ok(code) => code,
        Err(failure) => {
            if !failure.message.is_empty() {
                let word = match failure.code {
                    Code::Interrupted | Code::TimedOut => String::new(),
                    _ => format!("{} ", screen.look.err.tone(Tone::Bad, "error:")),
                };
                screen.note(&format!("{word}{failure}"));
            }
            failure.code
        }
    }
}

fn open(globals: Globals) -> Result<Desk, Failure> {
    let settings = Settings::load(globals, Variables::of_process())?;
    let zone = if settings.utc().value { TimeZone::UTC } else { TimeZone::system() };
    let form = if settings.globals.json { Form::Json } else { Form::Text };
    let look = Look::of_process(settings.color().value, form, zone, |name| settings.variables.get(name));
    Ok(Desk { settings, screen: Screen::of_process(look), here: PathBuf::new() })
}

/// What every word works with.
pub(crate) struct Desk {
    pub(crate) settings: Settings,
    pub(crate) screen: Screen,
    /// The working directory; empty for that of the process.
    pub(crate) here: PathBuf,
}

impl Desk {
    pub(crate) async fn answer(&mut self, words: Words, root: clap::Command) -> Result<Code, Failure> {
        match words {
            Words::Login(args) => login::login(self, args).await,
            Words::Logout(args) => login::logout(self, args),
            Words::Whoami => login::whoami(self).await,
            Words::Context(args) => context::run(self, args),
            Words::Deploy(args) => deploy::run(self, args).await,
            Words::Deployments(args) => deployments::run(self, args).await,
            Words::Projects(args) => projects::run(self, args).await,
            Words::Status(args) => status::run(self, args).await,
            Words::Logs(args) => logs::run(self, args).await,
            Words::Metrics(args) => history::run(self, args).await,
            Words::Scale(args) => scale::run(self, args).await,
            Words::Env(args) => env::run(self, args).await,
            Words::Maintenance(args) => maintenance::run(self, args).await,
            Words::Domains(args) => domains::run(self, args).await,
            Words::Notifications(args) => notifications::run(self, args).await,
            Words::Nodes(args) => nodes::run(self, args).await,
            Words::Cluster(args) => cluster::run(self, args).await,
            Words::Tokens(args) => tokens::run(self, args).await,
            Words::People(args) => people::run(self, args).await,
            Words::Audit(args) => audit::run(self, args).await,
            Words::Config(args) => config::run(self, args),
            Words::Completions { shell } => self.completions(shell, root),
        }
    }

    fn client(&self) -> Result<Client, Failure> {
        reach::client(&self.settings)
    }

    /// The project that is meant, where one is.
    fn project_if_any(&self, target: &Target) -> Result<Option<String>, Failure> {
        let path = self.here.join(file::NAME);
        let named = file::project_name(&path).map(|name| (name, path));
        let project = self.settings.project(target.project.as_deref(), named).map(|project| project.value);
        if let Some(name) = &project {
            names::check("project", name).map_err(Failure::usage)?;
        }
        Ok(project)
    }

    fn project(&self, target: &Target) -> Result<String, Failure> {
        self.project_if_any(target)?.ok_or_else(no_project)
    }

    fn environment(&self, target: &Target) -> Result<String, Failure> {
        let name = self.settings.environment(target.environment.as_deref()).value;
        names::check("environment", &name).map_err(Failure::usage)?;
        Ok(name)
    }

    fn completions(&mut self, shell: clap_complete::Shell, mut root: clap::Command) -> Result<Code, Failure> {
        let name = root.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut root, name, &mut script);
        self.screen.raw(&script)?;
        Ok(Code::Live)
    }
}

fn no_project() -> Failure {
    Failure::usage("which project?")
        .help("name it with -p NAME, or run this in a directory with a temps.toml")
}

/// Something that was typed and may be a secret: neither we nor the parser of the command line ever
/// print it, as it has no wrong form.
#[derive(Clone)]
pub struct Typed(String);

impl std::fmt::Debug for Typed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl From<String> for Typed {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// A number of a deployment as it is typed: `42` or `#42`.
fn deployment_number(text: &str) -> Result<u64, String> {
    text.strip_prefix('#')
        .unwrap_or(text)
        .parse()
        .map_err(|_| "a deployment is a number such as 42".to_owned())
}

/// A duration as it is typed.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    file::parse_duration(text).map(std::time::Duration::from_millis).map_err(|e| e.to_string())
}
