//! How many instances run.

use std::collections::BTreeMap;

use serde_json::json;
use temps_wire::proto::ScaleRequest;

use super::Desk;
use crate::exit::{Code, Failure};
use crate::names;
use crate::settings::Target;

/// Arguments of `scale`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  temps scale web=3 worker=1 -p my-app\n\n\
    The number stays until it is changed again, whatever temps.toml says.")]
pub struct Scale {
    /// Processes and how many instances of each are to run
    #[arg(required = true, value_name = "PROCESS=N", value_parser = wanted)]
    wanted: Vec<(String, u32)>,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn run(desk: &mut Desk, args: Scale) -> Result<Code, Failure> {
    let mut instances = BTreeMap::new();
    for (process, n) in &args.wanted {
        if instances.insert(process.clone(), *n).is_some() {
            return Err(Failure::usage(format!("{process} is named twice")));
        }
    }
    let request = ScaleRequest {
        project: desk.project(&args.target)?,
        environment: desk.environment(&args.target)?,
        instances,
    };
    desk.client()?
        .call(|mut api| {
            let request = request.clone();
            async move { api.scale(request).await }
        })
        .await?;
    let ScaleRequest { project, environment, instances } = request;
    if desk.screen.is_json() {
        desk.screen
            .object(&json!({ "project": project, "environment": environment, "instances": instances }))?;
    } else {
        let list: Vec<String> = args.wanted.iter().map(|(process, n)| format!("{process}={n}")).collect();
        desk.screen.say(&format!("{project} ({environment}) is to run {}.", list.join(" ")))?;
    }
    Ok(Code::Live)
}

fn wanted(text: &str) -> Result<(String, u32), String> {
    let (process, n) = text.split_once('=').ok_or("write PROCESS=N, for example web=3")?;
    names::check("process", process)?;
    let n = n
        .parse()
        .ok()
        .filter(|n| (1..=1_000).contains(n))
        .ok_or("the number of instances is from 1 to 1000")?;
    Ok((process.to_owned(), n))
}

#[cfg(test)]
mod tests {
    use super::wanted;

    #[test]
    fn numbers_of_instances() {
        assert_eq!(wanted("web=3"), Ok(("web".to_owned(), 3)));
        for text in ["web", "=3", "web=", "web=0", "web=-1", "web=1001", "web=x", "Web=1"] {
            assert!(wanted(text).is_err(), "{text}");
        }
    }
}
