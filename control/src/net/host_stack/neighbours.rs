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

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use guideway_dataplane::wire::ethernet::MacAddress;

use super::link::NextHop;
use crate::net::schedule::Schedule;

/// The most neighbours that are watched.
pub const MAX_NEIGHBOURS: usize = 4_096;

/// Time for which a MAC address is believed after its neighbour confirmed it: REACHABLE_TIME of RFC 4861, section 10.
const REACHABLE_TIME: Duration = Duration::from_secs(30);

/// Questions of one sort, one [`RETRANSMIT`] apart: MAX_UNICAST_SOLICIT, MAX_MULTICAST_SOLICIT of RFC 4861.
const QUESTIONS: u32 = 3;

/// RETRANS_TIMER of RFC 4861, section 10.
pub(super) const RETRANSMIT: Duration = Duration::from_secs(1);

/// Age at which a confirmed neighbour is asked again: the questions end with its time.
const REFRESH_AFTER: Duration = REACHABLE_TIME.checked_sub(RETRANSMIT.saturating_mul(2 * QUESTIONS)).unwrap();

/// A change of a watched neighbour's MAC address: it has become known, has changed, or has been lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourEvent {
    /// The neighbour.
    pub next_hop: NextHop,
    /// The MAC address now; `None` where it has been lost.
    pub mac: Option<MacAddress>,
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

/// A message's claim about a neighbour's MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) mac: Option<MacAddress>,
    /// True if the message answers a question of the appliance's, so both directions work.
    pub(super) solicited: bool,
    /// True if the claim replaces another MAC address.
    pub(super) overrides: bool,
}

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
}

#[derive(Debug, Default)]
struct Neighbour {
    mac: Option<MacAddress>,
    /// The MAC address of the last event.
    reported: Option<MacAddress>,
    /// Questions since the neighbour was last confirmed.
    questions: u32,
}

impl Neighbours {
    pub(super) fn new() -> Self {
        Self { watched: BTreeMap::new(), schedule: Schedule::new(), changed: BTreeSet::new() }
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

    pub(super) fn forget(&mut self, next_hop: NextHop) {
        self.watched.remove(&next_hop);
        self.schedule.cancel(next_hop);
        self.changed.remove(&next_hop);
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
                let mac = neighbour.mac;
                (std::mem::replace(&mut neighbour.reported, mac) != mac)
                    .then_some(NeighbourEvent { next_hop, mac })
            })
            .collect()
    }

    /// Takes in a claim about a neighbour; false where the neighbour is not watched.
    pub(super) fn hear(&mut self, next_hop: NextHop, claim: Claim, now: Duration) -> bool {
        let Some(neighbour) = self.watched.get_mut(&next_hop) else { return false };
        // RFC 4861, section 7.2.5.
        let replaces = neighbour.mac.is_none() || claim.overrides;
        let new = claim.mac.filter(|mac| replaces && neighbour.mac != Some(*mac));
        if let Some(mac) = new {
            neighbour.mac = Some(mac);
            self.changed.insert(next_hop);
        }
        let confirms = claim.solicited
            && neighbour.mac.is_some()
            && claim.mac.is_none_or(|mac| neighbour.mac == Some(mac));
        let contradicts = claim.mac.is_some_and(|mac| neighbour.mac != Some(mac));
        if confirms {
            neighbour.questions = 0;
            self.schedule.set(next_hop, now + REFRESH_AFTER);
        } else if new.is_some() || (contradicts && neighbour.questions == 0) {
            // Packets go to the claimed MAC address at once, and the neighbour is asked whether it is right.
            neighbour.questions = 0;
            self.schedule.set(next_hop, now);
        }
        true
    }

    /// The time at which a neighbour is to be asked, or given up, next.
    pub(super) fn next(&self) -> Option<Duration> {
        self.schedule.next()
    }

    /// The next question that is due at `now`.
    pub(super) fn ask(&mut self, now: Duration) -> Option<Question> {
        let next_hop = self.schedule.pop(now)?;
        let neighbour = self.watched.get_mut(&next_hop)?;
        if neighbour.mac.is_some() && neighbour.questions == 2 * QUESTIONS {
            neighbour.mac = None;
            self.changed.insert(next_hop);
            // Everybody has been asked three times: go on slowly.
            neighbour.questions = QUESTIONS;
        }
        let to = neighbour.mac.filter(|_| neighbour.questions < QUESTIONS);
        neighbour.questions = neighbour.questions.saturating_add(1);
        let pause = if neighbour.mac.is_some() { RETRANSMIT } else { pause_after(neighbour.questions) };
        self.schedule.set(next_hop, now + pause);
        Some(Question { next_hop, to })
    }
}

/// The wait for an answer to question number `questions`, which went to everybody.
fn pause_after(questions: u32) -> Duration {
    let doublings = questions.saturating_sub(QUESTIONS).min(5);
    RETRANSMIT * (1 << doublings)
}

#[cfg(test)]
mod tests {
    use guideway_dataplane::address::Address;

    use super::super::link::LinkId;
    use super::*;

    const NEIGHBOUR: NextHop = NextHop { link: LinkId(0), address: Address::v4([192, 0, 2, 7]) };
    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 7]);
    const OTHER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 8]);

    const fn answer(mac: MacAddress) -> Claim {
        Claim { mac: Some(mac), solicited: true, overrides: true }
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn watching() -> Neighbours {
        let mut neighbours = Neighbours::new();
        neighbours.watch(NEIGHBOUR, secs(0)).unwrap();
        neighbours
    }

    fn resolved() -> Neighbours {
        let mut neighbours = watching();
        neighbours.ask(secs(0)).unwrap();
        neighbours.hear(NEIGHBOUR, answer(MAC), secs(0));
        assert_eq!(neighbours.events(), [NeighbourEvent { next_hop: NEIGHBOUR, mac: Some(MAC) }]);
        neighbours
    }

    /// Seconds at which questions are asked, and to whom, up to `end`.
    fn questions(neighbours: &mut Neighbours, end: u64) -> Vec<(u64, Option<MacAddress>)> {
        (0..=end).filter_map(|at| Some((at, neighbours.ask(secs(at))?.to))).collect()
    }

    #[test]
    fn who_never_answers_is_asked_three_times_and_then_ever_more_slowly() {
        let times: Vec<_> = questions(&mut watching(), 140).into_iter().map(|(at, _)| at).collect();
        assert_eq!(times, [0, 1, 2, 3, 5, 9, 17, 33, 65, 97, 129]);
    }

    #[test]
    fn a_confirmed_neighbour_is_asked_again_before_its_time_is_over() {
        let mut neighbours = resolved();
        assert_eq!(questions(&mut neighbours, 24), [(24, Some(MAC))]);
        neighbours.hear(NEIGHBOUR, answer(MAC), secs(24));
        assert_eq!(questions(&mut neighbours, 48), [(48, Some(MAC))]);
        assert_eq!(neighbours.events(), []);
    }

    #[test]
    fn a_silent_neighbour_keeps_its_mac_for_thirty_seconds_and_then_loses_it() {
        let mut neighbours = resolved();
        let to = [Some(MAC), Some(MAC), Some(MAC), None, None, None];
        let expected: Vec<_> = (24..).zip(to).collect();
        assert_eq!(questions(&mut neighbours, 29), expected);
        assert_eq!(neighbours.mac(NEIGHBOUR), Some(MAC));
        assert_eq!(neighbours.events(), []);
        assert_eq!(questions(&mut neighbours, 30), [(30, None)]);
        assert_eq!(neighbours.events(), [NeighbourEvent { next_hop: NEIGHBOUR, mac: None }]);
    }

    #[test]
    fn an_announced_change_holds_at_once_and_is_asked_about() {
        let mut neighbours = resolved();
        let announcement = Claim { solicited: false, ..answer(OTHER_MAC) };
        assert!(neighbours.hear(NEIGHBOUR, announcement, secs(5)));
        assert_eq!(neighbours.events(), [NeighbourEvent { next_hop: NEIGHBOUR, mac: Some(OTHER_MAC) }]);
        assert_eq!(questions(&mut neighbours, 5), [(5, Some(OTHER_MAC))]);
    }

    #[test]
    fn an_advertisement_without_override_changes_nothing_but_raises_the_question() {
        let mut neighbours = resolved();
        let hint = Claim { mac: Some(OTHER_MAC), solicited: false, overrides: false };
        neighbours.hear(NEIGHBOUR, hint, secs(5));
        assert_eq!(neighbours.mac(NEIGHBOUR), Some(MAC));
        assert_eq!(questions(&mut neighbours, 5), [(5, Some(MAC))]);
    }

    #[test]
    fn hearing_the_same_again_unasked_confirms_nothing() {
        let mut neighbours = resolved();
        neighbours.hear(NEIGHBOUR, Claim { solicited: false, ..answer(MAC) }, secs(20));
        assert_eq!(questions(&mut neighbours, 24), [(24, Some(MAC))]);
    }

    #[test]
    fn an_answer_without_a_mac_confirms_the_known_one() {
        let mut neighbours = resolved();
        assert_eq!(questions(&mut neighbours, 24).len(), 1);
        neighbours.hear(NEIGHBOUR, Claim { mac: None, solicited: true, overrides: true }, secs(24));
        assert_eq!(questions(&mut neighbours, 47), []);
    }

    #[test]
    fn a_change_and_back_between_two_looks_is_no_event() {
        let mut neighbours = resolved();
        neighbours.hear(NEIGHBOUR, answer(OTHER_MAC), secs(1));
        neighbours.hear(NEIGHBOUR, answer(MAC), secs(2));
        assert_eq!(neighbours.events(), []);
    }

    #[test]
    fn nobody_is_learned_who_was_not_asked_for() {
        let mut neighbours = watching();
        let stranger = NextHop { address: Address::v4([192, 0, 2, 66]), ..NEIGHBOUR };
        assert!(!neighbours.hear(stranger, answer(MAC), secs(0)));
        assert_eq!((neighbours.mac(stranger), neighbours.watched.len()), (None, 1));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut neighbours = Neighbours::new();
        let next_hop = |host: usize| NextHop { address: Address(host as u128), ..NEIGHBOUR };
        assert!((0..MAX_NEIGHBOURS).all(|host| neighbours.watch(next_hop(host), secs(0)).is_ok()));
        assert_eq!(neighbours.watch(next_hop(MAX_NEIGHBOURS), secs(0)), Err(TooManyNeighbours));
        neighbours.forget(next_hop(0));
        assert_eq!(neighbours.watch(next_hop(MAX_NEIGHBOURS), secs(0)), Ok(()));
    }
}
