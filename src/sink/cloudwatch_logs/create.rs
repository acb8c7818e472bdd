//! Creates groups and streams on demand: only after CloudWatch Logs said that one is missing, so that the usual request
//! costs nothing and a group made by others is left as it is.
//!
//! One creation at a time in a group; what waited for it learns that it is done. A stream is tried first: where the
//! group exists, no permission to create groups is needed. Retention is set on groups that this process created: beside
//! the records, by [`Retention`], so that it never holds them up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::Instant;

use super::body::Target;
use super::client::Logs;
use super::config::Create;
use super::retention::Retention;
use crate::aws::{Class, Failure};
use crate::sink::object::Attempt;

/// What is remembered, in all groups and in the streams of one; then it is forgotten, which costs a call at most.
const REMEMBERED: usize = 4096;

/// What a sink has created.
#[derive(Debug)]
pub(super) struct Creator {
    create: Create,
    groups: Mutex<HashMap<Box<str>, Arc<AsyncMutex<Group>>>>,
    retention: Retention,
}

#[derive(Debug, Default)]
struct Group {
    /// When each stream was created.
    streams: HashMap<Box<str>, Instant>,
    /// An attempt to create the group had no answer: if it exists next time, it may be ours.
    unsure: bool,
    /// It is ours and its retention is not asked for yet.
    retention_due: bool,
}

impl Creator {
    /// For the sink of this name.
    pub(super) fn new(sink: &Arc<str>, create: Create) -> Self {
        Self { create, groups: Mutex::default(), retention: Retention::new(sink) }
    }

    /// After a request that began at `asked` found no group or stream: creates what is missing. Done means that the
    /// request can be repeated at once.
    pub(super) async fn ensure(&self, logs: &Arc<Logs>, target: &Target, asked: Instant) -> Attempt<()> {
        if !self.create.enabled {
            return Attempt::Retry(
                None,
                format!("{} does not exist; create it, or set `create.enabled: true`", describe(target)),
            );
        }
        let shared = self.group(&target.group);
        let mut group = shared.lock().await;
        if group.streams.get(&target.stream).is_some_and(|created| *created >= asked) {
            return Attempt::Done(());
        }
        let mut stream = logs.create_stream(target).await;
        if is(&stream, "ResourceNotFoundException") {
            if let Err(failure) = self.create_group(logs, target, &mut group).await {
                return judge("logs:CreateLogGroup", target, failure);
            }
            stream = logs.create_stream(target).await;
        }
        if let Some(failure) = missing_still(stream) {
            return judge("logs:CreateLogStream", target, failure);
        }
        if group.streams.len() >= REMEMBERED {
            group.streams.clear();
        }
        group.streams.insert(target.stream.clone(), Instant::now());
        if let Some(days) = self.create.retention_days.filter(|_| std::mem::take(&mut group.retention_due)) {
            let again = Arc::clone(&shared);
            // The group's next new stream tries it once more.
            let failed = async move { again.lock().await.retention_due = true };
            self.retention.set(logs, &target.group, days, failed);
        }
        Attempt::Done(())
    }

    /// After the last record: gives what is still beside the records a moment to end.
    pub(super) async fn finish(&self) {
        self.retention.finish().await;
    }

    fn group(&self, name: &str) -> Arc<AsyncMutex<Group>> {
        let mut groups = self.groups.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(group) = groups.get(name) {
            return Arc::clone(group);
        }
        if groups.len() >= REMEMBERED {
            groups.clear();
        }
        Arc::clone(groups.entry(name.into()).or_default())
    }

    async fn create_group(&self, logs: &Logs, target: &Target, group: &mut Group) -> Result<(), Failure> {
        let created = logs.create_group(&target.group, &self.create).await;
        let ours = created.is_ok() || (group.unsure && is(&created, "ResourceAlreadyExistsException"));
        group.unsure = created
            .as_ref()
            .is_err_and(|failure| matches!(failure.class, Class::Timeout | Class::Unreachable | Class::Unavailable));
        match missing_still(created) {
            Some(failure) => Err(failure),
            None => {
                group.retention_due |= ours && self.create.retention_days.is_some();
                Ok(())
            }
        }
    }
}

fn is(result: &Result<(), Failure>, code: &str) -> bool {
    result.as_ref().is_err_and(|failure| failure.code == code)
}

/// The failure, unless it says that the thing is there.
fn missing_still(result: Result<(), Failure>) -> Option<Failure> {
    result.err().filter(|failure| failure.code != "ResourceAlreadyExistsException")
}

/// A stream in words.
pub(super) fn describe(target: &Target) -> String {
    format!("log stream {} of group {}", target.stream, target.group)
}

/// Whether AWS finds fault with the name of the group or stream, which no later attempt can change.
pub(super) fn blames_names(failure: &Failure) -> bool {
    // As in "Value 'a*b' at 'logGroupName' failed to satisfy constraint".
    failure.text.contains("'logGroupName'") || failure.text.contains("'logStreamName'")
}

fn judge(action: &str, target: &Target, failure: Failure) -> Attempt<()> {
    let text = format!("{}: {}", describe(target), failure.text);
    match &*failure.code {
        // Only other names would help, and those come from the records; a stream is made of nothing else.
        "InvalidParameterException" if action == "logs:CreateLogStream" || blames_names(&failure) => {
            Attempt::Rejected("rejected", text)
        }
        // A key, class or tag can be mended outside, or here before the records are too old.
        "InvalidParameterException" => {
            Attempt::Retry(failure.retry_after, format!("{text}; correct `create` (class, KMS key, tags), or the key"))
        }
        "LimitExceededException" => {
            Attempt::Retry(failure.retry_after, format!("{text}; delete log groups, or ask AWS for a higher quota"))
        }
        _ if failure.class == Class::Denied => Attempt::Retry(
            failure.retry_after,
            format!("{text}; allow {action} to the task's role, or create it and set `create.enabled: false`"),
        ),
        _ => Attempt::Retry(failure.retry_after, text),
    }
}
