//! What every sink's task is given, and how it learns that the process drains.

use std::sync::Arc;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::metrics::SinkMetrics;
use crate::sink::DeadLetters;
use crate::spool::Queue;

/// What the process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Records come in.
    Running,
    /// No record will come in any more: close and send what waits now, return when the queue is empty. The pipeline
    /// ends a sink that has not returned by the deadline of the drain.
    Draining,
    /// Another task takes from the queue: finish what was taken from it, take nothing more, return.
    HandedOver,
}

/// What a sink's task works with.
#[derive(Clone, Debug)]
pub struct SinkContext {
    /// Name in the config.
    pub name: Arc<str>,
    /// Its queue.
    pub queue: Arc<Queue>,
    /// Its metrics.
    pub metrics: SinkMetrics,
    /// The clock.
    pub clock: Clock,
    /// Random, per process (later kept in the spool directory); part of every object key.
    pub writer: Arc<str>,
    /// What the process is doing, or with this sink.
    pub phase: watch::Receiver<Phase>,
    /// With `ack: delivered`: how long blocks that a sender waits for may wait for more records.
    pub ack_wait: std::time::Duration,
    /// Where to leave what it gives up; without it, it is dropped and counted.
    pub dead_letters: Option<DeadLetters>,
}

impl SinkContext {
    /// Whether the process drains.
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() == Phase::Draining
    }

    /// Whether another task has the queue.
    pub fn is_handed_over(&self) -> bool {
        *self.phase.borrow() == Phase::HandedOver
    }
}
