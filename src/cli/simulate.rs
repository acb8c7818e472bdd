//! One record through the rules and the names, as `run` would take it, without sources and sinks.

use crate::cli::record_json;
use crate::config::Plan;
use crate::encode::partition::NameNotes;
use crate::encode::{Partition, Partitioner};
use crate::record::{Record, Tag, UnixNanos};
use crate::route::{Decision, Explanation, Router};

/// A record that needs no socket.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) tag: Tag,
    pub(crate) source: String,
    pub(crate) time: UnixNanos,
    map: Vec<u8>,
}

impl Sample {
    /// From its parts; the record is a JSON object.
    pub(crate) fn new(
        tag: &str,
        source: &str,
        time: UnixNanos,
        record: &serde_json::Map<String, serde_json::Value>,
    ) -> Self {
        let mut map = Vec::new();
        record_json::write_map(record, &mut map);
        Self { tag: Tag::from(tag), source: source.to_owned(), time, map }
    }

    /// As rules and encoders see it. It was received when it was made, so that its time chooses its names.
    pub(crate) fn record(&self) -> Record<'_> {
        Record {
            tag: &self.tag,
            source: &self.source,
            time: self.time,
            received: self.time,
            map: &self.map,
            ecs: None,
            json: Default::default(),
        }
    }
}

/// Where a record goes.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Names of the routes that match, in order.
    pub(crate) routes: Vec<String>,
    /// Sinks that take it.
    pub(crate) sinks: Vec<Arrival>,
}

/// A record at its sink.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The sink's name.
    pub(crate) sink: String,
    /// Its `type`.
    pub(crate) kind: &'static str,
    /// What its templates give: a key prefix, or `group:stream` (neither may hold a colon); empty without templates.
    pub(crate) name: String,
    /// What was replaced in the name.
    pub(crate) notes: NameNotes,
    /// The sink that takes it instead when this one is full.
    pub(crate) divert: Option<String>,
}

/// A plan's rules and templates, compiled.
#[derive(Debug)]
pub(crate) struct Simulation {
    plan: Plan,
    router: Router,
    partitioners: Vec<Partitioner>,
}

impl Simulation {
    /// Compiles what the plan has checked.
    pub(crate) fn new(plan: Plan) -> Self {
        let router = Router::compile(&plan.routes, plan.levels.clone()).expect("a plan's conditions compile");
        let partitioners = plan.sinks.iter().map(|sink| sink.kind.partitioner(&plan.levels)).collect();
        Self { plan, router, partitioners }
    }

    /// The plan.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Why a record goes where it goes.
    pub(crate) fn explain(&self, sample: &Sample) -> Explanation {
        self.router.explain(&sample.record())
    }

    /// Where a record goes.
    pub(crate) fn run(&mut self, sample: &Sample) -> Outcome {
        let record = sample.record();
        let mut decision = Decision::default();
        self.router.decide(&record, &mut decision);
        let plan = &self.plan;
        let routes = decision.routes.iter().map(|route| plan.routes[usize::from(*route)].name.clone()).collect();
        let mut sinks = Vec::new();
        for index in decision.sinks.iter().map(|sink| usize::from(*sink)) {
            let (partition, notes) = self.partitioners[index].partition(&record);
            let sink = &plan.sinks[index];
            let divert = sink.divert.and_then(|to| plan.sinks.get(to)).map(|to| to.name.clone());
            let (name, kind) = (name(partition), sink.kind.type_name());
            sinks.push(Arrival { sink: sink.name.clone(), kind, name, notes, divert });
        }
        Outcome { routes, sinks }
    }
}

fn name(partition: &Partition) -> String {
    match partition {
        Partition::Prefix(prefix) => prefix.to_string(),
        Partition::Stream { group, stream } => format!("{group}:{stream}"),
        Partition::Whole => String::new(),
    }
}
