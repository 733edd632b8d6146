//! The names of the latest configuration and of the one before, by the snapshots that they belong to.

use std::sync::Arc;

use crate::names::Names;

/// Names in force, and those before them: packets that were decided a moment ago still carry the old numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct NameHistory {
    current: Arc<Names>,
    /// Generation of the first snapshot that has the current names.
    current_from: u64,
    /// First generation of the names before, and these names.
    former: Option<(u64, Arc<Names>)>,
}

impl NameHistory {
    /// Puts names in force from the snapshot of this generation on.
    pub(super) fn replace(&mut self, names: Arc<Names>, from: u64) {
        let former = std::mem::replace(&mut self.current, names);
        // Names that no snapshot has had are nobody's.
        if self.current_from != from {
            self.former = Some((std::mem::replace(&mut self.current_from, from), former));
        }
    }

    /// Names in force.
    pub(super) fn current(&self) -> &Arc<Names> {
        &self.current
    }

    /// Names of the snapshot of this generation; `None` where they are forgotten.
    pub(super) fn of(&self, generation: u64) -> Option<&Names> {
        if generation >= self.current_from {
            return Some(&self.current);
        }
        let (from, former) = self.former.as_ref()?;
        (generation >= *from).then_some(former)
    }
}
