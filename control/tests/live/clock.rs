//! A wall clock that jumps forwards and backwards: nothing but the dates that are told goes by it.

use guideway::api::view::EventKind;

use crate::lab::Lab;
use crate::lab::address::{Family, Vip};
use crate::lab::appliance::{Appliance, socket};
use crate::lab::backend::Backend;
use crate::lab::client::retransmissions;
use crate::lab::conversation::{Conversation, go_on};
use crate::lab::load::{Connections, Load};
use crate::lab::patience::{PATIENCE, within};
use crate::lab::setup::{PROBES, Setup, http_check};
use crate::lab::shifted_clock::ShiftedClock;

/// Connections that are open meanwhile.
const CONVERSATIONS: usize = 24;
/// Seconds that the clock is set to after, or before, the machine's own, one after the other.
const JUMPS_SEC: [i64; 4] = [86_400 * 30, -86_400 * 3_650, 3_600, 0];
/// Segments that may be sent again though none was lost: TCP probes the tail of a connection whose answer is late, once for each of
/// wrk's and of those that are open.
const SENT_AGAIN: u64 = 40;
/// Kinds of events that a timer would make that ran too early or too late.
const OF_TIMERS: [EventKind; 6] = [
    EventKind::BackendUnhealthy,
    EventKind::ControlStalled,
    EventKind::WorkerStalled,
    EventKind::ProbesDiscarded,
    EventKind::AddressConflict,
    EventKind::LinkDown,
];

#[test]
fn jumps_of_the_wall_clock_change_nothing_but_dates() {
    let lab = Lab::new(1, 2);
    let backends = Backend::all(&lab, 2);
    let clock = ShiftedClock::new(&lab);
    let toml = Setup::checked_by(2, http_check()).toml(0, &socket(&lab, 0));
    let appliance = Appliance::start_by(&lab, 0, &toml, clock.words());
    let vip = Vip::OnLink.web(Family::V4);
    let mut conversations = Conversation::several(&lab, vip, CONVERSATIONS);
    let (of_timers, sent_again) = (events_of_timers(&appliance), retransmissions(&lab));
    let load = Load::start(&lab, vip, Connections::Kept, 4);
    for seconds in JUMPS_SEC {
        clock.jump_to(seconds);
        let began = now() + seconds as f64;
        let probes = backends[0].web.probes().len();
        appliance.must(&["backend", "drain", "v6", "b1"]);
        appliance.must(&["backend", "undrain", "v6", "b1"]);
        let last = appliance.events().pop().expect("a drain is an event");
        assert!((last.at_unix_sec - began).abs() < 60.0, "{} and not {began}", last.at_unix_sec);
        // Probes are neither hurried nor late: whole rounds of them come as before.
        let more = || (backends[0].web.probes().len() >= probes + PROBES / 2).then_some(());
        within(PATIENCE, more).expect("probes go on");
        go_on(&mut conversations, "after a jump");
        assert!(appliance.is_healthy());
    }
    let summary = load.finish();
    assert_eq!((summary.socket_errors, summary.bad_answers), (0, 0), "{summary:?}");
    assert_eq!(events_of_timers(&appliance), of_timers);
    let more = retransmissions(&lab) - sent_again;
    assert!(more <= SENT_AGAIN, "{more} segments were sent again");
}

fn events_of_timers(appliance: &Appliance<'_>) -> Vec<EventKind> {
    let kinds = appliance.events().into_iter().map(|event| event.kind);
    kinds.filter(|kind| OF_TIMERS.contains(kind)).collect()
}

fn now() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.expect("it is after 1970").as_secs_f64()
}
