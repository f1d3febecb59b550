//! Real gateways in front of an API, each configured as `contrib/` shows it, with pdkeys behind them and real clients
//! before them.
//!
//! A test starts all of it on ports of its own: `pdkeys serve`, the gateway, and a small API that answers with what
//! reached it. What the gateways and clients are, and in which versions, is in `tests/run`, which installs them.

#![cfg(all(feature = "serve", target_os = "linux"))]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what goes wrong in a test ends it, in the functions that tests share too"
)]

/// A test for each of several functions behind each gateway.
macro_rules! behind_each_gateway {
    ($($test:ident),+ $(,)?) => {
        $(behind_each_gateway!(@ $test: nginx Nginx, caddy Caddy, traefik Traefik, envoy Envoy);)+
    };
    (@ $test:ident: $($module:ident $gateway:ident),+) => {
        mod $test {
            $(
                #[test]
                fn $module() {
                    super::$test($crate::gateway::Gateway::$gateway);
                }
            )+
        }
    };
}

mod answers;
mod api;
mod cors;
mod curl;
mod events;
mod gateway;
mod identity;
mod installed;
mod paths;
mod process;
mod programs;
mod raw;
mod site;
mod stock_clients;
mod unit;
mod upgrades;
