//! Asks for confirmation and for missing values, on a terminal only.

use pdkeys::model::{Name, Noun};

use crate::failure::Failure;
use crate::session::Context;

impl Context {
    /// Asks before a change that cannot be undone, or that stops something that works. `what` is shown above the
    /// question.
    ///
    /// # Errors
    /// If the answer is not yes, or if there is no terminal to ask on and `--yes` is not given.
    pub(crate) fn confirm(&self, what: &[String], question: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !self.terminal.is_interactive() {
            return Err(Failure::not_confirmed("not confirmed, and nothing was done")
                .with_hint("--yes does it without asking"));
        }
        for line in what {
            self.terminal.show(line);
        }
        if self.terminal.confirm(question) {
            Ok(())
        } else {
            Err(Failure::not_confirmed("not confirmed, and nothing was done"))
        }
    }

    /// Returns a value that must be given, and asks for it on a terminal until `check` accepts the answer.
    ///
    /// # Errors
    /// Without a terminal, a missing value is a usage error.
    pub(crate) fn required(
        &self,
        given: Option<String>,
        what: &str,
        preset: Option<&str>,
        check: impl Fn(&str) -> pdkeys::model::Result<()>,
    ) -> Result<String, Failure> {
        match given {
            Some(given) => Ok(given),
            None if self.terminal.is_interactive() => self.terminal.ask(what, preset, check),
            None => preset.map(str::to_owned).ok_or_else(|| missing(what)),
        }
    }

    /// Does the same as [`Context::required`] for a value that is parsed; `answers` says in the question what an answer
    /// can be.
    pub(crate) fn required_as<T>(
        &self,
        given: Option<T>,
        what: &str,
        answers: &str,
        parse: impl Fn(&str) -> pdkeys::model::Result<T>,
    ) -> Result<T, Failure> {
        match given {
            Some(given) => Ok(given),
            None if self.terminal.is_interactive() => {
                let question = format!("{what} ({answers})");
                let answer = self.terminal.ask(&question, None, |text| parse(text).map(drop))?;
                Ok(parse(&answer)?)
            }
            None => Err(missing(what)),
        }
    }

    /// Returns the name for something new, and asks for it if it is not given.
    pub(crate) fn required_name(&self, noun: Noun, given: Option<String>) -> Result<Name, Failure> {
        let name = self.required(given, "Name", None, |text| Name::parse(noun, text).map(drop))?;
        Ok(Name::parse(noun, &name)?)
    }
}

fn missing(what: &str) -> Failure {
    Failure::usage(format!("{} is missing", what.to_lowercase()))
        .with_hint("without a terminal nothing is asked; --help shows what to give")
}
