//! Workers and queues together, without sockets and without targets.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::intake::SourceIntake;
use super::outlet::{Outlet, OutletConfig};
use super::pool::Pool;
use super::worker::{Rules, WorkerParts};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::encode::letter::{Data, Letter, Origin};
use crate::encode::ndjson::NdjsonEncoder;
use crate::encode::{Compression, Encoder, LogJson, Partition, Partitioner, Template, decompress};
use crate::ledger::Ledger;
use crate::metrics::{Metrics, SinkMetrics};
use crate::record::level::LevelRules;
use crate::record::testing::Sample;
use crate::record::{Outcome, Record, RecordBatch, RecordSpan, Tag, Ticket, Tickets};
use crate::route::{RouteSpec, Router};
use crate::sink::DeadLetters;
use crate::sink::dead_letters::Place;
use crate::source::Intake;
use crate::source::forward::JoinConfig;
use crate::source::join::Joiner;
use crate::spool::{Lease, Queue, QueueConfig, WhenFull};

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
        Self::with_divert(routes, bound, open_blocks, compression, None)
    }

    /// The same where sink `a` may divert to another one.
    fn with_divert(
        routes: &[(&str, &[usize])],
        bound: u64,
        open_blocks: usize,
        compression: Compression,
        divert: Option<usize>,
    ) -> Self {
        let names: Vec<String> = (0..routes.len()).map(|n| format!("route-{n}")).collect();
        let ledger = Arc::new(Ledger::new(["one", "two"], names.iter().map(String::as_str), ["a", "b"]));
        let config = QueueConfig { bound, when_full: WhenFull::Block };
        let queue = |sink| {
            let when_full = if sink == 0 && divert.is_some() { WhenFull::Divert } else { config.when_full };
            Queue::new(sink, QueueConfig { when_full, ..config }, Arc::clone(&ledger))
        };
        let queues: Vec<_> = (0..2).map(queue).collect();
        let specs = specs(routes);
        let (clock, metrics) = (Clock::start(), Metrics::new());
        let intake = |(source, name): (usize, &str)| {
            let rules = rules(&specs, &queues, open_blocks, compression);
            let (joiner, metrics) = (Some(Joiner::new(&JoinConfig::default())), metrics.clone());
            let name = name.into();
            let rules = Rules { diverts: vec![divert, None], ..rules };
            let parts = WorkerParts { source, name, joiner, metrics, rules, undecodable: None };
            SourceIntake::new(parts, watch::channel(()).1, Arc::clone(&ledger), clock)
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
        Outlet::new(
            config,
            Arc::clone(queue),
            SinkMetrics::detached("test"),
            partitioner,
            encoder,
            Arc::<Pool>::default(),
        )
    });
    Rules {
        router: Router::compile(specs, LevelRules::default()).expect("the test writes valid conditions"),
        routes: (0..specs.len()).collect(),
        outlets: outlets.collect(),
        diverts: vec![None; queues.len()],
        open_limit: usize::MAX,
    }
}

fn inflate(data: &Bytes) -> Vec<u8> {
    decompress(data, 8 << 20).expect("a whole block").into()
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

/// Whether the second of two blocks is compressed where it was written: all other threads are taken when it comes.
fn is_compressed_here(
    compression: Compression,
    pause: Duration,
    len: usize,
    take: fn(&SourceIntake, RecordBatch),
) -> bool {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).max_blocking_threads(1).build().expect("a runtime");
    runtime.block_on(async {
        let rig = Rig::new(&[("", &[0])], u64::MAX, 64, compression);
        let full = |letter: &str, len| batch(&[of("web", &letter.repeat(len))], Tickets::none());
        rig.intakes[0].take(full("a", 300_000));
        while rig.queues[0].is_filling() {
            rig.queues[0].changed().await;
        }
        let (release, taken) = mpsc::channel::<()>();
        tokio::task::spawn_blocking(move || taken.recv());
        tokio::time::advance(pause).await;
        take(&rig.intakes[0], full("b", len));
        rig.intakes[0].finish();
        let here = rig.queues[0].lanes()[0].ready_blocks == 2;
        rig.intakes[0].take(full("c", 300_000));
        drop(release);
        let lines = rig.take_all(0).await;
        let letters: Vec<u8> = lines.iter().map(|(_, line)| line[line.len() - 4]).collect();
        assert_eq!(letters, *b"abc", "in their order, whichever thread it was");
        rig.check_books();
        here
    })
}

#[test]
fn a_block_is_compressed_where_it_was_written_if_it_comes_seldom_or_is_little() {
    let (zstd, long, short) = (Compression::Zstd(1), Duration::from_millis(10), Duration::from_millis(1));
    let here = is_compressed_here;
    assert!(here(zstd, long, 300_000, SourceIntake::take));
    assert!(here(zstd, short, 1_000, SourceIntake::take), "little");
    assert!(here(zstd, short, 1_000, SourceIntake::take_promptly), "little");
    assert!(!here(zstd, short, 300_000, SourceIntake::take), "soon after another");
    assert!(!here(zstd, long, 300_000, SourceIntake::take_promptly), "its sender waits");
    assert!(!here(zstd, long, 3_000_000, SourceIntake::take), "large");
    assert!(!here(Compression::Gzip(1), long, 300_000, SourceIntake::take), "slow");
    assert!(!here(Compression::Zstd(4), short, 1_000, SourceIntake::take), "slow");
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
async fn a_full_sink_diverts_to_another_that_does_not_have_the_record_yet() {
    let routes: [(&str, &[usize]); 2] = [(r#"service == "both""#, &[0, 1]), ("", &[0])];
    let rig = Rig::with_divert(&routes, 100_000, 64, Compression::None, Some(1));
    let long = "x".repeat(150_000);
    for (service, log) in [("web", &*long), ("web", "diverted"), ("both", "there already")] {
        rig.intakes[0].take(batch(&[of(service, log)], Tickets::none()));
        rig.intakes[0].finish();
        rig.check_books();
    }
    assert!(!waits(rig.intakes[0].room()).await, "a sink that diverts holds nobody up");
    let [a, b] = &rig.ledger.snapshot().sinks[..] else { panic!("two sinks") };
    assert_eq!((a.accepted.records, a.queued.records, a.dropped["diverted"].records), (3, 1, 2));
    assert_eq!((b.accepted.records, b.queued.records, b.diverted.records), (2, 2, 1));
    assert_eq!(rig.take_all(0).await.len(), 1);
    rig.intakes[0].take(batch(&[of("web", "room again")], Tickets::none()));
    rig.intakes[0].finish();
    assert_eq!(rig.take_all(0).await.len(), 1);
    let diverted: Vec<_> = rig.take_all(1).await.into_iter().map(|(_, line)| line).collect();
    assert!(String::from_utf8(diverted.concat()).expect("lines").contains("diverted"));
    // By rules that divert no more, it keeps what is routed to it.
    for log in [&*long, "kept"] {
        rig.intakes[0].change(rules(&specs(&routes), &rig.queues, 64, Compression::None), &[Some(0), Some(1)], None);
        rig.intakes[0].take(batch(&[of("web", log)], Tickets::none()));
        rig.intakes[0].finish();
    }
    let [a, b] = &rig.ledger.snapshot().sinks[..] else { panic!("two sinks") };
    assert_eq!((a.queued.records, b.queued.records), (2, 0));
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

/// What happens to a pipeline whose sink `a` may be full or give up, and whose sink `b` takes over.
#[derive(Clone, Debug)]
enum Step {
    /// A record for `a` alone or for both.
    Take(bool, usize),
    /// All that waits in `a` is given up.
    GiveUp,
    /// All that waits in both is delivered.
    Deliver,
    /// A peer sent nonsense.
    Undecodable(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<bool>(), 0..60_000usize).prop_map(|(both, len)| Step::Take(both, len)),
        1 => Just(Step::GiveUp),
        1 => Just(Step::Deliver),
        1 => (1..5_000usize).prop_map(Step::Undecodable),
    ]
}

/// What is ready in a queue now.
fn leases(queue: &Arc<Queue>) -> Vec<(Arc<Partition>, Lease)> {
    let lanes = queue.lanes().into_iter();
    lanes.filter_map(|lane| Some((Arc::clone(&lane.partition), queue.take(&lane.partition, u64::MAX)?))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_copies_of_all_records_and_their_dead_letters_stand_in_the_books_once(
        steps in prop::collection::vec(step(), 1..60), zstd in any::<bool>(), bound in 1_000..200_000u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it starts");
        runtime.block_on(async {
            let compression = if zstd { Compression::Zstd(1) } else { Compression::None };
            let routes: [(&str, &[usize]); 2] = [(r#"service == "both""#, &[0, 1]), ("", &[0])];
            let rig = Rig::with_divert(&routes, bound, 64, compression, Some(1));
            let prefix = Template::parse("dead/%Y/").expect("a valid template");
            let queue = Arc::clone(&rig.queues[1]);
            let place = Place::new("b", queue, compression, prefix, &rig.metrics, Clock::start());
            let (of_sink, of_source) = (DeadLetters::new("a", &place), DeadLetters::new("one", &place));
            let (mut copies, mut letters) = (0, 0);
            let mut lines = 0;
            for step in steps {
                match step {
                    Step::Take(both, len) => {
                        let service = if both { "both" } else { "web" };
                        rig.intakes[0].take(batch(&[of(service, &"y".repeat(len))], Tickets::none()));
                        rig.intakes[0].finish();
                        copies += 1 + u64::from(both);
                    }
                    Step::GiveUp => {
                        for (_, mut lease) in leases(&rig.queues[0]) {
                            let loaded = lease.load(0..lease.blocks()).await;
                            for (meta, data) in lease.metas().zip(loaded.data()) {
                                of_sink.bury_block(meta, data, "retry_deadline").await;
                                letters += meta.count.records;
                            }
                            lease.dropped("retry_deadline");
                        }
                    }
                    Step::Deliver => {
                        leases(&rig.queues[0]).into_iter().for_each(|(_, lease)| lease.delivered());
                        for (_, mut lease) in leases(&rig.queues[1]) {
                            let loaded = lease.load(0..lease.blocks()).await;
                            let plain = loaded.data().iter().map(inflate);
                            lines += plain.flatten().filter(|byte| *byte == b'\n').count() as u64;
                            lease.delivered();
                        }
                    }
                    Step::Undecodable(len) => {
                        let data = vec![0xc1; len];
                        let data = Data::Whole(&data);
                        let letter = Letter { reason: "not_a_map", record_time: None, bytes: len as u64, data };
                        of_source.bury(Origin::Peer("unix"), [letter]);
                        letters += 1;
                    }
                }
                let books = rig.ledger.snapshot();
                assert_eq!(books.discrepancies(), Vec::<String>::new());
                let [a, b] = &books.sinks[..] else { panic!("two sinks") };
                assert_eq!((b.dead_letters.records, a.dead_letters.records, a.diverted.records), (letters, 0, 0));
                assert_eq!(a.accepted.records + b.accepted.records, copies + letters + b.diverted.records);
                assert!(b.diverted.records <= a.dropped.get("diverted").map_or(0, |count| count.records));
            }
            rig.take_all(0).await;
            let rest = rig.take_all(1).await;
            lines += rest.iter().flat_map(|(_, data)| data).filter(|byte| **byte == b'\n').count() as u64;
            let b = rig.ledger.snapshot().sinks[1].clone();
            assert_eq!((b.delivered.records, b.waiting().records), (lines, 0), "each line is one record or letter");
        });
    }

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
                                Record { tag: &tag, source: "one", time: 0, received: 0, map: &sample.map, ecs: None, json: Default::default() };
                            encoder.encode(&record, &mut expected);
                        }
                    }
                    assert!(stored == expected, "partition {service} of sink {sink} differs");
                }
            }
        });
    }
}
