//! The `stdout` sink: records as lines, written as they come. Blocks are whole lines and so is what is written.
//!
//! A reader that goes away ends the output quietly: what comes after is counted as dropped, nothing else is disturbed.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::encode::{Fields, Format, LogJson};
use crate::seldom::Seldom;
use crate::sink::SinkContext;
use crate::sink::common::FullPolicy;
use crate::spool::Lease;
use crate::watchdog;

/// Bytes that are written in one go.
const CHUNK: u64 = 1 << 20;

/// How long to wait for a full disk or a terminal that takes no more.
const PAUSE: Duration = Duration::from_millis(100);

/// Records as lines on standard output.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct StdoutConfig {
    /// How records become bytes.
    pub format: Format,
    /// What becomes of a JSON object in the text of `log`.
    pub log_json: LogJson,
    /// Which of a record's fields are written: `{keep: [names]}` or `{drop: [names]}`.
    pub fields: Fields,
    /// What happens when the queue is full (default `drop_oldest`).
    pub when_full: Option<FullPolicy>,
}

/// Writes the sink's queue to standard output. Its blocks must not be compressed. Returns when the process drains and
/// nothing is left.
pub async fn run(context: SinkContext) {
    write_to(context, io::stdout()).await;
}

/// The same for any output.
async fn write_to<W: Write + Send + 'static>(context: SinkContext, out: W) {
    let mut phase = context.phase.clone();
    let queue = Arc::clone(&context.queue);
    // None once nobody reads.
    let mut out = Some(out);
    let mut alone = false;
    let trouble = Seldom::default();
    loop {
        while !context.is_handed_over()
            && let Some(lease) = queue.lanes().iter().find_map(|lane| queue.take(&lane.partition, CHUNK))
        {
            out = deliver(lease, out, &context, &trouble).await;
        }
        if context.is_handed_over() {
            // What this task was told of last may have been for the other.
            return queue.look();
        }
        let draining = alone || context.is_draining();
        if draining && queue.is_empty() {
            return;
        }
        tokio::select! {
            () = queue.changed() => {}
            changed = phase.changed(), if !alone => alone = changed.is_err(),
        }
    }
}

/// Writes one lease; gives the output back if it still has a reader.
async fn deliver<W: Write + Send + 'static>(
    mut lease: Lease,
    out: Option<W>,
    context: &SinkContext,
    trouble: &Seldom,
) -> Option<W> {
    let Some(mut out) = out else {
        lease.dropped("broken_pipe");
        return None;
    };
    let loaded = lease.load(0..lease.blocks()).await;
    let mut data = loaded.data().to_vec();
    loop {
        let work = move || {
            let written = write(&mut out, &mut data);
            (out, data, written)
        };
        let hangs = |so_far: Duration| {
            context.metrics.event("write_stalled", 1);
            let (sink, seconds) = (&*context.name, so_far.as_secs());
            tracing::warn!(sink, "standard output has taken nothing for {seconds} s; its reader may hang");
        };
        let work = watchdog::watch(tokio::task::spawn_blocking(work), hangs);
        let Ok((back, rest, written)) = work.await else {
            lease.dropped("defect");
            return None;
        };
        (out, data) = (back, rest);
        match written {
            Ok(()) => {
                lease.delivered();
                return Some(out);
            }
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                lease.dropped("broken_pipe");
                return None;
            }
            Err(error) => {
                if error.kind() != ErrorKind::WouldBlock
                    && let Some(silent) = trouble.line()
                {
                    tracing::warn!(
                        sink = &*context.name,
                        silent,
                        "cannot write to standard output ({error}); it is tried again"
                    );
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Writes all pieces; after an error, `data` holds what is left.
fn write(out: &mut impl Write, data: &mut Vec<Bytes>) -> io::Result<()> {
    while let Some(piece) = data.first_mut() {
        if piece.is_empty() {
            data.remove(0);
            continue;
        }
        match out.write(piece) {
            Ok(0) => return Err(ErrorKind::BrokenPipe.into()),
            Ok(n) => drop(piece.split_to(n)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::watch;

    use super::*;
    use crate::clock::Clock;
    use crate::encode::{BlockMeta, Count, Partition};
    use crate::ledger::{Ledger, SinkBook};
    use crate::metrics::SinkMetrics;
    use crate::record::Tickets;
    use crate::sink::Phase;
    use crate::spool::{Queue, QueueConfig, WhenFull};

    /// Takes three bytes a call, now and then none, and after `room` bytes nobody reads any more.
    #[derive(Clone)]
    struct Pipe {
        written: Arc<Mutex<Vec<u8>>>,
        room: usize,
        calls: usize,
    }

    impl Write for Pipe {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            self.calls += 1;
            let mut written = self.written.lock().expect("no test panics in here");
            match self.calls % 4 {
                _ if written.len() >= self.room => Err(ErrorKind::BrokenPipe.into()),
                0 => Err(ErrorKind::WouldBlock.into()),
                1 => Err(ErrorKind::Interrupted.into()),
                _ => {
                    let n = data.len().min(3);
                    written.extend_from_slice(&data[..n]);
                    Ok(n)
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Three blocks of two lines through a pipe with this much room; what came out, and the books.
    async fn through(room: usize) -> (String, SinkBook) {
        let config = QueueConfig { bound: 1 << 20, when_full: WhenFull::DropOldest };
        let queue = Queue::new(0, config, Arc::new(Ledger::new([], [], ["out"])));
        let (phase, watched) = watch::channel(Phase::Running);
        let context = SinkContext {
            name: "out".into(),
            queue: Arc::clone(&queue),
            metrics: SinkMetrics::detached("out"),
            clock: Clock::start(),
            writer: "w".into(),
            phase: watched,
            ack_wait: Duration::from_secs(10),
            dead_letters: None,
        };
        let pipe = Pipe { written: Arc::default(), room, calls: 0 };
        let sink = tokio::spawn(write_to(context, pipe.clone()));
        for text in ["one\ntwo\n", "three\nfour\n", "five\nsix\n"] {
            let partition = Arc::new(Partition::Whole);
            let count = Count { records: 2, bytes: text.len() as u64 };
            {
                let mut books = queue.ledger().books();
                books.sinks[0].accepted += count;
                books.sinks[0].open += count;
            }
            let (plain_len, tickets) = (text.len() as u64, Tickets::none());
            let opened = Duration::ZERO;
            let meta = BlockMeta { partition, count, plain_len, times: (0, 0), opened, tickets };
            let sequence = queue.reserve(meta).expect("room");
            queue.fill(sequence, Bytes::from_static(text.as_bytes()));
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        phase.send_replace(Phase::Draining);
        sink.await.expect("the sink does not panic");
        let books = queue.ledger().snapshot();
        assert_eq!(books.discrepancies(), Vec::<String>::new());
        let written = pipe.written.lock().expect("no test panics in here").clone();
        (String::from_utf8(written).expect("text"), books.sinks[0].clone())
    }

    #[tokio::test(start_paused = true)]
    async fn lines_come_out_whole_and_in_order_however_slow_the_reader() {
        let (text, book) = through(usize::MAX).await;
        assert_eq!(text, "one\ntwo\nthree\nfour\nfive\nsix\n");
        assert_eq!(book.delivered.records, 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_goes_away_ends_the_output_quietly_and_counted() {
        let (text, book) = through(9).await;
        assert!(text.starts_with("one\ntwo\n"));
        assert_eq!((book.delivered.records, book.dropped["broken_pipe"].records), (2, 4));
    }
}
