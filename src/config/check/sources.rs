//! Sources and the admin server: addresses that parse, and no two on one port.

use std::collections::HashSet;
use std::net::SocketAddr;

use super::Check;
use super::Step::{Index, Key};
use crate::config::file::{AdminSection, SourceKind};
use crate::config::plan::{AdminPlan, SourcePlan, SpoolPlan};
use crate::config::value::Size;
use crate::source::forward::{AckMode, Address, ForwardConfig};

/// Fluentd and Fluent Bit give up on an ack after 190 s and more, small clients after 60 s: a longer wait makes them
/// send everything twice.
const LONGEST_ACK_WAIT_SECS: u64 = 60;
/// Below this not even one of Docker's 16 KiB parts with its keys fits into a frame.
const LEAST_FRAME: Size = Size::kib(32);

/// Checks all sources, and the addresses of all listeners against each other.
pub(in crate::config) fn sources(
    check: &mut Check<'_>,
    sources: &[(String, SourceKind)],
    spool: &SpoolPlan,
) -> Vec<SourcePlan> {
    if check.names("sources").is_some_and(|names| names.is_empty()) {
        let message =
            "no source is configured; write for example `sources: {forward: {listen: [tcp://127.0.0.1:24224]}}`";
        check.problem(&[Key("sources")], message);
    }
    let mut seen = Vec::new();
    let plans = sources.iter().map(|(name, kind)| {
        check.name(&[Key("sources"), Key(name)], name);
        let SourceKind::Forward(config) = kind;
        forward(check, name, config);
        let listen = listen(check, name, config, &mut seen);
        let ack = Some(ack(check, name, config, spool));
        SourcePlan { name: name.clone(), kind: SourceKind::Forward(ForwardConfig { ack, ..config.clone() }), listen }
    });
    plans.collect()
}

fn forward(check: &mut Check<'_>, name: &str, config: &ForwardConfig) {
    let at = |section, key| [Key("sources"), Key(name), Key(section), Key(key)];
    if config.limits.frame < LEAST_FRAME || config.limits.frame.0 > u64::from(u32::MAX) {
        check.problem(&at("limits", "frame"), format!("a frame may have {LEAST_FRAME} to 4 GiB"));
    }
    if config.limits.inflated < config.limits.frame {
        check.problem(&at("limits", "inflated"), "`inflated` must not be smaller than `frame`");
    }
    if config.limits.connections == 0 {
        check.problem(&at("limits", "connections"), "at least 1 connection is needed");
    }
    if config.limits.frame_time.0.is_zero() {
        check.problem(&at("limits", "frame_time"), "a frame needs some time, for example 30s");
    }
    if config.join.enabled && config.join.max_line > config.join.buffer {
        check.problem(&at("join", "max_line"), "`max_line` must not be larger than `buffer`");
    }
    if config.ack_wait.0.as_secs() > LONGEST_ACK_WAIT_SECS {
        check.warn(format!(
            "sources.{name}.ack_wait: {} is longer than some senders wait for an ack ({LONGEST_ACK_WAIT_SECS}s); they \
             will send again what is already here",
            config.ack_wait
        ));
    }
}

/// When chunks are acked: as asked for, else as soon as a crash cannot take them any more.
fn ack(check: &mut Check<'_>, name: &str, config: &ForwardConfig, spool: &SpoolPlan) -> AckMode {
    match (config.ack, spool) {
        (Some(AckMode::Durable), SpoolPlan::Memory) => {
            let message = "`durable` needs a disk: write `spool: {path: /var/lib/logweir, size: 2GiB}`; without one, \
                           accepted: received, delivered";
            check.problem(&[Key("sources"), Key(name), Key("ack")], message);
        }
        (Some(AckMode::Delivered), _) => check.warn(format!(
            "sources.{name}.ack: with `delivered` an object is closed {} after a sender begins to wait for it, which \
             makes many small objects",
            config.ack_wait
        )),
        _ => {}
    }
    config.ack.unwrap_or(match spool {
        SpoolPlan::Memory => AckMode::Received,
        SpoolPlan::Disk { .. } => AckMode::Durable,
    })
}

fn listen(check: &mut Check<'_>, name: &str, config: &ForwardConfig, seen: &mut Vec<Address>) -> Vec<Address> {
    if config.listen.is_empty() {
        let message = "no address to listen on; write for example `listen: [tcp://127.0.0.1:24224]`";
        check.problem(&[Key("sources"), Key(name), Key("listen")], message);
    }
    let mut addresses = Vec::new();
    for (index, text) in config.listen.iter().enumerate() {
        let path = [Key("sources"), Key(name), Key("listen"), Index(index)];
        match text.parse::<Address>() {
            Err(error) => check.problem(&path, error.to_string()),
            Ok(address) => {
                if let Some(other) = seen.iter().find(|other| collide(other, &address)) {
                    check.problem(
                        &path,
                        format!("`{address}` cannot be bound beside `{other}`; each listener needs its own"),
                    );
                }
                seen.push(address.clone());
                addresses.push(address);
            }
        }
    }
    addresses
}

/// Whether the second one to bind would fail. Port 0 is any free port.
fn collide(one: &Address, other: &Address) -> bool {
    match (one, other) {
        (Address::Tcp(one), Address::Tcp(other)) => match (numeric(one), numeric(other)) {
            (Some(one), Some(other)) => {
                let same = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
                same && one.port() == other.port() && one.port() != 0
            }
            _ => one == other,
        },
        _ => one == other,
    }
}

/// Host and port without asking DNS; `localhost` is the one name that everybody writes.
fn numeric(host_and_port: &str) -> Option<SocketAddr> {
    let text = host_and_port.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    text.as_deref().unwrap_or(host_and_port).parse().ok()
}

/// Checks the admin server's address, also against the sources'.
pub(in crate::config) fn admin(
    check: &mut Check<'_>,
    admin: Option<&AdminSection>,
    sources: &[SourcePlan],
) -> Option<AdminPlan> {
    let admin = admin?;
    let path = [Key("admin"), Key("listen")];
    let Some(listen) = numeric(&admin.listen) else {
        let message = format!("`{}` is no address and port; write for example 127.0.0.1:9600", admin.listen);
        check.problem(&path, message);
        return None;
    };
    let own = Address::Tcp(listen.to_string());
    let taken: HashSet<&str> = sources
        .iter()
        .filter(|source| source.listen.iter().any(|address| collide(address, &own)))
        .map(|source| source.name.as_str())
        .collect();
    if let Some(source) = taken.into_iter().min() {
        check.problem(&path, format!("`{listen}` is taken by the source `{source}`; give it another port"));
    }
    if !listen.ip().is_loopback() {
        check.warn(format!("admin.listen: {listen} can be reached from outside, and the admin server has no password"));
    }
    Some(AdminPlan { listen, delivering_after: admin.delivering_after.0 })
}
