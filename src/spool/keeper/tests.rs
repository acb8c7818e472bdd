//! A queue with a disk: when its blocks are durable, what outlives the process, and what it does when the disk fails.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use rustix::io::Errno;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::encode::{BlockMeta, Partition};
use crate::record::Ticket;
use crate::spool::disk::sim::{Crash, Disk};

mod hangs;

/// A queue on a simulated disk, with its keeper.
struct Rig {
    disk: Disk,
    queue: Arc<Queue>,
    keeper: JoinHandle<()>,
}

const LIMITS: Limits = Limits { segment: 1000, quota: 10_000 };

impl Rig {
    fn open(disk: Disk, when_full: WhenFull, limits: Limits) -> Self {
        let ledger = Arc::new(Ledger::new([], [], ["sink"]));
        let anchor = Anchor { moment: Duration::from_secs(1000), unix: 1_790_000_000_000_000_000 };
        let config = QueueConfig { bound: 5000, when_full };
        let directory = Arc::new(disk.clone());
        let queue =
            Queue::open(0, config, ledger, directory, limits, anchor, watch::Sender::new(())).expect("it opens");
        let keeper = tokio::spawn(Arc::clone(&queue).keep());
        Self { disk, queue, keeper }
    }

    fn new() -> Self {
        Self::open(Disk::new(1), WhenFull::Block, LIMITS)
    }

    /// The next process, after this one was killed.
    async fn killed(self) -> Self {
        // What it is writing ends there; its thread must be gone before the next one begins.
        self.disk.die(self.disk.operations() + 1);
        let idle = || self.queue.state().disk.as_ref().is_some_and(|disk| !disk.busy);
        until("nothing is being written", idle).await;
        self.keeper.abort();
        let _ = self.keeper.await;
        self.disk.restart(Crash::Process);
        Self::open(self.disk, WhenFull::Block, LIMITS)
    }

    /// A block of one record.
    fn push(&self, data: &str, tickets: Tickets) {
        let count = Count { records: 1, bytes: data.len() as u64 };
        {
            let mut books = self.queue.ledger().books();
            books.sinks[0].accepted += count;
            books.sinks[0].open += count;
        }
        let (plain_len, opened) = (data.len() as u64, Duration::from_secs(1001));
        let meta = BlockMeta { partition: partition(), count, plain_len, times: (0, 0), opened, tickets };
        let sequence = self.queue.reserve(meta).expect("room");
        self.queue.fill(sequence, Bytes::copy_from_slice(data.as_bytes()));
    }

    /// All that can be taken.
    async fn take(&self) -> Option<(String, Lease)> {
        let mut lease = self.queue.take(&partition(), u64::MAX)?;
        let loaded = lease.load(0..lease.blocks()).await;
        let text = loaded.data().iter().map(|data| String::from_utf8_lossy(data).into_owned()).collect();
        Some((text, lease))
    }

    async fn text(&self) -> String {
        let (text, lease) = self.take().await.expect("something is ready");
        lease.delivered();
        text
    }

    /// Comes back when the disk knows all that it is to know.
    async fn noted(&self) {
        let noted = || {
            let state = self.queue.state();
            state.disk.as_ref().is_some_and(|disk| !disk.busy && disk.ended.is_empty() && disk.uploads.is_empty())
        };
        until("all is noted", noted).await;
    }

    fn check_books(&self) {
        assert_eq!(self.queue.ledger().snapshot().discrepancies(), Vec::<String>::new());
    }

    fn dropped(&self, reason: &str) -> u64 {
        self.check_books();
        self.queue.ledger().snapshot().sinks[0].dropped.get(reason).map_or(0, |count| count.records)
    }
}

fn partition() -> Arc<Partition> {
    Arc::new(Partition::Prefix("p/".into()))
}

/// A ticket for a sender that waits until its records are durable, and what it is told.
fn ticket() -> (Tickets, mpsc::Receiver<Outcome>) {
    let (tell, told) = mpsc::channel();
    (Ticket::durable(move |outcome| tell.send(outcome).expect("the test listens")).into(), told)
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let wait = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn a_sender_is_told_when_its_block_outlives_the_machine_and_its_bytes_leave_the_memory() {
    let rig = Rig::new();
    let (tickets, told) = ticket();
    rig.push("one,", tickets);
    rig.queue.durable().await;
    assert_eq!(told.recv(), Ok(Outcome::Delivered));
    assert_eq!(rig.queue.fill_level().0, 0);
    rig.disk.restart(Crash::Machine);
    let rig = Rig::open(rig.disk, WhenFull::Block, LIMITS);
    assert_eq!(rig.text().await, "one,");
}

#[tokio::test]
async fn what_was_not_delivered_is_sent_by_the_next_process_and_counted_as_recovered() {
    let rig = Rig::new();
    for data in ["one,", "two,", "three,"] {
        rig.push(data, Tickets::none());
    }
    rig.queue.durable().await;
    let lease = rig.queue.take(&partition(), 1).expect("ready");
    lease.delivered();
    let (_, under_way) = rig.take().await.expect("two more");
    rig.noted().await;
    drop(under_way);
    rig.check_books();
    assert_eq!(rig.queue.ledger().snapshot().sinks[0].waiting().records, 2, "what was under way waits on disk");

    let rig = rig.killed().await;
    let book = rig.queue.ledger().snapshot().sinks[0].clone();
    assert_eq!((book.recovered.records, book.accepted.records, book.waiting().records), (2, 2, 2));
    assert_eq!(rig.text().await, "two,three,");
    rig.check_books();
    rig.noted().await;
    let rig = rig.killed().await;
    assert!(rig.take().await.is_none());
}

#[tokio::test]
async fn an_object_that_was_cut_is_the_same_object_for_the_next_process() {
    let rig = Rig::new();
    for data in ["one,", "two,"] {
        rig.push(data, Tickets::none());
    }
    rig.queue.durable().await;
    let lease = rig.queue.take(&partition(), u64::MAX).expect("ready");
    assert!(rig.queue.cut("key", &lease).await);
    rig.queue.note_upload(lease.first(), "upload");
    rig.push("three,", Tickets::none());
    rig.queue.durable().await;
    rig.noted().await;

    let rig = rig.killed().await;
    assert_eq!(rig.text().await, "three,", "what was cut is not part of another object");
    assert!(!rig.queue.is_empty());
    let mut unfinished = rig.queue.unfinished();
    let (cut, mut lease) = unfinished.pop().expect("one");
    assert_eq!((cut.key.as_str(), cut.upload.as_deref()), ("key", Some("upload")));
    let loaded = lease.load(0..2).await;
    assert_eq!(loaded.data().concat(), b"one,two,");
    drop(loaded);
    lease.delivered();
    rig.check_books();
    until("it is empty", || rig.queue.is_empty()).await;
}

#[tokio::test]
async fn a_disk_that_fails_makes_nothing_durable_and_stops_nothing() {
    let rig = Rig::new();
    let (tickets, told) = ticket();
    rig.disk.fail(rig.disk.operations() + 1, Errno::IO);
    rig.push("one,", tickets);
    until("it is ready from memory", || !rig.queue.lanes().is_empty()).await;
    assert!(told.try_recv().is_err(), "it is not durable");
    assert!(rig.queue.disk().expect("a disk").failure.is_some());
    let (text, lease) = rig.take().await.expect("ready");
    assert!(!lease.is_on_disk() && !rig.queue.cut("key", &lease).await);
    lease.delivered();
    assert_eq!((text.as_str(), told.recv()), ("one,", Ok(Outcome::Delivered)));

    let (tickets, told) = ticket();
    rig.push("two,", tickets);
    until("the disk works again", || told.try_recv() == Ok(Outcome::Delivered)).await;
    assert!(rig.queue.disk().expect("a disk").failure.is_none());
    assert_eq!(rig.killed().await.text().await, "two,");
}

#[tokio::test]
async fn a_backlog_larger_than_what_is_known_one_by_one_comes_back_in_sequence() {
    let limits = Limits { segment: 1 << 20, quota: 1 << 30 };
    let rig = Rig::open(Disk::new(1), WhenFull::Block, limits);
    let ready = ready(rig.queue.config().bound);
    let all = ready * 20 + 100;
    for n in 0..all {
        rig.push(&format!("{n},"), Tickets::none());
    }
    rig.queue.durable().await;
    assert!(rig.queue.is_behind());
    assert!(rig.queue.lanes()[0].ready_blocks <= ready);
    let mut text = String::new();
    while let Some((more, lease)) = rig.take().await {
        text += &more;
        lease.delivered();
        until("more is read back", || !rig.queue.lanes().is_empty() || rig.queue.is_empty()).await;
    }
    let expected: String = (0..all).map(|n| format!("{n},")).collect();
    assert!(text == expected, "in sequence, each once");
    rig.check_books();
}

#[tokio::test]
async fn a_full_disk_holds_what_comes_in_memory_and_the_sources_when_that_is_full_too() {
    let rig = Rig::new();
    let block = "x".repeat(900);
    until("disk and memory are full", || {
        if !rig.queue.is_blocking() {
            rig.push(&block, Tickets::none());
        }
        rig.queue.disk().expect("a disk").full && rig.queue.is_blocking()
    })
    .await;
    assert!(rig.queue.disk().expect("a disk").used <= LIMITS.quota);
    let sent = rig.queue.ledger().snapshot().sinks[0].accepted.records;
    let mut seen = 0;
    until("the first can be taken", || !rig.queue.lanes().is_empty()).await;
    while let Some((text, lease)) = rig.take().await {
        seen += (text.len() / 900) as u64;
        lease.delivered();
        until("the next come", || !rig.queue.lanes().is_empty() || rig.queue.is_empty()).await;
    }
    assert_eq!((seen, rig.queue.is_blocking()), (sent, false));
    rig.check_books();
}

#[tokio::test]
async fn a_full_disk_loses_its_oldest_when_that_is_the_policy() {
    let rig = Rig::open(Disk::new(1), WhenFull::DropOldest, LIMITS);
    for n in 0..40 {
        rig.push(&format!("{n:0>900}"), Tickets::none());
        rig.queue.durable().await;
    }
    until("all is written", || !rig.queue.is_filling()).await;
    let dropped = rig.dropped("queue_full");
    let text = rig.text().await;
    let left = (text.len() / 900) as u64;
    assert_eq!(dropped + left, 40);
    assert!((5..=11).contains(&left), "{left} blocks fit");
    assert!(text.ends_with("39"), "the newest are there");
}

#[tokio::test]
async fn a_block_that_cannot_be_read_back_is_counted_and_the_rest_goes_on() {
    let rig = Rig::new();
    for data in ["one,", "two,"] {
        rig.push(data, Tickets::none());
    }
    rig.queue.durable().await;
    let mut lease = rig.queue.take(&partition(), u64::MAX).expect("ready");
    rig.disk.fail_reads(3);
    let loaded = lease.load(0..2).await;
    assert_eq!(loaded.data(), [Bytes::new(), Bytes::from_static(b"two,")]);
    drop(loaded);
    lease.delivered();
    assert_eq!(rig.dropped("damaged"), 1);
    assert_eq!(rig.queue.ledger().snapshot().sinks[0].delivered.records, 1);
}

#[tokio::test]
async fn a_queue_that_is_closed_leaves_nothing_unwritten_behind() {
    let rig = Rig::new();
    rig.push("one,", Tickets::none());
    rig.queue.close();
    rig.keeper.await.expect("it ends");
    assert_eq!(rig.queue.abandon("drain_timeout").records, 0);
    rig.disk.restart(Crash::Machine);
    assert_eq!(Rig::open(rig.disk, WhenFull::Block, LIMITS).text().await, "one,");
}

#[tokio::test(start_paused = true)]
async fn a_disk_is_tried_again_though_nothing_comes_and_what_was_delivered_meanwhile_is_not_sent_again() {
    let rig = Rig::new();
    rig.push("one,", Tickets::none());
    rig.queue.durable().await;
    // The sync of the second block fails: its segment is given up, and the block goes on in memory.
    rig.disk.fail(rig.disk.operations() + 2, Errno::IO);
    rig.push("two,", Tickets::none());
    until("both are ready", || rig.queue.lanes().first().is_some_and(|lane| lane.ready_blocks == 2)).await;
    assert_eq!((rig.text().await, rig.text().await), ("one,".into(), "two,".into()));
    until("the disk works again", || rig.queue.disk().expect("a disk").failure.is_none()).await;
    let rig = rig.killed().await;
    assert!(rig.take().await.is_none());
}

#[tokio::test]
async fn a_source_that_waits_for_the_disk_goes_on_when_the_disk_fails() {
    let limits = Limits { segment: 16 << 20, quota: 64 << 20 };
    let rig = Rig::open(Disk::new(1), WhenFull::DropNewest, limits);
    rig.disk.fail(rig.disk.operations() + 1, Errno::IO);
    let large = "x".repeat(UNWRITTEN as usize);
    rig.push(&large, Tickets::none());
    tokio::time::timeout(Duration::from_secs(60), rig.queue.room()).await.expect("it is not held for ever");
}

/// A life of a queue: several tasks push and take beside each other, in an order that the seed decides, while the disk
/// fails now and then; then the process is killed in the middle of something. What comes out of the whole is told by
/// `acked` (numbers of blocks whose sender was told that they are durable) and `seen` (of those that were delivered).
async fn life(rig: &Rig, seed: u64, first: u64, acked: &Arc<Mutex<Vec<u64>>>, seen: &Arc<Mutex<Vec<u64>>>) {
    let mut rng = fastrand::Rng::with_seed(seed);
    if rng.bool() {
        rig.disk.fail(rig.disk.operations() + rng.u64(1..40), Errno::IO);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for at in first..first + 30 {
        let (pause, compressing) = (rng.u64(0..3000), rng.u64(0..30));
        let (queue, acked) = (Arc::clone(&rig.queue), Arc::clone(acked));
        let data = format!("{at},");
        tasks.spawn(async move {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let ticket = Ticket::durable(move |outcome| {
                if outcome.is_settled() {
                    acked.lock().expect("no test panics in here").push(at);
                }
            });
            let count = Count { records: 1, bytes: data.len() as u64 };
            {
                let mut books = queue.ledger().books();
                books.sinks[0].accepted += count;
                books.sinks[0].open += count;
            }
            let (plain_len, opened) = (data.len() as u64, Duration::from_secs(1001));
            let (partition, tickets) = (partition(), ticket.into());
            let meta = BlockMeta { partition, count, plain_len, times: (0, 0), opened, tickets };
            let reserved = crate::spool::Reserved::of(&queue, meta).expect("room");
            tokio::time::sleep(Duration::from_millis(compressing)).await;
            reserved.fill(data.into());
        });
    }
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(rng.u64(0..200))).await;
        if let Some((text, lease)) = rig.take().await {
            let numbers = text.split_terminator(',').map(|number| number.parse::<u64>().expect("a number"));
            seen.lock().expect("no test panics in here").extend(numbers);
            lease.delivered();
        }
        rig.check_books();
    }
    // Dropped: tasks that have not filled their block yet give it up.
}

#[tokio::test(start_paused = true)]
async fn what_was_acked_is_delivered_whatever_the_order_of_things_and_the_end_of_the_process() {
    for seed in 0..40 {
        let (acked, seen) = (Arc::default(), Arc::default());
        let mut rig = Rig::open(Disk::new(seed), WhenFull::Block, LIMITS);
        for turn in 0..3 {
            life(&rig, seed * 10 + turn, turn * 30, &acked, &seen).await;
            rig = rig.killed().await;
        }
        while !rig.queue.is_empty() {
            if let Some((text, lease)) = rig.take().await {
                let numbers = text.split_terminator(',').map(|number| number.parse::<u64>().expect("a number"));
                seen.lock().expect("no test panics in here").extend(numbers);
                lease.delivered();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        rig.check_books();
        let (acked, seen) = (acked.lock().expect("no panic").clone(), seen.lock().expect("no panic").clone());
        assert!(!acked.is_empty());
        let lost: Vec<_> = acked.iter().filter(|number| !seen.contains(number)).collect();
        assert!(lost.is_empty(), "seed {seed}: {lost:?} were acked and never delivered");
        let mut told = acked.clone();
        told.sort_unstable();
        told.dedup();
        assert_eq!(told.len(), acked.len(), "seed {seed}: each sender is told once");
    }
}
