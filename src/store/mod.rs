//! What a store is: reads in a snapshot, writes in a transaction that is all or nothing.
//!
//! The interface is that of no particular engine. [`sqlite`] is the one there is; another is done when it passes
//! the conformance suite, `tests/store.rs`, unedited. Every changing call takes the
//! [`Permit`] for it, and writes the audit record in the same transaction.

mod place;
pub mod sqlite;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, ErrorKind, Result};
use crate::model::{
    Account, App, AppToken, AuditAction, AuditRecord, Change, Credential, Destination, Digest, GeneralKey,
    Head, Hint, Id, Imported, Integration, KeyOrder, Keyring, Label, Lapse, Noun, Permit, SecretChange, User,
    UserToken,
};
use crate::ports::Entropy;

pub use place::Place;

/// What a reader of many things answers after each: whether to go on.
pub type Flow = Result<ControlFlow<()>>;

/// A store of one account.
pub trait Store {
    /// What reads see: one moment of the store.
    type Snapshot<'s>: Read
    where
        Self: 's;
    /// What writes go through.
    type Transaction<'s>: Write
    where
        Self: 's;

    /// Begins to read.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn read(&mut self) -> Result<Self::Snapshot<'_>>;

    /// Begins to write, alone. What is committed survives a power cut.
    ///
    /// # Errors
    /// If the store cannot be written, another process keeps it locked, or the store key is not to be had.
    fn write(&mut self) -> Result<Self::Transaction<'_>>;

    /// The keys derived from the store key: what a secret is found by, and an integration key opened with.
    ///
    /// # Errors
    /// If the store key is not to be had, or is another store's.
    fn keyring(&mut self) -> Result<Keyring>;

    /// What a digest belongs to at this moment, for a check. It sees what another process committed a moment ago.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn find_credential(&mut self, digest: &Digest) -> Result<Found> {
        let found = self.find_credentials(slice::from_ref(digest))?.pop();
        found.ok_or_else(|| ErrorKind::Damaged("a look-up gave nothing".to_owned()).into())
    }

    /// What several digests belong to, in their order, all at one moment that is not before the call.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn find_credentials(&mut self, digests: &[Digest]) -> Result<Vec<Found>>;

    /// Counts one check in the store itself, exactly, whoever else is counting: the window that it falls into, and
    /// then, once `settle` has said from the window whether it is allowed, its usage.
    ///
    /// # Errors
    /// If it cannot be counted.
    fn count_check(
        &mut self,
        id: Id,
        counted_as: Id,
        at: Timestamp,
        settle: &mut dyn FnMut(Window) -> bool,
    ) -> Result<()>;

    /// The window as it was last counted, without counting.
    ///
    /// # Errors
    /// If the counts cannot be read.
    fn peek_window(&mut self, counted_as: Id) -> Result<Option<Window>>;

    /// Adds what was counted. Usage is kept apart from the rest: adding it never waits for management, and losing
    /// it loses counts only.
    ///
    /// # Errors
    /// If the counts cannot be written.
    fn add_usage(&mut self, counts: &[UsageCount]) -> Result<()>;

    /// The end of the audit chain when every record up to it is as it was written, or the number of the first
    /// record that is not. With a head that was kept elsewhere, the trail must still go through it.
    ///
    /// # Errors
    /// If the store cannot be read, or the store key is not to be had.
    fn verify_audit(&mut self, kept: Option<Head>) -> Result<Chain>;
}

/// A store that can be made anew.
pub trait Create: Store + Sized {
    /// Makes a new store, and lets `found` put the account into it. It is there whole, or not at all, whatever
    /// happens meanwhile; of two that race one wins.
    ///
    /// # Errors
    /// [`ErrorKind::StoreExists`] if there is one already, or another process was faster.
    fn create(
        place: &Place,
        entropy: &mut dyn Entropy,
        found: impl FnOnce(&mut Self::Transaction<'_>, &mut dyn Entropy) -> Result<()>,
    ) -> Result<Self>;
}

/// A store that can be copied while it is used, and whose copies can be put back.
pub trait Preserve: Store + Sized {
    /// A backup that was found to be whole and is ready to take the store's place.
    type Backup;

    /// Copies the store as it is at one moment that is not before the call, while others write, to a new file; and
    /// the store key to another, if one is named. What is there under the name afterwards is whole and was verified.
    ///
    /// # Errors
    /// If a file of the name is there, the copy cannot be written, or what was copied is damaged. Then there is
    /// nothing under the name.
    fn back_up(&mut self, to: &Path, store_key_to: Option<&Path>, entropy: &mut dyn Entropy) -> Result<Head>;

    /// Looks at a backup, without touching it or the store. It must fit the store key that is at the place, or the
    /// one in the file that is named; that one is put at the place, where there is none, when the backup is
    /// restored.
    ///
    /// # Errors
    /// [`ErrorKind::BackupRefused`] if the file is no backup of a store, or damaged; and if the store key does not
    /// fit.
    fn check_backup(
        place: &Place,
        file: &Path,
        store_key: Option<&Path>,
        entropy: &mut dyn Entropy,
    ) -> Result<Self::Backup>;

    /// The account of a backup, and the end of its audit chain.
    ///
    /// # Errors
    /// If it cannot be read.
    fn account_of(backup: &Self::Backup) -> Result<(Account, Head)>;

    /// The present user of a backup's account as whom an operating-system user acts.
    ///
    /// # Errors
    /// If it cannot be read.
    fn user_of(backup: &Self::Backup, uid: u32) -> Result<Option<User>>;

    /// What works at a moment by a backup, and does not by the store.
    ///
    /// # Errors
    /// If one of them cannot be read.
    fn revived_by(&self, backup: &Self::Backup, at: Timestamp) -> Result<Vec<Revived>>;

    /// Puts a backup in the store's place, in one transaction that all who have it open see at once, with the record
    /// of it on the restored audit chain. What is there now is copied aside first. Refused if more would work again
    /// than is `known`.
    ///
    /// # Errors
    /// If it cannot be done; the store is as it was then.
    fn restore(
        &mut self,
        backup: Self::Backup,
        known: &[Revived],
        permit: Permit,
        entropy: &mut dyn Entropy,
    ) -> Result<Restored>;

    /// Does the same where no store is, or one that cannot be read.
    ///
    /// # Errors
    /// If it cannot be done.
    fn restore_lost(
        place: &Place,
        backup: Self::Backup,
        permit: Permit,
        entropy: &mut dyn Entropy,
    ) -> Result<Restored>;
}

/// A store that can be looked at for what is wrong with it.
pub trait Examine: Store {
    /// What is wrong with the files of the store, as far as it can be read at all.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn examine(&mut self) -> Result<Vec<Fault>>;
}

/// Something that is wrong with the files of a store, or ought to be known of them.
#[derive(Debug)]
pub enum Fault {
    /// Others can read it.
    Exposed {
        /// The file or the directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The database is damaged.
    Damaged(String),
    /// The audit chain breaks at the record of this number.
    BrokenChain(u64),
    /// The store key cannot be used.
    StoreKey(Error),
    /// The file of what was counted cannot be used.
    UsageFile(Error),
    /// A run that was killed left it.
    LeftBehind(PathBuf),
    /// It is a store that a backup took the place of.
    Replaced(PathBuf),
}

/// Something that will work again when a backup is restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revived {
    /// The credential, or the app whose client secret it is.
    pub id: Id,
    /// What it is for.
    pub description: String,
    /// The last four characters of the secret that will work.
    pub hint: Option<Hint>,
    /// What became of it since.
    pub standing: Standing,
}

/// What was done to restore a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The end of the audit chain now.
    pub head: Head,
    /// Where the store is kept that was there before, if one was.
    pub kept: Option<PathBuf>,
}

/// Reads of one moment of a store.
pub trait Read {
    /// The account.
    ///
    /// # Errors
    /// As all reads: if the store cannot be read, or holds what this program would not have written.
    fn account(&self) -> Result<Account>;

    /// A user, present or left.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn user(&self, id: Id) -> Result<Option<User>>;

    /// The present user of a name.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn user_named(&self, name: &str) -> Result<Option<User>>;

    /// The present user as whom an operating-system user acts.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn user_of_uid(&self, uid: u32) -> Result<Option<User>>;

    /// Shows every user, those who left included, in the order in which they were added.
    ///
    /// # Errors
    /// If the store cannot be read, and whatever `visit` returns.
    fn users(&self, visit: &mut dyn FnMut(User) -> Flow) -> Result<()>;

    /// A general key.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn general_key(&self, id: Id) -> Result<Option<GeneralKey>>;

    /// Shows every general key, in constant memory.
    ///
    /// # Errors
    /// If the store cannot be read, and whatever `visit` returns.
    fn general_keys(
        &self,
        order: KeyOrder,
        reverse: bool,
        visit: &mut dyn FnMut(GeneralKey) -> Flow,
    ) -> Result<()>;

    /// A user token.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn user_token(&self, id: Id) -> Result<Option<UserToken>>;

    /// Shows the tokens of one user, or of all, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read, and whatever `visit` returns.
    fn user_tokens(&self, user: Option<Id>, visit: &mut dyn FnMut(UserToken) -> Flow) -> Result<()>;

    /// A service or an orchestration.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn destination(&self, id: Id) -> Result<Option<Destination>>;

    /// The service or the orchestration of a name.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn destination_named(&self, noun: Noun, name: &str) -> Result<Option<Destination>>;

    /// Shows every service, or every orchestration, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read, and whatever `visit` returns.
    fn destinations(&self, noun: Noun, visit: &mut dyn FnMut(Destination) -> Flow) -> Result<()>;

    /// An integration.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn integration(&self, id: Id) -> Result<Option<Integration>>;

    /// Shows the integrations of one service or orchestration, or of all, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read, and whatever `visit` returns.
    fn integrations(&self, destination: Option<Id>, visit: &mut dyn FnMut(Integration) -> Flow)
    -> Result<()>;

    /// An app.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn app(&self, id: Id) -> Result<Option<App>>;

    /// The app of a name.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn app_named(&self, name: &str) -> Result<Option<App>>;

    /// Shows every app, oldest first.
    ///
    /// # Errors
    /// If the store cannot be read, and whatever `visit` returns.
    fn apps(&self, visit: &mut dyn FnMut(App) -> Flow) -> Result<()>;

    /// The app whose client secret this is, at a moment.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn app_of_client_secret(&self, digest: &Digest, at: Timestamp) -> Result<Option<App>>;

    /// The app token whose digest this is, as long as it is kept.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn app_token(&self, digest: &Digest) -> Result<Option<AppToken>>;

    /// What a digest belongs to, dead or alive.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn holder(&self, digest: &Digest) -> Result<Option<Holder>>;

    /// Whether an id is in use, or ever was.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn is_taken(&self, id: Id) -> Result<bool>;

    /// Shows what was counted of one credential, or of all, in each hour that began at a moment or after it, by hours.
    ///
    /// # Errors
    /// If the counts cannot be read, and whatever `visit` returns.
    fn usage(&self, of: Option<Id>, since: Timestamp, visit: &mut dyn FnMut(Hour) -> Flow) -> Result<()>;

    /// Shows the audit records that match, newest first.
    ///
    /// # Errors
    /// If the store cannot be read, and whatever `visit` returns.
    fn audit_records(&self, filter: &AuditFilter, visit: &mut dyn FnMut(AuditRecord) -> Flow) -> Result<()>;

    /// The end of the audit chain as the store has it, unverified.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn audit_head(&self) -> Result<Head>;
}

/// Changes to a store; they hold together or not at all. Dropping the transaction undoes them.
pub trait Write: Read {
    /// The keys derived from the store key.
    fn keyring(&self) -> &Keyring;

    /// Founds or changes the account. A change of owner makes the new one owner and the old one an admin.
    ///
    /// # Errors
    /// As all changes: if the store cannot be written, or the permit is for something else.
    fn save_account(&mut self, permit: Permit, change: &Change<Account>) -> Result<()>;

    /// Adds or changes a user; leaving is a change.
    ///
    /// # Errors
    /// If the store cannot be written, or the permit is for something else.
    fn save_user(&mut self, permit: Permit, change: &Change<User>) -> Result<()>;

    /// Adds, changes or removes a general key, and its secrets with it.
    ///
    /// # Errors
    /// If the store cannot be written, or the permit is for something else.
    fn save_general_key(
        &mut self,
        permit: Permit,
        change: &Change<GeneralKey>,
        secrets: SecretChange,
    ) -> Result<()>;

    /// Adds, changes or removes a user token, and its secrets with it.
    ///
    /// # Errors
    /// If the store cannot be written, or the permit is for something else.
    fn save_user_token(
        &mut self,
        permit: Permit,
        change: &Change<UserToken>,
        secrets: SecretChange,
    ) -> Result<()>;

    /// Adds, changes or removes a service or an orchestration, which must have no integrations when it goes.
    ///
    /// # Errors
    /// If the store cannot be written, or the permit is for something else.
    fn save_destination(&mut self, permit: Permit, change: &Change<Destination>) -> Result<()>;

    /// Adds, changes or removes an integration, and its key with it.
    ///
    /// # Errors
    /// If the store cannot be written, or the permit is for something else.
    fn save_integration(
        &mut self,
        permit: Permit,
        change: &Change<Integration>,
        secrets: SecretChange,
    ) -> Result<()>;

    /// Adds, changes or removes an app, and its client secrets with it. Its tokens stop when it goes, or when the
    /// change says that they are revoked.
    ///
    /// # Errors
    /// If the store cannot be written, or the permit is for something else.
    fn save_app(&mut self, permit: Permit, change: &Change<App>, secrets: SecretChange) -> Result<()>;

    /// Keeps a token that was issued to an app. Tokens whose day is over are cleared away.
    ///
    /// # Errors
    /// If the store cannot be written, or the permit is for something else.
    fn issue_app_token(&mut self, permit: Permit, token: &AppToken, digest: &Digest) -> Result<()>;

    /// Stops one token of an app, and leaves the others alone.
    ///
    /// # Errors
    /// If the store cannot be written, the permit is for something else, or there is no such token.
    fn revoke_app_token(
        &mut self,
        permit: Permit,
        token: &AppToken,
        digest: &Digest,
        reason: &Label,
    ) -> Result<()>;

    /// Brings many things in together, with one record of all of them. What brings nothing leaves none.
    ///
    /// # Errors
    /// If the store cannot be written, the permit is for something else, and whatever `bring` returns.
    fn import(
        &mut self,
        permit: Permit,
        bring: &mut dyn FnMut(&mut dyn Intake) -> Result<Imported>,
    ) -> Result<Imported>;

    /// Makes the changes last.
    ///
    /// # Errors
    /// If they could not be made durable; then none of them was made.
    fn commit(self) -> Result<()>;
}

/// What an import goes through: it adds, and changes nothing that is there.
pub trait Intake {
    /// The store, with what was added so far.
    fn store(&self) -> &dyn Read;

    /// The keys derived from the store key.
    fn keyring(&self) -> &Keyring;

    /// Adds a general key with its secret, or says what is in the way and adds nothing.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn add_general_key(&mut self, key: &GeneralKey, digest: &Digest) -> Result<Option<Clash>>;

    /// The same of a user token.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn add_user_token(&mut self, token: &UserToken, digest: &Digest) -> Result<Option<Clash>>;

    /// The same of an integration.
    ///
    /// # Errors
    /// If the store cannot be written.
    fn add_integration(&mut self, integration: &Integration, digest: &Digest) -> Result<Option<Clash>>;

    /// Adds a user.
    ///
    /// # Errors
    /// If the store cannot be written, or what only one user can have is taken.
    fn add_user(&mut self, user: &User) -> Result<()>;
}

/// Why a credential cannot come in: its secret is somebody's already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clash {
    /// A credential's that was there before.
    Taken(Id),
    /// One's that the same import has added: the how-manieth of its noun, counted from 0.
    Added {
        /// Its noun.
        noun: Noun,
        /// How many of that noun came in before it.
        nth: u64,
    },
    /// One's that is gone. A dead secret does not come back.
    Dead(Tombstone),
}

/// What a secret belongs, or belonged, to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A credential that has it.
    Live {
        /// The credential.
        id: Id,
        /// When the secret ends, if it is one that was rotated away with an overlap.
        ends_at: Option<Timestamp>,
    },
    /// A credential that has it no more.
    Dead(Tombstone),
}

/// What is left of a secret that is dead for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The credential that had it.
    pub id: Id,
    /// Why it is dead.
    pub death: Death,
    /// Since when.
    pub at: Timestamp,
}

/// How a secret died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Its credential was removed.
    Removed,
    /// Another took its place.
    Rotated,
}

/// What a check finds: the account's settings, and what the secret belongs to.
#[derive(Clone, Debug)]
pub struct Found {
    /// The account.
    pub account: Arc<Account>,
    /// The credential.
    pub presence: Presence,
}

/// Whether a secret belongs to a credential.
#[derive(Clone, Debug)]
pub enum Presence {
    /// To none, and never did.
    Unknown,
    /// To one that is there.
    Known(Arc<Credential>),
    /// To one once.
    Dead(Tombstone),
}

impl Presence {
    /// What the secret is good for at a moment.
    #[must_use]
    pub fn standing(&self, at: Timestamp) -> Standing {
        match self {
            Self::Unknown => Standing::Unknown,
            Self::Known(credential) => credential.lapse(at).map_or(Standing::Live, Standing::Lapsed),
            Self::Dead(Tombstone { death: Death::Removed, .. }) => Standing::Removed,
            Self::Dead(Tombstone { death: Death::Rotated, .. }) => Standing::Lapsed(Lapse::Rotated),
        }
    }
}

/// What a secret is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It belongs to nothing, and never did.
    Unknown,
    /// It works.
    Live,
    /// It does not work, and its credential is there.
    Lapsed(Lapse),
    /// Its credential was removed.
    Removed,
}

impl Standing {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Live => "live",
            Self::Lapsed(Lapse::Rotated) => "rotated",
            Self::Lapsed(Lapse::Disabled) => "disabled",
            Self::Lapsed(Lapse::Expired) => "expired",
            Self::Lapsed(Lapse::UserLeft) => "user-left",
            Self::Removed => "removed",
        }
    }
}

/// A window of 60 seconds, which began with the first check that was counted in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// When it began.
    pub began_at: Timestamp,
    /// How many checks are counted in it.
    pub count: u64,
}

impl Window {
    /// How long a window is.
    pub const LENGTH: SignedDuration = SignedDuration::from_secs(60);
    /// How long a check can have waited to be counted, since it took the time: others may have begun the window
    /// meanwhile.
    const LATE: SignedDuration = SignedDuration::from_secs(10);

    /// Whether it is still open at a moment. A clock that was set back opens a new one.
    #[must_use]
    pub fn is_open(&self, at: Timestamp) -> bool {
        let age = at.duration_since(self.began_at);
        -Self::LATE < age && age < Self::LENGTH
    }

    /// The window after one more check at a moment: this one, or a new one.
    #[must_use]
    pub fn with_one_more(window: Option<Self>, at: Timestamp) -> Self {
        match window.filter(|window| window.is_open(at)) {
            Some(window) => Self { count: window.count.saturating_add(1), ..window },
            None => Self { began_at: at, count: 1 },
        }
    }
}

/// So many checks of a credential, in the hour of a moment.
#[derive(Clone, Debug)]
pub struct UsageCount {
    /// The credential.
    pub id: Id,
    /// When the last of them was.
    pub at: Timestamp,
    /// How many were allowed.
    pub allowed: u64,
    /// How many were denied.
    pub denied: u64,
}

/// What was counted of a credential in one hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hour {
    /// The credential.
    pub id: Id,
    /// When the hour began.
    pub began_at: Timestamp,
    /// How many checks were allowed.
    pub allowed: u64,
    /// How many were denied.
    pub denied: u64,
}

/// Which audit records to show; everything that is given must hold.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Those at or after a moment.
    pub since: Option<Timestamp>,
    /// Those before a moment.
    pub until: Option<Timestamp>,
    /// Those of an actor, by id: who was acted as, and the owner who acted as somebody.
    pub actor: Option<String>,
    /// Those that did this.
    pub action: Option<AuditAction>,
    /// Those about a thing, by id.
    pub target: Option<String>,
    /// Those about things of a type.
    pub target_type: Option<String>,
}

/// What verifying the audit chain found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Every record is as it was written; this is the end.
    Intact(Head),
    /// The record with this number, or the lack of it, breaks the chain.
    BrokenAt(u64),
}
