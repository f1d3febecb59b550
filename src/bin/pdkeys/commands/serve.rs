//! `pdkeys serve`.

use std::time::Duration;

use clap::Args;
use hyper::header::HeaderName;

use crate::failure::{Exit, Failure};
use crate::serve::{self, Address, Gateway, LogFormat, Settings};
use crate::session::Context;

/// The room that a request with its body, headers and answer takes is bounded by these.
const LARGEST_MAX_BODY: u64 = 64 << 20;
const LONGEST_TIMEOUT: u64 = 3600;

/// Check keys over HTTP, for a gateway or a program
///
/// Gateways ask at `/auth` about every request that they are to forward; programs ask at `/verify`; registered apps
/// get their tokens at `/oauth/token`. `/healthz`, `/readyz` and `/metrics` are for those who operate it. It ends
/// with SIGTERM or SIGINT, once it has answered what has begun and written the usage counts.
///
/// Who can reach it can ask: it listens on the loopback interface unless told otherwise.
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

    /// Serve `/metrics`, `/healthz` and `/readyz` on this address, and no longer on the others
    #[arg(long, value_name = "ADDR")]
    metrics_listen: Option<Address>,

    /// Take the headers of this kind of gateway alone
    ///
    /// Without it each kind is known by its headers, and a request with those of none, or of several, is denied.
    #[arg(long, value_enum)]
    gateway: Option<Gateway>,

    /// Take a bare key from this header, instead of one from `Authorization`
    #[arg(long, value_name = "NAME", value_parser = key_header)]
    header: Option<HeaderName>,

    /// Take REST keys as `Bearer` too, which is for app tokens alone otherwise
    #[arg(long, conflicts_with = "header")]
    bearer_keys: bool,

    /// How to write the log, which goes to standard error
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogFormat,

    /// How many connections are served at a time; more of them wait
    #[arg(long, value_name = "N", default_value = "16384", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,

    /// The largest body of a request, in bytes
    #[arg(long, value_name = "BYTES", default_value = "1048576", value_parser = clap::value_parser!(u64).range(1..=LARGEST_MAX_BODY))]
    max_body: u64,

    /// How long a client may take to send a request, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=LONGEST_TIMEOUT))]
    timeout: u64,

    /// How long to wait at the end for what has begun, in seconds
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

/// A header that can hold nothing but a key: none that HTTP, gateways or the server itself read.
fn key_header(text: &str) -> Result<HeaderName, String> {
    let name: HeaderName = text.parse().map_err(|_| "not the name of a header".to_owned())?;
    if serve::is_read_otherwise(&name) {
        return Err(
            "this header has another meaning already; Authorization is read without --header".to_owned()
        );
    }
    Ok(name)
}
