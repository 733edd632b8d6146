//! The table: finds a key's entry, and gives a new one its slot.

use core::fmt;
use core::hint::select_unpredictable;

use super::entry::{Entry, Phase, Stage, State, ValidState};
#[cfg(not(loom))]
use super::memory::Memory;
use super::pair::{BUCKET, PAIR, Pair};
use super::slot::Slot;
use super::{Inserted, Standing, TrackingKey};
use crate::backend::BackendHandle;
use crate::prefetch::prefetch;
use crate::primitive::{Ordering, fence};
use crate::time::Tick;

/// Number of times that an insertion starts over because other workers changed the slots under it.
///
/// Each time, another worker has finished a step of its own, so this bounds the time of a packet, not the progress of
/// the table.
const ATTEMPTS: usize = 8;

/// Connection-tracking table, shared by all workers.
///
/// See the [module](super) for its layout and why it is safe to share.
pub struct ConntrackTable {
    pairs: Pairs,
}

#[cfg(not(loom))]
type Pairs = Memory;
#[cfg(loom)]
type Pairs = Box<[Pair]>;

/// Error of a conntrack table whose memory could not be had: `max_entries` is more than the machine has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableTooLarge {
    /// Number of entries that were asked for.
    pub max_entries: usize,
}

impl fmt::Display for TableTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no memory for a conntrack table of {} entries (24 bytes each)", self.max_entries)
    }
}

impl core::error::Error for TableTooLarge {}

impl ConntrackTable {
    /// Table for `max_entries` connections, in 24 bytes each: three slots for every two entries.
    ///
    /// The memory is reserved here and zero; the operating system provides a page of it at its first use.
    ///
    /// # Errors
    /// [`TableTooLarge`] where the memory can't be had.
    pub fn with_capacity(max_entries: usize) -> Result<Self, TableTooLarge> {
        let too_large = TableTooLarge { max_entries };
        let pairs = max_entries.div_ceil(2).checked_mul(3).ok_or(too_large)?.div_ceil(PAIR).max(1);
        Ok(Self { pairs: empty_pairs(pairs).ok_or(too_large)? })
    }

    /// Asks the operating system for the memory of one share of the table, of so many, now, so that no packet has to wait for
    /// a page. The pages are those nearest to the calling thread; threads may populate shares beside each other.
    ///
    /// # Errors
    /// Where it can't: before Linux 5.14, or for want of memory. The table works, and gets its pages at their first use.
    #[cfg(not(loom))]
    pub fn populate(&self, share: usize, of: usize) -> std::io::Result<()> {
        self.pairs.populate(share, of)
    }

    /// Bytes of the pages that the table lies on: 1 GiB where a large table found reserved ones, else 2 MiB, which the
    /// kernel gives where it can.
    #[cfg(not(loom))]
    #[must_use]
    pub fn page_bytes(&self) -> usize {
        self.pairs.page_bytes()
    }

    /// Bytes that the table takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.pairs.len() * size_of::<Pair>()
    }

    /// Starts to bring `key`'s home bucket into the cache: enough for nearly all that are found.
    #[inline]
    pub fn prefetch(&self, key: TrackingKey) {
        prefetch(self.neighbourhood(key).slot(0));
    }

    /// Starts to bring both buckets of `key` into the cache, for an insertion.
    #[inline]
    pub fn prefetch_pair(&self, key: TrackingKey) {
        let near = self.neighbourhood(key);
        prefetch(near.slot(0));
        prefetch(near.slot(BUCKET));
    }

    /// Entry of `key`, valid or not.
    ///
    /// A lookup never waits and writes nothing.
    #[must_use]
    #[inline]
    pub fn lookup(&self, key: TrackingKey) -> Option<Found<'_>> {
        let near = self.neighbourhood(key);
        near.settled_in(near.home).or_else(|| near.settled_in(near.home ^ BUCKET))
    }

    /// Glance at the entry of `key`: what nearly every packet needs to know of it.
    #[inline(always)]
    pub(crate) fn glance(&self, key: TrackingKey) -> Glance {
        let near = self.neighbourhood(key);
        let home = near.glance_at(near.home);
        if !home.is_nothing() { home } else { near.glance_at(near.home ^ BUCKET) }
    }

    /// Gives `key` an entry, unless it has one that isn't void.
    ///
    /// For a packet that no valid entry was found for. `judge` says what an entry is worth now; of those in `key`'s
    /// two buckets a void one gives way first, then a half-open one, then one that is closed or unconfirmed; of each
    /// rank the one that has been idle for longest.
    pub fn insert(&self, key: TrackingKey, entry: Entry, judge: impl Fn(&Entry) -> Standing) -> Inserted {
        self.neighbourhood(key).insert(&entry, &judge, &judge)
    }

    /// Gives `key` a new entry instead of any that it has.
    ///
    /// For a TCP SYN that starts a new connection.
    pub fn restart(&self, key: TrackingKey, entry: Entry, judge: impl Fn(&Entry) -> Standing) -> Inserted {
        self.neighbourhood(key).insert(&entry, &judge, &|_| Standing::Void)
    }

    /// Notes that a packet which closes the connection of `key` came at `now`; `found` is the entry that it found.
    ///
    /// Unlike a refresh, it isn't lost where another worker notes a use at the same time: no later packet would make
    /// up for it.
    #[inline(never)]
    pub fn close<'t>(&'t self, key: TrackingKey, mut found: Found<'t>, now: Tick) {
        for _ in 0..ATTEMPTS {
            if found.note(now, Stage::Closed) {
                return;
            }
            let frozen = found.state.frozen();
            match self.lookup(key) {
                Some(again) if again.state.frozen() == frozen => found = again,
                _ => return,
            }
        }
    }

    /// Entries with their keys, in no order, each as it is when the iterator comes by.
    ///
    /// Reads the whole table: for the control thread.
    pub fn entries(&self) -> impl Iterator<Item = (TrackingKey, Entry)> {
        self.slots().filter_map(Slot::settled).map(|(key, state)| (key, state.entry()))
    }

    /// Number of entries, void ones that have not been swept included.
    ///
    /// Reads the whole table: for the control thread.
    #[must_use]
    pub fn occupancy(&self) -> usize {
        self.entries().count()
    }

    /// Number of slots: three for every two entries of the capacity, rounded up to whole pairs.
    #[must_use]
    pub fn slot_count(&self) -> usize {
        self.pairs.len() * PAIR
    }

    /// Number of buckets.
    #[must_use]
    pub fn bucket_count(&self) -> usize {
        self.pairs.len() * 2
    }

    /// Bucket with this number, counted over all pairs.
    pub(super) fn bucket(&self, number: usize) -> &[Slot; BUCKET] {
        let (buckets, _) = self.pairs[number / 2].0.as_chunks();
        &buckets[number % 2]
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.pairs.iter().flat_map(|pair| &pair.0)
    }

    #[inline(always)]
    fn neighbourhood(&self, key: TrackingKey) -> Neighbourhood<'_> {
        // The key's upper bits scaled to the number of pairs, which so need not be a power of two: memory is what was
        // asked for, not up to twice that. The lowest bit picks the home bucket.
        let pairs: &[Pair] = &self.pairs;
        let index = ((u128::from(key.0) * pairs.len() as u128) >> 64) as usize;
        Neighbourhood { key, pair: &pairs[index].0, home: (key.0 as usize & 1) * BUCKET }
    }
}

impl fmt::Debug for ConntrackTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConntrackTable").field("slot_count", &self.slot_count()).finish_non_exhaustive()
    }
}

/// Entry in its slot, as a lookup found it.
#[derive(Clone, Copy)]
pub struct Found<'t> {
    slot: &'t Slot,
    state: State,
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
    /// Writes only where the clock has moved on or the stage changes. Where another worker has changed the entry since
    /// it was found, nothing is changed: that worker has noted a use as recent, or put another entry here.
    #[inline]
    pub fn refresh(self, now: Tick, opens: bool) {
        if self.entry().idle(now) > 0 || self.state.is_unconfirmed() {
            self.note(now, self.state.stage().continued(opens));
        }
    }

    /// Notes a use at `now`, after which the connection is in `stage`; false where the entry has changed since it was
    /// found.
    fn note(self, now: Tick, stage: Stage) -> bool {
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
pub(crate) struct Glance(State);

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

/// Slots where one key may have its entry.
struct Neighbourhood<'t> {
    key: TrackingKey,
    pair: &'t [Slot; PAIR],
    /// Index of the home bucket's first slot in the pair.
    home: usize,
}

/// Slot that an insertion may put its entry into.
enum Choice {
    /// Slot of the key's own entry.
    Own(usize, State),
    /// Slot that is empty, or whose entry gives way.
    Room(usize, State, Inserted),
    /// None before another worker is done with a slot that it has just taken, or emptied.
    InMotion,
    /// None.
    Full,
}

impl<'t> Neighbourhood<'t> {
    /// Slot with index `n` in the order of lookups: the home bucket's first. The order is the same on every worker.
    #[inline]
    fn slot(&self, n: usize) -> &'t Slot {
        &self.pair[n ^ self.home]
    }

    /// Settled entry of the key in the bucket that starts at `first` of the pair.
    #[inline]
    fn settled_in(&self, first: usize) -> Option<Found<'t>> {
        let bucket: &[Slot; BUCKET] = self.pair[first..].first_chunk().expect("a pair is two buckets");
        let mut found = None;
        for slot in bucket.iter().rev() {
            let state = slot.state();
            if slot.bears(self.key, state) {
                found = Some(Found { slot, state });
            }
        }
        // Nearly always what bears the name is its settled entry. While workers contend it may be another's beside it.
        found.and_then(
            |found| if found.state.phase() == Phase::Settled { Some(found) } else { self.search(first) },
        )
    }

    /// State of the slot that bears the name of the key in the bucket that starts at `first` of the pair.
    //
    // Nobody can foresee which slot it is, and a wrong guess costs more than all else here: there must be no branch.
    // Where workers contend the name it may be a tentative entry beside the settled one, as its phase says.
    #[inline(always)]
    fn glance_at(&self, first: usize) -> Glance {
        let bucket: &[Slot; BUCKET] = self.pair[first..].first_chunk().expect("a pair is two buckets");
        let mut word = 0;
        for slot in bucket {
            let state = slot.state();
            // The key's former slots still bear its name, if no other key has had them since.
            let bears = slot.bears(self.key, state) & state.is_entry();
            word = select_unpredictable(bears, state.0, word);
        }
        Glance(State(word))
    }

    #[cold]
    fn search(&self, first: usize) -> Option<Found<'t>> {
        let bucket: &[Slot; BUCKET] = self.pair[first..].first_chunk().expect("a pair is two buckets");
        bucket.iter().find_map(|slot| {
            let state = slot.held_by(self.key).filter(|state| state.phase() == Phase::Settled)?;
            Some(Found { slot, state })
        })
    }

    fn insert(
        &self,
        entry: &Entry,
        judge: &impl Fn(&Entry) -> Standing,
        judge_own: &impl Fn(&Entry) -> Standing,
    ) -> Inserted {
        for _ in 0..ATTEMPTS {
            let (n, before, outcome) = match self.choose(entry.seen, judge) {
                Choice::Own(n, rival) if rival.phase() == Phase::Tentative => match self.settle(n, rival) {
                    Some((_, winner)) => return Inserted::Lost(winner.entry()),
                    None => continue,
                },
                Choice::Own(_, own) if judge_own(&own.entry()) != Standing::Void => {
                    return Inserted::Lost(own.entry());
                }
                Choice::Own(n, own) if own.differs_only_in_use(entry) => {
                    if self.slot(n).touch(own, entry.seen, entry.stage) {
                        return Inserted::Replaced;
                    }
                    continue;
                }
                Choice::Own(n, own) => (n, own, Inserted::Replaced),
                Choice::Room(n, before, outcome) => (n, before, outcome),
                Choice::InMotion => {
                    core::hint::spin_loop();
                    continue;
                }
                Choice::Full => return Inserted::Full,
            };
            let Some(tentative) = self.slot(n).occupy(before, self.key, entry) else { continue };
            match self.settle(n, tentative) {
                Some((slot, stands)) if slot == n && stands.frozen() == tentative.frozen() => {
                    return outcome;
                }
                Some((_, winner)) => return Inserted::Lost(winner.entry()),
                None => {}
            }
        }
        Inserted::Full
    }

    /// Looks at every slot, and where none is empty again, to judge what is in them.
    fn choose(&self, now: Tick, judge: &impl Fn(&Entry) -> Standing) -> Choice {
        let mut empty = None;
        let mut in_motion = false;
        for n in 0..PAIR {
            let state = self.slot(n).state();
            match state.phase() {
                Phase::Empty => empty = empty.or(Some((n, state))),
                Phase::Busy => in_motion = true,
                Phase::Tentative | Phase::Settled if self.slot(n).bears(self.key, state) => {
                    return Choice::Own(n, state);
                }
                Phase::Tentative => in_motion = true,
                Phase::Settled => {}
            }
        }
        if let Some((n, state)) = empty {
            return Choice::Room(n, state, Inserted::New);
        }
        match self.victim(now, judge) {
            // Another worker may have finished the key's entry since it was looked for.
            Choice::Room(n, state, _) if self.slot(n).bears(self.key, state) => Choice::Own(n, state),
            Choice::Full if in_motion => Choice::InMotion,
            choice => choice,
        }
    }

    /// Slot whose entry gives way.
    fn victim(&self, now: Tick, judge: &impl Fn(&Entry) -> Standing) -> Choice {
        let mut in_motion = false;
        let mut victim = None;
        // Half-open entries before others, then the longest idle; of a second's, closed ones, which nobody will confirm.
        let mut strongest = (false, 0, false);
        // Another slot of a bucket for every key: were it always the first, a flood's next packet would push out what
        // has just been made, and leave what lay there before.
        let first = (self.key.0 >> 1) as usize % BUCKET;
        for n in (0..PAIR).map(|n| n ^ first) {
            let state = self.slot(n).state();
            if state.phase() != Phase::Settled {
                in_motion = true;
                continue;
            }
            let entry = state.entry();
            let standing = judge(&entry);
            match standing {
                Standing::Live => continue,
                Standing::Void => return Choice::Room(n, state, Inserted::EvictedVoid),
                Standing::Closed | Standing::HalfOpen | Standing::Unconfirmed => {}
            }
            let claim = (standing == Standing::HalfOpen, entry.idle(now), standing == Standing::Closed);
            if victim.is_none() || claim > strongest {
                (victim, strongest) = (Some((n, state, standing)), claim);
            }
        }
        match victim {
            Some((n, state, Standing::HalfOpen)) => Choice::Room(n, state, Inserted::EvictedHalfOpen),
            Some((n, state, Standing::Closed)) => Choice::Room(n, state, Inserted::EvictedClosed),
            Some((n, state, _)) => Choice::Room(n, state, Inserted::EvictedUnconfirmed),
            None if in_motion => Choice::InMotion,
            None => Choice::Full,
        }
    }

    /// Decides between the tentative entries of the key, beginning with that in slot `n`; returns the one that stands,
    /// with its slot.
    ///
    /// Any worker may do this for any other's entry; the result is the same. None where all that it knew of are gone
    /// or undecided, and the insertion starts over.
    //
    // After Purcell and Harris, "Non-blocking hashtables with open addressing" (DISC 2005): the tentative entry in the
    // lower slot goes first, those in higher slots are withdrawn, and a settled one ends the contest.
    fn settle(&self, mut n: usize, mut tentative: State) -> Option<(usize, State)> {
        'candidate: loop {
            // SeqCst; pairs with this fence on any other worker that settles an entry of the key. Of two, the later
            // sees what the earlier had found tentative: two entries can't be settled past each other.
            fence(Ordering::SeqCst);
            for m in (0..PAIR).filter(|&m| m != n) {
                let slot = self.slot(m);
                let mut rival = slot.held_by(self.key);
                if let Some(state) = rival.filter(|state| state.phase() == Phase::Tentative) {
                    if m < n {
                        self.slot(n).vacate(tentative);
                        (n, tentative) = (m, state);
                        continue 'candidate;
                    }
                    if slot.vacate(state) {
                        continue;
                    }
                    rival = slot.held_by(self.key);
                }
                if let Some(winner) = rival.filter(|state| state.phase() == Phase::Settled) {
                    // Where ours is no longer tentative, another worker has settled it: start over and find it.
                    return self.slot(n).vacate(tentative).then_some((m, winner));
                }
            }
            self.slot(n).settle(tentative);
            // Settled by us or by another worker on our behalf, unless a lower one withdrew it or it is gone again.
            return self.slot(n).held_by(self.key).filter(|s| s.phase() == Phase::Settled).map(|s| (n, s));
        }
    }
}

#[cfg(not(loom))]
fn empty_pairs(count: usize) -> Option<Pairs> {
    Memory::new(count).ok()
}

#[cfg(loom)]
fn empty_pairs(count: usize) -> Option<Pairs> {
    Some((0..count).map(|_| Pair(core::array::from_fn(|_| Slot::empty()))).collect())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::SweepCursor;
    use super::*;
    use crate::backend::Generation;

    fn entry(backend: u32) -> Entry {
        Entry {
            backend: BackendHandle(backend),
            generation: Generation(0),
            persists: false,
            stage: Stage::Established,
            seen: Tick(5),
        }
    }

    /// The fourth holder of a slot has the turn of an empty one: with backend 0 its word is zero once it is gone, and the
    /// slot goes on to bear its name.
    #[test]
    fn a_glance_sees_an_entry_beside_a_slot_that_its_key_has_had_before() {
        let table = ConntrackTable::with_capacity(4).expect("a few bytes");
        let sweep = |backend: u32| {
            let judge = |entry: &Entry| {
                if entry.backend.0 == backend { Standing::Void } else { Standing::Live }
            };
            table.sweep(&mut SweepCursor::default(), table.bucket_count(), judge);
        };
        // Even, so that all have one home bucket.
        let key = TrackingKey(2);
        let live = |_: &Entry| Standing::Live;
        assert_eq!(table.insert(TrackingKey(4), entry(2), live), Inserted::New);
        for n in 0..3 {
            assert_eq!(table.insert(TrackingKey(10 + 2 * n), entry(1), live), Inserted::New);
            sweep(1);
        }
        assert_eq!(table.insert(key, entry(0), live), Inserted::New);
        sweep(0);
        assert!(table.glance(key).is_nothing());
        sweep(2);
        assert_eq!(table.insert(key, entry(0), live), Inserted::New);
        let valid = ValidState::new(BackendHandle(0), Generation(0), Generation(0));
        assert!(!table.glance(key).is_nothing() && table.glance(key).is_in_use(&valid, Tick(5)));
        assert_eq!(table.lookup(key).map(|found| found.entry()), Some(entry(0)));
    }
}
