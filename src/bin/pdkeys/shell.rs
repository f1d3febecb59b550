//! The supported shells: their completion scripts, how each passes the line, and how bash quotes a word.
//!
//! zsh, fish and elvish quote what they insert. bash inserts a candidate as it is, in place of the part of the word after
//! the last break (`=`, `:`, an opening quotation mark), so that candidates for bash are quoted here.

use std::ffi::{OsStr, OsString};

use clap::ValueEnum;
use pdkeys::model::is_hazardous;

use crate::environment::variable;

/// A shell with a completion script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
}

impl Shell {
    /// Reads the name of a shell as the scripts spell it.
    pub(crate) fn named(name: &OsStr) -> Option<Self> {
        Self::from_str(name.to_str()?, false).ok()
    }

    /// Returns the completion script.
    pub(crate) const fn script(self) -> &'static str {
        match self {
            Self::Bash => include_str!("../../../completions/pdkeys.bash"),
            Self::Zsh => include_str!("../../../completions/_pdkeys"),
            Self::Fish => include_str!("../../../completions/pdkeys.fish"),
            Self::Elvish => include_str!("../../../completions/pdkeys.elv"),
        }
    }

    /// Reads the line from the arguments that the shell's script passes.
    pub(crate) fn read_line(self, passed: &[OsString]) -> Option<Line> {
        let passed: Vec<_> = passed.iter().map(|argument| argument.to_string_lossy()).collect();
        match self {
            // The line up to the cursor, the line after it, and the text that would be replaced.
            Self::Bash => match passed.as_slice() {
                [before, after, replaced] => Line::of_bash(before, after, replaced),
                _ => None,
            },
            // The number of the word, counted from 1, and the words as typed.
            Self::Zsh => {
                let (number, typed) = passed.split_first()?;
                let current = number.parse::<usize>().ok()?.checked_sub(1)?;
                let words = typed.iter().map(|word| unquote(word)).collect();
                Line::new(words, current)
            }
            // The words up to the cursor, the last of which is being typed.
            Self::Fish | Self::Elvish => {
                let mut words: Vec<_> = passed.iter().map(|word| word.clone().into_owned()).collect();
                if self == Self::Fish {
                    // fish passes the word at the cursor as typed, with its quotation marks.
                    if let Some(last) = words.last_mut() {
                        *last = unquote(last);
                    }
                }
                let current = words.len().checked_sub(1)?;
                Line::new(words, current)
            }
        }
    }

    /// Formats the candidates for the shell's script, one per line.
    pub(crate) fn write(self, line: &Line, candidates: &[Candidate]) -> Vec<String> {
        match self {
            Self::Bash => line.bash_candidates(candidates),
            Self::Zsh => candidates
                .iter()
                .map(|Candidate { value, help }| {
                    let escape = |text: &str| text.replace('\\', "\\\\");
                    let value = escape(value).replace(':', "\\:");
                    help.as_ref().map_or_else(|| value.clone(), |help| format!("{value}:{}", escape(help)))
                })
                .collect(),
            Self::Fish => candidates
                .iter()
                .map(|Candidate { value, help }| match help {
                    Some(help) => format!("{value}\t{help}"),
                    None => value.clone(),
                })
                .collect(),
            Self::Elvish => candidates.iter().map(|candidate| candidate.value.clone()).collect(),
        }
    }
}

/// A word that can complete the line.
pub(crate) struct Candidate {
    pub(crate) value: String,
    pub(crate) help: Option<String>,
}

/// A line that is being completed.
pub(crate) struct Line {
    /// The words as the command would receive them, beginning with the name of the program.
    pub(crate) words: Vec<OsString>,
    /// The index of the word that is being typed.
    pub(crate) current: usize,
    /// Whether that word is the file of a redirection, which is not an argument of the command.
    pub(crate) is_redirection: bool,
    /// The beginning of that word, which bash leaves on the line.
    kept: Word,
}

impl Line {
    fn new(words: Vec<String>, current: usize) -> Option<Self> {
        if current >= words.len() {
            return None;
        }
        Some(Self {
            words: words.into_iter().map(at_home).collect(),
            current,
            is_redirection: false,
            kept: Word::default(),
        })
    }

    fn of_bash(before: &str, after: &str, replaced: &str) -> Option<Self> {
        let mut words = read(before);
        let typed = words.pop()?;
        let kept = before[typed.begins..].strip_suffix(replaced)?;
        let kept = read(kept).pop()?;
        let is_redirection = typed.is_redirection;
        // Text right after the cursor is the end of the word that is being typed.
        let rest = after.find([' ', '\t']).map_or("", |blank| &after[blank..]);
        let value = typed.value.clone();
        let arguments =
            |words: Vec<Word>| words.into_iter().filter(|word| !word.is_redirection).map(|word| word.value);
        let mut all: Vec<_> = arguments(words).collect();
        let current = all.len();
        all.push(value);
        all.extend(arguments(read(rest)).filter(|word| !word.is_empty()));
        Some(Self { is_redirection, kept, ..Self::new(all, current)? })
    }

    fn bash_candidates(&self, candidates: &[Candidate]) -> Vec<String> {
        let Word { value: kept, quotation, .. } = &self.kept;
        let rests = candidates.iter().filter_map(|candidate| candidate.value.strip_prefix(kept));
        let mut quoted: Vec<_> =
            rests.filter(|rest| !rest.contains(is_hazardous)).map(|rest| quotation.quote(rest)).collect();
        match quoted.as_mut_slice() {
            [only] => only.push_str(quotation.end()),
            several => {
                // bash inserts the common prefix of the candidates, which must not end within an escape.
                let common = common_beginning(several);
                let backslashes = common.len() - common.trim_end_matches('\\').len();
                if backslashes % 2 == 1 {
                    let whole = common[..common.len() - 1].to_owned();
                    quoted.push(whole);
                }
            }
        }
        quoted
    }
}

fn common_beginning(texts: &[String]) -> &str {
    let Some((first, others)) = texts.split_first() else { return "" };
    others.iter().fold(first.as_str(), |common, text| {
        let same = common.char_indices().zip(text.chars()).find(|((_, one), other)| one != other);
        &common[..same.map_or(common.len().min(text.len()), |((at, _), _)| at)]
    })
}

/// Expands a leading `~/`, which the shell expands only when it runs the line.
fn at_home(word: String) -> OsString {
    match (word.strip_prefix("~/"), variable("HOME")) {
        (Some(rest), Some(mut home)) => {
            home.push("/");
            home.push(rest);
            home
        }
        _ => word.into(),
    }
}

/// The kind of quotation at a position of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Quotation {
    #[default]
    None,
    Single,
    Double,
    /// `$'...'`
    Ansi,
}

impl Quotation {
    /// Quotes text so that bash reads it literally.
    fn quote(self, text: &str) -> String {
        let mut quoted = String::with_capacity(text.len() + 8);
        for character in text.chars() {
            match (self, character) {
                (
                    Self::None,
                    'a'..='z'
                    | 'A'..='Z'
                    | '0'..='9'
                    | '_'
                    | '-'
                    | '.'
                    | '/'
                    | ','
                    | '+'
                    | '@'
                    | '%'
                    | ':'
                    | '=',
                ) => {}
                (Self::None, letter) if letter.is_alphanumeric() && !letter.is_ascii() => {}
                (Self::None, _) | (Self::Double, '"' | '$' | '`' | '\\') | (Self::Ansi, '\'' | '\\') => {
                    quoted.push('\\');
                }
                // A backslash does not escape these within the marks, so that they are written outside of them.
                (Self::Single, '\'') => {
                    quoted.push_str("'\\''");
                    continue;
                }
                (Self::Double, '!') => {
                    quoted.push_str("\"\\!\"");
                    continue;
                }
                (Self::Single | Self::Double | Self::Ansi, _) => {}
            }
            quoted.push(character);
        }
        quoted
    }

    const fn end(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Single | Self::Ansi => "'",
            Self::Double => "\"",
        }
    }
}

/// A word of a line.
#[derive(Debug, Default)]
struct Word {
    /// The byte index at which it begins.
    begins: usize,
    value: String,
    /// The quotation that is still open at its end.
    quotation: Quotation,
    is_redirection: bool,
}

impl Word {
    fn at(begins: usize) -> Self {
        Self { begins, ..Self::default() }
    }
}

/// Splits a line into words as bash does, without expansions. The last word is the one that is being typed, and may be
/// empty.
fn read(line: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut word = Word::default();
    let mut characters = line.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let next = characters.peek().map(|(_, next)| *next);
        match (word.quotation, character) {
            (Quotation::None, ' ' | '\t' | '\n') => {
                if at > word.begins {
                    words.push(std::mem::take(&mut word));
                }
                word.begins = at + 1;
            }
            (Quotation::None, '<' | '>') => {
                // A file descriptor number may precede it.
                let is_number = word.value.chars().all(|digit| digit.is_ascii_digit() || digit == '&');
                let ended = std::mem::replace(&mut word, Word::at(at + 1));
                if !is_number {
                    words.push(ended);
                }
                word.is_redirection = true;
            }
            (Quotation::None, '\'') => word.quotation = Quotation::Single,
            (Quotation::None, '"') => word.quotation = Quotation::Double,
            (Quotation::None, '$') if next == Some('\'') => {
                characters.next();
                word.quotation = Quotation::Ansi;
            }
            (Quotation::Single | Quotation::Ansi, '\'') | (Quotation::Double, '"') => {
                word.quotation = Quotation::None;
            }
            (Quotation::None | Quotation::Ansi, '\\') => {
                word.value.extend(characters.next().map(|(_, escaped)| escaped));
            }
            (Quotation::Double, '\\') if next.is_some_and(|next| "\"$`\\".contains(next)) => {
                word.value.extend(characters.next().map(|(_, escaped)| escaped));
            }
            (_, character) => word.value.push(character),
        }
    }
    words.push(word);
    words
}

/// Removes the quotation marks from one word.
fn unquote(typed: &str) -> String {
    read(typed).into_iter().map(|word| word.value).collect()
}
