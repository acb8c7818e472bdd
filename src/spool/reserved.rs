//! A place in a queue that waits for its bytes.

use std::sync::Arc;

use bytes::Bytes;

use super::Queue;
use crate::encode::BlockMeta;

/// The place of a sealed block. What is not filled when this goes, by a defect or since the runtime ends, is given up:
/// nothing behind it waits for ever.
#[derive(Debug)]
pub struct Reserved {
    queue: Arc<Queue>,
    sequence: u64,
}

impl Reserved {
    /// A place for this block, if the queue's policy gives it one.
    pub fn of(queue: &Arc<Queue>, meta: BlockMeta) -> Option<Self> {
        let sequence = queue.reserve(meta)?;
        Some(Self { queue: Arc::clone(queue), sequence })
    }

    /// Whether the block is still wanted: a full queue may have dropped it, and then the work is not worth it.
    pub fn is_wanted(&self) -> bool {
        self.queue.awaits(self.sequence)
    }

    /// Gives the block its bytes.
    pub fn fill(self, data: Bytes) {
        self.queue.fill(self.sequence, data);
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.queue.forfeit(self.sequence, "not_compressed");
    }
}
