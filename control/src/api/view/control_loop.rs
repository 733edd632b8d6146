//! Loop of the control thread: how late its turns begin.

use serde::{Deserialize, Serialize};

/// Stalls of the control thread's loop: the time by which a turn begins late.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ControlLoop {
    /// Longest stall of the last minute, in milliseconds.
    pub longest_stall_last_minute_ms: f64,
    /// Longest stall since the start, in milliseconds.
    pub longest_stall_ms: f64,
    /// Number of stalls of 100 ms or more since the start.
    pub long_stalls: u64,
    /// Sum of all stalls since the start, in seconds.
    pub stalled_sec: f64,
    /// Turns by the stall before them.
    pub turns: Vec<TurnsByStall>,
}

/// Turns of the control thread that began late by no more than a bound, and by more than the bound before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnsByStall {
    /// Bound in milliseconds; `null` where there is none.
    pub up_to_ms: Option<u64>,
    /// Number of turns since the start.
    pub turns: u64,
}
