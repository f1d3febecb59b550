//! The library's one error: a closed set of kinds, each with what a message needs.
//!
//! An error means "it was not done" or "it could not be found out". A denied credential is no error but a
//! verdict. What to advise and which exit code to use is for the edge to decide, which matches on [`ErrorKind`]
//! without a wildcard.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::authz::{NotCovered, NotPermitted};
use crate::model::{self, Ability, Id, KeyState, Name, Noun, Role};
use crate::ports::EntropyError;

/// The result of nearly everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong. It prints as one sentence without a full stop; the cause, if any, is its `source`.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<ErrorKind>);

impl Error {
    /// The kind of failure, with its details.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// Whether the files of a store that is open are not the ones that others find. It can be used again only after
    /// every connection that this process has to it is closed.
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

    /// An argument or a value that is refused: what it is, and why.
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

/// Every way in which this library fails.
#[derive(Debug, thiserror::Error)]
pub enum ErrorKind {
    /// A value was refused before anything was touched.
    #[error("{what}: {why}")]
    Invalid {
        /// The value, as a user would call it.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A text that was to be kept holds what is, or was, a secret of the store.
    #[error("{what}: must not contain a secret, and has one of {} {of}", of.noun())]
    HoldsSecret {
        /// The text, as a user would call it.
        what: String,
        /// The credential or the app that has the secret, or had it.
        of: Id,
    },
    /// The store has no such thing.
    #[error("{noun} {reference} not found")]
    NotFound {
        /// What was looked for.
        noun: Noun,
        /// The id or name that was given, safe to print.
        reference: String,
        /// Ids or names that it may have been meant to be; only such as the acting user may list.
        near: Vec<String>,
    },
    /// The acting user lacks the permission.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// Nobody could be made out on whose behalf to act.
    #[error(transparent)]
    Unidentified(#[from] Unidentified),
    /// The state of the store does not allow the change.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// The secret could not be handed over, so that the change was not made.
    #[error("the secret could not be handed over, and nothing was changed")]
    HandOver(#[source] io::Error),
    /// The secret was handed over, but the change could not be committed afterwards.
    #[error("the change could not be committed: the secret just handed over is void")]
    Void(#[source] Error),
    /// What was read could not be passed on.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// There is no store at the place.
    #[error("no store at {}", .0.display())]
    NoStore(PathBuf),
    /// There is a store already where a new one was to be made.
    #[error("there is a store at {} already", .0.display())]
    StoreExists(PathBuf),
    /// What is at the place is not used, and was not touched.
    #[error("{}: {refusal}", path.display())]
    StoreRefused {
        /// The file that was refused.
        path: PathBuf,
        /// Why it was refused.
        refusal: Refusal,
    },
    /// What was to be restored is no backup that can be.
    #[error("{}: {refusal}", path.display())]
    BackupRefused {
        /// The file that was refused.
        path: PathBuf,
        /// Why it was refused.
        refusal: Refusal,
    },
    /// Another process kept the store locked.
    #[error("the store was locked by another process for {} s", waited.as_secs())]
    StoreLocked {
        /// How long this process waited for it.
        waited: Duration,
    },
    /// The store key cannot be used.
    #[error("store key {}: {fault}", path.display())]
    StoreKey {
        /// The store key's file.
        path: PathBuf,
        /// What is wrong with it.
        fault: KeyFault,
    },
    /// The file of what was counted cannot be used. Nothing depends on it but counts, and counting.
    #[error("usage file {}: {why}", path.display())]
    UsageFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The engine behind the store failed.
    #[error("the store failed")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A file could not be read or written.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
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
    /// The store holds something that this program would not have written.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// No random bytes were available.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// What in the state of the store, or of the files around it, stands in the way of a change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The account has an ability switched off.
    #[error("{0} are switched off in this account")]
    SwitchedOff(Ability),
    /// Another has what only one can have.
    #[error("{noun} {name} ({id}) has this {what} already")]
    Taken {
        /// What the other is.
        noun: Noun,
        /// What the other is called.
        name: Name,
        /// The other's id.
        id: Id,
        /// What the other has.
        what: &'static str,
    },
    /// A key or a token would be let through to more than before.
    #[error("access can be narrowed, never widened: {0}")]
    WiderAccess(String),
    /// An app would be let through to more than before.
    #[error("an app's scopes can be narrowed, never widened")]
    WiderApp,
    /// A token was to have scopes that its user's role does not hold.
    #[error("the role {role} does not hold {scopes}")]
    BeyondRole {
        /// The user's role.
        role: Role,
        /// The scopes that it does not hold.
        scopes: String,
    },
    /// An app token was to have scopes that its app does not have.
    #[error("app {app} does not have {scopes}")]
    BeyondApp {
        /// The app's name.
        app: Name,
        /// The scopes that it does not have.
        scopes: String,
    },
    /// What does not work gets no new secret.
    #[error("{noun} {id} is {state}: it cannot be rotated")]
    NotActive {
        /// A key or a token.
        noun: Noun,
        /// Which one.
        id: Id,
        /// How it is instead.
        state: KeyState,
    },
    /// No earlier secret goes on.
    #[error("{noun} {id} has no overlap to end")]
    NoOverlap {
        /// A key, a token or an app.
        noun: Noun,
        /// Which one.
        id: String,
    },
    /// An integration stays with what it was made for.
    #[error("integration {id} leads into the {from} {name}, and can move to another {from} only")]
    OtherKind {
        /// The integration.
        id: Id,
        /// What it leads into.
        from: Noun,
        /// What that is called.
        name: Name,
    },
    /// Removing it would take its integrations along, and nobody said so.
    #[error("{noun} {name} still has integrations: {integrations}")]
    HasIntegrations {
        /// A service or an orchestration.
        noun: Noun,
        /// What it is called.
        name: Name,
        /// Its integrations.
        integrations: String,
    },
    /// Nobody becomes the owner, or stops being it, by a change of roles.
    #[error("an account has exactly one owner")]
    OneOwner,
    /// The owner cannot leave.
    #[error("{0} is the Account Owner")]
    OwnerStays(Name),
    /// The user is here no more.
    #[error("{0} has left the account")]
    Left(String),
    /// It was removed while this was under way.
    #[error("{0} is gone")]
    Gone(Id),
    /// Lines of an import were refused, and so was the whole.
    #[error("{bad} of {lines} line{} cannot be imported, and nothing was", if *lines == 1 { "" } else { "s" })]
    BadLines {
        /// How many were refused.
        bad: u64,
        /// How many there are.
        lines: u64,
    },
    /// A row or a secret that may be there only once is there already.
    #[error("the store has such a row of {0} already")]
    NotUnique(&'static str),
    /// The secret is dead for good.
    #[error("this secret was removed or rotated away, and cannot come back")]
    DeadSecret,
    /// A file is in the way, and nothing is overwritten.
    #[error("{} is there already, and is not overwritten", .0.display())]
    FileExists(PathBuf),
    /// The store cannot be restored from itself.
    #[error("{} is the store itself", .0.display())]
    IsStore(PathBuf),
    /// What was to be restored is being written to.
    #[error("{} is a store in use, with a write-ahead log beside it, and no backup", .0.display())]
    StoreInUse(PathBuf),
    /// The place has a store key that does not fit.
    #[error("{} is another store key", .0.display())]
    OtherStoreKey(PathBuf),
    /// A new store would share a key with another, of which each would be taken for the other's.
    #[error("{} is the store key of another store", .0.display())]
    KeyOfAnother(PathBuf),
    /// Two databases in one directory would have files of the same names beside them.
    #[error("{} would share the files beside it with {}", database.display(), other.display())]
    Namesake {
        /// The database that was to be made.
        database: PathBuf,
        /// The one that is there.
        other: PathBuf,
    },
    /// What is put there would be taken for a file of the store.
    #[error("{} is a name that a store has for its own files", .0.display())]
    StoresOwnName(PathBuf),
    /// A write-ahead log without its store.
    #[error("{} is left over from a store that is gone", .0.display())]
    LeftOver(PathBuf),
    /// What was confirmed is no longer what would happen.
    #[error("the store has changed meanwhile: {0} would work again too")]
    ChangedMeanwhile(Id),
    /// What nothing but a fault of this program would attempt.
    #[error("{0}")]
    Fault(String),
}

/// Why no acting user could be made out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unidentified {
    /// No user is mapped to the operating-system user.
    #[error("operating-system user {uid} is no user of this account")]
    NoMapping {
        /// The operating-system user.
        uid: u32,
    },
    /// `--as` named somebody who is not there.
    #[error("there is no user {0} to act as")]
    NobodyToActAs(String),
    /// The user has left the account.
    #[error("{0} has left the account")]
    Left(String),
    /// A token was given, and it is no live user token. Its owner is not told why by design of the caller,
    /// who knows the file or variable that it came from.
    #[error("the user token is not accepted: {0}")]
    Token(TokenRefusal),
}

/// Why a user token does not name an acting user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// Nothing was given where a token was announced.
    #[error("it is empty")]
    Empty,
    /// It does not look like a user token.
    #[error("it has not the shape of a user token")]
    WrongShape,
    /// No such token is in the store.
    #[error("it is unknown here")]
    Unknown,
    /// It was removed or rotated away.
    #[error("it was removed or rotated")]
    Dead,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its user has left.
    #[error("its user has left the account")]
    UserLeft,
    /// It is limited to some scopes: managing takes the whole role, or else it could make itself a token that is not.
    #[error("it is limited to some scopes, and managing takes a token of the whole role")]
    Narrowed,
    /// The account has switched the ability off that user tokens need.
    #[error("user tokens are switched off in this account")]
    NoAbility,
}

/// Why a file is not used as a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A directory, a pipe or the like.
    #[error("not a file")]
    NotAFile,
    /// A file of another kind, or cut off.
    #[error("not a pdkeys store")]
    NotAStore,
    /// An SQLite database of another program.
    #[error("an SQLite database, but not a pdkeys store")]
    ForeignApplication,
    /// Written by a newer pdkeys.
    #[error("written by a newer pdkeys (schema {found}; this one knows {known})")]
    NewerSchema {
        /// The schema of the file.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// Somebody else could change it.
    #[error("can be written by others (mode {mode:04o})")]
    WritableByOthers {
        /// The permission bits.
        mode: u32,
    },
    /// It belongs neither to the process nor to root, and its owner could change it, or have the process write
    /// where the owner likes. Root itself opens anybody's.
    #[error("belongs to another operating-system user ({uid})")]
    OwnedByOthers {
        /// Whose it is.
        uid: u32,
    },
    /// The operating system refuses.
    #[error("permission denied")]
    PermissionDenied,
    /// It can be read, and is not to be changed from here.
    #[error("can be read here, but not written")]
    ReadOnly,
    /// What it holds belongs to the database beside it, and is not to be read without writing there.
    #[error("holds changes that cannot be read where nothing can be written")]
    UnreadableLog,
    /// SQLite takes no path of this length.
    #[error("the path is too long: {longest} bytes at most")]
    TooLong {
        /// How long it may be, in bytes.
        longest: usize,
    },
    /// SQLite finds it damaged.
    #[error("damaged or cut off")]
    Corrupt,
    /// It is not what was once written.
    #[error("damaged: {0}")]
    Damaged(String),
    /// Others do not find the file that is in use, or not under this name alone. What they change would not be seen.
    #[error(transparent)]
    Displaced(#[from] Displacement),
}

/// How a file of a store came to be another than the one that others use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Displacement {
    /// It is not there any more.
    #[error("was removed or moved away while the store was in use")]
    Gone,
    /// Another file or a link is in its place.
    #[error("is not the file that is in use: it was moved, replaced or made anew")]
    Replaced,
    /// It has hard links.
    #[error("has {0} names (hard links), and what is changed under one is not seen under the others")]
    Linked(u64),
    /// It is mounted without its directory, and so without its write-ahead log.
    #[error("is mounted on its own: what is changed where it comes from is not seen here")]
    Mounted,
    /// It was read without a log, where none can be made, and others have begun to change it.
    #[error("was changed by others while it was read where nothing can be written")]
    Awake,
    /// Its content was changed, and not by a commit.
    #[error("was written by something other than SQLite while the store was in use")]
    Overwritten,
}

/// Why a store key is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// There is no such file.
    #[error("no such file")]
    Missing,
    /// Not 32 bytes.
    #[error("{0} bytes long instead of 32")]
    WrongSize(u64),
    /// Another store's key.
    #[error("belongs to another store")]
    Foreign,
    /// Somebody else can read or write it.
    #[error("can be read by others (mode {mode:04o})")]
    OpenToOthers {
        /// The permission bits.
        mode: u32,
    },
    /// The operating system refuses.
    #[error("{0}")]
    Unreadable(String),
}
