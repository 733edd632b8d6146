//! Rig: the tester's ports, on whatever they are, and the cores that poll them.

use super::traffic::Traffic;
use super::trial::{Run, Seen};

/// Tester's ports, with a device between them.
pub(super) trait Rig {
    /// Makes one trial.
    ///
    /// # Errors
    /// If a thread can't be pinned or registered.
    fn trial(&mut self, traffic: &Traffic, run: &Run) -> Result<Seen, String>;
}

/// Cores of the tester.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cores {
    /// Core that sends; without a core for the receiver, also receives.
    pub(super) sender: usize,
    /// Core that receives.
    pub(super) receiver: Option<usize>,
}
