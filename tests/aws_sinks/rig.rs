//! A queue with its ledger, and a sink's context around it.

use std::future::Future;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use bytes::Bytes;
use logweir::aws::Access;
use logweir::clock::Clock;
use logweir::config::value::Span;
use logweir::encode::{OpenBlock, Partition};
use logweir::ledger::{Ledger, SinkBook};
use logweir::metrics::SinkMetrics;
use logweir::record::{Outcome, Ticket, Tickets};
use logweir::sink::common::RetryConfig;
use logweir::sink::{Phase, SinkContext};
use logweir::spool::{Queue, QueueConfig, WhenFull};
use tokio::sync::watch;

/// What a test waits at most; it is never reached when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Rig {
    pub(crate) context: SinkContext,
    pub(crate) ledger: Arc<Ledger>,
    phase: watch::Sender<Phase>,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let ledger = Arc::new(Ledger::new([], [], ["sink"]));
        let (phase, watched) = watch::channel(Phase::Running);
        let config = QueueConfig { bound: 256 << 20, when_full: WhenFull::Block };
        let context = SinkContext {
            name: "sink".into(),
            queue: Queue::new(0, config, Arc::clone(&ledger)),
            metrics: SinkMetrics::detached("sink"),
            clock: Clock::start(),
            writer: "w".into(),
            phase: watched,
            ack_wait: Duration::from_secs(10),
            dead_letters: None,
        };
        Self { context, ledger, phase }
    }

    /// Puts a block of records, told by their time and length in msgpack, into the queue.
    pub(crate) fn push(&self, partition: &Arc<Partition>, records: &[(i64, u64)], data: Vec<u8>) {
        self.push_for(&Tickets::none(), partition, records, data);
    }

    pub(crate) fn push_for(
        &self,
        tickets: &Tickets,
        partition: &Arc<Partition>,
        records: &[(i64, u64)],
        data: Vec<u8>,
    ) {
        let mut block = OpenBlock::new(Arc::clone(partition), self.context.clock.now(), Vec::new());
        records.iter().for_each(|&(time, len)| block.note(time, len, tickets));
        block.plain = data;
        let (meta, data) = block.seal();
        {
            let mut books = self.ledger.books();
            books.sinks[0].accepted += meta.count;
            books.sinks[0].open += meta.count;
        }
        let sequence = self.context.queue.reserve(meta).expect("the queue has room");
        self.context.queue.fill(sequence, Bytes::from(data));
    }

    pub(crate) fn drain(&self) {
        self.phase.send_replace(Phase::Draining);
    }

    /// Drains the sink to its end; its account.
    pub(crate) async fn end(&self, sink: impl Future<Output = ()>) -> SinkBook {
        self.drain();
        tokio::time::timeout(PATIENCE, sink).await.expect("the sink ends");
        self.book()
    }

    pub(crate) fn book(&self) -> SinkBook {
        let books = self.ledger.snapshot();
        assert_eq!(books.discrepancies(), Vec::<String>::new());
        books.sinks[0].clone()
    }
}

/// A ticket and where its outcome is told.
pub(crate) fn ticket() -> (Tickets, mpsc::Receiver<Outcome>) {
    let (sender, receiver) = mpsc::channel();
    let ticket = Ticket::new(move |outcome| {
        let _ = sender.send(outcome);
    });
    (Tickets::from(ticket), receiver)
}

pub(crate) fn access() -> Access {
    Access {
        region: Some("eu-west-1".into()),
        role_arn: None,
        external_id: None,
        attempt_timeout: Duration::from_secs(20),
        credentials: Some(SharedCredentialsProvider::new(Credentials::new("AKIDTEST", "key", None, None, "test"))),
    }
}

pub(crate) fn quick() -> RetryConfig {
    RetryConfig {
        deadline: Span::secs(50),
        initial: Span(Duration::from_millis(1)),
        max: Span(Duration::from_millis(20)),
        attempt_timeout: Span::secs(20),
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}
