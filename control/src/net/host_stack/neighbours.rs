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
//! While frames are lost on their way here, silence proves nothing: what was asked in that time is asked again, and the known MAC
//! address stays. Else a flood that drowns the answers would take any neighbour away, or put another in its place.

mod claim;

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

    /// Notes that frames were lost on their way here.
    pub(super) fn note_lost_frames(&mut self, now: Duration) {
        self.lost_frames = Some(now);
    }

    /// True if the answer to a question of the last second may be among frames that were lost.
    fn is_deaf(&self, now: Duration) -> bool {
        self.lost_frames.is_some_and(|lost| lost + RETRANSMIT >= now)
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
                neighbour.questions = 0;
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
        match &mut neighbour.claimed {
            Some(claimed) if claimed.asked > 0 && is_deaf => (claimed.asked, neighbour.questions) = (1, 0),
            Some(claimed) if claimed.asked == QUESTIONS_BEFORE_CLAIM => {
                // The known MAC address is silent.
                (neighbour.mac, neighbour.questions) = (Some(claimed.mac), 0);
                neighbour.claimed = None;
                self.changed.insert(next_hop);
            }
            Some(claimed) => claimed.asked += 1,
            None => {}
        }
        if neighbour.mac.is_some() && neighbour.questions == 2 * QUESTIONS && is_deaf {
            neighbour.questions -= 1;
        }
        if neighbour.mac.is_some() && neighbour.questions == 2 * QUESTIONS {
            neighbour.mac = None;
            self.changed.insert(next_hop);
            // Everybody has been asked three times: go on slowly.
            neighbour.questions = QUESTIONS;
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
        assert_eq!(neighbours.events(), [changed(Some(MAC), None)]);
        neighbours
    }

    /// Event of the neighbour's change to a MAC address.
    fn changed(mac: Option<MacAddress>, before: Option<MacAddress>) -> NeighbourEvent {
        NeighbourEvent { next_hop: NEIGHBOUR, mac, before }
    }

    /// Half seconds at which questions are asked, and to whom.
    fn questions_in_halves(
        neighbours: &mut Neighbours,
        halves: std::ops::RangeInclusive<u32>,
    ) -> Vec<(u32, Option<MacAddress>)> {
        halves.filter_map(|at| Some((at, neighbours.ask(at * RETRANSMIT / 2)?.to))).collect()
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
        assert_eq!(neighbours.events(), [changed(None, Some(MAC))]);
    }

    #[test]
    fn an_announced_change_holds_once_the_known_mac_has_been_silent_for_a_second() {
        for claim in [Claim { solicited: false, ..answer(OTHER_MAC) }, answer(OTHER_MAC)] {
            let mut neighbours = resolved();
            assert_eq!(neighbours.hear(NEIGHBOUR, claim, secs(5)), Heard::Watched);
            assert_eq!((neighbours.mac(NEIGHBOUR), neighbours.events()), (Some(MAC), vec![]));
            assert_eq!(questions_in_halves(&mut neighbours, 10..=11), [(10, Some(MAC)), (11, Some(MAC))]);
            assert_eq!(neighbours.mac(NEIGHBOUR), Some(MAC), "both questions are waited for");
            assert_eq!(questions_in_halves(&mut neighbours, 12..=12), [(12, Some(OTHER_MAC))]);
            assert_eq!(neighbours.events(), [changed(Some(OTHER_MAC), Some(MAC))]);
            neighbours.hear(NEIGHBOUR, answer(OTHER_MAC), secs(6));
            assert_eq!(questions(&mut neighbours, 30), [(30, Some(OTHER_MAC))], "confirmed");
        }
    }

    #[test]
    fn a_claim_is_refused_though_one_of_two_answers_is_lost() {
        let mut neighbours = resolved();
        neighbours.hear(NEIGHBOUR, answer(OTHER_MAC), secs(5));
        let half = RETRANSMIT / 2;
        assert_eq!(neighbours.ask(secs(5)).expect("it is asked").to, Some(MAC));
        // Claims go on meanwhile, and that answer does not come.
        neighbours.hear(NEIGHBOUR, answer(OTHER_MAC), secs(5));
        assert_eq!(neighbours.ask(secs(5) + half).expect("it is asked again").to, Some(MAC));
        assert_eq!(neighbours.hear(NEIGHBOUR, answer(MAC), secs(5) + half), Heard::Refused);
        assert_eq!(neighbours.ask(secs(6)), None);
        assert_eq!((neighbours.mac(NEIGHBOUR), neighbours.events()), (Some(MAC), vec![]));
    }

    #[test]
    fn a_neighbour_that_was_lost_and_comes_back_elsewhere_has_changed() {
        let mut neighbours = resolved();
        questions(&mut neighbours, 30);
        assert_eq!(neighbours.events(), [changed(None, Some(MAC))]);
        neighbours.hear(NEIGHBOUR, answer(OTHER_MAC), secs(31));
        assert_eq!(neighbours.events(), [changed(Some(OTHER_MAC), Some(MAC))]);
    }

    #[test]
    fn an_announced_change_right_after_an_answer_is_asked_about_when_a_second_is_over() {
        let mut neighbours = resolved();
        let moved = Claim { mac: Some(OTHER_MAC), solicited: false, overrides: true };
        // The known MAC address has answered a question at 24 s, and leaves half a second later.
        neighbours.ask(secs(24)).expect("it is asked again");
        neighbours.hear(NEIGHBOUR, answer(MAC), secs(24));
        let announced = secs(24) + RETRANSMIT / 2;
        assert_eq!(neighbours.hear(NEIGHBOUR, moved, announced), Heard::Watched);
        assert!(neighbours.ask(announced).is_none(), "one question a second");
        assert_eq!(neighbours.ask(secs(25)).expect("it is asked").to, Some(MAC));
        assert_eq!(neighbours.ask(secs(25) + CLAIM_WAIT).expect("it is asked again").to, Some(MAC));
        neighbours.ask(secs(26)).expect("the other one is asked");
        assert_eq!(neighbours.mac(NEIGHBOUR), Some(OTHER_MAC));
    }

    #[test]
    fn a_claim_is_refused_where_the_known_mac_answers() {
        let mut neighbours = resolved();
        let mut asked = 0;
        for at in 5..15 {
            // Ten claims a second.
            for _ in 0..10 {
                neighbours.hear(NEIGHBOUR, answer(OTHER_MAC), secs(at));
                if let Some(question) = neighbours.ask(secs(at)) {
                    assert_eq!(question.to, Some(MAC));
                    asked += 1;
                    assert_eq!(neighbours.hear(NEIGHBOUR, answer(MAC), secs(at)), Heard::Refused);
                }
            }
        }
        assert_eq!((neighbours.mac(NEIGHBOUR), neighbours.events()), (Some(MAC), vec![]));
        assert_eq!(asked, 10, "once a second, however often it is claimed");
        let refused = RefusedClaims { claimed: OTHER_MAC, known: MAC, count: 10 };
        assert_eq!(neighbours.take_refused(), BTreeMap::from([(NEIGHBOUR, refused)]));
        assert_eq!(neighbours.take_refused(), BTreeMap::new(), "told once");
    }

    #[test]
    fn after_three_questions_in_vain_the_answer_to_everybody_holds_at_once() {
        let mut neighbours = resolved();
        assert_eq!(questions(&mut neighbours, 27).last(), Some(&(27, None)));
        neighbours.hear(NEIGHBOUR, answer(OTHER_MAC), secs(27));
        assert_eq!(neighbours.events(), [changed(Some(OTHER_MAC), Some(MAC))]);
        assert_eq!(questions(&mut neighbours, 50), []);
    }

    #[test]
    fn an_answer_that_nobody_waits_for_confirms_nothing() {
        let mut neighbours = resolved();
        for at in 1..24 {
            neighbours.hear(NEIGHBOUR, answer(MAC), secs(at));
        }
        assert_eq!(questions(&mut neighbours, 24), [(24, Some(MAC))]);
    }

    #[test]
    fn a_neighbour_in_doubt_is_asked_at_once_and_once() {
        let mut neighbours = resolved();
        neighbours.doubt(NEIGHBOUR, secs(5));
        assert_eq!(questions(&mut neighbours, 5), [(5, Some(MAC))]);
        neighbours.doubt(NEIGHBOUR, secs(5));
        assert_eq!(neighbours.ask(secs(5)), None, "the answer is waited for");
        neighbours.hear(NEIGHBOUR, answer(MAC), secs(5));
        neighbours.doubt(NEIGHBOUR, secs(5));
        assert_eq!(neighbours.ask(secs(5)), None, "it has just answered");
    }

    #[test]
    fn a_claim_holds_only_once_no_frame_is_lost_that_may_be_the_answer() {
        let mut neighbours = resolved();
        neighbours.hear(NEIGHBOUR, answer(OTHER_MAC), secs(5));
        for at in 5..40 {
            neighbours.note_lost_frames(secs(at));
            neighbours.hear(NEIGHBOUR, answer(OTHER_MAC), secs(at));
            assert_eq!(neighbours.ask(secs(at)).expect("once a second").to, Some(MAC), "{at}");
        }
        assert_eq!((neighbours.mac(NEIGHBOUR), neighbours.events()), (Some(MAC), vec![]));
        // Frames were last lost at 39 s: the question of 40 s may have no answer either, and counts as the first of two.
        let expected = [(80, Some(MAC)), (81, Some(MAC)), (82, Some(OTHER_MAC))];
        assert_eq!(questions_in_halves(&mut neighbours, 80..=82), expected);
    }

    #[test]
    fn a_silent_neighbour_keeps_its_mac_while_frames_are_lost() {
        let mut neighbours = resolved();
        for at in 24..60 {
            neighbours.note_lost_frames(secs(at));
            neighbours.ask(secs(at)).expect("once a second");
        }
        assert_eq!((neighbours.mac(NEIGHBOUR), neighbours.events()), (Some(MAC), vec![]));
        // Somebody else's answer waits until the known MAC address has been asked.
        neighbours.hear(NEIGHBOUR, answer(OTHER_MAC), secs(60));
        assert_eq!(neighbours.mac(NEIGHBOUR), Some(MAC));
        neighbours.ask(secs(60)).expect("it is asked");
        neighbours.hear(NEIGHBOUR, answer(MAC), secs(60));
        assert_eq!(neighbours.mac(NEIGHBOUR), Some(MAC));
        assert_eq!(questions(&mut neighbours, 89).len(), 6, "and is lost when nothing else is");
        assert_eq!(neighbours.mac(NEIGHBOUR), Some(MAC));
        questions(&mut neighbours, 90);
        assert_eq!(neighbours.mac(NEIGHBOUR), None);
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
        // The known MAC address has been silent for three questions, and both answer the one to everybody.
        assert_eq!(questions(&mut neighbours, 27).len(), 4);
        neighbours.hear(NEIGHBOUR, answer(OTHER_MAC), secs(27));
        neighbours.hear(NEIGHBOUR, answer(MAC), secs(27));
        let asked = [(54, Some(OTHER_MAC)), (55, Some(OTHER_MAC)), (56, Some(MAC))];
        assert_eq!(questions_in_halves(&mut neighbours, 54..=56), asked);
        assert_eq!(neighbours.events(), []);
    }

    #[test]
    fn nobody_is_learned_who_was_not_asked_for() {
        let mut neighbours = watching();
        let stranger = NextHop { address: Address::v4([192, 0, 2, 66]), ..NEIGHBOUR };
        assert_eq!(neighbours.hear(stranger, answer(MAC), secs(0)), Heard::Stranger);
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
