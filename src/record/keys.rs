//! A filter that tells most keys which nobody looks for by their length and first letter.

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

/// One of 64 bits. Setting 0x20 makes letters lower case; what it does to other bytes only costs precision.
#[inline]
fn bit(key: &[u8]) -> u64 {
    let first = key.first().map_or(0, |c| c | 0x20);
    1 << ((key.len() as u64).wrapping_mul(11).wrapping_add(u64::from(first)) % 64)
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
