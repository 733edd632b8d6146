//! Slots, 16 bytes for an entry each: their two words and the only ways to change them.

use super::TrackingKey;
use super::entry::{Entry, Phase, Stage, State};
use crate::primitive::{AtomicU64, Ordering};
use crate::time::Tick;

/// Room for one entry. All bits zero is an empty slot.
#[repr(C, align(16))]
pub(super) struct Slot {
    /// The key, XORed with the [naming](State::naming) bits of the state that it was published with.
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

    /// True if this slot bears the name `key` under `state`, which was read from it: an entry of the key is in it, tentative
    /// or settled. Of other phases the name is that of no key, or of one that nobody knows.
    #[inline]
    pub(super) fn bears(&self, key: TrackingKey, state: State) -> bool {
        // Relaxed: the Acquire that read `state` rules out an identity that is older than it. A newer one is that of
        // the slot's next holder, and the XOR tells the two apart.
        self.identity.load(Ordering::Relaxed) ^ state.naming() == key.0
    }

    /// Key and state of the entry in the slot, if it is settled.
    ///
    /// For those who list entries: a key that is read while the slot changes hands is nobody's.
    pub(super) fn settled(&self) -> Option<(TrackingKey, State)> {
        let state = self.state();
        // Relaxed: as in `bears`.
        let key = TrackingKey(self.identity.load(Ordering::Relaxed) ^ state.naming());
        (state.phase() == Phase::Settled).then_some((key, state))
    }

    /// True if an entry of a key with this lowest bit is in the slot, or may be about to be.
    pub(super) fn may_hold(&self, lowest_bit: u64) -> bool {
        let state = self.state();
        match state.phase() {
            Phase::Empty => false,
            Phase::Busy | Phase::Tentative => true,
            Phase::Settled => {
                // Acquire; keeps the second look at the state behind this one. A slot that has changed hands between the
                // looks, whose identity says nothing of the state, counts as one that may hold such an entry.
                let key = self.identity.load(Ordering::Acquire) ^ state.naming();
                key & 1 == lowest_bit || self.state().frozen() != state.frozen()
            }
        }
    }

    /// Takes the slot, which was judged in the state `before`, for a tentative entry of `key`.
    ///
    /// Where it bears its bucket's overflow bit, `overflows` says if that is still needed. None where the slot has
    /// changed since.
    #[inline]
    pub(super) fn occupy(
        &self,
        before: State,
        key: TrackingKey,
        entry: &Entry,
        overflows: impl FnOnce() -> bool,
    ) -> Option<State> {
        self.seize(before)?;
        let mut state = State::succeeding(before, entry);
        if state.overflows() {
            state = state.with_overflow(overflows());
        }
        self.identity.store(key.0 ^ state.naming(), Ordering::Relaxed);
        // Release; pairs with the Acquire in `state`. All later changes up to the next `occupy` are read-modify-writes,
        // which continue the release sequence that this store heads, whatever their own ordering.
        // The fence before settling would order it for lookups as well; this way the slot doesn't depend on it.
        self.state.store(state.0, Ordering::Release);
        Some(state)
    }

    /// Takes the overflow bit from an empty slot, which was read in the state `before`, unless `overflows` says that it
    /// is still needed.
    pub(super) fn clear_overflow(&self, before: State, overflows: impl FnOnce() -> bool) {
        if self.seize(before).is_some() {
            // Release; hands on to the next holder that the last one's identity is written.
            self.state.store(before.with_overflow(overflows()).0, Ordering::Release);
        }
    }

    /// Begins to write to the slot, which was judged in the state `before`. None where it has changed since.
    #[inline]
    fn seize(&self, before: State) -> Option<()> {
        // Acquire; pairs with the Release by which the holder before this one published: its identity is written before
        // ours. Nobody exchanges a busy state, so from here to its own Release this worker is alone.
        let seized =
            self.state.compare_exchange(before.0, before.busy().0, Ordering::Acquire, Ordering::Relaxed);
        seized.ok().map(|_| ())
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

    /// Sets the overflow bit, unless the slot has changed since `before` was read.
    pub(super) fn set_overflow(&self, before: State) -> bool {
        self.exchange(before, before.with_overflow(true))
    }

    /// Notes the use of a settled entry, if nobody else has changed it since `before` was read.
    #[inline]
    pub(super) fn touch(&self, before: State, seen: Tick, stage: Stage) -> bool {
        let after = before.seen_at(seen).in_stage(stage);
        self.exchange(before, after) || self.touch_beneath_overflow(before, after)
    }

    /// Notes the use that `touch` could not, if all that has changed meanwhile is the bucket's overflow bit.
    #[cold]
    fn touch_beneath_overflow(&self, before: State, after: State) -> bool {
        self.exchange(before.with_overflow(true), after.with_overflow(true))
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
        let old = slot.occupy(State(0), TrackingKey(1), &entry(), || true).unwrap();
        assert!(slot.vacate(old));
        slot.occupy(slot.state(), TrackingKey(2), &entry(), || true).unwrap();
        assert!(!slot.vacate(old));
        assert!(!slot.settle(old));
        assert!(!slot.touch(old, Tick(6), Stage::Established));
        assert_eq!(slot.held_by(TrackingKey(1)), None);
        assert!(slot.held_by(TrackingKey(2)).is_some());
    }

    #[test]
    fn a_state_and_the_next_holders_identity_match_neither_key() {
        let slot = slot();
        let old = slot.occupy(State(0), TrackingKey(1), &entry(), || true).unwrap();
        slot.occupy(old, TrackingKey(2), &entry(), || true).unwrap();
        assert!(!slot.identifies(TrackingKey(1), old));
        assert!(!slot.identifies(TrackingKey(2), old));
    }

    /// The word of the fourth holder, of backend 0, has the turn of an empty slot and no other bit that lasts.
    #[test]
    fn an_emptied_slot_no_longer_bears_the_name_of_its_key() {
        let slot = slot();
        let entry = Entry { backend: BackendHandle(0), generation: Generation(0), ..entry() };
        for number in 1..9 {
            let key = TrackingKey(number);
            let tentative = slot.occupy(slot.state(), key, &entry, || true).unwrap();
            assert!(slot.bears(key, slot.state()));
            assert!(slot.settle(tentative) && slot.bears(key, slot.state()));
            assert!(slot.vacate(slot.state()) && !slot.bears(key, slot.state()), "{number}");
        }
    }

    #[test]
    fn a_use_and_an_overflow_bit_that_is_set_beside_it_both_last() {
        let slot = slot();
        let tentative = slot.occupy(State(0), TrackingKey(1), &entry(), || false).unwrap();
        assert!(slot.settle(tentative));
        let looked_up = slot.state();
        assert!(slot.set_overflow(looked_up));
        assert!(slot.touch(looked_up, Tick(9), Stage::Established));
        let state = slot.held_by(TrackingKey(1)).unwrap();
        assert!(state.overflows());
        assert_eq!(state.entry(), Entry { seen: Tick(9), stage: Stage::Established, ..entry() });
    }

    #[test]
    fn holders_inherit_an_overflow_bit_that_is_needed() {
        let slot = slot();
        assert!(slot.set_overflow(State(0)));
        let first = slot.occupy(slot.state(), TrackingKey(1), &entry(), || true).unwrap();
        assert!(first.overflows() && slot.vacate(first) && slot.state().overflows());
        slot.clear_overflow(slot.state(), || true);
        assert!(slot.state().is_empty() && slot.state().overflows());
        let second = slot.occupy(slot.state(), TrackingKey(2), &entry(), || false).unwrap();
        assert!(!second.overflows() && slot.vacate(second));
        assert!(slot.set_overflow(slot.state()));
        slot.clear_overflow(slot.state(), || false);
        assert!(slot.state().is_empty() && !slot.state().overflows());
    }

    #[test]
    fn a_slot_tells_the_home_bucket_of_its_entry() {
        let slot = slot();
        assert!(!slot.may_hold(0) && !slot.may_hold(1));
        let tentative = slot.occupy(State(0), TrackingKey(7), &entry(), || true).unwrap();
        assert!(slot.may_hold(0) && slot.may_hold(1), "a tentative entry may be anyone's");
        slot.settle(tentative);
        assert!(!slot.may_hold(0) && slot.may_hold(1));
    }
}
