//! The shells that are completed for: their scripts, how each hands over the line, and how bash writes a word.
//!
//! zsh, fish and elvish quote what they insert by themselves. bash inserts a candidate as it is, in the place of the part
//! of the word after the last break (`=`, `:`, an opening quotation mark), so that it is quoted here for that place.

use std::ffi::{OsStr, OsString};

use clap::ValueEnum;
use pdkeys::model::is_hazardous;

use crate::session::variable;

/// A shell that completion scripts are made for.
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

    /// Reads the line out of what the shell's script passes.
    pub(crate) fn read_line(self, passed: &[OsString]) -> Option<Line> {
        let passed: Vec<_> = passed.iter().map(|argument| argument.to_string_lossy()).collect();
        match self {
            // The line up to the cursor, the line after it, and what would be replaced.
            Self::Bash => match passed.as_slice() {
                [before, after, replaced] => Line::of_bash(before, after, replaced),
                _ => None,
            },
            // The number of the word, beginning with 1, and the words as they were typed.
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
                    // fish gives the word at the cursor as it was typed.
                    if let Some(last) = words.last_mut() {
                        *last = unquote(last);
                    }
                }
                let current = words.len().checked_sub(1)?;
                Line::new(words, current)
            }
        }
    }

    /// Writes the candidates as the shell's script takes them, a line each.
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
    /// The words as the command would get them, the program's name first.
    pub(crate) words: Vec<OsString>,
    /// The index of the word that is being typed.
    pub(crate) current: usize,
    /// Whether that word is the file of a redirection, which is the shell's and not the command's.
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
        // What stands right after the cursor is the end of the word that is being typed.
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
                // bash inserts what all of them begin with, which must not end in half of an escape.
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

/// Where the home directory is meant, puts it: a shell does so only when it runs the line.
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

/// Which quotation marks a place of a line stands between.
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
    /// Writes text so that bash reads it as it is.
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
                // What a backslash does not take the meaning from between these marks is written outside of them.
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
    /// The index of the byte at which it begins.
    begins: usize,
    value: String,
    /// The quotation that it ends in, if it is not finished.
    quotation: Quotation,
    is_redirection: bool,
}

impl Word {
    fn at(begins: usize) -> Self {
        Self { begins, ..Self::default() }
    }
}

/// Reads the words of a line as bash does, but expands nothing. The last of them is the one that is being typed, and may
/// be empty.
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
                // In front of it may be the number of a descriptor.
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

/// Takes the quotation marks away from one word.
fn unquote(typed: &str) -> String {
    read(typed).into_iter().map(|word| word.value).collect()
}
