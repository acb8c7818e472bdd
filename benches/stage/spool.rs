//! Sealed blocks into a queue in memory, and into a queue's files on a disk that takes everything in no time.

use std::hint::black_box;
use std::io::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use logweir::encode::{BlockMeta, Count, Partition};
use logweir::ledger::Ledger;
use logweir::record::Tickets;
use logweir::spool::disk::files::{Directory, File};
use logweir::spool::disk::{Anchor, Commit, Ended, Limits, Store, ToStore};
use logweir::spool::{Queue, QueueConfig, Reserved, WhenFull};

use super::{RECORDS, Run, Work};

/// Blocks of a run.
const BLOCKS: u64 = 8;
/// A block of 256 KiB is about as long when it is compressed.
const LEN: usize = 64 << 10;
const PER_BLOCK: Count = Count { records: RECORDS as u64 / BLOCKS, bytes: 300_000 };

/// Reserved, filled with a copy, taken and delivered.
pub(super) fn memory() -> Work {
    let ledger = Arc::new(Ledger::new(["forward"], ["rest"], ["archive"]));
    let queue = Queue::new(0, QueueConfig { bound: 64 << 20, when_full: WhenFull::Block }, Arc::clone(&ledger));
    let (meta, data) = (meta(), data());
    Work {
        bytes: BLOCKS as usize * LEN,
        run: Box::new(move || {
            for _ in 0..BLOCKS {
                ledger.books().sinks[0].open += PER_BLOCK;
                let reserved = Reserved::of(&queue, meta.clone()).expect("there is room");
                reserved.fill(Bytes::copy_from_slice(black_box(&data)));
            }
            let lease = queue.take(&meta.partition, u64::MAX).expect("blocks wait");
            let blocks = lease.blocks();
            lease.delivered();
            blocks
        }),
        floor: "memcpy",
        run_floor: each_block(|data| Bytes::copy_from_slice(data).len()),
    }
}

/// Written and, a run later, ended.
pub(super) fn disk() -> Work {
    let anchor = Anchor { moment: Duration::ZERO, unix: super::fixture::RECEIVED };
    let (mut store, _) = Store::open(Arc::new(Void), Limits::of(1 << 30), anchor).expect("nothing is in the way");
    let (meta, data, mut ended) = (meta(), data(), Vec::new());
    Work {
        bytes: BLOCKS as usize * LEN,
        run: Box::new(move || {
            let next = store.next_sequence();
            let block = |at| ToStore { sequence: next + at, meta: meta.clone(), data: black_box(data.clone()) };
            let blocks = (0..BLOCKS).map(block).collect();
            let commit = Commit { blocks, ended: std::mem::take(&mut ended), ..Commit::default() };
            let done = store.commit(commit);
            assert_eq!(done.locations.len(), BLOCKS as usize, "all are written: {:?}", done.error);
            let end = |(location, sequence): (&logweir::spool::disk::Location, _)| Ended {
                segment: location.segment(),
                sequence,
                count: PER_BLOCK,
            };
            ended = done.locations.iter().zip(next..).map(end).collect();
            ended.len()
        }),
        floor: "crc-fast",
        run_floor: each_block(|data| crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, data) as usize),
    }
}

fn meta() -> BlockMeta {
    BlockMeta {
        partition: Arc::new(Partition::Prefix("logs/service=app/dt=2026-11-23/hour=10/".into())),
        count: PER_BLOCK,
        plain_len: 256 << 10,
        times: (1, 2),
        opened: Duration::ZERO,
        tickets: Tickets::none(),
    }
}

fn data() -> Bytes {
    let mut rng = fastrand::Rng::with_seed(7);
    (0..LEN).map(|_| rng.u8(..)).collect()
}

fn each_block(floor: impl Fn(&[u8]) -> usize + 'static) -> Run {
    let data = data();
    Box::new(move || (0..BLOCKS).map(|_| black_box(floor(black_box(&data)))).sum())
}

/// Takes every byte and has none.
#[derive(Debug)]
struct Void;

impl Directory for Void {
    fn names(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn create(&self, _: &str) -> Result<Arc<dyn File>> {
        Ok(Arc::new(Self))
    }
    fn open(&self, _: &str) -> Result<Arc<dyn File>> {
        Err(Error::from(ErrorKind::NotFound))
    }
    fn rename(&self, _: &str, _: &str) -> Result<()> {
        Ok(())
    }
    fn remove(&self, _: &str) -> Result<()> {
        Ok(())
    }
    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

impl File for Void {
    fn len(&self) -> Result<u64> {
        Ok(0)
    }
    fn read_at(&self, _: u64, _: usize) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }
    fn write_at(&self, _: u64, pieces: &[&[u8]]) -> Result<()> {
        black_box(pieces);
        Ok(())
    }
    fn truncate(&self, _: u64) -> Result<()> {
        Ok(())
    }
    fn sync(&self) -> Result<()> {
        Ok(())
    }
}
