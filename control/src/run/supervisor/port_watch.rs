//! Watch over the ports' devices: links that go down and come back, devices that must be reset, devices that go away.
//!
//! Pure: what was seen goes in with its time, and what is to be done comes out, one step of one port at a time.

mod watched;

use std::time::Duration;

use super::event_log::Note;
use crate::api::view;
use crate::run::ports::{PortLink, PortSignals};

pub(super) use watched::Step;
use watched::Watched;

/// Ports of an appliance, in the order of the configuration.
#[derive(Debug)]
pub(super) struct PortWatch {
    ports: Vec<Watched>,
}

impl PortWatch {
    /// Begins to watch ports with these names, which workers poll.
    pub(super) fn new(names: impl IntoIterator<Item = String>, now: Duration) -> Self {
        Self { ports: names.into_iter().map(|name| Watched::new(name, now)).collect() }
    }

    /// Number of the ports.
    pub(super) fn len(&self) -> usize {
        self.ports.len()
    }

    /// Names of the ports.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.ports.iter().map(Watched::name)
    }

    /// Takes in the signals of a port's device, and whether the workers keep away from it; returns the step that is due.
    pub(super) fn look(
        &mut self,
        port: usize,
        signals: PortSignals,
        is_paused: impl FnOnce() -> bool,
        now: Duration,
    ) -> Option<Step> {
        self.ports[port].look(signals, is_paused, now)
    }

    /// Takes in the state of a port's link; returns the event if it has changed.
    pub(super) fn see_link(&mut self, port: usize, link: PortLink, now: Duration) -> Option<Note> {
        self.ports[port].see_link(link, now)
    }

    /// Takes in the links of a bond's members; returns the events of those that have changed.
    pub(super) fn see_members(&mut self, port: usize, members: Vec<view::PortMember>) -> Vec<Note> {
        self.ports[port].see_members(members)
    }

    /// Takes in the end of a reset, or the cause of its failure; returns the events. Of failures in a row the first is
    /// told.
    pub(super) fn end_restart(
        &mut self,
        port: usize,
        result: Result<(), String>,
        now: Duration,
    ) -> Vec<Note> {
        self.ports[port].end_restart(result, now)
    }

    /// Takes in the end of a removal, or the cause for which the device's bus keeps it; returns the event, if it is the first.
    pub(super) fn end_removal(
        &mut self,
        port: usize,
        result: Result<(), String>,
        now: Duration,
    ) -> Option<Note> {
        self.ports[port].end_removal(result, now)
    }

    /// True if there are ports, and none of them has a link, or a device that is to be used before long.
    pub(super) fn has_no_link(&self) -> bool {
        !self.ports.is_empty() && self.ports.iter().all(Watched::has_no_link)
    }

    /// True if there were ports, and the devices of all are gone.
    pub(super) fn is_deserted(&self) -> bool {
        !self.ports.is_empty() && self.ports.iter().all(Watched::is_closed)
    }

    /// Completes the state of each port for operators.
    pub(super) fn complete(&self, ports: &mut [view::Port]) {
        self.ports.iter().zip(ports).for_each(|(watched, shown)| watched.complete(shown));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::view::PortState;
    use crate::run::ports::PortInterface;

    const NONE: PortSignals = PortSignals { link: false, reset: false, removal: false };
    const RESET: PortSignals = PortSignals { reset: true, ..NONE };
    const REMOVAL: PortSignals = PortSignals { removal: true, ..NONE };
    const UP: PortLink = PortLink { up: true, speed_mbps: Some(10_000), ..PortLink::DOWN };

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Two ports, of which the first is looked at; their links were read at 0.
    fn watch() -> PortWatch {
        let mut watch = PortWatch::new(["wan", "lan"].map(String::from), ms(0));
        for port in 0..2 {
            assert_eq!(watch.look(port, NONE, || false, ms(0)), Some(Step::ReadLink));
            assert!(watch.see_link(port, UP, ms(0)).is_none());
        }
        watch
    }

    fn texts(notes: impl IntoIterator<Item = Note>) -> Vec<String> {
        notes.into_iter().map(|note| format!("{:?}: {}", note.kind, note.text)).collect()
    }

    fn state(watch: &PortWatch) -> (PortState, u64, u64) {
        let mut ports = [view::Port::default()];
        watch.complete(&mut ports);
        (ports[0].state, ports[0].resets, ports[0].link_losses)
    }

    #[test]
    fn a_link_is_read_every_second_and_when_its_device_says_that_it_has_changed() {
        let mut watch = watch();
        assert_eq!(watch.look(0, NONE, || false, ms(999)), None);
        assert_eq!(watch.look(0, NONE, || false, ms(1_000)), Some(Step::ReadLink));
        let changed = PortSignals { link: true, ..NONE };
        assert_eq!(watch.look(0, changed, || false, ms(1_200)), Some(Step::ReadLink));
        assert_eq!(watch.look(0, NONE, || false, ms(2_199)), None);
        assert_eq!(texts(watch.see_link(0, PortLink::DOWN, ms(0))), ["LinkDown: port wan: the link is down"]);
        assert!(watch.see_link(0, PortLink::DOWN, ms(0)).is_none());
        assert!(!watch.has_no_link(), "the other port has one");
        assert!(watch.see_link(1, PortLink::DOWN, ms(0)).is_some() && watch.has_no_link());
        assert_eq!(texts(watch.see_link(0, UP, ms(0))), ["LinkUp: port wan: the link is up, 10000 Mbit/s"]);
        assert!(!watch.has_no_link());
        assert_eq!(state(&watch), (PortState::Running, 0, 1));
    }

    #[test]
    fn a_link_that_is_not_up_yet_at_the_start_is_told_and_not_counted_as_lost() {
        let mut watch = PortWatch::new(["wan".to_owned()], ms(0));
        assert!(!watch.has_no_link(), "nobody has looked");
        assert_eq!(texts(watch.see_link(0, PortLink::DOWN, ms(0))), ["LinkDown: port wan: the link is down"]);
        assert!(watch.has_no_link());
        assert!(watch.see_link(0, UP, ms(0)).is_some());
        assert_eq!(state(&watch), (PortState::Running, 0, 0));
    }

    #[test]
    fn an_appliance_without_ports_has_lost_no_link() {
        let watch = PortWatch::new([], ms(0));
        assert!(!watch.has_no_link() && !watch.is_deserted());
    }

    #[test]
    fn a_device_is_reset_once_no_worker_polls_it() {
        let mut watch = watch();
        assert_eq!(watch.look(0, RESET, || unreachable!("it is not paused"), ms(10)), Some(Step::Pause));
        assert_eq!(watch.look(0, RESET, || false, ms(11)), None, "it asks twice");
        assert_eq!(state(&watch).0, PortState::Resetting);
        assert_eq!(watch.look(0, NONE, || true, ms(12)), Some(Step::BeginRestart));
        let told = texts(watch.end_restart(0, Ok(()), ms(50)));
        assert_eq!(
            told,
            ["PortReset: port wan: the device asked for a reset and was reset; workers poll it again"]
        );
        assert_eq!(watch.look(0, NONE, || false, ms(51)), Some(Step::ReadLink));
        assert!(!watch.has_no_link() && state(&watch) == (PortState::Running, 1, 0));
    }

    /// Ends each reset at once, as a device that asks for one all the time has it; returns the times.
    fn resets(watch: &mut PortWatch, from: u64, to: u64, asks: impl Fn(u64) -> bool) -> Vec<u64> {
        let reset = |now: &u64| {
            let signals = if asks(*now) { RESET } else { NONE };
            let step = watch.look(0, signals, || true, ms(*now));
            if step == Some(Step::EndRestart) {
                watch.end_restart(0, Ok(()), ms(*now));
            }
            step == Some(Step::EndRestart)
        };
        (from..to).step_by(10).filter(reset).collect()
    }

    #[test]
    fn a_device_that_asks_again_and_again_is_reset_ever_more_seldom() {
        let mut watch = watch();
        let at = resets(&mut watch, 0, 100_000, |_| true);
        let rests: Vec<u64> = at.windows(2).map(|at| (at[1] - at[0]) / 1_000).collect();
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 32]);
        assert_eq!(state(&watch).0, PortState::Resetting, "it carries nothing until the next");
        watch.see_link(1, PortLink::DOWN, ms(0));
        assert!(watch.has_no_link());
        // Nothing for a minute.
        let mut watch = self::watch();
        assert_eq!(resets(&mut watch, 0, 5_000, |now| now < 2_000).len(), 3);
        assert_eq!(watch.look(0, NONE, || true, ms(63_000)), Some(Step::ReadLink));
        assert_eq!(resets(&mut watch, 63_100, 65_000, |_| true).len(), 2);
    }

    #[test]
    fn resets_in_a_row_are_counted_in_their_events() {
        let mut watch = watch();
        let told: Vec<String> = [0, 2_000, 5_000]
            .into_iter()
            .flat_map(|now| {
                assert_eq!(watch.look(0, RESET, || true, ms(now)), Some(Step::Pause));
                assert_eq!(watch.look(0, NONE, || true, ms(now)), Some(Step::BeginRestart));
                texts(watch.end_restart(0, Ok(()), ms(now)))
            })
            .collect();
        assert!(told[0].ends_with("the device asked for a reset and was reset; workers poll it again"));
        assert_eq!(
            told[2],
            "PortReset: port wan: the device asked for a reset and was reset, 3 times in a row; workers poll it again, and \
             the next reset is not made before 4 s have passed"
        );
    }

    #[test]
    fn a_device_that_asks_or_goes_away_while_it_is_reset_is_heard_afterwards() {
        for (signals, then) in [(RESET, None), (REMOVAL, Some(Step::Pause))] {
            let mut watch = watch();
            watch.look(0, RESET, || true, ms(0));
            assert_eq!(watch.look(0, NONE, || true, ms(1)), Some(Step::BeginRestart));
            assert_eq!(watch.look(0, signals, || true, ms(2)), Some(Step::EndRestart));
            assert_eq!(watch.look(0, NONE, || true, ms(3)), Some(Step::EndRestart), "it takes a while");
            watch.end_restart(0, Ok(()), ms(10));
            assert_eq!(watch.look(0, NONE, || true, ms(11)), then.or(Some(Step::ReadLink)));
            assert_eq!(
                watch.look(0, NONE, || true, ms(1_010)),
                Some(then.map_or(Step::Pause, |_| Step::Remove))
            );
        }
    }

    #[test]
    fn a_link_that_comes_up_a_while_after_a_reset_was_not_lost() {
        for (comes_up, told) in [(4_000, 0), (9_000, 2)] {
            let mut watch = watch();
            watch.look(0, RESET, || true, ms(0));
            watch.look(0, NONE, || true, ms(0));
            watch.end_restart(0, Ok(()), ms(0));
            let mut notes = Vec::new();
            for now in (0..12_000).step_by(50).map(ms) {
                if watch.look(0, NONE, || false, now) == Some(Step::ReadLink) {
                    notes.extend(watch.see_link(
                        0,
                        if now < ms(comes_up) { PortLink::DOWN } else { UP },
                        now,
                    ));
                }
            }
            assert_eq!(notes.len(), told, "{notes:?}");
            assert_eq!(state(&watch), (PortState::Running, 1, u64::from(told > 0)));
        }
    }

    #[test]
    fn links_of_a_bonds_members_are_told_when_they_change() {
        let mut watch = watch();
        let members = |second| {
            let member = |name: &str, link_up| view::PortMember { name: name.to_owned(), link_up };
            vec![member("0000:3b:00.0", true), member("0000:3b:00.1", second)]
        };
        assert!(watch.see_members(0, members(true)).is_empty());
        assert_eq!(
            texts(watch.see_members(0, members(false))),
            ["LinkDown: port wan: the link of its member 0000:3b:00.1 is down"]
        );
        assert!(watch.see_members(0, members(false)).is_empty() && !watch.has_no_link());
        let mut ports = [view::Port::default()];
        watch.complete(&mut ports);
        assert_eq!(ports[0].members, members(false));
        assert_eq!(
            texts(watch.see_members(0, members(true))),
            ["LinkUp: port wan: the link of its member 0000:3b:00.1 is up"]
        );
    }

    #[test]
    fn a_member_of_a_bond_whose_device_goes_away_is_missed() {
        let mut watch = watch();
        let member = |name: &str, link_up| view::PortMember { name: name.to_owned(), link_up };
        watch.see_members(0, vec![member("first", true), member("second", true)]);
        let told = texts(watch.see_members(0, vec![member("first", true)]));
        assert_eq!(told, ["LinkDown: port wan: the link of its member second is down"]);
        assert!(watch.see_members(0, vec![member("first", true)]).is_empty(), "told once");
        let mut ports = [view::Port::default()];
        watch.complete(&mut ports);
        assert_eq!(ports[0].members, [member("first", true), member("second", false)]);
    }

    #[test]
    fn a_port_whose_reset_takes_long_is_none_to_be_announced_by() {
        let mut watch = watch();
        assert!(watch.see_link(1, PortLink::DOWN, ms(0)).is_some());
        assert_eq!(watch.look(0, RESET, || true, ms(1_000)), Some(Step::Pause));
        assert_eq!(watch.look(0, NONE, || true, ms(1_001)), Some(Step::BeginRestart));
        assert_eq!(watch.look(0, NONE, || true, ms(6_000)), Some(Step::EndRestart));
        assert!(!watch.has_no_link(), "as long as a link may take");
        assert_eq!(watch.look(0, NONE, || true, ms(6_001)), Some(Step::EndRestart));
        assert!(watch.has_no_link());
        watch.end_restart(0, Ok(()), ms(6_002));
        assert!(!watch.has_no_link());
    }

    #[test]
    fn a_reset_that_fails_is_told_once_and_tried_again_ever_more_seldom() {
        let mut watch = watch();
        watch.look(0, RESET, || true, ms(0));
        let failed = |watch: &mut PortWatch, now| {
            assert_eq!(watch.look(0, NONE, || true, ms(now)), Some(Step::BeginRestart), "{now}");
            texts(watch.end_restart(0, Err("no link".to_owned()), ms(now)))
        };
        assert_eq!(
            failed(&mut watch, 1),
            [
                "PortResetFailed: port wan: the device asks for a reset, which has failed and is tried again: no link",
                "LinkDown: port wan: the link is down"
            ]
        );
        for now in [1_001, 3_001, 7_001, 15_001, 23_001] {
            assert_eq!(watch.look(0, RESET, || true, ms(now - 1)), None, "{now}");
            assert!(failed(&mut watch, now).is_empty());
        }
        assert_eq!(watch.look(0, NONE, || true, ms(31_001)), Some(Step::BeginRestart));
        watch.end_restart(0, Ok(()), ms(31_002));
        assert_eq!(watch.look(0, NONE, || false, ms(31_003)), Some(Step::ReadLink));
        assert!(watch.see_link(0, UP, ms(0)).is_some());
    }

    #[test]
    fn an_interface_that_is_made_anew_is_told_as_such() {
        let mut watch = watch();
        let gone = PortLink { interface: PortInterface::Gone, ..PortLink::DOWN };
        let lost = "LinkDown: port wan: the link is down, as its network interface is gone (deleted or moved away); one of its \
                    name is taken once it is up";
        assert_eq!(texts(watch.see_link(0, gone, ms(1_000))), [lost]);
        assert!(texts(watch.see_link(0, gone, ms(2_000))).is_empty(), "told once");
        watch.look(0, RESET, || true, ms(3_000));
        assert_eq!(watch.look(0, NONE, || true, ms(3_001)), Some(Step::BeginRestart));
        let failed = "PortResetFailed: port wan: its network interface cannot be taken anew, which is tried again: it is \
                      down";
        assert_eq!(texts(watch.end_restart(0, Err("it is down".to_owned()), ms(3_002))), [failed]);
        assert_eq!(watch.look(0, NONE, || true, ms(4_002)), Some(Step::BeginRestart));
        let taken = "PortReset: port wan: its network interface is there again, and was taken anew; workers poll it again";
        assert_eq!(texts(watch.end_restart(0, Ok(()), ms(4_003))), [taken]);
        assert_eq!(
            texts(watch.see_link(0, UP, ms(4_004))),
            ["LinkUp: port wan: the link is up, 10000 Mbit/s"]
        );
        // A link that is lost soon after a reset may be about to come up; an interface that is gone is not.
        assert_eq!(texts(watch.see_link(0, gone, ms(4_005))), [lost]);
    }

    #[test]
    fn a_device_that_goes_away_is_released_whatever_else_goes_on() {
        for before in [None, Some(RESET)] {
            let mut watch = watch();
            before.map(|signals| watch.look(0, signals, || false, ms(10)));
            assert_eq!(watch.look(0, REMOVAL, || false, ms(11)), Some(Step::Pause));
            assert_eq!(watch.look(0, NONE, || false, ms(12)), None);
            assert_eq!(watch.look(0, NONE, || true, ms(13)), Some(Step::Remove));
            let note = watch.end_removal(0, Ok(()), ms(13)).expect("the first");
            assert!(note.text.starts_with("port wan: its device is gone"), "{note:?}");
            assert_eq!(watch.look(0, REMOVAL, || true, ms(9_000)), None, "it is gone");
            assert_eq!(state(&watch), (PortState::Removed, 0, 1));
            assert!(!watch.is_deserted(), "the other port goes on");
            watch.look(1, REMOVAL, || true, ms(9_000));
            let note = watch.end_removal(1, Err("busy".to_owned()), ms(9_001)).expect("the first");
            assert_eq!(
                note.text,
                "port lan: its device is gone, and cannot be released yet, which is tried again: busy"
            );
            assert!(watch.is_deserted() && watch.has_no_link());
            assert_eq!(watch.look(1, REMOVAL, || true, ms(10_000)), None);
            assert_eq!(watch.look(1, NONE, || true, ms(10_001)), Some(Step::Remove));
            assert!(watch.end_removal(1, Ok(()), ms(10_001)).is_none(), "it was told");
            assert_eq!(watch.look(1, NONE, || true, ms(99_000)), None);
        }
    }
}
