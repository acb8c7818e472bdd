//! From the file as written to the plan as it runs.

use std::path::Path;

use super::cgroup;
use super::check::{self, Check, Step::Key};
use super::file::{File, Metadata, SourceKind};
use super::plan::{DrainPlan, MemoryOrigin, MemoryPlan, Plan};
use super::problem::{Problem, Problems, SECRET_KEYS};
use super::substitute::{Vars, empty_variables, substitute};
use super::value::Size;
use super::yaml::{self, Content, Node};

/// Share of the cgroup's limit that the process takes: the rest is for the kernel's socket buffers and page cache,
/// which count against the same limit.
const CGROUP_SHARE_PERCENT: u64 = 60;
/// Memory without a limit to go by.
const DEFAULT_MEMORY: Size = Size::mib(256);
/// Least memory: read buffers, one frame of 8 MiB, compression contexts and a queue that is worth its name.
const LEAST_MEMORY: Size = Size::mib(32);
/// What the process takes that does nothing: the program's own pages (18 MiB), the runtime's threads, AWS' clients, what
/// compressors work with. It goes off first, and the largest frame of each source, which may overdraw by one: so it is
/// read whatever else is held. The shares below are of the rest.
const PROGRAM: Size = Size::mib(24);
/// The rest is no less than this part of the whole; what is then too much is warned of.
const LEAST_REST: u64 = 4;
/// What waits in queues: at 64 MiB just enough that the objects of two sinks go out in parts as they grow. Requests are
/// copies of a part of it, up to a quarter, beside it.
const QUEUES_PERCENT: u64 = 42;
/// Frames that are being read, beside one that may overdraw.
const READING_PERCENT: u64 = 6;
/// Blocks that still grow. What is left is for requests, the join, small buffers and what allocation wastes.
const OPEN_PERCENT: u64 = 8;
/// ECS kills so long after SIGTERM, unless `stopTimeout` says otherwise.
const ECS_STOP_TIMEOUT_SECS: u64 = 30;
/// Set by the ECS agent in every container.
pub(crate) const ECS_METADATA_VARIABLE: &str = "ECS_CONTAINER_METADATA_URI_V4";

/// What of the machine goes into a plan; an argument so that tests choose it.
pub struct Host<'a> {
    /// Environment variables.
    pub vars: &'a Vars<'a>,
    /// The container's memory limit in bytes.
    pub memory_limit: Option<u64>,
}

impl Host<'static> {
    /// This process.
    pub fn this() -> Self {
        Self { vars: &|name| std::env::var(name).ok(), memory_limit: cgroup::memory_limit(Path::new("/")) }
    }
}

/// The plan of a text, or everything that is wrong with it. `file` is what errors call it.
pub fn load(file: &str, text: &str, host: &Host<'_>) -> Result<Plan, Problems> {
    let mut problems = Vec::new();
    let plan = plan(text, host, &mut problems);
    match plan {
        Some(plan) if problems.is_empty() => Ok(plan),
        _ => Err(Problems::new(file, text, problems)),
    }
}

fn plan(text: &str, host: &Host<'_>, problems: &mut Vec<Problem>) -> Option<Plan> {
    let mut root = yaml::parse(text, problems)?;
    let mut empty = Vec::new();
    empty_variables(&root, "", host.vars, &mut empty);
    substitute(&mut root, "", host.vars, problems);
    // What a scalar without its variable looks like is no second mistake.
    let broken: Vec<String> = problems.iter().map(|problem| problem.path.clone()).collect();
    let mut found = Vec::new();
    let plan = checked(text, &root, host, &broken, &mut found);
    for problem in &mut found {
        // Empty may be meant; where it is a mistake, the variable is its cause.
        if let Some((_, name)) = empty.iter().find(|(path, _)| *path == problem.path) {
            problem.message = format!(
                "the variable `{name}` is set but empty; give it a value, or a default: `${{{name}:-default}}`"
            );
        }
    }
    problems.extend(found.into_iter().filter(|problem| !broken.contains(&problem.path)));
    Some(plan)
}

/// The plan of a tree; one to be thrown away when there are problems.
fn checked(text: &str, root: &Node, host: &Host<'_>, broken: &[String], problems: &mut Vec<Problem>) -> Plan {
    let file = super::read::read(root, problems);
    let broken = broken.iter().chain(problems.iter().map(|problem| &problem.path)).cloned().collect();
    let mut check = Check { text, root, vars: host.vars, broken, problems: Vec::new(), warnings: Vec::new() };

    let frames = file.sources.iter().map(|(_, SourceKind::Forward(source))| source.limits.frame.0);
    let frames = frames.fold(0, u64::saturating_add);
    let memory = memory(&mut check, file.memory, host.memory_limit, frames);
    let spool = check::spool(&mut check, file.spool.as_ref(), file.sinks.len());
    let sources = check::sources(&mut check, &file.sources, &spool);
    let sinks = check::sinks(&mut check, &file.sinks, &memory, &spool);
    let dead_letters = check::dead_letters(&mut check, file.dead_letters.as_ref(), &file.sinks);
    let routes = check::routes(&mut check, &file.routes, &file.level);
    let admin = check::admin(&mut check, file.admin.as_ref(), &sources);
    let tests = check::tests(&mut check, &file.tests);
    let drain = drain(&mut check, &file);
    for (index, sink) in sinks.iter().enumerate() {
        let routed = routes.iter().any(|route| route.sinks.contains(&index));
        let diverted = sinks.iter().any(|sink| sink.divert == Some(index));
        if !routed && !diverted && dead_letters.as_ref().is_none_or(|plan| plan.sink != index) {
            check.warn(format!("sinks.{}: no route leads here, so it will never receive a record", sink.name));
        }
    }
    problems.append(&mut check.problems);
    let under_ecs = (host.vars)(ECS_METADATA_VARIABLE).is_some_and(|value| !value.is_empty());
    let metadata = file.metadata.unwrap_or(if under_ecs { Metadata::Ecs } else { Metadata::None });
    Plan {
        sources,
        routes,
        sinks,
        dead_letters,
        levels: file.level,
        spool,
        memory,
        admin,
        drain,
        metadata,
        log: file.log,
        tests,
        fingerprint: fingerprint(root),
        warnings: check.warnings,
    }
}

fn memory(check: &mut Check<'_>, configured: Option<Size>, limit: Option<u64>, frames: u64) -> MemoryPlan {
    let (total, origin) = match (configured, limit) {
        (Some(size), _) => (size.0, MemoryOrigin::Config),
        (None, Some(limit)) => (share(limit, CGROUP_SHARE_PERCENT), MemoryOrigin::Cgroup(limit)),
        (None, None) => (DEFAULT_MEMORY.0, MemoryOrigin::Default),
    };
    if configured.is_some_and(|size| size < LEAST_MEMORY) {
        check.problem(&[Key("memory")], format!("{} is too little; at least {LEAST_MEMORY} are needed", Size(total)));
    }
    if let Some(limit) = limit.filter(|limit| total > *limit) {
        let limit = Size(limit);
        check.warn(format!(
            "memory: {} is more than the container may use ({limit}); the kernel will kill it",
            Size(total)
        ));
    }
    let total = total.max(LEAST_MEMORY.0);
    let (free, least) = (total.saturating_sub(PROGRAM.0.saturating_add(frames)), total / LEAST_REST);
    if free < least {
        check.warn(format!(
            "memory: {} may be exceeded when each source reads a frame of its `limits.frame` (together {}); give more, \
             or lower `limits.frame`",
            Size(total),
            Size(frames)
        ));
    }
    let rest = free.max(least);
    MemoryPlan {
        total,
        queues: share(rest, QUEUES_PERCENT),
        reading: share(rest, READING_PERCENT),
        open: share(rest, OPEN_PERCENT),
        origin,
    }
}

fn share(whole: u64, percent: u64) -> u64 {
    // In 128 bits, since someone may write `memory: 16EiB`.
    u64::try_from(u128::from(whole) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}

fn drain(check: &mut Check<'_>, file: &File) -> DrainPlan {
    let drain = &file.drain;
    if drain.timeout.0.is_zero() {
        check.problem(&[Key("drain"), Key("timeout")], "a drain needs some time, for example 25s");
    } else if drain.quiet >= drain.timeout {
        check.problem(
            &[Key("drain"), Key("quiet")],
            format!("`quiet` must be shorter than `timeout` ({})", drain.timeout),
        );
    }
    if drain.timeout.0.as_secs() >= ECS_STOP_TIMEOUT_SECS {
        check.warn(format!(
            "drain.timeout: {} is not below the {ECS_STOP_TIMEOUT_SECS}s after which ECS kills by default; raise the \
             container's stopTimeout too (Fargate: at most 120s)",
            drain.timeout
        ));
    }
    DrainPlan { timeout: drain.timeout.0, quiet: drain.quiet.0 }
}

/// A checksum over what the config says, whatever its comments, order of keys and way of writing. Values of keys that
/// may be secret are left out.
fn fingerprint(root: &Node) -> String {
    let mut canonical = Vec::new();
    write_canonical(root, &mut canonical);
    format!("{:016x}", crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, &canonical))
}

fn write_canonical(node: &Node, out: &mut Vec<u8>) {
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend_from_slice(&(text.len() as u64).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    };
    match &node.content {
        Content::Scalar(scalar) => {
            out.push(b's');
            // `12` and `"12"` are not the same.
            out.push(match scalar.typed() {
                super::scalar::Typed::Text(_) => b't',
                _ => b'p',
            });
            text(out, &scalar.text);
        }
        Content::List(items) => {
            out.push(b'[');
            items.iter().for_each(|item| write_canonical(item, out));
            out.push(b']');
        }
        Content::Map(entries) => {
            out.push(b'{');
            let mut sorted: Vec<_> =
                entries.iter().filter(|entry| !SECRET_KEYS.contains(&entry.key.as_str())).collect();
            sorted.sort_by(|a, b| a.key.cmp(&b.key));
            for entry in sorted {
                text(out, &entry.key);
                write_canonical(&entry.value, out);
            }
            out.push(b'}');
        }
    }
}
