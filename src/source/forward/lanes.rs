//! The ways of a source's records to its workers. A connection keeps to one for its whole life, so that its records stay
//! in order and the parts of a line that it brings meet; several let as many threads route and encode.

use std::sync::Arc;

/// One way a worker.
#[derive(Debug)]
pub(super) struct Lanes<I>(Vec<Lane<I>>);

/// A way; whoever has a clone of it is one of its connections.
#[derive(Debug)]
pub(super) struct Lane<I>(Arc<I>);

impl<I> Lanes<I> {
    /// `intakes` are one or more.
    pub(super) fn new(intakes: Vec<I>) -> Self {
        assert!(!intakes.is_empty(), "a source has a worker");
        Self(intakes.into_iter().map(|intake| Lane(Arc::new(intake))).collect())
    }

    /// The way with the fewest connections.
    pub(super) fn least_used(&self) -> Lane<I> {
        let least = self.0.iter().min_by_key(|lane| Arc::strong_count(&lane.0)).expect("a source has a worker");
        Lane(Arc::clone(&least.0))
    }
}

impl<I> std::ops::Deref for Lane<I> {
    type Target = I;

    fn deref(&self) -> &I {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_takes_the_way_that_the_fewest_have() {
        let lanes = Lanes::new(vec!["one", "two", "three"]);
        let first: Vec<_> = (0..3).map(|_| lanes.least_used()).collect();
        assert_eq!(first.iter().map(|lane| **lane).collect::<Vec<_>>(), ["one", "two", "three"]);
        let again = lanes.least_used();
        assert_eq!(*again, "one");
        drop(first);
        assert_eq!(*lanes.least_used(), "two");
    }
}
