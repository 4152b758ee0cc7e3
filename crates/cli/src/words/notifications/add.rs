//! Adding somebody who is told. Secrets come from files, or from the command line with a warning.

use std::path::{Path, PathBuf};

use serde_json::json;
use temps_core::model::Topic;
use temps_wire::client::Api;
use temps_wire::proto::add_notification_request::Receiver;
use temps_wire::proto::{AddNotificationRequest, EmailReceiver, SlackReceiver, WebhookReceiver};

use crate::exit::{Code, Failure};
use crate::json::text;
use crate::names;
use crate::screen::escape;
use crate::settings::Consent;
use crate::words::{Desk, Typed, domains};

pub(super) const HELP: &str = "Events: started, succeeded, rolled_back, failed, cancelled, node_lost, node_returned, node_drained, \
    node_removed, quorum_at_risk, certificate_failed, certificate_expiring, disk_low.\n\n\
    Other users of this machine can read its command lines: give secrets with --webhook-url-file, --smtp-pass-file and \
    --signing-secret-file, where - is stdin. Webhooks are signed as https://www.standardwebhooks.com says.\n\n\
    Examples:\n  \
    temps notifications add --type slack --name 'Deploy Alerts' --webhook-url-file url.txt --channel '#deploys'\n  \
    temps notifications add --type email --name 'Deploy Email' --smtp-host smtp.gmail.com --smtp-port 587 \
    --smtp-user user@gmail.com --smtp-pass-file - --from alerts@example.com --to team@example.com\n  \
    temps notifications add --type webhook --name pager --url https://example.com/hook --event rolled_back --event failed -p shop";

/// Arguments of `notifications add`.
#[derive(Clone, Debug, clap::Args)]
pub struct Add {
    /// How it is told
    #[arg(long = "type", value_enum)]
    kind: Kind,
    /// How it is called
    #[arg(long)]
    name: String,
    /// The URL of the webhook, which is a secret
    #[arg(long, visible_alias = "url", value_name = "URL", conflicts_with = "webhook_url_file")]
    webhook_url: Option<Typed>,
    /// A file with the URL, or - for stdin
    #[arg(long, visible_alias = "url-file", value_name = "FILE")]
    webhook_url_file: Option<PathBuf>,
    /// Slack: into which channel, where that is not left to the webhook
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// Webhook: the secret it is signed with; made and shown once where it is left out
    #[arg(long, value_name = "SECRET", conflicts_with = "signing_secret_file")]
    signing_secret: Option<Typed>,
    /// Webhook: a file with that secret, or - for stdin
    #[arg(long, value_name = "FILE")]
    signing_secret_file: Option<PathBuf>,
    /// Mail: the server that takes it
    #[arg(long, value_name = "HOST")]
    smtp_host: Option<String>,
    /// Mail: its port; 587, or 465 with --smtp-security tls
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    smtp_port: Option<u16>,
    /// Mail: as whom to log in there
    #[arg(long, value_name = "USER", requires = "password")]
    smtp_user: Option<String>,
    /// Mail: the password
    #[arg(long, value_name = "PASSWORD", group = "password", requires = "smtp_user")]
    smtp_pass: Option<Typed>,
    /// Mail: a file with the password, or - for stdin
    #[arg(long, value_name = "FILE", group = "password", requires = "smtp_user")]
    smtp_pass_file: Option<PathBuf>,
    /// Mail: how the connection is protected; tls at port 465, else starttls
    #[arg(long, value_enum)]
    smtp_security: Option<Security>,
    /// Mail: the address it comes from
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// Mail: an address it goes to; may be repeated
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    to: Vec<String>,
    /// Only what concerns this project; may be repeated
    #[arg(short, long, value_name = "NAME", value_delimiter = ',')]
    project: Vec<String>,
    /// Only this event; may be repeated
    #[arg(long, value_name = "EVENT", value_delimiter = ',')]
    event: Vec<String>,
    /// The receiver is in your own network: private addresses and http:// are allowed
    #[arg(long)]
    allow_private: bool,
    /// A file with the root certificate of the receiver in PEM, where that is no public one
    #[arg(long, value_name = "FILE")]
    root: Option<PathBuf>,
    #[command(flatten)]
    consent: Consent,
}

/// How somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// By an incoming webhook of Slack
    Slack,
    /// By mail
    Email,
    /// By signed JSON
    Webhook,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Slack => "slack",
            Kind::Email => "email",
            Kind::Webhook => "webhook",
        }
    }
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Security {
    /// It must turn to TLS before anything is said
    Starttls,
    /// TLS from the first byte
    Tls,
    /// Not at all: only with --allow-private, and without a password
    None,
}

pub(super) async fn run(desk: &mut Desk, args: Add) -> Result<Code, Failure> {
    fits(&args)?;
    // Nothing is asked, so whoever agrees beforehand agrees to nothing.
    let Consent { .. } = args.consent;
    for event in &args.event {
        if Topic::of(event).is_none() {
            let all: Vec<_> = Topic::ALL.iter().map(|topic| topic.word()).collect();
            return Err(Failure::usage(format!("there is no event {}", escape(event)))
                .help(format!("there are {}", all.join(", "))));
        }
    }
    for project in &args.project {
        names::check("project", project).map_err(Failure::usage)?;
    }
    let root = args.root.as_deref().map(|path| domains::pem(desk, path)).transpose()?.unwrap_or_default();
    let mut secrets = Secrets { desk, input_is_taken: false };
    let url = secrets.read("--webhook-url", args.webhook_url, args.webhook_url_file.as_deref())?;
    let signing =
        secrets.read("--signing-secret", args.signing_secret, args.signing_secret_file.as_deref())?;
    let password = secrets.read("--smtp-pass", args.smtp_pass, args.smtp_pass_file.as_deref())?;
    let receiver = match args.kind {
        Kind::Slack => Receiver::Slack(SlackReceiver {
            url: needed("--webhook-url", url)?,
            channel: args.channel.unwrap_or_default(),
        }),
        Kind::Webhook => Receiver::Webhook(WebhookReceiver {
            url: needed("--url", url)?,
            signing_secret: signing.unwrap_or_default(),
        }),
        Kind::Email => Receiver::Email(EmailReceiver {
            host: needed("--smtp-host", args.smtp_host)?,
            port: args.smtp_port.map(u32::from).unwrap_or_default(),
            security: match args.smtp_security {
                Some(Security::Starttls) => "starttls",
                Some(Security::Tls) => "tls",
                Some(Security::None) => "none",
                None => "",
            }
            .to_owned(),
            user: args.smtp_user.unwrap_or_default(),
            password: password.unwrap_or_default(),
            from: needed("--from", args.from)?,
            to: needed("--to", Some(args.to).filter(|to| !to.is_empty()))?,
        }),
    };
    let request = AddNotificationRequest {
        name: args.name,
        receiver: Some(receiver),
        projects: args.project,
        topics: args.event,
        allow_private: args.allow_private,
        root,
    };
    let call = |mut api: Api| {
        let request = request.clone();
        async move { api.add_notification(request).await }
    };
    let made = desk.client()?.call(call).await?.signing_secret;
    let name = &request.name;
    if desk.screen.is_json() {
        let value = json!({ "name": name, "type": args.kind.word(), "signing_secret": text(&made) });
        desk.screen.object(&value)?;
        return Ok(Code::Live);
    }
    desk.screen.note(&format!("{} is told what happens from now on.", escape(name)));
    if made.is_empty() {
        desk.screen.say(&escape(name))?;
    } else {
        desk.screen.note("This secret signs what it is told; it is shown only now.");
        desk.screen.say(&escape(&made))?;
    }
    desk.screen.note(&format!("Check that notices arrive: temps notifications test '{}'", escape(name)));
    Ok(Code::Live)
}

/// That nothing was given for another way of telling.
fn fits(args: &Add) -> Result<(), Failure> {
    let mail = [
        ("--smtp-host", args.smtp_host.is_some()),
        ("--smtp-port", args.smtp_port.is_some()),
        ("--smtp-user", args.smtp_user.is_some()),
        ("--smtp-security", args.smtp_security.is_some()),
        ("--from", args.from.is_some()),
        ("--to", !args.to.is_empty()),
    ];
    let web = [("--webhook-url", args.webhook_url.is_some() || args.webhook_url_file.is_some())];
    let signing = args.signing_secret.is_some() || args.signing_secret_file.is_some();
    let (slack, signed) = ([("--channel", args.channel.is_some())], [("--signing-secret", signing)]);
    let strange: Vec<&[(&str, bool)]> = match args.kind {
        Kind::Slack => vec![&mail, &signed],
        Kind::Email => vec![&web, &slack, &signed],
        Kind::Webhook => vec![&mail, &slack],
    };
    match strange.into_iter().flatten().find(|(_, given)| *given) {
        Some((flag, _)) => {
            Err(Failure::usage(format!("{flag} does not belong to --type {}", args.kind.word())))
        }
        None => Ok(()),
    }
}

fn needed<T>(flag: &str, given: Option<T>) -> Result<T, Failure> {
    given.ok_or_else(|| Failure::usage(format!("{flag} is missing")))
}

/// Where secrets come from.
struct Secrets<'a> {
    desk: &'a mut Desk,
    input_is_taken: bool,
}

impl Secrets<'_> {
    /// A secret as it was typed, or from a file or stdin, without the newline at its end.
    fn read(
        &mut self,
        flag: &str,
        typed: Option<Typed>,
        file: Option<&Path>,
    ) -> Result<Option<String>, Failure> {
        if let Some(Typed(secret)) = typed {
            let why = "others on this machine can read its command lines, and your shell may keep it";
            self.desk.screen.warn(&format!("{flag}: {why}; {flag}-file FILE is safer, or - for stdin"));
            return Ok(Some(secret));
        }
        let Some(file) = file else { return Ok(None) };
        let bytes = if file.as_os_str() == "-" {
            if std::mem::replace(&mut self.input_is_taken, true) {
                return Err(Failure::usage("only one secret can be read from stdin"));
            }
            self.desk.screen.read_input()?
        } else {
            let path = self.desk.here.join(file);
            std::fs::read(&path)
                .map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))?
        };
        let secret = String::from_utf8(bytes)
            .map_err(|_| Failure::usage(format!("what {flag}-file names is not text in UTF-8")))?;
        let secret = secret.trim_end_matches(['\r', '\n']);
        if secret.is_empty() {
            return Err(Failure::usage(format!("what {flag}-file names is empty")));
        }
        Ok(Some(secret.to_owned()))
    }
}
