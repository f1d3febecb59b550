//! What an acting user may do. One file a noun holds its use cases; each is one transaction.

mod account;
mod acting;
mod apps;
mod audit;
mod backup;
mod doctor;
mod export;
mod find;
mod grant;
mod import;
mod integrations;
mod keys;
mod revoke;
mod services;
mod session;
mod tokens;
mod usage;
mod users;
mod work;

pub use account::Founding;
pub use acting::Identity;
pub use backup::restore_lost;
pub use doctor::{Ailment, Checkup};
pub use grant::{Grant, GrantRefusal, GrantRequest, TOKEN_WINDOW, TOKENS_IN_WINDOW, grant_app_token};
pub use import::{Entries, KeyEntry, Line, Material, Tell, UserEntry};
pub use integrations::{NewIntegration, Shown, Where};
pub use keys::Switched;
pub use revoke::{Outcome, Revoked, revoke};
pub use services::{DestinationKind, WithIntegrations};
pub use session::Session;
pub use tokens::Whose;
pub use usage::{Counts, Used};
pub use users::UserSpec;
pub use work::HandOver;
