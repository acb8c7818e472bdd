//! Sinks that take what others cannot: the dead letters, and what is diverted from a full queue.

use super::Check;
use super::Step::{self, Key};
use crate::config::de::unknown;
use crate::config::file::{DeadLettersSection, SinkKind};
use crate::config::plan::DeadLettersPlan;
use crate::encode::template::Segment;
use crate::encode::{Oversize, Target, Template};
use crate::sink::common::FullPolicy;

/// Checks where dead letters go, and that a sink which sends some on purpose has somewhere to send them.
pub(in crate::config) fn dead_letters(
    check: &mut Check<'_>,
    section: Option<&DeadLettersSection>,
    sinks: &[(String, SinkKind)],
) -> Option<DeadLettersPlan> {
    let Some(section) = section else {
        if !check.is_lost("dead_letters") && !check.is_broken("dead_letters") {
            needed(check, sinks);
        }
        return None;
    };
    let at = |key| [Key("dead_letters"), Key(key)];
    match Template::parse(&section.prefix).and_then(|prefix| Target::Prefix.check(&prefix).map(|()| prefix)) {
        Err(error) => check.problem_inside(&at("prefix"), error.at, error.message),
        Ok(prefix) => {
            if prefix.segments().iter().any(|segment| matches!(segment, Segment::Field(_))) {
                let message = "a dead letter may be no record, so its prefix has no `{field}`; accepted are text and \
                               %Y, %m, %d, %H, %M";
                check.problem(&at("prefix"), message);
            }
        }
    }
    let sink = archive(check, &at("to"), &section.to, sinks)?;
    Some(DeadLettersPlan { sink, prefix: section.prefix.clone() })
}

fn needed(check: &mut Check<'_>, sinks: &[(String, SinkKind)]) {
    for (name, kind) in sinks {
        if matches!(kind, SinkKind::CloudWatchLogs(config) if config.oversize == Oversize::Divert) {
            let message = "`divert` sends messages to the dead letters, which have no place; write for example \
                           `dead_letters: {to: archive}`, or `oversize: split`";
            check.problem(&[Key("sinks"), Key(name), Key("oversize")], message);
        }
    }
}

/// The sink that takes over when the queue of `name` is full.
pub(super) fn divert(
    check: &mut Check<'_>,
    name: &str,
    kind: &SinkKind,
    sinks: &[(String, SinkKind)],
) -> Option<usize> {
    let Some(FullPolicy::Divert(to)) = kind.full_policy() else { return None };
    let path = [Key("sinks"), Key(name), Key("when_full"), Key("divert")];
    if to == name {
        check.problem(&path, "a sink cannot divert to itself; name another one, of type s3 or file");
        return None;
    }
    let target = archive(check, &path, to, sinks)?;
    if matches!(sinks.get(target), Some((_, kind)) if matches!(kind.full_policy(), Some(FullPolicy::Divert(_)))) {
        let message = format!("`{to}` diverts too when it is full; let it block, drop_oldest or drop_newest");
        check.problem(&path, message);
    }
    Some(target)
}

/// The s3 or file sink of this name.
fn archive(check: &mut Check<'_>, path: &[Step<'_>], to: &str, sinks: &[(String, SinkKind)]) -> Option<usize> {
    let fit: Vec<&str> =
        sinks.iter().filter(|(_, kind)| kind.archive().is_some()).map(|(name, _)| name.as_str()).collect();
    let accepted = if fit.is_empty() { "there is none".into() } else { format!("accepted: {}", fit.join(", ")) };
    match sinks.iter().position(|(name, _)| name == to) {
        Some(index) if fit.contains(&to) => return Some(index),
        Some(index) => {
            let kind = sinks[index].1.type_name();
            check.problem(path, format!("`{to}` is a {kind} sink; a sink of type s3 or file is needed, {accepted}"));
        }
        // A sink with a mistake of its own is not missing.
        None if check.names("sinks").is_none_or(|names| names.iter().any(|name| name == to)) => {}
        None => check.problem(path, unknown("sink", to, fit.into_iter())),
    }
    None
}
