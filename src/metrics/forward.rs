//! The counters of the forward sources as metrics.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::books::{Sample, counters, gauges};
use crate::source::forward::ForwardStats;

/// The counters of all sources that the process has had, by name; clones share them.
#[derive(Clone, Debug, Default)]
pub struct ForwardSources(Arc<Mutex<BTreeMap<Arc<str>, Arc<ForwardStats>>>>);

impl ForwardSources {
    /// The counters of the source with this name: a source that comes back goes on with what it had.
    pub fn stats(&self, name: &Arc<str>) -> Arc<ForwardStats> {
        Arc::clone(self.lock().entry(Arc::clone(name)).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<ForwardStats>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Reads the sources' counters at each scrape.
#[derive(Debug)]
pub struct ForwardCollector(pub ForwardSources);

fn samples(sources: &BTreeMap<Arc<str>, Arc<ForwardStats>>, pick: fn(&ForwardStats) -> u64) -> Vec<Sample<'_>> {
    sources.iter().map(|(name, stats)| (vec![("source", &**name)], pick(stats) as f64)).collect()
}

type Reading = (&'static str, &'static str, fn(&ForwardStats) -> u64);

/// What is counted, without the prefix `source_`.
const COUNTERS: [Reading; 10] = [
    ("connections", "Connections that were accepted", |stats| stats.connections.get()),
    ("wire_bytes", "Bytes read from sockets", |stats| stats.wire_bytes.get()),
    ("frames", "Frames that were taken", |stats| stats.frames.get()),
    ("heartbeats", "Heartbeats that were answered", |stats| stats.heartbeats.get()),
    ("acks", "Acks that were written", |stats| stats.acks.get()),
    ("acks_withheld", "Chunks that were not acked because a copy was lost", |stats| stats.acks_withheld.get()),
    ("times_replaced", "Records without a usable time: they carry the time of receipt", |stats| {
        stats.times_replaced.get()
    }),
    ("tls_reloads", "Times that a changed certificate was taken over", |stats| stats.tls_reloads.get()),
    ("tls_reload_errors", "Times that a changed certificate could not be used", |stats| stats.tls_reload_errors.get()),
    ("accept_errors", "Connections that could not be accepted", |stats| stats.accept_errors.get()),
];

impl Collector for ForwardCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let sources = self.0.lock().clone();
        for (name, help, pick) in COUNTERS {
            counters(&mut encoder, &format!("source_{name}"), help, &samples(&sources, pick))?;
        }
        let open = samples(&sources, |stats| stats.open.get());
        gauges(&mut encoder, "source_open_connections", "Open connections", &open)?;
        let ended: Vec<_> = sources.iter().map(|(name, stats)| (name, stats.ended())).collect();
        let rows: Vec<Sample<'_>> = ended
            .iter()
            .flat_map(|(name, by_reason)| {
                by_reason.iter().map(|(reason, n)| (vec![("source", &***name), ("reason", *reason)], *n as f64))
            })
            .collect();
        counters(&mut encoder, "source_connections_ended", "Connections that logweir ended, by reason", &rows)
    }
}
