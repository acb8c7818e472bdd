//! A disk in memory for tests: it counts operations, fails one of them, and forgets in a crash what was not synced.
//!
//! It keeps no more than [`files`](super::files) promises. After a crash of the machine each write that was not synced
//! is there, in part there or lost, independently of the others, and so is each name that was made, moved or removed.
//! A sync that fails loses what it should have kept, and a later one does not bring it back: Linux is like that.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use rustix::io::Errno;

use super::files::{Directory, File};

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::spool) enum Crash {
    /// SIGKILL: what was written is there.
    Process,
    /// Power: what was synced is there.
    Machine,
}

/// A directory on a disk of its own; clones are the same one.
#[derive(Clone, Debug)]
pub(in crate::spool) struct Disk(Arc<Mutex<State>>);

#[derive(Clone, Debug)]
struct State {
    rng: Rng,
    /// Operations so far that change something or make it durable.
    operations: u64,
    /// The operation that fails, and how.
    fault: Option<(u64, Errno)>,
    /// The operation in which the process dies: this and all later ones fail.
    death: Option<u64>,
    dead: bool,
    /// So many reads fail.
    failing_reads: u32,
    /// Operations that have failed.
    failures: u64,
    files: Vec<Content>,
    names: Names,
    synced_names: Names,
    changed_names: Vec<NameChange>,
}

/// File by name.
type Names = BTreeMap<String, usize>;

/// What the process sees, and what is on the platter.
#[derive(Clone, Debug, Default)]
struct Content {
    seen: Vec<u8>,
    synced: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate(usize),
}

/// Happens as a whole or not at all.
#[derive(Clone, Debug)]
struct NameChange {
    goes: Option<String>,
    comes: Option<(String, usize)>,
}

impl Disk {
    pub(in crate::spool) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            rng: Rng::with_seed(seed),
            operations: 0,
            fault: None,
            death: None,
            dead: false,
            failing_reads: 0,
            failures: 0,
            files: Vec::new(),
            names: Names::new(),
            synced_names: Names::new(),
            changed_names: Vec::new(),
        })))
    }

    /// The same as it is, on a disk of its own.
    pub(in crate::spool) fn copy(&self) -> Self {
        Self(Arc::new(Mutex::new(self.state().clone())))
    }

    pub(in crate::spool) fn operations(&self) -> u64 {
        self.state().operations
    }

    pub(in crate::spool) fn failures(&self) -> u64 {
        self.state().failures
    }

    pub(in crate::spool) fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// The operation with this number fails.
    pub(in crate::spool) fn fail(&self, operation: u64, error: Errno) {
        self.state().fault = Some((operation, error));
    }

    pub(in crate::spool) fn fail_reads(&self, reads: u32) {
        self.state().failing_reads = reads;
    }

    /// The process dies in the operation with this number.
    pub(in crate::spool) fn die(&self, operation: u64) {
        self.state().death = Some(operation);
    }

    /// What the next process finds.
    pub(in crate::spool) fn restart(&self, crash: Crash) {
        let state = &mut *self.state();
        (state.dead, state.death, state.fault, state.failing_reads) = (false, None, None, 0);
        // What a sync has lost may be read for a while: not by the next process, or it could not know.
        for Content { seen, synced, changes } in &mut state.files {
            seen.clone_from(synced);
            changes.iter().for_each(|change| change.apply(seen));
        }
        if crash == Crash::Process {
            return;
        }
        for file in &mut state.files {
            file.lose(&mut state.rng);
            file.seen.clone_from(&file.synced);
        }
        for change in std::mem::take(&mut state.changed_names) {
            if state.rng.bool() {
                change.apply(&mut state.synced_names);
            }
        }
        state.names.clone_from(&state.synced_names);
    }

    /// Flips a bit of a file, on the platter too.
    pub(in crate::spool) fn rot(&self, name: &str, at: usize) {
        let mut state = self.state();
        let file = state.names[name];
        let Content { seen, synced, changes } = &mut state.files[file];
        seen[at] ^= 0x10;
        synced.clone_from(seen);
        changes.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts an operation; an error if it is one that fails.
    fn step(&mut self) -> Result<()> {
        self.operations += 1;
        self.dead |= self.death == Some(self.operations);
        let fault = self.fault.take_if(|(operation, _)| *operation == self.operations);
        match fault {
            Some((_, error)) if !self.dead => self.failed(error),
            _ if self.dead => self.failed(Errno::IO),
            _ => Ok(()),
        }
    }

    fn failed(&mut self, error: Errno) -> Result<()> {
        self.failures += 1;
        Err(error.into())
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.changed_names.push(change);
    }

    fn file(&self, name: &str) -> Result<usize> {
        self.names.get(name).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }
}

impl NameChange {
    fn apply(&self, names: &mut Names) {
        self.goes.as_ref().map(|name| names.remove(name));
        self.comes.clone().map(|(name, file)| names.insert(name, file));
    }
}

impl Content {
    /// Some of what was not synced comes to the platter, the rest never does.
    fn lose(&mut self, rng: &mut Rng) {
        for change in std::mem::take(&mut self.changes) {
            match &change {
                Change::Write { bytes, at } => match rng.u8(..4) {
                    0 => {}
                    // The length is there, the bytes are not.
                    1 => write(&mut self.synced, at + bytes.len(), &[]),
                    2 => {
                        let Range { start, end } = part(rng, bytes.len());
                        write(&mut self.synced, at + start, &bytes[start..end]);
                    }
                    _ => change.apply(&mut self.synced),
                },
                Change::Truncate(_) => {
                    if rng.bool() {
                        change.apply(&mut self.synced);
                    }
                }
            }
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.changes.push(change);
    }
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => write(to, *at, bytes),
            Self::Truncate(len) => to.truncate(*len),
        }
    }
}

fn write(to: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[at..end].copy_from_slice(bytes);
}

fn part(rng: &mut Rng, len: usize) -> Range<usize> {
    let start = rng.usize(..=len);
    start..rng.usize(start..=len)
}

impl Directory for Disk {
    fn names(&self) -> Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> Result<Arc<dyn File>> {
        let mut state = self.state();
        state.step()?;
        if state.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let file = state.files.len();
        state.files.push(Content::default());
        state.change_names(NameChange { goes: None, comes: Some((name.into(), file)) });
        Ok(Arc::new(Handle { disk: self.clone(), file }))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn File>> {
        let file = self.state().file(name)?;
        Ok(Arc::new(Handle { disk: self.clone(), file }))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let mut state = self.state();
        state.step()?;
        let file = state.file(from)?;
        state.change_names(NameChange { goes: Some(from.into()), comes: Some((to.into(), file)) });
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        let mut state = self.state();
        state.file(name)?;
        state.step()?;
        state.change_names(NameChange { goes: Some(name.into()), comes: None });
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.state();
        state.step()?;
        state.changed_names.clear();
        state.synced_names = state.names.clone();
        Ok(())
    }
}

#[derive(Debug)]
struct Handle {
    disk: Disk,
    file: usize,
}

impl File for Handle {
    fn len(&self) -> Result<u64> {
        Ok(self.disk.state().files[self.file].seen.len() as u64)
    }

    fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut state = self.disk.state();
        if state.dead || state.failing_reads > 0 {
            state.failing_reads = state.failing_reads.saturating_sub(1);
            return Err(Errno::IO.into());
        }
        let seen = &state.files[self.file].seen;
        let from = usize::try_from(offset).map_err(Error::other)?.min(seen.len());
        Ok(seen[from..seen.len().min(from.saturating_add(len))].to_vec())
    }

    fn write_at(&self, offset: u64, pieces: &[&[u8]]) -> Result<()> {
        let mut state = self.disk.state();
        let done = state.step();
        let mut bytes = pieces.concat();
        if done.is_err() {
            let written = state.rng.usize(..=bytes.len());
            bytes.truncate(written);
        }
        let at = usize::try_from(offset).map_err(Error::other)?;
        state.files[self.file].change(Change::Write { at, bytes });
        done
    }

    fn truncate(&self, len: u64) -> Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        state.files[self.file].change(Change::Truncate(usize::try_from(len).map_err(Error::other)?));
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        let mut state = self.disk.state();
        let done = state.step();
        let State { rng, files, dead, .. } = &mut *state;
        let file = &mut files[self.file];
        match &done {
            Ok(()) => std::mem::take(&mut file.changes).iter().for_each(|change| change.apply(&mut file.synced)),
            // The process is gone before anything has come of it.
            Err(_) if *dead => {}
            Err(_) => file.lose(rng),
        }
        done
    }
}

#[test]
fn only_what_was_synced_is_sure_after_a_crash() {
    let (mut kept, mut lost, mut torn, mut unnamed) = (0, 0, 0, 0);
    for seed in 0..200 {
        let disk = Disk::new(seed);
        let file = disk.create("a").expect("made");
        file.write_at(0, &[b"sure"]).expect("written");
        file.sync().expect("synced");
        Directory::sync(&disk).expect("synced");
        file.write_at(4, &[b"per", b"haps"]).expect("written");
        disk.create("b").expect("made");
        disk.restart(Crash::Machine);
        let found = disk.open("a").expect("its name was synced").read_at(0, 100).expect("no fault is set");
        assert!(found.starts_with(b"sure"));
        match &found[4..] {
            b"perhaps" => kept += 1,
            b"" => lost += 1,
            _ => torn += 1,
        }
        unnamed += usize::from(disk.open("b").is_err());
    }
    assert!([kept, lost, torn, unnamed].into_iter().all(|times| times > 20), "{kept} {lost} {torn} {unnamed}");
}

#[test]
fn a_failed_sync_is_not_made_good_by_the_next() {
    let is_lost = |seed: &u64| {
        let disk = Disk::new(*seed);
        let file = disk.create("a").expect("made");
        Directory::sync(&disk).expect("synced");
        file.write_at(0, &[b"bytes"]).expect("written");
        disk.fail(disk.operations() + 1, Errno::IO);
        file.sync().expect_err("it was told to");
        file.sync().expect("only once");
        disk.restart(Crash::Machine);
        disk.open("a").expect("its name was synced").read_at(0, 100).expect("no fault is set") != b"bytes"
    };
    let lost = (0..100).filter(is_lost).count();
    assert!((20..100).contains(&lost), "{lost}");
}
