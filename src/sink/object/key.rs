//! Names of objects: `<prefix><writer>-<first sequence>.<extension>`.
//!
//! The writer is random and own to one queue, sequences are never reused: no two objects ever share a name, so nothing
//! is ever overwritten. Within a prefix and writer, names sort as their records came.

use crate::encode::Partition;

/// Names the objects of one queue.
#[derive(Clone, Debug)]
pub(super) struct Namer {
    writer: String,
    extension: String,
}

impl Namer {
    /// `sink` tells the queues of one process apart: two sinks may share a bucket and prefix, and each counts its
    /// sequences from 0.
    pub(super) fn new(writer: &str, sink: usize, extension: &str) -> Self {
        Self { writer: format!("{writer}{sink:02x}"), extension: extension.into() }
    }

    /// The key of the object whose first block has this sequence. Twelve digits are 10^12 blocks, centuries of them.
    pub(super) fn key(&self, partition: &Partition, first_sequence: u64) -> String {
        let prefix = match partition {
            Partition::Prefix(prefix) => prefix,
            Partition::Stream { .. } | Partition::Whole => "",
        };
        format!("{prefix}{}-{first_sequence:012}.{}", self.writer, self.extension)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_their_records_came() {
        let namer = Namer::new("0a1b2c", 1, "ndjson.zst");
        let partition = Partition::Prefix("logs/dt=2026-11-23/".into());
        let keys = [9, 10, 99_999, 100_000].map(|sequence| namer.key(&partition, sequence));
        assert_eq!(keys[0], "logs/dt=2026-11-23/0a1b2c01-000000000009.ndjson.zst");
        assert!(keys.is_sorted());
    }

    #[test]
    fn two_sinks_of_one_process_never_share_a_key() {
        let [a, b] = [0, 1].map(|sink| Namer::new("0a1b2c", sink, "ndjson").key(&Partition::Whole, 7));
        assert_ne!(a, b);
    }
}
