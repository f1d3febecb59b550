//! The permission table: as a page that a manager can read, and cell by cell through the sessions that ask it.
//!
//! `tests/permissions.txt` is the page. It is printed from the code, so that it cannot say otherwise than the code
//! does; after a change that is meant, `UPDATE_GOLDEN=1 cargo test --test permissions` writes it anew.

#![expect(clippy::panic, clippy::unwrap_used, reason = "what a test needs and cannot get fails the test")]

#[path = "permissions/grid.rs"]
mod grid;
#[path = "permissions/sessions.rs"]
mod sessions;
