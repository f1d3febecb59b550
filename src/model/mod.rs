//! The resources of an account, and the rules for their values. No I/O, no clock, no SQL.

mod account;
mod app;
mod audit;
mod change;
mod credential;
mod error;
mod evidence;
mod id;
mod import;
mod key;
mod keyring;
mod rate;
mod role;
mod scope;
mod secret;
pub(crate) mod secret_patterns;
mod service;
mod text;
mod time;
mod token;
mod user;

pub use account::{Ability, Account, AccountEdit, Policy, Subdomain};
pub use app::{APP_TOKEN_LIFE, App, AppEdit, AppSpec, AppToken};
pub(crate) use audit::Restoration;
pub use audit::{
    Actor, AuditAction, AuditRecord, Details, ExecutionContext, FieldChange, Head, Method, Resource,
};
pub use change::{Audited, Change, SecretChange};
pub use credential::{Credential, InactiveReason, Owner};
pub use error::{Error, Result};
pub use evidence::{Commitment, Evidence, ImportedThing, LiveMark, LiveSecret, SecretMark};
pub use id::{Id, Noun};
pub use import::Imported;
pub use key::{
    API_VERSION, Access, AccessKind, Disabled, GeneralKey, KeyEdit, KeyFilter, KeyOrder, KeySpec, KeyState,
    UserRef,
};
pub(crate) use keyring::Committing;
pub use keyring::{Digest, Keyring, Sealed, StoreKey};
pub use rate::RateLimit;
pub use role::Role;
pub use scope::{Scope, ScopeSet};
pub(crate) use secret::{Alphabet, LOWER_HEX, REST, UPPER_ALPHANUMERIC, is_client_secret};
pub use secret::{CredentialKind, Fingerprint, Hint, Secret, looks_secret};
pub use secret_patterns::secrets_within;
pub use service::{Destination, DestinationEdit, DestinationRef, Integration, IntegrationType};
pub(crate) use text::fold;
pub use text::{Label, Name, escape, is_escaped, is_hazardous, is_invisible};
pub use time::{parse_duration, parse_end_time, parse_expiry, parse_past_time, parse_time};
pub use token::{TokenEdit, TokenSpec, UserToken};
pub use user::{User, UserEdit};
