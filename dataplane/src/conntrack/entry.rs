//! Entries, which tell the backend of a connection, and their packing into one 64-bit state word.

use super::Standing;
use crate::backend::{BackendHandle, Generation};
use crate::time::Tick;

/// Backend of one tracked connection, and all that decides whether the entry is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Backend that the connection's packets go to; below [`BackendHandle::LIMIT`].
    pub backend: BackendHandle,
    /// Generation that the entry was made under; below [`Generation::LIMIT`].
    pub generation: Generation,
    /// True if the connection stays on its backend when that turns unhealthy.
    pub persists: bool,
    /// Stage of the connection, by the packets that have come of it.
    pub stage: Stage,
    /// Time of the last use. An entry that comes out of the table has the low [`SEEN_BITS`](Entry::SEEN_BITS) bits
    /// alone; [`Entry::idle`] is the way to read it.
    pub seen: Tick,
}

impl Entry {
    /// Bits of the clock that an entry keeps: its time wraps after 2^18 seconds, 3 days.
    pub const SEEN_BITS: u32 = 18;

    /// Seconds that an entry may lie in the reader's future before it counts as very old instead.
    ///
    /// Workers read the clock once a burst, so one that is late by a tick meets entries that another has refreshed a
    /// tick ahead of it. Taken for old, they would be voided in the middle of their use.
    pub const CLOCK_SKEW: u32 = 4096;

    /// Seconds since the connection was last used, modulo the wrap; zero for what lies in the future.
    ///
    /// An entry is within its idle timeout while this is at most the timeout.
    #[must_use]
    #[inline]
    pub fn idle(&self, now: Tick) -> u32 {
        let elapsed = now.0.wrapping_sub(self.seen.0) & SEEN_MASK;
        if elapsed > SEEN_MASK - Self::CLOCK_SKEW { 0 } else { elapsed }
    }
}

const SEEN_MASK: u32 = (1 << Entry::SEEN_BITS) - 1;

/// Stage of a connection, by the packets that have come of it.
///
/// The stage decides one thing: which valid entry gives way where the slots of a new one are full.
//
// Half-open is the highest number: one more in the word's bits for the stage carries into those beside them, and into those
// of no other stage. So one addition tells packets that may change the stage within a second from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A packet that neither opens nor closes it has come in a later second than one before it.
    Established = 0b00,
    /// A FIN or RST has come of it, and no SYN since. It stays so: what follows are acknowledgements and
    /// retransmissions.
    Closed = 0b01,
    /// Packets have come within one second alone, and not only SYNs: a single one from the middle of a TCP connection, the
    /// first of another protocol's, or a whole handshake.
    Unconfirmed = 0b10,
    /// SYNs alone have come.
    HalfOpen = 0b11,
}

impl Stage {
    /// All stages, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Established, Self::Closed, Self::Unconfirmed, Self::HalfOpen];

    /// Standing of a valid entry in this stage.
    #[must_use]
    #[inline]
    pub const fn standing(self) -> Standing {
        match self {
            Self::Established => Standing::Live,
            Self::Closed => Standing::Closed,
            Self::HalfOpen => Standing::HalfOpen,
            Self::Unconfirmed => Standing::Unconfirmed,
        }
    }

    /// Stage after another packet that doesn't close the connection; `opens` says that it is a SYN, `is_later` that it has
    /// come in a later second than the one before it.
    //
    // Packets within a second confirm nothing: a flood sends two of each packet as easily as one, and must keep state to
    // send the second when the first is a second old.
    #[inline]
    pub(super) fn continued(self, opens: bool, is_later: bool) -> Self {
        match self {
            Self::HalfOpen if !opens && is_later => Self::Established,
            Self::HalfOpen if !opens => Self::Unconfirmed,
            Self::Unconfirmed if is_later => Self::Established,
            unchanged => unchanged,
        }
    }
}

/// Progress of a slot: the top two bits of its state word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing is in the slot. All bits zero, so that fresh memory is an empty table.
    Empty = 0,
    /// One worker is writing the identity word, and nobody else may touch it.
    Busy = 1,
    /// An entry that lookups don't see yet: another worker may be inserting the same key elsewhere.
    Tentative = 2,
    /// The one entry of its key.
    Settled = 3,
}

/// The state word of a slot.
///
/// ```text
///  63 62   61 60      59      58        42   41     21   20 19      18      17       0
/// ┌───────┬───────┬──────────┬────────────┬────────────┬───────┬──────────┬───────────┐
/// │ phase │ turn  │ persists │ generation │  backend   │ stage │ overflow │   seen    │
/// └───────┴───────┴──────────┴────────────┴────────────┴───────┴──────────┴───────────┘
///    2       2         1           17           21         2        1          18
/// ```
///
/// `turn` counts, modulo 4, how often the slot has changed hands. Phase, stage and seen change while an entry
/// stays; the others are frozen from its publication on. `overflow` belongs to the bucket, not to the entry: holders
/// inherit it, and it may be set beneath one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State(pub(super) u64);

impl State {
    const PHASE: u32 = 62;
    const TURN: u32 = 60;
    const PERSISTS: u64 = 1 << 59;
    const GENERATION: u32 = Self::BACKEND + BackendHandle::LIMIT.ilog2();
    const BACKEND: u32 = Self::STAGE + 2;
    const STAGE: u32 = Entry::SEEN_BITS + 1;
    const OVERFLOW: u64 = 1 << Entry::SEEN_BITS;
    const PHASE_MASK: u64 = 0b11 << Self::PHASE;
    const TURN_MASK: u64 = 0b11 << Self::TURN;
    const STAGE_MASK: u64 = 0b11 << Self::STAGE;
    const FROZEN: u64 = !(Self::PHASE_MASK | Self::STAGE_MASK | Self::OVERFLOW | SEEN_MASK as u64);
    /// Bit that phases of an entry have, tentative and settled ones, and no other.
    const ENTRY: u64 = 1 << (u64::BITS - 1);

    /// Word under which `entry` takes over a slot that was in state `before`.
    pub(super) fn succeeding(before: Self, entry: &Entry) -> Self {
        debug_assert!(entry.backend.0 < BackendHandle::LIMIT, "{:?} has no room in an entry", entry.backend);
        debug_assert!(
            entry.generation.0 < Generation::LIMIT,
            "{:?} has no room in an entry",
            entry.generation
        );
        let turn = before.0.wrapping_add(1 << Self::TURN) & Self::TURN_MASK;
        // The masks keep a handle that is out of range, a bug elsewhere, from spilling into its neighbours.
        let backend = u64::from(entry.backend.0 & (BackendHandle::LIMIT - 1)) << Self::BACKEND;
        let generation = u64::from(entry.generation.0 & (Generation::LIMIT - 1)) << Self::GENERATION;
        let persists = if entry.persists { Self::PERSISTS } else { 0 };
        let overflow = before.0 & Self::OVERFLOW;
        Self(turn | persists | generation | backend | overflow)
            .in_phase(Phase::Tentative)
            .seen_at(entry.seen)
            .in_stage(entry.stage)
    }

    /// Word that a slot is left with when this entry goes.
    #[inline]
    pub(super) fn vacated(self) -> Self {
        Self(self.0 & (Self::TURN_MASK | Self::OVERFLOW))
    }

    /// Word of the slot while one worker is writing to it.
    #[inline]
    pub(super) fn busy(self) -> Self {
        Self((Phase::Busy as u64) << Self::PHASE | self.0 & Self::OVERFLOW)
    }

    /// True if the slot says that its bucket may have overflowed into the other one of the pair.
    #[inline]
    pub(super) fn overflows(self) -> bool {
        self.0 & Self::OVERFLOW != 0
    }

    #[inline]
    pub(super) fn with_overflow(self, overflows: bool) -> Self {
        Self(self.0 & !Self::OVERFLOW | if overflows { Self::OVERFLOW } else { 0 })
    }

    #[inline]
    pub(super) fn phase(self) -> Phase {
        match self.0 >> Self::PHASE {
            0 => Phase::Empty,
            1 => Phase::Busy,
            2 => Phase::Tentative,
            _ => Phase::Settled,
        }
    }

    #[inline]
    pub(super) fn in_phase(self, phase: Phase) -> Self {
        Self(self.0 & !Self::PHASE_MASK | (phase as u64) << Self::PHASE)
    }

    #[inline]
    pub(super) fn seen_at(self, now: Tick) -> Self {
        Self(self.0 & !u64::from(SEEN_MASK) | u64::from(now.0 & SEEN_MASK))
    }

    #[inline]
    pub(super) fn stage(self) -> Stage {
        match self.0 >> Self::STAGE & 0b11 {
            0b00 => Stage::Established,
            0b01 => Stage::Closed,
            0b10 => Stage::Unconfirmed,
            _ => Stage::HalfOpen,
        }
    }

    #[inline]
    pub(super) fn in_stage(self, stage: Stage) -> Self {
        Self(self.0 & !Self::STAGE_MASK | (stage as u64) << Self::STAGE)
    }

    /// Bits that don't change from an entry's publication to its end.
    #[inline]
    pub(super) fn frozen(self) -> u64 {
        self.0 & Self::FROZEN
    }

    /// Bits that a slot's identity has the key XORed with: the frozen ones, and the one that tells an entry from a slot
    /// without any. So a slot that was emptied has lost the name of its key.
    #[inline(always)]
    pub(super) fn naming(self) -> u64 {
        self.0 & (Self::FROZEN | Self::ENTRY)
    }

    /// True if `entry` could stand under this word with nothing but its time and stage changed.
    pub(super) fn differs_only_in_use(self, entry: &Entry) -> bool {
        self.frozen() & !Self::TURN_MASK == Self::succeeding(self, entry).frozen() & !Self::TURN_MASK
    }

    /// True if the phase is that of an empty slot.
    #[inline(always)]
    pub(super) fn is_empty(self) -> bool {
        self.0 >> Self::PHASE == Phase::Empty as u64
    }

    /// True if there is an entry: the phase is tentative or settled, which share a bit.
    #[inline(always)]
    pub(super) fn is_entry(self) -> bool {
        self.0 & Self::ENTRY != 0
    }

    /// Backend of the entry; meaningless unless the phase is tentative or settled.
    #[inline(always)]
    pub(super) fn backend(self) -> BackendHandle {
        BackendHandle((self.0 >> Self::BACKEND) as u32 & (BackendHandle::LIMIT - 1))
    }

    /// Entry that the word describes; meaningless unless the phase is tentative or settled.
    #[inline]
    pub(super) fn entry(self) -> Entry {
        let field = |shift: u32, limit: u32| (self.0 >> shift) as u32 & (limit - 1);
        Entry {
            backend: BackendHandle(field(Self::BACKEND, BackendHandle::LIMIT)),
            generation: Generation(field(Self::GENERATION, Generation::LIMIT)),
            persists: self.0 & Self::PERSISTS != 0,
            stage: self.stage(),
            seen: Tick(field(0, 1 << Entry::SEEN_BITS)),
        }
    }
}

/// State words of the entries of one backend that are valid, but for what their use changes.
#[derive(Clone, Copy, Debug)]
pub struct ValidState {
    /// Words of entries that do not persist, and of those that do.
    words: [u64; 2],
}

impl ValidState {
    /// Bits that a valid entry has in common with its word.
    const MASK: u64 = State::FROZEN & !State::TURN_MASK | State::PHASE_MASK;

    /// Words of the entries of `backend` under these generations; `persistent` is that of entries that persist.
    pub fn new(backend: BackendHandle, generation: Generation, persistent: Generation) -> Self {
        let word = |persists: bool| {
            let generation = if persists { persistent } else { generation };
            let stage = Stage::Established;
            let entry = Entry { backend, generation, persists, stage, seen: Tick(0) };
            State::succeeding(State(0), &entry).in_phase(Phase::Settled).0 & Self::MASK
        };
        Self { words: [word(false), word(true)] }
    }

    /// True if the entry is valid and a packet at `now` which neither opens nor closes its connection leaves nothing to
    /// note in it.
    #[inline(always)]
    pub(super) fn is_in_use(&self, state: State, now: Tick) -> bool {
        const MASK: u64 = ValidState::MASK | SEEN_MASK as u64;
        let word = self.words[usize::from(state.0 & State::PERSISTS != 0)];
        // Half-open alone carries into the backend, which then is another; all else is noted once a second.
        state.0.wrapping_add(1 << State::STAGE) & MASK == word | u64::from(now.0 & SEEN_MASK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seen: u32) -> Entry {
        Entry {
            backend: BackendHandle(BackendHandle::LIMIT - 1),
            generation: Generation(0),
            persists: true,
            stage: Stage::Established,
            seen: Tick(seen),
        }
    }

    #[test]
    fn every_field_survives_packing_at_its_limits() {
        for backend in [0, 1, BackendHandle::LIMIT - 1] {
            for generation in [0, 1, Generation::LIMIT - 1] {
                for seen in [0, 1, SEEN_MASK] {
                    for (persists, stage) in
                        [false, true].into_iter().flat_map(|p| Stage::ALL.map(|stage| (p, stage)))
                    {
                        let entry = Entry {
                            backend: BackendHandle(backend),
                            generation: Generation(generation),
                            persists,
                            stage,
                            seen: Tick(seen),
                        };
                        let state = State::succeeding(State(0), &entry);
                        assert_eq!(state.entry(), entry);
                        assert_eq!(state.phase(), Phase::Tentative);
                        assert_eq!(state.in_phase(Phase::Settled).entry(), entry);
                    }
                }
            }
        }
    }

    #[test]
    fn successive_holders_of_a_slot_never_have_the_same_word() {
        let first = State::succeeding(State(0), &entry(7));
        let second = State::succeeding(first, &entry(7));
        let after_a_vacancy = State::succeeding(second.vacated(), &entry(7));
        assert_ne!(first.frozen(), second.frozen());
        assert_ne!(second.frozen(), after_a_vacancy.frozen());
        assert_eq!(second.vacated().phase(), Phase::Empty);
    }

    #[test]
    fn use_changes_no_frozen_bit() {
        let state = State::succeeding(State(0), &entry(7));
        for stage in Stage::ALL {
            let used = state.in_phase(Phase::Settled).seen_at(Tick(u32::MAX)).in_stage(stage);
            assert_eq!(used.stage(), stage);
            assert_eq!(used.frozen(), state.frozen());
            assert_eq!(used.with_overflow(true).frozen(), state.frozen());
            assert_eq!(used.with_overflow(true).entry(), used.entry());
            assert!(used.differs_only_in_use(&entry(1)));
            assert!(!used.differs_only_in_use(&Entry { generation: Generation(1), ..entry(1) }));
        }
    }

    #[test]
    fn a_packet_of_a_later_second_establishes_and_a_close_lasts() {
        use Stage::{Closed, Established, HalfOpen, Unconfirmed};
        for (stage, at_once, later, later_syn) in [
            (HalfOpen, Unconfirmed, Established, HalfOpen),
            (Unconfirmed, Unconfirmed, Established, Established),
            (Established, Established, Established, Established),
            (Closed, Closed, Closed, Closed),
        ] {
            assert_eq!(stage.continued(false, false), at_once, "{stage:?}");
            assert_eq!(stage.continued(false, true), later, "{stage:?}");
            assert_eq!(stage.continued(true, false), stage, "{stage:?}");
            assert_eq!(stage.continued(true, true), later_syn, "{stage:?}");
        }
    }

    #[test]
    fn within_a_second_only_a_half_open_entry_has_something_to_note() {
        for backend in [0, 1, BackendHandle::LIMIT - 1] {
            for generation in [0, Generation::LIMIT - 1] {
                let (backend, generation) = (BackendHandle(backend), Generation(generation));
                let valid = ValidState::new(backend, generation, generation);
                for (stage, persists) in Stage::ALL.into_iter().flat_map(|s| [(s, false), (s, true)]) {
                    let entry = Entry { backend, generation, persists, stage, seen: Tick(7) };
                    let state = State::succeeding(State(u64::MAX), &entry).in_phase(Phase::Settled);
                    assert_eq!(valid.is_in_use(state, Tick(7)), stage != Stage::HalfOpen, "{entry:?}");
                    assert!(!valid.is_in_use(state, Tick(8)), "{entry:?}");
                    assert!(!valid.is_in_use(state.in_phase(Phase::Tentative), Tick(7)), "{entry:?}");
                }
            }
        }
    }

    #[test]
    fn idle_time_crosses_the_wrap() {
        let wrap = 1 << Entry::SEEN_BITS;
        assert_eq!(entry(wrap - 10).idle(Tick(wrap + 50)), 60);
        assert_eq!(entry(5).idle(Tick(3 * wrap + 5)), 0);
        assert_eq!(entry(5).idle(Tick(57_605)), 57_600);
    }

    #[test]
    fn an_entry_refreshed_ahead_of_a_late_worker_is_fresh() {
        assert_eq!(entry(101).idle(Tick(100)), 0);
        assert_eq!(entry(0).idle(Tick((1 << Entry::SEEN_BITS) - 1)), 0);
        let oldest = (1 << Entry::SEEN_BITS) - 1 - Entry::CLOCK_SKEW;
        assert_eq!(entry(0).idle(Tick(oldest)), oldest);
    }
}
