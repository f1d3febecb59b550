//! Whose rights the process has: those of its caller, or of an account that the caller reached through sudo.
//!
//! Behind sudo the files of the service account are open to the process and closed to its caller. So the caller may
//! name a store, which the account must own together with every directory above it, and no other file: input comes from
//! standard input and output goes to standard output, which the caller's shell opens with the caller's own rights.

use std::ffi::OsString;

use clap::{ArgMatches, Command};

use crate::environment::variable;
use crate::failure::Failure;
use crate::paths::{STREAM, files_named, shown};

/// The one argument that may name a file behind a deputy. Opening the store checks who owns it and its directories.
const STORE: &str = "store";
const ROOT: u32 = 0;

/// Whose rights the process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// The caller's own, or the caller is root.
    Callers,
    /// Those of another operating-system user. The uid is the caller's, if it can be determined.
    Deputys(Option<u32>),
}

impl Rights {
    /// Determines the rights from the uids of the process and the variables in which sudo, pkexec and doas name their
    /// caller.
    ///
    /// Setting one of these variables by hand can only take rights away.
    pub(crate) fn of_process() -> Self {
        let effective = rustix::process::geteuid().as_raw();
        let number = |value: OsString| value.to_str()?.parse().ok();
        let named = ["SUDO_UID", "PKEXEC_UID"].into_iter().filter_map(variable).map(number);
        let by_login = variable("DOAS_USER").map(|login| Some(uzers::get_user_by_name(&login)?.uid()));
        // A set-user-id program is a deputy as well.
        let real = Some(rustix::process::getuid().as_raw());
        // A caller who cannot be determined counts as another user.
        let is_another = |uid: &Option<u32>| uid.is_none_or(|uid| ![ROOT, effective].contains(&uid));
        let mut callers = named.chain(by_login).chain([real]).filter(is_another);
        match callers.next() {
            None => Self::Callers,
            Some(caller) => Self::Deputys(caller.filter(|_| callers.all(|other| other == caller))),
        }
    }

    /// Returns whether they are those of another user than the caller.
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

    /// Refuses an option or input that makes the process use files that are not named on the command line.
    pub(crate) fn refuse(self, what: &str) -> Result<(), Failure> {
        if self.are_a_deputys() { Err(refused(what)) } else { Ok(()) }
    }

    /// Refuses to make a store, or to restore one where there is no store that says whether the caller may.
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

#[cfg(test)]
mod tests {
    use clap::{Arg, CommandFactory as _, ValueHint};

    use super::*;
    use crate::cli::Cli;
    use crate::paths::takes_file;

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
