//! The settings of this command.

use serde_json::{Value, json};

use super::Desk;
use crate::exit::{Code, Failure};
use crate::file;
use crate::screen::{ColourChoice, Table};
use crate::settings::Setting;

/// Words behind `config`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Config {
    /// Show the settings that commands run here use
    Show {
        /// Show where each comes from
        #[arg(long)]
        origin: bool,
    },
}

struct Row {
    name: &'static str,
    value: String,
    origin: String,
}

impl Row {
    fn of<T>(name: &'static str, setting: Setting<T>, show: impl FnOnce(T) -> String) -> Self {
        Self { name, value: show(setting.value), origin: setting.origin.to_string() }
    }
}

pub(super) fn run(desk: &mut Desk, word: Config) -> Result<Code, Failure> {
    let Config::Show { origin } = word;
    let rows = rows(desk)?;
    if desk.screen.is_json() {
        let entry = |row: &Row| (row.name.to_owned(), json!({ "value": row.value, "origin": row.origin }));
        let all: serde_json::Map<String, Value> = rows.iter().map(entry).collect();
        desk.screen.object(&all)?;
        return Ok(Code::Live);
    }
    let text = if origin {
        let mut table = Table::new(["SETTING", "VALUE", "FROM"]);
        for row in rows {
            table.row([row.name.to_owned(), row.value, row.origin]);
        }
        table.text()
    } else {
        let mut table = Table::new(["SETTING", "VALUE"]);
        for row in rows {
            table.row([row.name.to_owned(), row.value]);
        }
        table.text()
    };
    desk.screen.say(&text)?;
    Ok(Code::Live)
}

fn rows(desk: &Desk) -> Result<Vec<Row>, Failure> {
    let settings = &desk.settings;
    let path = desk.here.join(file::NAME);
    let named = file::project_name(&path).map(|name| (name, path));
    let unset = |name| Row { name, value: "-".to_owned(), origin: "not set".to_owned() };
    let color = |choice| match choice {
        ColourChoice::Auto => "auto".to_owned(),
        ColourChoice::Always => "always".to_owned(),
        ColourChoice::Never => "never".to_owned(),
    };
    let endpoints = settings.endpoints();
    Ok(vec![
        Row::of("context", settings.context(), |name| name),
        if endpoints.value.is_empty() {
            unset("endpoints")
        } else {
            Row::of("endpoints", endpoints, |e| e.join(", "))
        },
        settings.token()?.map_or(unset("token"), |token| Row::of("token", token, |_| "***".to_owned())),
        settings
            .project(None, named)
            .map_or(unset("project"), |project| Row::of("project", project, |name| name)),
        Row::of("environment", settings.environment(None), |name| name),
        Row::of("color", settings.color(), color),
        Row::of("utc", settings.utc(), |utc| utc.to_string()),
    ])
}
