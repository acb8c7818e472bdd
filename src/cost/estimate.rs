//! A month's bill of a config, from what was measured of a sample, a volume and the prices of a region.

use serde::Serialize;

use super::bill::{Logs, LogsBill, Objects, ObjectsBill, Reservation};
use super::measure::{Measured, Share, Taken};
use super::traffic::{Cut, DAY, Flow};
use super::{DAYS, GB, PriceError, Region};
use crate::config::plan::{Plan, SinkKind};
use crate::encode::template::{DatePart, Template};
use crate::encode::{BLOCK_SIZE, Compression};
use crate::sink::cloudwatch_logs::request::{EVENT_OVERHEAD, LIMITS};
use crate::sink::cloudwatch_logs::{CloudWatchLogsConfig, LogClass};
use crate::sink::common::ObjectConfig;
use crate::sink::file::FileConfig;
use crate::sink::object::MEAN_AGE;
use crate::sink::s3::S3Config;

/// Blocks of a sample below which its compression is no measure of a day's.
const HONEST_BLOCKS: f64 = 4.0;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Log text a day, in bytes.
    pub volume: f64,
    /// Days that objects are kept, and events whose group does not say otherwise.
    pub retain: f64,
    /// Processes that write, each with an even part of the volume and all prefixes of the sample.
    pub tasks: f64,
    /// What each reserves on Fargate.
    pub reservation: Option<Reservation>,
}

/// The bill of a month, in USD, and what it is made of.
#[derive(Clone, Debug, Serialize)]
pub struct Estimate {
    /// Records a day.
    pub records_a_day: f64,
    /// By route, in the order of the config.
    pub routes: Vec<RouteCost>,
    /// By sink, in the order of the config.
    pub sinks: Vec<SinkCost>,
    /// What is reserved on Fargate.
    pub reserved: Option<f64>,
    /// All sinks, and what is reserved.
    pub total: f64,
    /// Everything in CloudWatch Logs: each text of `log` an event, class STANDARD, kept as long as the objects.
    pub everything: f64,
}

/// What a route does.
#[derive(Clone, Debug, Serialize)]
pub struct RouteCost {
    /// Its name.
    pub name: String,
    /// Part of all records that it takes, from 0 to 1.
    pub records: f64,
    /// Part of all text that it takes.
    pub text: f64,
    /// It has no sinks.
    pub drops: bool,
    /// By sink: its name and what it costs there. A sink that several routes lead to counts for the first.
    pub sinks: Vec<(String, f64)>,
}

/// What a sink gets and costs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SinkCost {
    /// Its name.
    pub name: String,
    /// Its `type`.
    pub kind: &'static str,
    /// Class of its log groups or objects.
    pub class: String,
    /// GB a month: ingested by CloudWatch Logs, or stored as objects.
    pub gb_a_month: f64,
    /// Bytes before compression for one after it; none for CloudWatch Logs, which bills them before.
    pub ratio: Option<f64>,
    /// Prefixes or streams that the sample has; each task writes to all of them.
    pub names: usize,
    /// Objects, or requests of PutLogEvents, a day.
    pub pieces_a_day: f64,
    /// Bytes of each, on average.
    pub piece_bytes: f64,
    /// How long it is kept.
    pub kept_days: f64,
    /// What ingestion costs.
    pub ingestion: f64,
    /// What storage costs.
    pub storage: f64,
    /// What requests cost.
    pub requests: f64,
    /// All of that.
    pub total: f64,
    /// The sample is too small to tell how well a day of it compresses.
    pub too_small: bool,
}

/// What one config costs more than another, by kind.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Kind, the first config's amount, the second's.
    pub kinds: Vec<(&'static str, f64, f64)>,
}

impl Comparison {
    /// Of two estimates of the same sample.
    pub fn of(first: &Estimate, second: &Estimate) -> Self {
        let sum = |estimate: &Estimate, of: fn(&SinkCost) -> f64| estimate.sinks.iter().map(of).sum::<f64>();
        let both = |name, of: fn(&SinkCost) -> f64| (name, sum(first, of), sum(second, of));
        let logs = |sink: &SinkCost| if sink.kind == "cloudwatch_logs" { sink.storage } else { 0.0 };
        let objects = |sink: &SinkCost| if sink.kind == "cloudwatch_logs" { 0.0 } else { sink.storage };
        let mut kinds = vec![
            both("CloudWatch Logs, ingestion", |sink| sink.ingestion),
            both("CloudWatch Logs, storage", logs),
            both("S3, storage", objects),
            both("S3, requests", |sink| sink.requests),
        ];
        if let (Some(first), Some(second)) = (first.reserved, second.reserved) {
            kinds.push(("Fargate, reserved", first, second));
        }
        kinds.push(("total", first.total, second.total));
        Self { kinds }
    }
}

/// Estimates the month of a plan. The sample must have at least one record with text.
pub fn estimate(plan: &Plan, measured: &Measured, ask: &Ask, region: &Region<'_>) -> Result<Estimate, PriceError> {
    let scale = ask.volume / measured.text.bytes as f64;
    let sinks = plan.sinks.iter().zip(&measured.sinks).map(|(sink, taken)| {
        let mut cost = match &sink.kind {
            SinkKind::CloudWatchLogs(config) => logs(config, taken, scale, ask, region)?,
            SinkKind::S3(config) => {
                let class = config.storage_class.as_deref().unwrap_or("STANDARD");
                let S3Config { prefix, object, compression, single_frame, .. } = config;
                let store = Store { prefix, object, compression: *compression, single_frame: *single_frame };
                store.cost(taken, scale, ask, Some((class, region)))?
            }
            SinkKind::File(config) => {
                let FileConfig { prefix, object, compression, single_frame, .. } = config;
                let store = Store { prefix, object, compression: *compression, single_frame: *single_frame };
                store.cost(taken, scale, ask, None)?
            }
            SinkKind::Stdout(_) => plain(taken, scale),
        };
        (cost.name, cost.kind) = (sink.name.clone(), sink.kind.type_name());
        cost.total = cost.ingestion + cost.storage + cost.requests;
        Ok(cost)
    });
    let sinks = sinks.collect::<Result<Vec<_>, PriceError>>()?;
    let reserved = ask.reservation.map(|reservation| reservation.bill(region)).transpose()?;
    let everything = everything(measured, scale, ask, region)?;
    Ok(Estimate {
        records_a_day: measured.text.records as f64 * scale,
        routes: routes(plan, measured, &sinks),
        total: sinks.iter().map(|sink| sink.total).sum::<f64>() + reserved.unwrap_or_default(),
        sinks,
        reserved,
        everything: everything.ingestion + everything.storage,
    })
}

fn everything(measured: &Measured, scale: f64, ask: &Ask, region: &Region<'_>) -> Result<LogsBill, PriceError> {
    // The line break is not part of an event.
    let bytes = measured.text.bytes + measured.text.records * (EVENT_OVERHEAD - 1);
    let bytes = bytes as f64 * scale * DAYS;
    Logs { bytes, class: LogClass::Standard, kept_days: ask.retain }.bill(region)
}

fn routes(plan: &Plan, measured: &Measured, sinks: &[SinkCost]) -> Vec<RouteCost> {
    let of = |part: u64, all: u64| if all == 0 { 0.0 } else { part as f64 / all as f64 };
    let routes = plan.routes.iter().zip(&measured.routes).enumerate();
    let route = routes.map(|(at, (route, matched))| {
        let cost = |sink: &usize| {
            let taken = &measured.sinks[*sink].routes;
            let all: u64 = taken.values().map(|amount| amount.bytes).sum();
            let part = taken.get(&at).map_or(0, |amount| amount.bytes);
            (sinks[*sink].name.clone(), sinks[*sink].total * of(part, all))
        };
        RouteCost {
            name: route.name.clone(),
            records: of(matched.records, measured.text.records),
            text: of(matched.bytes, measured.text.bytes),
            drops: route.sinks.is_empty(),
            sinks: route.sinks.iter().map(cost).collect(),
        }
    });
    route.collect()
}

/// What a writer's part of a share is, by second.
fn flow(share: &Share, bytes: f64, scale: f64, tasks: f64) -> Flow {
    let each = scale / tasks / DAY;
    Flow { records: share.plain.records as f64 * each, bytes: bytes * each }
}

fn logs(
    config: &CloudWatchLogsConfig,
    taken: &Taken,
    scale: f64,
    ask: &Ask,
    region: &Region<'_>,
) -> Result<SinkCost, PriceError> {
    let plain: u64 = taken.partitions.values().map(|share| share.plain.bytes).sum();
    let kept_days = config.create.retention_days.map_or(ask.retain, f64::from);
    let month = plain as f64 * scale * DAYS;
    let bill = Logs { bytes: month, class: config.create.class, kept_days }.bill(region)?;
    let requests = |share: &Share| {
        let Flow { records, bytes } = flow(share, share.plain.bytes as f64, scale, ask.tasks);
        let events = records * share.events as f64 / share.plain.records.max(1) as f64;
        let cut = Cut {
            size: LIMITS.bytes as f64,
            records: LIMITS.events as f64,
            age: config.batch.age.0.as_secs_f64(),
            bucket: f64::INFINITY,
        };
        Flow { records: events, bytes }.pieces(&cut) * ask.tasks
    };
    let pieces_a_day: f64 = taken.partitions.values().map(requests).sum();
    Ok(SinkCost {
        class: match config.create.class {
            LogClass::Standard => "STANDARD".into(),
            LogClass::InfrequentAccess => "INFREQUENT_ACCESS".into(),
        },
        gb_a_month: month / GB,
        names: taken.partitions.len(),
        pieces_a_day,
        piece_bytes: if pieces_a_day > 0.0 { plain as f64 * scale / pieces_a_day } else { 0.0 },
        kept_days,
        ingestion: bill.ingestion,
        storage: bill.storage,
        ..SinkCost::default()
    })
}

/// How a sink makes objects.
struct Store<'a> {
    prefix: &'a str,
    object: &'a ObjectConfig,
    compression: Compression,
    single_frame: bool,
}

impl Store<'_> {
    fn cost(
        &self,
        taken: &Taken,
        scale: f64,
        ask: &Ask,
        bill: Option<(&str, &Region<'_>)>,
    ) -> Result<SinkCost, PriceError> {
        let (mut plain, mut stored) = (0.0, 0.0);
        let mut cost = SinkCost { kept_days: ask.retain, ..SinkCost::default() };
        for share in taken.partitions.values() {
            let (compressed, too_small) = self.compressed(share, scale, ask);
            let flow = flow(share, compressed, scale, ask.tasks);
            let pieces = flow.pieces(&self.cut()) * ask.tasks;
            let day = compressed * scale;
            plain += share.plain.bytes as f64;
            stored += compressed;
            cost.too_small |= too_small;
            cost.pieces_a_day += pieces;
            if let Some((class, region)) = bill {
                let objects = Objects { count: pieces * DAYS, size: day / pieces, class, kept_days: ask.retain };
                let ObjectsBill { storage, requests } = objects.bill(region)?;
                cost.storage += storage;
                cost.requests += requests;
            }
        }
        let day = stored * scale;
        cost.class = bill.map(|(class, _)| class.to_owned()).unwrap_or_default();
        cost.gb_a_month = day * DAYS / GB;
        cost.ratio = (stored > 0.0).then_some(plain / stored);
        cost.names = taken.partitions.len();
        cost.piece_bytes = if cost.pieces_a_day > 0.0 { day / cost.pieces_a_day } else { 0.0 };
        Ok(cost)
    }

    /// Bytes of the sample in blocks as large as a writer would have them, and whether it fills too few of these.
    fn compressed(&self, share: &Share, scale: f64, ask: &Ask) -> (f64, bool) {
        let plain = flow(share, share.plain.bytes as f64, scale, ask.tasks);
        let open = self.object.age.0.as_secs_f64().min(self.cut().bucket);
        let most = if self.single_frame { f64::INFINITY } else { BLOCK_SIZE as f64 };
        let block = (plain.bytes * open).clamp(1.0, most);
        let too_small = self.compression != Compression::None
            && (share.plain.bytes as f64) < HONEST_BLOCKS * block.min(BLOCK_SIZE as f64);
        (share.stored(self.compression, block as usize) as f64, too_small)
    }

    fn cut(&self) -> Cut {
        let prefix = Template::parse(self.prefix).expect("the plan has parsed this template before");
        let bucket = match prefix.finest() {
            Some(DatePart::Minute) => 60.0,
            Some(DatePart::Hour) => 3600.0,
            Some(DatePart::Day) => DAY,
            Some(DatePart::Month | DatePart::Year) => DAYS * DAY,
            None => f64::INFINITY,
        };
        let (size, age) = (self.object.size.0 as f64, MEAN_AGE * self.object.age.0.as_secs_f64());
        Cut { size, records: f64::INFINITY, age, bucket }
    }
}

/// What is printed costs nothing.
fn plain(taken: &Taken, scale: f64) -> SinkCost {
    let plain: u64 = taken.partitions.values().map(|share| share.plain.bytes).sum();
    SinkCost { gb_a_month: plain as f64 * scale * DAYS / GB, ..SinkCost::default() }
}
