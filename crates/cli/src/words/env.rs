//! Environment variables. Values pass byte for byte: nothing is expanded, unquoted or trimmed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;
use temps_wire::proto::{ListVariablesRequest, SetVariablesRequest};

use super::{Desk, Typed};
use crate::exit::{Code, Failure};
use crate::names;
use crate::screen::escape;
use crate::settings::Target;

/// Words behind `env`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Env {
    /// Set variables for the next deployment
    #[command(
        after_help = "Examples:\n  temps env set LOG_LEVEL=debug GREETING='say \"$HOME\"'\n  temps env set TLS_KEY=- < key.pem\n\n\
        A value is taken byte for byte: no expansion, no unquoting, no trimming.\n\
        KEY=- takes all of stdin, with the newline at its end if there is one.\n\
        The value `-` itself can only be set from a file, with `temps env import`."
    )]
    Set {
        /// Names and values
        #[arg(required = true, value_name = "KEY=VALUE")]
        pairs: Vec<Typed>,
        #[command(flatten)]
        target: Target,
    },
    /// List the names of variables
    #[command(visible_alias = "ls")]
    List {
        /// Show the values too
        #[arg(long)]
        show: bool,
        #[command(flatten)]
        target: Target,
    },
    /// Remove variables for the next deployment
    #[command(visible_alias = "unset")]
    Rm {
        /// Their names
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
        #[command(flatten)]
        target: Target,
    },
    /// Set variables from a file with one KEY=VALUE on each line
    #[command(
        after_help = "Everything behind the first `=` up to the end of the line is the value, byte for byte:\n\
        quotes, spaces, `#`, `$` and a carriage return belong to it.\n\
        Empty lines and lines that begin with `#` are skipped.\n\
        A value with line breaks cannot be written so; use `temps env set KEY=- < FILE`."
    )]
    Import {
        /// The file, or - for stdin
        file: PathBuf,
        #[command(flatten)]
        target: Target,
    },
}

pub(super) async fn run(desk: &mut Desk, word: Env) -> Result<Code, Failure> {
    match word {
        Env::Set { pairs, target } => {
            let set = typed(desk, pairs)?;
            change(desk, &target, set, Vec::new()).await
        }
        Env::List { show, target } => list(desk, &target, show).await,
        Env::Rm { keys, target } => {
            for key in &keys {
                names::variable(key).map_err(Failure::usage)?;
            }
            change(desk, &target, BTreeMap::new(), keys).await
        }
        Env::Import { file, target } => {
            let bytes = if file.as_os_str() == "-" {
                desk.screen.read_input()?
            } else {
                let path = desk.here.join(&file);
                std::fs::read(&path)
                    .map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))?
            };
            let set = imported(bytes).map_err(|e| Failure::usage(format!("{}{e}", file.display())))?;
            change(desk, &target, set, Vec::new()).await
        }
    }
}

/// What was typed, with `-` replaced by what stdin holds.
fn typed(desk: &mut Desk, pairs: Vec<Typed>) -> Result<BTreeMap<String, String>, Failure> {
    let mut set = BTreeMap::new();
    let mut input_is_taken = false;
    for Typed(text) in pairs {
        let (key, value) =
            text.split_once('=').ok_or_else(|| Failure::usage("write KEY=VALUE for each variable"))?;
        let mut value = value.to_owned();
        if value == "-" {
            if std::mem::replace(&mut input_is_taken, true) {
                return Err(Failure::usage("only one variable can be read from stdin"));
            }
            value = String::from_utf8(desk.screen.read_input()?)
                .map_err(|_| Failure::usage(format!("the value of {} is not text in UTF-8", escape(key))))?;
        }
        check(key, &value).map_err(Failure::usage)?;
        if set.insert(key.to_owned(), value).is_some() {
            return Err(Failure::usage(format!("{key} is named twice")));
        }
    }
    Ok(set)
}

/// What is wrong with a variable, without its value.
fn check(key: &str, value: &str) -> Result<(), String> {
    names::variable(key).map_err(|why| escape(&why))?;
    if value.contains('\0') {
        return Err(format!("the value of {key} contains a NUL byte, which no environment can hold"));
    }
    Ok(())
}

/// The lines of a file. An error names its line and never shows a value.
fn imported(bytes: Vec<u8>) -> Result<BTreeMap<String, String>, String> {
    let text = String::from_utf8(bytes).map_err(|_| " is not text in UTF-8".to_owned())?;
    let mut set = BTreeMap::new();
    for (at, line) in text.split('\n').enumerate() {
        if line.is_empty() || line == "\r" || line.starts_with('#') {
            continue;
        }
        let number = at + 1;
        let Some((key, value)) = line.split_once('=') else {
            return Err(format!(":{number}: a line is KEY=VALUE"));
        };
        check(key, value).map_err(|why| format!(":{number}: {why}"))?;
        if set.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(format!(":{number}: {key} is there twice"));
        }
    }
    if set.is_empty() { Err(" has no variables".to_owned()) } else { Ok(set) }
}

async fn change(
    desk: &mut Desk,
    target: &Target,
    set: BTreeMap<String, String>,
    remove: Vec<String>,
) -> Result<Code, Failure> {
    let names: Vec<String> = set.keys().cloned().collect();
    let request = SetVariablesRequest {
        project: desk.project(target)?,
        environment: desk.environment(target)?,
        set,
        remove,
    };
    desk.client()?
        .call(|mut api| {
            let request = request.clone();
            async move { api.set_variables(request).await }
        })
        .await?;
    let SetVariablesRequest { project, environment, remove, .. } = request;
    if desk.screen.is_json() {
        let value =
            json!({ "project": project, "environment": environment, "set": names, "removed": remove });
        desk.screen.object(&value)?;
        return Ok(Code::Live);
    }
    if !names.is_empty() {
        desk.screen.say(&format!("Set {} for {project} ({environment}).", names.join(", ")))?;
    }
    if !remove.is_empty() {
        desk.screen.say(&format!("Removed {} from {project} ({environment}).", remove.join(", ")))?;
    }
    desk.screen.note("It takes effect with the next deployment.");
    Ok(Code::Live)
}

async fn list(desk: &mut Desk, target: &Target, values: bool) -> Result<Code, Failure> {
    let request = ListVariablesRequest {
        project: desk.project(target)?,
        environment: desk.environment(target)?,
        values,
    };
    let answer = desk
        .client()?
        .call(|mut api| {
            let request = request.clone();
            async move { api.list_variables(request).await }
        })
        .await?;
    if desk.screen.is_json() {
        let value = match values {
            true => json!({ "variables": answer.variables }),
            false => json!({ "names": answer.variables.keys().collect::<Vec<_>>() }),
        };
        desk.screen.object(&value)?;
        return Ok(Code::Live);
    }
    for (name, value) in &answer.variables {
        let line = if values { format!("{name}={value}") } else { name.clone() };
        let line = if desk.screen.look.terminals.stdout { escape(&line) } else { line };
        desk.screen.say(&line)?;
    }
    Ok(Code::Live)
}

#[cfg(test)]
mod tests {
    use super::{check, imported};

    #[test]
    fn values_are_taken_byte_for_byte() {
        for value in [
            "a\"b'c",
            "$HOME $$ ${X}",
            "`id`",
            "back\\slash\\n",
            " both ends ",
            "#x",
            "a=b=c",
            "",
            "🦀",
            "x\r",
        ] {
            let file = imported(format!("# c\n\nKEY={value}\nLAST=1").into_bytes()).unwrap();
            assert_eq!((file["KEY"].as_str(), file["LAST"].as_str()), (value, "1"));
        }
        let long = "x".repeat(65_536);
        assert_eq!(imported(format!("A={long}").into_bytes()).unwrap()["A"], long);
    }

    #[test]
    fn what_cannot_be_set_is_refused_without_showing_it() {
        for (text, message) in [
            ("A=1\nB secret\n", ":2: a line is KEY=VALUE"),
            (
                "9A=secret\n",
                ":1: the variable name \"9A\" must be letters, digits and `_`, and not start with a digit",
            ),
            ("A=sec\0ret\n", ":1: the value of A contains a NUL byte, which no environment can hold"),
            ("A=1\n\nA=secret\n", ":3: A is there twice"),
            ("# nothing\n\n", " has no variables"),
        ] {
            assert_eq!(imported(text.as_bytes().to_vec()).unwrap_err(), message);
        }
        assert_eq!(imported(b"A=\xff".to_vec()).unwrap_err(), " is not text in UTF-8");
        for (key, value) in [("", "x"), ("A-B", "x"), ("A\x1b", "x"), ("A", "\0")] {
            let why = check(key, value).unwrap_err();
            assert!(!why.contains(char::is_control), "{why}");
        }
    }
}
