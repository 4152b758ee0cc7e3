//! What applications print.

use std::io;
use std::time::{Duration, Instant};

use serde_json::json;
use temps_wire::client::{Client, ClientError};
use temps_wire::proto::{LogLine, LogsRequest};

use super::Desk;
use crate::exit::{Code, Failure};
use crate::screen::{Screen, Tone, escape, escape_bytes};
use crate::settings::Target;
use crate::timeline;
use crate::watch::interrupted;

/// Time before a lost stream is opened again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a lost stream is tried again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Arguments of `logs`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  temps logs -f -p my-app --process web")]
pub struct Logs {
    /// Go on with what is printed from now on
    #[arg(short, long)]
    follow: bool,
    /// Of this process alone
    #[arg(long, value_name = "NAME")]
    process: Option<String>,
    /// How many of the last lines of each instance
    #[arg(long, value_name = "N", default_value_t = 100)]
    tail: u32,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn run(desk: &mut Desk, args: Logs) -> Result<Code, Failure> {
    let request = LogsRequest {
        project: desk.project(&args.target)?,
        environment: desk.environment(&args.target)?,
        process: args.process.unwrap_or_default(),
        follow: args.follow,
        tail: args.tail,
    };
    let client = desk.client()?;
    let screen = &mut desk.screen;
    tokio::select! {
        biased;
        () = interrupted(), if args.follow => Ok(Code::Interrupted),
        shown = show(&client, screen, request) => shown.map(|()| Code::Live),
    }
}

async fn show(client: &Client, screen: &mut Screen, mut request: LogsRequest) -> Result<(), Failure> {
    let mut lost: Option<Instant> = None;
    loop {
        let error = stream(client, screen, &request, &mut lost).await?;
        if error.is_none() && !request.follow {
            return Ok(());
        }
        if request.follow && lost.is_none() && error.as_ref().is_none_or(passing) {
            screen
                .warn("the stream of log lines was lost, going on from now; lines in between may be missing");
        }
        let since = *lost.get_or_insert_with(Instant::now);
        if let Some(error) = error
            && (!request.follow || !passing(&error) || since.elapsed() > PATIENCE)
        {
            return Err(error.into());
        }
        request.tail = 0;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Shows lines until the stream ends; the error that ended it, if one did.
async fn stream(
    client: &Client,
    screen: &mut Screen,
    request: &LogsRequest,
    lost: &mut Option<Instant>,
) -> Result<Option<ClientError>, Failure> {
    let opened = client
        .call(|mut api| {
            let request = request.clone();
            async move { api.logs(request).await }
        })
        .await;
    let mut lines = match opened {
        Ok(lines) => lines,
        Err(error) => return Ok(Some(error)),
    };
    loop {
        match lines.message().await {
            Ok(Some(line)) => {
                *lost = None;
                print(screen, &line)?;
            }
            Ok(None) => return Ok(None),
            Err(status) => return Ok(Some(status.into())),
        }
    }
}

/// Whether another node, or the same one later, may go on.
fn passing(error: &ClientError) -> bool {
    matches!(error, ClientError::Unreachable { .. } | ClientError::NoQuorum { .. })
}

fn print(screen: &mut Screen, line: &LogLine) -> io::Result<()> {
    if screen.is_json() {
        return screen.object_line(&json!({
            "time": timeline::timestamp(line.wall_ms).map(|at| at.to_string()),
            "instance": line.instance,
            "node": line.node,
            "stream": line.stream,
            "text": String::from_utf8_lossy(&line.text),
        }));
    }
    let time = timeline::clock(line.wall_ms, &screen.look.zone);
    let place = format!("{time}  {} on {}", escape(&line.instance), escape(&line.node));
    let place = screen.look.out.tone(Tone::Quiet, &place);
    if screen.look.terminals.stdout {
        return screen.say(&format!("{place}  {}", escape_bytes(&line.text)));
    }
    // Who reads a pipe wants the bytes as they are.
    let mut bytes = format!("{place}  ").into_bytes();
    bytes.extend_from_slice(&line.text);
    bytes.push(b'\n');
    screen.raw(&bytes)
}

#[cfg(test)]
mod tests {
    use temps_wire::proto::LogLine;

    use super::print;
    use crate::screen::testing::screen;
    use crate::screen::{Look, Terminals};

    fn hostile() -> LogLine {
        LogLine {
            wall_ms: 52_263_000,
            instance: "i7".to_owned(),
            node: "n2".to_owned(),
            stream: "out".to_owned(),
            text: b"\x1b[2Jowned\x07\r".as_slice().into(),
        }
    }

    #[test]
    fn hostile_lines_are_inert_at_a_terminal_and_exact_in_a_pipe() {
        let terminals = Terminals { stdout: true, ..Terminals::default() };
        let (mut terminal, out, _) = screen("", Look { terminals, ..Look::default() });
        print(&mut terminal, &hostile()).unwrap();
        assert_eq!(out.text(), "14:31:03  i7 on n2  \\x1b[2Jowned\\x07\\r\n");

        let (mut pipe, out, _) = screen("", Look::default());
        print(&mut pipe, &hostile()).unwrap();
        assert_eq!(out.text(), "14:31:03  i7 on n2  \x1b[2Jowned\x07\r\n");
    }
}
