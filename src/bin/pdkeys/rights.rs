//! Whose rights the process has: its caller's, or those of an account that the caller reached through sudo.
//!
//! Behind sudo the files of the service account are open to the process and closed to its caller. So the caller gets to
//! name a store, which the account must own with every step of the way to it, and no other file: input comes through
//! standard input, output goes through standard output, and those the caller's shell opens with the caller's own rights.

use std::any::TypeId;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command};

use crate::failure::Failure;
use crate::paths::STREAM;
#[cfg(feature = "serve")]
use crate::serve::Address;
use crate::session::variable;

/// The argument that may name a file behind a deputy: a store is refused unless the process or root own it, and the way.
const STORE: &str = "store";
const ROOT: u32 = 0;

/// Whose rights the process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// The caller's own, or the caller is root.
    Callers,
    /// Those of another operating-system user than the caller, if it can be made out who that is.
    Deputys(Option<u32>),
}

impl Rights {
    /// Asks the kernel and the variables in which sudo, pkexec and doas name their caller.
    ///
    /// A caller who sets one of these without them has fewer rights, never more.
    pub(crate) fn of_process() -> Self {
        let effective = rustix::process::geteuid().as_raw();
        let number = |value: OsString| value.to_str()?.parse().ok();
        let named = ["SUDO_UID", "PKEXEC_UID"].into_iter().filter_map(variable).map(number);
        let by_login = variable("DOAS_USER").map(|login| Some(uzers::get_user_by_name(&login)?.uid()));
        // A program that is installed set-user-id is a deputy as well.
        let real = Some(rustix::process::getuid().as_raw());
        // A caller who cannot be made out is another one.
        let is_another = |uid: &Option<u32>| uid.is_none_or(|uid| ![ROOT, effective].contains(&uid));
        let mut callers = named.chain(by_login).chain([real]).filter(is_another);
        match callers.next() {
            None => Self::Callers,
            Some(caller) => Self::Deputys(caller.filter(|_| callers.all(|other| other == caller))),
        }
    }

    /// Whether they are those of another user than the caller.
    pub(crate) fn are_a_deputys(self) -> bool {
        matches!(self, Self::Deputys(_))
    }

    /// Refuses files that the caller names on the command line, other than the store.
    pub(crate) fn refuse_files(self, command: &Command, matches: &ArgMatches) -> Result<(), Failure> {
        if !self.are_a_deputys() {
            return Ok(());
        }
        files_named(command, matches, |argument, path| {
            let is_refused = argument.get_id() != STORE && path.as_os_str() != STREAM;
            if is_refused { Err(refused(&shown(argument))) } else { Ok(()) }
        })
    }

    /// Refuses what the caller would have the process do to files without naming one.
    pub(crate) fn refuse(self, what: &str) -> Result<(), Failure> {
        if self.are_a_deputys() { Err(refused(what)) } else { Ok(()) }
    }

    /// Refuses to make a store, or to restore one where no store tells whether the caller may.
    pub(crate) fn refuse_founding(self) -> Result<(), Failure> {
        if !self.are_a_deputys() {
            return Ok(());
        }
        Err(Failure::not_permitted("no store is made or brought back under sudo: none says whether the caller may")
            .with_hint("an administrator can: sudo -u ACCOUNT env -u SUDO_UID pdkeys ..., with init --os-user to name the owner"))
    }
}

fn refused(what: &str) -> Failure {
    Failure::not_permitted(format!("{what} is not taken under sudo: the file would be opened with another user's rights"))
        .with_hint("use standard input or output, which your shell opens: < FILE, > FILE; - stands for them where a file must be named")
}

/// How an argument is called in messages.
pub(crate) fn shown(argument: &Arg) -> String {
    match argument.get_long() {
        Some(long) => format!("--{long}"),
        None => argument.to_string(),
    }
}

/// Whether an argument takes the name of a file, whatever it does with it.
fn takes_file(argument: &Arg) -> bool {
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

/// The paths that an argument was given.
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
    use clap::{CommandFactory as _, ValueHint};

    use super::*;
    use crate::commands::Cli;

    fn visit(command: &Command, name: &str, visitor: &mut dyn FnMut(&str, &Arg)) {
        for argument in command.get_arguments() {
            visitor(name, argument);
        }
        for below in command.get_subcommands() {
            visit(below, &format!("{name} {}", below.get_name()), visitor);
        }
    }

    /// Every argument that is described as a file, in whatever way, must be one that is refused behind a deputy.
    #[test]
    fn each_argument_that_names_a_file_is_known() {
        let mut files = Vec::new();
        visit(&Cli::command(), "pdkeys", &mut |command, argument| {
            let hint = argument.get_value_hint();
            let names = argument.get_value_names().unwrap_or_default();
            let is_described_as_file =
                matches!(hint, ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath)
                    || names.iter().any(|name| ["FILE", "PATH", "DIRECTORY", "DIR"].contains(&name.as_str()));
            let is_request_path = argument.get_id() == "path";
            if takes_file(argument) {
                files.push(format!("{command} {}", shown(argument)));
            } else {
                assert!(!is_described_as_file || is_request_path, "{command} {argument:?}");
            }
        });
        files.sort();
        insta::assert_snapshot!(files.join("\n"), @r"
        pdkeys --store
        pdkeys --token-file
        pdkeys app register --write-to
        pdkeys app rotate --write-to
        pdkeys app token --write-to
        pdkeys backup --with-store-key
        pdkeys backup <FILE>
        pdkeys create --write-to
        pdkeys import <FILE>
        pdkeys integration create --write-to
        pdkeys man <DIRECTORY>
        pdkeys orchestration create --write-to
        pdkeys restore --store-key
        pdkeys restore <FILE>
        pdkeys revoke --key-file
        pdkeys rotate --write-to
        pdkeys scan [PATH]...
        pdkeys serve --listen
        pdkeys serve --metrics-listen
        pdkeys service create --write-to
        pdkeys token create --write-to
        pdkeys token rotate --write-to
        pdkeys user import <FILE>
        pdkeys verify --key-file
        ");
    }
}
