//! Compares what a page shows with what was printed, where ids, secrets, times and paths differ from run to run.
//!
//! A value that varies is compared by its shape. A value that stands for one thing in a page (an id, a secret, a hint)
//! must stand for one thing in the run as well, and replaces the page's value in the commands that follow.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use regex::{Captures, Regex};

use crate::page::{Page, Step};

/// What differs from run to run: its name in a comparison, and its shape as the group `v`, with enough context to
/// recognise it. Where two shapes overlap, the earlier one counts.
const VARYING: &[(&str, &str)] = &[
    ("client secret", r"(?P<v>\bpdcs_[A-Za-z0-9_-]{43})(?:$|\x22)"),
    ("app token", r"(?P<v>\bpdus\+_0[A-Z0-9]{6}_[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:$|\x22)"),
    ("user token", r"(?:^|\x22)(?P<v>u\+[A-Za-z0-9_-]{17}[A-Za-z0-9])(?:$|\x22)"),
    ("general key", r"(?:^|\x22secret\x22:\x22)(?P<v>[A-Za-z0-9][A-Za-z0-9_-]{18}[A-Za-z0-9])(?:$|\x22)"),
    ("head", r"^\d+:(?P<v>[0-9a-f]{64})$"),
    ("integration key", r"(?:^|[ \x22])(?P<v>[0-9a-f]{32}|R[A-Z0-9]{31})(?:$|[ \x22])"),
    ("id", r"(?:^|[^A-Za-z0-9])(?P<v>[KUSTOIA][0-9A-HJKMNP-TV-Z]{8})(?:$|[^A-Za-z0-9])"),
    ("hint", r"\.\.\.(?P<v>[A-Za-z0-9_-]{3}[A-Za-z0-9])\b"),
    ("hint", r"\x22hint\x22:\x22(?P<v>[A-Za-z0-9_-]{3}[A-Za-z0-9])\x22"),
    ("hint", r"(?:\b|_)hint: (?P<v>[A-Za-z0-9_-]{3}[A-Za-z0-9])(?:$|,| ->)"),
    ("hint", r"\bhint: [A-Za-z0-9_-]{4} -> (?P<v>[A-Za-z0-9_-]{3}[A-Za-z0-9])(?:$|,)"),
    ("hint", r"^(?:hint|truncated token|client secret hint) +(?P<v>[A-Za-z0-9_-]{3}[A-Za-z0-9])$"),
    ("hint", r",metrics,(?P<v>[A-Za-z0-9_-]{3}[A-Za-z0-9]),"),
    ("time", r"(?P<v>\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d(?:\.\d{3})?Z)"),
    ("seconds", r"a new window in (?P<v>[1-5]?\d|60) s"),
    ("seconds", r"\x22reset\x22:(?P<v>[1-5]?\d|60)\}"),
    ("uid", r"^U[0-9A-Z]{8} +ada +owner +- +(?P<v>\d+) "),
];

/// The kinds that must stand for the same thing wherever they occur in a page.
const SAME_EVERYWHERE: &[&str] = &[
    "client secret",
    "app token",
    "user token",
    "general key",
    "integration key",
    "head",
    "id",
    "hint",
    "uid",
];

pub(crate) struct Shapes(Vec<(&'static str, Regex)>);

impl Shapes {
    pub(crate) fn new() -> Self {
        Self(VARYING.iter().map(|(kind, shape)| (*kind, Regex::new(shape).unwrap())).collect())
    }

    /// Splits a line into its text, with names in place of the values that vary and runs of blanks collapsed, and these
    /// values.
    fn apart(&self, line: &str) -> (String, Vec<(&'static str, String)>) {
        let mut found: Vec<(usize, usize, &'static str)> = Vec::new();
        for (kind, shape) in &self.0 {
            let mut from = 0;
            // The context of two values may overlap, so the search goes on right after the value.
            while let Some(value) =
                shape.captures_at(line, from).map(|found: Captures<'_>| found.name("v").unwrap())
            {
                from = value.end();
                let (start, end) = (value.start(), value.end());
                if found.iter().all(|(from, to, _)| end <= *from || *to <= start) {
                    found.push((start, end, kind));
                }
            }
        }
        found.sort_unstable();
        let (mut text, mut values, mut at) = (String::new(), Vec::new(), 0);
        for (start, end, kind) in found {
            write!(text, "{}<{kind}>", &line[at..start]).unwrap();
            values.push((kind, line[start..end].to_owned()));
            at = end;
        }
        text.push_str(&line[at..]);
        (text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" "), values)
    }
}

/// The values of this run that stand for those of the page.
#[derive(Default)]
pub(crate) struct Names(BTreeMap<(&'static str, String), String>);

impl Names {
    /// Notes that two values stand for the same thing, or says which earlier pair contradicts that.
    fn learn(&mut self, kind: &'static str, there: &str, here: &str) -> Result<(), String> {
        if !SAME_EVERYWHERE.contains(&kind) {
            return Ok(());
        }
        let of_this_kind = self.0.iter().filter(|((other, _), _)| *other == kind);
        for ((_, shown), known) in of_this_kind {
            if (shown == there) != (known == here) {
                return Err(format!("{kind} {shown} was {known} before, and now {there} is {here}"));
            }
        }
        self.0.insert((kind, there.to_owned()), here.to_owned());
        if kind.ends_with("key") || kind.ends_with("token") || kind.ends_with("secret") {
            return self.learn("hint", &there[there.len() - 4..], &here[here.len() - 4..]);
        }
        Ok(())
    }

    /// Replaces the ids of the page in a command by those of this run.
    pub(crate) fn translate(&self, command: &str) -> String {
        self.0
            .iter()
            .filter(|((kind, _), _)| *kind == "id")
            .fold(command.to_owned(), |command, ((_, there), here)| command.replace(there, here))
    }

    /// Replaces the values of this run in a printed line by those of the page, as far as they are known.
    fn shown(&self, line: &str) -> String {
        self.0
            .iter()
            .filter(|((kind, _), _)| *kind != "uid")
            .fold(line.to_owned(), |line, ((_, there), here)| line.replace(here, there))
    }
}

/// Asks `id` for the name or the number of the user who runs the tests.
pub(crate) fn this_user(option: &str) -> String {
    let output = Command::new("id").arg(option).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Replaces the paths and the login name of this machine in a printed line by those of the pages.
pub(crate) fn as_ada(line: &str, home: &Path, login: &Regex) -> String {
    let line = line.replace(home.to_str().unwrap(), "/home/ada");
    let line = line.replace("Library/Application Support", ".local/share");
    login.replace_all(&line, "ada").into_owned()
}

/// A step that printed something else than its page shows: what to report, and the output in the words of the page.
pub(crate) struct Difference {
    pub(crate) line: usize,
    pub(crate) shown: usize,
    pub(crate) printed: Vec<String>,
    pub(crate) report: String,
}

/// Compares the output that a page shows with what was printed, and learns the values that stand for each other.
pub(crate) fn compare(
    page: &Page,
    step: &Step,
    printed: &[String],
    shapes: &Shapes,
    names: &mut Names,
    uid: &str,
) -> Result<(), Difference> {
    let (mut expected, mut got, mut faults) = (Vec::new(), Vec::new(), String::new());
    for index in 0..step.printed.len().max(printed.len()) {
        let there = step.printed.get(index).map(|line| shapes.apart(line));
        let here = printed.get(index).map(|line| shapes.apart(line));
        if let (Some((one, values)), Some((other, others))) = (&there, &here)
            && values.iter().map(|(kind, _)| kind).eq(others.iter().map(|(kind, _)| kind))
        {
            for ((kind, there), (_, here)) in values.iter().zip(others) {
                // A line that differs is reported as a whole; its values still name what later commands mean.
                if let Err(fault) = names.learn(kind, there, here)
                    && one == other
                {
                    writeln!(faults, "  {fault}").unwrap();
                }
                if *kind == "uid" && here != uid {
                    writeln!(faults, "  uid {here} is not that of this process, {uid}").unwrap();
                }
            }
        }
        expected.extend(there.map(|(text, _)| text));
        got.extend(here.map(|(text, _)| text));
    }
    if expected != got {
        for line in expected {
            writeln!(faults, "  - {line}").unwrap();
        }
        for line in got {
            writeln!(faults, "  + {line}").unwrap();
        }
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(Difference {
        line: step.line,
        shown: step.printed.len(),
        printed: printed.iter().map(|line| names.shown(line)).collect(),
        report: format!("{}:{}: $ {}\n{faults}", page.path, step.line, step.command),
    })
}
