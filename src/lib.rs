//! API keys for any HTTP API, in one SQLite file: the key system that PagerDuty documents, as a library.
//!
//! The account of a store has users with roles, general access keys, the users' personal tokens, services and
//! orchestrations with their integration keys, and registered apps. Two things are done with them, and this crate
//! has a door for each:
//!
//! * **Managing** them, on behalf of an acting user: a [`Session`](manage::Session) makes, lists, edits, disables,
//!   rotates and removes. Each of its methods is one transaction: it looks up the acting user, asks the permission
//!   table, makes the change, writes the audit record, and commits.
//! * **Checking** them, for anybody who presents one: a [`Verifier`](verify::Verifier) answers whether a credential
//!   may make a request, and why not.
//!
//! # A walk through
//!
//! An account is founded, a read-only key is made in it, and the key is checked:
//!
//! ```
//! use pdkeys::manage::{Founding, Identity, Session};
//! use pdkeys::model::{Access, KeySpec, Label, Name, Noun, Policy, Secret};
//! use pdkeys::ports::{SystemClock, SystemEntropy};
//! use pdkeys::store::{Place, sqlite::SqliteStore};
//! use pdkeys::verify::{Api, UsageRecording, Presented, Reason, Request, Verifier};
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
//! // The operating-system user 1000 is ada, who owns the account and so may make keys. The secret is handed over
//! // once, inside the transaction: if the receiver fails, there is no key.
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
//! // A client presents it. Any number of threads can check at the same time.
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
//! # The house
//!
//! Dependencies point one way: [`manage`] and [`verify`] stand on [`model`] and on the interface of [`store`], behind
//! which is SQLite.
//!
//! * [`model`]: values and their rules, without I/O, clock or SQL.
//! * [`authz`]: who may manage what: the permission table, and the [`Permit`](authz::Permit) that every changing call
//!   of a store consumes.
//! * [`manage`]: what an acting user may do, one file a noun.
//! * [`verify`]: what a presented credential may do: present, find, judge, count, answer.
//! * [`scan`]: finds the account's credentials in any bytes.
//! * [`store`]: reads in a snapshot, writes in a transaction; the only place that knows SQL.
//! * [`ports`]: the only doors to time and randomness.
//! * [`error`]: the one error, with a closed set of kinds.
//!
//! The command line, `pdkeys`, is built on nothing but this; the library knows no flag, stream, environment variable
//! or exit code.

pub mod authz;
pub mod error;
pub mod manage;
pub mod model;
pub mod ports;
pub mod scan;
pub mod store;
pub mod verify;

pub use error::{Error, ErrorKind, Result};
