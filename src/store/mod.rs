//! The store: its interface, its rules, and its engine.
//!
//! - [`Store`], [`ReadTx`], [`WriteTx`]: the interface of an engine, which reads and writes rows.
//! - [`Transaction`]: the only way to change a store. It enforces permits, audit records and the rejection of texts
//!   that contain secrets, once for every engine.
//! - [`KeyQuery`] and its siblings: queries as data.
//! - [`BackupStore`], [`ExamineStore`]: extensions for stores that are files.
//! - [`sqlite`]: the SQLite engine, currently the only one.
//!
//! An engine is complete when it passes the conformance suite, `tests/store.rs`, unedited.

mod audit_chain;
mod backup;
mod engine;
mod examine;
mod lookup;
mod place;
mod query;
mod replay;
mod secret_guard;
pub mod sqlite;
mod transaction;
mod usage;

pub use audit_chain::{Chain, verify_audit, verify_state};
pub use backup::{BackupStore, Offered, Reactivated, Restored};
pub use engine::{
    AppBy, CreateStore, DestinationBy, Flow, ImportEntry, ReadTx, Row, Store, StoredLink, Unaudited,
    Unrecorded, UserBy, Visit, Which, WriteTx,
};
pub use examine::{ExamineStore, Fault};
pub use lookup::{CredentialLookup, CredentialStatus, Death, DigestOwner, LookupResult, Tombstone};
pub use place::Place;
pub use query::{
    AppQuery, AuditQuery, DestinationQuery, IntegrationQuery, KeyQuery, Page, TokenQuery, UsageQuery,
    UserQuery,
};
pub use replay::{Difference, Replay, replay};
pub(crate) use secret_guard::{refuse_secrets, secret_in};
pub use transaction::{Clash, HasSecrets, ImportTx, Saved, Transaction};
pub use usage::{HourlyUsage, UsageCount, Window};
