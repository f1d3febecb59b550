//! API keys for any HTTP API, in one SQLite file: the key system that PagerDuty documents, as a library.
//!
//! The account of a store has users with roles, general access keys, personal user tokens, services and orchestrations
//! with their integration keys, and registered apps. The crate has one entry point for each of the two uses:
//!
//! * **Managing** on behalf of an acting user: a [`Session`](manage::Session) creates, lists, edits, disables, rotates
//!   and removes. Each method is one transaction, which looks up the acting user, asks the permission table, writes the
//!   audit record, makes the change, and commits.
//! * **Checking** credentials that clients present: a [`Verifier`](verify::Verifier) tells whether a credential may make
//!   a request, and if not, why.
//!
//! # Example
//!
//! Found an account, create a read-only key in it, and check the key:
//!
//! ```
//! use pdkeys::manage::{Founding, Identity, Session};
//! use pdkeys::model::{Access, KeySpec, Label, Name, Noun, Policy, Secret};
//! use pdkeys::ports::{SystemClock, SystemEntropy};
//! use pdkeys::store::{Place, sqlite::SqliteStore};
//! use pdkeys::verify::{Api, Presented, Reason, Request, UsageRecording, Verifier};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let place = Place::new(directory.path().join("keys.db"));
//! let founding = Founding {
//!     account: Name::parse(Noun::Account, "Example")?,
//!     policy: Policy::PagerDuty,
//!     owner: Name::parse(Noun::User, "ada")?,
//!     os_uid: 1000,
//! };
//! let mut store: SqliteStore = founding.make_store(&place, &SystemClock, &mut SystemEntropy)?;
//!
//! // The operating-system user 1000 is ada, who owns the account and so may create keys. The secret is handed over
//! // once, inside the transaction: if the receiver fails, the key is not created.
//! let mut entropy = SystemEntropy;
//! let mut session = Session::begin(&mut store, Identity::OsUser(1000), &SystemClock, &mut entropy)?;
//! let spec = KeySpec {
//!     description: Label::parse("description", "nightly deploy")?,
//!     access: Access::ReadOnly,
//!     expires_at: None,
//!     rate_limit: None,
//! };
//! let mut received = Vec::new();
//! let key = session.create_key(spec, &mut |_, secret| secret.write_to(&mut received))?;
//!
//! // A client presents the key. Any number of threads can check at the same time.
//! let verifier = Verifier::new(store, move || SqliteStore::open(&place), UsageRecording::InMemory, SystemClock)?;
//! let ask = |method| {
//!     let presented = Presented::parse(&received);
//!     verifier.verify(&Request { api: Api::Rest, presented, method, path: b"/incidents", via_gateway: false })
//! };
//! assert!(ask("GET")?.is_allowed());
//! let verdict = ask("POST")?;
//! assert_eq!(verdict.reason, Reason::ReadOnly);
//! assert_eq!(verdict.status(), 403);
//! assert_eq!(verdict.credential.map(|credential| credential.id), Some(key.id));
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//!
//! Dependencies point one way: [`manage`], [`verify`] and [`scan`] use the interface of [`store`], which uses [`error`],
//! [`authz`], [`model`] and [`ports`], in this order.
//!
//! * [`model`]: values and their rules, without I/O, clock or SQL.
//! * [`authz`]: who may manage what: the permission table, and the [`Permit`](authz::Permit) that every changing call
//!   of a store consumes.
//! * [`manage`]: the operations of an acting user, one file per noun.
//! * [`verify`]: checks whether a presented credential may make a request.
//! * [`scan`]: finds the account's credentials in any bytes.
//! * [`store`]: reads in a snapshot, writes in a transaction; the only place that knows SQL.
//! * [`ports`]: time and randomness, which tests replace.
//! * [`error`]: the error of the library, with a closed set of kinds.
//!
//! The command line, `pdkeys`, is built on this library. The library itself uses no flags, standard streams, environment
//! variables or exit codes.

pub mod authz;
pub mod error;
pub mod manage;
pub mod model;
pub mod ports;
pub mod scan;
pub mod store;
pub mod verify;

pub use error::{Error, ErrorKind, Result};
