//! Insertions: which slot a new entry gets, and which of the entries of one key stands where several workers insert it.

use core::array;
use core::hint::select_unpredictable;

use super::census::WorkerCensus;
use super::entry::{Entry, Phase, Stage, State};
use super::neighbourhood::Neighbourhood;
use super::pair::BUCKET;
use super::{Inserted, Standing};
use crate::primitive::{Ordering, fence};
use crate::time::Tick;

/// Number of times that an insertion starts over because other workers changed the slots under it.
///
/// Each time, another worker has finished a step of its own, so this bounds the time of a packet, not the progress of
/// the table.
pub(super) const ATTEMPTS: usize = 8;

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

/// States of the slots of a bucket, each as it was when looked at.
#[derive(Clone, Copy)]
struct Look {
    states: [State; BUCKET],
    /// Index of the bucket's first slot, in the order of lookups.
    first: usize,
    /// Bits of the slots that bear the key's name: those of its entries, hardly ever one that it has had before.
    bearing: u32,
    /// Index in the bucket of the first slot that is empty, and its state; [`BUCKET`] for none.
    vacancy: (usize, State),
}

/// Entry that gives way before all others that were weighed.
struct Victim {
    slot: Option<(usize, State, Standing)>,
    /// Claim on the victim; zero for none.
    claim: u32,
    /// True if a slot was neither empty nor settled.
    in_motion: bool,
}

impl Look {
    /// Entry of the key itself.
    #[inline(always)]
    fn own(&self) -> Option<Choice> {
        if self.bearing == 0 {
            return None;
        }
        self.entries().next().map(|(n, state)| Choice::Own(n, state))
    }

    /// Entries of the key, each with its slot.
    fn entries(&self) -> impl Iterator<Item = (usize, State)> {
        let bears = |(index, state): &(usize, &State)| self.bearing >> index & 1 == 1 && state.is_entry();
        self.states.iter().enumerate().filter(bears).map(|(index, state)| (self.first + index, *state))
    }

    /// First slot that is empty.
    #[inline(always)]
    fn room(&self) -> Option<(usize, State)> {
        let (index, state) = self.vacancy;
        (index < BUCKET).then_some((self.first + index, state))
    }

    /// True if the bucket may have overflowed into the other one of the pair.
    #[inline(always)]
    fn overflows(&self) -> bool {
        State(self.states.iter().fold(0, |words, state| words | state.0)).overflows()
    }
}

impl Victim {
    /// Weighs the entries of a bucket, beginning with that in slot `first` of it; returns the first that is void.
    #[inline(always)]
    fn weigh(
        &mut self,
        look: &Look,
        first: usize,
        now: Tick,
        judge: &impl Fn(&Entry) -> Standing,
    ) -> Option<Choice> {
        for index in (0..BUCKET).map(|index| index ^ first) {
            let (n, state) = (look.first + index, look.states[index]);
            if state.phase() != Phase::Settled {
                self.in_motion = true;
                continue;
            }
            let entry = state.entry();
            // By comparisons: a jump for each entry by its standing costs a flood more.
            let standing = judge(&entry);
            if standing == Standing::Live {
                continue;
            }
            if standing == Standing::Void {
                return Some(Choice::Room(n, state, Inserted::EvictedVoid));
            }
            // Half-open entries before others, then the longest idle; of a second's, closed ones, which nobody will
            // confirm.
            let half_open = u32::from(standing == Standing::HalfOpen);
            let closed = u32::from(standing == Standing::Closed);
            let claim = half_open << 31 | (entry.idle(now) + 1) << 1 | closed;
            if claim > self.claim {
                (self.slot, self.claim) = (Some((n, state, standing)), claim);
            }
        }
        None
    }

    fn choice(self) -> Choice {
        match self.slot {
            Some((n, state, Standing::HalfOpen)) => Choice::Room(n, state, Inserted::EvictedHalfOpen),
            Some((n, state, Standing::Closed)) => Choice::Room(n, state, Inserted::EvictedClosed),
            Some((n, state, _)) => Choice::Room(n, state, Inserted::EvictedUnconfirmed),
            None if self.in_motion => Choice::InMotion,
            None => Choice::Full,
        }
    }
}

impl Neighbourhood<'_> {
    /// Gives the key an entry, unless it has one that isn't void; where the entry `restarts` the connection, in any case.
    #[inline(always)]
    pub(super) fn insert(
        &self,
        entry: &Entry,
        restarts: bool,
        judge: &impl Fn(&Entry) -> Standing,
        census: Option<&WorkerCensus>,
    ) -> Inserted {
        let home = self.look(0);
        // Where the home bucket has room, no entry of the key and no overflow, nothing else is looked at.
        if home.bearing == 0
            && let Some((n, before)) = home.room()
            && !home.overflows()
            && let Some(outcome) = self.put(n, before, entry, Inserted::New, census)
        {
            return outcome;
        }
        self.insert_after(home, entry, restarts, judge, census)
    }

    /// Inserts the entry after a first look at the home bucket that has not sufficed.
    #[inline(never)]
    fn insert_after(
        &self,
        mut home: Look,
        entry: &Entry,
        restarts: bool,
        judge: &impl Fn(&Entry) -> Standing,
        census: Option<&WorkerCensus>,
    ) -> Inserted {
        for _ in 0..ATTEMPTS {
            let outcome = match self.choose(&home, entry.seen, judge) {
                Choice::Own(n, rival) if rival.phase() == Phase::Tentative => {
                    self.contest(n, rival, census).map(|(_, winner)| Inserted::Lost(winner.entry()))
                }
                Choice::Own(_, own) if !restarts && judge(&own.entry()) != Standing::Void => {
                    Some(Inserted::Lost(own.entry()))
                }
                Choice::Own(n, own) if own.differs_only_in_use(entry) => {
                    self.slot(n).touch(own, entry.seen, entry.stage).then_some(Inserted::Replaced)
                }
                Choice::Own(n, own) => self.put(n, own, entry, Inserted::Replaced, census),
                Choice::Room(n, before, outcome) => self.put(n, before, entry, outcome, census),
                Choice::InMotion => {
                    core::hint::spin_loop();
                    None
                }
                Choice::Full => Some(Inserted::Full),
            };
            if let Some(outcome) = outcome {
                return outcome;
            }
            home = self.look(0);
        }
        Inserted::Full
    }

    /// Puts the entry into slot `n`, which was judged in the state `before`: with this `outcome`, if it stands. None where
    /// the insertion starts over.
    #[inline(always)]
    fn put(
        &self,
        n: usize,
        before: State,
        entry: &Entry,
        outcome: Inserted,
        census: Option<&WorkerCensus>,
    ) -> Option<Inserted> {
        let still_overflows = || self.pair.still_overflows((n ^ self.home) & BUCKET);
        let tentative = self.slot(n).occupy(before, self.key, entry, still_overflows)?;
        let is_settled = self.settle_alone(n, tentative);
        // The slot is taken, and lost to whoever had it, whatever becomes of the entry: counted here, where registers are
        // free.
        if let Some(census) = census {
            if outcome != Inserted::New {
                census.leave(&before.entry());
            }
            census.enter(entry);
        }
        if is_settled {
            return Some(outcome);
        }
        match self.contest(n, tentative, census)? {
            (slot, stands) if slot == n && stands.frozen() == tentative.frozen() => Some(outcome),
            (_, winner) => Some(Inserted::Lost(winner.entry())),
        }
    }

    /// Chooses a slot where an empty one of the home bucket can't be taken unseen: looks for the key's own entry and for
    /// room, and judges whose entry gives way.
    #[inline(always)]
    fn choose(&self, home: &Look, now: Tick, judge: &impl Fn(&Entry) -> Standing) -> Choice {
        if let Some(own) = home.own() {
            return own;
        }
        // Another slot of a bucket for every key: were it always the first, a flood's next packet would push out what
        // has just been made, and leave what lay there before.
        let first = (self.key.0 >> 1) as usize % BUCKET;
        let mut victim = Victim { slot: None, claim: 0, in_motion: false };
        let here = match home.room() {
            Some((n, empty)) => Some(Choice::Room(n, empty, Inserted::New)),
            None => victim.weigh(home, first, now, judge),
        };
        // Nobody can foresee if a bucket overflows: it is asked only where the answer spares the look at the other one.
        if let Some(here) = here {
            let own = if home.overflows() { self.look(BUCKET).own() } else { None };
            return own.unwrap_or(here);
        }
        let other = self.look(BUCKET);
        if let Some(own) = other.own() {
            return own;
        }
        if let Some((n, empty)) = other.room() {
            return Choice::Room(n, empty, Inserted::New);
        }
        victim.weigh(&other, first, now, judge).unwrap_or_else(|| victim.choice())
    }

    /// Looks at the bucket whose first slot is `first` in the order of lookups.
    #[inline(always)]
    fn look(&self, first: usize) -> Look {
        let bucket = self.pair.bucket(first ^ self.home);
        let mut bearing = 0;
        let states = array::from_fn(|index| {
            let state = bucket[index].state();
            // Without a branch, but in models, which try every order of every load.
            let looks_further = !cfg!(loom) || state.is_entry();
            bearing |= u32::from(looks_further && bucket[index].bears(self.key, state)) << index;
            state
        });
        let mut vacancy = (BUCKET, State(0));
        for index in (0..BUCKET).rev() {
            let State(word) = states[index];
            let is_empty = states[index].is_empty();
            vacancy.0 = select_unpredictable(is_empty, index, vacancy.0);
            vacancy.1 = State(select_unpredictable(is_empty, word, vacancy.1.0));
        }
        Look { states, first, bearing, vacancy }
    }

    /// Settles the tentative entry in slot `n` of the home bucket, if no other slot bears the name; false where others have to
    /// be looked at.
    #[inline(always)]
    fn settle_alone(&self, n: usize, tentative: State) -> bool {
        if n >= BUCKET {
            return false;
        }
        // SeqCst; as in `contest`, of which this is the shortest course.
        fence(Ordering::SeqCst);
        let home = self.look(0);
        home.bearing == 1 << n && !home.overflows() && self.slot(n).settle(tentative)
    }

    /// Decides between the tentative entries of the key, however many there are, beginning with that in slot `n`; returns the
    /// one that stands, with its slot.
    ///
    /// Any worker may do this for any other's entry; the result is the same. None where all that it knew of are gone
    /// or undecided, and the insertion starts over.
    //
    // After Purcell and Harris, "Non-blocking hashtables with open addressing" (DISC 2005): the tentative entry in the
    // lower slot goes first, those in higher slots are withdrawn, and a settled one ends the contest.
    #[cold]
    #[inline(never)]
    fn contest(
        &self,
        mut n: usize,
        mut tentative: State,
        census: Option<&WorkerCensus>,
    ) -> Option<(usize, State)> {
        'candidate: loop {
            if n >= BUCKET && !self.declare_overflow() {
                self.withdraw(n, tentative, census);
                return None;
            }
            // SeqCst; pairs with this fence on any other worker that settles an entry of the key. Of two, the later sees
            // what the earlier had found tentative, and the overflow bit where that is in the other bucket: two entries
            // can't be settled past each other.
            fence(Ordering::SeqCst);
            let home = self.look(0);
            let other = (n >= BUCKET || home.overflows()).then(|| self.look(BUCKET));
            let looks = [Some(home), other];
            for (m, state) in looks.iter().flatten().flat_map(Look::entries).filter(|(m, _)| *m != n) {
                let mut rival = Some(state);
                if state.phase() == Phase::Tentative {
                    if m < n {
                        self.withdraw(n, tentative, census);
                        (n, tentative) = (m, state);
                        continue 'candidate;
                    }
                    if self.withdraw(m, state, census) {
                        continue;
                    }
                    rival = self.slot(m).held_by(self.key);
                }
                if let Some(winner) = rival.filter(|state| state.phase() == Phase::Settled) {
                    // Where ours is no longer tentative, another worker has settled it: start over and find it.
                    return self.withdraw(n, tentative, census).then_some((m, winner));
                }
            }
            if self.slot(n).settle(tentative) {
                return Some((n, tentative.in_phase(Phase::Settled)));
            }
            // Settled by another worker on our behalf, unless a lower one withdrew it or it is gone again.
            return self.slot(n).held_by(self.key).filter(|s| s.phase() == Phase::Settled).map(|s| (n, s));
        }
    }

    /// Withdraws the tentative entry in slot `n`, whoever made it; false where it is tentative no more.
    fn withdraw(&self, n: usize, tentative: State, census: Option<&WorkerCensus>) -> bool {
        let is_withdrawn = self.slot(n).vacate(tentative);
        if let (true, Some(census)) = (is_withdrawn, census) {
            census.leave(&tentative.entry());
        }
        is_withdrawn
    }

    /// Sees to it that the home bucket says that it overflows, before a tentative entry of the key in the other bucket
    /// is settled. False where no slot can say so now.
    #[cold]
    #[inline(never)]
    fn declare_overflow(&self) -> bool {
        // SeqCst; pairs with the fence of any worker that clears the bit. Either that worker sees the entry, which was
        // published before, or this one sees the slot busy, and does not rely on its bit.
        fence(Ordering::SeqCst);
        let home = self.pair.bucket(self.home);
        let is_declared = home.iter().any(|slot| {
            let state = slot.state();
            state.overflows() && state.phase() != Phase::Busy
        });
        is_declared || {
            // The bit goes when its slot changes hands: the slot of a live entry may keep it for long after its use.
            let declares = |live: bool| {
                home.iter().any(|slot| {
                    let state = slot.state();
                    let lasts = match state.phase() {
                        Phase::Empty => false,
                        Phase::Settled => state.stage() == Stage::Established,
                        // Its exchange for settled would fail, and nobody may touch a busy one.
                        Phase::Busy | Phase::Tentative => return false,
                    };
                    lasts == live && slot.set_overflow(state)
                })
            };
            declares(false) || declares(true)
        }
    }
}
