//! A disk that does not come back from a write.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::spool::disk::files::{File, RealDirectory};

use super::*;

/// A directory whose syncs come back when they are let.
#[derive(Debug)]
struct Hanging(RealDirectory, Arc<AtomicBool>);

impl Directory for Hanging {
    fn names(&self) -> io::Result<Vec<String>> {
        self.0.names()
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.0.create(name)
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.0.open(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    #[expect(clippy::disallowed_methods, reason = "a thread of the blocking pool hangs")]
    fn sync(&self) -> io::Result<()> {
        while self.1.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.0.sync()
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_is_told_until_it_comes_back() {
    let place = tempfile::tempdir().expect("a directory");
    let hangs = Arc::new(AtomicBool::new(false));
    let directory = Arc::new(Hanging(RealDirectory::at(place.path()), Arc::clone(&hangs)));
    let config = QueueConfig { bound: 1 << 20, when_full: WhenFull::Block };
    let ledger = Arc::new(Ledger::new([], [], ["sink"]));
    let (anchor, synced) = (Anchor { moment: Duration::ZERO, unix: 0 }, watch::Sender::new(()));
    let queue = Queue::open(0, config, ledger, directory, Limits::of(1 << 20), anchor, synced).expect("opens");
    let keeping = tokio::spawn(Arc::clone(&queue).keep());

    hangs.store(true, Ordering::Relaxed);
    let (partition, count) = (Arc::new(Partition::Whole), Count { records: 1, bytes: 1 });
    queue.ledger().books().sinks[0].open += count;
    let (times, opened, tickets) = ((0, 0), Duration::ZERO, Tickets::none());
    let meta = BlockMeta { partition, count, plain_len: 1, times, opened, tickets };
    let sequence = queue.reserve(meta).expect("there is room");
    queue.fill(sequence, Bytes::from_static(b"x"));
    let stalled = || queue.disk().expect("it has a disk").stalled;
    // The clock stands still while a blocking thread works.
    for _ in 0..3 {
        assert_eq!(stalled(), None);
        tokio::task::yield_now().await;
        tokio::time::advance(watchdog::STALLED / 2).await;
    }
    tokio::task::yield_now().await;
    assert!(stalled().is_some_and(|so_far| so_far >= watchdog::STALLED));
    assert_eq!(queue.lanes().len(), 0, "it is not durable");

    hangs.store(false, Ordering::Relaxed);
    queue.changed().await;
    assert_eq!((stalled(), queue.lanes().len()), (None, 1));
    keeping.abort();
}
