//! Watch over the ports' devices: links that go down and come back, devices that must be reset, devices that go away.
//!
//! Pure: what was seen goes in with its time, and what is to be done comes out, one step of one port at a time.
//!
//! ```text
//!            reset asked, removal            no worker polls         reset done
//!  serving ───────────────────▶ pausing ──┬──────────────▶ restart ─────────────▶ serving
//!     │  ▲                                │                   │ failed  ▲
//!     └──┘ reads the link                 └─▶ remove ─▶ gone  └▶ waiting ┘ pause between two attempts
//!                                               └─▶ releasing, until its bus lets go of the device ─▶ gone
//! ```

use std::time::Duration;

use super::event_log::Note;
use crate::api::view::{self, EventKind, PortState};
use crate::run::ports::{PortLink, PortSignals};

/// The time between two looks at a link whose device does not signal that it has changed.
const LINK_INTERVAL: Duration = Duration::from_secs(1);

/// The least time between two resets of a device: a PF says several times that it was reset.
const RESET_INTERVAL: Duration = Duration::from_secs(1);

/// The longest time between two attempts to reset a device: its PF may stay down for long.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Step of one port that is due; whoever takes it says what has come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Read the link, for [`PortWatch::see_link`].
    ReadLink,
    /// Keep the workers away from the port.
    Pause,
    /// Reset the port's device, for [`PortWatch::end_restart`].
    Restart,
    /// Release the port's device, for [`PortWatch::end_removal`].
    Remove,
}

/// Phase of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Workers poll the port.
    Serving,
    /// Workers are to keep away: for the device's removal, or for its reset.
    Pausing { removal: bool },
    /// The latest reset has failed, and the next one is due at this time.
    Waiting { until: Duration },
    /// The device is closed, and its bus is asked again at this time to release it.
    Releasing { until: Duration },
    /// The device is released.
    Gone,
}

/// Port as it was seen last.
#[derive(Clone, Debug)]
struct Watched {
    name: String,
    phase: Phase,
    /// State of the link as it was read last; a port whose link was not read yet counts as up.
    link_up: Option<bool>,
    /// Time at which the link is to be read.
    link_due: Duration,
    /// Time from which on a reset that the device asks for is made.
    reset_due: Option<Duration>,
    /// Time of the latest attempt to reset the device.
    restarted: Option<Duration>,
    /// Attempts to reset the device that have failed since the latest one that did not.
    failures: u32,
    resets: u64,
    link_losses: u64,
}

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
        self.ports.iter().map(|port| &*port.name)
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
    pub(super) fn see_link(&mut self, port: usize, link: PortLink) -> Option<Note> {
        self.ports[port].see_link(link)
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

    /// True if there are ports, and none of them has a link.
    pub(super) fn has_no_link(&self) -> bool {
        !self.ports.is_empty() && self.ports.iter().all(|port| port.link_up == Some(false))
    }

    /// True if there were ports, and the devices of all are gone.
    pub(super) fn is_deserted(&self) -> bool {
        !self.ports.is_empty() && self.ports.iter().all(Watched::is_closed)
    }

    /// Completes the state of each port for operators.
    pub(super) fn complete(&self, ports: &mut [view::Port]) {
        for (watched, shown) in self.ports.iter().zip(ports) {
            shown.state = match watched.phase {
                Phase::Serving => PortState::Running,
                Phase::Releasing { .. } | Phase::Gone => PortState::Removed,
                _ => PortState::Resetting,
            };
            (shown.resets, shown.link_losses) = (watched.resets, watched.link_losses);
        }
    }
}

impl Watched {
    fn new(name: String, now: Duration) -> Self {
        Self {
            name,
            phase: Phase::Serving,
            link_up: None,
            link_due: now,
            reset_due: None,
            restarted: None,
            failures: 0,
            resets: 0,
            link_losses: 0,
        }
    }

    fn look(
        &mut self,
        signals: PortSignals,
        is_paused: impl FnOnce() -> bool,
        now: Duration,
    ) -> Option<Step> {
        if signals.link {
            self.link_due = now;
        }
        if signals.reset {
            let rested = self.restarted.map_or(now, |restarted| restarted + RESET_INTERVAL);
            self.reset_due.get_or_insert(rested.max(now));
        }
        if signals.removal && !self.is_closed() {
            self.phase = Phase::Pausing { removal: true };
            return Some(Step::Pause);
        }
        match self.phase {
            Phase::Serving if self.reset_due.is_some_and(|due| due <= now) => {
                self.phase = Phase::Pausing { removal: false };
                Some(Step::Pause)
            }
            Phase::Serving if self.link_due <= now => {
                self.link_due = now + LINK_INTERVAL;
                Some(Step::ReadLink)
            }
            Phase::Pausing { removal } if is_paused() => {
                Some(if removal { Step::Remove } else { Step::Restart })
            }
            Phase::Waiting { until } if until <= now => Some(Step::Restart),
            Phase::Releasing { until } if until <= now => Some(Step::Remove),
            _ => None,
        }
    }

    fn see_link(&mut self, link: PortLink) -> Option<Note> {
        let was_up = self.link_up.replace(link.up);
        let name = &self.name;
        match (was_up, link.up) {
            (None | Some(true), false) => {
                // A link that is not up yet, soon after the start, was not lost.
                self.link_losses += u64::from(was_up.is_some());
                Some(Note::new(EventKind::LinkDown, format!("port {name}: the link is down")))
            }
            (Some(false), true) => {
                let speed = link.speed_mbps.map_or(String::new(), |speed| format!(", {speed} Mbit/s"));
                Some(Note::new(EventKind::LinkUp, format!("port {name}: the link is up{speed}")))
            }
            _ => None,
        }
    }

    fn end_restart(&mut self, result: Result<(), String>, now: Duration) -> Vec<Note> {
        self.restarted = Some(now);
        // A reset that the device has asked for until now is done, or tried again.
        self.reset_due = None;
        let name = &self.name;
        let Err(cause) = result else {
            self.resets += 1;
            self.failures = 0;
            self.phase = Phase::Serving;
            self.link_due = now;
            let text =
                format!("port {name}: the device asked for a reset and was reset; workers poll it again");
            return vec![Note::new(EventKind::PortReset, text)];
        };
        self.failures += 1;
        let pause = RESET_INTERVAL.saturating_mul(1 << (self.failures - 1).min(6)).min(LONGEST_PAUSE);
        self.phase = Phase::Waiting { until: now + pause };
        if self.failures > 1 {
            return Vec::new();
        }
        let text =
            format!("port {name}: the device asks for a reset, which has failed and is tried again: {cause}");
        let lost = self.see_link(PortLink::DOWN);
        std::iter::once(Note::new(EventKind::PortResetFailed, text)).chain(lost).collect()
    }

    /// True from the end of the device on.
    fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Releasing { .. } | Phase::Gone)
    }

    fn end_removal(&mut self, result: Result<(), String>, now: Duration) -> Option<Note> {
        let is_told = self.is_closed();
        self.phase = match result {
            Ok(()) => Phase::Gone,
            Err(_) => Phase::Releasing { until: now + RESET_INTERVAL },
        };
        // The loss of the link is part of what the removal's event tells.
        self.link_losses += u64::from(self.link_up.replace(false) == Some(true));
        let name = &self.name;
        let text = match result {
            Ok(()) => format!(
                "port {name}: its device is gone, or the kernel has asked for it, and is released; a restart of the \
                 appliance takes it again once it is back"
            ),
            Err(cause) => {
                format!(
                    "port {name}: its device is gone, and cannot be released yet, which is tried again: {cause}"
                )
            }
        };
        (!is_told).then(|| Note::new(EventKind::PortRemoved, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: PortSignals = PortSignals { link: false, reset: false, removal: false };
    const RESET: PortSignals = PortSignals { reset: true, ..NONE };
    const REMOVAL: PortSignals = PortSignals { removal: true, ..NONE };
    const UP: PortLink = PortLink { up: true, speed_mbps: Some(10_000) };

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Two ports, of which the first is looked at; their links were read at 0.
    fn watch() -> PortWatch {
        let mut watch = PortWatch::new(["wan", "lan"].map(String::from), ms(0));
        for port in 0..2 {
            assert_eq!(watch.look(port, NONE, || false, ms(0)), Some(Step::ReadLink));
            assert!(watch.see_link(port, UP).is_none());
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
        assert_eq!(texts(watch.see_link(0, PortLink::DOWN)), ["LinkDown: port wan: the link is down"]);
        assert!(watch.see_link(0, PortLink::DOWN).is_none());
        assert!(!watch.has_no_link(), "the other port has one");
        assert!(watch.see_link(1, PortLink::DOWN).is_some() && watch.has_no_link());
        assert_eq!(texts(watch.see_link(0, UP)), ["LinkUp: port wan: the link is up, 10000 Mbit/s"]);
        assert!(!watch.has_no_link());
        assert_eq!(state(&watch), (PortState::Running, 0, 1));
    }

    #[test]
    fn a_link_that_is_not_up_yet_at_the_start_is_told_and_not_counted_as_lost() {
        let mut watch = PortWatch::new(["wan".to_owned()], ms(0));
        assert!(!watch.has_no_link(), "nobody has looked");
        assert_eq!(texts(watch.see_link(0, PortLink::DOWN)), ["LinkDown: port wan: the link is down"]);
        assert!(watch.has_no_link());
        assert!(watch.see_link(0, UP).is_some());
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
        assert_eq!(watch.look(0, NONE, || true, ms(12)), Some(Step::Restart));
        let told = texts(watch.end_restart(0, Ok(()), ms(50)));
        assert_eq!(
            told,
            ["PortReset: port wan: the device asked for a reset and was reset; workers poll it again"]
        );
        assert_eq!(watch.look(0, NONE, || false, ms(51)), Some(Step::ReadLink));
        assert!(!watch.has_no_link() && state(&watch) == (PortState::Running, 1, 0));
    }

    #[test]
    fn a_device_that_asks_again_and_again_is_reset_once_a_second() {
        let mut watch = watch();
        assert_eq!(watch.look(0, RESET, || true, ms(10)), Some(Step::Pause));
        watch.end_restart(0, Ok(()), ms(20));
        let restarts = (21..3_000).filter(|now| {
            let step = watch.look(0, RESET, || true, ms(*now));
            if step == Some(Step::Restart) {
                watch.end_restart(0, Ok(()), ms(*now));
            }
            step == Some(Step::Restart)
        });
        assert_eq!(restarts.count(), 2, "each a turn after the workers were told to keep away");
    }

    #[test]
    fn a_reset_that_fails_is_told_once_and_tried_again_ever_more_seldom() {
        let mut watch = watch();
        watch.look(0, RESET, || true, ms(0));
        let failed = |watch: &mut PortWatch, now| {
            assert_eq!(watch.look(0, NONE, || true, ms(now)), Some(Step::Restart), "{now}");
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
        assert_eq!(watch.look(0, NONE, || true, ms(31_001)), Some(Step::Restart));
        watch.end_restart(0, Ok(()), ms(31_002));
        assert_eq!(watch.look(0, NONE, || false, ms(31_003)), Some(Step::ReadLink));
        assert!(watch.see_link(0, UP).is_some());
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
