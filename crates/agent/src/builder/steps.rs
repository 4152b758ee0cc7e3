//! Reading from a build's output what it does.

use crate::store::is_image_id;

/// A longer step is cut where it is shown, in characters.
const SHOWN: usize = 120;
/// What the engine writes before the number that a command ended with.
const ENDED_WITH: &str = "returned a non-zero code: ";
/// A line is not kept beyond this, in bytes.
const LINE: usize = 4 * 1024;

/// What is known of a build while its output comes.
#[derive(Debug, Default)]
pub(super) struct Steps {
    line: String,
    /// The instruction that is being run.
    step: Option<String>,
    /// Its result was there already, and may be somebody else's.
    is_known: bool,
    /// Layers that were made, oldest first.
    made: Vec<String>,
    image: Option<String>,
}

impl Steps {
    /// Takes a piece of the output.
    pub(super) fn take(&mut self, text: &str) {
        for part in text.split_inclusive('\n') {
            if self.line.len() < LINE {
                self.line.push_str(part);
            }
            if part.ends_with('\n') {
                let line = std::mem::take(&mut self.line);
                self.whole(line.trim());
            }
        }
    }

    /// The engine has named an image: at last, the one that was built.
    pub(super) fn built(&mut self, id: String) {
        if is_image_id(&id) {
            self.image = Some(id);
        }
    }

    /// The image that was built.
    pub(super) fn image(&self) -> Option<String> {
        self.image.clone()
    }

    /// The layers that were made, newest first.
    pub(super) fn made(&self) -> Vec<String> {
        self.made.iter().rev().cloned().collect()
    }

    /// Says what an error was about.
    pub(super) fn explain(&mut self, message: &str) -> String {
        self.take("\n");
        let Some(step) = &self.step else { return message.to_owned() };
        let shown: String = step.chars().take(SHOWN).collect();
        let more = if step.chars().nth(SHOWN).is_some() { "…" } else { "" };
        match exit_code(message) {
            Some(code) => format!("the step `{shown}{more}` ended with exit code {code}"),
            None => format!("the step `{shown}{more}` failed: {message}"),
        }
    }

    fn whole(&mut self, line: &str) {
        if let Some(step) = instruction(line) {
            self.step = Some(step.to_owned());
            self.is_known =
                step.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("from"));
        } else if let Some(result) = line.strip_prefix("---> ") {
            let is_id = (12..=64).contains(&result.len()) && result.bytes().all(|b| b.is_ascii_hexdigit());
            if result == "Using cache" {
                self.is_known = true;
            } else if is_id && self.step.is_some() && !self.is_known {
                self.made.push(result.to_owned());
            }
        }
    }
}

/// `RUN make` in `Step 2/3 : RUN make`.
fn instruction(line: &str) -> Option<&str> {
    let (number, step) = line.strip_prefix("Step ")?.split_once(" : ")?;
    let (at, of) = number.split_once('/')?;
    (at.parse::<u32>().is_ok() && of.parse::<u32>().is_ok()).then_some(step)
}

fn exit_code(message: &str) -> Option<i64> {
    let (_, code) = message.rsplit_once(ENDED_WITH)?;
    code.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Steps;

    fn output(text: &str) -> Steps {
        let mut steps = Steps::default();
        // It comes in any pieces.
        for piece in text.as_bytes().chunks(5) {
            steps.take(std::str::from_utf8(piece).expect("ASCII"));
        }
        steps
    }

    #[test]
    fn the_step_that_failed_is_named() {
        let mut steps = output(
            "Step 1/3 : FROM base\n ---> 0123456789ab\nStep 2/3 : RUN make\n ---> Running in 99aa99aa99aa\nno rule\n",
        );
        let command = "The command '/bin/sh -c make' returned a non-zero code: 2";
        assert_eq!(steps.explain(command), "the step `RUN make` ended with exit code 2");
        assert_eq!(steps.explain("no such file"), "the step `RUN make` failed: no such file");
        assert_eq!(output("").explain("unknown instruction: RUNN"), "unknown instruction: RUNN");
        let long = output(&format!("Step 1/1 : RUN {}\n", "x".repeat(500))).explain(command);
        assert!(long.len() < 200 && long.contains("xx…` ended"), "{long}");
    }

    #[test]
    fn only_what_this_build_made_is_its_own() {
        let steps = output(
            "Step 1/4 : FROM base\n ---> 0123456789ab\nStep 2/4 : COPY a /\n ---> Using cache\n ---> 111111111111\n\
             Step 3/4 : COPY b /\n ---> 222222222222\nStep 4/4 : CMD x\n ---> Running in 444444444444\n\
             Removing intermediate container 444444444444\n ---> 333333333333\nSuccessfully built 333333333333\n",
        );
        assert_eq!(steps.made(), ["333333333333", "222222222222"]);
    }

    #[test]
    fn an_application_cannot_name_the_image() {
        let mut steps = output("Step 1/1 : RUN evil\nsha256:1\n");
        steps.built("latest".to_owned());
        assert_eq!(steps.image(), None);
        steps.built(format!("sha256:{}", "a".repeat(64)));
        assert_eq!(steps.image(), Some(format!("sha256:{}", "a".repeat(64))));
    }
}
