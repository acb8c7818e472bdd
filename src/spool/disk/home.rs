//! The spool's directory: one process at a time, one folder a sink.
//!
//! ```text
//! <path>/lock                held by the process that uses it
//! <path>/<sink>.<type>/      one queue: journal and segments
//! ```
//!
//! A folder belongs to a sink's name and type. That of a sink which has left the config is kept and named; it is never
//! removed while something is in it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

use super::files::{Directory, RealDirectory};
use super::segment;

/// Why a spool cannot be used.
#[derive(Debug, Error)]
pub enum HomeError {
    /// It cannot be made or opened.
    #[error("spool: cannot use {path}: {error}; user {user} must be able to make and write files there")]
    Unusable {
        /// The directory, or what in it.
        path: PathBuf,
        /// Who we are.
        user: u32,
        /// What the system said.
        error: io::Error,
    },
    /// Another process has it.
    #[error(
        "spool: {path} is in use by another process; give each logweir a directory of its own, or end the other one"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A sink of the same name and another type left something behind.
    #[error(
        "spool: sink {sink} is of another type than before, and {folder} still holds what the old one had not \
         delivered; give the new sink another name, or move that folder away"
    )]
    OtherType {
        /// The sink.
        sink: String,
        /// Its old folder.
        folder: PathBuf,
    },
}

/// The spool's directory, locked.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    /// Held for its lock; the system lets it go with the process.
    _lock: File,
}

impl Home {
    /// Makes the directory if need be and takes it for this process.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        let unusable = |error| Self::unusable(path, error);
        RealDirectory::make(path).map_err(unusable)?;
        let lock = path.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(lock).map_err(unusable)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path: path.into(), _lock: lock }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(HomeError::InUse { path: path.into() }),
            Err(error) => Err(unusable(error.into())),
        }
    }

    fn unusable(path: &Path, error: io::Error) -> HomeError {
        HomeError::Unusable { path: path.into(), user: rustix::process::geteuid().as_raw(), error }
    }

    /// The folder of a sink, made if it is missing.
    pub fn folder(&self, sink: &str, kind: &str) -> Result<Arc<dyn Directory>, HomeError> {
        let name = folder_name(sink, kind);
        for (folder, other) in self.folders()? {
            if other == sink && folder != name && holds_blocks(&self.path.join(&folder)) {
                return Err(HomeError::OtherType { sink: sink.into(), folder: self.path.join(folder) });
            }
        }
        let path = self.path.join(name);
        let made = RealDirectory::make(&path).map_err(|error| Self::unusable(&path, error))?;
        // Without this a crash could take the folder away, and with it what was synced in it.
        RealDirectory::at(&self.path).sync().map_err(|error| Self::unusable(&self.path, error))?;
        Ok(Arc::new(made))
    }

    /// Where the folder of a sink is.
    pub fn path_of(&self, sink: &str, kind: &str) -> PathBuf {
        self.path.join(folder_name(sink, kind))
    }

    /// Folders that hold blocks and belong to none of these sinks (name and type).
    pub fn left_behind(&self, sinks: &[(&str, &str)]) -> Vec<PathBuf> {
        let names: Vec<String> = sinks.iter().map(|(sink, kind)| folder_name(sink, kind)).collect();
        let folders = self.folders().unwrap_or_default().into_iter();
        let left = folders.filter(|(folder, _)| !names.contains(folder)).map(|(folder, _)| self.path.join(folder));
        left.filter(|path| holds_blocks(path)).collect()
    }

    /// All folders, each with the name of its sink.
    fn folders(&self) -> Result<Vec<(String, String)>, HomeError> {
        folders(&self.path).map_err(|error| Self::unusable(&self.path, error))
    }
}

/// Whether a process uses the spool in this directory.
pub fn is_in_use(path: &Path) -> io::Result<bool> {
    let lock = match File::open(path.join("lock")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        lock => lock?,
    };
    // Let go at once, with the file.
    match flock(&lock, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        locked => Ok(locked.map(|()| false)?),
    }
}

/// The folders of a spool, each with the name of its sink.
pub fn folders(path: &Path) -> io::Result<Vec<(String, String)>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir()
            && let Ok(name) = entry.file_name().into_string()
            && let Some((sink, _)) = name.rsplit_once('.')
        {
            folders.push((name.clone(), sink.to_owned()));
        }
    }
    folders.sort();
    Ok(folders)
}

/// Types have no dot, so two sinks never share a folder.
fn folder_name(sink: &str, kind: &str) -> String {
    format!("{sink}.{kind}")
}

/// Whether there are segments.
fn holds_blocks(path: &Path) -> bool {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).any(|name| segment::number_of(&name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_refused_until_the_first_is_gone() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let first = Home::open(root.path()).expect("free");
        // A lock belongs to an open file, so that a second one in this process stands for another process.
        assert!(matches!(Home::open(root.path()), Err(HomeError::InUse { .. })));
        assert!(is_in_use(root.path()).expect("readable"));
        drop(first);
        assert!(!is_in_use(root.path()).expect("readable"));
        Home::open(root.path()).expect("free again");
    }

    #[test]
    fn a_folder_with_blocks_is_neither_taken_over_nor_forgotten() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let home = Home::open(root.path()).expect("free");
        let folder = home.folder("archive", "s3").expect("made");
        home.folder("archive", "file").expect("nothing is in the other");
        folder.create(&segment::name(3)).expect("made");
        assert!(matches!(home.folder("archive", "file"), Err(HomeError::OtherType { .. })));
        assert_eq!(home.left_behind(&[("archive", "s3")]), Vec::<PathBuf>::new());
        assert_eq!(home.left_behind(&[("new", "s3")]), [root.path().join("archive.s3")]);
    }
}
