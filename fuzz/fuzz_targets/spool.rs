//! Any bytes as segments and a journal: the folder opens, all that comes back is what its checksums say, nothing comes
//! twice, and what has ended does not come back. No panic, no hang, no memory beyond what lies there.
//!
//! An input is a row of pieces: kind, length (u16 LE), bytes. Kinds: 0 bytes of the segment, 1 data of a block in it
//! (the first byte is its distance from the block before), 2 bytes of the journal, 3 an entry of it without length and
//! checksum, else the next segment begins (the first byte is by how much sequences step back).

#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Result};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use logweir::encode::{checksum, Count, Partition};
use logweir::spool::disk::files::{Directory, File};
use logweir::spool::disk::frame::{Header, MAGIC};
use logweir::spool::disk::look::{Fate, Look};
use logweir::spool::disk::{Anchor, Commit, Ended, Limits, Store, Stored, journal, repair, segment};

type Bytes = Arc<Mutex<Vec<u8>>>;

/// A directory in memory.
#[derive(Debug, Default)]
struct Memory(Mutex<BTreeMap<String, Bytes>>);

#[derive(Debug)]
struct Open(Bytes);

fn with<T, R>(mutex: &Mutex<T>, f: impl FnOnce(&mut T) -> R) -> R {
    f(&mut mutex.lock().unwrap_or_else(PoisonError::into_inner))
}

fn not_found() -> std::io::Error {
    ErrorKind::NotFound.into()
}

impl Directory for Memory {
    fn names(&self) -> Result<Vec<String>> {
        Ok(with(&self.0, |files| files.keys().cloned().collect()))
    }

    fn create(&self, name: &str) -> Result<Arc<dyn File>> {
        let file = Bytes::default();
        let free = with(&self.0, |files| {
            let free = !files.contains_key(name);
            if free {
                files.insert(name.into(), Arc::clone(&file));
            }
            free
        });
        if free { Ok(Arc::new(Open(file))) } else { Err(ErrorKind::AlreadyExists.into()) }
    }

    fn open(&self, name: &str) -> Result<Arc<dyn File>> {
        let file = with(&self.0, |files| files.get(name).cloned()).ok_or_else(not_found)?;
        Ok(Arc::new(Open(file)))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        with(&self.0, |files| files.remove(from).map(|file| files.insert(to.into(), file))).ok_or_else(not_found)?;
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        with(&self.0, |files| files.remove(name)).map(drop).ok_or_else(not_found)
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

impl File for Open {
    fn len(&self) -> Result<u64> {
        Ok(with(&self.0, |bytes| bytes.len() as u64))
    }

    fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        Ok(with(&self.0, |bytes| {
            let from = usize::try_from(offset).map_or(bytes.len(), |from| from.min(bytes.len()));
            bytes[from..bytes.len().min(from.saturating_add(len))].to_vec()
        }))
    }

    fn write_at(&self, offset: u64, pieces: &[&[u8]]) -> Result<()> {
        let (at, new) = (offset as usize, pieces.concat());
        with(&self.0, |bytes| {
            bytes.resize(bytes.len().max(at + new.len()), 0);
            bytes[at..at + new.len()].copy_from_slice(&new);
        });
        Ok(())
    }

    fn truncate(&self, len: u64) -> Result<()> {
        with(&self.0, |bytes| bytes.truncate(len as usize));
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

fn folder(mut input: &[u8]) -> Memory {
    let (mut segments, mut entries, mut next) = (vec![MAGIC.to_vec()], Vec::new(), 0);
    while let [kind, low, high, behind @ ..] = input {
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(behind.len());
        let (bytes, behind) = behind.split_at(len);
        let step = u64::from(bytes.first().copied().unwrap_or(0));
        let last = segments.last_mut().expect("there is one");
        match kind {
            0 => last.extend(bytes),
            1 => {
                let sequence = next + step;
                next = sequence + 1;
                let header = Header {
                    sequence,
                    len: bytes.len() as u32,
                    checksum: checksum(bytes),
                    count: Count { records: 1 + sequence, bytes: 9 },
                    plain_len: 100,
                    times: (0, 1),
                    opened: 0,
                    partition: Arc::new(Partition::Whole),
                };
                last.extend(header.encode());
                last.extend(bytes);
            }
            2 => entries.extend(bytes),
            3 => {
                entries.extend((bytes.len() as u32).to_le_bytes());
                entries.extend(checksum(bytes).to_le_bytes());
                entries.extend(bytes);
            }
            _ => {
                next = next.saturating_sub(step);
                segments.push(MAGIC.to_vec());
            }
        }
        input = behind;
    }
    let memory = Memory::default();
    for (number, bytes) in segments.into_iter().enumerate() {
        let file = memory.create(&segment::name(number as u64)).expect("its name is free");
        file.write_at(0, &[&bytes]).expect("memory");
    }
    memory.create(journal::NAME).expect("its name is free").write_at(0, &[&entries]).expect("memory");
    memory
}

/// Opens it and reads all back.
fn open(memory: &Arc<Memory>) -> (Store, Vec<Stored>) {
    let anchor = Anchor { moment: Duration::ZERO, unix: 0 };
    let limits = Limits { segment: 4 << 10, quota: 1 << 20 };
    let (mut store, recovered) = Store::open(Arc::clone(memory) as _, limits, anchor).expect("it can be read");
    let mut back: Vec<Stored> = recovered.cuts.into_iter().flat_map(|(_, blocks)| blocks).collect();
    while store.is_cold() {
        back.extend(store.refill(3).expect("it can be read").blocks);
    }
    let mut seen = BTreeSet::new();
    for stored in &back {
        assert!(seen.insert((stored.location.segment(), stored.sequence)), "{stored:?} comes twice");
        if let Some(data) = stored.location.read() {
            assert_eq!(data.len() as u64, stored.location.len());
        }
        assert!(stored.sequence < store.next_sequence());
    }
    (store, back)
}

fuzz_target!(|input: &[u8]| {
    let memory = Arc::new(folder(input));
    let look = Look::at(Arc::clone(&memory) as _).expect("it can be read");
    for segment in look.segments() {
        let mut walked = 0;
        look.walk(segment, &mut |_, fate| walked += u64::from(fate != Fate::Again)).expect("it can be read");
        look.read(segment, &mut |_, _, _| Ok(())).expect("it can be read");
    }
    if input.first().is_some_and(|kind| kind & 0x80 != 0) {
        look.segments().iter().for_each(|segment| drop(repair(&look, segment).expect("memory")));
    }

    let (mut store, back) = open(&memory);
    let ended = |stored: &Stored| Ended {
        segment: stored.location.segment(),
        sequence: stored.sequence,
        count: stored.meta.count,
    };
    let ended: Vec<Ended> = back.iter().map(ended).collect();
    let done = store.commit(Commit { ended, ..Commit::default() });
    assert!(done.error.is_none() && done.journal_error.is_none());
    store.close().expect("memory");
    drop(store);

    let (_, again) = open(&memory);
    let before: BTreeSet<_> = back.iter().map(|stored| (stored.location.segment(), stored.sequence)).collect();
    for stored in again {
        assert!(!before.contains(&(stored.location.segment(), stored.sequence)), "{stored:?} has ended");
    }
});
