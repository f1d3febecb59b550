//! The command `pdkeys serve`.

use std::time::Duration;

use clap::Args;
use hyper::header::HeaderName;

use crate::failure::{Exit, Failure};
use crate::serve::{self, Address, Gateway, LogFormat, Settings};
use crate::session::Context;

/// Upper bounds of the options, which bound the memory and time of a request.
const LARGEST_MAX_BODY: u64 = 64 << 20;
const LONGEST_TIMEOUT: u64 = 3600;

/// Check keys over HTTP, for a gateway or a program
///
/// Gateways ask at `/auth` about every request that they receive; programs ask at `/verify`; registered apps get their
/// tokens at `/oauth/token`. `/healthz`, `/readyz` and `/metrics` are for operators. It ends on SIGTERM or SIGINT, once the
/// requests that have begun are answered and the usage counts are written.
///
/// Every client that can reach it can ask. By default it listens on the loopback interface.
#[derive(Args, Debug)]
#[command(after_long_help = ENDPOINTS)]
pub(crate) struct Serve {
    /// Listen on `HOST:PORT`, `unix:PATH`, or the sockets that `systemd` passed (can be repeated)
    ///
    /// Without it, on the sockets that systemd passed, if it did, or else on 127.0.0.1:8787.
    #[arg(long, value_name = "ADDR")]
    listen: Vec<Address>,

    /// Permissions of a Unix socket, in octal digits
    #[arg(long, value_name = "MODE", default_value = "0660", value_parser = socket_mode)]
    socket_mode: u32,

    /// Serve `/metrics`, `/healthz` and `/readyz` only on this address
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<Address>,

    /// Accept only the headers of this kind of gateway
    ///
    /// Without it, the kind is recognised by the headers, and a request with headers of none or of several is denied.
    #[arg(long, value_enum)]
    gateway: Option<Gateway>,

    /// Read a bare key from this header instead of `Authorization`
    #[arg(long, value_name = "NAME", value_parser = key_header)]
    header: Option<HeaderName>,

    /// Accept REST keys as `Bearer` too, which is otherwise only for app tokens
    #[arg(long, conflicts_with = "header")]
    bearer_keys: bool,

    /// How to write the log, which goes to standard error
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,

    /// Serve at most this many connections at a time; others wait
    #[arg(long, value_name = "N", default_value = "16384", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,

    /// The largest body of a request, in bytes
    #[arg(long, value_name = "BYTES", default_value = "1048576", value_parser = clap::value_parser!(u64).range(1..=LARGEST_MAX_BODY))]
    max_body: u64,

    /// How long a client may take to send a request, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=LONGEST_TIMEOUT))]
    timeout: u64,

    /// How long to wait for requests during shutdown, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = clap::value_parser!(u64).range(0..=LONGEST_TIMEOUT))]
    shutdown_timeout: u64,
}

const ENDPOINTS: &str = "\
Endpoints:
  /auth               a gateway asks about the request in X-Original-Method and X-Original-URI (nginx), or in
                      X-Forwarded-Method and X-Forwarded-Uri (Caddy, Traefik): 200, or the answer for the client
  /auth/...           the same for Envoy: method and the rest of the path are those of the request
  POST /verify        a program asks: a JSON object, an array of them, or lines of them as application/jsonl
  POST /oauth/token   a registered app gets a token for its client id and client secret
  /healthz            200 as long as the process lives
  /readyz             200 if the store can be used and counts can be written, else 503
  /metrics            for Prometheus";

impl Serve {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        serve::run(
            context,
            &Settings {
                listen: self.listen,
                socket_mode: self.socket_mode,
                metrics_listen: self.metrics_listen,
                gateway: self.gateway,
                key_header: self.header,
                bearer_keys: self.bearer_keys,
                log_format: self.log_format,
                max_connections: self.max_connections,
                max_body: usize::try_from(self.max_body).unwrap_or(usize::MAX),
                timeout: Duration::from_secs(self.timeout),
                shutdown_timeout: Duration::from_secs(self.shutdown_timeout),
            },
        )
    }
}

fn socket_mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("must be up to three octal digits, such as 0660".to_owned()),
    }
}

/// Parses the name of a header for a bare key, which HTTP, gateways and the server itself do not use.
fn key_header(text: &str) -> Result<HeaderName, String> {
    let name: HeaderName = text.parse().map_err(|_| "not the name of a header".to_owned())?;
    if serve::is_read_otherwise(&name) {
        return Err(
            "this header has another meaning already; Authorization is read without --header".to_owned()
        );
    }
    Ok(name)
}
