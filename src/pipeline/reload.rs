//! Another plan for a running pipeline. All that can fail is done first: then either the new plan runs, or the old one
//! goes on as if nothing had been.
//!
//! In the order of the change: addresses are bound and queues opened; the workers go by the new rules, and what they
//! had open for sinks that are different is sealed; sinks take over, begin or leave; sources take their new settings,
//! begin or leave. A record is routed by one plan or the other, never by both.

use thiserror::Error;

use super::build::{BuildError, delivering_after, refuse_without_aws};
use super::drain::Running;
use crate::config::Problems;
use crate::config::plan::{MemoryOrigin, Plan, SpoolPlan};

/// Why a plan cannot take the place of the one that runs.
#[derive(Debug, Error)]
enum ReloadError {
    /// What only the start of the process sets up is different.
    #[error("{} cannot change while logweir runs; restart it to have the new config, or take that back", .0.join(", "))]
    Restart(Vec<&'static str>),
    /// A part of it cannot be made.
    #[error(transparent)]
    Build(#[from] BuildError),
}

impl Running {
    /// Goes over to the plan, if there is one and it can be had; otherwise says why not. Not to be cancelled.
    pub(super) async fn reload(&mut self, plan: Result<Plan, Problems>) {
        let failed = match plan {
            Ok(plan) => match self.try_reload(plan).await {
                Ok(()) => None,
                Err(error) => Some(format!("error: {error}")),
            },
            Err(problems) => Some(problems.to_string()),
        };
        match failed {
            None => {
                self.common.metrics.reload("ok");
                tracing::info!("the config is reloaded; its fingerprint is {}", self.plan.fingerprint);
            }
            Some(why) => {
                self.common.metrics.reload("failed");
                self.state.reloads.failed(&why);
                tracing::error!("the config is not reloaded, the one before it goes on\n{why}");
            }
        }
    }

    async fn try_reload(&mut self, plan: Plan) -> Result<(), ReloadError> {
        let restart = needs_restart(&self.plan, &plan);
        if !restart.is_empty() {
            return Err(ReloadError::Restart(restart));
        }
        refuse_without_aws(&plan)?;
        let ready = self.sources.bind(&plan)?;
        let queues = self.sinks.open(&plan).await?;

        for warning in &plan.warnings {
            tracing::warn!("{warning}");
        }
        let rules = || self.common.rules(&plan, &queues);
        self.sources.change_rules(&plan, rules, &kept(&self.plan, &plan));
        self.sinks.run(&plan);
        self.sources.announce(&ready);
        self.sources.run(ready, rules, plan.drain).await;
        self.state.reloads.succeeded(plan.fingerprint.clone(), delivering_after(&plan));
        self.plan = plan;
        Ok(())
    }
}

/// By sink of the new plan: the sink of the old one whose open blocks may go on growing.
fn kept(old: &Plan, new: &Plan) -> Vec<Option<usize>> {
    let same_levels = old.levels == new.levels;
    let place = |name: &str, kind: &_| old.sinks.iter().position(|sink| sink.name == name && sink.kind == *kind);
    new.sinks.iter().map(|sink| place(&sink.name, &sink.kind).filter(|_| same_levels)).collect()
}

/// The keys that differ and that only the start of the process heeds.
fn needs_restart(old: &Plan, new: &Plan) -> Vec<&'static str> {
    let quota_of_all = |plan: &Plan| match &plan.spool {
        SpoolPlan::Memory => None,
        SpoolPlan::Disk { path, quota } => Some((path.clone(), *quota * plan.sinks.len().max(1) as u64)),
    };
    // The division leaves less than a byte a sink.
    let same_spool = match (quota_of_all(old), quota_of_all(new)) {
        (Some((path, size)), Some((other, other_size))) => {
            path == other && size.abs_diff(other_size) <= (old.sinks.len() + new.sinks.len()) as u64
        }
        (None, None) => true,
        _ => false,
    };
    let asked = |plan: &Plan| plan.memory.origin == MemoryOrigin::Config;
    // What the cgroup allows may change, and nobody has changed the config.
    let same_memory = asked(old) == asked(new) && (!asked(new) || old.memory.total == new.memory.total);
    let letters = |plan: &Plan| {
        let letters = plan.dead_letters.as_ref()?;
        let sink = &plan.sinks[letters.sink];
        Some((sink.name.clone(), sink.kind.type_name(), letters.prefix.clone()))
    };
    let listen = |plan: &Plan| plan.admin.map(|admin| admin.listen);
    let keys = [
        ("spool", same_spool),
        ("memory", same_memory),
        ("dead_letters", letters(old) == letters(new)),
        ("admin.listen", listen(old) == listen(new)),
        ("metadata", old.metadata == new.metadata),
        ("log", old.log == new.log),
    ];
    keys.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Host, load};

    const SINKS: &str = "{archive: {type: file, path: /a}, live: {type: stdout}}";

    fn plan(sinks: &str, more: &str) -> Plan {
        let text = format!(
            "sources: {{forward: {{listen: [tcp://127.0.0.1:0]}}}}\nroutes: [{{to: [archive, live]}}]\nsinks: {sinks}\n{more}"
        );
        let host = Host { vars: &|_| None, memory_limit: None };
        load("test.yaml", &text, &host).unwrap_or_else(|problems| panic!("{problems}"))
    }

    #[test]
    fn open_blocks_stay_where_the_sink_is_the_same_whatever_its_place() {
        let old = plan(SINKS, "");
        assert_eq!(kept(&old, &old), [Some(0), Some(1)]);
        let moved = plan("{live: {type: stdout}, archive: {type: file, path: /a}}", "");
        assert_eq!(kept(&old, &moved), [Some(1), Some(0)]);
        let other = plan("{archive: {type: file, path: /a, prefix: x/}, live: {type: stdout}}", "");
        assert_eq!(kept(&old, &other), [None, Some(1)]);
        let typed = plan("{archive: {type: stdout}, live: {type: stdout}}", "");
        assert_eq!(kept(&old, &typed), [None, Some(1)]);
        assert_eq!(kept(&old, &plan(SINKS, "level: {text: false}")), [None, None], "names may hold the level");
    }

    #[test]
    fn what_only_a_start_can_set_up_is_named() {
        let old = plan(SINKS, "");
        assert_eq!(needs_restart(&old, &plan(SINKS, "drain: {timeout: 9s}")), [""; 0]);
        let all = "spool: {path: /s, size: 1GiB}\nmemory: 64MiB\ndead_letters: {to: archive}\nadmin: none\nmetadata: ecs\n\
                   log: {level: debug}";
        let keys = ["spool", "memory", "dead_letters", "admin.listen", "metadata", "log"];
        assert_eq!(needs_restart(&old, &plan(SINKS, all)), keys);
        assert_eq!(needs_restart(&plan(SINKS, all), &old), keys);
        let size = |size| plan(SINKS, &format!("spool: {{path: /s, size: {size}}}"));
        assert_eq!(needs_restart(&size("1GiB"), &size("2GiB")), ["spool"]);
        let three = "{archive: {type: file, path: /a}, live: {type: stdout}, more: {type: stdout}}";
        let more = plan(three, "spool: {path: /s, size: 1GiB}");
        assert_eq!(needs_restart(&size("1GiB"), &more), [""; 0], "the same size in other shares");
        let letters = |sinks, to: &str| plan(sinks, &format!("dead_letters: {{{to}, prefix: dead/}}"));
        let (turned, typed) = (
            "{live: {type: stdout}, archive: {type: file, path: /b}}",
            "{archive: {type: s3, bucket: logs}, live: {type: stdout}}",
        );
        let old = letters(SINKS, "to: archive");
        assert_eq!(needs_restart(&old, &letters(turned, "to: archive")), [""; 0], "another place in the config");
        assert_eq!(needs_restart(&old, &letters(typed, "to: archive")), ["dead_letters"], "another queue");
    }
}
