//! What the outlets of all sinks and sources share: buffers that have already grown, and places for blocks that are
//! compressed on another thread.

use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use crate::encode::BLOCK_SIZE;

/// Buffers kept for the next blocks, of all sinks and sources together: a MiB or two, however many there are.
const POOLED: usize = 4;

/// Blocks that wait to be compressed, or are: enough for a few cores, and 1 to 2 MiB of buffers. A queue that drops its
/// oldest counts them no longer when it drops them, so they need a bound of their own.
const JOBS: usize = 4;

/// Buffers and places.
#[derive(Debug)]
pub(super) struct Pool {
    /// Empty buffers that have already grown.
    buffers: Mutex<Vec<Vec<u8>>>,
    /// Places for blocks that wait to be compressed, or are.
    jobs: Arc<Semaphore>,
}

impl Default for Pool {
    fn default() -> Self {
        Self { buffers: Mutex::default(), jobs: Arc::new(Semaphore::new(JOBS)) }
    }
}

impl Pool {
    /// An empty buffer that has already grown, if there is one.
    pub(super) fn buffer(&self) -> Option<Vec<u8>> {
        self.buffers.lock().ok().and_then(|mut buffers| buffers.pop())
    }

    /// Takes a buffer back.
    pub(super) fn give_back(&self, mut plain: Vec<u8>) {
        plain.clear();
        if let Ok(mut buffers) = self.buffers.lock()
            && buffers.len() < POOLED
            && plain.capacity() <= 2 * BLOCK_SIZE
        {
            buffers.push(plain);
        }
    }

    /// Has a block compressed on another thread. When all places are taken it is done here and now: whoever reads faster
    /// than blocks are compressed does it himself. Must be called within a tokio runtime.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) {
        match Arc::clone(&self.jobs).try_acquire_owned() {
            Ok(place) => drop(tokio::task::spawn_blocking(move || {
                job();
                drop(place);
            })),
            Err(_) => job(),
        }
    }
}
