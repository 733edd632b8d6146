//! Waiting for what other processes do, in small steps and with a limit.

use std::thread;
use std::time::{Duration, Instant};

/// Limit for anything that a lab waits for: enough on a machine that is busy with other work too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two looks.
const STEP: Duration = Duration::from_millis(10);

/// Calls `look` until it finds something; none if the time passes first.
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
