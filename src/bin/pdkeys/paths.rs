//! Paths in arguments, `-` for standard input and output, and paths that name no file: URLs, and home directories that no
//! shell has expanded.

use std::any::TypeId;
use std::path::{Component, Path, PathBuf};

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Arg, ArgMatches, Command};

use crate::failure::Failure;
#[cfg(feature = "serve")]
use crate::serve::address::Address;

/// The path that stands for standard input or output. A file of this name is `./-`.
pub(crate) const STREAM: &str = "-";

/// Returns a parser of paths that refuses `-`. `what` names the argument in its message.
pub(crate) fn no_stream(what: &'static str) -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(move |path| refuse_stream(what, path))
}

/// Refuses a path that stands for standard input or output.
pub(crate) fn refuse_stream(what: &'static str, path: PathBuf) -> pdkeys::model::Result<PathBuf> {
    if path.as_os_str() != STREAM {
        return Ok(path);
    }
    let why = "- stands for standard input or output, and is not taken here".to_owned();
    Err(pdkeys::model::Error::Invalid { what, why })
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

/// Returns the name of an argument in messages.
pub(crate) fn shown(argument: &Arg) -> String {
    match argument.get_long() {
        Some(long) => format!("--{long}"),
        None => argument.to_string(),
    }
}

/// Returns whether an argument takes the name of a file.
pub(crate) fn takes_file(argument: &Arg) -> bool {
    let kind = argument.get_value_parser().type_id();
    kind == TypeId::of::<PathBuf>() || is_address(argument)
}

#[cfg(feature = "serve")]
fn is_address(argument: &Arg) -> bool {
    argument.get_value_parser().type_id() == TypeId::of::<Address>()
}

#[cfg(not(feature = "serve"))]
fn is_address(_: &Arg) -> bool {
    false
}

/// Calls a function with each path that the command line names, until it refuses one.
pub(crate) fn files_named(
    command: &Command,
    matches: &ArgMatches,
    mut judge: impl FnMut(&Arg, &Path) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (mut command, mut matches) = (command, matches);
    loop {
        for argument in command.get_arguments().filter(|argument| takes_file(argument)) {
            for path in paths_of(argument, matches) {
                judge(argument, path)?;
            }
        }
        let Some((name, below)) = matches.subcommand() else { return Ok(()) };
        let Some(found) = command.find_subcommand(name) else { return Ok(()) };
        (command, matches) = (found, below);
    }
}

/// Returns the paths that an argument was given.
fn paths_of<'m>(argument: &Arg, matches: &'m ArgMatches) -> Vec<&'m Path> {
    let id = argument.get_id().as_str();
    #[cfg(feature = "serve")]
    if is_address(argument) {
        let addresses = matches.try_get_many::<Address>(id).ok().flatten().into_iter().flatten();
        return addresses.filter_map(Address::path).collect();
    }
    let paths = matches.try_get_many::<PathBuf>(id).ok().flatten().into_iter().flatten();
    paths.map(PathBuf::as_path).collect()
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;

    use clap::{Arg, CommandFactory as _, ValueHint};

    use super::*;
    use crate::cli::Cli;

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
