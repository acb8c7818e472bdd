//! When a running router reads its config again: at SIGHUP and, by option, when the file has changed.
//!
//! A changed file is read once it has stood still between two looks. It is looked up by its path each time, so that one
//! that is replaced by a rename, or behind a symbolic link that is, counts as changed too.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::mpsc;

use super::ConfigArg;
use crate::config::text::YAML_VARIABLE;
use crate::config::{Plan, Problems};

/// Between two looks at the file: a look costs microseconds, and people wait for what they have saved.
const LOOK: Duration = Duration::from_secs(1);

/// Sends a plan, or what is wrong with it, whenever there may be another. Runs until it is dropped.
pub(crate) async fn plans(
    config: ConfigArg,
    watched: Option<PathBuf>,
    mut hangups: Signal,
    plans: mpsc::Sender<Result<Plan, Problems>>,
) -> Infallible {
    let mut watch = Watch::new(watched.as_deref());
    loop {
        let why = tokio::select! {
            hangup = hangups.recv() => match hangup {
                Some(()) => "SIGHUP",
                None => std::future::pending().await,
            },
            () = changed(&mut watch, watched.as_deref()) => "the file has changed",
        };
        if plans.is_closed() {
            tracing::warn!("{why}: the config is not reloaded in a drain");
            continue;
        }
        // Whatever made it be read: once is enough.
        watch.read = watched.as_deref().and_then(stamp);
        tracing::info!("{why}: reading the config again");
        let _ = plans.send(read(config.clone()).await).await;
    }
}

/// Reads the config where it came from; the network or a file system may take their time.
async fn read(config: ConfigArg) -> Result<Plan, Problems> {
    if config.source().is_none() {
        let why = "the environment of a running process cannot change; restart logweir to change the config, or keep it in \
                   a file or in S3";
        return Err(Problems::unreadable(YAML_VARIABLE, why.into()));
    }
    let reading = tokio::task::spawn_blocking(move || config.plan().map(|(plan, _)| plan)).await;
    reading.unwrap_or_else(|error| Err(Problems::unreadable("config", format!("cannot be read: {error}"))))
}

/// Comes back when the file is another; never without one. Cancel safe.
async fn changed(watch: &mut Watch, path: Option<&Path>) {
    let Some(path) = path else { return std::future::pending().await };
    loop {
        tokio::time::sleep(LOOK).await;
        if watch.look(stamp(path)) {
            return;
        }
    }
}

/// What tells one state of a file from another: device, inode, length, and when it was written and changed.
type Stamp = [i64; 7];

fn stamp(path: &Path) -> Option<Stamp> {
    let file = fs::metadata(path).ok()?;
    let (device, inode, len) = (file.dev().cast_signed(), file.ino().cast_signed(), file.len().cast_signed());
    Some([device, inode, len, file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()])
}

/// The file as it was read last, and as it was at the last look. One that is not there is about to be replaced.
#[derive(Debug)]
struct Watch {
    read: Option<Stamp>,
    seen: Option<Stamp>,
}

impl Watch {
    fn new(path: Option<&Path>) -> Self {
        let now = path.and_then(stamp);
        Self { read: now, seen: now }
    }

    /// Whether it is time to read it.
    fn look(&mut self, now: Option<Stamp>) -> bool {
        let still = self.seen == now;
        self.seen = now;
        let changed = still && now.is_some() && now != self.read;
        if changed {
            self.read = now;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_once_when_it_has_stood_still() {
        let states = |n| Some([n; 7]);
        let mut watch = Watch { read: states(0), seen: states(0) };
        let looks =
            [states(0), states(1), states(2), states(2), states(2), None, None, states(3), states(3), states(3)];
        let read = looks.map(|now| watch.look(now));
        assert_eq!(read, [false, false, false, true, false, false, false, false, true, false]);
    }

    #[test]
    fn a_rename_a_link_and_a_write_change_the_stamp() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        fs::write(at("a"), "same").expect("written");
        fs::write(at("b"), "same").expect("written");
        std::os::unix::fs::symlink(at("a"), at("link")).expect("linked");
        let before = stamp(&at("link"));
        std::os::unix::fs::symlink(at("b"), at("next")).expect("linked");
        fs::rename(at("next"), at("link")).expect("renamed");
        let linked = stamp(&at("link"));
        assert!(before.is_some() && before != linked, "another file behind the link");
        fs::write(at("b"), "longer").expect("written");
        assert_ne!(linked, stamp(&at("link")));
        assert_eq!(stamp(&at("gone")), None);
    }
}
