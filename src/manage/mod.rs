//! The use cases: everything that an acting user can do with a store. There is one file per noun, and each use case is
//! one transaction.

mod account;
mod apps;
mod audit;
mod backup;
mod client_credentials;
mod destination;
mod doctor;
mod export;
mod identity;
mod import;
mod integrations;
mod keys;
mod resolve;
mod revoke;
mod services;
mod session;
mod tokens;
mod usage;
mod users;
mod write_context;

pub use account::Founding;
pub use backup::restore_lost;
pub use client_credentials::{
    Grant, GrantRefusal, GrantRequest, TOKEN_WINDOW, TOKENS_IN_WINDOW, grant_app_token,
};
pub use destination::{DestinationKind, DestinationSelector};
pub use doctor::{Ailment, Checkup};
pub use identity::Identity;
pub use import::{Entries, ImportMode, KeyEntry, Line, Material, Tell, UserEntry};
pub use integrations::{NewIntegration, Shown};
pub use keys::Switched;
pub use revoke::{Outcome, Revoked, revoke};
pub use services::WithIntegrations;
pub use session::Session;
pub use tokens::Whose;
pub use usage::{Counts, Used};
pub use users::UserSpec;
pub use write_context::HandOver;
