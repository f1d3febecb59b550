//! Files that arguments name, and what stands for standard input and output among them.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};
use pdkeys::ErrorKind;

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

#[cfg(test)]
mod tests {
    use std::any::TypeId;

    use clap::{Arg, Command, CommandFactory as _, ValueHint};

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
}
