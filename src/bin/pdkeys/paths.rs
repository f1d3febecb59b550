//! Files that arguments name, what stands for standard input and output among them, and what names no file: URLs, and
//! homes that no shell has replaced.

use std::path::{Component, Path, PathBuf};

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{ArgMatches, Command};
use pdkeys::ErrorKind;

use crate::failure::Failure;
use crate::rights::{files_named, shown};

/// What stands for standard input or output in the place of a file, as everywhere. A file of this name is `./-`.
pub(crate) const STREAM: &str = "-";

/// Takes the path of something that is no stream, called `what` in the message that refuses one.
pub(crate) fn no_stream(what: &'static str) -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(move |path| refuse_stream(what, path))
}

/// Refuses a path that stands for standard input or output.
pub(crate) fn refuse_stream(what: &'static str, path: PathBuf) -> Result<PathBuf, pdkeys::Error> {
    if path.as_os_str() != STREAM {
        return Ok(path);
    }
    let why = "- stands for standard input or output, and is not taken here".to_owned();
    Err(ErrorKind::Invalid { what, why }.into())
}

/// Refuses a path on the command line that begins with a home directory as shells write it.
pub(crate) fn refuse_unexpanded(command: &Command, matches: &ArgMatches) -> Result<(), Failure> {
    files_named(command, matches, |argument, path| refuse_home(&shown(argument), path))
}

/// Refuses a path that begins with a home directory as shells write it. They put the directory in its place at the
/// beginning of a word only, and not between quotes: what arrives here would be a directory called `~`.
pub(crate) fn refuse_home(given_as: &str, path: &Path) -> Result<(), Failure> {
    let mut components = path.components();
    let Some(Component::Normal(first)) = components.next() else { return Ok(()) };
    let is_users = first.as_encoded_bytes().starts_with(b"~") && components.next().is_some();
    // Many a file's name begins like this; of a directory it must be one that is there.
    if first != "~" && (!is_users || Path::new(first).exists()) {
        return Ok(());
    }
    Err(Failure::usage(format!("{given_as}: the shell did not replace {}", first.display())).with_hint(format!(
        "it does so only where a word begins with it, without quotes: give the whole path, or ./{} if it is called so",
        path.display()
    )))
}

/// The path of a store that was named, if it is one.
pub(crate) fn of_store(path: PathBuf) -> Result<PathBuf, Failure> {
    if path.as_os_str().is_empty() {
        return Err(Failure::usage("the store's path is empty"));
    }
    let path = refuse_stream("store", path)?;
    refuse_home("the store's path", &path)?;
    match what_else(&path.to_string_lossy()) {
        None => Ok(path),
        Some(what) => Err(Failure::usage(format!("the store's path is {what}")).with_hint(
            "this pdkeys keeps its store in a file: give its path, with ./ before it if it begins like this",
        )),
    }
}

/// What a text is, where databases are named by more than paths. Of a URL it repeats the scheme alone: a password may
/// stand in the rest.
fn what_else(text: &str) -> Option<String> {
    if text.starts_with(':') {
        return Some("a special name of SQLite's".to_owned());
    }
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|char| char.is_ascii_alphanumeric() || "+-.".contains(char));
    let is_sqlites = ["file", "sqlite"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    (is_scheme && (is_sqlites || rest.starts_with("//"))).then(|| format!("a URL ({scheme}:)"))
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;

    use clap::{Arg, CommandFactory as _, ValueHint};

    use super::*;
    use crate::commands::Cli;

    /// Where `-` is standard input or output; sessions show each of them.
    const STREAMS: [&str; 7] = [
        "file of backup",
        "file of restore",
        "file of import",
        "paths of scan",
        "--key-file of verify",
        "--key-file of revoke",
        "--write-to of ",
    ];

    /// Shows each argument that names a file, by what it is called and the name of its command.
    fn visit(command: &Command, see: &mut dyn FnMut(String, &Arg)) {
        for argument in command.get_arguments() {
            let hint = argument.get_value_hint();
            let is_described_so =
                [ValueHint::FilePath, ValueHint::DirPath, ValueHint::AnyPath].contains(&hint);
            if is_described_so || argument.get_value_parser().type_id() == TypeId::of::<PathBuf>() {
                let called = match argument.get_long() {
                    Some(long) => format!("--{long}"),
                    None => argument.get_id().to_string(),
                };
                see(format!("{called} of {}", command.get_name()), argument);
            }
        }
        command.get_subcommands().for_each(|below| visit(below, see));
    }

    /// Whether the parser of an argument takes a path.
    fn takes(argument: &Arg, path: &str) -> bool {
        let alone = Arg::new("path").value_parser(argument.get_value_parser().clone());
        Command::new("test").arg(alone).try_get_matches_from(["test", path]).is_ok()
    }

    #[test]
    fn every_argument_that_names_a_file_takes_a_stream_as_one_or_refuses_it() {
        let mut seen = Vec::new();
        visit(&Cli::command(), &mut |called, argument| {
            let is_stream = STREAMS.iter().any(|stream| called.starts_with(stream));
            assert_eq!(takes(argument, STREAM), is_stream, "{called}");
            assert!(takes(argument, "./-"), "{called}");
            seen.push(called);
        });
        for stream in STREAMS {
            assert!(seen.iter().any(|called| called.starts_with(stream)), "{stream}: {seen:?}");
        }
        for expected in
            ["--store of pdkeys", "--with-store-key of backup", "--store-key of restore", "directory of man"]
        {
            assert!(seen.iter().any(|called| called == expected), "{expected}: {seen:?}");
        }
    }

    #[test]
    fn urls_and_special_names_are_no_paths_of_stores() {
        for url in [
            ":memory:",
            ":",
            ":other:",
            "file:keys.db",
            "file:///var/keys.db?mode=memory",
            "FILE:keys.db",
            "sqlite:keys.db",
            "sqlite::memory:",
            "sqlite:///var/keys.db",
            "sqlite+aiosqlite:///keys.db",
            "postgres://db.example/keys",
            "PostgreSQL://db.example",
            "https://example.com/keys.db",
            "s3://bucket/keys.db",
        ] {
            assert!(what_else(url).is_some(), "{url}");
        }
        for path in [
            "keys.db",
            "/var/keys.db",
            "./:memory:",
            "./file:keys.db",
            "a:b.db",
            "2024:keys.db",
            "files:keys.db",
            "filer",
            "keys/file:x.db",
            "1st://x",
            "a b://x",
            "x/y://z",
        ] {
            assert_eq!(what_else(path), None, "{path}");
        }
    }
}
