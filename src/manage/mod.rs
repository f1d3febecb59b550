//! What an acting user may do. One file a noun holds its use cases; each is one transaction.

mod account;
mod audit;
mod find;
mod keys;
mod session;
mod users;

pub use account::Founding;
pub use keys::{HandOver, Switched};
pub use session::{Identity, Session};
pub use users::UserSpec;
