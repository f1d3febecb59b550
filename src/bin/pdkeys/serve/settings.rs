//! The settings of the server.

use std::time::Duration;

use hyper::header::HeaderName;

use super::address::Address;
use super::gateway::Gateway;
use super::log::LogFormat;

/// The settings of the server, from the options of `pdkeys serve`.
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
