//! Metrics for Prometheus. Labels have few values, all of them words of this program: never a key, a path or a client.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use pdkeys::verify::{Api, Reason};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::monitor::StoreMonitor;

/// The upper bounds of the latency histogram, in seconds.
const LATENCIES: [f64; 12] = [5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 1.0];
const APIS: [Api; 3] = [Api::Rest, Api::EventsV1, Api::EventsV2];

/// The metrics of the server.
pub(super) struct Metrics {
    registry: Registry,
    /// By API and reason. The labels are resolved once, so that a check only increments a number.
    verdicts: [[Counter; Reason::ALL.len()]; APIS.len()],
    latency: Histogram,
    unavailable: Counter,
    connections: Gauge,
    turned_away: Counter,
    store_usable: Gauge,
    counts_written: Gauge,
    usage_file_losses: Counter,
}

type Labels = Vec<(&'static str, String)>;

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("pdkeys");
        let family = Family::<Labels, Counter<u64, AtomicU64>>::default();
        registry.register("verdicts", "Checks that were answered, by API and reason", family.clone());
        let verdicts = APIS.map(|api| {
            Reason::ALL.map(|reason| {
                let labels = vec![("api", api.to_string()), ("reason", reason.to_string())];
                family.get_or_create_owned(&labels)
            })
        });
        let latency = Histogram::new(LATENCIES);
        registry.register_with_unit("check", "How long checks took", Unit::Seconds, latency.clone());
        let unavailable = Counter::default();
        registry.register("store_errors", "Checks that could not be answered", unavailable.clone());
        let connections = Gauge::<i64, AtomicI64>::default();
        registry.register("connections", "Open connections", connections.clone());
        let turned_away = Counter::default();
        registry.register(
            "token_requests_turned_away",
            "Token requests that came while too many waited",
            turned_away.clone(),
        );
        let store_usable = Gauge::<i64, AtomicI64>::default();
        registry.register("store_usable", "Whether the store can be used", store_usable.clone());
        let counts_written = Gauge::<i64, AtomicI64>::default();
        registry.register("counts_written", "Whether usage counts can be written", counts_written.clone());
        let usage_file_losses = Counter::default();
        registry.register(
            "usage_file_losses",
            "How often the usage file was found to be gone or replaced",
            usage_file_losses.clone(),
        );
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The program", build);
        Self {
            registry,
            verdicts,
            latency,
            unavailable,
            connections,
            turned_away,
            store_usable,
            counts_written,
            usage_file_losses,
        }
    }

    /// Counts a check that was answered.
    pub(super) fn decided(&self, api: Api, reason: Reason, took: Duration) {
        self.verdicts[api as usize][reason as usize].inc();
        self.latency.observe(took.as_secs_f64());
    }

    /// Counts a check that could not be answered.
    pub(super) fn failed(&self) {
        self.unavailable.inc();
    }

    /// Counts a token request that was turned away because too many were waiting.
    pub(super) fn turned_away(&self) {
        self.turned_away.inc();
    }

    pub(super) fn connected(&self) {
        self.connections.inc();
    }

    pub(super) fn disconnected(&self) {
        self.connections.dec();
    }

    /// Returns all metrics in the text format of Prometheus.
    pub(super) fn text(&self, monitor: &StoreMonitor) -> Option<String> {
        self.store_usable.set(monitor.is_usable().into());
        self.counts_written.set(monitor.counts_are_written().into());
        let losses = monitor.usage_file_losses();
        self.usage_file_losses.inc_by(losses.saturating_sub(self.usage_file_losses.get()));
        let mut text = String::new();
        encode(&mut text, &self.registry).ok()?;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_counted_under_its_own_api_and_reason() {
        let metrics = Metrics::new();
        for api in APIS {
            for reason in Reason::ALL {
                metrics.decided(api, reason, Duration::from_micros(3));
            }
        }
        let mut text = String::new();
        encode(&mut text, &metrics.registry).unwrap();
        for api in APIS {
            for reason in Reason::ALL {
                let line = format!("pdkeys_verdicts_total{{api=\"{api}\",reason=\"{reason}\"}} 1\n");
                assert!(text.contains(&line), "{line}");
            }
        }
    }
}
