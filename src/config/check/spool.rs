//! The spool: a directory, and a size that is worth its name.

use super::Check;
use super::Step::Key;
use crate::config::file::SpoolSection;
use crate::config::plan::SpoolPlan;
use crate::config::value::Size;

/// Least share of a sink: four segments of 4 MiB, so that room comes back while the rest waits.
const LEAST_SHARE: Size = Size::mib(16);

/// Checks the spool and divides it among the sinks.
pub(in crate::config) fn spool(check: &mut Check<'_>, spool: Option<&SpoolSection>, sinks: usize) -> SpoolPlan {
    let Some(SpoolSection { path, size }) = spool else { return SpoolPlan::Memory };
    if path.as_os_str().is_empty() {
        check.problem(&[Key("spool"), Key("path")], "the path is empty; write for example /var/lib/logweir");
    }
    // Even shares, as of the memory: so that a sink which is down leaves the others theirs.
    let quota = size.0 / sinks.max(1) as u64;
    if quota < LEAST_SHARE.0 {
        let least = Size(LEAST_SHARE.0 * sinks.max(1) as u64);
        let message = format!("{size} is too little; {sinks} sinks need at least {LEAST_SHARE} each, so {least}");
        check.problem(&[Key("spool"), Key("size")], message);
    }
    SpoolPlan::Disk { path: path.clone(), quota }
}
