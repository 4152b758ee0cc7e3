//! What applications and builds write, line by line.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, Query};
use futures_util::stream::TryStreamExt;
use serde::Deserialize;
use temps_core::model::RELEASE_PROCESS;
use temps_core::text;
use temps_wire::proto::{
    BuildLogRequest, GetDeploymentRequest, Instance, LogLine, LogsRequest, StatusRequest,
};

use super::frame::Frame;
use super::visitor::Visitor;
use super::{Page, show, words};
use crate::operations::Operations;

/// How many lines of each instance are shown unless asked otherwise, as `temps logs` does, and at most.
const LINES: u32 = 100;
const LINES_MAX: u32 = 2_000;
/// So much of a line is shown, in bytes, and of all of them together.
const LINE_MAX: usize = 4 << 10;
const PAGE_MAX: usize = 1 << 20;
/// What a line takes beside its text.
const AROUND: usize = 128;

#[derive(Deserialize)]
pub(super) struct Wish {
    #[serde(default)]
    process: String,
    /// A number; a form sends an empty text for none.
    #[serde(default)]
    lines: String,
}

impl Wish {
    fn tail(&self) -> u32 {
        self.lines.parse().unwrap_or(LINES).clamp(1, LINES_MAX)
    }
}

#[derive(Template)]
#[template(path = "logs.html")]
struct OfEnvironment {
    frame: Frame,
    project: String,
    environment: String,
    processes: Vec<String>,
    wish: Wish,
    /// Instances of which no line can be had now.
    lost: Vec<Instance>,
    shown: Shown,
}

impl OfEnvironment {
    /// What shows all of it.
    fn command(&self) -> String {
        let Self { project, environment, wish, .. } = self;
        // The name comes from an address that anybody can have made up.
        let is_known = wish.process == RELEASE_PROCESS || self.processes.contains(&wish.process);
        let process = if is_known { format!(" --process {}", wish.process) } else { String::new() };
        format!("temps logs -p {project} -e {environment}{process} --tail {}", wish.tail())
    }

    /// A process that the newest release does not have, such as one that was there before.
    fn is_other(&self) -> bool {
        let name = self.wish.process.as_str();
        !name.is_empty() && name != RELEASE_PROCESS && self.processes.iter().all(|known| known != name)
    }
}

#[derive(Template)]
#[template(path = "build_log.html")]
struct OfBuild {
    frame: Frame,
    number: u64,
    has_ended: bool,
    shown: Shown,
    /// Why there is none.
    why: String,
}

/// A line, for people.
struct Line {
    wall_ms: u64,
    at: String,
    is_error: bool,
    text: String,
}

impl From<LogLine> for Line {
    fn from(line: LogLine) -> Self {
        let mut text = String::from_utf8_lossy(&line.text[..line.text.len().min(LINE_MAX)]).into_owned();
        if is_long(&line) {
            // The cut may go through a character.
            text.truncate(text.trim_end_matches('\u{fffd}').len());
            text.push('…');
        }
        Self { wall_ms: line.wall_ms, at: place(&line), is_error: line.stream == "err", text }
    }
}

fn place(line: &LogLine) -> String {
    match line.instance.as_str() {
        "" => line.node.clone(),
        instance => format!("{instance} on {}", line.node),
    }
}

fn is_long(line: &LogLine) -> bool {
    line.text.len() > LINE_MAX
}

/// What a page shows of a log.
#[derive(Default)]
struct Shown {
    lines: Vec<Line>,
    /// How many are of whom, in order.
    of: Vec<(String, usize)>,
    /// So many of each fit, where there are more.
    fit: Option<usize>,
    /// The end of a line is missing.
    has_long: bool,
}

impl Shown {
    /// The newest lines, as many as a page bears and of each instance alike: one that says much hides none that says
    /// little.
    fn newest(lines: Vec<LogLine>, most: u32) -> Self {
        let mut seen = BTreeMap::<&str, usize>::new();
        // Which one from its instance's end each line is.
        let mut ranks: Vec<usize> = lines
            .iter()
            .rev()
            .map(|line| {
                let rank = seen.entry(&line.instance).or_default();
                *rank += 1;
                *rank
            })
            .collect();
        ranks.reverse();
        let mut sizes = BTreeMap::<usize, usize>::new();
        for (line, rank) in lines.iter().zip(&ranks) {
            *sizes.entry(*rank).or_default() += line.text.len().min(LINE_MAX) + AROUND;
        }
        let mut room = PAGE_MAX;
        let fits = |size: &&usize| {
            let left = room.checked_sub(**size);
            room = left.unwrap_or_default();
            left.is_some()
        };
        let bears = sizes.values().take(most as usize).take_while(fits).count().max(1);
        let fit = (bears < sizes.len()).then_some(bears);
        let kept: Vec<_> =
            lines.into_iter().zip(ranks).filter(|(_, rank)| *rank <= bears).map(|(line, _)| line).collect();
        let mut of = Vec::<(String, usize)>::new();
        for at in kept.iter().map(place) {
            match of.iter_mut().find(|(known, _)| *known == at) {
                Some((_, n)) => *n += 1,
                None => of.push((at, 1)),
            }
        }
        of.sort_by_key(|(at, _)| (at.len(), at.clone()));
        let has_long = kept.iter().any(is_long);
        Self { lines: kept.into_iter().map(Line::from).collect(), of, fit, has_long }
    }

    /// Where the end of a line is missing: from what length on.
    fn longest() -> String {
        text::bytes(LINE_MAX as u64)
    }
}

pub(super) async fn of_environment(
    Path((project, environment)): Path<(String, String)>,
    Query(wish): Query<Wish>,
    visitor: Visitor,
) -> Page {
    let desk = &visitor.desk;
    let caller = || visitor.caller.clone();
    let of = StatusRequest { project: project.clone(), environment: environment.clone() };
    let status = Operations::status(desk, caller(), of).await?;
    let (mut processes, mut lost) = (Vec::new(), Vec::new());
    for environment in status.environments {
        processes.extend(environment.processes.into_iter().map(|p| p.name));
        let of_it = |i: &Instance| wish.process.is_empty() || i.process == wish.process;
        lost.extend(environment.instances.into_iter().filter(|i| i.state == "lost" && of_it(i)));
    }
    let asked = LogsRequest {
        project: project.clone(),
        environment: environment.clone(),
        process: wish.process.clone(),
        follow: false,
        tail: wish.tail(),
    };
    let lines: Vec<LogLine> = Operations::logs(desk, caller(), asked).await?.try_collect().await?;
    let shown = Shown::newest(lines, wish.tail());
    let frame = Frame::new(&visitor, "/").await;
    show(&OfEnvironment { frame, project, environment, processes, wish, lost, shown })
}

pub(super) async fn of_build(Path(number): Path<u64>, visitor: Visitor) -> Page {
    let desk = &visitor.desk;
    let of = GetDeploymentRequest { number };
    let deployment = Operations::get_deployment(desk, visitor.caller.clone(), of).await?.deployment;
    let has_ended = deployment.is_none_or(|deployment| deployment.ended);
    // One more than is shown tells that there are more.
    let asked = BuildLogRequest { deployment: number, follow: false, tail: LINES_MAX + 1 };
    let lines = match Operations::build_log(desk, visitor.caller.clone(), asked).await {
        Ok(lines) => lines.try_collect::<Vec<_>>().await,
        Err(status) => Err(status),
    };
    let (shown, why) = match lines {
        Ok(lines) => (Shown::newest(lines, LINES_MAX), String::new()),
        Err(status) => (Shown::default(), status.message().to_owned()),
    };
    let frame = Frame::new(&visitor, "/deployments").await;
    show(&OfBuild { frame, number, has_ended, shown, why })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use temps_wire::proto::LogLine;

    use super::{LINE_MAX, Shown};

    fn line(instance: &str, wall_ms: u64, text: &str) -> LogLine {
        LogLine {
            instance: instance.to_owned(),
            node: "n1".to_owned(),
            wall_ms,
            text: Bytes::copy_from_slice(text.as_bytes()),
            ..LogLine::default()
        }
    }

    #[test]
    fn one_that_says_much_hides_none_that_says_little() {
        let mut lines = vec![line("i10", 0, "quiet")];
        lines.extend((1..=9_000).map(|at| line("i2", at, "chatty")));
        let shown = Shown::newest(lines, 9_000);
        let fit = shown.fit.unwrap();
        assert!((1_000..9_000).contains(&fit), "{fit}");
        assert_eq!(shown.of, [("i2 on n1".to_owned(), fit), ("i10 on n1".to_owned(), 1)]);
        assert_eq!((shown.lines[0].text.as_str(), shown.lines.last().unwrap().wall_ms), ("quiet", 9_000));
        assert!(!shown.has_long);
    }

    #[test]
    fn what_fits_is_not_said_to_be_cut() {
        let lines: Vec<_> = (0..5).map(|at| line("", at, "x")).collect();
        assert_eq!(Shown::newest(lines.clone(), 5).fit, None);
        assert_eq!(Shown::newest(lines, 4).fit, Some(4));
        let none = Shown::newest(Vec::new(), 4);
        assert!(none.fit.is_none() && none.lines.is_empty());
    }

    #[test]
    fn a_long_line_ends_where_it_is_cut() {
        // The cut goes through a character.
        let long = format!("x{}", "ä".repeat(LINE_MAX));
        let shown = Shown::newest(vec![line("i1", 1, &long)], 9);
        assert!(shown.has_long);
        assert_eq!(shown.lines[0].text, format!("x{}…", "ä".repeat((LINE_MAX - 1) / 2)));
    }
}
