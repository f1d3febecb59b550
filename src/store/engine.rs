//! The interface of a storage engine: read rows, write rows, look up credentials, count usage.
//!
//! An engine only handles rows. Permissions, the audit trail, the rejection of texts that contain secrets, and the
//! effects of a change on other rows are implemented above it, in [`Transaction`](super::Transaction). An engine's
//! [`WriteTx`] is only available from [`Store::begin_write`], which takes an [`Unaudited`] that only
//! [`Transaction::begin`](super::Transaction::begin) can construct. No caller can therefore write a row without an
//! audit record.

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

/// The return value of a row visitor: whether to continue.
pub type Flow = Result<ControlFlow<()>>;

/// A callback that receives rows one at a time.
pub type Visit<'v, T> = &'v mut dyn FnMut(T) -> Flow;

/// A connection to the store of one account.
pub trait Store: Sized {
    /// A read transaction.
    type Snapshot<'s>: ReadTx
    where
        Self: 's;
    /// A write transaction.
    type WriteTx<'s>: WriteTx
    where
        Self: 's;

    /// Begins a read transaction. All its reads see one snapshot of the store, taken at or after the call.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn read(&mut self) -> Result<Self::Snapshot<'_>>;

    /// Begins a write transaction, which excludes all other writers. A committed transaction survives a power failure.
    ///
    /// Callers use [`Transaction::begin`] instead.
    ///
    /// # Errors
    /// If the store cannot be written, is locked by another process, or the store key is unavailable.
    fn begin_write(&mut self, _: Unaudited) -> Result<Self::WriteTx<'_>>;

    /// Returns the keys derived from the store key.
    ///
    /// # Errors
    /// If the store key is unavailable, or belongs to another store.
    fn keyring(&mut self) -> Result<Keyring>;

    /// Looks up the credential that a digest belongs to, in a snapshot taken at or after the call.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn find_credential(&mut self, digest: &Digest) -> Result<CredentialLookup> {
        let found = self.find_credentials(slice::from_ref(digest))?.pop();
        found.ok_or_else(|| ErrorKind::Damaged("a lookup returned nothing".to_owned()).into())
    }

    /// Looks up the credentials that several digests belong to, all in one snapshot taken at or after the call. The
    /// results are in the order of the digests.
    ///
    /// # Errors
    /// If the store cannot be read.
    fn find_credentials(&mut self, digests: &[Digest]) -> Result<Vec<CredentialLookup>>;

    /// Recomputes the audit chain, like [`verify_audit`](super::verify_audit).
    ///
    /// # Errors
    /// If the store cannot be read, or the store key is unavailable.
    fn verify_audit(&mut self, kept: Option<Head>) -> Result<Chain> {
        let keyring = self.keyring()?;
        super::verify_audit(&mut self.read()?, &keyring, kept)
    }

    /// Verifies the chain and compares the state with it, like [`verify_state`](super::verify_state), in one snapshot.
    ///
    /// # Errors
    /// If the store is damaged or cannot be read, or the store key is unavailable.
    fn verify_state(&mut self, kept: Option<Head>) -> Result<(Chain, Option<Replay>)> {
        let keyring = self.keyring()?;
        super::verify_state(&mut self.read()?, &keyring, kept)
    }

    /// Ends the read transaction that the engine may keep open between lookups.
    ///
    /// Callers call this before they go idle, so that an open snapshot does not block maintenance of the database.
    ///
    /// # Errors
    /// If the store can no longer be read.
    fn end_read(&mut self) -> Result<()> {
        Ok(())
    }

    /// Counts one check in the store, exactly across all processes.
    ///
    /// Increments the rate-limit window of `counted_as` and passes it to `decide`, which returns whether the check is
    /// allowed. Then adds the check to the usage of `id`.
    ///
    /// # Errors
    /// If the counts cannot be written.
    fn count_check(
        &mut self,
        id: Id,
        counted_as: Id,
        at: Timestamp,
        decide: &mut dyn FnMut(Window) -> bool,
    ) -> Result<()>;

    /// Returns the rate-limit window as last counted, without counting a check.
    ///
    /// # Errors
    /// If the counts cannot be read.
    fn peek_window(&mut self, counted_as: Id) -> Result<Option<Window>>;

    /// Adds usage that was counted in memory.
    ///
    /// Usage is stored separately: adding it never waits for management commands, and losing it loses only counts.
    ///
    /// # Errors
    /// If the counts cannot be written.
    fn add_usage(&mut self, counts: &[UsageCount]) -> Result<()>;
}

/// A store that can be created.
pub trait CreateStore: Store {
    /// The location of a store, such as the paths of its files.
    type Location: ?Sized;

    /// Creates a store, and calls `found` to add the account to it.
    ///
    /// Creation is atomic: the store exists completely or not at all, and of two processes that race, one succeeds.
    ///
    /// # Errors
    /// [`ErrorKind::StoreExists`] if a store exists already, or another process created it first.
    fn create(
        location: &Self::Location,
        entropy: &mut dyn Entropy,
        found: impl FnOnce(&mut Transaction<Self::WriteTx<'_>>, &mut dyn Entropy) -> Result<()>,
    ) -> Result<Self>;
}

/// Proof that a write transaction is begun by the audited [`Transaction`], which alone can construct it.
#[derive(Debug)]
pub struct Unaudited(pub(super) ());

/// Selects a user. Only the id selects a user who has left.
#[derive(Clone, Copy, Debug)]
pub enum UserBy<'b> {
    /// The id.
    Id(Id),
    /// The name.
    Name(&'b str),
    /// The uid of the operating-system user that is mapped to the user.
    OsUser(u32),
}

/// Selects a service or an orchestration.
#[derive(Clone, Copy, Debug)]
pub enum DestinationBy<'b> {
    /// The id.
    Id(Id),
    /// The name, among the services or among the orchestrations.
    Name(Noun, &'b str),
}

/// Selects an app.
#[derive(Clone, Copy, Debug)]
pub enum AppBy<'b> {
    /// The id.
    Id(Id),
    /// The name.
    Name(&'b str),
    /// A client secret that is live at the given time.
    ClientSecret(&'b Digest, Timestamp),
}

/// Reads from one snapshot of a store.
///
/// Point reads take `&self`. Reads of many rows take `&mut self` and pass one row at a time to a visitor, so that an
/// engine never has to run a query while the cursor of another is open. They use constant memory.
///
/// # Errors
/// Every method fails if the store cannot be read, or contains a value that this program would not have written.
/// Methods with a visitor also return the visitor's error.
#[expect(clippy::missing_errors_doc, reason = "documented once for all methods")]
pub trait ReadTx {
    /// Returns the account.
    fn account(&self) -> Result<Account>;

    /// Returns a user.
    fn user(&self, by: UserBy<'_>) -> Result<Option<User>>;

    /// Visits users, oldest first.
    fn users(&mut self, query: &UserQuery, visit: Visit<'_, User>) -> Result<()>;

    /// Returns a general key.
    fn general_key(&self, id: Id) -> Result<Option<GeneralKey>>;

    /// Visits general keys, in the order of the query.
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

    /// Returns an app token by its digest, unless it was revoked or swept.
    fn app_token(&self, digest: &Digest) -> Result<Option<AppToken>>;

    /// Returns the stored tokens of an app, each with its digests. A token has exactly one digest unless the store was
    /// tampered with.
    fn app_tokens(&self, app: Id) -> Result<Vec<(AppToken, Vec<LiveSecret>)>>;

    /// Returns when the `n`-th newest stored token of an app was issued, counted from 1, or `None` if there are fewer.
    fn app_token_issued_at(&self, app: Id, n: u32) -> Result<Option<Timestamp>>;

    /// Returns the secrets of an owner that have no tombstone. The secrets of an app are its client secrets.
    fn live_secrets(&self, owner: Id) -> Result<Vec<LiveSecret>>;

    /// Returns the tombstones of an owner's secrets.
    fn dead_secrets(&self, owner: Id) -> Result<Vec<(Digest, Tombstone)>>;

    /// Returns what a digest belongs to, or belonged to before it got a tombstone.
    fn digest_owner(&self, digest: &Digest) -> Result<Option<DigestOwner>>;

    /// Returns true if an id is in use or ever was. A user's id also counts as taken if it is the external id of
    /// another user.
    fn is_taken(&self, id: Id) -> Result<bool>;

    /// Visits hourly usage counts, in the order of the hours.
    fn usage(&mut self, query: &UsageQuery, visit: Visit<'_, HourlyUsage>) -> Result<()>;

    /// Visits audit records, newest first.
    fn audit_records(&mut self, query: &AuditQuery, visit: Visit<'_, AuditRecord>) -> Result<()>;

    /// Visits the audit chain as stored, oldest first, for verification. The records are passed unparsed, because they
    /// may have been tampered with.
    fn audit_chain(&mut self, visit: &mut dyn FnMut(StoredLink<'_>) -> Flow) -> Result<()>;

    /// Returns at most `limit` distinct target ids of audit records, in ascending order, starting after `after`.
    fn audit_targets(&self, after: &str, limit: u64) -> Result<Vec<String>>;

    /// Returns the import entry of an id: its content as imported.
    fn import_entry(&self, id: Id) -> Result<Option<ImportEntry>>;

    /// Returns a page of import entries in the order of the import, each with its id and whether an audit record has
    /// this id as its target.
    fn import_entries(&self, page: Page) -> Result<Vec<(Id, ImportEntry, bool)>>;

    /// Visits what is stored without an audit record or an import entry.
    fn unrecorded(&mut self, visit: Visit<'_, Unrecorded>) -> Result<()>;

    /// Returns the head of the audit chain as stored, unverified.
    fn audit_head(&self) -> Result<Head>;
}

/// One record of the audit chain as stored.
#[derive(Clone, Copy, Debug)]
pub struct StoredLink<'l> {
    /// The number in the record's row.
    pub number: i64,
    /// The record, as JSON.
    pub record: &'l [u8],
    /// The hash of the chain up to and including this record.
    pub chain: &'l [u8],
}

/// The stored content of one imported item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportEntry {
    /// The number of the import's audit record.
    pub record: u64,
    /// The imported item, as JSON. The audit record commits to it.
    pub content: String,
}

impl ImportEntry {
    /// Parses the content.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] if an import would not have written it.
    pub fn thing(&self) -> Result<ImportedThing> {
        serde_json::from_str(&self.content)
            .map_err(|error| ErrorKind::Damaged(format!("import entry: {error}")).into())
    }
}

/// Something in the store that the audit trail does not mention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unrecorded {
    /// The row of a noun.
    Thing(Id),
    /// A tombstone whose owner is in no record.
    DeadSecret(Id),
    /// A live secret without an owner.
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

/// A row to write.
#[derive(Clone, Copy, Debug)]
pub enum Row<'r> {
    /// The only row of the account. It does not hold the owner, which is the user with that role.
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
    /// Only the previous secret, which an overlap keeps live beside the current one.
    Overlapped,
}

/// Row operations of one atomic transaction. Dropping the transaction rolls it back.
///
/// # Errors
/// Every method fails if the store cannot be written. Violating a uniqueness constraint is a
/// [`Conflict::NotUnique`](crate::error::Conflict::NotUnique).
#[expect(clippy::missing_errors_doc, reason = "documented once for all methods")]
pub trait WriteTx: ReadTx {
    /// Adds a row.
    fn insert(&mut self, row: Row<'_>) -> Result<()>;

    /// Replaces the row with the same id, which must exist.
    fn update(&mut self, row: Row<'_>) -> Result<()>;

    /// Removes the row with an id. The row must exist and have no live secret.
    fn delete(&mut self, id: Id) -> Result<()>;

    /// Adds a secret to an owner: a credential, or an app for its client secret.
    fn insert_secret(&mut self, owner: Id, digest: &Digest) -> Result<()>;

    /// Sets the time at which the current secret of an owner ends.
    fn end_secret(&mut self, owner: Id, at: Timestamp) -> Result<()>;

    /// Replaces live secrets of an owner with tombstones.
    fn bury_secrets(&mut self, owner: Id, which: Which, death: Death, at: Timestamp) -> Result<()>;

    /// Adds an app token with its secret.
    fn insert_app_token(&mut self, token: &AppToken, digest: &Digest) -> Result<()>;

    /// Removes one app token and replaces its secret with a tombstone of its app. Returns false if there is no such
    /// token.
    fn bury_app_token(&mut self, token: &AppToken, digest: &Digest, at: Timestamp) -> Result<bool>;

    /// Removes every token of an app and replaces their secrets with tombstones.
    fn bury_app_tokens(&mut self, app: Id, at: Timestamp) -> Result<()>;

    /// Removes app tokens that expired at or before the given time, without tombstones.
    fn sweep_app_tokens(&mut self, expired_by: Timestamp) -> Result<()>;

    /// Adds a general key, a user token or an integration with its secret during an import. If the secret clashes with
    /// another, returns the clash and adds nothing.
    fn import(&mut self, row: Row<'_>, digest: &Digest) -> Result<Option<Clash>>;

    /// Stores the content of an imported item.
    fn insert_import_entry(&mut self, id: Id, entry: &ImportEntry) -> Result<()>;

    /// Appends a record to the audit trail. `number` is one more than that of the last record, and `chain` the hash of
    /// the chain including this record.
    fn append_audit(&mut self, number: u64, record: &str, chain: &[u8; 32]) -> Result<()>;

    /// Commits the transaction durably.
    ///
    /// # Errors
    /// If the commit fails. No change is made in that case.
    fn commit(self) -> Result<()>;
}
