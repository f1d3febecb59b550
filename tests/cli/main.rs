//! The command line, as somebody at a shell meets it.
//!
//! A test reads like a session: what was run, and in one snapshot how it ended, what it printed, what it said. What
//! differs from run to run is taken out by [`session`], which first asserts what it takes out.

#![cfg(feature = "cli")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what goes wrong in a test ends it, in the functions that tests share too"
)]

mod account;
mod acting_user;
mod apps;
mod audit;
mod backup;
mod bad_input;
mod batch;
mod checking;
mod concurrency;
#[path = "../displacements/mod.rs"]
mod displacements;
mod doctor;
mod documented;
mod earlier_store;
mod environment;
mod explain;
mod export;
mod first_use;
mod hand_over;
mod import;
mod integrations;
mod keys;
mod limits;
mod links;
mod manners;
mod names;
mod own_names;
mod pasted;
mod permissions;
mod places;
mod read_only;
mod replay;
mod revoke;
mod roles;
mod scan;
mod secrets;
mod services;
mod session;
mod shells;
mod store_key;
mod streams;
mod terminal;
mod tokens;
mod usage;
mod users;
mod verify;
mod walls;
