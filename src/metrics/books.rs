//! The ledger and the queues as metrics, read under the ledger's lock so that a scrape adds up.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::clock::Clock;
use crate::encode::Count;
use crate::ledger::{Books, Ledger, SinkBook, SourceBook};
use crate::spool::{DiskState, Listed, Queues};

/// Reads the books at each scrape.
#[derive(Debug)]
pub struct BooksCollector {
    /// The ledger.
    pub ledger: Arc<Ledger>,
    /// The queues of the sinks.
    pub queues: Queues,
    /// For ages.
    pub clock: Clock,
}

/// One sample: labels and a value.
pub(super) type Sample<'a> = (Vec<(&'static str, &'a str)>, f64);

impl Collector for BooksCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // First: each of them has an account in the books then.
        let queues = self.queues.all();
        let books = self.ledger.snapshot();
        for (name, help, rows) in accounts(&books) {
            counts(&mut encoder, name, help, &rows)?;
        }
        let wrong = vec![(Vec::new(), books.discrepancies().len() as f64)];
        let help = "Accounts that do not add up; anything but 0 is a bug";
        gauges(&mut encoder, "ledger_discrepancies", help, &wrong)?;
        let (mut used, mut bounds, mut ages, mut left) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for Listed { queue, leaving } in &queues {
            let (level, bound) = queue.fill_level();
            let labels = || vec![("sink", books.sinks[queue.sink()].name.as_str())];
            let age = queue.oldest().map_or(0.0, |opened| self.clock.now().saturating_sub(opened).as_secs_f64());
            used.push((labels(), level as f64));
            bounds.push((labels(), bound as f64));
            ages.push((labels(), age));
            left.push((labels(), f64::from(u8::from(*leaving))));
        }
        gauges(&mut encoder, "sink_queue_bytes", "Bytes of blocks that wait or are in flight", &used)?;
        gauges(&mut encoder, "sink_queue_limit_bytes", "Bound of the queue", &bounds)?;
        let help = "Age of the oldest record in the queue or in flight";
        gauges(&mut encoder, "sink_oldest_undelivered_seconds", help, &ages)?;
        gauges(&mut encoder, "sink_left_config", "1 for a sink that a reload has left out; its queue is kept", &left)?;
        disks(&mut encoder, &queues, &books)
    }
}

/// How the disks of the queues are doing; nothing without any.
fn disks(encoder: &mut DescriptorEncoder<'_>, queues: &[Listed], books: &Books) -> fmt::Result {
    let disks: Vec<(&str, DiskState)> = queues
        .iter()
        .filter_map(|Listed { queue, .. }| queue.disk().map(|disk| (books.sinks[queue.sink()].name.as_str(), disk)))
        .collect();
    if disks.is_empty() {
        return Ok(());
    }
    let samples = |pick: fn(&DiskState) -> u64| -> Vec<Sample<'_>> {
        disks.iter().map(|(sink, disk)| (vec![("sink", *sink)], pick(disk) as f64)).collect()
    };
    gauges(encoder, "spool_bytes", "Bytes of the segments on disk", &samples(|disk| disk.used))?;
    gauges(encoder, "spool_limit_bytes", "Bound of those", &samples(|disk| disk.quota))?;
    gauges(encoder, "spool_segments", "Segments on disk", &samples(|disk| disk.segments as u64))?;
    gauges(encoder, "spool_full", "1 while the bound leaves no room", &samples(|disk| disk.full.into()))?;
    let failing = samples(|disk| disk.failure.is_some().into());
    let hanging = samples(|disk| disk.stalled.is_some().into());
    gauges(encoder, "spool_stalled", "1 while the disk does not come back from a write", &hanging)?;
    gauges(encoder, "spool_failing", "1 while the disk does not take what is written", &failing)?;
    counters(encoder, "spool_syncs", "Times that blocks were made durable together", &samples(|disk| disk.syncs))?;
    let help = "Bytes found torn at the end of segments at the start: written, never confirmed";
    gauges(encoder, "spool_torn_bytes", help, &samples(|disk| disk.torn))?;
    gauges(encoder, "spool_damaged_bytes", "Bytes found unreadable at the start", &samples(|disk| disk.damaged))
}

type Row<'a> = (Vec<(&'static str, &'a str)>, Count);

/// Every account as a family: its name, help and rows.
fn accounts(books: &Books) -> Vec<(&'static str, &'static str, Vec<Row<'_>>)> {
    let sources = |pick: fn(&SourceBook) -> Count| {
        books.sources.iter().map(|book| (vec![("source", book.name.as_str())], pick(book))).collect::<Vec<_>>()
    };
    let sinks = |pick: fn(&SinkBook) -> Count| {
        books.sinks.iter().map(|book| (vec![("sink", book.name.as_str())], pick(book))).collect::<Vec<_>>()
    };
    let source_drops = books.sources.iter().flat_map(|book| {
        book.dropped.iter().map(|(reason, count)| (vec![("source", book.name.as_str()), ("reason", *reason)], *count))
    });
    let sink_drops = books.sinks.iter().flat_map(|book| {
        book.dropped.iter().map(|(reason, count)| (vec![("sink", book.name.as_str()), ("reason", *reason)], *count))
    });
    let routes = books.routes.iter().map(|book| (vec![("route", book.name.as_str())], book.matched));
    vec![
        ("source_received", "received, after the join of parts", sources(|book| book.received)),
        ("source_routed", "that at least one sink took", sources(|book| book.routed)),
        ("source_dropped", "that no sink took, by reason", source_drops.collect()),
        ("route_matched", "that the route matched", routes.collect()),
        ("sink_accepted", "that were given to the sink", sinks(|book| book.accepted)),
        ("sink_accepted_recovered", "of the accepted, found on disk at the start", sinks(|book| book.recovered)),
        ("sink_accepted_dead_letter", "of the accepted that are dead letters", sinks(|book| book.dead_letters)),
        ("sink_accepted_diverted", "of the accepted that came from full sinks", sinks(|book| book.diverted)),
        ("sink_delivered", "that the target confirmed", sinks(|book| book.delivered)),
        ("sink_dropped", "that the sink gave up, by reason", sink_drops.collect()),
        ("sink_waiting", "open, queued or in flight", waiting(books)),
    ]
}

fn waiting(books: &Books) -> Vec<Row<'_>> {
    let states = |book: &SinkBook| [("open", book.open), ("queued", book.queued), ("in_flight", book.in_flight)];
    let mut rows = Vec::new();
    for book in &books.sinks {
        for (state, count) in states(book) {
            rows.push((vec![("sink", book.name.as_str()), ("state", state)], count));
        }
    }
    rows
}

/// Records and bytes of an account; what waits is a gauge, all else only grows.
fn counts(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, rows: &[Row<'_>]) -> fmt::Result {
    let records: Vec<Sample<'_>> = rows.iter().map(|(labels, count)| (labels.clone(), count.records as f64)).collect();
    let bytes: Vec<Sample<'_>> = rows.iter().map(|(labels, count)| (labels.clone(), count.bytes as f64)).collect();
    let (records_help, bytes_help) = (format!("Records {help}"), format!("msgpack bytes of the records {help}"));
    if name == "sink_waiting" {
        gauges(encoder, &format!("{name}_records"), &records_help, &records)?;
        return gauges(encoder, &format!("{name}_bytes"), &bytes_help, &bytes);
    }
    counters(encoder, &format!("{name}_records"), &records_help, &records)?;
    counters(encoder, &format!("{name}_bytes"), &bytes_help, &bytes)
}

/// Writes a family of counters.
pub(super) fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: &[Sample<'_>],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in samples {
        ConstCounter::new(*value).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}

/// Writes a family of gauges.
pub(super) fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: &[Sample<'_>],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in samples {
        ConstGauge::new(*value).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}
