//! What the admin endpoints know of the running process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

use super::Reloads;
use crate::clock::Clock;
use crate::encode::Count;
use crate::ledger::{Ledger, Reasons};
use crate::metrics::Metrics;
use crate::metrics::process::Usage;
use crate::record::EcsMetadata;
use crate::spool::{Listed, Queue, Queues};

/// Shared with the pipeline, which sets what changes.
#[derive(Debug)]
pub struct AdminState {
    /// The books.
    pub ledger: Arc<Ledger>,
    /// The sinks' queues.
    pub queues: Queues,
    /// All metrics.
    pub metrics: Metrics,
    /// Since the start.
    pub clock: Clock,
    /// The running config and the reloads.
    pub reloads: Reloads,
    /// Task metadata, once it is known.
    pub ecs: OnceLock<Arc<EcsMetadata>>,
    /// Whether records are accepted.
    pub ready: AtomicBool,
}

impl AdminState {
    /// Whether records are accepted.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Which sinks hold records that are too old or have a disk that hangs, in words.
    pub fn overdue(&self) -> Option<String> {
        let (queues, after) = (self.queues.all(), self.reloads.delivering_after());
        let books = self.ledger.snapshot();
        let mut words = String::new();
        for Listed { queue, .. } in &queues {
            let age = self.age(queue).unwrap_or_default();
            if age > after {
                let name = &books.sinks[queue.sink()].name;
                words += &format!("sink {name}: the oldest record has waited for {} s\n", age.as_secs());
            }
            if let Some(stalled) = queue.disk().and_then(|disk| disk.stalled) {
                let (name, seconds) = (&books.sinks[queue.sink()].name, stalled.as_secs());
                words += &format!("sink {name}: the spool's disk has not come back for {seconds} s\n");
            }
        }
        (!words.is_empty()).then_some(words)
    }

    fn age(&self, queue: &Queue) -> Option<Duration> {
        queue.oldest().map(|opened| self.clock.now().saturating_sub(opened))
    }

    /// The metrics as text.
    pub fn metrics(&self) -> String {
        self.metrics.render()
    }

    /// The status as JSON.
    pub fn status(&self) -> String {
        let usage = Usage::read();
        let ecs = self.ecs.get().map(|ecs| {
            let (family, revision) = ecs.task_definition.rsplit_once(':').unwrap_or((&ecs.task_definition, ""));
            json!({"cluster": ecs.cluster, "task_arn": ecs.task_arn, "task_definition": family, "revision": revision})
        });
        let status = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "config_fingerprint": self.reloads.fingerprint(),
            "config_reloads": self.reloads.json(),
            "ecs": ecs,
            "uptime_seconds": self.clock.uptime().as_secs_f64(),
            "ready": self.is_ready(),
            "process": {
                "resident_bytes": usage.resident,
                "cpu_seconds": usage.cpu.as_secs_f64(),
                "open_files": usage.open_files,
            },
            "ledger": self.ledger_json(),
        });
        format!("{status:#}\n")
    }

    fn ledger_json(&self) -> Value {
        // First: each of them has an account in the books then.
        let queues = self.queues.all();
        let books = self.ledger.snapshot();
        let sources: BTreeMap<_, _> = books
            .sources
            .iter()
            .map(|book| {
                let account = json!({
                    "received": count(book.received),
                    "routed": count(book.routed),
                    "dropped": reasons(&book.dropped),
                });
                (&book.name, account)
            })
            .collect();
        let routes: BTreeMap<_, _> =
            books.routes.iter().map(|book| (&book.name, json!({"matched": count(book.matched)}))).collect();
        let sinks: BTreeMap<_, _> = queues
            .iter()
            .map(|Listed { queue, leaving }| {
                let book = &books.sinks[queue.sink()];
                let (used, bound) = queue.fill_level();
                let account = json!({
                    "accepted": count(book.accepted),
                    "of_which": {
                        "recovered": count(book.recovered),
                        "dead_letters": count(book.dead_letters),
                        "diverted": count(book.diverted),
                    },
                    "delivered": count(book.delivered),
                    "waiting": count(book.waiting()),
                    "dropped": reasons(&book.dropped),
                    "in_config": !leaving,
                    "queue": {"bytes": used, "limit_bytes": bound},
                    "disk": queue.disk().map(|disk| json!({
                        "bytes": disk.used,
                        "limit_bytes": disk.quota,
                        "segments": disk.segments,
                        "full": disk.full,
                        "failure": disk.failure,
                        "stalled": disk.stalled.is_some(),
                    })),
                    "oldest_undelivered_seconds": self.age(queue).map(|age| age.as_secs_f64()),
                });
                (&book.name, account)
            })
            .collect();
        json!({"sources": sources, "routes": routes, "sinks": sinks, "discrepancies": books.discrepancies()})
    }
}

fn count(count: Count) -> Value {
    json!({"records": count.records, "bytes": count.bytes})
}

fn reasons(reasons: &Reasons) -> Value {
    reasons.iter().map(|(reason, n)| (reason.to_string(), count(*n))).collect::<serde_json::Map<_, _>>().into()
}
