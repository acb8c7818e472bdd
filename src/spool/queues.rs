//! The queues as they are seen from outside the data's way: one an account of the ledger, the latest one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::Queue;

/// The queues of all sinks that the process has had; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Queues(Arc<Mutex<BTreeMap<usize, Listed>>>);

/// A queue and what has become of its sink.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The queue; [`Queue::sink`] is its index in the ledger.
    pub queue: Arc<Queue>,
    /// Its sink has left the config: it delivers what it has.
    pub leaving: bool,
}

impl Queues {
    /// Lists a queue in the place of one with the same account.
    pub fn list(&self, queue: &Arc<Queue>, leaving: bool) {
        self.lock().insert(queue.sink(), Listed { queue: Arc::clone(queue), leaving });
    }

    /// All of them, in the ledger's order.
    pub fn all(&self) -> Vec<Listed> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<usize, Listed>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
