//! Waiting for what other processes do: in small steps, and not for ever.

use std::thread;
use std::time::{Duration, Instant};

/// More than anything in a lab takes, on a machine that is busy with other work too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const STEP: Duration = Duration::from_millis(10);

/// What `look` finds within the time, if anything.
pub(crate) fn within<T>(time: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + time;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(STEP);
    }
}
