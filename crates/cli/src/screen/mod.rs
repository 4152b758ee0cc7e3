//! What is printed where: results on stdout, everything else on stderr.
//!
//! What the words mean is not known here.

mod colour;
mod escape;
mod table;

use std::io::{self, BufRead, IsTerminal, Write};

use jiff::tz::TimeZone;
use serde::Serialize;

pub use colour::ColourChoice;
pub(crate) use colour::{Paint, Tone};
pub(crate) use escape::escape_json;
pub use escape::{escape, escape_bytes};
pub(crate) use table::Table;

use crate::exit::{Code, Failure};

/// Which of the three streams are terminals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terminals {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

/// In which form results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    #[default]
    Text,
    Json,
}

/// How things are shown.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) terminals: Terminals,
    pub(crate) form: Form,
    /// Colours on stdout, and on stderr.
    pub(crate) out: Paint,
    pub(crate) err: Paint,
    /// Whether lines may be redrawn on stderr.
    pub(crate) redraws: bool,
    pub(crate) zone: TimeZone,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            terminals: Terminals::default(),
            form: Form::Text,
            out: Paint::Off,
            err: Paint::Off,
            redraws: false,
            zone: TimeZone::UTC,
        }
    }
}

impl Look {
    /// What suits the streams of this process.
    pub(crate) fn of_process(
        choice: ColourChoice,
        form: Form,
        zone: TimeZone,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let terminals = Terminals {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
        };
        Self {
            out: colour::paint(choice, terminals.stdout, &variable),
            err: colour::paint(choice, terminals.stderr, &variable),
            redraws: terminals.stderr && variable("TERM").is_none_or(|term| term != "dumb"),
            terminals,
            form,
            zone,
        }
    }
}

/// The three streams.
pub(crate) struct Screen {
    input: Box<dyn BufRead + Send>,
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    pub(crate) look: Look,
}

impl Screen {
    pub(crate) fn of_process(look: Look) -> Self {
        Self::new(
            Box::new(io::BufReader::new(io::stdin())),
            Box::new(io::stdout()),
            Box::new(io::stderr()),
            look,
        )
    }

    pub(crate) fn new(
        input: Box<dyn BufRead + Send>,
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
        look: Look,
    ) -> Self {
        Self { input, out, err, look }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.look.form == Form::Json
    }

    /// A line of the result.
    pub(crate) fn say(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}")?;
        self.out.flush()
    }

    /// Bytes of the result, exactly.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.out.flush()
    }

    /// One object on one line, or spread out for a person at a terminal.
    pub(crate) fn object(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = if self.look.terminals.stdout {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        let text = text.map_err(io::Error::other)?;
        self.say(&escape_json(&text))
    }

    /// One object on one line, whoever reads it.
    pub(crate) fn object_line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(value).map_err(io::Error::other)?;
        self.say(&escape_json(&text))
    }

    /// A line about what is going on. A closed stderr is nobody's concern.
    pub(crate) fn note(&mut self, line: &str) {
        let _ = writeln!(self.err, "{line}");
        let _ = self.err.flush();
    }

    /// A line that deserves attention.
    pub(crate) fn warn(&mut self, line: &str) {
        let word = self.look.err.tone(Tone::Warn, "warning:");
        self.note(&format!("{word} {line}"));
    }

    /// Everything that stdin holds.
    pub(crate) fn read_input(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.input.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Asks before something is done.
    ///
    /// # Errors
    /// Without a terminal at once, naming the flag; with one, where the answer is not yes.
    pub(crate) fn confirm(&mut self, question: &str, agreed: Agreed) -> Result<(), Failure> {
        if agreed == Agreed::Yes {
            return Ok(());
        }
        if !self.look.terminals.stdin {
            return Err(Failure::new(
                Code::Usage,
                format!("this needs a confirmation and there is no terminal to ask at: {question}"),
            )
            .help("add -y (or set TEMPS_YES=1) to go ahead without being asked"));
        }
        let mark = self.look.err.tone(Tone::Strong, question);
        write!(self.err, "{mark} [y/N] ")?;
        self.err.flush()?;
        let mut answer = String::new();
        self.input.read_line(&mut answer)?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::new(Code::Other, "not confirmed, nothing was changed")),
        }
    }
}

/// Whether the user agreed beforehand, by `-y` or `TEMPS_YES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreed {
    Yes,
    Ask,
}

#[cfg(test)]
pub(crate) mod testing {
    //! A screen whose streams can be read afterwards.

    use std::io::{self, Cursor, Write};
    use std::sync::{Arc, Mutex};

    use super::{Look, Screen};

    #[derive(Clone, Default)]
    pub(crate) struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Paper {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A screen, its stdout and its stderr.
    pub(crate) fn screen(input: &str, look: Look) -> (Screen, Paper, Paper) {
        let (out, err) = (Paper::default(), Paper::default());
        let input = Box::new(Cursor::new(input.as_bytes().to_vec()));
        (Screen::new(input, Box::new(out.clone()), Box::new(err.clone()), look), out, err)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::screen;
    use super::{Agreed, Look, Terminals};
    use crate::exit::Code;

    fn at_terminal() -> Look {
        Look { terminals: Terminals { stdin: true, stdout: true, stderr: true }, ..Look::default() }
    }

    #[test]
    fn without_a_terminal_a_question_is_refused_at_once_and_names_the_flag() {
        let (mut screen, out, err) = screen("y\n", Look::default());
        let failure = screen.confirm("Deploy to production?", Agreed::Ask).unwrap_err();
        assert_eq!(failure.code, Code::Usage);
        assert!(failure.to_string().contains("-y"), "{failure}");
        assert!(failure.to_string().contains("TEMPS_YES=1"), "{failure}");
        assert_eq!((out.text(), err.text()), (String::new(), String::new()));
    }

    #[test]
    fn who_agreed_is_not_asked() {
        let (mut screen, _, err) = screen("", Look::default());
        assert!(screen.confirm("Deploy?", Agreed::Yes).is_ok());
        assert_eq!(err.text(), "");
    }

    #[test]
    fn only_yes_is_yes_and_the_question_goes_to_stderr() {
        for (answer, agreed) in
            [("y\n", true), ("YES\n", true), ("\n", false), ("n\n", false), ("", false), ("yep\n", false)]
        {
            let (mut screen, out, err) = screen(answer, at_terminal());
            assert_eq!(screen.confirm("Deploy?", Agreed::Ask).is_ok(), agreed, "{answer:?}");
            assert_eq!((out.text(), err.text()), (String::new(), "Deploy? [y/N] ".to_owned()));
        }
    }
}
