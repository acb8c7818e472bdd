//! One object on its way: its blocks in one request, or in parts that go out as they fill.
//!
//! The bytes of a part are let go when the part is confirmed; its records stay in flight until the object is complete.
//! What was let go can never be sent again, so only an upload without confirmed parts is aborted: when a later part is
//! given up, the object is completed with the parts that it has. Every record is settled exactly once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::cutter::ClosedBy;
use super::driver::Objects;
use super::frame::{self, SingleFrame};
use super::{Limits, ObjectStore};
use crate::encode::{Moment, Partition};
use crate::metrics::SinkMetrics;
use crate::sink::DeadLetters;
use crate::sink::retry::{GivenUp, Retry};
use crate::spool::{Lease, Queue, Receipt};

/// What records count as whose bytes were let go, in an object that could not be completed.
const UPLOAD_FAILED: &str = "upload_failed";

/// What the one attempt to abort an upload may take.
pub(super) const ABORT_WAIT: Duration = Duration::from_secs(10);

/// What the uploads of a sink share.
#[derive(Debug)]
pub(super) struct Shared<S> {
    pub(super) store: S,
    pub(super) objects: Objects,
    pub(super) limits: Limits,
    pub(super) retry: Retry,
    pub(super) metrics: SinkMetrics,
    pub(super) queue: Arc<Queue>,
    pub(super) dead_letters: Option<DeadLetters>,
}

/// An object that is not complete.
pub(super) struct Upload<S: ObjectStore> {
    shared: Arc<Shared<S>>,
    key: String,
    pub(super) partition: Arc<Partition>,
    /// When its first record was routed.
    pub(super) opened: Moment,
    /// When the first record that a sender waits for was routed.
    pub(super) awaited: Option<Moment>,
    /// Stored bytes of its blocks whose parts are confirmed.
    pub(super) sent: u64,
    /// Blocks whose bytes are in no confirmed part yet.
    pending: Vec<Lease>,
    /// How many of the pending leases are in `frame` already.
    framed: usize,
    frame: Option<SingleFrame>,
    multipart: Option<Multipart<S>>,
}

/// What the store knows of it.
struct Multipart<S: ObjectStore> {
    upload: S::Upload,
    parts: Vec<S::Part>,
    /// Bytes of the parts.
    bytes: u64,
    /// The records in confirmed parts.
    receipt: Option<Receipt>,
}

/// Bytes for one request.
pub(super) struct Body {
    pub(super) data: Vec<Bytes>,
    pub(super) len: u64,
}

impl<S: ObjectStore> Upload<S> {
    /// An object that begins with these blocks.
    pub(super) fn begin(shared: Arc<Shared<S>>, key: String, partition: Arc<Partition>, lease: Lease) -> Self {
        let opened = lease.metas().map(|meta| meta.opened).min().unwrap_or_default();
        let mut upload = Self {
            shared,
            key,
            partition,
            opened,
            awaited: None,
            sent: 0,
            pending: Vec::new(),
            framed: 0,
            frame: None,
            multipart: None,
        };
        upload.add(lease);
        upload
    }

    /// Appends blocks.
    pub(super) fn add(&mut self, lease: Lease) {
        let awaited = lease.metas().filter(|meta| !meta.tickets.is_empty()).map(|meta| meta.opened);
        self.awaited = awaited.chain(self.awaited).min();
        self.pending.push(lease);
    }

    /// Stored bytes of the blocks that are still held.
    pub(super) fn pending(&self) -> u64 {
        self.pending.iter().map(Lease::bytes).sum()
    }

    /// Confirmed parts.
    pub(super) fn parts(&self) -> usize {
        self.multipart.as_ref().map_or(0, |multipart| multipart.parts.len())
    }

    /// Sends what is pending as a part, if it is enough for one. None when the upload is over, which it also is when
    /// the part is given up.
    pub(super) async fn part(mut self) -> Option<Self> {
        let body = match self.body(false).await {
            Ok(body) => body,
            Err(error) => return self.end_early(corrupt(error)).await,
        };
        if body.len < self.shared.limits.min_part {
            self.restore(body);
            return Some(self);
        }
        match self.send(body).await {
            Ok(()) => Some(self),
            Err(given_up) => self.end_early(given_up).await,
        }
    }

    /// Sends what is pending and ends the object.
    pub(super) async fn close(mut self, by: ClosedBy) {
        let body = match self.body(true).await {
            Ok(body) => body,
            Err(error) => return drop(self.end_early(corrupt(error)).await),
        };
        if self.multipart.is_none() {
            return self.put(body, by).await;
        }
        if body.len > 0
            && let Err(given_up) = self.send(body).await
        {
            return drop(self.end_early(given_up).await);
        }
        self.complete(by.as_str()).await;
    }

    /// The whole object in one request.
    async fn put(mut self, body: Body, by: ClosedBy) {
        let shared = Arc::clone(&self.shared);
        let Shared { store, retry, metrics, .. } = &*shared;
        let put = || store.put(&self.key, &body.data);
        // What came together from several looks at the queue could not be the same object again.
        let sent = match self.pending.len() {
            1 => retry.until_handed_over(S::APIS.put, put).await,
            _ => retry.until_done(S::APIS.put, put).await,
        };
        match sent {
            Ok(()) => {
                metrics.object(body.len, by.as_str());
                self.pending.into_iter().for_each(Lease::delivered);
            }
            Err(GivenUp::HandedOver) => {
                let key = &self.key;
                self.pending.into_iter().for_each(|lease| self.shared.queue.give_back(key.clone(), lease));
            }
            Err(given_up) => {
                self.give_up(&given_up).await;
                self.pending.into_iter().for_each(|lease| lease.dropped(given_up.reason()));
            }
        }
    }

    /// One part, then lets its bytes go.
    async fn send(&mut self, body: Body) -> Result<(), GivenUp> {
        let Shared { store, retry, .. } = &*self.shared;
        let multipart = match &mut self.multipart {
            Some(multipart) => multipart,
            none => {
                let attempt = || store.create(&self.key);
                let upload = retry.until_done(S::APIS.create, attempt).await?;
                none.insert(Multipart { upload, parts: Vec::new(), bytes: 0, receipt: None })
            }
        };
        let number = u32::try_from(multipart.parts.len() + 1).unwrap_or(u32::MAX);
        let attempt = || store.part(&multipart.upload, number, &body.data);
        let part = retry.until_done(S::APIS.part, attempt).await?;
        multipart.parts.push(part);
        multipart.bytes += body.len;
        self.framed = 0;
        for lease in self.pending.drain(..) {
            self.sent += lease.bytes();
            let receipt = lease.into_receipt();
            match &mut multipart.receipt {
                Some(mine) => mine.join(receipt),
                none => *none = Some(receipt),
            }
        }
        Ok(())
    }

    /// A part was given up: its records are dropped, what came before is saved.
    async fn end_early(mut self, given_up: GivenUp) -> Option<Self> {
        self.give_up(&given_up).await;
        self.pending.drain(..).for_each(|lease| lease.dropped(given_up.reason()));
        self.complete("failure").await;
        None
    }

    /// Makes the confirmed parts an object.
    async fn complete(mut self, by: &'static str) {
        let Shared { store, retry, metrics, .. } = &*self.shared;
        let Some(Multipart { upload, parts, bytes, receipt }) = self.multipart.take() else { return };
        let Some(receipt) = receipt else {
            // Nothing was let go, so nothing is lost with it. Once: a store that is down is not waited for.
            let aborted = tokio::time::timeout(ABORT_WAIT, store.abort(upload)).await;
            return tracing::debug!(key = self.key, "an upload without parts was aborted: {aborted:?}");
        };
        let attempt = || store.complete(&upload, &parts);
        match retry.until_done(S::APIS.complete, attempt).await {
            Ok(()) => {
                metrics.object(bytes, by);
                receipt.delivered();
            }
            Err(given_up) => {
                retry.lost(receipt.count().records, &given_up);
                receipt.dropped(match given_up {
                    GivenUp::Deadline { .. } => UPLOAD_FAILED,
                    GivenUp::Rejected(reason, _) => reason,
                    GivenUp::HandedOver => UPLOAD_FAILED,
                });
            }
        }
    }

    /// Says that what is pending is given up, and leaves it to the dead letters.
    async fn give_up(&mut self, given_up: &GivenUp) {
        let records = self.pending.iter().flat_map(Lease::metas).map(|meta| meta.count.records).sum();
        self.shared.retry.lost(records, given_up);
        let Some(dead_letters) = &self.shared.dead_letters else { return };
        for lease in &mut self.pending {
            let loaded = lease.load(0..lease.blocks()).await;
            for (meta, data) in lease.metas().zip(loaded.data()) {
                dead_letters.bury_block(meta, data, given_up.reason()).await;
            }
        }
        dead_letters.durable().await;
    }

    /// The bytes of what is pending, as they go out.
    async fn body(&mut self, last: bool) -> io::Result<Body> {
        let compression = self.shared.objects.compression;
        let mut fresh = Vec::new();
        for lease in self.pending.iter_mut().skip(self.framed) {
            let loaded = lease.load(0..lease.blocks()).await;
            fresh.extend(frame::pieces(lease.metas(), loaded.data()));
        }
        if !self.shared.objects.single_frame {
            return Ok(Body::of(frame::joined(fresh, compression).await?));
        }
        self.framed = self.pending.len();
        let frame = self.frame.take();
        let (frame, out) = frame::off_reactor(move || {
            let mut frame = match frame {
                Some(frame) => frame,
                None => SingleFrame::begin(compression)?,
            };
            frame.add(&fresh)?;
            if last {
                return Ok((None, frame.finish()?));
            }
            frame.flush()?;
            let out = std::mem::take(frame.output());
            Ok((Some(frame), out.into()))
        })
        .await?;
        self.frame = frame;
        Ok(Body::of(vec![out]))
    }

    /// Puts back what was too little for a part.
    fn restore(&mut self, body: Body) {
        if let Some(frame) = &mut self.frame {
            *frame.output() = body.data.concat();
        }
    }
}

impl Body {
    pub(super) fn of(mut data: Vec<Bytes>) -> Self {
        data.retain(|piece| !piece.is_empty());
        let len = data.iter().map(|piece| piece.len() as u64).sum();
        Self { data, len }
    }
}

pub(super) fn corrupt(error: io::Error) -> GivenUp {
    let text = format!("a block does not decompress ({error}); this is a defect of logweir or of the memory");
    GivenUp::Rejected("corrupt_block", text)
}
