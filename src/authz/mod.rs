//! Who may manage what: the actions, the permission table, and the permits that it grants.
//!
//! [`authorize`] is the only way for a user to obtain a [`Permit`], and every changing call of the store consumes one.
//! A permit names the acting user, the action and the target; the audit record is built from it, and it is refused for
//! any other change. Code that forgets the check does not compile.
//!
//! * `action.rs`: the actions, the noun and kind of change of each, and the fields that it may change.
//! * `table.rs`: the table of actions and roles, and [`decide`], which reads it.
//! * `permit.rs`: [`Acting`] users and their permits.

mod action;
mod permit;
mod table;

pub use action::Action;
pub use permit::{Acting, NotCovered, NotPermitted, Permit, authorize, require};
pub use table::{Decision, Target, decide};
