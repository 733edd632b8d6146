//! The MAC addresses of the neighbours that packets are delivered to, kept fresh before they age.
//!
//! The way of RFC 4861, section 7.3, for a host that sees its own traffic does not fit: the packets leave from the
//! workers, which report nothing of it. So every neighbour counts as one in use. Its MAC address is believed for 30
//! seconds, and in the last six of these the neighbour is asked again, first alone and then before everybody, while
//! packets go on to the MAC address as it was:
//!
//! ```text
//!  0 s                                  24     27       30
//!  |------------- confirmed -------------|-1-1-1-|-1-1-1-|  lost; asked on, ever more slowly
//!                                         unicast  to all
//! ```
//!
//! A neighbour gets into the table only by being asked for, so no stranger can fill it.
//!
//! Claims to a neighbour's address can come from any host on the link, so they count under these rules alone:
//!
//! - An answer confirms the known MAC address only while a question waits for one.
//! - A neighbour without a MAC address is being asked for: the first claim to it holds, an announcement's too, and is asked
//!   about where it is no answer.
//! - Another MAC address than the known one, in an answer or in an announcement (gratuitous ARP, an unsolicited advertisement
//!   with the override flag), waits: the known one is asked first, alone, and once more half a second later, as one answer may
//!   be lost. Where it answers within a second, the claim is refused; where it does not, as that of a machine that has moved,
//!   the claim holds and is asked about.
//! - After three questions to the known MAC address in vain, the neighbour's answer holds at once.
//!
//! While frames are lost on their way here, silence proves little: what was asked in that time is asked again, and the known MAC
//! address stays. Else a flood that drowns the answers would take any neighbour away, or put another in its place. A claim
//! holds all the same once the known MAC address has left questions of half a minute without any answer: else whoever can
//! have frames lost could keep a neighbour that has moved from being followed for ever.

mod claim;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use guideway_dataplane::wire::ethernet::MacAddress;

use super::link::NextHop;
use crate::net::schedule::Schedule;

pub use claim::RefusedClaims;
use claim::{CLAIM_WAIT, Claimed, QUESTIONS_BEFORE_CLAIM};
pub(super) use claim::{Claim, Heard};

/// The most neighbours that are watched.
pub const MAX_NEIGHBOURS: usize = 4_096;

/// Time for which a MAC address is believed after its neighbour confirmed it: REACHABLE_TIME of RFC 4861, section 10.
const REACHABLE_TIME: Duration = Duration::from_secs(30);

/// Questions of one sort, one [`RETRANSMIT`] apart: MAX_UNICAST_SOLICIT, MAX_MULTICAST_SOLICIT of RFC 4861.
const QUESTIONS: u32 = 3;

/// RETRANS_TIMER of RFC 4861, section 10.
pub(super) const RETRANSMIT: Duration = Duration::from_secs(1);

/// Longest silence of a neighbour that is excused by frames that were lost, where somebody else claims its address.
const LONGEST_EXCUSE: Duration = Duration::from_secs(30);

/// Age at which a confirmed neighbour is asked again: the questions end with its time.
const REFRESH_AFTER: Duration = REACHABLE_TIME.checked_sub(RETRANSMIT.saturating_mul(2 * QUESTIONS)).unwrap();

/// A change of a watched neighbour's MAC address: it has become known, has changed, or has been lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourEvent {
    /// The neighbour.
    pub next_hop: NextHop,
    /// The MAC address now; `None` where it has been lost.
    pub mac: Option<MacAddress>,
    /// The MAC address that was known last before; `None` where none ever was.
    pub before: Option<MacAddress>,
}

impl NeighbourEvent {
    /// True if the neighbour has another MAC address than the one that was known last.
    pub fn is_change(&self) -> bool {
        self.mac.is_some() && self.before.is_some() && self.mac != self.before
    }
}

/// The error of a table of watched neighbours that is full: [`MAX_NEIGHBOURS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyNeighbours;

impl std::fmt::Display for TooManyNeighbours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "more than {MAX_NEIGHBOURS} neighbours to resolve")
    }
}

impl std::error::Error for TooManyNeighbours {}

/// A question that is to be sent to a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) next_hop: NextHop,
    /// The MAC address to ask alone; `None` to ask all.
    pub(super) to: Option<MacAddress>,
}

/// The watched neighbours.
#[derive(Debug)]
pub(super) struct Neighbours {
    watched: BTreeMap<NextHop, Neighbour>,
    schedule: Schedule<NextHop>,
    changed: BTreeSet<NextHop>,
    /// Time before which frames were last lost on their way here.
    lost_frames: Option<Duration>,
    /// Refusals since they were last taken, by watched neighbours.
    refused: BTreeMap<NextHop, RefusedClaims>,
}

#[derive(Debug, Default)]
struct Neighbour {
    mac: Option<MacAddress>,
    /// Another MAC address that is claimed, while the known one is asked if it is still there.
    claimed: Option<Claimed>,
    /// Time before which no other MAC address is asked about: the known one has just answered.
    settled_until: Duration,
    /// The MAC address of the last event.
    reported: Option<MacAddress>,
    /// The MAC address that was known at the last event which told of one.
    known_last: Option<MacAddress>,
    /// Questions since the neighbour was last confirmed.
    questions: u32,
    /// Time of the first question that the known MAC address has not answered, nor any after it.
    silent_since: Option<Duration>,
}

impl Neighbour {
    /// True if the silence of the known MAC address may be that of lost frames, and has not lasted for too long.
    fn is_excused(&self, is_deaf: bool, now: Duration) -> bool {
        is_deaf && self.silent_since.is_none_or(|since| now < since + LONGEST_EXCUSE)
    }
}

impl Neighbours {
    pub(super) fn new() -> Self {
        Self {
            watched: BTreeMap::new(),
            schedule: Schedule::new(),
            changed: BTreeSet::new(),
            lost_frames: None,
            refused: BTreeMap::new(),
        }
    }

    /// Begins to resolve a neighbour.
    pub(super) fn watch(&mut self, next_hop: NextHop, now: Duration) -> Result<(), TooManyNeighbours> {
        if self.watched.contains_key(&next_hop) {
            return Ok(());
        }
        if self.watched.len() == MAX_NEIGHBOURS {
            return Err(TooManyNeighbours);
        }
        self.watched.insert(next_hop, Neighbour::default());
        self.schedule.set(next_hop, now);
        Ok(())
    }

    /// Notes that frames were lost on their way here up to this time.
    pub(super) fn note_lost_frames(&mut self, until: Duration) {
        self.lost_frames = self.lost_frames.max(Some(until));
    }

    /// True if the answer to a question of the last second may be among frames that were lost.
    fn is_deaf(&self, now: Duration) -> bool {
        self.lost_frames.is_some_and(|lost| lost + RETRANSMIT >= now)
    }

    /// True if a claim waits for the word of the known MAC address.
    pub(super) fn has_claimed(&self) -> bool {
        self.watched.values().any(|neighbour| neighbour.claimed.is_some())
    }

    pub(super) fn forget(&mut self, next_hop: NextHop) {
        self.watched.remove(&next_hop);
        self.schedule.cancel(next_hop);
        self.changed.remove(&next_hop);
        self.refused.remove(&next_hop);
    }

    pub(super) fn mac(&self, next_hop: NextHop) -> Option<MacAddress> {
        self.watched.get(&next_hop)?.mac
    }

    /// The changes since the last call, one for each neighbour, however often it changed meanwhile.
    pub(super) fn events(&mut self) -> Vec<NeighbourEvent> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        changed
            .filter_map(|next_hop| {
                let neighbour = self.watched.get_mut(&next_hop)?;
                let (mac, before) = (neighbour.mac, neighbour.known_last);
                neighbour.known_last = mac.or(before);
                (std::mem::replace(&mut neighbour.reported, mac) != mac).then_some(NeighbourEvent {
                    next_hop,
                    mac,
                    before,
                })
            })
            .collect()
    }

    /// Takes the refusals since the last call.
    pub(super) fn take_refused(&mut self) -> BTreeMap<NextHop, RefusedClaims> {
        std::mem::take(&mut self.refused)
    }

    /// Takes in a claim about a neighbour.
    pub(super) fn hear(&mut self, next_hop: NextHop, claim: Claim, now: Duration) -> Heard {
        let is_deaf = self.is_deaf(now);
        let Some(neighbour) = self.watched.get_mut(&next_hop) else { return Heard::Stranger };
        let Some(known) = neighbour.mac else {
            if let Some(mac) = claim.mac {
                self.take(next_hop, mac, claim.solicited, now);
            }
            return Heard::Watched;
        };
        let is_waiting = neighbour.questions > 0;
        match claim.mac.filter(|mac| *mac != known) {
            None if claim.solicited && is_waiting => {
                let refused = neighbour.claimed.take();
                (neighbour.questions, neighbour.silent_since) = (0, None);
                neighbour.settled_until = now + RETRANSMIT;
                self.schedule.set(next_hop, now + REFRESH_AFTER);
                let Some(Claimed { mac: claimed, .. }) = refused else { return Heard::Watched };
                let count = self.refused.get(&next_hop).map_or(0, |refused| refused.count) + 1;
                self.refused.insert(next_hop, RefusedClaims { claimed, known, count });
                Heard::Refused
            }
            Some(mac)
                if claim.overrides && claim.solicited && neighbour.questions > QUESTIONS && !is_deaf =>
            {
                self.take(next_hop, mac, true, now);
                Heard::Watched
            }
            // Of one that has just answered it is kept: an address that moves is announced once, within that second too.
            Some(mac) if claim.overrides => {
                if neighbour.claimed.is_none() {
                    neighbour.claimed = Some(Claimed { mac, asked: 0 });
                    neighbour.questions = 0;
                    self.schedule.set(next_hop, now.max(neighbour.settled_until));
                }
                Heard::Watched
            }
            // RFC 4861, section 7.2.5: without the override flag it only raises the question.
            Some(_) if !claim.overrides && !is_waiting => {
                self.schedule.set(next_hop, now);
                Heard::Watched
            }
            _ => Heard::Watched,
        }
    }

    /// Asks a neighbour at once, unless a question waits for its answer already: a probe of it has failed, and it may have
    /// moved.
    pub(super) fn doubt(&mut self, next_hop: NextHop, now: Duration) {
        if let Some(neighbour) = self.watched.get(&next_hop)
            && neighbour.mac.is_some()
            && neighbour.questions == 0
            && now >= neighbour.settled_until
        {
            self.schedule.set(next_hop, now);
        }
    }

    /// Takes a MAC address for a neighbour's, which its answer confirms, or which it is asked about at once.
    fn take(&mut self, next_hop: NextHop, mac: MacAddress, is_confirmed: bool, now: Duration) {
        let Some(neighbour) = self.watched.get_mut(&next_hop) else { return };
        (neighbour.mac, neighbour.claimed, neighbour.questions) = (Some(mac), None, 0);
        neighbour.silent_since = None;
        self.changed.insert(next_hop);
        self.schedule.set(next_hop, if is_confirmed { now + REFRESH_AFTER } else { now });
    }

    /// The time at which a neighbour is to be asked, or given up, next.
    pub(super) fn next(&self) -> Option<Duration> {
        self.schedule.next()
    }

    /// The next question that is due at `now`.
    pub(super) fn ask(&mut self, now: Duration) -> Option<Question> {
        let next_hop = self.schedule.pop(now)?;
        let is_deaf = self.is_deaf(now);
        let neighbour = self.watched.get_mut(&next_hop)?;
        let is_excused = neighbour.is_excused(is_deaf, now);
        match &mut neighbour.claimed {
            Some(claimed) if claimed.asked > 0 && is_excused => (claimed.asked, neighbour.questions) = (1, 0),
            Some(claimed) if claimed.asked == QUESTIONS_BEFORE_CLAIM => {
                // The known MAC address is silent.
                (neighbour.mac, neighbour.questions) = (Some(claimed.mac), 0);
                (neighbour.claimed, neighbour.silent_since) = (None, None);
                self.changed.insert(next_hop);
            }
            Some(claimed) => claimed.asked += 1,
            None => {}
        }
        // Without anybody else there, packets to the known MAC address lose nothing.
        if neighbour.mac.is_some() && neighbour.questions == 2 * QUESTIONS && is_deaf {
            neighbour.questions -= 1;
        }
        if neighbour.mac.is_some() && neighbour.questions == 2 * QUESTIONS {
            (neighbour.mac, neighbour.silent_since) = (None, None);
            self.changed.insert(next_hop);
            // Everybody has been asked three times: go on slowly.
            neighbour.questions = QUESTIONS;
        }
        if neighbour.mac.is_some() {
            neighbour.silent_since.get_or_insert(now);
        }
        let to = neighbour.mac.filter(|_| neighbour.questions < QUESTIONS);
        neighbour.questions = neighbour.questions.saturating_add(1);
        let pause = match neighbour.mac {
            Some(_) if neighbour.claimed.is_some() => CLAIM_WAIT,
            Some(_) => RETRANSMIT,
            None => pause_after(neighbour.questions),
        };
        self.schedule.set(next_hop, now + pause);
        Some(Question { next_hop, to })
    }
}

/// The wait for an answer to question number `questions`, which went to everybody.
fn pause_after(questions: u32) -> Duration {
    let doublings = questions.saturating_sub(QUESTIONS).min(5);
    RETRANSMIT * (1 << doublings)
}
