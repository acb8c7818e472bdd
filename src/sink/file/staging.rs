//! Where files are written aside until they are whole: `<path>/.logweir/<writer>/`, locked by its owner.
//!
//! A process that was killed leaves its directory behind, unlocked; the next one removes it. The lock, not the age,
//! tells the living from the dead: an object may rightly grow for hours.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// Below the sink's path. Hidden, so that readers who list `**/*.zst` never see what is half written.
const DIRECTORY: &str = ".logweir";

/// How every file in it ends.
const SUFFIX: &str = "part";

/// Our own directory for unfinished files.
#[derive(Debug)]
pub(super) struct Staging {
    directory: PathBuf,
    /// Held for its lock.
    _lock: File,
}

impl Staging {
    /// Makes the directory, locks it and removes those of processes that died.
    pub(super) fn open(root: &Path, writer: &str) -> Result<Self> {
        let all = root.join(DIRECTORY);
        let directory = all.join(writer);
        // Another process may take a directory that is made but not locked yet for a dead one's, once.
        for _ in 0..8 {
            fs::create_dir_all(&directory)?;
            let lock = File::open(&directory)?;
            // Without locks (some network file systems) ours is never removed while it has files in it.
            let _ = flock(&lock, FlockOperation::NonBlockingLockExclusive);
            let ours = lock.metadata()?;
            if fs::metadata(&directory).is_ok_and(|found| (found.dev(), found.ino()) == (ours.dev(), ours.ino())) {
                remove_dead(&all, &directory);
                return Ok(Self { directory, _lock: lock });
            }
        }
        Err(Error::new(ErrorKind::ResourceBusy, "other processes keep removing it"))
    }

    /// The place for an unfinished file.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name).with_extension(SUFFIX)
    }
}

/// Removes what dead processes left. What cannot be removed is left alone: it only takes space.
fn remove_dead(all: &Path, ours: &Path) {
    for directory in fs::read_dir(all).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if directory == ours {
            continue;
        }
        let Ok(lock) = File::open(&directory) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        for file in fs::read_dir(&directory).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if file.extension().is_some_and(|suffix| suffix == SUFFIX) {
                let _ = fs::remove_file(&file);
            }
        }
        if fs::remove_dir(&directory).is_ok() {
            tracing::info!(directory = %directory.display(), "removed unfinished files of a process that was killed");
        }
    }
}

impl Drop for Staging {
    /// Leaves no trace if nothing unfinished is in it.
    fn drop(&mut self) {
        if fs::remove_dir(&self.directory).is_ok()
            && let Some(all) = self.directory.parent()
        {
            let _ = fs::remove_dir(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_process_left_is_removed_and_what_a_living_one_writes_stays() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let dead = root.path().join(".logweir/dead");
        fs::create_dir_all(&dead).expect("made");
        fs::write(dead.join("0.part"), "half").expect("written");
        let living = Staging::open(root.path(), "living").expect("opened");
        assert!(!dead.exists());
        fs::write(living.file("1"), "half").expect("written");

        let second = Staging::open(root.path(), "second").expect("opened");
        assert!(living.file("1").exists());
        drop(second);
        assert!(!root.path().join(".logweir/second").exists());
    }

    #[test]
    fn a_file_that_is_not_ours_is_never_removed() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let other = root.path().join(".logweir/notes");
        fs::create_dir_all(&other).expect("made");
        fs::write(other.join("read.me"), "mine").expect("written");
        drop(Staging::open(root.path(), "a").expect("opened"));
        assert!(other.join("read.me").exists());
    }
}
