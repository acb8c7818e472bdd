//! An object whose blocks are on disk: cut first, then sent, by parts if it is large, and its blocks kept until it is
//! confirmed.
//!
//! The cut (key and blocks) is durable before anything is sent. After a crash the same blocks go out under the same key
//! again, so whatever of it has arrived, in the end there is one object with each record once.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::frame::{self, SingleFrame};
use super::upload::{ABORT_WAIT, Body, Shared, corrupt};
use super::{MAX_PARTS, NO_SUCH_UPLOAD, ObjectStore};
use crate::encode::Compression;
use crate::sink::retry::GivenUp;
use crate::spool::{Lease, Loaded};

/// How often an object is begun whose uploads somebody aborts.
const UPLOADS: u32 = 3;

/// An object on its way.
pub(super) struct Whole<S: ObjectStore> {
    shared: Arc<Shared<S>>,
    key: String,
    lease: Lease,
    /// The last process cut it, and may have begun this upload.
    before: Option<Option<String>>,
}

impl<S: ObjectStore> Whole<S> {
    /// An object that begins now.
    pub(super) fn new(shared: Arc<Shared<S>>, key: String, lease: Lease) -> Self {
        Self { shared, key, lease, before: None }
    }

    /// One that the last process, or the last task, did not finish.
    pub(super) fn again(shared: Arc<Shared<S>>, key: String, upload: Option<String>, lease: Lease) -> Self {
        Self { shared, key, lease, before: Some(upload) }
    }

    /// Sends it, or gives it up.
    pub(super) async fn send(mut self, by: &'static str) {
        match self.before.take() {
            Some(id) => self.abort_old(id.as_deref()).await,
            None => {
                let cut = self.shared.queue.cut(&self.key, &self.lease).await;
                if !cut {
                    self.shared.metrics.event("object_not_journaled", 1);
                }
            }
        }
        let mut sent = self.try_send().await;
        for _ in 1..UPLOADS {
            match sent {
                // The blocks are still here: begun anew, under the same key.
                Err(GivenUp::Rejected(NO_SUCH_UPLOAD, _)) => sent = self.try_send().await,
                _ => break,
            }
        }
        match sent {
            Ok(bytes) => {
                self.shared.metrics.object(bytes, by);
                self.lease.delivered();
            }
            Err(GivenUp::HandedOver) => self.shared.queue.give_back(self.key, self.lease),
            Err(given_up) => {
                self.give_up(&given_up).await;
                self.lease.dropped(given_up.reason());
            }
        }
    }

    /// Says that the object is given up, and leaves its records to the dead letters.
    async fn give_up(&mut self, given_up: &GivenUp) {
        let records = self.lease.metas().map(|meta| meta.count.records).sum();
        self.shared.retry.lost(records, given_up);
        let Some(dead_letters) = &self.shared.dead_letters else { return };
        for at in 0..self.lease.blocks() {
            let loaded = self.lease.load(at..at + 1).await;
            for (meta, data) in self.lease.metas().skip(at).zip(loaded.data()) {
                dead_letters.bury_block(meta, data, given_up.reason()).await;
            }
        }
        dead_letters.durable().await;
    }

    /// Once: what stays of it costs money and nothing else, and a lifecycle rule of the bucket removes it.
    async fn abort_old(&self, id: Option<&str>) {
        // What fits into one request was no upload.
        if id.is_some() || self.lease.bytes() >= self.shared.limits.part {
            let abort = self.shared.store.abort_unfinished(&self.key, id);
            let _ = tokio::time::timeout(ABORT_WAIT, abort).await;
        }
    }

    /// Sends it; its bytes as sent.
    async fn try_send(&mut self) -> Result<u64, GivenUp> {
        let shared = Arc::clone(&self.shared);
        let mut bodies = Bodies::new(&shared, &self.key, &self.lease);
        let first = bodies.next(&mut self.lease).await.map_err(corrupt)?;
        let len = first.body.len;
        if first.last && len == 0 {
            // Nothing of it could be read any more.
            return Ok(0);
        }
        if first.last {
            let attempt = || shared.store.put(&self.key, &first.body.data);
            shared.retry.until_handed_over(S::APIS.put, attempt).await?;
            return Ok(len);
        }
        let upload = shared.retry.until_handed_over(S::APIS.create, || shared.store.create(&self.key)).await?;
        if let Some(id) = S::id(&upload) {
            shared.queue.note_upload(self.lease.first(), id);
        }
        match self.send_parts(&upload, bodies, first).await {
            Ok(bytes) => Ok(bytes),
            Err(given_up) => {
                let _ = tokio::time::timeout(ABORT_WAIT, shared.store.abort(upload)).await;
                Err(given_up)
            }
        }
    }

    async fn send_parts(&mut self, upload: &S::Upload, mut bodies: Bodies, first: Part) -> Result<u64, GivenUp> {
        let shared = Arc::clone(&self.shared);
        let (mut parts, mut bytes, mut part) = (Vec::new(), 0, first);
        loop {
            let number = u32::try_from(parts.len() + 1).unwrap_or(u32::MAX);
            let attempt = || shared.store.part(upload, number, &part.body.data);
            parts.push(shared.retry.until_handed_over(S::APIS.part, attempt).await?);
            bytes += part.body.len;
            if part.last {
                break;
            }
            drop(part);
            part = bodies.next(&mut self.lease).await.map_err(corrupt)?;
        }
        let attempt = || shared.store.complete(upload, &parts);
        shared.retry.until_handed_over(S::APIS.complete, attempt).await?;
        Ok(bytes)
    }
}

/// Bytes for one request, and what they count for in the queue.
struct Part {
    body: Body,
    last: bool,
    _loaded: Vec<Loaded>,
}

/// The bodies of an object, read from disk as they are wanted. The same blocks give the same bodies.
struct Bodies {
    compression: Compression,
    frame: Option<SingleFrame>,
    single_frame: bool,
    /// Bytes of a part, at least.
    part: u64,
    /// The next block.
    at: usize,
}

impl Bodies {
    fn new<S>(shared: &Shared<S>, key: &str, lease: &Lease) -> Self {
        // However large an object is, it has fewer parts than a store takes.
        let part = shared.limits.part.max(lease.bytes() / (MAX_PARTS as u64 * 9 / 10));
        let objects = &shared.objects;
        // An object of the last process, or the last task, keeps its name though the config has changed.
        let compression = match key.ends_with(&objects.extension) {
            true => objects.compression,
            false => Compression::of(key),
        };
        Self { compression, frame: None, single_frame: objects.single_frame, part, at: 0 }
    }

    /// The next body: a part's worth, or what is left.
    async fn next(&mut self, lease: &mut Lease) -> io::Result<Part> {
        let (mut data, mut len, mut held) = (Vec::new(), 0u64, Vec::new());
        let all = lease.blocks();
        while self.at < all && len < self.part {
            let loaded = lease.load(self.window(lease, self.part - len)).await;
            let metas = lease.metas().skip(self.at);
            let pieces = frame::pieces(metas, loaded.data());
            self.at += loaded.data().len();
            let more = match self.single_frame {
                true => vec![self.grow(pieces, self.at == all).await?],
                false => frame::joined(pieces, self.compression).await?,
            };
            len += more.iter().map(|piece| piece.len() as u64).sum::<u64>();
            data.extend(more);
            held.push(loaded);
        }
        Ok(Part { body: Body::of(data), last: self.at == all, _loaded: held })
    }

    /// The next blocks of about so many bytes, at least one.
    fn window(&self, lease: &Lease, bytes: u64) -> std::ops::Range<usize> {
        let mut sum = 0;
        let within = |len: &u64| {
            sum += len;
            sum <= bytes
        };
        let blocks = lease.lens().skip(self.at).take_while(within).count();
        self.at..self.at + blocks.max(1)
    }

    /// Compresses blocks into the one frame of the object; what of it is ready.
    async fn grow(&mut self, pieces: Vec<frame::Piece>, last: bool) -> io::Result<Bytes> {
        let (frame, compression) = (self.frame.take(), self.compression);
        let (frame, out) = frame::off_reactor(move || {
            let mut frame = match frame {
                Some(frame) => frame,
                None => SingleFrame::begin(compression)?,
            };
            frame.add(&pieces)?;
            if last {
                return Ok((None, frame.finish()?));
            }
            let out = std::mem::take(frame.output());
            Ok((Some(frame), out.into()))
        })
        .await?;
        self.frame = frame;
        Ok(out)
    }
}
