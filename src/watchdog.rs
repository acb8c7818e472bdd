//! Notices blocking work that does not come back: a hung disk, or a pipe that nobody reads. Such work cannot be
//! cancelled, so it is waited for as long as it takes, and told.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Work on a disk or a pipe that takes longer hangs: disks answer in milliseconds, and the slowest network file
/// systems in seconds.
pub const STALLED: Duration = Duration::from_secs(10);

/// Between two words about the same work.
const AGAIN: Duration = Duration::from_secs(60);

/// Waits for `work`. When it takes longer than [`STALLED`], and each minute after that, `tell` hears for how long it
/// has been waited for. Cancel safe if the work is.
pub async fn watch<T>(work: impl Future<Output = T>, mut tell: impl FnMut(Duration)) -> T {
    let begun = Instant::now();
    let mut next = STALLED;
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = sleep(next) => {
                tell(begun.elapsed());
                next = AGAIN;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_hangs_is_told_of_again_and_again_and_waited_for() {
        let mut told = Vec::new();
        let work = async {
            sleep(Duration::from_secs(100)).await;
            7
        };
        assert_eq!(watch(work, |so_far| told.push(so_far.as_secs())).await, 7);
        assert_eq!(told, [10, 70]);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_comes_back_in_time_is_not_told_of() {
        watch(sleep(STALLED), |_| panic!("it did not hang")).await;
    }
}
