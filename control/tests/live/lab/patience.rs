//! Waiting for what other processes do, in small steps and with a limit.

use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

/// Limit for anything that a lab waits for: enough on a machine that is busy with other work too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two looks.
const STEP: Duration = Duration::from_millis(10);

/// Factor of all limits, for a machine that is slower by far, as an emulated one is.
static SLOWNESS: LazyLock<u32> = LazyLock::new(|| {
    std::env::var("GUIDEWAY_LAB_SLOWNESS").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1)
});

/// Seconds for a program that keeps a limit of its own, as text: longer on a slow machine, as [`within`] waits longer there.
pub(crate) fn seconds(seconds: u32) -> String {
    (seconds * *SLOWNESS).to_string()
}

/// Calls `look` until it finds something; none if the time passes first.
pub(crate) fn within<T>(time: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + time * *SLOWNESS;
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
