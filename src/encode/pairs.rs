//! Members that come again: the msgpack of a pair, and the JSON that was written for it last time.
//!
//! Most records of a container repeat `container_id`, `container_name` and `source` in any order; to compare such a
//! pair costs a quarter of writing it anew. A key whose value changes every time is let be for a while.

/// Pairs that are remembered, by their keys.
const SLOTS: usize = 16;
/// The longest pair that is remembered, in bytes of msgpack.
const LONGEST: usize = 256;
/// After so many other values in a row, or keys that share the slot …
const PATIENCE: u8 = 4;
/// … it is let be for so many pairs.
const PAUSE: u16 = 1000;

/// The pairs of the last records.
#[derive(Debug, Default)]
pub(super) struct Pairs([Slot; SLOTS]);

/// A pair as it came and as it was written.
#[derive(Debug, Default)]
pub(super) struct Pair {
    /// msgpack; empty before the first.
    raw: Vec<u8>,
    /// The quoted key, the colon, the value and a comma.
    written: Vec<u8>,
    /// Length of the key with its quotes.
    key_len: usize,
}

#[derive(Debug, Default)]
struct Slot {
    pair: Pair,
    changes: u8,
    pause: u16,
}

impl Pair {
    /// Bytes of msgpack.
    pub(super) fn len(&self) -> usize {
        self.raw.len()
    }

    /// What stands for it in JSON, a comma behind.
    pub(super) fn written(&self) -> &[u8] {
        &self.written
    }

    /// Length of the quoted key in it.
    pub(super) fn key_len(&self) -> usize {
        self.key_len
    }
}

impl Pairs {
    /// The pair that `bytes` begin with, if it was kept; `key` is its key's text.
    #[inline]
    pub(super) fn find(&mut self, key: &[u8], bytes: &[u8]) -> Option<&Pair> {
        let slot = &mut self.0[slot(key)];
        if slot.pause > 0 {
            slot.pause -= 1;
            return None;
        }
        // msgpack tells its length from its beginning: what begins with a whole pair is that pair.
        if slot.pair.raw.is_empty() || !bytes.starts_with(&slot.pair.raw) {
            return None;
        }
        slot.changes = 0;
        Some(&slot.pair)
    }

    /// Keeps what was written for a pair that was not found.
    pub(super) fn keep(&mut self, key: &[u8], raw: &[u8], written: &[u8], key_len: usize) {
        let slot = &mut self.0[slot(key)];
        if slot.pause > 0 || raw.len() > LONGEST {
            return;
        }
        slot.changes += 1;
        if slot.changes > PATIENCE {
            (slot.changes, slot.pause) = (0, PAUSE);
            return;
        }
        let pair = &mut slot.pair;
        pair.raw.clear();
        pair.raw.extend_from_slice(raw);
        pair.written.clear();
        pair.written.extend_from_slice(written);
        pair.key_len = key_len;
    }
}

/// The slot of a key: by its length and the bytes at its ends.
#[inline]
fn slot(key: &[u8]) -> usize {
    let (Some(first), Some(last)) = (key.first(), key.last()) else { return 0 };
    (key.len() + usize::from(*first) + 3 * usize::from(*last)) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_found_until_it_changes_and_let_be_when_it_always_does() {
        let mut pairs = Pairs::default();
        let mut comes = |value: u8| {
            let raw = [0xa1, b'k', value];
            let found = pairs.find(b"k", &raw).map(|pair| pair.written().to_vec());
            if found.is_none() {
                pairs.keep(b"k", &raw, &[value], 3);
            }
            found.is_some_and(|written| written == [value])
        };
        assert_eq!([1, 1, 2, 2, 1, 1].map(&mut comes), [false, true, false, true, false, true]);
        assert!((2..=2 + PATIENCE).all(|value| !comes(value)), "it changes each time");
        assert!((0..PAUSE).all(|_| !comes(9)), "it is let be");
        assert!(comes(9));
    }
}
