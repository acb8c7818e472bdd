//! What several test binaries use.

use std::time::Duration;

/// Tries until it gives something, for half a minute.
#[expect(clippy::disallowed_methods, reason = "there is no runtime in these tests")]
pub(crate) fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    (0..600).find_map(|_| {
        let found = attempt();
        if found.is_none() {
            std::thread::sleep(Duration::from_millis(50));
        }
        found
    })
}
