//! Sets the retention of new groups, beside the records: these go on as soon as their stream is there, however long AWS
//! takes for this. A group whose retention could not be set is named in the log with what to do.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::client::Logs;
use crate::aws::Class;
use crate::sink::retry::jittered;

/// PutRetentionPolicy has 5 requests a second in an account and Region, for all its tasks. With these tries and pauses
/// a group has some half a minute.
const TRIES: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(300);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What the end of the sink waits for groups that are not done; the process may have little time left.
const LAST_WAIT: Duration = Duration::from_secs(3);

/// The groups whose retention is being set; dropped, that ends.
#[derive(Debug)]
pub(super) struct Retention {
    sink: Arc<str>,
    /// One at a time, for the quota is the account's.
    turn: Arc<Semaphore>,
    tasks: Mutex<JoinSet<()>>,
}

impl Retention {
    /// For the sink of this name.
    pub(super) fn new(sink: &Arc<str>) -> Self {
        Self { sink: Arc::clone(sink), turn: Arc::new(Semaphore::new(1)), tasks: Mutex::default() }
    }

    /// Begins to set the retention of this group; `failed` is run if that does not work.
    pub(super) fn set(
        &self,
        logs: &Arc<Logs>,
        group: &str,
        days: i32,
        failed: impl Future<Output = ()> + Send + 'static,
    ) {
        let (sink, turn, logs) = (Arc::clone(&self.sink), Arc::clone(&self.turn), Arc::clone(logs));
        let group: Box<str> = group.into();
        let mut tasks = self.tasks();
        // What has ended is let go here: as many are held as are under way.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            let _turn = turn.acquire_owned().await.expect("the semaphore is never closed");
            if let Err(text) = repeat(&logs, &group, days).await {
                tracing::warn!(
                    %sink,
                    "log group {group} is without its retention of {days} days, it would keep events for ever: {text}; \
                     allow logs:PutRetentionPolicy, or set it by hand (aws logs put-retention-policy)"
                );
                failed.await;
            }
        });
    }

    /// Waits until all are set, but not for long.
    pub(super) async fn finish(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks());
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WAIT, all).await.is_err() {
            let groups = tasks.len();
            tracing::warn!(
                sink = %self.sink,
                groups,
                "new log groups are still without their retention, they would keep events for ever; set it by hand (aws \
                 logs put-retention-policy)"
            );
        }
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Tries until it is set; else why not.
async fn repeat(logs: &Logs, group: &str, days: i32) -> Result<(), String> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match logs.set_retention(group, days).await {
            Ok(()) => return Ok(()),
            Err(failure) if failure.class == Class::Denied => return Err(failure.text),
            Err(_) => tokio::time::sleep(jittered(pause)).await,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    logs.set_retention(group, days).await.map_err(|failure| failure.text)
}
