//! The server, run as it is shipped and asked over the wire.

#![cfg(feature = "serve")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what a test needs and cannot get fails the test")]

#[path = "../displacements/mod.rs"]
mod displacements;
mod endings;
mod events;
mod gateways;
mod http;
mod limits;
mod listening;
mod oauth;
mod operations;
mod questions;
mod secrets;
mod smuggling;
mod store;
mod world;
