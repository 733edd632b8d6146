//! Tests of the neighbours: questions, claims, moves, and frames that are lost.

use guideway_dataplane::address::Address;

use super::*;
use crate::net::host_stack::link::LinkId;

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
        assert!(neighbours.has_claimed());
        assert_eq!((neighbours.mac(NEIGHBOUR), neighbours.events()), (Some(MAC), vec![]));
        assert_eq!(questions_in_halves(&mut neighbours, 10..=11), [(10, Some(MAC)), (11, Some(MAC))]);
        assert_eq!(neighbours.mac(NEIGHBOUR), Some(MAC), "both questions are waited for");
        assert_eq!(questions_in_halves(&mut neighbours, 12..=12), [(12, Some(OTHER_MAC))]);
        assert_eq!(neighbours.events(), [changed(Some(OTHER_MAC), Some(MAC))]);
        assert!(!neighbours.has_claimed());
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
    for at in 5..30 {
        neighbours.note_lost_frames(secs(at));
        neighbours.hear(NEIGHBOUR, answer(OTHER_MAC), secs(at));
        assert_eq!(neighbours.ask(secs(at)).expect("once a second").to, Some(MAC), "{at}");
    }
    assert_eq!((neighbours.mac(NEIGHBOUR), neighbours.events()), (Some(MAC), vec![]));
    // Frames were last lost at 29 s: the question of 30 s may have no answer either, and counts as the first of two.
    let expected = [(60, Some(MAC)), (61, Some(MAC)), (62, Some(OTHER_MAC))];
    assert_eq!(questions_in_halves(&mut neighbours, 60..=62), expected);
}

/// Half seconds from 5 s on, in which a frame is lost in each second and another MAC address is claimed, until it holds;
/// none up to 10 minutes.
fn halves_until_a_claim_holds(claim: Claim, mut answers: impl FnMut(u32) -> bool) -> Option<u32> {
    let mut neighbours = resolved();
    (10..1_200).find(|half: &u32| {
        let now = *half * RETRANSMIT / 2;
        if half.is_multiple_of(2) {
            neighbours.note_lost_frames(now);
        }
        neighbours.hear(NEIGHBOUR, claim, now);
        let asked = neighbours.ask(now).is_some_and(|question| question.to == Some(MAC));
        if asked && answers(*half) {
            neighbours.hear(NEIGHBOUR, answer(MAC), now);
        }
        neighbours.mac(NEIGHBOUR) == Some(OTHER_MAC)
    })
}

#[test]
fn a_neighbour_that_has_moved_is_followed_though_frames_are_lost_for_ever() {
    // Asked from 5 s on; the excuse is over 30 s later, and two questions begin anew.
    for claim in [answer(OTHER_MAC), Claim { solicited: false, ..answer(OTHER_MAC) }] {
        assert_eq!(halves_until_a_claim_holds(claim, |_| false), Some(2 * 35 + 1));
    }
}

#[test]
fn an_answer_in_half_a_minute_keeps_a_neighbour_in_its_place_though_frames_are_lost_for_ever() {
    assert_eq!(halves_until_a_claim_holds(answer(OTHER_MAC), |half| half.is_multiple_of(58)), None);
}

#[test]
fn the_answer_of_a_neighbour_that_has_moved_holds_by_two_questions_after_half_a_minute_of_vain_ones() {
    let mut neighbours = resolved();
    for at in 24..54 {
        neighbours.note_lost_frames(secs(at));
        neighbours.ask(secs(at)).expect("once a second");
    }
    neighbours.note_lost_frames(secs(55));
    neighbours.hear(NEIGHBOUR, answer(OTHER_MAC), secs(54));
    let expected = [(108, Some(MAC)), (109, Some(MAC)), (110, Some(OTHER_MAC))];
    assert_eq!(questions_in_halves(&mut neighbours, 108..=110), expected);
    assert_eq!(neighbours.events(), [changed(Some(OTHER_MAC), Some(MAC))]);
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
