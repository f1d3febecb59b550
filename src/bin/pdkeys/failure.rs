//! Maps the library's errors to a message, hints and an exit code, in one match without a wildcard.

use std::borrow::Cow;
use std::error::Error as _;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use pdkeys::ErrorKind;
use pdkeys::error::{Conflict, Displacement, KeyFault, Refusal, Unidentified};
use pdkeys::model::{Ability, KeyState, Noun};

use crate::redaction::{hide, possible_secrets};

/// The exit code of a command. The numbers are documented, and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// The command failed, or the store cannot be used.
    Failed = 1,
    /// The command was called wrongly.
    Usage = 2,
    /// The answer is no.
    No = 3,
    /// The acting user may not.
    NotPermitted = 4,
    /// The store has no such entry.
    NotFound = 5,
    /// The change was not confirmed, and not made.
    NotConfirmed = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed, with hints what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hints: Vec<String>,
    /// Whether nothing is printed, since the reader of the output has closed it.
    silent: bool,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hints: Vec::new(), silent: false }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn not_confirmed(message: impl Into<String>) -> Self {
        Self::new(Exit::NotConfirmed, message)
    }

    pub(crate) fn not_permitted(message: impl Into<String>) -> Self {
        Self::new(Exit::NotPermitted, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, message)
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Replaces secrets in the message and the hints by their hints: all arguments that look like one.
    pub(crate) fn without_secrets(mut self, arguments: &[OsString]) -> Self {
        let secrets = possible_secrets(arguments);
        if self.exit == Exit::NotFound && !secrets.is_empty() {
            self.hints.push(
                "an argument looks like a secret, and may be in the shell's history now: if it was exposed, rotate it"
                    .to_owned(),
            );
        }
        self.message = hide(&secrets, &self.message).into_owned();
        self.hints = self.hints.iter().map(|hint| hide(&secrets, hint).into_owned()).collect();
        self
    }

    pub(crate) fn code(&self) -> Exit {
        self.exit
    }

    pub(crate) fn message(&self) -> Option<String> {
        (!self.silent).then(|| pdkeys::model::escape(&self.message).into_owned())
    }

    pub(crate) fn hints(&self) -> &[String] {
        if self.silent { &[] } else { &self.hints }
    }
}

impl From<pdkeys::model::Error> for Failure {
    fn from(error: pdkeys::model::Error) -> Self {
        pdkeys::Error::from(error).into()
    }
}

impl From<pdkeys::Error> for Failure {
    fn from(error: pdkeys::Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(source) = cause {
            // Writing to a string does not fail.
            let _ = write!(message, ": {source}");
            cause = source.source();
        }
        let failure = |exit| Self::new(exit, message.clone());
        match error.kind() {
            ErrorKind::Invalid { what, .. } => failure(Exit::Usage)
                .with_hint(accepted_values(what).unwrap_or("--help shows what is taken, with examples")),
            ErrorKind::HoldsSecret { .. } => failure(Exit::Usage).with_hint(
                "nothing was changed; the secret may be in the shell's history now: if it was exposed, rotate it",
            ),
            ErrorKind::NotFound { noun, near, .. } => match near.as_slice() {
                [] => failure(Exit::NotFound).with_hint(format!("{} shows what there is", list_command(*noun))),
                near => failure(Exit::NotFound).with_hint(format!("did you mean {}?", near.join(" or "))),
            },
            ErrorKind::NotPermitted(_) => {
                failure(Exit::NotPermitted).with_hint("pdkeys whoami shows on whose behalf this ran")
            }
            ErrorKind::Unidentified(Unidentified::NoMapping { uid }) => failure(Exit::NotPermitted).with_hint(
                format!("an owner or admin can run: pdkeys user edit USER --os-user {uid}; or set PDKEYS_TOKEN"),
            ),
            ErrorKind::Unidentified(Unidentified::Token(_)) => failure(Exit::NotPermitted)
                .with_hint("the token comes from --token-file or PDKEYS_TOKEN; unset it to act as the operating-system user"),
            ErrorKind::Unidentified(Unidentified::NobodyToActAs(_) | Unidentified::Left(_)) => {
                failure(Exit::NotPermitted).with_hint("pdkeys user list shows who is here")
            }
            ErrorKind::Conflict(conflict) => failure(Exit::Failed).with_hint(way_out(conflict)),
            ErrorKind::Entropy(_) | ErrorKind::File { .. } => failure(Exit::Failed),
            ErrorKind::CutOff { .. } => failure(Exit::Failed).with_hint(
                "nothing was imported: what follows such a line cannot be told apart, and --skip-bad leaves out bad lines only",
            ),
            ErrorKind::UsageFile { .. } => failure(Exit::Failed)
                .with_hint("move it away, with its -wal and -shm: a new one is made, and only counts are lost"),
            ErrorKind::HandOver(_) => failure(Exit::Failed)
                .with_hint("send standard output where it is read, or name a new file with --write-to"),
            ErrorKind::Engine(_) => {
                failure(Exit::Failed).with_hint("nothing was changed; see whether the disk is full or read-only")
            }
            ErrorKind::Void(_) => failure(Exit::Failed).with_hint("throw that secret away, and run it again"),
            ErrorKind::Output(source) => {
                Self { silent: source.kind() == io::ErrorKind::BrokenPipe, ..failure(Exit::Failed) }
            }
            ErrorKind::NoStore(_) => failure(Exit::Failed)
                .with_hint("pdkeys init makes a store; --store or PDKEYS_STORE names another"),
            ErrorKind::StoreExists(_) => {
                failure(Exit::Failed).with_hint("it is used as it is; --store names another place")
            }
            ErrorKind::StoreRefused { path, refusal } => {
                failure(Exit::Failed).with_hint(way_in(path, refusal))
            }
            ErrorKind::BackupRefused { refusal: Refusal::NewerSchema { .. }, .. } => {
                failure(Exit::Failed).with_hint("nothing was touched; install a newer pdkeys")
            }
            ErrorKind::BackupRefused { .. } => {
                failure(Exit::Failed).with_hint("nothing was touched; it takes a file that pdkeys backup made")
            }
            ErrorKind::StoreLocked { .. } => {
                failure(Exit::Failed).with_hint("nothing was changed; try again, or see who holds it: fuser -v FILE")
            }
            ErrorKind::StoreKey { path, fault } => match fault {
                KeyFault::Missing => failure(Exit::Failed)
                    .with_hint("put it back from where it is kept, or name it with PDKEYS_STORE_KEY_FILE"),
                KeyFault::OpenToOthers { .. } => {
                    failure(Exit::Failed).with_hint(format!("chmod 0600 {}", path.display()))
                }
                KeyFault::WrongSize(_) | KeyFault::Foreign => failure(Exit::Failed)
                    .with_hint("the store works with the key that it was made with, and no other"),
                KeyFault::Unreadable(_) => failure(Exit::Failed)
                    .with_hint("run it as the user who owns the store, through sudo for instance"),
            },
            ErrorKind::Damaged(_) => {
                failure(Exit::Failed).with_hint("pdkeys restore FILE puts a backup in its place")
            }
        }
    }
}

/// Returns what to do about a store that is refused.
fn way_in(path: &Path, refusal: &Refusal) -> Cow<'static, str> {
    let hint = match refusal {
        Refusal::NotAFile | Refusal::NotAStore | Refusal::ForeignApplication | Refusal::LinkOfProcess => {
            "nothing was touched; --store or PDKEYS_STORE names another place"
        }
        Refusal::NewerSchema { .. } => "install a newer pdkeys",
        // A sticky directory, such as /tmp, is meant for all.
        Refusal::WritableByOthers { mode } if mode & STICKY != 0 => {
            "put the store into a directory of your own"
        }
        Refusal::WritableByOthers { .. } => return format!("chmod go-w {}", path.display()).into(),
        Refusal::OwnedByOthers { .. } => {
            "run it as the user who owns the store, through sudo for instance; --store names another place"
        }
        Refusal::PermissionDenied => "run it as the user who owns the store, through sudo for instance",
        Refusal::ReadOnly => {
            "changes, and counts of checks, need the store's files and directory to be writable"
        }
        Refusal::UnreadableLog => {
            "run pdkeys list once where the directory can be written, or copy the store with pdkeys backup there"
        }
        Refusal::TooLong { .. } => "SQLite takes no longer ones; --store names another place",
        Refusal::Corrupt | Refusal::Damaged(_) => "pdkeys restore FILE puts a backup in its place",
        Refusal::Displaced(how) => undo(*how),
    };
    hint.into()
}

/// The permission bit of a directory in which users cannot remove the files of others.
const STICKY: u32 = 0o1000;

/// Returns what to do if the open files are not those that other processes find.
fn undo(how: Displacement) -> &'static str {
    match how {
        Displacement::Awake => "run it again",
        Displacement::Gone | Displacement::Replaced => {
            "run it again; -wal and -shm stay beside the store, and go where it goes, while anything has it open"
        }
        Displacement::Linked(_) => "remove the other names: find / -xdev -samefile FILE shows them",
        Displacement::Mounted => "mount the directory that the store is in instead",
        Displacement::Overwritten => {
            "pdkeys restore FILE puts a backup in the place of a store that is in use"
        }
    }
}

/// Returns which values are accepted instead of a refused one, where that is more than `--help` says.
fn accepted_values(what: &str) -> Option<&'static str> {
    Some(match what {
        "description" => "say in one line of plain text what it is for, such as \"nightly deploy\"",
        "reason" => "say in one line of plain text why, such as key-compromise",
        "name" => "one line of plain text that is no id and does not begin with -, such as web",
        "expiry" => "--expires 90d counts from now, dates are in UTC, and --expires never sets no end",
        "overlap" => "--overlap 24h lets the present secret go on for a day; without it, it stops at once",
        "scope" => "pdkeys explain METHOD PATH shows which scopes a request needs",
        "integration type" => "events-api-v2 is the one for a program of your own",
        "role" => "pdkeys user list shows who has which",
        "store" => "name a file; one that is called - is ./-",
        "token file" => {
            "name a file, or give the token itself in PDKEYS_TOKEN; a file that is called - is ./-"
        }
        "store key" | "file" | "directory" => "name one on a disk; what is called - there is ./-",
        "id" => "list and show print the ids of things",
        _ => return None,
    })
}

/// Returns what to do about a change that the state of the store does not allow.
fn way_out(conflict: &Conflict) -> String {
    let text = match conflict {
        Conflict::SwitchedOff(Ability::RestApi) => {
            "the Account Owner can switch them on: pdkeys account set --rest-api on"
        }
        Conflict::SwitchedOff(Ability::AdvancedPermissions) => {
            "the Account Owner can switch them on: pdkeys account set --advanced-permissions on"
        }
        Conflict::Taken { noun, .. } => {
            return format!("choose another; {} shows which are taken", list_command(*noun));
        }
        Conflict::WiderAccess(_) => "make another that may do more: pdkeys create, or pdkeys token create",
        Conflict::WiderApp => "pdkeys app register makes another that may do more",
        Conflict::BeyondRole { .. } => "leave that out; without --scope a token may do all that the role may",
        Conflict::BeyondApp { .. } => "leave that out; without --scope the token has all scopes of its app",
        Conflict::NotActive { noun, id, state } => {
            let command = command(*noun);
            return match state {
                KeyState::Disabled => format!("let it work again first: {command} enable {id}"),
                KeyState::Active | KeyState::Expired => {
                    format!("give it more time first: {command} edit {id} --expires 90d")
                }
            };
        }
        Conflict::NoOverlap { noun, id } => {
            return format!("its present secret is the only one; {} rotate {id} replaces it", command(*noun));
        }
        Conflict::OtherKind { from: Noun::Orchestration, .. } => {
            "name that with --orchestration; pdkeys integration create --service SERVICE makes a new key for a service"
        }
        Conflict::OtherKind { .. } => {
            "name that with --service; pdkeys integration create --orchestration ORCHESTRATION makes a new key for one"
        }
        Conflict::HasIntegrations { .. } => {
            "--with-integrations removes them too; pdkeys integration move takes them elsewhere"
        }
        Conflict::OneOwner => "pdkeys account transfer USER makes another user the owner",
        Conflict::OwnerStays(_) => "transfer the account first: pdkeys account transfer USER",
        Conflict::Left(_) => {
            "pdkeys user list shows who is here; pdkeys user add adds the person as a new user"
        }
        Conflict::Gone(_) => "it was removed just now, and nothing was changed; run it again",
        Conflict::BadLines { bad, lines } if bad == lines => "put them right, and import the file again",
        Conflict::BadLines { .. } => "put them right, or leave them out with --skip-bad",
        Conflict::NotUnique(_) => "nothing was changed; run it again, and see what is in the way",
        Conflict::DeadSecret => "pdkeys create makes a new one",
        Conflict::FileExists(_) => "choose another name, or move it away first",
        Conflict::IsStore(_) => "name a file that pdkeys backup made",
        Conflict::StoreInUse(_) => "pdkeys backup, with --store, makes a backup of it",
        Conflict::OtherStoreKey(_) => "move it away first, if it is not needed any more",
        Conflict::KeyOfAnother(_) => {
            "move it away if its store is gone for good; a new store gets a key of its own"
        }
        Conflict::Namesake { .. } => "choose another name; one that ends in .db suits",
        Conflict::StoresOwnName(_) => "nothing was made; choose another name, or another directory",
        Conflict::LeftOver(_) => "move it away first",
        Conflict::ChangedMeanwhile(_) => "nothing was changed; run it again, and see what it asks then",
        Conflict::Fault(_) => "nothing was changed; this is a fault of pdkeys itself, so please report it",
    };
    text.to_owned()
}

/// Returns the beginning of the commands for a noun.
fn command(noun: Noun) -> &'static str {
    list_command(noun).rsplit_once(' ').map_or("pdkeys", |(command, _)| command)
}

fn list_command(noun: Noun) -> &'static str {
    match noun {
        Noun::Account => "pdkeys account show",
        Noun::GeneralKey => "pdkeys list",
        Noun::UserToken => "pdkeys token list",
        Noun::App | Noun::AppToken => "pdkeys app list",
        Noun::User => "pdkeys user list",
        Noun::Service => "pdkeys service list",
        Noun::Orchestration => "pdkeys orchestration list",
        Noun::Integration => "pdkeys integration list",
    }
}

/// Returns the hint for a value that the library refused while clap parsed it.
pub(crate) fn hint_for_value(error: &clap::Error) -> Option<&'static str> {
    match error.source()?.downcast_ref::<pdkeys::model::Error>()? {
        pdkeys::model::Error::Invalid { what, .. } => accepted_values(what),
        _ => None,
    }
}
