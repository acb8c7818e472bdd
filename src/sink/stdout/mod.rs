//! The `stdout` sink: records as lines, written as they come. Blocks are whole lines and so is what is written.
//!
//! A reader that goes away ends the output quietly: what comes after is counted as dropped, nothing else is disturbed.

use std::io::{self, ErrorKind, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::encode::{Format, LogJson};
use crate::sink::SinkContext;
use crate::spool::{Lease, WhenFull};

/// Bytes that are written in one go.
const CHUNK: u64 = 1 << 20;

/// How long to wait for a full disk or a terminal that takes no more.
const PAUSE: Duration = Duration::from_millis(100);

/// Records as lines on standard output.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StdoutConfig {
    /// How records become bytes.
    pub format: Format,
    /// What becomes of a JSON object in the text of `log`.
    pub log_json: LogJson,
    /// What happens when the queue is full (default `drop_oldest`).
    pub when_full: Option<WhenFull>,
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
    loop {
        while let Some(lease) = queue.lanes().iter().find_map(|lane| queue.take(&lane.partition, CHUNK)) {
            out = deliver(lease, out, &context).await;
        }
        let draining = alone || context.is_draining();
        if draining && queue.is_empty() {
            return;
        }
        tokio::select! {
            () = queue.changed() => {}
            changed = phase.changed(), if !draining => alone = changed.is_err(),
        }
    }
}

/// Writes one lease; gives the output back if it still has a reader.
async fn deliver<W: Write + Send + 'static>(lease: Lease, out: Option<W>, context: &SinkContext) -> Option<W> {
    let Some(mut out) = out else {
        lease.dropped("broken_pipe");
        return None;
    };
    let mut data: Vec<Bytes> = lease.blocks().iter().map(|block| block.data.clone()).collect();
    loop {
        let work = move || {
            let written = write(&mut out, &mut data);
            (out, data, written)
        };
        let Ok((back, rest, written)) = tokio::task::spawn_blocking(work).await else {
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
                if error.kind() != ErrorKind::WouldBlock {
                    tracing::warn!(
                        sink = &*context.name,
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
