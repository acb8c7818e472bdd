//! The few file operations that a spool is made of, behind a trait: tests put a disk in its place that fails, tears and
//! forgets on demand.
//!
//! Promised of a disk: what [`File::sync`] confirmed is there after a crash; a name is, after [`Directory::sync`]. All
//! else may be there, in part or not at all.

use std::fmt::Debug;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Result};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One directory, without what lies deeper.
pub trait Directory: Debug + Send + Sync {
    /// Names of the files in it, in no order.
    fn names(&self) -> Result<Vec<String>>;
    /// Makes an empty file; an error if there is one of this name.
    fn create(&self, name: &str) -> Result<Arc<dyn File>>;
    /// Opens a file to read and write.
    fn open(&self, name: &str) -> Result<Arc<dyn File>>;
    /// Gives a file another name; a file that has it is replaced.
    fn rename(&self, from: &str, to: &str) -> Result<()>;
    /// Removes a file; it goes on to be readable where it is open.
    fn remove(&self, name: &str) -> Result<()>;
    /// Makes names durable: of what was made, renamed and removed.
    fn sync(&self) -> Result<()>;
}

/// An open file.
pub trait File: Debug + Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> Result<u64>;
    /// Whether it has no bytes.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Up to `len` bytes from `offset` on; fewer only where the file ends.
    fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>>;
    /// Writes all pieces from `offset` on.
    fn write_at(&self, offset: u64, pieces: &[&[u8]]) -> Result<()>;
    /// Cuts it off.
    fn truncate(&self, len: u64) -> Result<()>;
    /// Makes all that was written durable.
    fn sync(&self) -> Result<()>;
    /// Asks for so much room from the start of the file on, so that writing there does not fail on a full disk. Its
    /// length stays. Only a wish: not every file system can.
    fn reserve(&self, _len: u64) {}
}

/// A directory of the file system.
#[derive(Clone, Debug)]
pub struct RealDirectory {
    path: PathBuf,
}

impl RealDirectory {
    /// Makes it if it is missing, only for its owner: it holds what the logs hold.
    pub fn make(path: &Path) -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Ok(Self { path: path.into() })
    }

    /// One that is there.
    pub fn at(path: &Path) -> Self {
        Self { path: path.into() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Directory for RealDirectory {
    fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // What is no UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> Result<Arc<dyn File>> {
        use std::os::unix::fs::OpenOptionsExt;
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(self.file(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn File>> {
        let opened = OpenOptions::new().read(true).write(true).open(self.file(name));
        let file = match opened {
            // Looking at a spool needs no right to change it.
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
                OpenOptions::new().read(true).open(self.file(name))?
            }
            opened => opened?,
        };
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        fs::rename(self.file(from), self.file(to))
    }

    fn remove(&self, name: &str) -> Result<()> {
        fs::remove_file(self.file(name))
    }

    fn sync(&self) -> Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }
}

#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn len(&self) -> Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match self.0.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn write_at(&self, offset: u64, pieces: &[&[u8]]) -> Result<()> {
        let mut at = offset;
        for piece in pieces {
            self.0.write_all_at(piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    fn truncate(&self, len: u64) -> Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> Result<()> {
        self.0.sync_data()
    }

    fn reserve(&self, len: u64) {
        let _ = rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::KEEP_SIZE, 0, len);
    }
}
