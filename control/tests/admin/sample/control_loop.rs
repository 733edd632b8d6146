//! Stalls of a control thread that has had two long ones.

use guideway::api::view::{ControlLoop, TurnsByStall};

pub(super) fn control_loop() -> ControlLoop {
    let turns = [(Some(1), 270_000_000), (Some(100), 41), (None, 2)];
    ControlLoop {
        longest_stall_last_minute_ms: 4.5,
        longest_stall_ms: 812.0,
        long_stalls: 2,
        stalled_sec: 61.25,
        turns: turns.map(|(up_to_ms, turns)| TurnsByStall { up_to_ms, turns }).into(),
    }
}
