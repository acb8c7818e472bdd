//! Dead letters: what a sink or source gives up goes to the queue of a configured sink of objects, a line each, if there
//! is room for it.
//!
//! Who gives up never waits for that sink: where its queue is full, a letter is dropped and counted there. That sink's own
//! records, its dead letters among them, have no second place to go: it gets no handle.

use std::fmt;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::clock::Clock;
use crate::encode::letter::{self, Data, Letter, Origin};
use crate::encode::{
    BLOCK_SIZE, BlockMeta, Compression, Count, OpenBlock, Partition, Partitioner, Template, decompress,
};
use crate::metrics::{Metrics, SinkMetrics};
use crate::record::level::LevelRules;
use crate::record::{Record, Tag, Tickets, UnixNanos};
use crate::spool::{Queue, Reserved};

/// The msgpack of a record without fields: a prefix is rendered for it.
const NO_FIELDS: &[u8] = &[0x80];

/// The way of one sink or source to the dead letters; clones share it.
#[derive(Clone)]
pub struct DeadLetters {
    /// Who gives up.
    name: Arc<str>,
    place: Arc<Place>,
}

/// Where dead letters go.
#[derive(Debug)]
pub struct Place {
    queue: Arc<Queue>,
    compression: Compression,
    prefix: Mutex<Partitioner>,
    metrics: Metrics,
    sink: SinkMetrics,
    clock: Clock,
}

impl Place {
    /// In the objects of the sink `name`, compressed as the sink's own, under a prefix without fields.
    pub fn new(
        name: &str,
        queue: Arc<Queue>,
        compression: Compression,
        prefix: Template,
        metrics: &Metrics,
        clock: Clock,
    ) -> Arc<Self> {
        let prefix = Mutex::new(Partitioner::prefix(prefix, LevelRules::default()));
        let (sink, metrics) = (metrics.sink(name), metrics.clone());
        Arc::new(Self { queue, compression, prefix, metrics, sink, clock })
    }

    /// Whether letters go to this queue.
    pub fn is_in(&self, queue: &Arc<Queue>) -> bool {
        Arc::ptr_eq(&self.queue, queue)
    }

    fn partition(&self, time: UnixNanos) -> Arc<Partition> {
        let tag = Tag::from("");
        let record =
            Record { tag: &tag, source: "", time, received: time, map: NO_FIELDS, ecs: None, json: Default::default() };
        let mut prefix = self.prefix.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Arc::clone(prefix.partition(&record).0)
    }

    /// Enters a block in the books and, if there is room, in the queue.
    fn take(self: &Arc<Self>, block: OpenBlock) {
        let (meta, plain) = block.seal();
        let full = self.queue.is_full();
        {
            let mut books = self.queue.ledger().books();
            let book = &mut books.sinks[self.queue.sink()];
            book.accepted += meta.count;
            book.dead_letters += meta.count;
            match full {
                true => *book.dropped.entry("queue_full").or_default() += meta.count,
                false => book.open += meta.count,
            }
        }
        if full {
            return;
        }
        let Some(reserved) = Reserved::of(&self.queue, meta) else { return };
        let place = Arc::clone(self);
        let fill = move || {
            if reserved.is_wanted() {
                let data = place.compression.compress(&plain);
                place.sink.block(data.len() as u64);
                reserved.fill(data);
            }
        };
        match self.compression {
            Compression::None => fill(),
            _ => drop(tokio::task::spawn_blocking(fill)),
        }
    }
}

impl DeadLetters {
    /// The way of the sink or source `name`.
    pub fn new(name: &str, place: &Arc<Place>) -> Self {
        Self { name: name.into(), place: Arc::clone(place) }
    }

    /// Hands letters over. Must be called within a tokio runtime.
    pub fn bury<'a>(&self, origin: Origin<'_>, letters: impl IntoIterator<Item = Letter<'a>>) {
        let Place { metrics, clock, .. } = &*self.place;
        let (now, time) = (clock.now(), clock.unix());
        let mut open: Option<OpenBlock> = None;
        for letter in letters {
            let block =
                open.get_or_insert_with(|| OpenBlock::new(self.place.partition(time), now, Vec::with_capacity(4096)));
            letter::write(&letter, &self.name, origin, time, &mut block.plain);
            block.note(time, letter.bytes, &Tickets::none());
            metrics.dead_letters(&self.name, letter.reason, 1);
            if block.plain.len() >= BLOCK_SIZE {
                open.take().into_iter().for_each(|block| self.place.take(block));
            }
        }
        open.into_iter().for_each(|block| self.place.take(block));
    }

    /// Comes back when the letters so far are as safe as their queue makes them: only then may their originals go.
    pub async fn durable(&self) {
        self.place.queue.durable().await;
    }

    /// Hands the lines of a block over, each a letter; one that does not decompress is a letter as it is.
    pub async fn bury_block(&self, meta: &BlockMeta, data: &Bytes, reason: &'static str) {
        let (letters, data) = (self.clone(), data.clone());
        let (partition, count, plain_len) = (Arc::clone(&meta.partition), meta.count, meta.plain_len);
        let work = move || letters.bury_lines(&partition, &data, plain_len, count, reason);
        // The one error is the end of the runtime; then nothing can be delivered any more.
        let _ = tokio::task::spawn_blocking(work).await;
    }

    fn bury_lines(&self, partition: &Partition, data: &Bytes, plain_len: u64, count: Count, reason: &'static str) {
        let origin = match partition {
            Partition::Prefix(prefix) => Origin::Prefix(prefix),
            Partition::Stream { group, stream } => Origin::Stream { group, stream },
            Partition::Whole => Origin::Prefix(""),
        };
        let letter = |data, bytes| Letter { reason, record_time: None, bytes, data: Data::Whole(data) };
        match decompress(data, plain_len) {
            Ok(plain) => {
                let lines = plain.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                self.bury(origin, lines.map(|line| letter(line, line.len() as u64)));
            }
            Err(_) => self.bury(origin, [letter(data, count.bytes)]),
        }
    }
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeadLetters of {}", self.name)
    }
}
