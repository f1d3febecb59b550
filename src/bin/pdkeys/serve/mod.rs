//! The HTTP server: a gateway, or a program, asks whether a credential may do something.
//!
//! It is built on hyper without a router, a connection a task, and each task stays with one of as many workers as there
//! are processors. `/auth`, which is asked at every request of somebody else's API, is answered on the worker itself,
//! look-up included: a look-up costs less than handing it over would. What writes to the store goes to other threads.
//! Nothing is ever allowed that could not be found out.

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
mod verify;
mod workers;

use std::time::Duration;

use hyper::header::HeaderName;

use crate::failure::{Exit, Failure};
use crate::session::Context;

pub(crate) use gateway::{Gateway, is_read_otherwise};
pub(crate) use listen::Address;
pub(crate) use log::LogFormat;

/// What the operator has chosen.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) listen: Vec<Address>,
    pub(crate) socket_mode: u32,
    pub(crate) metrics_listen: Option<Address>,
    pub(crate) gateway: Option<Gateway>,
    pub(crate) key_header: Option<HeaderName>,
    pub(crate) bearer_keys: bool,
    pub(crate) log_format: LogFormat,
    pub(crate) max_connections: u32,
    pub(crate) max_body: usize,
    pub(crate) timeout: Duration,
    pub(crate) shutdown_timeout: Duration,
}

/// Serves until it is told to stop.
pub(crate) fn run(context: &Context, settings: &Settings) -> Result<Exit, Failure> {
    server::run(context, settings)
}
