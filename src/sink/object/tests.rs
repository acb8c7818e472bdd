//! The whole way from the queue to a store, with a fake store and paused time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::cutter::own_age;
use super::driver::drive;
use super::{Attempt, LIMITS, Limits, ObjectStore, Objects};
use crate::clock::Clock;
use crate::config::value::{Size, Span};
use crate::encode::{BlockMeta, Compression, Count, Partition};
use crate::ledger::{Ledger, SinkBook};
use crate::metrics::SinkMetrics;
use crate::record::{Outcome, Ticket, Tickets};
use crate::sink::common::{ObjectConfig, RetryConfig};
use crate::sink::{Phase, SinkContext};
use crate::spool::{Queue, QueueConfig, WhenFull};

mod scale;
mod whole;

/// `object.age` of the config, and whose objects are looked at.
const AGE: Duration = Duration::from_secs(300);
const WRITER: &str = "w";

/// What the next request comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Fail,
    Reject,
}

#[derive(Debug, Default)]
struct World {
    objects: BTreeMap<String, Vec<u8>>,
    /// Every attempt: what, and bytes.
    calls: Vec<(&'static str, usize)>,
    fates: VecDeque<Fate>,
    /// Requests whose key begins so fail as long as it stands here.
    down: Option<&'static str>,
    /// Requests are done, and their answers are lost.
    unheard: bool,
    /// Requests that are refused.
    refused: Option<&'static str>,
    under_way: usize,
    most_under_way: usize,
}

/// A store in memory; each request takes a second.
#[derive(Clone, Debug, Default)]
struct Fake(Arc<Mutex<World>>);

#[derive(Debug)]
struct FakeUpload {
    key: String,
    parts: Mutex<BTreeMap<u32, Vec<u8>>>,
}

impl Fake {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    async fn request(&self, api: &'static str, key: &str, body: &[Bytes]) -> Attempt<Vec<u8>> {
        let data = body.concat();
        {
            let mut world = self.world();
            world.calls.push((api, data.len()));
            world.under_way += 1;
            world.most_under_way = world.most_under_way.max(world.under_way);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut world = self.world();
        world.under_way -= 1;
        if world.refused == Some(api) || world.fates.front() == Some(&Fate::Reject) {
            world.fates.pop_front();
            return Attempt::Rejected("refused", "no".into());
        }
        if world.fates.pop_front().is_some() || world.down.is_some_and(|prefix| key.starts_with(prefix)) {
            return Attempt::Retry(None, "down".into());
        }
        Attempt::Done(data)
    }

    fn heard<T>(&self, answer: Attempt<T>) -> Attempt<T> {
        match self.world().unheard {
            true => Attempt::Retry(None, "the answer is lost".into()),
            false => answer,
        }
    }
}

impl<T> Attempt<T> {
    fn map<U>(self, with: impl FnOnce(T) -> U) -> Attempt<U> {
        match self {
            Self::Done(done) => Attempt::Done(with(done)),
            Self::Retry(after, text) => Attempt::Retry(after, text),
            Self::Rejected(reason, text) => Attempt::Rejected(reason, text),
        }
    }
}

impl ObjectStore for Fake {
    type Upload = FakeUpload;
    type Part = u32;

    async fn put(&self, key: &str, body: &[Bytes]) -> Attempt<()> {
        let answer = self.request("put", key, body).await.map(|data| {
            let before = self.world().objects.insert(key.into(), data);
            assert_eq!(before, None, "{key} is overwritten");
        });
        self.heard(answer)
    }

    async fn create(&self, key: &str) -> Attempt<FakeUpload> {
        let upload = FakeUpload { key: key.into(), parts: Mutex::default() };
        self.request("create", key, &[]).await.map(|_| upload)
    }

    async fn abort_unfinished(&self, _: &str, _: Option<&str>) {}

    fn id(_: &FakeUpload) -> Option<&str> {
        None
    }

    async fn part(&self, upload: &FakeUpload, number: u32, body: &[Bytes]) -> Attempt<u32> {
        let answer = self.request("part", &upload.key, body).await.map(|data| {
            upload.parts.lock().expect("no test panics in here").insert(number, data);
            number
        });
        self.heard(answer)
    }

    async fn abort(&self, upload: FakeUpload) -> Attempt<()> {
        self.request("abort", &upload.key, &[]).await.map(|_| ())
    }

    async fn complete(&self, upload: &FakeUpload, parts: &[u32]) -> Attempt<()> {
        let answer = self.request("complete", &upload.key, &[]).await.map(|_| {
            let stored = upload.parts.lock().expect("no test panics in here");
            let object = parts.iter().flat_map(|part| stored[part].clone()).collect();
            let before = self.world().objects.insert(upload.key.clone(), object);
            assert_eq!(before, None, "{} is overwritten", upload.key);
        });
        self.heard(answer)
    }
}

/// A queue, its driver and their store.
struct Bench {
    store: Fake,
    queue: Arc<Queue>,
    clock: Clock,
    phase: watch::Sender<Phase>,
    driver: JoinHandle<()>,
    /// Blocks so far, by partition: what each must hold.
    pushed: Vec<(Arc<Partition>, u64, Bytes)>,
}

struct Setting {
    size: u64,
    bound: u64,
    when_full: WhenFull,
    compression: Compression,
    single_frame: bool,
    limits: Limits,
    deadline: u64,
    writer: &'static str,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            size: 1000,
            bound: 1 << 30,
            when_full: WhenFull::Block,
            compression: Compression::None,
            single_frame: false,
            limits: LIMITS,
            deadline: 3600,
            writer: WRITER,
        }
    }
}

/// Small enough for tests to fill.
const SMALL: Limits = Limits { part: 100, min_part: 60 };

impl Bench {
    fn start(setting: Setting) -> Self {
        let Setting { bound, when_full, .. } = setting;
        let queue = Queue::new(0, QueueConfig { bound, when_full }, Arc::new(Ledger::new([], [], ["archive"])));
        Self::with(queue, Fake::default(), Clock::start(), setting)
    }

    fn with(queue: Arc<Queue>, store: Fake, clock: Clock, setting: Setting) -> Self {
        let Setting { size, compression, single_frame, limits, deadline, writer, .. } = setting;
        let (phase, watched) = watch::channel(Phase::Running);
        let context = SinkContext {
            name: "archive".into(),
            queue: Arc::clone(&queue),
            metrics: SinkMetrics::detached("archive"),
            clock,
            writer: writer.into(),
            phase: watched,
            ack_wait: Duration::from_secs(10),
            dead_letters: None,
        };
        let retry = RetryConfig { deadline: Span::secs(deadline), ..RetryConfig::default() };
        let object = ObjectConfig { size: Size(size), age: Span(AGE) };
        let extension = format!("ndjson{}", compression.extension());
        let objects = Objects { object, extension, compression, single_frame, retry };
        let driver = tokio::spawn(drive(context, objects, store.clone(), limits));
        Self { store, queue, clock, phase, driver, pushed: Vec::new() }
    }

    /// A sealed and filled block of one record; its bytes tell its place.
    fn push(&mut self, prefix: &str, len: usize) {
        self.push_for(prefix, len, Tickets::none());
    }

    fn push_for(&mut self, prefix: &str, len: usize, tickets: Tickets) {
        let line = format!("{:0>width$}\n", self.pushed.len(), width = len.max(4) - 1);
        self.push_line(prefix, line.into(), Compression::None, tickets);
    }

    fn push_line(&mut self, prefix: &str, plain: Bytes, compression: Compression, tickets: Tickets) {
        let partition = Arc::new(Partition::Prefix(prefix.into()));
        let count = Count { records: 1, bytes: plain.len() as u64 };
        {
            let mut books = self.queue.ledger().books();
            books.sinks[0].accepted += count;
            books.sinks[0].open += count;
        }
        let meta = BlockMeta {
            partition: Arc::clone(&partition),
            count,
            plain_len: plain.len() as u64,
            times: (0, 0),
            opened: self.clock.now(),
            tickets,
        };
        if let Some(sequence) = self.queue.reserve(meta) {
            self.queue.fill(sequence, compression.compress(&plain));
            self.pushed.push((partition, sequence, plain));
        }
    }

    async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        self.book();
    }

    async fn drain(&mut self) {
        self.phase.send_replace(Phase::Draining);
        (&mut self.driver).await.expect("the driver does not panic");
        self.book();
        assert!(self.queue.is_empty());
        assert_eq!(self.queue.fill_level().0, 0);
    }

    fn book(&self) -> SinkBook {
        let books = self.queue.ledger().snapshot();
        assert_eq!(books.discrepancies(), Vec::<String>::new());
        books.sinks[0].clone()
    }

    fn sizes(&self) -> Vec<usize> {
        self.store.world().objects.values().map(Vec::len).collect()
    }

    fn calls(&self) -> Vec<(&'static str, usize)> {
        self.store.world().calls.clone()
    }

    /// The lines of a partition's objects in the order of their keys.
    fn lines(&self, prefix: &str) -> String {
        let world = self.store.world();
        let objects = world.objects.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(_, object)| object.clone());
        String::from_utf8(objects.flatten().collect()).expect("lines are text")
    }

    /// The lines that were pushed for a partition.
    fn expected(&self, prefix: &str) -> String {
        let wanted = Partition::Prefix(prefix.into());
        let blocks = self.pushed.iter().filter(|(partition, ..)| **partition == wanted);
        blocks.map(|(.., plain)| String::from_utf8_lossy(plain)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_is_closed_when_it_has_its_size() {
    let mut bench = Bench::start(Setting::default());
    for _ in 0..9 {
        bench.push("a/", 100);
    }
    bench.pass(5).await;
    assert_eq!(bench.sizes(), [] as [usize; 0]);
    for _ in 0..6 {
        bench.push("a/", 100);
    }
    bench.pass(5).await;
    assert_eq!(bench.sizes(), [1000]);
    assert_eq!(bench.store.world().objects.keys().next().map(String::as_str), Some("a/w00-000000000000.ndjson"));
    bench.drain().await;
    assert_eq!(bench.lines("a/"), bench.expected("a/"));
}

#[tokio::test(start_paused = true)]
async fn an_object_is_closed_at_its_age_and_not_before() {
    let mut bench = Bench::start(Setting::default());
    bench.push("a/", 100);
    bench.pass(own_age(AGE, WRITER).as_secs() - 1).await;
    assert_eq!(bench.calls(), []);
    bench.push("a/", 100);
    bench.pass(5).await;
    assert_eq!(bench.sizes(), [200]);
    assert_eq!(bench.book().delivered.records, 2);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_a_sender_waits_for_is_closed_after_its_wait() {
    let mut bench = Bench::start(Setting::default());
    let (tell, told) = mpsc::channel();
    bench.push("a/", 100);
    bench.pass(100).await;
    bench.push_for("a/", 100, Tickets::from(Ticket::new(move |outcome| tell.send(outcome).expect("heard"))));
    bench.pass(9).await;
    assert_eq!(bench.calls(), []);
    bench.pass(3).await;
    assert_eq!(bench.sizes(), [200]);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [Outcome::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn under_pressure_the_largest_goes_first_until_half_of_the_queue_waits() {
    let mut bench = Bench::start(Setting { bound: 1000, ..Setting::default() });
    bench.push("a/", 300);
    bench.push("b/", 350);
    bench.pass(5).await;
    assert_eq!(bench.calls(), []);
    bench.push("c/", 110);
    bench.pass(5).await;
    assert_eq!(bench.lines("b/"), bench.expected("b/"));
    assert_eq!(bench.sizes(), [350], "the others still wait for their age");
}

#[tokio::test(start_paused = true)]
async fn a_drain_closes_all_and_waits_for_blocks_that_are_still_compressed() {
    let mut bench = Bench::start(Setting::default());
    bench.push("a/", 10);
    bench.push("b/", 10);
    let late = Arc::new(Partition::Prefix("c/".into()));
    let meta = BlockMeta {
        partition: Arc::clone(&late),
        count: Count::default(),
        plain_len: 10,
        times: (0, 0),
        opened: bench.clock.now(),
        tickets: Tickets::none(),
    };
    let place = bench.queue.reserve(meta).expect("room");
    bench.phase.send_replace(Phase::Draining);
    bench.pass(60).await;
    assert!(!bench.driver.is_finished());
    assert_eq!(bench.sizes(), [10, 10]);
    bench.queue.fill(place, Bytes::from_static(b"late\n"));
    bench.drain().await;
    assert_eq!(bench.lines("c/"), "late\n");
}

#[tokio::test(start_paused = true)]
async fn a_drain_gives_the_last_blocks_of_an_object_a_moment_to_be_compressed() {
    let mut bench = Bench::start(Setting::default());
    bench.push("a/", 10);
    let partition = Arc::new(Partition::Prefix("a/".into()));
    let (count, opened, tickets) = (Count::default(), bench.clock.now(), Tickets::none());
    let meta = BlockMeta { partition: Arc::clone(&partition), count, plain_len: 10, times: (0, 0), opened, tickets };
    let place = bench.queue.reserve(meta).expect("room");
    bench.phase.send_replace(Phase::Draining);
    tokio::time::sleep(Duration::from_millis(500)).await;
    bench.queue.fill(place, Bytes::from_static(b"late\n"));
    bench.drain().await;
    assert_eq!(bench.sizes(), [15], "one object, not two");
}

#[tokio::test(start_paused = true)]
async fn a_large_object_goes_out_in_parts_as_they_fill_and_lets_go_of_their_bytes() {
    let mut bench = Bench::start(Setting { size: 350, limits: SMALL, ..Setting::default() });
    for _ in 0..6 {
        bench.push("a/", 20);
    }
    bench.pass(5).await;
    assert_eq!(bench.calls(), [("create", 0), ("part", 100)]);
    assert_eq!(bench.queue.fill_level().0, 20);
    assert_eq!((bench.book().in_flight.records, bench.book().delivered.records), (5, 0));
    for _ in 0..13 {
        bench.push("a/", 20);
        bench.pass(2).await;
    }
    assert_eq!(bench.calls()[2..], [("part", 100), ("part", 100), ("part", 40), ("complete", 0)]);
    assert_eq!(bench.sizes(), [340]);
    bench.drain().await;
    assert_eq!(bench.lines("a/"), bench.expected("a/"));
    assert_eq!(bench.book().delivered.records, 19);
}

#[tokio::test(start_paused = true)]
async fn what_was_begun_is_completed_when_the_queue_is_handed_over_and_the_rest_is_left() {
    let mut bench = Bench::start(Setting { size: 10_000, limits: SMALL, ..Setting::default() });
    for _ in 0..6 {
        bench.push("a/", 20);
    }
    bench.pass(5).await;
    assert_eq!(bench.calls(), [("create", 0), ("part", 100)]);
    bench.push("b/", 20);
    bench.phase.send_replace(Phase::HandedOver);
    (&mut bench.driver).await.expect("the driver does not panic");
    assert_eq!(bench.calls()[2..], [("complete", 0)]);
    let book = bench.book();
    assert_eq!((book.delivered.records, book.in_flight.records, book.queued.records), (5, 0, 2));
    // The next task was told of everything.
    bench.queue.changed().await;
}

#[tokio::test(start_paused = true)]
async fn an_object_in_parts_is_completed_at_its_age_though_nothing_more_came() {
    let mut bench = Bench::start(Setting { size: 10_000, limits: SMALL, ..Setting::default() });
    for _ in 0..6 {
        bench.push("a/", 20);
    }
    bench.pass(own_age(AGE, WRITER).as_secs() - 1).await;
    assert_eq!(bench.sizes(), [] as [usize; 0]);
    bench.pass(5).await;
    assert_eq!(bench.sizes(), [120]);
    assert!(bench.queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_block_larger_than_a_part_and_one_larger_than_an_object_go_their_way() {
    let mut bench = Bench::start(Setting { size: 150, limits: SMALL, ..Setting::default() });
    for len in [20, 400, 20, 130, 20] {
        bench.push("a/", len);
        bench.pass(3).await;
    }
    bench.drain().await;
    assert_eq!(bench.lines("a/"), bench.expected("a/"));
}

#[tokio::test(start_paused = true)]
async fn no_part_but_the_last_is_smaller_than_the_store_takes() {
    let mut bench = Bench::start(Setting { size: 1000, limits: SMALL, ..Setting::default() });
    // Blocks of 55: only one fits into a part of 100, and 55 is too small for a part.
    for _ in 0..12 {
        bench.push("a/", 55);
        bench.pass(2).await;
    }
    bench.drain().await;
    let parts: Vec<usize> = bench.calls().iter().filter(|(api, _)| *api == "part").map(|(_, len)| *len).collect();
    let (_, all_but_last) = parts.split_last().expect("there are parts");
    assert!(all_but_last.iter().all(|len| *len >= 60), "{parts:?}");
    assert_eq!(bench.lines("a/"), bench.expected("a/"));
}

#[tokio::test(start_paused = true)]
async fn an_object_grows_while_earlier_ones_are_still_uploaded() {
    let mut bench = Bench::start(Setting { size: 100, ..Setting::default() });
    bench.store.world().fates = [Fate::Fail; 4].into();
    for _ in 0..2 {
        bench.push("a/", 100);
    }
    bench.push("a/", 50);
    let nearly = own_age(AGE, WRITER).as_secs() - 1;
    bench.pass(nearly).await;
    bench.push("a/", 50);
    bench.pass(nearly).await;
    assert_eq!(bench.sizes(), [100, 100, 100]);
    assert_eq!(bench.lines("a/"), bench.expected("a/"));
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_under_way_than_four() {
    let mut bench = Bench::start(Setting { size: 10, ..Setting::default() });
    for prefix in ["a/", "b/", "c/", "d/", "e/", "f/", "g/"] {
        bench.push(prefix, 10);
        bench.push(prefix, 10);
    }
    bench.pass(1).await;
    assert_eq!(bench.store.world().most_under_way, 4);
    bench.drain().await;
    assert_eq!(bench.store.world().most_under_way, 4);
    assert_eq!(bench.sizes().len(), 14);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_for_one_key_holds_up_no_other() {
    let mut bench = Bench::start(Setting { size: 10, ..Setting::default() });
    bench.store.world().down = Some("a/");
    bench.push("a/", 10);
    for _ in 0..20 {
        bench.push("b/", 10);
        bench.pass(2).await;
    }
    assert_eq!(bench.lines("b/"), bench.expected("b/"));
    bench.store.world().down = None;
    bench.drain().await;
    assert_eq!(bench.lines("a/"), bench.expected("a/"));
}

#[tokio::test(start_paused = true)]
async fn what_a_store_refuses_is_dropped_with_its_reason() {
    let mut bench = Bench::start(Setting { size: 10, ..Setting::default() });
    bench.store.world().fates = [Fate::Reject].into();
    let (tell, told) = mpsc::channel();
    bench.push_for("a/", 10, Tickets::from(Ticket::new(move |outcome| tell.send(outcome).expect("heard"))));
    bench.pass(3).await;
    assert_eq!(bench.book().dropped["refused"].records, 1);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [Outcome::Dropped], "the sender need not repeat it");
    assert!(bench.queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_upload_whose_part_is_given_up_is_completed_with_what_it_has() {
    let mut bench = Bench::start(Setting { size: 1000, limits: SMALL, ..Setting::default() });
    for _ in 0..6 {
        bench.push("a/", 20);
    }
    bench.pass(5).await;
    bench.store.world().fates = [Fate::Reject].into();
    for _ in 0..5 {
        bench.push("a/", 20);
    }
    bench.pass(5).await;
    assert_eq!(bench.sizes(), [100]);
    assert_eq!((bench.book().delivered.records, bench.book().dropped["refused"].records), (5, 5));
    bench.drain().await;
    assert_eq!(bench.sizes(), [100, 20], "the next object begins after it");
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_cannot_be_completed_is_counted_at_its_deadline() {
    let mut bench = Bench::start(Setting { size: 1000, limits: SMALL, deadline: 600, ..Setting::default() });
    for _ in 0..6 {
        bench.push("a/", 20);
    }
    bench.pass(5).await;
    bench.store.world().down = Some("a/");
    bench.pass(2000).await;
    assert_eq!((bench.book().dropped["retry_deadline"].records, bench.book().dropped["upload_failed"].records), (1, 5));
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_ended_leaves_books_that_add_up() {
    let mut bench = Bench::start(Setting { size: 1000, limits: SMALL, ..Setting::default() });
    for prefix in ["a/", "a/", "a/", "a/", "a/", "a/", "b/"] {
        bench.push(prefix, 20);
    }
    bench.pass(5).await;
    bench.store.world().down = Some("");
    bench.phase.send_replace(Phase::Draining);
    bench.pass(20).await;
    bench.driver.abort();
    bench.pass(1).await;
    let book = bench.book();
    assert_eq!((book.dropped["abandoned"].records, book.waiting().records), (7, 0));
}

/// Lines that compress, different in each block.
fn lines(n: usize) -> Bytes {
    (0..200)
        .map(|line| format!("{{\"block\":{n},\"line\":{line},\"text\":\"all work and no play\"}}\n"))
        .collect::<String>()
        .into()
}

fn inflate(compression: Compression, stored: &[u8]) -> (usize, Vec<u8>) {
    use std::io::Read;
    let (mut frames, mut plain, mut rest) = (0, Vec::new(), stored);
    while !rest.is_empty() {
        frames += 1;
        match compression {
            Compression::Zstd(_) => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(&mut rest).expect("a frame").single_frame();
                decoder.read_to_end(&mut plain).expect("a whole frame");
            }
            Compression::Gzip(_) => {
                let mut decoder = flate2::bufread::GzDecoder::new(&mut rest);
                decoder.read_to_end(&mut plain).expect("a whole member");
            }
            Compression::None => plain.extend_from_slice(std::mem::take(&mut rest)),
        }
    }
    (frames, plain)
}

async fn compressed(compression: Compression, single_frame: bool, limits: Limits) -> (usize, usize) {
    let mut bench = Bench::start(Setting { size: 1 << 20, compression, single_frame, limits, ..Setting::default() });
    for n in 0..40 {
        bench.push_line("a/", lines(n), compression, Tickets::none());
        bench.pass(3).await;
    }
    bench.drain().await;
    let object = bench.store.world().objects.values().next().expect("one object").clone();
    let (frames, plain) = inflate(compression, &object);
    assert!(plain == bench.expected("a/").into_bytes(), "the lines are not what they were");
    let parts = bench.calls().iter().filter(|(api, _)| *api == "part").count();
    (frames, parts)
}

#[tokio::test(start_paused = true)]
async fn small_neighbours_are_joined_into_full_frames() {
    for compression in [Compression::Zstd(1), Compression::Gzip(6)] {
        let (frames, parts) = compressed(compression, false, LIMITS).await;
        assert_eq!(parts, 0);
        assert!((2..=4).contains(&frames), "40 blocks of 12 KB make {frames} frames of up to 256 KiB");
    }
}

#[tokio::test(start_paused = true)]
async fn a_single_frame_goes_through_all_parts() {
    let limits = Limits { part: 4000, min_part: 500 };
    for compression in [Compression::Zstd(1), Compression::Gzip(6), Compression::None] {
        assert_eq!(compressed(compression, true, LIMITS).await, (1, 0), "{compression:?}");
        let (frames, parts) = compressed(compression, true, limits).await;
        assert_eq!(frames, 1, "{compression:?}");
        assert!(parts > 2, "{compression:?}: {parts} parts");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_cut_short_single_frame_counts_as_delivered_can_be_read() {
    use std::io::Read;
    let limits = Limits { part: 2000, min_part: 500 };
    let compression = Compression::Zstd(1);
    let setting = Setting { size: 1 << 20, compression, single_frame: true, limits, ..Setting::default() };
    let mut bench = Bench::start(setting);
    for n in 0..20 {
        bench.push_line("a/", lines(n), compression, Tickets::none());
        bench.pass(3).await;
    }
    bench.store.world().refused = Some("part");
    for n in 20..40 {
        bench.push_line("a/", lines(n), compression, Tickets::none());
    }
    bench.pass(10).await;
    let delivered = bench.book().delivered.records as usize;
    let object = bench.store.world().objects.values().next().expect("one object").clone();
    let mut plain = Vec::new();
    let mut decoder = zstd::stream::read::Decoder::new(&object[..]).expect("a frame");
    // An error after the last record that is there: that is what cut short means.
    assert!(decoder.read_to_end(&mut plain).is_err());
    assert!(delivered > 0);
    let expected: Vec<u8> = (0..delivered).flat_map(lines).collect();
    assert!(plain == expected, "{} of {} bytes", plain.len(), expected.len());
}

/// What may happen.
#[derive(Clone, Debug)]
enum Step {
    Push { lane: usize, len: usize, awaited: bool },
    Pass(u64),
    Fates(Vec<Fate>),
    Down(Option<&'static str>),
}

const LANES: [&str; 3] = ["a/", "b/", "c/"];

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![6 => Just(Fate::Fail), 1 => Just(Fate::Reject)];
    prop_oneof![
        8 => (0..3_usize, 5..150_usize, prop::bool::weighted(0.2))
            .prop_map(|(lane, len, awaited)| Step::Push { lane, len, awaited }),
        3 => (0..40_u64).prop_map(Step::Pass),
        1 => prop::collection::vec(fate, 1..4).prop_map(Step::Fates),
        1 => prop_oneof![Just(None), Just(Some("a/")), Just(Some(""))].prop_map(Step::Down),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn every_block_is_stored_once_and_in_sequence_or_counted_as_dropped(
        size in prop_oneof![Just(50_u64), Just(150), Just(900)],
        bound in prop_oneof![Just(600_u64), Just(1 << 30)],
        policy in prop_oneof![Just(WhenFull::Block), Just(WhenFull::DropOldest)],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.block_on(async {
            let mut bench = Bench::start(Setting { size, bound, when_full: policy, limits: SMALL, ..Setting::default() });
            let (tell, told) = mpsc::channel();
            let mut awaited = 0;
            for step in steps {
                match step {
                    Step::Push { lane, len, awaited: false } => bench.push(LANES[lane], len),
                    Step::Push { lane, len, .. } => {
                        awaited += 1;
                        let tell = tell.clone();
                        let ticket = Ticket::new(move |outcome| tell.send(outcome).expect("heard"));
                        bench.push_for(LANES[lane], len, Tickets::from(ticket));
                    }
                    Step::Pass(seconds) => bench.pass(seconds).await,
                    Step::Fates(fates) => bench.store.world().fates.extend(fates),
                    Step::Down(prefix) => bench.store.world().down = prefix,
                }
                bench.book();
            }
            bench.store.world().down = None;
            bench.drain().await;
            assert_eq!(told.try_iter().count(), awaited, "each ticket settles once");
            let (mut stored, book) = (0, bench.book());
            for lane in LANES {
                let (found, pushed) = (bench.lines(lane), bench.expected(lane));
                stored += found.lines().count() as u64;
                // What is stored is what was pushed, in its order, some of it left out.
                let mut rest = pushed.lines();
                for line in found.lines() {
                    assert!(rest.any(|pushed| pushed == line), "{line} is out of order, doubled or unknown");
                }
            }
            assert_eq!(stored, book.delivered.records, "what counts as delivered is stored");
            let dropped: u64 = book.dropped.values().map(|count| count.records).sum();
            assert_eq!(stored + dropped, book.accepted.records);
        });
    }
}
