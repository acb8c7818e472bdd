//! The queue: order, bound, policies, and that its books add up whatever happens.

use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Lease, Queue, QueueConfig, WhenFull};
use crate::encode::{BlockMeta, Count, Partition};
use crate::ledger::{Books, Ledger};
use crate::record::{Outcome, Ticket, Tickets};

fn partition(name: &str) -> Arc<Partition> {
    Arc::new(Partition::Prefix(name.into()))
}

fn queue(bound: u64, when_full: WhenFull) -> Arc<Queue> {
    Queue::new(0, QueueConfig { bound, when_full }, Arc::new(Ledger::new([], [], ["sink"])))
}

/// A block of one record of `plain_len` bytes, as the worker would reserve it.
fn reserve(queue: &Queue, partition: &Arc<Partition>, plain_len: u64, opened: u64, tickets: Tickets) -> Option<u64> {
    let count = Count { records: 1, bytes: plain_len };
    {
        let mut books = queue.ledger().books();
        books.sinks[0].accepted += count;
        books.sinks[0].open += count;
    }
    let opened = Duration::from_secs(opened);
    queue.reserve(BlockMeta { partition: Arc::clone(partition), count, plain_len, times: (0, 0), opened, tickets })
}

fn push(queue: &Queue, partition: &Arc<Partition>, data: &'static str) -> Option<u64> {
    let sequence = reserve(queue, partition, data.len() as u64, 0, Tickets::none())?;
    queue.fill(sequence, Bytes::from_static(data.as_bytes()));
    Some(sequence)
}

fn push_all(queue: &Queue, partition: &Arc<Partition>, blocks: &[&'static str]) {
    for data in blocks {
        push(queue, partition, data).expect("room");
    }
}

/// What is ready at once: a lease in memory waits for nothing.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here has to wait"),
    }
}

fn text(lease: &mut Lease) -> String {
    let loaded = now(lease.load(0..lease.blocks()));
    loaded.data().iter().map(|data| String::from_utf8_lossy(data)).collect()
}

fn books(queue: &Queue) -> Books {
    let books = queue.ledger().snapshot();
    assert_eq!(books.discrepancies(), Vec::<String>::new());
    books
}

fn dropped(queue: &Queue, reason: &str) -> u64 {
    books(queue).sinks[0].dropped.get(reason).map_or(0, |count| count.records)
}

#[test]
fn blocks_are_taken_in_the_order_of_their_places_not_of_their_bytes() {
    let (queue, a) = (queue(1000, WhenFull::Block), partition("a"));
    let first = reserve(&queue, &a, 10, 0, Tickets::none()).expect("room");
    let second = reserve(&queue, &a, 10, 0, Tickets::none()).expect("room");
    queue.fill(second, Bytes::from_static(b"two"));
    assert!(queue.take(&a, u64::MAX).is_none(), "the first has no bytes yet");
    assert!(queue.lanes().is_empty() && queue.is_filling());
    queue.fill(first, Bytes::from_static(b"one,"));
    let mut lease = queue.take(&a, u64::MAX).expect("both are ready");
    assert_eq!((text(&mut lease).as_str(), lease.bytes()), ("one,two", 7));
    lease.delivered();
    assert!(queue.is_empty());
    assert_eq!(books(&queue).sinks[0].delivered.records, 2);
}

#[test]
fn a_take_stays_within_its_bound_but_takes_one_block_at_least() {
    let (queue, a) = (queue(1000, WhenFull::Block), partition("a"));
    push_all(&queue, &a, &["aaaa", "bbbb", "cccc"]);
    assert_eq!(text(&mut queue.take(&a, 9).expect("ready")), "aaaabbbb");
    assert_eq!(text(&mut queue.take(&a, 1).expect("ready")), "cccc");
    assert!(queue.take(&a, 9).is_none());
}

#[test]
fn a_lane_tells_what_is_ready_and_since_when_a_sender_waits() {
    let (queue, a) = (queue(1000, WhenFull::Block), partition("a"));
    let ticket = || Tickets::from(Ticket::new(|_| {}));
    let places = [
        reserve(&queue, &a, 10, 5, Tickets::none()),
        reserve(&queue, &a, 10, 6, ticket()),
        reserve(&queue, &a, 10, 7, ticket()),
    ];
    for place in places.into_iter().flatten() {
        queue.fill(place, Bytes::from_static(b"1234"));
    }
    let lane = queue.lanes().remove(0);
    assert_eq!((lane.ready_blocks, lane.ready_bytes, lane.opened.as_secs()), (3, 12, 5));
    assert_eq!(lane.awaited_since.map(|since| since.as_secs()), Some(6));
    let _two = queue.take(&a, 8);
    let lane = queue.lanes().remove(0);
    assert_eq!((lane.ready_blocks, lane.awaited_since.map(|since| since.as_secs())), (1, Some(7)));
    assert_eq!(queue.oldest().map(|oldest| oldest.as_secs()), Some(5), "what is in flight counts");
}

#[test]
fn a_full_queue_that_blocks_still_takes_what_was_read_and_says_so() {
    let (queue, a) = (queue(10, WhenFull::Block), partition("a"));
    for data in ["aaaaaa", "bbbbbb"] {
        assert!(push(&queue, &a, data).is_some());
    }
    assert!(queue.is_blocking() && queue.is_pressed());
    assert_eq!(queue.fill_level(), (12, 10));
    let lease = queue.take(&a, 6).expect("ready");
    assert!(queue.is_blocking(), "what is in flight counts");
    lease.delivered();
    assert!(!queue.is_blocking());
}

#[tokio::test]
async fn room_comes_back_when_bytes_are_let_go() {
    let (queue, a) = (queue(5, WhenFull::Block), partition("a"));
    push(&queue, &a, "aaaaaa");
    let waiting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.room().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    let receipt = queue.take(&a, u64::MAX).expect("ready").into_receipt();
    waiting.await.expect("room");
    assert_eq!(queue.fill_level().0, 0);
    assert!(!queue.is_empty(), "the records are still in flight");
    assert_eq!(books(&queue).sinks[0].in_flight.records, 1);
    receipt.delivered();
    assert!(queue.is_empty());
}

#[tokio::test]
async fn room_comes_back_when_compression_makes_it() {
    let (queue, a) = (queue(5, WhenFull::Block), partition("a"));
    let sequence = reserve(&queue, &a, 100, 0, Tickets::none()).expect("an oversize block is let in");
    let waiting = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.room().await }
    });
    tokio::task::yield_now().await;
    queue.fill(sequence, Bytes::from_static(b"1"));
    waiting.await.expect("room");
}

#[test]
fn the_oldest_that_waits_is_dropped_but_nothing_in_flight() {
    let (queue, a, b) = (queue(12, WhenFull::DropOldest), partition("a"), partition("b"));
    push(&queue, &a, "flight");
    let mut lease = queue.take(&a, u64::MAX).expect("ready");
    push(&queue, &a, "old");
    push(&queue, &b, "new");
    assert_eq!(dropped(&queue, "queue_full"), 0);
    push(&queue, &b, "newest");
    assert_eq!(dropped(&queue, "queue_full"), 2);
    assert_eq!(queue.lanes().len(), 1);
    assert_eq!(text(&mut queue.take(&b, u64::MAX).expect("ready")), "newest");
    assert_eq!(text(&mut lease), "flight");
    assert!(!queue.is_blocking());
}

#[test]
fn what_stands_behind_a_dropped_block_without_bytes_becomes_ready() {
    let (queue, a, b) = (queue(10, WhenFull::DropOldest), partition("a"), partition("b"));
    let unfilled = reserve(&queue, &a, 4, 0, Tickets::none()).expect("room");
    push(&queue, &a, "bbbb");
    assert!(queue.awaits(unfilled));
    push(&queue, &b, "cccc");
    assert!(!queue.awaits(unfilled), "nobody need compress it");
    assert_eq!(text(&mut queue.take(&a, u64::MAX).expect("the first is gone")), "bbbb");
    queue.fill(unfilled, Bytes::from_static(b"late"));
    assert!(queue.take(&a, u64::MAX).is_none(), "bytes of a dropped block are let go");
    assert_eq!(dropped(&queue, "queue_full"), 1);
}

#[test]
fn the_newest_is_dropped_when_that_is_the_policy() {
    let (queue, a) = (queue(6, WhenFull::DropNewest), partition("a"));
    assert!(push(&queue, &a, "aaaa").is_some());
    assert!(push(&queue, &a, "bbbb").is_none());
    assert_eq!(dropped(&queue, "queue_full"), 1);
    assert_eq!(text(&mut queue.take(&a, u64::MAX).expect("ready")), "aaaa");
}

#[test]
fn a_lease_that_nobody_settles_is_abandoned_and_its_sender_told() {
    let (queue, a) = (queue(100, WhenFull::Block), partition("a"));
    let (tell, told) = mpsc::channel();
    let ticket = Tickets::from(Ticket::new(move |outcome| tell.send(outcome).expect("the test listens")));
    let sequence = reserve(&queue, &a, 4, 0, ticket).expect("room");
    queue.fill(sequence, Bytes::from_static(b"1234"));
    drop(queue.take(&a, u64::MAX));
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [Outcome::Lost]);
    assert_eq!(dropped(&queue, "abandoned"), 1);
    assert!(queue.is_empty());
    assert_eq!(queue.fill_level().0, 0);
}

#[test]
fn what_is_rejected_is_counted_apart_from_what_is_delivered() {
    let (queue, a) = (queue(100, WhenFull::Block), partition("a"));
    push_all(&queue, &a, &["1", "2", "3"]);
    let mut receipt = queue.take(&a, 1).expect("ready").into_receipt();
    receipt.join(queue.take(&a, u64::MAX).expect("ready").into_receipt());
    receipt.settled(&[("too_old", Count { records: 1, bytes: 1 })]);
    assert_eq!(books(&queue).sinks[0].delivered.records, 2);
    assert_eq!(dropped(&queue, "too_old"), 1);
}

#[test]
fn an_abandoned_queue_keeps_what_is_in_flight() {
    let (queue, a) = (queue(100, WhenFull::Block), partition("a"));
    push_all(&queue, &a, &["1", "2", "3"]);
    let lease = queue.take(&a, 1).expect("ready");
    assert_eq!(queue.abandon("drain").records, 2);
    assert_eq!(dropped(&queue, "drain"), 2);
    assert_eq!(queue.fill_level().0, 1);
    lease.delivered();
    assert!(queue.is_empty());
}

/// What may happen to a queue.
#[derive(Clone, Debug)]
enum Step {
    Reserve { lane: usize, len: u64 },
    Fill { nth: usize, len: usize },
    Take { lane: usize, max: u64 },
    Deliver,
    Release,
    Drop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, 1..50_u64).prop_map(|(lane, len)| Step::Reserve { lane, len }),
        4 => (0..4_usize, 1..50_usize).prop_map(|(nth, len)| Step::Fill { nth, len }),
        2 => (0..3_usize, 0..100_u64).prop_map(|(lane, max)| Step::Take { lane, max }),
        1 => Just(Step::Deliver),
        1 => Just(Step::Release),
        1 => Just(Step::Drop),
    ]
}

proptest! {
    #[test]
    fn the_books_add_up_and_order_holds_whatever_happens(
        policy in prop_oneof![Just(WhenFull::Block), Just(WhenFull::DropOldest), Just(WhenFull::DropNewest)],
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let queue = queue(200, policy);
        let lanes = ["a", "b", "c"].map(partition);
        let (mut unfilled, mut leases, mut last) = (Vec::new(), Vec::new(), [None; 3]);
        for step in steps {
            match step {
                Step::Reserve { lane, len } => {
                    let place = reserve(&queue, &lanes[lane], len, 0, Tickets::none());
                    unfilled.extend(place.map(|sequence| (lane, sequence)));
                }
                Step::Fill { nth, len } if nth < unfilled.len() => {
                    let (_, sequence) = unfilled.remove(nth);
                    queue.fill(sequence, vec![0; len].into());
                }
                Step::Take { lane, max } => {
                    if let Some(lease) = queue.take(&lanes[lane], max) {
                        prop_assert!(lease.blocks() == 1 || lease.bytes() <= max);
                        for sequence in lease.sequences().iter() {
                            prop_assert!(last[lane] < Some(sequence), "in sequence, each once");
                            last[lane] = Some(sequence);
                        }
                        leases.push(lease);
                    }
                }
                Step::Deliver => leases.drain(..).for_each(Lease::delivered),
                Step::Release => drop(leases.pop().map(Lease::into_receipt)),
                Step::Drop => drop(leases.pop()),
                Step::Fill { .. } => {}
            }
            prop_assert_eq!(queue.ledger().snapshot().discrepancies(), Vec::<String>::new());
            let held: u64 = leases.iter().map(Lease::bytes).sum();
            let ready: u64 = queue.lanes().iter().map(|lane| lane.ready_bytes).sum();
            prop_assert!(queue.fill_level().0 >= held + ready);
        }
        leases.clear();
        queue.abandon("drain");
        prop_assert!(queue.is_empty());
        prop_assert_eq!(queue.fill_level().0, 0, "every byte was let go");
        let book = &queue.ledger().snapshot().sinks[0];
        prop_assert_eq!(book.waiting(), Count::default());
    }
}
