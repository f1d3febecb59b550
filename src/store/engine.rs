//! What a database has to do to hold a store: read rows, write rows, find credentials, count.
//!
//! An engine knows rows and nothing else. Permissions, the audit trail, the refusal of texts that hold secrets, and
//! what a change means for other rows are in [`Transaction`](super::Transaction), above every engine. The only way to
//! an engine's [`WriteTx`] is [`Store::begin_write`], which takes an [`Unaudited`], and only
//! [`Transaction::begin`](super::Transaction::begin) can make one: no caller can write a row without its record.

use std::ops::ControlFlow;
use std::slice;

use jiff::Timestamp;

use super::{
    AppQuery, AuditQuery, Chain, Clash, CredentialLookup, DestinationQuery, DigestOwner, HourlyUsage,
    IntegrationQuery, KeyQuery, Page, Replay, TokenQuery, Tombstone, UsageCount, UsageQuery, UserQuery,
    Window,
};
use crate::error::{ErrorKind, Result};
use crate::model::{
    Account, App, AppToken, AuditRecord, Destination, Digest, GeneralKey, Head, Id, ImportedThing,
    Integration, Keyring, LiveSecret, Noun, User, UserToken,
};
use crate::ports::Entropy;
use crate::store::{Death, Transaction};

/// What a visitor of rows returns after each row: whether to go on.
pub type Flow = Result<ControlFlow<()>>;

/// A visitor of rows.
pub type Visit<'v, T> = &'v mut dyn FnMut(T) -> Flow;

/// A connection to the store of one account.
pub trait Store: Sized {
    /// A snapshot to read from.
    type Snapshot<'s>: ReadTx
    where
        Self: 's;
    /// A transaction to write through.
    type WriteTx<'s>: WriteTx
    where
        Self: 's;

    /// Begins to read. All reads of the snapshot see the store as it is at one moment that is not before the call.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn read(&mut self) -> Result<Self::Snapshot<'_>>;

    /// Begins to write, with all other writers waiting. What is committed survives a power cut. Callers use
    /// [`Transaction::begin`].
    ///
    /// # Errors
    /// If the store cannot be written, another process keeps it locked, or the store key is unavailable.
    fn begin_write(&mut self, _: Unaudited) -> Result<Self::WriteTx<'_>>;

    /// Returns the keys derived from the store key.
    ///
    /// # Errors
    /// If the store key is unavailable, or belongs to another store.
    fn keyring(&mut self) -> Result<Keyring>;

    /// Returns what a digest belongs to at a moment that is not before the call.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn find_credential(&mut self, digest: &Digest) -> Result<CredentialLookup> {
        let found = self.find_credentials(slice::from_ref(digest))?.pop();
        found.ok_or_else(|| ErrorKind::Damaged("a lookup returned nothing".to_owned()).into())
    }

    /// Returns what several digests belong to, in their order, all at one moment that is not before the call.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn find_credentials(&mut self, digests: &[Digest]) -> Result<Vec<CredentialLookup>>;

    /// Recomputes the audit chain, as [`verify_audit`](super::verify_audit).
    ///
    /// # Errors
    /// If the store cannot be read, or the store key is unavailable.
    fn verify_audit(&mut self, kept: Option<Head>) -> Result<Chain> {
        let keyring = self.keyring()?;
        super::verify_audit(&mut self.read()?, &keyring, kept)
    }

    /// Verifies the chain, and compares the state with it, as [`verify_state`](super::verify_state), all at one moment.
    ///
    /// # Errors
    /// If the store is damaged or cannot be read, or the store key is unavailable.
    fn verify_state(&mut self, kept: Option<Head>) -> Result<(Chain, Option<Replay>)> {
        let keyring = self.keyring()?;
        super::verify_state(&mut self.read()?, &keyring, kept)
    }

    /// Ends the read transaction that the engine may keep open between lookups. Callers that pause call it, so that
    /// an idle connection does not keep the database from tidying up.
    ///
    /// # Errors
    /// If the store can no longer be read.
    fn end_read(&mut self) -> Result<()> {
        Ok(())
    }

    /// Counts one check in the store, exactly, across all processes: first the rate-limit window that it falls into,
    /// then, once `decide` has said from that window whether the check is allowed, its usage.
    ///
    /// # Errors
    /// If it cannot be counted.
    fn count_check(
        &mut self,
        id: Id,
        counted_as: Id,
        at: Timestamp,
        decide: &mut dyn FnMut(Window) -> bool,
    ) -> Result<()>;

    /// Returns the rate-limit window as it was last counted, without counting.
    ///
    /// # Errors
    /// If the counts cannot be read.
    fn peek_window(&mut self, counted_as: Id) -> Result<Option<Window>>;

    /// Adds usage that was counted in memory. Usage is kept apart from the rest: adding it never waits for management,
    /// and losing it loses counts only.
    ///
    /// # Errors
    /// If the counts cannot be written.
    fn add_usage(&mut self, counts: &[UsageCount]) -> Result<()>;
}

/// Makes a new store. An engine implements it for whatever names a place of its kind.
pub trait CreateStore: Store {
    /// What names the place of a store.
    type Location: ?Sized;

    /// Makes a new store, and lets `found` put the account into it. Afterwards it is there whole, or not at all; of
    /// two processes that race, one wins.
    ///
    /// # Errors
    /// [`ErrorKind::StoreExists`] if there is one already, or another process was faster.
    fn create(
        location: &Self::Location,
        entropy: &mut dyn Entropy,
        found: impl FnOnce(&mut Transaction<Self::WriteTx<'_>>, &mut dyn Entropy) -> Result<()>,
    ) -> Result<Self>;
}

/// Proof that a write transaction is begun for the audited [`Transaction`], which alone can make one.
#[derive(Debug)]
pub struct Unaudited(pub(super) ());

/// By what a user is found. Only the id finds a user who has left.
#[derive(Clone, Copy, Debug)]
pub enum UserBy<'b> {
    /// The id.
    Id(Id),
    /// The name.
    Name(&'b str),
    /// The operating-system user who acts as the user.
    OsUser(u32),
}

/// By what a service or an orchestration is found.
#[derive(Clone, Copy, Debug)]
pub enum DestinationBy<'b> {
    /// The id.
    Id(Id),
    /// The name, among services or among orchestrations.
    Name(Noun, &'b str),
}

/// By what an app is found.
#[derive(Clone, Copy, Debug)]
pub enum AppBy<'b> {
    /// The id.
    Id(Id),
    /// The name.
    Name(&'b str),
    /// A client secret that works at a moment.
    ClientSecret(&'b Digest, Timestamp),
}

/// Reads of one moment of a store.
///
/// Point reads take `&self`. Reads of many rows take `&mut self` and pass one row at a time to a visitor, so that no
/// engine has to answer a query while another is open. They run in constant memory.
///
/// # Errors
/// All of them fail if the store cannot be read, or holds what this program would not have written; those with a
/// visitor also return what it returns.
#[expect(clippy::missing_errors_doc, reason = "said once, for all of them")]
pub trait ReadTx {
    /// Returns the account.
    fn account(&self) -> Result<Account>;

    /// Returns a user.
    fn user(&self, by: UserBy<'_>) -> Result<Option<User>>;

    /// Visits users, in the order in which they were added.
    fn users(&mut self, query: &UserQuery, visit: Visit<'_, User>) -> Result<()>;

    /// Returns a general key.
    fn general_key(&self, id: Id) -> Result<Option<GeneralKey>>;

    /// Visits general keys.
    fn general_keys(&mut self, query: &KeyQuery, visit: Visit<'_, GeneralKey>) -> Result<()>;

    /// Returns a user token.
    fn user_token(&self, id: Id) -> Result<Option<UserToken>>;

    /// Visits user tokens, oldest first.
    fn user_tokens(&mut self, query: &TokenQuery, visit: Visit<'_, UserToken>) -> Result<()>;

    /// Returns a service or an orchestration.
    fn destination(&self, by: DestinationBy<'_>) -> Result<Option<Destination>>;

    /// Visits services or orchestrations, oldest first.
    fn destinations(&mut self, query: &DestinationQuery, visit: Visit<'_, Destination>) -> Result<()>;

    /// Returns an integration.
    fn integration(&self, id: Id) -> Result<Option<Integration>>;

    /// Visits integrations, oldest first.
    fn integrations(&mut self, query: &IntegrationQuery, visit: Visit<'_, Integration>) -> Result<()>;

    /// Returns an app.
    fn app(&self, by: AppBy<'_>) -> Result<Option<App>>;

    /// Visits apps, oldest first.
    fn apps(&mut self, query: &AppQuery, visit: Visit<'_, App>) -> Result<()>;

    /// Returns an app token by its digest, as long as it is kept.
    fn app_token(&self, digest: &Digest) -> Result<Option<AppToken>>;

    /// Returns the tokens of an app that are kept, each with its digests. A token that was not tampered with has one.
    fn app_tokens(&self, app: Id) -> Result<Vec<(AppToken, Vec<LiveSecret>)>>;

    /// Returns when the `n`-th newest of an app's tokens that are kept was issued, counted from 1; `None` if there are
    /// fewer.
    fn app_token_issued_at(&self, app: Id, n: u32) -> Result<Option<Timestamp>>;

    /// Returns the secrets of an owner that are not dead for good; of an app its client secrets.
    fn live_secrets(&self, owner: Id) -> Result<Vec<LiveSecret>>;

    /// Returns what is left of the dead secrets of an owner.
    fn dead_secrets(&self, owner: Id) -> Result<Vec<(Digest, Tombstone)>>;

    /// Returns what a digest belongs to, or belonged to.
    fn digest_owner(&self, digest: &Digest) -> Result<Option<DigestOwner>>;

    /// Returns true if an id is in use, or ever was; of a user's id, also if it is the external id of another user.
    fn is_taken(&self, id: Id) -> Result<bool>;

    /// Visits hours in which credentials were used, by hour.
    fn usage(&mut self, query: &UsageQuery, visit: Visit<'_, HourlyUsage>) -> Result<()>;

    /// Visits audit records, newest first.
    fn audit_records(&mut self, query: &AuditQuery, visit: Visit<'_, AuditRecord>) -> Result<()>;

    /// Visits the audit chain as it is stored, oldest first, for verification. What is stored may have been tampered
    /// with, so nothing is parsed.
    fn audit_chain(&mut self, visit: &mut dyn FnMut(StoredLink<'_>) -> Flow) -> Result<()>;

    /// Returns the ids of what audit records are about that come after an id, in order, at most `limit` of them.
    fn audit_targets(&self, after: &str, limit: u64) -> Result<Vec<String>>;

    /// Returns what was imported under an id, as it came in.
    fn import_entry(&self, id: Id) -> Result<Option<ImportEntry>>;

    /// Returns a page of what was imported, in the order in which it came in, and whether an audit record is about it.
    fn import_entries(&self, page: Page) -> Result<Vec<(Id, ImportEntry, bool)>>;

    /// Visits what neither an audit record nor an entry of an import names.
    fn unrecorded(&mut self, visit: Visit<'_, Unrecorded>) -> Result<()>;

    /// Returns the end of the audit chain as it is stored, unverified.
    fn audit_head(&self) -> Result<Head>;
}

/// One record of the audit chain as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct StoredLink<'l> {
    /// The number that the record is stored under.
    pub number: i64,
    /// The record, JSON.
    pub record: &'l [u8],
    /// The end of the chain after it.
    pub chain: &'l [u8],
}

/// An entry of an import, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportEntry {
    /// The number of the import's record.
    pub record: u64,
    /// What came in, as text. The record commits to it.
    pub content: String,
}

impl ImportEntry {
    /// Returns what came in.
    ///
    /// # Errors
    /// If it is not what an import writes.
    pub fn thing(&self) -> Result<ImportedThing> {
        serde_json::from_str(&self.content)
            .map_err(|error| ErrorKind::Damaged(format!("an entry of an import: {error}")).into())
    }
}

/// Something in the store of which the audit trail knows nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unrecorded {
    /// A thing.
    Thing(Id),
    /// A dead secret of a thing that never was.
    DeadSecret(Id),
    /// A live secret that belongs to nothing.
    StraySecret,
    /// A table, index, trigger or view that pdkeys made, or that there is, by its kind and name; `None` on the side that
    /// has none. A trigger can change the state later, and a view can show another one then.
    Schema {
        /// What pdkeys made.
        made: Option<String>,
        /// What there is.
        present: Option<String>,
    },
}

/// A row to be written.
#[derive(Clone, Copy, Debug)]
pub enum Row<'r> {
    /// The account's only row. Its owner is not in it: that is the user whose role is owner.
    Account(&'r Account),
    /// A user.
    User(&'r User),
    /// A general key.
    GeneralKey(&'r GeneralKey),
    /// A user token.
    UserToken(&'r UserToken),
    /// A service or an orchestration.
    Destination(&'r Destination),
    /// An integration.
    Integration(&'r Integration),
    /// An app.
    App(&'r App),
}

/// Which secrets of an owner to bury.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// The one that an overlap keeps alive beside the present one.
    Overlapped,
}

/// Row operations of one transaction; they hold together or not at all. Dropping the transaction undoes them.
///
/// # Errors
/// All of them fail if the store cannot be written. A row or a secret that may be there only once and is there already
/// is a [`Conflict::NotUnique`](crate::error::Conflict::NotUnique).
#[expect(clippy::missing_errors_doc, reason = "said once, for all of them")]
pub trait WriteTx: ReadTx {
    /// Adds a row.
    fn insert(&mut self, row: Row<'_>) -> Result<()>;

    /// Replaces the row with the same id; it must be there.
    fn update(&mut self, row: Row<'_>) -> Result<()>;

    /// Removes the row with an id; it must be there, and have no secret left.
    fn delete(&mut self, id: Id) -> Result<()>;

    /// Gives an owner (a credential, or an app for its client secret) a secret.
    fn insert_secret(&mut self, owner: Id, digest: &Digest) -> Result<()>;

    /// Sets the moment at which the present secret of an owner ends.
    fn end_secret(&mut self, owner: Id, at: Timestamp) -> Result<()>;

    /// Turns live secrets of an owner into tombstones.
    fn bury_secrets(&mut self, owner: Id, which: Which, death: Death, at: Timestamp) -> Result<()>;

    /// Adds an app token with its secret.
    fn insert_app_token(&mut self, token: &AppToken, digest: &Digest) -> Result<()>;

    /// Removes one app token, and turns its secret into a tombstone of its app. Returns false if there is none.
    fn bury_app_token(&mut self, token: &AppToken, digest: &Digest, at: Timestamp) -> Result<bool>;

    /// Removes every token of an app, and turns their secrets into tombstones.
    fn bury_app_tokens(&mut self, app: Id, at: Timestamp) -> Result<()>;

    /// Removes app tokens that expired at a moment or before it, without tombstones.
    fn sweep_app_tokens(&mut self, expired_by: Timestamp) -> Result<()>;

    /// Adds a general key, a user token or an integration with its secret, for an import of many; or returns what is
    /// in the way, and adds nothing.
    fn import(&mut self, row: Row<'_>, digest: &Digest) -> Result<Option<Clash>>;

    /// Keeps what an import brought, as it came in.
    fn insert_import_entry(&mut self, id: Id, entry: &ImportEntry) -> Result<()>;

    /// Adds a record to the audit trail, under the number after the last.
    fn append_audit(&mut self, number: u64, record: &str, chain: &[u8; 32]) -> Result<()>;

    /// Makes the changes durable.
    ///
    /// # Errors
    /// If they could not be made durable; then none of them was made.
    fn commit(self) -> Result<()>;
}
