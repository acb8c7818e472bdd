//! One flight: blocks of one stream, made into requests, sent one after the other, settled once.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::body::{Bodies, Body, Target};
use super::client::Logs;
use super::config::CloudWatchLogsConfig;
use super::create::{Creator, blames_names, describe};
use super::request::{Batch, LIMITS, RejectedInfo, Rejects, plan};
use crate::aws::{Access, Class, Failure};
use crate::clock::Clock;
use crate::encode::letter::{Data, Letter, Origin};
use crate::seldom::Seldom;
use crate::sink::object::Attempt;
use crate::sink::retry::{GivenUp, Retry};
use crate::sink::{DeadLetters, SinkContext};
use crate::spool::Lease;

/// What all flights of a sink share.
#[derive(Debug)]
pub(super) struct Delivery {
    sink: Arc<str>,
    clock: Clock,
    logs: Arc<Logs>,
    bodies: Arc<Bodies>,
    creator: Creator,
    retry: Retry,
    refused: Seldom,
    dead_letters: Option<DeadLetters>,
}

/// What a flight carried: for the size of the next ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carried {
    /// Bytes of its blocks.
    pub(super) block_bytes: u64,
    /// What AWS counted for them.
    pub(super) request_bytes: u64,
}

/// Requests of one flight that AWS may refuse before the rest of what it refuses is dropped unsplit. To find one event
/// among 10,000 takes 14, so this finds a dozen and more; a request that is refused for what all of it has in common
/// does not become 20,000.
const REFUSALS: u32 = 256;

/// How AWS took a request.
enum Answer {
    /// It has the events, but for these.
    Taken(RejectedInfo),
    /// It has none of them, for some of them are not as they must be, or are too many: a reason and AWS's words. Parts
    /// of the request may do better.
    Refused(&'static str, String),
}

impl Delivery {
    /// For the sink with this context.
    pub(super) fn new(context: &SinkContext, config: &CloudWatchLogsConfig, access: Access) -> Arc<Self> {
        Arc::new(Self {
            sink: Arc::clone(&context.name),
            clock: context.clock,
            logs: Arc::new(Logs::new(config, access, context.metrics.clone())),
            bodies: Bodies::new(config.compression, context.queue.fill_level().1),
            creator: Creator::new(&context.name, config.create.clone()),
            retry: Retry::new(context, config.retry.clone()),
            refused: Seldom::default(),
            dead_letters: context.dead_letters.clone(),
        })
    }

    /// Delivers what is leased, or counts why not. When it is cancelled, the lease counts its records as abandoned.
    pub(super) async fn fly(self: Arc<Self>, target: Arc<Target>, mut lease: Lease) -> Carried {
        let loaded = lease.load(0..lease.blocks()).await;
        let blocks: Arc<[Bytes]> = loaded.data().into();
        let now_millis = self.clock.unix() / 1_000_000;
        let plan = plan(&blocks, now_millis, LIMITS);
        let mut rejects = plan.rejects;
        self.tell(&target, &rejects);
        let carried =
            Carried { block_bytes: lease.bytes(), request_bytes: plan.batches.iter().map(Batch::bytes).sum() };
        let mut batches = VecDeque::from(plan.batches);
        let (mut refusals, mut fresh) = (0, true);
        // Ends: each turn takes a batch away, or puts two smaller ones in its place.
        while let Some(batch) = batches.pop_front() {
            let batch = Arc::new(batch);
            let body = self.bodies.build(&target, &blocks, Arc::clone(&batch)).await;
            let batch = Arc::unwrap_or_clone(batch);
            let put = || self.put(&target, &body);
            // What AWS has of a flight is not sent again.
            let sent = match fresh {
                true => self.retry.until_handed_over("PutLogEvents", put).await,
                false => self.retry.until_done("PutLogEvents", put).await,
            };
            fresh = false;
            match sent {
                Ok(Answer::Taken(info)) => {
                    let refused = batch.rejects(info);
                    self.tell(&target, &refused);
                    rejects.join(refused);
                }
                Ok(Answer::Refused(reason, text)) => {
                    let count = batch.count();
                    let halves = if refusals < REFUSALS { batch.split() } else { None };
                    refusals += 1;
                    match halves {
                        Some((left, right)) => {
                            batches.push_front(right);
                            batches.push_front(left);
                        }
                        None => {
                            self.retry.lost(count.records, &GivenUp::Rejected(reason, text));
                            rejects.join(batch.rejected(reason));
                        }
                    }
                }
                Err(GivenUp::HandedOver) => {
                    drop(loaded);
                    lease.queue().give_back(String::new(), lease);
                    return Carried::default();
                }
                Err(given_up) => {
                    self.retry.lost(batch.count().records, &given_up);
                    rejects.join(batch.rejected(given_up.reason()));
                }
            }
        }
        self.bury(&target, &rejects, &blocks).await;
        drop((blocks, loaded));
        lease.into_receipt().settled(&rejects.counts());
        carried
    }

    /// After the last flight: ends what goes on beside the records.
    pub(super) async fn finish(&self) {
        self.creator.finish().await;
    }

    /// One attempt; what is missing is created on the way.
    async fn put(&self, target: &Target, body: &Body) -> Attempt<Answer> {
        let asked = Instant::now();
        let mut failure = match self.logs.put(target, body).await {
            Ok(info) => return Attempt::Done(Answer::Taken(info)),
            Err(failure) => failure,
        };
        if failure.code == "ResourceNotFoundException" {
            match self.creator.ensure(&self.logs, target, asked).await {
                Attempt::Done(()) => {}
                Attempt::Retry(after, text) => return Attempt::Retry(after, text),
                Attempt::Rejected(reason, text) => return Attempt::Rejected(reason, text),
            }
            failure = match self.logs.put(target, body).await {
                Ok(info) => return Attempt::Done(Answer::Taken(info)),
                Err(failure) => failure,
            };
        }
        judge(target, failure)
    }

    /// Leaves what is given up to the dead letters, each record whole.
    async fn bury(&self, target: &Target, rejects: &Rejects, blocks: &[Bytes]) {
        let Some(dead_letters) = self.dead_letters.as_ref().filter(|_| !rejects.is_empty()) else { return };
        {
            let undelivered = rejects.undelivered(blocks);
            let letters = undelivered.iter().map(|record| Letter {
                reason: record.reason,
                record_time: Some(record.millis.saturating_mul(1_000_000)),
                bytes: record.source_len.into(),
                data: Data::Escaped(&record.escaped),
            });
            dead_letters.bury(Origin::Stream { group: &target.group, stream: &target.stream }, letters);
        }
        dead_letters.durable().await;
    }

    fn tell(&self, target: &Target, rejects: &Rejects) {
        for (reason, count) in rejects.counts() {
            if let Some(silent) = self.refused.line() {
                let given_up = GivenUp::Rejected(reason, format!("{}: {}", describe(target), explain(reason)));
                tracing::warn!(sink = %self.sink, reason, records = count.records, silent, "records dropped: {given_up}");
            }
        }
    }
}

/// Why CloudWatch Logs does not keep an event, and what to do.
fn explain(reason: &str) -> &'static str {
    match reason {
        "too_old" => "CloudWatch Logs takes no events older than 14 days; send old records to S3",
        "too_new" => "CloudWatch Logs takes no events more than 2 hours ahead; check the sender's clock",
        "expired" => "they are older than the group's retention; lengthen it, or send old records to S3",
        "too_large" => "CloudWatch Logs takes no event above 1 MiB; send large records to S3",
        _ => "CloudWatch Logs takes no empty events",
    }
}

/// What becomes of a failed attempt.
fn judge(target: &Target, failure: Failure) -> Attempt<Answer> {
    let text = format!("{}: {}", describe(target), failure.text);
    match &*failure.code {
        // The events are there.
        "DataAlreadyAcceptedException" => Attempt::Done(Answer::Taken(RejectedInfo::default())),
        // AWS has no code of its own for it; the text is "Upload too large: N bytes exceeds limit of 1048576".
        "InvalidParameterException" if failure.text.contains("too large") => {
            Attempt::Done(Answer::Refused("too_large", text))
        }
        // All events have these in common.
        "InvalidParameterException" if blames_names(&failure) => Attempt::Rejected("rejected", text),
        "InvalidParameterException" | "SerializationException" | "ValidationException" => {
            Attempt::Done(Answer::Refused("rejected", text))
        }
        _ if failure.status == 413 => Attempt::Done(Answer::Refused("too_large", text)),
        _ if failure.class == Class::Denied => {
            Attempt::Retry(failure.retry_after, format!("{text}; allow logs:PutLogEvents to the task's role"))
        }
        _ => Attempt::Retry(failure.retry_after, text),
    }
}
