//! Which keys somebody looks for, told for most by their length and the letters at their ends.

/// A set of keys, with false positives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyFilter {
    /// A bit for each length of a key, the last for all that are longer. It decides about most keys.
    lengths: u64,
    places: [u64; 4],
}

impl KeyFilter {
    /// Adds a key, in any case of its letters.
    pub(crate) fn add(&mut self, key: &[u8]) {
        let place = place(key);
        self.lengths |= 1 << key.len().min(63);
        self.places[place / 64] |= 1 << (place % 64);
    }

    /// Adds all of another set.
    pub(crate) fn add_all(&mut self, other: &Self) {
        self.lengths |= other.lengths;
        self.places.iter_mut().zip(other.places).for_each(|(mine, theirs)| *mine |= theirs);
    }

    /// Whether a key may be one of the set, compared in any case.
    #[inline(always)]
    pub(crate) fn may_have(&self, key: &[u8]) -> bool {
        if self.lengths >> key.len().min(63) & 1 == 0 {
            return false;
        }
        let place = place(key);
        self.places[place / 64] >> (place % 64) & 1 == 1
    }
}

/// What is noted under keys, in small groups that may hold other keys' too.
#[derive(Debug)]
pub(crate) struct KeyGroups<T>(Vec<Vec<T>>);

impl<T> Default for KeyGroups<T> {
    fn default() -> Self {
        Self((0..256).map(|_| Vec::new()).collect())
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

/// One of 256, by a key's length and the letters at its ends. Setting 0x20 makes letters lower case; what it does to other
/// bytes only costs precision.
#[inline(always)]
fn place(key: &[u8]) -> usize {
    let [first, .., last] = key else { return key.len() };
    let letter = |byte: &u8| usize::from(byte | 0x20);
    (key.len() * 37 + letter(first) * 7 + letter(last)) % 256
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
        assert!(others.iter().filter(|key| filter.may_have(key.as_bytes())).count() < 2);
    }
}
