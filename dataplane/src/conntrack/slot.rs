//! Slots, 16 bytes for an entry each: their two words and the only ways to change them.

use super::TrackingKey;
use super::entry::{Entry, Phase, Stage, State};
use crate::primitive::{AtomicU64, Ordering};
use crate::time::Tick;

/// Room for one entry. All bits zero is an empty slot.
#[repr(C, align(16))]
pub(super) struct Slot {
    /// The key, XORed with the frozen bits of the state that it was published with.
    identity: AtomicU64,
    state: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Slot>() == 16, "four slots fill a cache line");

impl Slot {
    #[cfg(loom)]
    pub(super) fn empty() -> Self {
        Self { identity: AtomicU64::new(0), state: AtomicU64::new(0) }
    }

    /// State word alone, whatever key it belongs to.
    #[inline]
    pub(super) fn state(&self) -> State {
        // Acquire; pairs with the Release in `occupy`, so that the identity of this state or a later one is seen.
        State(self.state.load(Ordering::Acquire))
    }

    /// State word, if the slot holds an entry of `key`, tentative or settled.
    #[inline]
    pub(super) fn held_by(&self, key: TrackingKey) -> Option<State> {
        let state = self.state();
        self.identifies(key, state).then_some(state)
    }

    /// True if `state`, read from this slot, belongs to an entry of `key`.
    #[inline]
    pub(super) fn identifies(&self, key: TrackingKey, state: State) -> bool {
        matches!(state.phase(), Phase::Tentative | Phase::Settled) && self.bears(key, state)
    }

    /// True if this slot bears the name `key` under `state`, which was read from it, whatever its phase.
    #[inline]
    pub(super) fn bears(&self, key: TrackingKey, state: State) -> bool {
        // Relaxed: the Acquire that read `state` rules out an identity that is older than it. A newer one is that of
        // the slot's next holder, and the XOR tells the two apart.
        self.identity.load(Ordering::Relaxed) ^ state.frozen() == key.0
    }

    /// Key and state of the entry in the slot, if it is settled.
    ///
    /// For those who list entries: a key that is read while the slot changes hands is nobody's.
    pub(super) fn settled(&self) -> Option<(TrackingKey, State)> {
        let state = self.state();
        // Relaxed: as in `bears`.
        let key = TrackingKey(self.identity.load(Ordering::Relaxed) ^ state.frozen());
        (state.phase() == Phase::Settled).then_some((key, state))
    }

    /// Takes the slot, which was judged in the state `before`, for a tentative entry of `key`.
    ///
    /// None where the slot has changed since.
    pub(super) fn occupy(&self, before: State, key: TrackingKey, entry: &Entry) -> Option<State> {
        // Acquire; pairs with the Release below, by which the holder before this one published: its identity is
        // written before ours. Nobody exchanges a busy state, so from here to the Release this worker is alone.
        self.state.compare_exchange(before.0, State::BUSY.0, Ordering::Acquire, Ordering::Relaxed).ok()?;
        let state = State::succeeding(before, entry);
        self.identity.store(key.0 ^ state.frozen(), Ordering::Relaxed);
        // Release; pairs with the Acquire in `state`. All later changes up to the next `occupy` are read-modify-writes,
        // which continue the release sequence that this store heads, whatever their own ordering.
        // The fence before settling would order it for lookups as well; this way the slot doesn't depend on it.
        self.state.store(state.0, Ordering::Release);
        Some(state)
    }

    /// Exchanges `before` for `after`; false where the slot has changed since `before` was read.
    ///
    /// For every change but a new holder's. The judgement behind it came from the bits of `before` alone.
    #[inline]
    fn exchange(&self, before: State, after: State) -> bool {
        // Relaxed: it publishes no other word, and continues the release sequence of `occupy`.
        self.state.compare_exchange(before.0, after.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Empties the slot, if it is still in the state that was judged.
    pub(super) fn vacate(&self, judged: State) -> bool {
        self.exchange(judged, judged.vacated())
    }

    /// Lets lookups see the entry, if it is still tentative.
    pub(super) fn settle(&self, tentative: State) -> bool {
        self.exchange(tentative, tentative.in_phase(Phase::Settled))
    }

    /// Notes the use of a settled entry, if nobody else has changed it since `before` was read.
    #[inline]
    pub(super) fn touch(&self, before: State, seen: Tick, stage: Stage) -> bool {
        self.exchange(before, before.seen_at(seen).in_stage(stage))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::backend::{BackendHandle, Generation};

    fn slot() -> Slot {
        Slot { identity: AtomicU64::new(0), state: AtomicU64::new(0) }
    }

    fn entry() -> Entry {
        Entry {
            backend: BackendHandle(3),
            generation: Generation(4),
            persists: false,
            stage: Stage::HalfOpen,
            seen: Tick(5),
        }
    }

    #[test]
    fn the_all_zero_slot_holds_nothing_even_for_key_zero() {
        assert_eq!(slot().held_by(TrackingKey(0)), None);
    }

    #[test]
    fn a_stale_change_misses_an_identical_later_entry() {
        let slot = slot();
        let old = slot.occupy(State(0), TrackingKey(1), &entry()).unwrap();
        assert!(slot.vacate(old));
        slot.occupy(slot.state(), TrackingKey(2), &entry()).unwrap();
        assert!(!slot.vacate(old));
        assert!(!slot.settle(old));
        assert!(!slot.touch(old, Tick(6), Stage::Established));
        assert_eq!(slot.held_by(TrackingKey(1)), None);
        assert!(slot.held_by(TrackingKey(2)).is_some());
    }

    #[test]
    fn a_state_and_the_next_holders_identity_match_neither_key() {
        let slot = slot();
        let old = slot.occupy(State(0), TrackingKey(1), &entry()).unwrap();
        slot.occupy(old, TrackingKey(2), &entry()).unwrap();
        assert!(!slot.identifies(TrackingKey(1), old));
        assert!(!slot.identifies(TrackingKey(2), old));
    }
}
