//! The operators' state as a start finds it in its file: read, and set again before the first packet.

use std::path::PathBuf;
use std::time::Duration;

use super::appliance::Appliance;
use super::operator_state::{Dropped, OperatorState};
use super::state_file::{Spoiled, StateFile};

/// Operators' state at the start; empty and without a file where none is kept.
#[derive(Debug, Default)]
pub(super) struct KeptState {
    /// State that holds: the appliance has it.
    pub(super) operator_state: OperatorState,
    /// File that the state is kept in.
    pub(super) file: Option<StateFile>,
    /// Settings that the configuration has ended.
    pub(super) dropped: Vec<Dropped>,
    /// Error in the file; nothing was set again then.
    pub(super) spoiled: Option<Spoiled>,
}

impl KeptState {
    /// Reads the file at this path, and sets again what it holds, for all packets from now on.
    pub(super) fn restore(path: PathBuf, appliance: &mut Appliance, now: Duration) -> Self {
        let file = StateFile::new(path);
        let (mut operator_state, spoiled) = match file.read(OperatorState::decode) {
            Ok(operator_state) => (operator_state, None),
            Err(spoiled) => (OperatorState::default(), Some(spoiled)),
        };
        let (changes, dropped) = operator_state.restore(appliance.state().services());
        let applied = appliance.apply(changes, now);
        debug_assert!(applied.unknown.is_empty(), "the changes are of configured backends");
        appliance.publish_changes(now);
        Self { operator_state, file: Some(file), dropped, spoiled }
    }
}
