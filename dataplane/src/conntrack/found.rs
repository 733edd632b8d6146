//! Finds: entries as a lookup has found them, and how the use of one is noted.

use core::fmt;

use super::entry::{Entry, Stage, State, ValidState};
use super::slot::Slot;
use crate::backend::BackendHandle;
use crate::time::Tick;

/// Entry in its slot, as a lookup found it.
#[derive(Clone, Copy)]
pub struct Found<'t> {
    pub(super) slot: &'t Slot,
    pub(super) state: State,
}

impl Found<'_> {
    /// Entry as it was found.
    #[must_use]
    #[inline]
    pub fn entry(&self) -> Entry {
        self.state.entry()
    }

    /// Notes that a packet of the connection came at `now`; `opens` says that it is a SYN, which alone leaves a
    /// connection half-open.
    ///
    /// Writes only where the clock has moved on or the packet is the first that is no SYN. Where another worker has changed the entry since
    /// it was found, nothing is changed: that worker has noted a use as recent, or put another entry here.
    #[inline]
    pub fn refresh(self, now: Tick, opens: bool) {
        let (stage, is_later) = (self.state.stage(), self.entry().idle(now) > 0);
        if is_later || stage == Stage::HalfOpen {
            self.note(now, stage.continued(opens, is_later));
        }
    }

    /// Notes a use at `now`, after which the connection is in `stage`; false where the entry has changed since it was
    /// found.
    pub(super) fn note(self, now: Tick, stage: Stage) -> bool {
        let entry = self.entry();
        let moved = entry.idle(now) > 0;
        if moved || stage != entry.stage {
            let seen = if moved { now } else { entry.seen };
            return self.slot.touch(self.state, seen, stage);
        }
        true
    }
}

impl fmt::Debug for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entry().fmt(f)
    }
}

/// State of an entry without its slot, settled or not; zero if there is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Glance(pub(super) State);

impl Glance {
    /// True if there is no entry.
    #[inline(always)]
    pub(crate) fn is_nothing(self) -> bool {
        self.0.0 == 0
    }

    /// Backend of the entry.
    #[inline(always)]
    pub(crate) fn backend(self) -> BackendHandle {
        self.0.backend()
    }

    /// True if the entry is settled, valid by the words of its backend, and has nothing to be noted in it by a packet at
    /// `now` that neither opens nor closes the connection.
    #[inline(always)]
    pub(crate) fn is_in_use(self, valid: &ValidState, now: Tick) -> bool {
        valid.is_in_use(self.0, now)
    }
}
