//! Who is told what happens: Slack, mail, programs.

mod add;
mod show;

use temps_wire::client::Api;
use temps_wire::proto::{
    ListNotificationsRequest, RemoveNotificationRequest, TestNotificationRequest, TestNotificationResponse,
};

use serde_json::json;

use super::Desk;
use crate::exit::{Code, Failure};
use crate::json::text;
use crate::screen::escape;

/// Words behind `notifications`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Notifications {
    /// Have somebody told what happens from now on
    #[command(after_help = add::HELP)]
    Add(Box<add::Add>),
    /// List who is told what, and whether it arrives
    #[command(visible_alias = "ls")]
    List,
    /// Send one notice now, and say whether it arrived
    #[command(
        after_help = "Exit codes:\n  0  it arrived\n  1  it did not, or that is not known after 15 s\n\n\
        Example:\n  temps notifications test 'Deploy Alerts'"
    )]
    Test {
        /// Its name
        name: String,
    },
    /// Tell somebody nothing any more; what is on its way is dropped
    #[command(visible_alias = "remove", after_help = "Example:\n  temps notifications rm 'Deploy Alerts'")]
    Rm {
        /// Its name
        name: String,
    },
}

pub(super) async fn run(desk: &mut Desk, word: Notifications) -> Result<Code, Failure> {
    match word {
        Notifications::Add(args) => add::run(desk, *args).await,
        Notifications::List => list(desk).await,
        Notifications::Test { name } => test(desk, name).await,
        Notifications::Rm { name } => remove(desk, name).await,
    }
}

async fn list(desk: &mut Desk) -> Result<Code, Failure> {
    let request = ListNotificationsRequest {};
    let answer = desk.client()?.call(|mut api| async move { api.list_notifications(request).await }).await?;
    if desk.screen.is_json() {
        let all: Vec<_> = answer.notifications.iter().map(show::shape).collect();
        desk.screen.object(&json!({ "notifications": all }))?;
    } else {
        desk.screen.say(&show::table(&answer.notifications))?;
    }
    Ok(Code::Live)
}

async fn test(desk: &mut Desk, name: String) -> Result<Code, Failure> {
    let request = TestNotificationRequest { name };
    let call = |mut api: Api| {
        let request = request.clone();
        async move { api.test_notification(request).await }
    };
    let TestNotificationResponse { delivered, failure } = desk.client()?.call(call).await?;
    let name = request.name;
    if desk.screen.is_json() {
        let value = json!({ "name": name, "delivered": delivered, "failure": text(&failure) });
        desk.screen.object(&value)?;
    } else if delivered {
        desk.screen.say(&format!("A notice arrived at {}.", escape(&name)))?;
    } else {
        desk.screen.say(&format!("No notice arrived at {}: {}", escape(&name), escape(&failure)))?;
    }
    Ok(if delivered { Code::Live } else { Code::Other })
}

async fn remove(desk: &mut Desk, name: String) -> Result<Code, Failure> {
    let request = RemoveNotificationRequest { name };
    let call = |mut api: Api| {
        let request = request.clone();
        async move { api.remove_notification(request).await }
    };
    desk.client()?.call(call).await?;
    if desk.screen.is_json() {
        desk.screen.object(&json!({ "name": request.name, "removed": true }))?;
    } else {
        desk.screen.say(&format!("{} is told nothing any more.", escape(&request.name)))?;
    }
    Ok(Code::Live)
}
