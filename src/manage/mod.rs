//! What an acting user may do. One file a noun holds its use cases; each is one transaction.

mod account;
mod acting;
mod apps;
mod audit;
mod backup;
mod doctor;
mod find;
mod grant;
mod integrations;
mod keys;
mod services;
mod session;
mod tokens;
mod users;
mod work;

pub use account::Founding;
pub use acting::Identity;
pub use backup::restore_lost;
pub use doctor::{Ailment, Checkup};
pub use grant::{Grant, GrantRefusal, GrantRequest, grant_app_token};
pub use integrations::{NewIntegration, Shown, Where};
pub use keys::Switched;
pub use services::{DestinationKind, WithIntegrations};
pub use session::Session;
pub use tokens::Whose;
pub use users::UserSpec;
pub use work::HandOver;
