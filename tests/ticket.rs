//! The ticket under loom: `src/record/ticket.rs` itself, compiled with loom's `Arc` and atomics, in every interleaving
//! of the threads that hold its copies and with every value that a weak memory order lets them see.
//!
//! What holds in each: the report comes exactly once, with the drop of the last copy, and says the worst that any
//! copy was marked with.

#[allow(unreachable_pub)]
#[path = "../src/record/ticket.rs"]
mod ticket;

mod sync {
    pub(super) use loom::sync::atomic::{AtomicU8, Ordering};
    pub(super) use loom::sync::{Arc, Mutex};
}

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use loom::thread;
use ticket::{Outcome, Ticket, Tickets};

const OUTCOMES: [Outcome; 3] = [Outcome::Delivered, Outcome::Dropped, Outcome::Lost];

/// What a ticket has reported. Of the standard library: loom must not take it for a part of what it checks.
#[derive(Clone)]
struct Reports {
    of: Arc<Mutex<Vec<Outcome>>>,
    /// Holders that have not begun to let go.
    holding: Arc<AtomicUsize>,
}

impl Reports {
    /// Of a ticket that will have so many holders.
    fn new(holders: usize) -> Self {
        Self { of: Arc::default(), holding: Arc::new(AtomicUsize::new(holders)) }
    }

    fn sink(&self) -> impl FnOnce(Outcome) + Send + 'static {
        let this = self.clone();
        move |outcome| {
            assert_eq!(this.holding.load(Ordering::SeqCst), 0, "reported while a copy is out");
            this.of.lock().expect("nobody panicked").push(outcome);
        }
    }

    fn settle(&self, tickets: Tickets, outcome: Outcome) {
        self.holding.fetch_sub(1, Ordering::SeqCst);
        tickets.settle(outcome);
    }

    fn drop(&self, tickets: Tickets) {
        self.holding.fetch_sub(1, Ordering::SeqCst);
        drop(tickets);
    }

    fn assert(&self, expected: Outcome) {
        assert_eq!(*self.of.lock().expect("nobody panicked"), [expected]);
    }
}

/// The two threads are alike, so it is enough that each outcome is once the one of the first holder.
#[test]
fn three_copies_on_three_threads_report_once_and_the_worst() {
    for (mine, others) in [
        (Outcome::Delivered, [Outcome::Dropped, Outcome::Lost]),
        (Outcome::Dropped, [Outcome::Lost, Outcome::Delivered]),
        (Outcome::Lost, [Outcome::Delivered, Outcome::Dropped]),
    ] {
        loom::model(move || {
            let reports = Reports::new(3);
            let tickets = Tickets::from(Ticket::new(reports.sink()));
            let threads = others.map(|outcome| {
                let (copy, reports) = (tickets.clone(), reports.clone());
                thread::spawn(move || reports.settle(copy, outcome))
            });
            reports.settle(tickets, mine);
            for thread in threads {
                thread.join().expect("it ends");
            }
            reports.assert(Outcome::Lost);
        });
    }
}

/// A worker puts a chunk's ticket into two blocks and lets go of its own, while a sink settles the first block.
#[test]
fn a_copy_made_while_another_settles_is_waited_for() {
    for a in OUTCOMES {
        for b in OUTCOMES {
            loom::model(move || {
                let reports = Reports::new(3);
                let chunk = Tickets::from(Ticket::new(reports.sink()));
                let mut block = Tickets::none();
                block.join(&chunk);
                let sink = thread::spawn({
                    let reports = reports.clone();
                    move || reports.settle(block, a)
                });
                let mut second = Tickets::none();
                second.join(&chunk);
                second.join(&chunk);
                assert_eq!(format!("{second:?}").matches("Ticket(").count(), 1, "joined twice, held once");
                reports.drop(chunk);
                reports.settle(second, b);
                sink.join().expect("it ends");
                reports.assert(a.max(b));
            });
        }
    }
}

/// A queue on disk lets go of who waits for durability; the copies in the other sinks' blocks go on.
#[test]
fn what_is_durable_is_let_go_of_while_other_sinks_settle() {
    for outcome in OUTCOMES {
        loom::model(move || {
            let (durable, delivered) = (Reports::new(2), Reports::new(2));
            let mut block = Tickets::from(Ticket::durable(durable.sink()));
            block.join(&Ticket::new(delivered.sink()).into());
            let copy = block.clone();
            let other = thread::spawn({
                let (durable, delivered) = (durable.clone(), delivered.clone());
                move || {
                    durable.holding.fetch_sub(1, Ordering::SeqCst);
                    delivered.settle(copy, Outcome::Dropped);
                }
            });
            assert!(block.await_durability());
            durable.settle(block.take_durable(), outcome);
            assert!(!block.await_durability() && !block.is_empty());
            delivered.drop(block);
            other.join().expect("it ends");
            durable.assert(outcome.max(Outcome::Dropped));
            delivered.assert(Outcome::Dropped);
        });
    }
}

/// The last copy may go where its holder is cancelled; that is no reason to repeat the chunk.
#[test]
fn copies_that_are_only_dropped_count_as_delivered() {
    loom::model(|| {
        let reports = Reports::new(2);
        let mine = Tickets::from(Ticket::new(reports.sink()));
        let other = thread::spawn({
            let (copy, reports) = (mine.clone(), reports.clone());
            move || reports.drop(copy)
        });
        reports.drop(mine);
        other.join().expect("it ends");
        reports.assert(Outcome::Delivered);
        assert!(reports.of.lock().expect("nobody panicked").iter().all(|outcome| outcome.is_settled()));
    });
}
