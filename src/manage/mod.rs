//! What an acting user may do. One file a noun holds its use cases; each is one transaction.

mod account;
mod apps;
mod audit;
mod find;
mod integrations;
mod keys;
mod services;
mod session;
mod tokens;
mod users;

pub use account::Founding;
pub use integrations::{NewIntegration, Shown, Where};
pub use keys::{HandOver, Switched};
pub use services::{Kind, WithIntegrations};
pub use session::{Identity, Session};
pub use tokens::Whose;
pub use users::UserSpec;
