//! What is measured beside the ledger: requests and their latencies, retries, sizes, and small events by kind.
//!
//! Names follow Prometheus: prefix `logweir_`, base units, `_total` for counters. The ledger and the process are read
//! at scrape time by collectors of their own ([`books`], [`process`]); nothing here is on the way of a record.

pub mod books;
pub mod forward;
pub mod process;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// All metrics of the process.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    families: Families,
}

#[derive(Clone, Debug)]
struct Families {
    requests: Family<RequestLabels, Counter>,
    latencies: Family<ApiLabels, Histogram, fn() -> Histogram>,
    request_bytes: Family<ApiLabels, Counter>,
    retries: Family<ApiLabels, Counter>,
    objects: Family<ClosedLabels, Counter>,
    object_bytes: Family<SinkLabels, Histogram, fn() -> Histogram>,
    block_bytes: Family<SinkLabels, Histogram, fn() -> Histogram>,
    events: Family<EventLabels, Counter>,
    reloads: Family<ResultLabels, Counter>,
    dead_letters: Family<LetterLabels, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    sink: String,
    api: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ApiLabels {
    sink: String,
    api: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ClosedLabels {
    sink: String,
    by: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SinkLabels {
    sink: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EventLabels {
    component: String,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LetterLabels {
    component: String,
    reason: &'static str,
}

/// 5 ms to 80 s: a request on loopback is below, one that timed out at 30 s within.
fn latency_buckets() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 2.0, 15))
}

/// 1 KiB to 1 GiB.
fn size_buckets() -> Histogram {
    Histogram::new(exponential_buckets(1024.0, 4.0, 11))
}

impl Metrics {
    /// An empty set with the families of the sinks registered.
    pub fn new() -> Self {
        let families = Families {
            requests: Family::default(),
            latencies: Family::new_with_constructor(latency_buckets),
            request_bytes: Family::default(),
            retries: Family::default(),
            objects: Family::default(),
            object_bytes: Family::new_with_constructor(size_buckets),
            block_bytes: Family::new_with_constructor(size_buckets),
            events: Family::default(),
            reloads: Family::default(),
            dead_letters: Family::default(),
        };
        let mut registry = Registry::with_prefix("logweir");
        let f = families.clone();
        registry.register("sink_requests", "Attempts of requests by API and result", f.requests);
        let help = "Time from sending a request to its answer";
        registry.register_with_unit("sink_request_duration", help, Unit::Seconds, f.latencies);
        registry.register("sink_request_bytes", "Bytes of request bodies as sent", f.request_bytes);
        registry.register("sink_retries", "Requests that were repeated", f.retries);
        registry.register("sink_objects", "Objects by what closed them", f.objects);
        registry.register_with_unit("sink_object_size", "Objects as stored", Unit::Bytes, f.object_bytes);
        registry.register_with_unit("sink_block_size", "Sealed blocks, compressed", Unit::Bytes, f.block_bytes);
        registry.register("events", "What was noticed and dealt with, by component and kind", f.events);
        registry.register("config_reloads", "Attempts to reload the config by result", f.reloads);
        let help = "Dead letters by the sink or source that gave them up and why";
        registry.register("dead_letters", help, f.dead_letters);
        Self { registry: Arc::new(Mutex::new(registry)), families }
    }

    /// Adds what is read at scrape time.
    pub fn register(&self, collector: impl Collector) {
        self.registry().register_collector(Box::new(collector));
    }

    /// The metrics of the sink with this name.
    pub fn sink(&self, name: &str) -> SinkMetrics {
        SinkMetrics { name: name.into(), families: self.families.clone() }
    }

    /// Something worth counting happened `n` times in a source or elsewhere.
    pub fn event(&self, component: &str, kind: &'static str, n: u64) {
        self.families.event(component, kind, n);
    }

    /// An attempt to reload the config ended: `ok` or `failed`.
    pub fn reload(&self, result: &'static str) {
        self.families.reloads.get_or_create(&ResultLabels { result }).inc();
    }

    /// A sink or source gave up `n` records or pieces of input, which are now dead letters.
    pub fn dead_letters(&self, component: &str, reason: &'static str, n: u64) {
        let labels = LetterLabels { component: component.into(), reason };
        self.families.dead_letters.get_or_create(&labels).inc_by(n);
    }

    /// The text of a scrape, in the OpenMetrics format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail; a collector that does leaves what came before it.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry());
        text
    }

    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Families {
    fn event(&self, component: &str, kind: &'static str, n: u64) {
        if n > 0 {
            self.events.get_or_create(&EventLabels { component: component.into(), kind }).inc_by(n);
        }
    }
}

/// The metrics of one sink.
#[derive(Clone, Debug)]
pub struct SinkMetrics {
    name: Arc<str>,
    families: Families,
}

impl SinkMetrics {
    /// Metrics that nobody scrapes, for tests.
    pub fn detached(sink: &str) -> Self {
        Metrics::new().sink(sink)
    }

    /// One attempt of a request ended. `api` is the AWS operation (`PutObject`, `PutLogEvents`) or the file operation;
    /// `result` is `ok`, `throttled`, `timeout`, `refused`, `error`, …
    pub fn request(&self, api: &'static str, result: &'static str, took: Duration, bytes: u64) {
        let labels = ApiLabels { sink: self.name.to_string(), api };
        self.families.requests.get_or_create(&RequestLabels { sink: self.name.to_string(), api, result }).inc();
        self.families.latencies.get_or_create(&labels).observe(took.as_secs_f64());
        self.families.request_bytes.get_or_create(&labels).inc_by(bytes);
    }

    /// A request will be repeated.
    pub fn retry(&self, api: &'static str) {
        self.families.retries.get_or_create(&ApiLabels { sink: self.name.to_string(), api }).inc();
    }

    /// An object was closed: its stored bytes and why (`size`, `age`, `pressure`, `ack`, `drain`, `reload`).
    pub fn object(&self, bytes: u64, closed_by: &'static str) {
        let sink = self.name.to_string();
        self.families.objects.get_or_create(&ClosedLabels { sink: sink.clone(), by: closed_by }).inc();
        self.families.object_bytes.get_or_create(&SinkLabels { sink }).observe(bytes as f64);
    }

    /// A block was sealed and compressed to so many bytes.
    pub fn block(&self, bytes: u64) {
        self.families.block_bytes.get_or_create(&SinkLabels { sink: self.name.to_string() }).observe(bytes as f64);
    }

    /// Something worth counting happened `n` times (`name_missing`, `invalid_utf8`, …).
    pub fn event(&self, kind: &'static str, n: u64) {
        self.families.event(&self.name, kind, n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_shows_what_a_sink_did() {
        let metrics = Metrics::new();
        let sink = metrics.sink("archive");
        sink.request("PutObject", "ok", Duration::from_millis(20), 1000);
        sink.object(1000, "age");
        sink.event("name_missing", 2);
        let text = metrics.render();
        for line in [
            r#"logweir_sink_requests_total{sink="archive",api="PutObject",result="ok"} 1"#,
            r#"logweir_sink_request_bytes_total{sink="archive",api="PutObject"} 1000"#,
            r#"logweir_sink_objects_total{sink="archive",by="age"} 1"#,
            r#"logweir_events_total{component="archive",kind="name_missing"} 2"#,
            "# EOF",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
