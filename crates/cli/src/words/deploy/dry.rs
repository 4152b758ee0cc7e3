//! `--dry-run`: what would be deployed. The cluster is asked where that is possible, and nothing changes.

use serde_json::{Value, json};
use temps_core::model::{NodeId, Source};

use super::choice::{self, Making, Runs};
use super::{Desk, Job, image, preview, send};
use crate::detect::Detected;
use crate::exit::{Code, Failure};
use crate::file::Shown;
use crate::screen::escape;
use crate::words::deployments::tell_covered;

pub(super) async fn run(desk: &mut Desk, job: &Job) -> Result<Code, Failure> {
    let what = match &job.image {
        Some(reference) => named(desk, reference).await?,
        None => directory(desk, job).await?,
    };
    let plan = match &what.source {
        Some(source) => preview::ask(desk, job, source).await.map(Some),
        None => Ok(None),
    };
    let plan = match plan {
        Ok(plan) => plan,
        // What would be refused is told as the deployment itself would be.
        Err(failure) if matches!(failure.code, Code::Usage | Code::Conflict | Code::Other) => {
            return Err(failure);
        }
        Err(failure) => {
            desk.screen.warn(&format!("what the cluster would do is not known: {}", failure.message));
            None
        }
    };
    tell_covered(desk, plan.as_ref().map_or(&[], |plan| plan.covered.as_slice()));
    let shown = Shown::of(&job.project, &job.file);
    if desk.screen.is_json() {
        let mut object = json!({ "environment": job.environment, "spec": shown });
        object[what.key] = what.object;
        object["plan"] = json!(plan.as_ref().map(preview::object));
        desk.screen.object(&object)?;
    } else {
        let spec = toml::to_string(&shown).map_err(Failure::other)?;
        desk.screen.say(&format!(
            "# environment: {}\n# {}: {}\n\n{}",
            job.environment,
            what.key,
            what.line,
            spec.trim_end()
        ))?;
        if let Some(dockerfile) = &what.dockerfile {
            let lines: Vec<String> = dockerfile.lines().map(escape).collect();
            desk.screen.say(&format!("\n# --- the Dockerfile that was written ---\n{}", lines.join("\n")))?;
        }
        if let Some(plan) = &plan {
            let lines: Vec<String> = preview::text_of(plan).lines().map(|line| format!("# {line}")).collect();
            desk.screen.say(&format!("\n# --- what the cluster would do ---\n{}", lines.join("\n")))?;
        }
    }
    desk.screen.note("This is what would be deployed; nothing was changed.");
    Ok(Code::Live)
}

/// What would run.
struct What {
    /// `bundle`, `source` or `image`.
    key: &'static str,
    object: Value,
    line: String,
    dockerfile: Option<String>,
    /// As the cluster would be told; unknown where it does not answer.
    source: Option<Source>,
}

async fn named(desk: &mut Desk, reference: &str) -> Result<What, Failure> {
    let asked = match desk.client() {
        Ok(client) => image::ask(&client, reference).await,
        Err(failure) => Err(failure),
    };
    let mut source = None;
    let (object, line) = match asked {
        Ok(answer) => {
            if !answer.warning.is_empty() {
                desk.screen.warn(&escape(&answer.warning));
            }
            let (id, node) = (answer.id.clone(), NodeId(answer.node));
            source = Some(Source::Image { reference: reference.to_owned(), id, node });
            let object = json!({ "reference": reference, "id": answer.id, "node": answer.node_name });
            (object, format!("{reference} is {} on {}", escape(&answer.id), escape(&answer.node_name)))
        }
        Err(failure) if failure.code == Code::Usage => return Err(failure),
        Err(failure) => {
            desk.screen.warn(&format!("what the name means is not known now: {}", failure.message));
            (json!({ "reference": reference, "id": null, "node": null }), reference.to_owned())
        }
    };
    Ok(What { key: "image", object, line, dockerfile: None, source })
}

async fn directory(desk: &mut Desk, job: &Job) -> Result<What, Failure> {
    let runs = match desk.client() {
        Ok(client) => choice::runs(&client).await,
        Err(failure) => Err(failure),
    };
    let runs = runs.unwrap_or_else(|failure| {
        desk.screen
            .warn(&format!("what the cluster runs is not known, so this may differ: {}", failure.message));
        Runs::Unknown
    });
    let making = choice::choose(job, runs)?;
    let packed = send::packed(desk, job, &making).await?;
    let source = Some(send::source_of(&packed, job, &making));
    let size = format!("sha256 {} ({} bytes, {} files)", packed.digest, packed.bytes, packed.files);
    let mut object = json!({ "digest": packed.digest, "bytes": packed.bytes, "files": packed.files });
    Ok(match making {
        Making::Bundle => What { key: "bundle", object, line: size, dockerfile: None, source },
        Making::Image { dockerfile, written } => {
            object["dockerfile"] = json!(dockerfile);
            let written = written.map(|Detected { seen, dockerfile, .. }| (seen, dockerfile));
            object["detected"] = json!(written.as_ref().map(|(seen, _)| seen));
            object["written"] = json!(written.as_ref().map(|(_, text)| text));
            let line = format!("{size}, built with {}", escape(&dockerfile));
            What { key: "source", object, line, dockerfile: written.map(|(_, text)| text), source }
        }
    })
}
