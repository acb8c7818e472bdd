//! Workers and queues together, without sockets and without targets.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::outlet::{Outlet, OutletConfig, Pool};
use super::worker::{Rules, SourceIntake, WorkerParts};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::encode::ndjson::NdjsonEncoder;
use crate::encode::{Compression, Encoder, LogJson, Partition, Partitioner, Template};
use crate::ledger::Ledger;
use crate::metrics::{Metrics, SinkMetrics};
use crate::record::level::LevelRules;
use crate::record::testing::Sample;
use crate::record::{Outcome, Record, RecordBatch, RecordSpan, Tag, Ticket, Tickets};
use crate::route::{RouteSpec, Router};
use crate::source::Intake;
use crate::source::forward::JoinConfig;
use crate::source::join::Joiner;
use crate::spool::{Queue, QueueConfig, WhenFull};

const AGE: Duration = Duration::from_secs(300);
const TAG: &str = "app-firelens-0123";

/// Two sources that share two sinks: `to` names the sinks of the one route.
struct Rig {
    ledger: Arc<Ledger>,
    queues: Vec<Arc<Queue>>,
    intakes: Vec<SourceIntake>,
    metrics: Metrics,
}

impl Rig {
    fn new(routes: &[(&str, &[usize])], bound: u64, open_blocks: usize, compression: Compression) -> Self {
        let names: Vec<String> = (0..routes.len()).map(|n| format!("route-{n}")).collect();
        let ledger = Arc::new(Ledger::new(["one", "two"], names.iter().map(String::as_str), ["a", "b"]));
        let config = QueueConfig { bound, when_full: WhenFull::Block };
        let queues: Vec<_> = (0..2).map(|sink| Queue::new(sink, config, Arc::clone(&ledger))).collect();
        let specs = specs(routes);
        let (clock, metrics) = (Clock::start(), Metrics::new());
        let intake = |(source, name): (usize, &str)| {
            let rules = rules(&specs, &queues, open_blocks, compression);
            let (joiner, metrics) = (Some(Joiner::new(&JoinConfig::default())), metrics.clone());
            let (name, synced) = (name.into(), watch::channel(()).1);
            let parts = WorkerParts { source, name, joiner, metrics, rules, synced };
            SourceIntake::new(parts, Arc::clone(&ledger), clock)
        };
        let intakes = ["one", "two"].into_iter().enumerate().map(intake).collect();
        Self { ledger, queues, intakes, metrics }
    }

    fn check_books(&self) {
        assert_eq!(self.ledger.snapshot().discrepancies(), Vec::<String>::new());
    }

    /// Waits until every sealed block of a sink is compressed, then takes all: partition and decompressed bytes.
    async fn take_all(&self, sink: usize) -> Vec<(Arc<Partition>, Vec<u8>)> {
        let queue = &self.queues[sink];
        let mut blocks = Vec::new();
        while !queue.is_empty() {
            let mut taken = false;
            for lane in queue.lanes() {
                // One block at a time.
                while let Some(mut lease) = queue.take(&lane.partition, 1) {
                    let data = lease.load(0..1).await.data()[0].clone();
                    blocks.push((lease.first(), Arc::clone(&lane.partition), data));
                    lease.delivered();
                    taken = true;
                }
            }
            self.check_books();
            if !taken {
                queue.changed().await;
            }
        }
        blocks.sort_by_key(|(sequence, ..)| *sequence);
        blocks.into_iter().map(|(_, partition, data)| (partition, inflate(&data))).collect()
    }
}

fn specs(routes: &[(&str, &[usize])]) -> Vec<RouteSpec> {
    let spec = |(at, (when, sinks)): (usize, &(&str, &[usize]))| RouteSpec {
        name: format!("route-{at}"),
        when: (!when.is_empty()).then(|| (*when).into()),
        sinks: sinks.to_vec(),
        goes_on: false,
    };
    routes.iter().enumerate().map(spec).collect()
}

/// The rules of one worker.
fn rules(specs: &[RouteSpec], queues: &[Arc<Queue>], open_blocks: usize, compression: Compression) -> Rules {
    let config =
        OutletConfig { seal_after: AGE, seal_awaited_after: Duration::from_secs(10), open_blocks, compression };
    let outlets = queues.iter().map(|queue| {
        let template = Template::parse("{service}/").expect("a valid template");
        let partitioner = Partitioner::prefix(template, LevelRules::default());
        let encoder = Encoder::Ndjson(NdjsonEncoder::new(LogJson::Nest));
        Outlet::new(config, Arc::clone(queue), SinkMetrics::detached("test"), partitioner, encoder, Pool::default())
    });
    Rules {
        router: Router::compile(specs, LevelRules::default()).expect("the test writes valid conditions"),
        routes: (0..specs.len()).collect(),
        outlets: outlets.collect(),
        open_limit: usize::MAX,
    }
}

fn inflate(data: &[u8]) -> Vec<u8> {
    match data.first() {
        Some(0x28) => zstd::bulk::decompress(data, 64 << 20).expect("a whole frame"),
        _ => data.to_vec(),
    }
}

fn batch(samples: &[Sample], tickets: Tickets) -> RecordBatch {
    let (mut data, mut records) = (Vec::new(), Vec::new());
    for sample in samples {
        records.push(RecordSpan { time: 0, start: data.len() as u32, len: sample.map.len() as u32 });
        data.extend_from_slice(&sample.map);
    }
    RecordBatch { tag: Tag::from(TAG), data: Bytes::from(data), records, received: 0, tickets }
}

fn of(service: &str, log: &str) -> Sample {
    Sample::json(&format!(r#"{{"service":"{service}","log":"{log}"}}"#))
}

/// Whether a future is not ready now.
async fn waits(future: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(Duration::from_millis(1), future).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn a_full_sink_stops_only_the_sources_that_route_to_it() {
    let rig = Rig::new(&[(r#"source_name == "one""#, &[0, 1]), ("", &[1])], 100_000, 64, Compression::None);
    let long = "x".repeat(150_000);
    for intake in &rig.intakes {
        intake.take(batch(&[of("web", &long)], Tickets::none()));
        intake.finish();
    }
    // Sink `b` is emptied, sink `a` is dead.
    assert_eq!(rig.take_all(1).await.len(), 2);
    assert!(waits(rig.intakes[0].room()).await, "it has filled sink `a`");
    assert!(!waits(rig.intakes[1].room()).await, "it never routed to sink `a`");
    assert_eq!(rig.take_all(0).await.len(), 1);
    assert!(!waits(rig.intakes[0].room()).await, "sink `a` has room again");
    rig.check_books();
}

#[tokio::test(start_paused = true)]
async fn other_rules_keep_the_open_blocks_of_sinks_that_stay_and_seal_the_others() {
    let rig = Rig::new(&[("", &[0, 1])], u64::MAX, 64, Compression::None);
    let intake = &rig.intakes[0];
    intake.take(batch(&[of("web", "before")], Tickets::none()));
    // The second sink comes first, and its block stays open; the other has other settings.
    let turned = [Arc::clone(&rig.queues[1]), Arc::clone(&rig.queues[0])];
    let other = rules(&specs(&[("", &[0])]), &turned, 64, Compression::None);
    intake.change(other, &[Some(1), None], None);
    rig.check_books();
    let open = || rig.ledger.snapshot().sinks.iter().map(|book| book.open.records).collect::<Vec<_>>();
    assert_eq!(open(), [0, 1]);
    assert_eq!(rig.queues[0].lanes().len(), 1);
    intake.take(batch(&[of("web", "after")], Tickets::none()));
    assert_eq!(open(), [0, 2]);
    intake.finish();
    let lines = |blocks: Vec<(_, Vec<u8>)>| blocks.into_iter().map(|(_, lines)| lines.len()).collect::<Vec<_>>();
    let (stayed, left) = (lines(rig.take_all(1).await), lines(rig.take_all(0).await));
    assert_eq!((stayed.len(), left.len()), (1, 1), "one block of two lines, and one that was sealed");
    assert!(stayed[0] > left[0]);
    assert_eq!(rig.ledger.snapshot().routes[0].matched.records, 2);
    rig.check_books();
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_full_sink_goes_on_when_other_rules_leave_it_out() {
    let rig = Rig::new(&[("", &[0])], 100_000, 64, Compression::None);
    let intake = rig.intakes[0].clone();
    intake.take(batch(&[of("web", &"x".repeat(300_000))], Tickets::none()));
    let waiting = tokio::spawn(async move { intake.room().await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished());
    // The same rules again: it is still full.
    rig.intakes[0].change(rules(&specs(&[("", &[0])]), &rig.queues, 64, Compression::None), &[Some(0), Some(1)], None);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!waiting.is_finished());
    let other = rules(&specs(&[("", &[0])]), &rig.queues[1..], 64, Compression::None);
    rig.intakes[0].change(other, &[Some(1)], None);
    waiting.await.expect("it does not panic");
    rig.check_books();
}

#[tokio::test(start_paused = true)]
async fn the_least_recently_used_partition_is_sealed_when_there_are_too_many() {
    let rig = Rig::new(&[("", &[0])], u64::MAX, 2, Compression::None);
    for service in ["a", "b", "a", "c"] {
        rig.intakes[0].take(batch(&[of(service, "line")], Tickets::none()));
        rig.check_books();
    }
    let sealed: Vec<_> = rig.queues[0].lanes().into_iter().map(|lane| lane.partition).collect();
    assert_eq!(sealed, [Arc::new(Partition::Prefix("b/".into()))]);
    assert_eq!(rig.ledger.snapshot().sinks[0].open.records, 3);
}

#[tokio::test(start_paused = true)]
async fn a_block_is_sealed_by_age_and_sooner_when_a_sender_waits() {
    let rig = Rig::new(&[("", &[0])], u64::MAX, 64, Compression::None);
    let intake = rig.intakes[0].clone();
    let ticking = tokio::spawn(async move { intake.tick().await });
    let open = || rig.ledger.snapshot().sinks[0].open.records;
    rig.intakes[0].take(batch(&[of("quiet", "line")], Tickets::none()));
    let (settled, outcomes) = mpsc::channel();
    let ticket = Ticket::new(move |outcome| settled.send(outcome).expect("the test listens"));
    rig.intakes[0].take(batch(&[of("awaited", "line")], ticket.into()));
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(open(), 1, "the awaited block is sealed");
    tokio::time::sleep(AGE).await;
    assert_eq!(open(), 0, "the quiet block is sealed too");
    assert!(outcomes.try_recv().is_err(), "sealed is not delivered");
    assert_eq!(rig.take_all(0).await.len(), 2);
    assert_eq!(outcomes.try_recv(), Ok(Outcome::Delivered));
    ticking.abort();
}

#[tokio::test(start_paused = true)]
async fn a_chunk_is_settled_when_every_sink_has_its_copy_with_the_worst_outcome() {
    let rig = Rig::new(&[("", &[0, 1])], u64::MAX, 64, Compression::None);
    let (settled, outcomes) = mpsc::channel();
    let ticket = Ticket::new(move |outcome| settled.send(outcome).expect("the test listens"));
    rig.intakes[0].take(batch(&[of("web", "one"), of("api", "two")], ticket.into()));
    rig.intakes[0].finish();
    rig.take_all(0).await;
    assert!(outcomes.try_recv().is_err(), "sink `b` has not delivered its copies");
    rig.queues[1].abandon("drain_timeout");
    rig.check_books();
    assert_eq!(outcomes.try_iter().collect::<Vec<_>>(), [Outcome::Lost]);
}

#[tokio::test(start_paused = true)]
async fn a_route_without_sinks_drops_and_counts() {
    let rig = Rig::new(&[(r#"log == "healthy""#, &[]), ("", &[0])], u64::MAX, 64, Compression::None);
    rig.intakes[0].take(batch(&[of("web", "healthy"), of("web", "other")], Tickets::none()));
    rig.intakes[0].refuse("not_a_map", 1, 7);
    let books = rig.ledger.snapshot();
    assert_eq!(books.sources[0].received.records, 3);
    assert_eq!(books.sources[0].dropped["route"].records, 1);
    assert_eq!(books.sources[0].dropped["not_a_map"].bytes, 7);
    assert_eq!((books.routes[0].matched.records, books.routes[1].matched.records), (1, 1));
    rig.check_books();
}

#[tokio::test(start_paused = true)]
async fn what_the_join_did_is_in_the_metrics() {
    let rig = Rig::new(&[("", &[0])], u64::MAX, 64, Compression::None);
    let part = |id: &str, ordinal: u32, last: bool| {
        Sample::json(&format!(
            r#"{{"log":"x","partial_message":"true","partial_id":"{id}","partial_ordinal":"{ordinal}","partial_last":"{last}"}}"#
        ))
    };
    rig.intakes[0].take(batch(&[part("a", 1, false), part("a", 2, true), part("b", 1, false)], Tickets::none()));
    assert_eq!(rig.ledger.snapshot().sources[0].received.records, 1, "counted after the join");
    rig.intakes[0].finish();
    assert_eq!(rig.ledger.snapshot().sources[0].received.records, 2);
    let text = rig.metrics.render();
    for (kind, n) in [("join_parts", 3), ("join_joined", 1), ("join_flushed", 1)] {
        assert!(text.contains(&format!("{{component=\"one\",kind=\"{kind}\"}} {n}")), "{kind}: {text}");
    }
    rig.check_books();
}

#[tokio::test(start_paused = true)]
async fn a_block_that_waits_holds_no_more_than_what_the_queue_counts() {
    let rig = Rig::new(&[("", &[0])], u64::MAX, 64, Compression::None);
    rig.intakes[0].take(batch(&[of("quiet", "line")], Tickets::none()));
    rig.intakes[0].finish();
    let queue = &rig.queues[0];
    let counted = queue.fill_level().0 as usize;
    let mut lease = queue.take(&queue.lanes()[0].partition, u64::MAX).expect("it is ready");
    let data = lease.load(0..1).await.data()[0].clone();
    lease.delivered();
    let data = data.try_into_mut().expect("nobody else holds it");
    assert_eq!((data.len(), data.capacity()), (counted, counted));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_blocks_of_a_partition_are_its_lines_in_sequence(
        lines in prop::collection::vec((0..4usize, 0..60_000usize), 1..60),
        batches in 1..20usize,
        zstd in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("it starts");
        runtime.block_on(async {
            let compression = if zstd { Compression::Zstd(1) } else { Compression::None };
            let rig = Rig::new(&[("", &[0, 1])], u64::MAX, 2, compression);
            let samples: Vec<_> = lines
                .iter()
                .enumerate()
                .map(|(n, (service, len))| of(["a", "b", "c", "d"][*service], &format!("{n} {}", "y".repeat(*len))))
                .collect();
            for chunk in samples.chunks(samples.len().div_ceil(batches)) {
                rig.intakes[0].take(batch(chunk, Tickets::none()));
                rig.check_books();
            }
            rig.intakes[0].finish();
            for sink in 0..2 {
                let blocks = rig.take_all(sink).await;
                for service in ["a", "b", "c", "d"] {
                    let prefix = Partition::Prefix(format!("{service}/").into());
                    let stored: Vec<u8> =
                        blocks.iter().filter(|(p, _)| **p == prefix).flat_map(|(_, data)| data.clone()).collect();
                    let mut expected = Vec::new();
                    let mut encoder = NdjsonEncoder::new(LogJson::Nest);
                    for (sample, (at, _)) in samples.iter().zip(&lines) {
                        if ["a", "b", "c", "d"][*at] == service {
                            let tag = Tag::from(TAG);
                            let record =
                                Record { tag: &tag, source: "one", time: 0, received: 0, map: &sample.map, ecs: None };
                            encoder.encode(&record, &mut expected);
                        }
                    }
                    assert!(stored == expected, "partition {service} of sink {sink} differs");
                }
            }
        });
    }
}
