//! Which keys somebody looks for, told for most by their length and first letter.

/// A set of keys, with false positives.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyFilter(u64);

impl KeyFilter {
    /// Adds a key, in any case of its letters.
    pub(crate) fn add(&mut self, key: &[u8]) {
        self.0 |= bit(key);
    }

    /// Whether a key may be one of the set, compared in any case.
    #[inline]
    pub(crate) fn may_have(self, key: &[u8]) -> bool {
        self.0 & bit(key) != 0
    }
}

/// What is noted under keys, in small groups that may hold other keys' too.
#[derive(Debug)]
pub(crate) struct KeyGroups<T>(Vec<Vec<T>>);

impl<T> Default for KeyGroups<T> {
    fn default() -> Self {
        Self((0..64).map(|_| Vec::new()).collect())
    }
}

impl<T> KeyGroups<T> {
    /// Notes something under a key.
    pub(crate) fn add(&mut self, key: &[u8], note: T) {
        self.0[place(key)].push(note);
    }

    /// All that may be noted under a key.
    #[inline]
    pub(crate) fn of(&self, key: &[u8]) -> &[T] {
        &self.0[place(key)]
    }
}

fn bit(key: &[u8]) -> u64 {
    1 << place(key)
}

/// One of 64. Setting 0x20 makes letters lower case; what it does to other bytes only costs precision.
#[inline]
fn place(key: &[u8]) -> usize {
    let first = key.first().map_or(0, |c| c | 0x20);
    key.len().wrapping_mul(11).wrapping_add(usize::from(first)) % 64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_keys_in_any_case_and_few_others() {
        let mut filter = KeyFilter::default();
        let keys = ["level", "severity", "PRIORITY", "@timestamp", ""];
        keys.iter().for_each(|key| filter.add(key.as_bytes()));
        for key in keys {
            assert!(filter.may_have(key.as_bytes()) && filter.may_have(key.to_ascii_uppercase().as_bytes()));
        }
        let others = ["msg", "time", "logger", "thread", "trace_id", "span_id", "http", "path", "status", "customer"];
        assert!(others.iter().filter(|key| filter.may_have(key.as_bytes())).count() < 3);
    }
}
