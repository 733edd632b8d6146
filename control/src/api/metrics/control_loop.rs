//! Metrics of the control thread's loop.

use std::fmt;

use super::families::Families;
use crate::api::view::ControlLoop;

/// Writes how late the turns of the control thread begin.
pub(super) fn control_loop(families: &mut Families<'_>, control_loop: &ControlLoop) -> fmt::Result {
    let buckets = control_loop.turns.iter().map(|turns| {
        let bound = turns.up_to_ms.map_or(f64::INFINITY, |ms| ms as f64 / 1e3);
        (bound, turns.turns)
    });
    families.histogram(
        "control_loop_stall_seconds",
        "Time by which turns of the control thread begin late, in seconds.",
        control_loop.stalled_sec,
        &buckets.collect::<Vec<_>>(),
    )?;
    families.gauge(
        "control_loop_longest_stall_seconds",
        "Longest stall of the control thread in the last minute, in seconds.",
        control_loop.longest_stall_last_minute_ms / 1e3,
    )
}
