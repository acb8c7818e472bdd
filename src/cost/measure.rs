//! A sample through a config's own join, rules, names, encoders and compression: what each sink would get of it.
//!
//! What is measured is bytes; how fast they come is `traffic`'s affair. All records are named as of one moment, so that
//! prefixes with dates are counted once: `traffic` knows how often they change.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::plan::{Metadata, Plan, SourceKind};
use crate::encode::entries::entries;
use crate::encode::{Compression, Encoder, Partition, Partitioner};
use crate::record::msgpack::{Reader, Value};
use crate::record::{EcsMetadata, Record, RecordBatch, UnixNanos};
use crate::route::{Decision, Router};
use crate::sink::cloudwatch_logs::request::EVENT_OVERHEAD;
use crate::source::join::Joiner;

/// The moment that names are rendered for.
const NAMED: UnixNanos = 1_795_343_400_000_000_000;

/// Records and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Records, after the join.
    pub records: u64,
    /// Bytes, of what the owner says.
    pub bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.records += 1;
        self.bytes += bytes;
    }
}

/// What a sample comes to under a config.
#[derive(Debug)]
pub struct Measured {
    /// All of it, as the applications wrote it: the texts of `log` with a line break each.
    pub text: Amount,
    /// By route: what matched, as in `text`.
    pub routes: Vec<Amount>,
    /// By sink.
    pub sinks: Vec<Taken>,
}

/// What one sink takes.
#[derive(Debug, Default)]
pub struct Taken {
    /// By name of the prefix or stream.
    pub partitions: BTreeMap<Partition, Share>,
    /// By route, that which sent the record here first: bytes as encoded.
    pub routes: BTreeMap<usize, Amount>,
}

/// What one prefix or stream takes.
#[derive(Debug, Default)]
pub struct Share {
    /// Records, and their bytes before compression: lines, or messages and 26 bytes each as PutLogEvents counts them.
    pub plain: Amount,
    /// Events of CloudWatch Logs: more than records where messages were split.
    pub events: u64,
    /// The lines, and where each ends; empty for CloudWatch Logs.
    lines: Vec<u8>,
    ends: Vec<usize>,
}

impl Share {
    /// Bytes after compression in blocks of this size.
    pub fn stored(&self, compression: Compression, block: usize) -> u64 {
        let (mut stored, mut start) = (0, 0);
        for (at, &end) in self.ends.iter().enumerate() {
            if end - start >= block || at + 1 == self.ends.len() {
                stored += compression.compress(&self.lines[start..end]).len() as u64;
                start = end;
            }
        }
        stored
    }
}

/// The parts of a plan that a record passes.
struct Bench<'a> {
    plan: &'a Plan,
    router: Router,
    sinks: Vec<(Partitioner, Encoder)>,
    ecs: Option<Arc<EcsMetadata>>,
    source: &'a str,
    decision: Decision,
    buffer: Vec<u8>,
    found: Measured,
}

/// Measures a sample that comes in at this source of the plan.
pub fn measure(plan: &Plan, source: &str, sample: Vec<RecordBatch>) -> Measured {
    let join = plan.sources.iter().find(|plan| plan.name == source).map(|source| match &source.kind {
        SourceKind::Forward(config) => &config.join,
    });
    let mut joiner = join.filter(|join| join.enabled).map(Joiner::new);
    let mut bench = Bench {
        plan,
        router: Router::compile(&plan.routes, plan.levels.clone()).expect("a plan's conditions compile"),
        sinks: plan.sinks.iter().map(|sink| (sink.kind.partitioner(&plan.levels), sink.kind.encoder())).collect(),
        ecs: (plan.metadata == Metadata::Ecs).then(|| Arc::new(usual_metadata())),
        source,
        decision: Decision::default(),
        buffer: Vec::new(),
        found: Measured {
            text: Amount::default(),
            routes: vec![Amount::default(); plan.routes.len()],
            sinks: plan.sinks.iter().map(|_| Taken::default()).collect(),
        },
    };
    for batch in sample {
        match &mut joiner {
            // No time passes: a part waits until the end for those that complete it.
            Some(joiner) => joiner.join(batch, Duration::ZERO, &mut |batch| bench.take(&batch)),
            None => bench.take(&batch),
        }
    }
    if let Some(joiner) = &mut joiner {
        joiner.flush(&mut |batch| bench.take(&batch));
    }
    bench.found
}

/// As long as they are on ECS.
fn usual_metadata() -> EcsMetadata {
    EcsMetadata {
        cluster: "production".into(),
        task_arn: "arn:aws:ecs:ap-northeast-1:111122223333:task/production/0123456789abcdef0123456789abcdef".into(),
        task_definition: "application:42".into(),
    }
}

impl Bench<'_> {
    fn take(&mut self, batch: &RecordBatch) {
        for &span in &batch.records {
            let ecs = self.ecs.clone();
            let (tag, map) = (&batch.tag, batch.map(span));
            let record = Record {
                tag,
                source: self.source,
                time: span.time,
                received: span.time,
                map,
                ecs: ecs.as_ref(),
                json: Default::default(),
            };
            self.record(&record);
        }
    }

    fn record(&mut self, record: &Record<'_>) {
        let text = text_len(record.map);
        self.found.text.add(text);
        self.router.decide(record, &mut self.decision);
        for route in &self.decision.routes {
            self.found.routes[usize::from(*route)].add(text);
        }
        for &sink in &self.decision.sinks {
            let sink = usize::from(sink);
            let mut routes = self.decision.routes.iter().map(|route| usize::from(*route));
            let first = routes.find(|route| self.plan.routes[*route].sinks.contains(&sink));
            let (partitioner, encoder) = &mut self.sinks[sink];
            let named = Record { time: NAMED, received: NAMED, json: record.json.clone(), ..*record };
            let (partition, _) = partitioner.partition(&named);
            let taken = &mut self.found.sinks[sink];
            self.buffer.clear();
            if encoder.encode(record, &mut self.buffer).malformed > 0 {
                // The router drops it, too.
                continue;
            }
            if !taken.partitions.contains_key(&**partition) {
                taken.partitions.insert(Partition::clone(partition), Share::default());
            }
            let share = taken.partitions.get_mut(&**partition).expect("it was put there if it was not");
            let bytes = share.add(encoder, &self.buffer);
            taken.routes.entry(first.unwrap_or_default()).or_default().add(bytes);
        }
    }
}

impl Share {
    fn add(&mut self, encoder: &Encoder, encoded: &[u8]) -> u64 {
        let bytes = match encoder {
            Encoder::Ndjson(_) => {
                self.lines.extend_from_slice(encoded);
                self.ends.push(self.lines.len());
                encoded.len() as u64
            }
            Encoder::Entries(_) => entries(encoded).fold(0, |bytes, entry| {
                self.events += 1;
                bytes + u64::from(entry.message_len) + EVENT_OVERHEAD
            }),
        };
        self.plain.add(bytes);
        bytes
    }
}

/// Bytes of a record as its application wrote it: the text of `log` and a line break; of a record without one, all of
/// its msgpack.
fn text_len(map: &[u8]) -> u64 {
    let mut reader = Reader::new(map);
    let mut find = || {
        let Value::Map(len) = reader.read().ok()? else { return None };
        for _ in 0..len {
            let is_log = Reader::new(reader.skip().ok()?).read().ok()?.text() == Some(b"log");
            let value = reader.skip().ok()?;
            if is_log {
                return Reader::new(value).read().ok()?.text().map(|text| text.len() as u64 + 1);
            }
        }
        None
    };
    find().unwrap_or(map.len() as u64)
}
