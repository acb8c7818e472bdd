//! A store on a disk that fails, beside a model of what it has promised. Each step is checked against the model, and
//! each time that the store is opened all that comes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::encode::{BlockMeta, Count, Partition};
use crate::record::Tickets;
use crate::spool::disk::files::Directory;
use crate::spool::disk::sim::{Crash, Disk};
use crate::spool::disk::{Anchor, Commit, Ended, Limits, Location, Ranges, Recovered, Store, Stored, ToStore, segment};

/// Small, so that a few blocks fill them.
pub(super) const LIMITS: Limits = Limits { segment: 600, quota: 4_000 };

const ANCHOR: Anchor = Anchor { moment: Duration::from_secs(5), unix: 1_790_000_000_000_000_000 };

/// What the store has been told of a block and has promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    /// Writing it failed: it may be there.
    None,
    /// It is there after any crash.
    Durable,
    /// It need not be sent any more, but that may be forgotten.
    EndTold,
    /// It does not come back.
    EndDurable,
}

#[derive(Clone, Debug)]
struct Cut {
    key: String,
    blocks: Ranges,
    upload: Option<String>,
    /// Whether it comes back as it is after any crash, and whether its upload does.
    durable: bool,
    upload_durable: bool,
}

#[derive(Debug)]
pub(super) struct Rig {
    pub(super) disk: Disk,
    pub(super) store: Store,
    blocks: BTreeMap<u64, (ToStore, Promise)>,
    cuts: BTreeMap<u64, Cut>,
    /// Cuts whose end may be forgotten: then they come back whole, or an object would stand twice, the second time under
    /// other keys.
    delivered: Vec<Cut>,
    /// Where the blocks are that its queue knows of; those of cuts too.
    held: BTreeMap<u64, Location>,
    /// Blocks that could not be written yet.
    pending: Vec<ToStore>,
    next: u64,
    /// How many blocks there were; no two have the same bytes.
    made: u64,
    /// Behind all blocks that were ever durable.
    durable_end: u64,
}

impl Rig {
    pub(super) fn new(disk: Disk) -> Self {
        let (store, _) = open(&disk);
        Self {
            disk,
            store,
            blocks: BTreeMap::new(),
            cuts: BTreeMap::new(),
            delivered: Vec::new(),
            held: BTreeMap::new(),
            pending: Vec::new(),
            next: 0,
            made: 0,
            durable_end: 0,
        }
    }

    pub(super) fn append(&mut self, sizes: &[u16], cold: bool) {
        let mut blocks = std::mem::take(&mut self.pending);
        for size in sizes {
            self.made += 1;
            blocks.push(block(self.next, *size, self.made));
            self.next += 1;
        }
        self.commit(Commit { blocks, cold, ..Commit::default() });
    }

    /// What could not be written is given up, as a queue does that drops.
    pub(super) fn give_up(&mut self) {
        self.pending.clear();
    }

    pub(super) fn read(&self) {
        for (sequence, location) in &self.held {
            let data = location.read().expect("no read fails");
            assert_eq!(data, self.blocks[sequence].0.data, "block {sequence}");
        }
    }

    pub(super) fn refill(&mut self, most: usize) {
        let Ok(refill) = self.store.refill(most) else {
            assert!(self.disk.is_dead(), "reading fails only when the process is dead");
            return;
        };
        assert_eq!((refill.lost_blocks, refill.lost), (0, Count::default()), "no read fails");
        assert!(refill.blocks.len() <= most);
        let mut last = None;
        for stored in refill.blocks {
            assert!(last < Some(stored.sequence), "in sequence");
            last = Some(stored.sequence);
            self.take(stored);
        }
        if !self.store.is_cold() {
            self.all_are_held();
        }
    }

    /// So many blocks that are in no cut become an object.
    pub(super) fn cut(&mut self, most: usize) {
        let mut cuts: Vec<(String, Ranges)> = Vec::new();
        // One whose cutting failed is tried again as it was.
        cuts.extend(self.cuts.values().filter(|cut| !cut.durable).map(|cut| (cut.key.clone(), cut.blocks.clone())));
        let free: Vec<u64> = self.free().collect();
        // Every other one: objects have the blocks of one partition.
        let blocks: Ranges = free.into_iter().step_by(2).take(most).collect();
        if let Some(first) = blocks.first() {
            cuts.push((format!("logs/w-{first}"), blocks));
        }
        self.commit(Commit { cuts, ..Commit::default() });
    }

    /// A cut has an upload.
    pub(super) fn upload(&mut self, which: usize) {
        let durable: Vec<u64> = self.cuts.iter().filter(|(_, cut)| cut.durable).map(|(first, _)| *first).collect();
        if !durable.is_empty() {
            let first = durable[which % durable.len()];
            let uploads = vec![(first, format!("upload-{first}"))];
            self.commit(Commit { uploads, ..Commit::default() });
        }
    }

    /// The object of a cut is delivered, or a block that is in none.
    pub(super) fn end(&mut self, which: usize, many: usize) {
        let mut sequences: Vec<u64> = match self.cuts.values().nth(which % (self.cuts.len() + 1)) {
            Some(cut) => cut.blocks.iter().collect(),
            None => {
                let free: Vec<u64> = self.free().collect();
                let from = which % (free.len() + 1);
                free[from..].iter().take(many).copied().collect()
            }
        };
        sequences.retain(|sequence| self.held.contains_key(sequence));
        let ended = self.ended(&sequences);
        self.commit(Commit { ended, ..Commit::default() });
    }

    /// The process ends as it should.
    pub(super) fn close(&mut self) {
        if self.store.close().is_ok() {
            self.ends_are_durable();
        }
    }

    /// What a commit does, and what it promises.
    fn commit(&mut self, commit: Commit) {
        let failures = self.disk.failures();
        let (cutting, cuts, uploads) = (!commit.cuts.is_empty(), commit.cuts.clone(), commit.uploads.clone());
        for (key, blocks) in &cuts {
            let first = blocks.first().expect("a cut has a block");
            let (key, blocks) = (key.clone(), blocks.clone());
            let cut = Cut { key, blocks, upload: None, durable: false, upload_durable: false };
            self.cuts.entry(first).or_insert(cut);
        }
        for (first, id) in uploads {
            let cut = self.cuts.get_mut(&first).expect("there is such a cut");
            cut.upload_durable &= cut.upload.as_ref() == Some(&id);
            cut.upload = Some(id);
        }
        for end in &commit.ended {
            self.held.remove(&end.sequence);
            self.delivered.extend(self.cuts.remove(&end.sequence).filter(|cut| cut.durable));
            self.blocks.get_mut(&end.sequence).expect("there is such a block").1 = Promise::EndTold;
        }
        let blocks = commit.blocks.clone();
        let waits = self.blocks.values().any(|(_, promise)| *promise == Promise::Durable);
        let done = self.store.commit(commit);
        if failures == self.disk.failures() {
            assert!(done.error.is_none() && done.journal_error.is_none(), "{done:?} without a fault");
        }
        assert!(done.error.is_none() || done.locations.is_empty() && !done.full);
        assert_eq!(done.full, done.error.is_none() && done.locations.len() < blocks.len());
        if done.full && !waits && failures == self.disk.failures() {
            assert!(!done.locations.is_empty(), "nothing waits and there is no room");
        }
        if !done.locations.is_empty() && self.store.bytes() > LIMITS.quota {
            assert!(!waits && done.locations.len() == 1, "{} bytes", self.store.bytes());
        }
        if cutting && done.journal_error.is_none() {
            self.cuts.values_mut().for_each(|cut| {
                (cut.durable, cut.upload_durable) = (true, true);
            });
            self.ends_are_durable();
        }
        if done.error.is_some() {
            for block in &blocks {
                self.blocks.insert(block.sequence, (block.clone(), Promise::None));
            }
        }
        self.pending = blocks[done.locations.len()..].to_vec();
        for (block, location) in blocks.into_iter().zip(done.locations) {
            self.durable_end = self.durable_end.max(block.sequence + 1);
            if !done.cold {
                self.held.insert(block.sequence, location);
            }
            self.blocks.insert(block.sequence, (block, Promise::Durable));
        }
    }

    fn ends_are_durable(&mut self) {
        self.delivered.clear();
        let told = self.blocks.values_mut().filter(|(_, promise)| *promise == Promise::EndTold);
        told.for_each(|(_, promise)| *promise = Promise::EndDurable);
    }

    /// The next process, after a crash or not. All that it finds is checked on a copy of the disk, so that on the disk
    /// itself blocks go on to be read back little by little.
    pub(super) fn reopen(&mut self, crash: Crash) {
        self.disk.restart(crash);
        self.held.clear();
        self.pending.clear();
        self.check(&self.disk.copy());
        let (store, recovered) = open(&self.disk);
        self.store = store;
        self.next = self.store.next_sequence();
        for (_, stored) in recovered.cuts {
            stored.into_iter().for_each(|stored| self.take(stored));
        }
    }

    fn check(&mut self, disk: &Disk) {
        let (mut store, recovered) = open(disk);
        assert_eq!(recovered.missing, (0, Count::default()));
        let mut back: BTreeMap<u64, Stored> = BTreeMap::new();
        let mut come = |stored: Stored| {
            assert!(back.insert(stored.sequence, stored.clone()).is_none(), "{stored:?} comes twice");
        };
        let mut cuts = std::mem::take(&mut self.cuts);
        let mut found = BTreeMap::new();
        for (cut, blocks) in recovered.cuts {
            let first = cut.blocks.first().expect("a cut has a block");
            let sequences: Ranges = blocks.iter().map(|stored| stored.sequence).collect();
            assert_eq!(sequences, cut.blocks, "the same blocks");
            let (key, blocks_of, upload) = (cut.key, cut.blocks, cut.upload);
            if let Some(known) = cuts.remove(&first) {
                assert_eq!((&key, &blocks_of), (&known.key, &known.blocks));
                assert!(upload == known.upload || upload.is_none() && !known.upload_durable, "{upload:?} {known:?}");
            } else {
                let told = |sequence: &u64| self.blocks[sequence].1 == Promise::EndTold;
                assert!(blocks_of.iter().all(|sequence| told(&sequence)), "an object that nobody has begun");
            }
            let cut = Cut { key, blocks: blocks_of, upload, durable: true, upload_durable: true };
            found.insert(first, cut);
            blocks.into_iter().for_each(&mut come);
        }
        while store.is_cold() {
            let refill = store.refill(3).expect("no read fails");
            assert_eq!(refill.lost_blocks, 0, "no read fails");
            refill.blocks.into_iter().for_each(&mut come);
        }
        for (first, cut) in cuts {
            assert!(!cut.durable, "the cut from {first} on is forgotten");
        }
        for cut in std::mem::take(&mut self.delivered) {
            let whole =
                cut.blocks.first().and_then(|first| found.get(&first)).is_some_and(|again| again.key == cut.key);
            let blocks = cut.blocks.iter().filter(|sequence| back.contains_key(sequence)).count();
            assert!(whole || blocks == 0, "{blocks} blocks of {cut:?} come back without it");
        }
        self.cuts = found;
        assert_eq!(recovered.blocks, back.len() as u64);
        assert_eq!(recovered.waiting, sum(back.values().map(|stored| stored.meta.count)));
        let after = back.keys().next_back().map_or(0, |last| last + 1);
        assert!(store.next_sequence() >= self.durable_end.max(after), "a sequence comes again");
        self.durable_end = self.durable_end.max(after);
        for (sequence, stored) in &back {
            let (block, promise) = self.blocks.get(sequence).expect("a block that was written");
            assert_ne!(*promise, Promise::EndDurable, "block {sequence} comes again");
            self.is_same(block, stored);
        }
        self.blocks.retain(|sequence, (_, promise)| {
            let (comes, was) = (back.contains_key(sequence), *promise);
            assert!(comes || was != Promise::Durable, "block {sequence} is lost");
            *promise = if comes { Promise::Durable } else { Promise::EndDurable };
            comes || was != Promise::None
        });
    }

    fn is_same(&self, block: &ToStore, stored: &Stored) {
        let meta = |meta: &BlockMeta| (Arc::clone(&meta.partition), meta.count, meta.plain_len, meta.times);
        assert_eq!(meta(&stored.meta), meta(&block.meta));
        assert_eq!(stored.location.read().expect("no read fails"), block.data);
    }

    /// The queue learns of a block again.
    fn take(&mut self, stored: Stored) {
        let (block, promise) = &self.blocks[&stored.sequence];
        assert_eq!(*promise, Promise::Durable, "block {}", stored.sequence);
        self.is_same(block, &stored);
        assert!(self.held.insert(stored.sequence, stored.location).is_none(), "block {} twice", stored.sequence);
    }

    /// Blocks that the queue knows of and that are in no cut.
    fn free(&self) -> impl Iterator<Item = u64> + '_ {
        let cut = |sequence: &u64| self.cuts.values().any(|cut| cut.blocks.contains(*sequence));
        self.held.keys().copied().filter(move |sequence| !cut(sequence))
    }

    fn ended(&self, sequences: &[u64]) -> Vec<Ended> {
        let ended = |sequence: &u64| Ended {
            segment: self.held[sequence].segment(),
            sequence: *sequence,
            count: self.blocks[sequence].0.meta.count,
        };
        sequences.iter().map(ended).collect()
    }

    fn all_are_held(&self) {
        for (sequence, (_, promise)) in &self.blocks {
            assert_eq!(*promise == Promise::Durable, self.held.contains_key(sequence), "block {sequence}");
        }
    }

    /// Whatever happened: on a disk that works all comes back, goes its way, and leaves nothing behind.
    pub(super) fn finish(mut self) {
        while self.store.is_cold() {
            self.refill(7);
        }
        self.all_are_held();
        self.read();
        self.give_up();
        for _ in 0..2 {
            let ended = self.ended(&self.held.keys().copied().collect::<Vec<_>>());
            self.commit(Commit { ended, ..Commit::default() });
            assert!(self.segments().len() <= 1, "{:?}", self.segments());
            self.append(&[300], false);
            assert_eq!(self.held.len(), 1, "there is room for a block");
        }
        let ended = self.ended(&self.held.keys().copied().collect::<Vec<_>>());
        self.commit(Commit { ended, ..Commit::default() });
        self.close();
        assert_eq!(self.segments(), Vec::<String>::new());
        self.reopen(Crash::Machine);
        assert!(self.held.is_empty() && !self.store.is_cold());
    }

    fn segments(&self) -> Vec<String> {
        let mut names = self.disk.names().expect("no read fails");
        names.retain(|name| segment::number_of(name).is_some());
        names
    }
}

/// Opens the directory; a fault that was set for later may strike here.
pub(super) fn open(disk: &Disk) -> (Store, Recovered) {
    Store::open(Arc::new(disk.clone()), LIMITS, ANCHOR).expect("the directory can be read")
}

fn sum(counts: impl Iterator<Item = Count>) -> Count {
    counts.fold(Count::default(), |mut sum, count| {
        sum += count;
        sum
    })
}

/// The block with this sequence, of one of several partitions.
pub(super) fn block(sequence: u64, size: u16, seed: u64) -> ToStore {
    let partition = match sequence % 3 {
        0 => Partition::Prefix(format!("logs/{}/", sequence % 2).into()),
        1 => Partition::Stream { group: "/ecs/a".into(), stream: "a/1".into() },
        _ => Partition::Whole,
    };
    let mut rng = fastrand::Rng::with_seed(seed);
    let data: Bytes = std::iter::repeat_with(|| rng.u8(..)).take(usize::from(size)).collect();
    let meta = BlockMeta {
        partition: Arc::new(partition),
        count: Count { records: 1 + u64::from(size % 7), bytes: u64::from(size) },
        plain_len: u64::from(size) * 3,
        times: (-1, 1_790_000_000_000_000_000 + sequence.cast_signed()),
        opened: Duration::from_secs(sequence),
        tickets: Tickets::none(),
    };
    ToStore { sequence, meta, data }
}
