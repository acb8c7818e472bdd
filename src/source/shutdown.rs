//! How a source is told to end, in two steps, and how it tells that it has read its last byte.
//!
//! ```text
//! Run ──drain()──▶ Drain: accept and read until all is quiet ──▶ reading over ──end()──▶ End: close what is left
//!                                                                 │ acks of what was read still go out
//! ```
//!
//! Whoever runs the sources holds the [`Control`] and gives each source a [`Shutdown`]. Dropping a source's future
//! instead ends it at once.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// What a source should be doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Accept and read.
    Run,
    /// Accept and read until every connection is closed or all have been quiet for `quiet`, at the latest until
    /// `deadline`; then read no more, and write the acks that are still to come.
    Drain {
        /// How long nothing must have come.
        quiet: Duration,
        /// When reading ends in any case.
        deadline: Instant,
    },
    /// All is settled, or there is no more time: close every connection.
    End,
}

/// The hand that ends sources.
#[derive(Debug)]
pub struct Control {
    phase: watch::Sender<Phase>,
    /// Each reading source holds a clone; nothing is ever sent.
    reading: mpsc::Sender<Infallible>,
    over: mpsc::Receiver<Infallible>,
}

impl Control {
    /// Begins in [`Phase::Run`].
    pub fn new() -> Self {
        let (reading, over) = mpsc::channel(1);
        Self { phase: watch::Sender::new(Phase::Run), reading, over }
    }

    /// A source's end of it.
    pub fn subscribe(&self) -> Shutdown {
        Shutdown { phase: self.phase.subscribe(), reading: Some(self.reading.clone()) }
    }

    /// Tells, as long as it lives, whether the sources were told to end.
    pub fn watch(&self) -> Told {
        Told(self.phase.subscribe())
    }

    /// Lets the sources read what is still coming, then stop.
    pub fn drain(&self, quiet: Duration, deadline: Instant) {
        self.phase.send_replace(Phase::Drain { quiet, deadline });
    }

    /// Comes back when every source has read its last byte and handed over its last batch; after
    /// [`Control::drain`]. Cancel safe.
    pub async fn reading_over(&mut self) {
        // The own sender would keep the channel open for ever; sources are not added to a drain.
        self.reading = mpsc::channel(1).0;
        while self.over.recv().await.is_some() {}
    }

    /// Lets the sources close their connections: no ack will come any more.
    pub fn end(&self) {
        self.phase.send_replace(Phase::End);
    }
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a source was told to end.
#[derive(Debug)]
pub struct Told(watch::Receiver<Phase>);

impl Told {
    /// Whether it was.
    pub fn is_told(&self) -> bool {
        *self.0.borrow() != Phase::Run
    }
}

/// A source's view of the [`Control`].
#[derive(Debug)]
pub struct Shutdown {
    phase: watch::Receiver<Phase>,
    reading: Option<mpsc::Sender<Infallible>>,
}

impl Shutdown {
    /// What the source should be doing now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Comes back when the phase has changed; a control that is gone means [`Phase::End`]. Cancel safe.
    pub async fn changed(&mut self) -> Phase {
        match self.phase.changed().await {
            Ok(()) => *self.phase.borrow_and_update(),
            Err(_) => Phase::End,
        }
    }

    /// Tells that the source has handed over its last batch.
    pub fn reading_is_over(&mut self) {
        self.reading = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn reading_is_over_when_every_source_said_so() {
        let mut control = Control::new();
        let (mut one, mut two) = (control.subscribe(), control.subscribe());
        let deadline = Instant::now() + Duration::from_secs(9);
        control.drain(Duration::from_secs(1), deadline);
        assert_eq!(one.changed().await, Phase::Drain { quiet: Duration::from_secs(1), deadline });
        one.reading_is_over();
        let early = tokio::time::timeout(Duration::from_secs(5), control.reading_over()).await;
        assert!(early.is_err(), "the second source still reads");
        two.reading_is_over();
        control.reading_over().await;
        control.end();
        assert_eq!(two.changed().await, Phase::End);
        drop(control);
        assert_eq!(one.changed().await, Phase::End);
    }
}
