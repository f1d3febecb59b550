//! What the verifier answers, against a real store: for every operation and credential, for every reason, and
//! whatever was asked before.
//!
//! `tests/operations.txt` says what each credential may call. It is printed from verdicts; after a change that is
//! meant, `UPDATE_GOLDEN=1 cargo test --test verifier` writes it anew.

#![expect(clippy::unwrap_used, reason = "what a test needs and cannot get fails the test")]

#[path = "verifier/answers.rs"]
mod answers;
#[path = "verifier/apps.rs"]
mod apps;
#[path = "verifier/changes.rs"]
mod changes;
#[path = "displacements/mod.rs"]
mod displacements;
#[path = "verifier/limits.rs"]
mod limits;
#[path = "verifier/operations.rs"]
mod operations;
#[path = "verifier/properties.rs"]
mod properties;
#[path = "verifier/world.rs"]
mod world;
