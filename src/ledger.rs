//! The ledger: counts every record from its source to its end, so that nothing is lost in silence.
//!
//! Source: `received = routed + dropped{reason}`. Sink: `accepted = delivered + waiting + dropped{reason}`. The sum of
//! `accepted` is the copies that the routes made, and what sinks were given otherwise, which is counted on its own too:
//! what was found on disk at the start, dead letters, and what was diverted from another sink. `waiting` is what lies
//! open, queued and in flight, moved by whoever holds the records, never derived from the others. Entries are made once
//! a batch or a block under one lock; a scrape reads under it, so the books add up at every scrape.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::encode::Count;

/// Counts by reason.
pub type Reasons = BTreeMap<&'static str, Count>;

/// The account of a source.
#[derive(Clone, Debug, Default)]
pub struct SourceBook {
    /// Name in the config.
    pub name: String,
    /// All records, after the join.
    pub received: Count,
    /// Records that at least one sink took.
    pub routed: Count,
    /// Records that no sink took, by reason; `route` is a route with `to: []`.
    pub dropped: Reasons,
}

/// The account of a route.
#[derive(Clone, Debug, Default)]
pub struct RouteBook {
    /// Name in the config.
    pub name: String,
    /// Records that it matched.
    pub matched: Count,
}

/// The account of a sink.
#[derive(Clone, Debug, Default)]
pub struct SinkBook {
    /// Name in the config.
    pub name: String,
    /// Copies that the routes gave it, what was found on disk at the start, dead letters and what was diverted from
    /// full sinks.
    pub accepted: Count,
    /// Of those, what was found on disk at the start.
    pub recovered: Count,
    /// Of those, dead letters; their bytes are the ones that they carry.
    pub dead_letters: Count,
    /// Of those, copies that were diverted from full sinks, where they are dropped as `diverted`.
    pub diverted: Count,
    /// Copies that its target confirmed.
    pub delivered: Count,
    /// In blocks that still grow.
    pub open: Count,
    /// In sealed blocks that wait in the queue.
    pub queued: Count,
    /// In requests or objects under way.
    pub in_flight: Count,
    /// Copies that were given up, by reason.
    pub dropped: Reasons,
}

impl SinkBook {
    /// All that is accepted and has not come to an end.
    pub fn waiting(&self) -> Count {
        let mut sum = self.open;
        sum += self.queued;
        sum += self.in_flight;
        sum
    }
}

/// All accounts, in the order in which they were opened: at first that of the config.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// By source.
    pub sources: Vec<SourceBook>,
    /// By route.
    pub routes: Vec<RouteBook>,
    /// By sink.
    pub sinks: Vec<SinkBook>,
}

impl Books {
    /// What does not add up, in words; empty when all is well.
    pub fn discrepancies(&self) -> Vec<String> {
        let mut found = Vec::new();
        for book in &self.sources {
            let mut ends = book.routed;
            book.dropped.values().for_each(|count| ends += *count);
            if ends != book.received {
                found.push(format!("source {}: received {:?}, routed and dropped {ends:?}", book.name, book.received));
            }
        }
        for book in &self.sinks {
            let mut ends = book.delivered;
            ends += book.waiting();
            book.dropped.values().for_each(|count| ends += *count);
            if ends != book.accepted {
                found.push(format!(
                    "sink {}: accepted {:?}, delivered, waiting and dropped {ends:?}",
                    book.name, book.accepted
                ));
            }
        }
        found
    }
}

/// The books under their lock.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Books>);

impl Ledger {
    /// Opens an account for each name.
    pub fn new<'a>(
        sources: impl IntoIterator<Item = &'a str>,
        routes: impl IntoIterator<Item = &'a str>,
        sinks: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self(Mutex::new(Books {
            sources: sources.into_iter().map(|n| SourceBook { name: n.into(), ..SourceBook::default() }).collect(),
            routes: routes.into_iter().map(|n| RouteBook { name: n.into(), ..RouteBook::default() }).collect(),
            sinks: sinks.into_iter().map(|n| SinkBook { name: n.into(), ..SinkBook::default() }).collect(),
        }))
    }

    /// The books, to enter one whole movement. Hold it for no longer than that.
    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The index of a source's account, which is opened if there is none. Accounts are never closed: what came in
    /// before a config left a name out stays counted.
    pub fn source(&self, name: &str) -> usize {
        let open = || SourceBook { name: name.into(), ..SourceBook::default() };
        find_or_open(&mut self.books().sources, |book| book.name == name, open)
    }

    /// The same of a route.
    pub fn route(&self, name: &str) -> usize {
        let open = || RouteBook { name: name.into(), ..RouteBook::default() };
        find_or_open(&mut self.books().routes, |book| book.name == name, open)
    }

    /// The same of a sink.
    pub fn sink(&self, name: &str) -> usize {
        let open = || SinkBook { name: name.into(), ..SinkBook::default() };
        find_or_open(&mut self.books().sinks, |book| book.name == name, open)
    }

    /// A consistent copy.
    pub fn snapshot(&self) -> Books {
        self.books().clone()
    }
}

fn find_or_open<T>(accounts: &mut Vec<T>, is_it: impl Fn(&T) -> bool, open: impl FnOnce() -> T) -> usize {
    accounts.iter().position(is_it).unwrap_or_else(|| {
        accounts.push(open());
        accounts.len() - 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_opened_once_and_keeps_its_index() {
        let ledger = Ledger::new(["forward"], ["rest"], ["archive"]);
        assert_eq!((ledger.sink("alerts"), ledger.sink("archive"), ledger.sink("alerts")), (1, 0, 1));
        assert_eq!((ledger.route("rest"), ledger.route("errors"), ledger.source("edge")), (0, 1, 1));
        assert_eq!(ledger.snapshot().sinks.len(), 2);
    }
}
