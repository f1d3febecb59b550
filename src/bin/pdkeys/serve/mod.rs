//! The HTTP server, at which gateways and programs ask whether a credential may make a request.
//!
//! It is built on hyper, without a router. Each connection is a task on one of the worker threads, of which there is one
//! per processor. `/auth`, which is asked for every request to the API, is answered on the worker itself, including the
//! lookup, since passing it to another thread would cost more than the lookup does. Writes to the store go to other
//! threads. A request is never allowed if its verdict could not be determined.

pub(crate) mod address;
mod auth;
mod batcher;
mod body;
mod connection;
mod gateway;
mod listen;
mod log;
mod metrics;
mod monitor;
mod oauth;
mod response;
mod server;
mod settings;
mod verify;
mod workers;

pub(crate) use address::Address;
pub(crate) use gateway::{Gateway, is_read_otherwise};
pub(crate) use log::LogFormat;
pub(crate) use server::run;
pub(crate) use settings::Settings;
