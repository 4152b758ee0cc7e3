//! Who changed what.

use std::time::Duration;

use serde_json::{Value, json};
use temps_core::audit;
use temps_core::model;
use temps_wire::client::{Api, Client};
use temps_wire::proto::{AuditEntry, ListAuditRequest, ListAuditResponse};

use super::Desk;
use super::grant::days;
use crate::exit::{Code, Failure};
use crate::json::{text, time};
use crate::screen::{Table, escape};
use crate::{names, timeline};

/// How many entries are fetched at once to verify them.
const PAGE: u32 = 1_000;

/// Arguments of `audit`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "One entry for each change that somebody asked for, refused ones included; values of variables and other secrets \
    are never in it. Each holds a hash over itself and the entry before, so what is changed, left out or put in shows: note \
    the last hash elsewhere to see that nothing before it was replaced as a whole.\n\n\
    Examples:\n  temps audit --by ci --since 7d\n  temps audit --project my-app --limit 200\n  temps audit --verify\n\n\
    Exit codes of --verify:\n  0  every entry is as it was written\n  1  one is not"
)]
pub struct Audit {
    /// Only what is about this project
    #[arg(short, long, value_name = "NAME")]
    project: Option<String>,
    /// Only what this token, person or machine asked for
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    /// Only of this time until now, such as 12h or 7d
    #[arg(long, value_name = "DURATION", value_parser = days)]
    since: Option<Duration>,
    /// So many of the newest
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Follow the chain of hashes through all entries that are kept
    #[arg(long, conflicts_with_all = ["project", "by", "since", "limit"])]
    verify: bool,
}

pub(super) async fn run(desk: &mut Desk, args: Audit) -> Result<Code, Failure> {
    if args.verify {
        return verify(desk).await;
    }
    if let Some(project) = &args.project {
        names::check("project", project).map_err(Failure::usage)?;
    }
    let since = args.since.map_or(Ok(0), |time| u64::try_from(time.as_millis())).map_err(Failure::usage)?;
    let request = ListAuditRequest {
        project: args.project.unwrap_or_default(),
        by: args.by.unwrap_or_default(),
        since_ms: args.since.map_or(0, |_| timeline::now_ms().saturating_sub(since)),
        limit: args.limit,
        after: None,
        before: None,
    };
    let entries = list(&desk.client()?, request).await?.entries;
    if desk.screen.is_json() {
        desk.screen.object(&json!({ "entries": entries.iter().map(shape).collect::<Vec<_>>() }))?;
        return Ok(Code::Live);
    }
    if entries.is_empty() {
        desk.screen.note("nothing");
        return Ok(Code::Live);
    }
    let mut table = Table::new(["TIME", "BY", "FROM", "WHAT", "ABOUT", "OUTCOME"]);
    for entry in &entries {
        let outcome = match entry.why.as_str() {
            "" => escape(&entry.outcome),
            why => format!("{}: {}", escape(&entry.outcome), escape(why)),
        };
        table.row([
            timeline::date(entry.wall_ms, &desk.screen.look.zone),
            format!("{} {}", escape(&entry.kind), escape(&entry.by)),
            escape(&entry.from),
            escape(&entry.operation),
            escape(&entry.object),
            outcome,
        ]);
    }
    desk.screen.say(&table.text())?;
    Ok(Code::Live)
}

async fn list(client: &Client, request: ListAuditRequest) -> Result<ListAuditResponse, Failure> {
    let call = |mut api: Api| {
        let request = request.clone();
        async move { api.list_audit(request).await }
    };
    Ok(client.call(call).await?)
}

/// The chain is followed here, not by the node that is asked.
async fn verify(desk: &mut Desk) -> Result<Code, Failure> {
    let client = desk.client()?;
    let (mut after, mut last): (u64, Option<String>) = (0, None);
    let (mut count, mut forgotten) = (0_usize, 0);
    let (mut first, mut broken) = (None, None);
    loop {
        let request = ListAuditRequest { limit: PAGE, after: Some(after), ..ListAuditRequest::default() };
        let page = list(&client, request).await?;
        let before = last.take().unwrap_or_else(|| page.before.clone());
        if first.is_none() {
            forgotten = page.forgotten;
            first = page.entries.first().map(|entry| entry.wall_ms);
        }
        let entries = page.entries.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let Some(newest) = entries.last() else {
            last = Some(before);
            break;
        };
        // Entries may be forgotten while pages are fetched, at the old end alone.
        after = newest.index;
        count += entries.len();
        match audit::verify(&before, &entries) {
            Ok(hash) => last = Some(hash),
            Err(index) => {
                broken = Some(index);
                break;
            }
        }
    }
    let last = last.unwrap_or_default();
    if desk.screen.is_json() {
        let value = json!({
            "verified": broken.is_none(), "entries": count, "forgotten": forgotten, "since": time(first),
            "last_hash": text(&last), "broken_at": broken,
        });
        desk.screen.object(&value)?;
    } else if let Some(index) = broken {
        desk.screen.say(&format!(
            "The entry at log index {index}, or the one before it, is not as it was written."
        ))?;
    } else {
        let since = first.map(|at| format!(" since {}", timeline::date(at, &desk.screen.look.zone)));
        let since = since.unwrap_or_default();
        let older =
            if forgotten == 0 { String::new() } else { format!(" ({forgotten} older ones are not kept)") };
        desk.screen.say(&format!(
            "{count} entries{since} are as they were written{older}.\nlast hash  {}",
            escape(&last)
        ))?;
    }
    Ok(if broken.is_none() { Code::Live } else { Code::Other })
}

/// An entry as it is hashed.
fn read(entry: &AuditEntry) -> Result<model::AuditEntry, Failure> {
    use model::{AuditKind, AuditOutcome};
    let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let kinds = [AuditKind::Token, AuditKind::Person, AuditKind::Node, AuditKind::Cluster];
    let kind = kinds.into_iter().find(|kind| kind.word() == entry.kind);
    let outcome = match entry.outcome.as_str() {
        "done" => Some(AuditOutcome::Done),
        "no change" => Some(AuditOutcome::NoChange),
        "refused" => Some(AuditOutcome::Refused { why: entry.why.clone() }),
        _ => None,
    };
    let (Some(kind), Some(outcome)) = (kind, outcome) else {
        return Err(Failure::other(format!(
            "the entry at log index {} is of a kind that this `temps` does not know; use one of the cluster's version",
            entry.index
        )));
    };
    Ok(model::AuditEntry {
        index: entry.index,
        wall: entry.wall_ms,
        kind,
        by: entry.by.clone(),
        from: some(&entry.from),
        operation: entry.operation.clone(),
        project: some(&entry.project),
        object: entry.object.clone(),
        outcome,
        hash: entry.hash.clone(),
    })
}

fn shape(entry: &AuditEntry) -> Value {
    json!({
        "index": entry.index,
        "time": time(Some(entry.wall_ms)),
        "kind": entry.kind,
        "by": entry.by,
        "from": text(&entry.from),
        "operation": entry.operation,
        "project": text(&entry.project),
        "object": entry.object,
        "outcome": entry.outcome,
        "why": text(&entry.why),
        "hash": entry.hash,
    })
}
