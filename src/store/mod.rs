//! What a store is: reads in a snapshot, writes in a transaction that is all or nothing.
//!
//! The interface is that of no particular engine. [`sqlite`] is the one there is; another is done when it passes
//! the conformance suite, `tests/store.rs`, unedited. Every changing call takes the
//! [`Permit`] for it, and writes the audit record in the same transaction.

mod counted;
mod examine;
mod found;
mod place;
mod preserve;
mod replay;
pub mod sqlite;
mod texts;

use std::ops::ControlFlow;
use std::slice;

use jiff::Timestamp;

use crate::error::{ErrorKind, Result};
use crate::model::{
    Account, App, AppToken, AuditAction, AuditRecord, Change, Destination, Digest, GeneralKey, Head, Id,
    Imported, ImportedThing, Integration, KeyOrder, Keyring, Label, LiveSecret, Noun, Permit, SecretChange,
    User, UserToken,
};
use crate::ports::Entropy;

pub use counted::{Hour, UsageCount, Window};
pub use examine::{Examine, Fault};
pub use found::{Death, Found, Holder, Presence, Standing, Tombstone};
pub use place::Place;
pub use preserve::{Offered, Preserve, Restored, Revived};
pub use replay::{Difference, Replay, replay};
pub(crate) use texts::secret_in;

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

    /// Lets go of what the last look-up keeps for the next: for whoever pauses, so that a store that nobody asks holds
    /// up nobody.
    ///
    /// # Errors
    /// If the store cannot be read any more.
    fn rest(&mut self) -> Result<()> {
        Ok(())
    }

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

    /// The same, and then whether the store holds what the trail says, all at one moment. A broken trail says nothing
    /// that could be compared.
    ///
    /// # Errors
    /// If the store is damaged or cannot be read, or the store key is not to be had.
    fn verify_state(&mut self, kept: Option<Head>) -> Result<(Chain, Option<Replay>)>;
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

    /// When the `n`-th newest of an app's tokens that are kept was issued, counted from 1; `None` if there are fewer.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn app_token_issued_at(&self, app: Id, n: u32) -> Result<Option<Timestamp>>;

    /// What a digest belongs to, dead or alive.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn holder(&self, digest: &Digest) -> Result<Option<Holder>>;

    /// Whether an id is in use, or ever was; of a user's, also whether it is the external id of another.
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

    /// Shows every audit record, those about one thing together and in the order of their numbers, the things in the
    /// order of their ids.
    ///
    /// # Errors
    /// If the store cannot be read, and whatever `visit` returns.
    fn audit_by_target(&self, visit: &mut dyn FnMut(AuditRecord) -> Flow) -> Result<()>;

    /// The secrets of a thing that are not dead for good; of an app its client secrets.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn live_secrets(&self, of: Id) -> Result<Vec<LiveSecret>>;

    /// What is left of the dead secrets of a thing.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn dead_secrets(&self, of: Id) -> Result<Vec<(Digest, Tombstone)>>;

    /// The tokens of an app that are kept, each with its digests.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn app_tokens(&self, app: Id) -> Result<Vec<(AppToken, Vec<LiveSecret>)>>;

    /// What was imported under an id, as it came in.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn import_entry(&self, id: Id) -> Result<Option<ImportEntry>>;

    /// Shows every entry of every import in the order in which they came in, and whether a record is about what came in.
    ///
    /// # Errors
    /// If the store cannot be read, and whatever `visit` returns.
    fn import_entries(&self, visit: &mut dyn FnMut(Id, ImportEntry, bool) -> Flow) -> Result<()>;

    /// Shows the ids of things that no record and no entry of an import names, and of dead secrets likewise.
    ///
    /// # Errors
    /// If the store cannot be read, and whatever `visit` returns.
    fn unrecorded(&self, visit: &mut dyn FnMut(Unrecorded) -> Flow) -> Result<()>;

    /// The end of the audit chain as the store has it, unverified.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn audit_head(&self) -> Result<Head>;
}

/// Changes to a store; they hold together or not at all. Dropping the transaction undoes them. A change that would keep
/// a text with a secret of the store in it is refused with [`ErrorKind::HoldsSecret`].
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

/// An entry of an import, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportEntry {
    /// The number of the import's record.
    pub record: u64,
    /// What came in, as text; the record commits to it.
    pub content: String,
}

impl ImportEntry {
    /// What came in.
    ///
    /// # Errors
    /// If it is not what an import writes.
    pub fn thing(&self) -> Result<ImportedThing> {
        serde_json::from_str(&self.content)
            .map_err(|error| ErrorKind::Damaged(format!("an entry of an import: {error}")).into())
    }
}

/// Something that is in the store, and of which the audit trail knows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrecorded {
    /// A thing.
    Thing(Id),
    /// A dead secret of what never was.
    DeadSecret(Id),
    /// A live secret that belongs to nothing.
    StraySecret,
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
