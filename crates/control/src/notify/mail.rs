//! One mail, handed to a mail server.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use temps_core::model::{MailSecurity, Millis};

use super::Unsent;
use super::address::{self, Names};
use super::message::Message;

/// How long one answer of the server may take.
const ANSWER: Duration = Duration::from_secs(9);

/// Who takes mail from whom to whom.
pub(super) struct Route<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) security: MailSecurity,
    pub(super) login: Option<(&'a str, &'a str)>,
    pub(super) from: &'a str,
    pub(super) to: &'a [String],
    /// A root certificate in PEM beside the public ones.
    pub(super) root: Option<&'a str>,
    pub(super) allow_private: bool,
    pub(super) names: &'a dyn Names,
}

pub(super) async fn send(route: Route<'_>, message: &Message<'_>) -> Result<(), Unsent> {
    let mail = mail(&route, message).map_err(Unsent::of)?;
    let found = address::find(route.names, route.host, route.port, route.allow_private).await;
    let addresses = found.map_err(Unsent::of)?;
    let mut failure = Unsent::of("the mail server has no address");
    for address in addresses {
        let server = server(&route, address).map_err(Unsent::of)?;
        match server.send(mail.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) => {
                failure = Unsent::of(told(route.host, &error));
                // Another address is the same server, which has answered.
                if error.is_response() || error.is_transient() || error.is_permanent() || error.is_tls() {
                    break;
                }
            }
        }
    }
    Err(failure)
}

/// The connection goes to an address that was checked; the certificate must be for the name.
fn server(route: &Route<'_>, address: SocketAddr) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let parameters = || {
        let mut parameters = TlsParameters::builder(route.host.to_owned());
        if let Some(root) = route.root {
            let root = Certificate::from_pem(root.as_bytes());
            parameters =
                parameters.add_root_certificate(root.map_err(|_| "the root certificate is damaged")?);
        }
        parameters.build_rustls().map_err(|why| why.to_string())
    };
    let tls = match route.security {
        MailSecurity::Starttls => Tls::Required(parameters()?),
        MailSecurity::Tls => Tls::Wrapper(parameters()?),
        MailSecurity::None => Tls::None,
    };
    let server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.ip().to_string());
    let mut server = server.port(address.port()).tls(tls).timeout(Some(ANSWER));
    if let Some((user, password)) = route.login {
        server = server.credentials(Credentials::new(user.to_owned(), password.to_owned()));
    }
    Ok(server.build())
}

fn mail(route: &Route<'_>, message: &Message<'_>) -> Result<lettre::Message, String> {
    let address =
        |text: &str| text.parse::<Mailbox>().map_err(|why| format!("{text:?} is no address: {why}"));
    let from = address(route.from)?;
    let id = format!("<{}@{}>", message.id, from.email.domain());
    let mut mail = lettre::Message::builder()
        .from(from)
        .subject(message.subject())
        .message_id(Some(id))
        .date(at(message.notice.wall))
        // So that nobody's absence is answered (RFC 3834).
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ))
        .header(ContentType::TEXT_PLAIN);
    for to in route.to {
        mail = mail.to(address(to)?);
    }
    mail.body(message.mail()).map_err(|why| why.to_string())
}

fn at(wall: Millis) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(wall)).unwrap_or_else(SystemTime::now)
}

/// As the server tells it, on one line.
fn told(host: &str, error: &Error) -> String {
    let text: String = error.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    // The library says it of the connection and of what is below it.
    let text = text.replace("Connection error: Connection error: ", "Connection error: ");
    format!("mail server {host}: {text}")
}
