//! API keys for any HTTP API.
#![doc = "x"]
pub mod error;
pub mod manage;
pub mod model;
pub mod ports;
pub mod store;
pub mod verify;
pub use error::{Error, ErrorKind, Result};
