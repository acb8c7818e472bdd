//! A set of sequences, kept as ranges: what was delivered is mostly in runs.

use std::collections::BTreeMap;

/// A set of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    /// First and last of each run; runs neither overlap nor touch.
    runs: BTreeMap<u64, u64>,
    len: u64,
}

impl Ranges {
    /// Adds a number; false if it was there.
    pub fn insert(&mut self, number: u64) -> bool {
        let before = self.runs.range(..=number).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| last >= number) {
            return false;
        }
        let joins = before.filter(|(_, last)| last + 1 == number);
        let first = joins.map_or(number, |(first, _)| first);
        let next = number.checked_add(1).and_then(|next| self.runs.remove(&next));
        self.runs.insert(first, next.unwrap_or(number));
        self.len += 1;
        true
    }

    /// Adds a run; what of it was there stays.
    pub fn insert_run(&mut self, first: u64, last: u64) {
        let (mut first, mut last) = (first, last);
        let touching = |runs: &BTreeMap<u64, u64>, first: u64, last: u64| {
            let run = runs.range(..=last.saturating_add(1)).next_back().map(|(first, last)| (*first, *last));
            run.filter(|(_, end)| end.saturating_add(1) >= first)
        };
        while let Some((start, end)) = touching(&self.runs, first, last) {
            self.runs.remove(&start);
            self.len -= end - start + 1;
            (first, last) = (first.min(start), last.max(end));
        }
        self.runs.insert(first, last);
        self.len += last - first + 1;
    }

    /// Adds a run that begins behind all others, or touches the last of them; false if it does not, or ends before it
    /// begins.
    pub fn append(&mut self, first: u64, last: u64) -> bool {
        let end = self.runs.last_key_value().map(|(first, last)| (*first, *last));
        if first > last || end.is_some_and(|(_, end)| first <= end) {
            return false;
        }
        let Some(len) = (last - first).checked_add(1).and_then(|len| self.len.checked_add(len)) else { return false };
        self.len = len;
        match end {
            Some((start, end)) if end + 1 == first => self.runs.insert(start, last),
            _ => self.runs.insert(first, last),
        };
        true
    }

    /// Whether a number is in it.
    pub fn contains(&self, number: u64) -> bool {
        self.runs.range(..=number).next_back().is_some_and(|(_, last)| *last >= number)
    }

    /// How many numbers.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The least of them.
    pub fn first(&self) -> Option<u64> {
        self.runs.first_key_value().map(|(first, _)| *first)
    }

    /// First and last of each run.
    pub fn runs(&self) -> impl ExactSizeIterator<Item = (u64, u64)> + '_ {
        self.runs.iter().map(|(first, last)| (*first, *last))
    }

    /// All numbers, in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.runs().flat_map(|(first, last)| first..=last)
    }
}

impl FromIterator<u64> for Ranges {
    fn from_iter<T: IntoIterator<Item = u64>>(numbers: T) -> Self {
        let mut ranges = Self::default();
        for number in numbers {
            ranges.insert(number);
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(numbers in prop::collection::vec(0..60_u64, 0..80)) {
            let ranges: Ranges = numbers.iter().copied().collect();
            let set: BTreeSet<u64> = numbers.into_iter().collect();
            prop_assert_eq!(ranges.iter().collect::<BTreeSet<_>>(), set.clone());
            prop_assert_eq!(ranges.len(), set.len() as u64);
            prop_assert!((0..60).all(|number| ranges.contains(number) == set.contains(&number)));
            let runs: Vec<_> = ranges.runs().collect();
            prop_assert!(runs.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "as few as can be");
        }

        #[test]
        fn runs_are_numbers_one_by_one(runs in prop::collection::vec((0..60_u64, 0..9_u64), 0..20)) {
            let mut ranges = Ranges::default();
            runs.iter().for_each(|(first, more)| ranges.insert_run(*first, first + more));
            let same: Ranges = runs.iter().flat_map(|(first, more)| *first..=first + more).collect();
            prop_assert_eq!(ranges, same);
        }
    }
}
