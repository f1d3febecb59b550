//! The error of the library: a closed set of kinds, with the values that their messages need.
//!
//! An error means that something was not done, or could not be found out. A denied credential is a verdict, not an
//! error. Programs choose hints and exit codes by matching on [`ErrorKind`] without a wildcard.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::authz::{NotCovered, NotPermitted};
use crate::model::{self, Ability, Id, KeyState, Name, Noun, Role};
use crate::ports::EntropyError;

/// The result of most functions of the library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the library. It displays as one sentence without a full stop; its cause, if any, is its `source`.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<ErrorKind>);

impl Error {
    /// Returns the kind of the error, with its details.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// Returns true if the files of an open store were removed or replaced. The store can be opened again only after this
    /// process has closed every connection to it.
    #[must_use]
    pub fn is_displaced(&self) -> bool {
        matches!(self.kind(), ErrorKind::StoreRefused { refusal: Refusal::Displaced(_), .. })
    }

    /// Returns true if the same call may succeed later: the store could not be reached or was busy, and nothing was
    /// found out or changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self.kind(), ErrorKind::StoreLocked { .. })
    }

    /// Creates an [`ErrorKind::Invalid`].
    pub(crate) fn invalid(what: &'static str, why: impl Into<String>) -> Self {
        ErrorKind::Invalid { what, why: why.into() }.into()
    }
}

impl From<model::Error> for Error {
    fn from(error: model::Error) -> Self {
        match error {
            model::Error::Invalid { what, why } => ErrorKind::Invalid { what, why }.into(),
            model::Error::WiderAccess(gained) => Conflict::WiderAccess(gained).into(),
            model::Error::WiderApp => Conflict::WiderApp.into(),
            model::Error::Damaged(what) => ErrorKind::Damaged(what).into(),
            model::Error::Entropy(error) => error.into(),
        }
    }
}

impl From<EntropyError> for Error {
    fn from(error: EntropyError) -> Self {
        ErrorKind::from(error).into()
    }
}

impl From<NotPermitted> for Error {
    fn from(error: NotPermitted) -> Self {
        ErrorKind::from(error).into()
    }
}

impl From<NotCovered> for Error {
    fn from(error: NotCovered) -> Self {
        Conflict::Fault(error.to_string()).into()
    }
}

impl From<Conflict> for Error {
    fn from(conflict: Conflict) -> Self {
        ErrorKind::from(conflict).into()
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(kind))
    }
}

/// The kinds of error.
#[derive(Debug, thiserror::Error)]
pub enum ErrorKind {
    /// A value is invalid. Nothing was changed.
    #[error("{what}: {why}")]
    Invalid {
        /// The name of the value, as users know it.
        what: &'static str,
        /// The rule that it breaks.
        why: String,
    },
    /// A text to store contains a secret that the store has, or had.
    #[error("{what}: must not contain a secret, but contains one of {} {of}", of.noun())]
    HoldsSecret {
        /// The name of the text, as users know it.
        what: String,
        /// The credential or the app that the secret belongs or belonged to.
        of: Id,
    },
    /// The store has no such resource.
    #[error("{noun} {reference} not found")]
    NotFound {
        /// The noun of the resource.
        noun: Noun,
        /// The id or name that was given, in a form that is safe to print.
        reference: String,
        /// Similar ids or names that may have been meant, out of those that the acting user may list.
        near: Vec<String>,
    },
    /// The acting user lacks the permission.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// The acting user could not be determined.
    #[error(transparent)]
    Unidentified(#[from] Unidentified),
    /// The state of the store does not allow the change.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The secret could not be handed over, so the change was not made.
    #[error("the secret could not be handed over, and nothing was changed")]
    HandOver(#[source] io::Error),
    /// The secret was handed over, but the change could not be committed afterwards.
    #[error("the change could not be committed: the secret just handed over is void")]
    Void(#[source] Error),
    /// The output could not be written.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// There is no store at this path.
    #[error("no store at {}", .0.display())]
    NoStore(PathBuf),
    /// A store exists at the path of a new one.
    #[error("there is a store at {} already", .0.display())]
    StoreExists(PathBuf),
    /// The file cannot be used as a store. It was not changed.
    #[error("{}: {refusal}", path.display())]
    StoreRefused {
        /// The file that was refused.
        path: PathBuf,
        /// The reason for refusing it.
        refusal: Refusal,
    },
    /// The file cannot be restored.
    #[error("{}: {refusal}", path.display())]
    BackupRefused {
        /// The file that was refused.
        path: PathBuf,
        /// The reason for refusing it.
        refusal: Refusal,
    },
    /// Another process held the lock of the store for too long.
    #[error("the store was locked by another process for {} s", waited.as_secs())]
    StoreLocked {
        /// The time that this process waited for the lock.
        waited: Duration,
    },
    /// The store key is unavailable.
    #[error("store key {}: {fault}", path.display())]
    StoreKey {
        /// The file of the store key.
        path: PathBuf,
        /// What is wrong with it.
        fault: KeyFault,
    },
    /// The usage file cannot be used. Only usage counts depend on it.
    #[error("usage file {}: {why}", path.display())]
    UsageFile {
        /// The usage file.
        path: PathBuf,
        /// The fault.
        why: String,
    },
    /// The database engine failed.
    #[error("the store failed")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A file could not be read or written.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// It is uncertain where a record of an imported file ends, and so what follows it.
    #[error("{}:{line}: {why}", path.display())]
    CutOff {
        /// The file.
        path: PathBuf,
        /// The line on which the record begins.
        line: u64,
        /// What is wrong with it, without its content.
        why: String,
    },
    /// The store contains data that this program does not write.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// No random bytes were available.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// The reason that the state of the store, or of the files around it, does not allow a change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The account has switched off an ability.
    #[error("{0} are switched off in this account")]
    SwitchedOff(Ability),
    /// Another resource has a value that must be unique.
    #[error("{noun} {name} ({id}) has this {what} already")]
    Taken {
        /// The noun of the other resource.
        noun: Noun,
        /// The name of the other resource.
        name: Name,
        /// The id of the other resource.
        id: Id,
        /// The name of the value.
        what: &'static str,
    },
    /// An edit would widen the access of a key or a token.
    #[error("access can be narrowed, never widened: {0}")]
    WiderAccess(String),
    /// An edit would add scopes to an app.
    #[error("an app's scopes can be narrowed, never widened")]
    WiderApp,
    /// A token would have scopes that its user's role does not hold.
    #[error("the role {role} does not hold {scopes}")]
    BeyondRole {
        /// The user's role.
        role: Role,
        /// The scopes that the role does not hold.
        scopes: String,
    },
    /// An app token would have scopes that its app does not have.
    #[error("app {app} does not have {scopes}")]
    BeyondApp {
        /// The name of the app.
        app: Name,
        /// The scopes that the app does not have.
        scopes: String,
    },
    /// A key or a token that is not active cannot be rotated.
    #[error("{noun} {id} is {state}: it cannot be rotated")]
    NotActive {
        /// The noun: a key or a token.
        noun: Noun,
        /// The id.
        id: Id,
        /// The present state.
        state: KeyState,
    },
    /// There is no overlap to end.
    #[error("{noun} {id} has no overlap to end")]
    NoOverlap {
        /// The noun: a key, a token or an app.
        noun: Noun,
        /// The id.
        id: String,
    },
    /// An integration cannot move from a service to an orchestration, or the reverse.
    #[error("integration {id} leads into the {from} {name}, and can move to another {from} only")]
    OtherKind {
        /// The id of the integration.
        id: Id,
        /// The noun of its present destination.
        from: Noun,
        /// The name of its present destination.
        name: Name,
    },
    /// The removal would also remove integrations, which was not requested.
    #[error("{noun} {name} still has integrations: {integrations}")]
    HasIntegrations {
        /// The noun: a service or an orchestration.
        noun: Noun,
        /// The name of the service or the orchestration.
        name: Name,
        /// The integrations of it.
        integrations: String,
    },
    /// A change of roles cannot make or unmake the Account Owner.
    #[error("an account has exactly one owner")]
    OneOwner,
    /// The Account Owner cannot be removed.
    #[error("{0} is the Account Owner")]
    OwnerStays(Name),
    /// The user has left the account.
    #[error("{0} has left the account")]
    Left(String),
    /// The resource was removed in the meantime.
    #[error("{0} is gone")]
    Gone(Id),
    /// Lines of an import were refused, so nothing was imported.
    #[error("{bad} of {lines} line{} cannot be imported, and nothing was", if *lines == 1 { "" } else { "s" })]
    BadLines {
        /// The number of lines that were refused.
        bad: u64,
        /// The number of lines.
        lines: u64,
    },
    /// A row or a secret that may be there only once is there already.
    #[error("the store has such a row of {0} already")]
    NotUnique(&'static str),
    /// The secret was removed or rotated, and cannot be added again.
    #[error("this secret was removed or rotated away, and cannot come back")]
    DeadSecret,
    /// A file exists, and is never overwritten.
    #[error("{} is there already, and is not overwritten", .0.display())]
    FileExists(PathBuf),
    /// The file to restore is the store itself.
    #[error("{} is the store itself", .0.display())]
    IsStore(PathBuf),
    /// The file to restore is in use.
    #[error("{} is a store in use, with a write-ahead log beside it, and no backup", .0.display())]
    StoreInUse(PathBuf),
    /// The store key at the destination belongs to another store.
    #[error("{} is another store key", .0.display())]
    OtherStoreKey(PathBuf),
    /// The store key for a new store belongs to another store.
    #[error("{} is the store key of another store", .0.display())]
    KeyOfAnother(PathBuf),
    /// Two databases in one directory would have other files of the same names.
    #[error("{} would share the files beside it with {}", database.display(), other.display())]
    Namesake {
        /// The database to create.
        database: PathBuf,
        /// The database that exists.
        other: PathBuf,
    },
    /// The path is that of one of the store's own files.
    #[error("{} is a name that a store has for its own files", .0.display())]
    StoresOwnName(PathBuf),
    /// There is a write-ahead log without a store.
    #[error("{} is left over from a store that is gone", .0.display())]
    LeftOver(PathBuf),
    /// The store changed after the user confirmed which credentials a restore would reactivate.
    #[error("the store changed: restoring would also reactivate {0}")]
    ChangedMeanwhile(Id),
    /// The change can be attempted only by a fault of the program.
    #[error("{0}")]
    Fault(String),
}

/// The reason that the acting user could not be determined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unidentified {
    /// No user is mapped to the operating-system user.
    #[error("operating-system user {uid} is no user of this account")]
    NoMapping {
        /// The operating-system user.
        uid: u32,
    },
    /// The account has no such user to act as.
    #[error("there is no user {0} to act as")]
    NobodyToActAs(String),
    /// The user has left the account.
    #[error("{0} has left the account")]
    Left(String),
    /// The user token that was given is not accepted.
    #[error("the user token is not accepted: {0}")]
    Token(TokenRefusal),
}

/// The reason that a user token does not identify an acting user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// The token is empty.
    #[error("it is empty")]
    Empty,
    /// The text does not have the shape of a user token.
    #[error("it is not a user token")]
    WrongShape,
    /// The store has no such token.
    #[error("it is unknown")]
    Unknown,
    /// The token was removed or rotated.
    #[error("it was removed or rotated")]
    Dead,
    /// The token has expired.
    #[error("it has expired")]
    Expired,
    /// The user of the token has left.
    #[error("its user has left the account")]
    UserLeft,
    /// The token is limited to scopes. It could otherwise be used to create a token without that limit.
    #[error("it is limited to some scopes, and managing takes a token of the whole role")]
    Narrowed,
    /// The account has switched off user tokens.
    #[error("user tokens are switched off in this account")]
    NoAbility,
}

/// The reason that a file cannot be used as a store, or restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is a directory, a pipe or another special file.
    #[error("not a file")]
    NotAFile,
    /// It is a file of another format, or truncated.
    #[error("not a pdkeys store")]
    NotAStore,
    /// It is an SQLite database of another program.
    #[error("an SQLite database, but not a pdkeys store")]
    ForeignApplication,
    /// It was written by a newer version.
    #[error("written by a newer pdkeys (schema {found}; this one knows {known})")]
    NewerSchema {
        /// The schema version of the file.
        found: i64,
        /// The newest schema version that this program knows.
        known: i64,
    },
    /// Other users can write to it.
    #[error("can be written by others (mode {mode:04o})")]
    WritableByOthers {
        /// The permission bits.
        mode: u32,
    },
    /// It belongs neither to the user of the process nor to root, so its owner could change it, or redirect what the
    /// process writes. A process of root accepts any owner.
    #[error("belongs to another operating-system user ({uid})")]
    OwnedByOthers {
        /// The uid of the owner.
        uid: u32,
    },
    /// A link of the operating system's to what a process has open, such as `/proc/self/cwd`.
    #[error("leads to what a process has open, whatever is written in it")]
    LinkOfProcess,
    /// The operating system denies access.
    #[error("permission denied")]
    PermissionDenied,
    /// It can be read, but not written, and the operation needs to write.
    #[error("can be read here, but not written")]
    ReadOnly,
    /// The write-ahead log has commits that can be read only where its directory can be written.
    #[error("holds changes that cannot be read where nothing can be written")]
    UnreadableLog,
    /// The path is longer than SQLite accepts.
    #[error("the path is too long: {longest} bytes at most")]
    TooLong {
        /// The longest path in bytes.
        longest: usize,
    },
    /// SQLite reports damage.
    #[error("damaged or cut off")]
    Corrupt,
    /// Its content is inconsistent.
    #[error("damaged: {0}")]
    Damaged(String),
    /// The open file is not the one that other processes find, or it has other names, so their changes would not be seen.
    #[error(transparent)]
    Displaced(#[from] Displacement),
}

/// The way in which an open file of a store differs from the one that other processes use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Displacement {
    /// The file was removed or moved.
    #[error("was removed or moved away while the store was in use")]
    Gone,
    /// Another file, or a link, has taken its place.
    #[error("is not the file that is in use: it was moved, replaced or made anew")]
    Replaced,
    /// The file has hard links.
    #[error("has {0} names (hard links), and what is changed under one is not seen under the others")]
    Linked(u64),
    /// The file is mounted without its directory, and so without its write-ahead log.
    #[error("is mounted on its own: what is changed where it comes from is not seen here")]
    Mounted,
    /// The file was opened read-only and without a log, and another process has started to write to it.
    #[error("was changed by others while it was read where nothing can be written")]
    Awake,
    /// The content was changed by something other than a commit.
    #[error("was written by something other than SQLite while the store was in use")]
    Overwritten,
}

/// The reason that a store key is unavailable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// The file does not exist.
    #[error("no such file")]
    Missing,
    /// The file is not 32 bytes long.
    #[error("{0} bytes long instead of 32")]
    WrongSize(u64),
    /// The key belongs to another store.
    #[error("belongs to another store")]
    Foreign,
    /// Other users can read or write the file.
    #[error("can be read by others (mode {mode:04o})")]
    OpenToOthers {
        /// The permission bits.
        mode: u32,
    },
    /// The file cannot be read; with the error of the operating system.
    #[error("{0}")]
    Unreadable(String),
}
