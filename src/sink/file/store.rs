//! Objects as files. Every call runs on a blocking thread; a file stands under its name only when all of it is synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::staging::Staging;
use crate::metrics::SinkMetrics;
use crate::sink::object::{Apis, Attempt, ObjectStore};
use crate::watchdog;

/// A directory that objects are kept in.
#[derive(Clone, Debug)]
pub struct FileStore {
    inner: Arc<Inner>,
    metrics: SinkMetrics,
}

/// Tells apart what a process has opened: one that a config has replaced may still be writing.
static STORES: AtomicU64 = AtomicU64::new(0);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    writer: String,
    /// One at a time: a disk that hangs keeps one of the blocking threads, not all; the others compress for all sinks.
    turn: Arc<Semaphore>,
    /// Opened by the first attempt that can.
    staging: Mutex<Option<Arc<Staging>>>,
    /// Tells the attempts apart: one that was dropped may still be writing.
    next: AtomicU64,
}

/// A file that grows aside.
#[derive(Debug)]
pub struct FileUpload {
    key: String,
    aside: PathBuf,
    /// Kept open and, with it, the directory's lock.
    file: Arc<(File, Arc<Staging>)>,
    /// Where each confirmed part ends.
    ends: Mutex<Vec<u64>>,
}

impl FileStore {
    /// A store below `root`, which is created with the first object.
    pub fn new(root: PathBuf, writer: &str, sink: usize, metrics: SinkMetrics) -> Self {
        let writer = format!("{writer}-{sink}-{}", STORES.fetch_add(1, Ordering::Relaxed));
        let turn = Arc::new(Semaphore::new(1));
        let inner = Inner { root, writer, turn, staging: Mutex::default(), next: AtomicU64::new(0) };
        Self { inner: Arc::new(inner), metrics }
    }

    /// What an error means and what to do about it.
    pub(super) fn explain<T>(&self, error: &io::Error) -> Attempt<T> {
        let root = self.inner.root.display();
        let message = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                format!(
                    "no room for objects below {root} ({error}): free space there; until then they wait in the queue"
                )
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                let user = rustix::process::geteuid().as_raw();
                format!("cannot write below {root} ({error}): let user {user} write there, or set another `path`")
            }
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                format!("cannot make a directory below {root} ({error}): a file is in its place; move it away")
            }
            ErrorKind::InvalidFilename => {
                let message = format!("no file below {root} can have this name ({error}): shorten `prefix`");
                return Attempt::Rejected("bad_name", message);
            }
            _ => format!("cannot write below {root} ({error})"),
        };
        Attempt::Retry(None, message)
    }

    /// Runs blocking work as one attempt.
    async fn attempt<T: Send + 'static>(
        &self,
        api: &'static str,
        bytes: u64,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> Attempt<T> {
        let inner = Arc::clone(&self.inner);
        let turn = Arc::clone(&inner.turn).acquire_owned().await;
        let began = Instant::now();
        let work = move || {
            // Held to the end of the work, which goes on when the attempt is dropped.
            let _turn = turn;
            work(&inner)
        };
        let root = self.inner.root.display();
        let hangs = |so_far: std::time::Duration| {
            self.metrics.event("write_stalled", 1);
            let seconds = so_far.as_secs();
            tracing::warn!(%root, api, "the disk has not answered for {seconds} s; this sink waits for it");
        };
        let work = watchdog::watch(tokio::task::spawn_blocking(work), hangs);
        let done = work.await.map_err(io::Error::other).flatten();
        let result = if done.is_ok() { "ok" } else { "error" };
        self.metrics.request(api, result, began.elapsed(), bytes);
        match done {
            Ok(done) => Attempt::Done(done),
            Err(error) => self.explain(&error),
        }
    }
}

impl ObjectStore for FileStore {
    type Upload = FileUpload;
    type Part = ();

    const APIS: Apis = Apis { put: "file_put", create: "file_create", part: "file_part", complete: "file_complete" };

    async fn put(&self, key: &str, body: &[Bytes]) -> Attempt<()> {
        let (key, bytes, body) = (key.to_owned(), len(body), body.to_vec());
        let work = move |inner: &Inner| {
            let (aside, file, _staging) = inner.create()?;
            let written =
                write_at(&file, 0, &body).and_then(|_| file.sync_all()).and_then(|()| inner.show(&aside, &key));
            if written.is_err() {
                let _ = fs::remove_file(&aside);
            }
            written
        };
        self.attempt(Self::APIS.put, bytes, work).await
    }

    async fn create(&self, key: &str) -> Attempt<FileUpload> {
        let key = key.to_owned();
        let work = move |inner: &Inner| {
            let (aside, file, staging) = inner.create()?;
            Ok(FileUpload { key, aside, file: Arc::new((file, staging)), ends: Mutex::default() })
        };
        self.attempt(Self::APIS.create, 0, work).await
    }

    async fn abort_unfinished(&self, _: &str, _: Option<&str>) {
        // What a dead process wrote aside is removed with its directory.
    }

    fn id(_: &FileUpload) -> Option<&str> {
        None
    }

    async fn part(&self, upload: &FileUpload, number: u32, body: &[Bytes]) -> Attempt<()> {
        let file = Arc::clone(&upload.file);
        let (bytes, body) = (len(body), body.to_vec());
        // A part is always written to the same place, so that a repetition, or an attempt that was given up and goes
        // on in the background, changes nothing.
        let confirmed = number.saturating_sub(1) as usize;
        let start = confirmed.checked_sub(1).map_or(Some(0), |last| upload.ends().get(last).copied());
        let Some(start) = start else {
            return Attempt::Rejected("part_out_of_order", format!("part {number} came before the one ahead of it"));
        };
        match self.attempt(Self::APIS.part, bytes, move |_| write_at(&file.0, start, &body)).await {
            Attempt::Done(end) => {
                let mut ends = upload.ends();
                ends.truncate(confirmed);
                ends.push(end);
                Attempt::Done(())
            }
            Attempt::Retry(after, message) => Attempt::Retry(after, message),
            Attempt::Rejected(reason, message) => Attempt::Rejected(reason, message),
        }
    }

    async fn abort(&self, upload: FileUpload) -> Attempt<()> {
        // Its end removes the file.
        let work = move |_: &Inner| {
            drop(upload);
            Ok(())
        };
        self.attempt("file_abort", 0, work).await
    }

    async fn complete(&self, upload: &FileUpload, parts: &[()]) -> Attempt<()> {
        let end = parts.len().checked_sub(1).and_then(|last| upload.ends().get(last).copied()).unwrap_or(0);
        let (file, aside, key) = (Arc::clone(&upload.file), upload.aside.clone(), upload.key.clone());
        let work = move |inner: &Inner| {
            // Behind the last part may lie the beginning of one that was given up.
            file.0.set_len(end)?;
            file.0.sync_all()?;
            inner.show(&aside, &key)
        };
        self.attempt(Self::APIS.complete, 0, work).await
    }
}

impl FileUpload {
    fn ends(&self) -> std::sync::MutexGuard<'_, Vec<u64>> {
        self.ends.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Drop for FileUpload {
    /// An upload that was given up leaves nothing behind; one that was completed has left already.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.aside);
    }
}

impl Inner {
    /// A new file aside.
    fn create(&self) -> io::Result<(PathBuf, File, Arc<Staging>)> {
        let mut staging = self.staging.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let open = match &*staging {
            Some(open) => Arc::clone(open),
            None => Arc::clone(staging.insert(Arc::new(Staging::open(&self.root, &self.writer)?))),
        };
        let aside = open.file(&self.next.fetch_add(1, Ordering::Relaxed).to_string());
        match OpenOptions::new().write(true).create_new(true).open(&aside) {
            Ok(file) => Ok((aside, file, open)),
            Err(error) => {
                if error.kind() == ErrorKind::NotFound {
                    // Somebody cleared the directory away; the next attempt makes it again.
                    *staging = None;
                }
                Err(error)
            }
        }
    }

    /// Gives a synced file its name.
    fn show(&self, aside: &Path, key: &str) -> io::Result<()> {
        let path = self.make_directories(key)?;
        match fs::rename(aside, &path) {
            // An earlier attempt came as far as this.
            Err(error) if error.kind() == ErrorKind::NotFound && path.exists() => {}
            renamed => renamed?,
        }
        sync_directory(path.parent().unwrap_or(&self.root))
    }

    /// Where the object goes, its directories made and synced. Prefixes are rendered safe; this is the second lock on
    /// that door.
    fn make_directories(&self, key: &str) -> io::Result<PathBuf> {
        let mut path = self.root.clone();
        let mut components = Path::new(key).components().peekable();
        while let Some(component) = components.next() {
            let Component::Normal(name) = component else {
                return Err(io::Error::new(ErrorKind::InvalidFilename, format!("`{key}` leads out of the directory")));
            };
            let parent = path.clone();
            path.push(name);
            if components.peek().is_none() {
                return Ok(path);
            }
            match fs::create_dir(&path) {
                Ok(()) => sync_directory(&parent)?,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(ErrorKind::InvalidFilename, "an empty name"))
    }
}

/// Writes all of `body` from `start` on, and tells where it ends.
fn write_at(file: &File, start: u64, body: &[Bytes]) -> io::Result<u64> {
    let mut at = start;
    for piece in body {
        file.write_all_at(piece, at)?;
        at += piece.len() as u64;
    }
    Ok(at)
}

/// Makes names in a directory durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn len(body: &[Bytes]) -> u64 {
    body.iter().map(|piece| piece.len() as u64).sum()
}
