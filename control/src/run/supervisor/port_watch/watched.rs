//! Port under watch: its phase, its link, and the resets of its device.
//!
//! ```text
//!            reset asked, removal            no worker polls          reset done
//!  serving ───────────────────▶ pausing ──┬──────────────▶ restarting ───────────▶ serving
//!     │  ▲                                │                   │ failed   ▲
//!     └──┘ reads the link                 └─▶ remove ─▶ gone  └▶ waiting ┘ pause between two attempts
//!                                               └─▶ releasing, until its bus lets go of the device ─▶ gone
//! ```

use std::time::Duration;

use crate::api::view::{self, EventKind, PortState};
use crate::run::ports::{PortInterface, PortLink, PortSignals};
use crate::run::supervisor::event_log::Note;

/// The time between two looks at a link whose device does not signal that it has changed.
const LINK_INTERVAL: Duration = Duration::from_secs(1);

/// The least time between two resets of a device: a PF says several times that it was reset. It doubles with each reset in a
/// row.
const RESET_INTERVAL: Duration = Duration::from_secs(1);

/// The longest time between two resets in a row, for a device that asks again and again.
const LONGEST_REST: Duration = Duration::from_secs(32);

/// The time without a reset after which the next one is the first in a row again.
const CALM: Duration = Duration::from_secs(60);

/// The time after a reset in which a link that is not up yet is not lost: NICs negotiate for some seconds.
const LINK_PATIENCE: Duration = Duration::from_secs(5);

/// The time between two looks at a link that is to come up after a reset.
const SETTLING_INTERVAL: Duration = Duration::from_millis(100);

/// The longest time between two attempts to reset a device: its PF may stay down for long.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Step of one port that is due; whoever takes it says what has come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::run::supervisor) enum Step {
    /// Read the link, for [`Watched::see_link`].
    ReadLink,
    /// Keep the workers away from the port.
    Pause,
    /// Begin to reset the port's device.
    BeginRestart,
    /// Look whether the reset is over, for [`Watched::end_restart`].
    EndRestart,
    /// Release the port's device, for [`Watched::end_removal`].
    Remove,
}

/// Phase of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Workers poll the port.
    Serving,
    /// Workers are to keep away: for the device's removal, or for its reset.
    Pausing { removal: bool },
    /// The device is being reset.
    Restarting,
    /// The latest reset has failed, and the next one is due at this time.
    Waiting { until: Duration },
    /// The device is closed, and its bus is asked again at this time to release it.
    Releasing { until: Duration },
    /// The device is released.
    Gone,
}

/// Port as it was seen last.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    name: String,
    phase: Phase,
    /// State of the link as it was read last; a port whose link was not read yet counts as up.
    link_up: Option<bool>,
    /// True from the loss of the device's network interface until the device is made anew.
    lacks_interface: bool,
    /// Time at which the link is to be read.
    link_due: Duration,
    /// Time until which a link that is down, after a reset, is not lost.
    link_patience: Option<Duration>,
    /// Links of the members of a bond, as they were read last.
    members: Vec<view::PortMember>,
    /// True once the device is to be released.
    removal: bool,
    /// Time from which on a reset that the device asks for is made.
    reset_due: Option<Duration>,
    /// True if the device carries nothing until that time, which is far off.
    is_stranded: bool,
    /// Time from which on workers keep away from the port for a reset, until one has succeeded.
    away_since: Option<Duration>,
    /// True if they have for so long that the port is none to be announced by.
    is_long_away: bool,
    /// True if the device has asked for another reset while it was reset.
    asked_meanwhile: bool,
    /// Time of the latest attempt to reset the device.
    restarted: Option<Duration>,
    /// Resets that have succeeded, each soon after the one before.
    in_a_row: u32,
    /// Attempts to reset the device that have failed since the latest one that did not.
    failures: u32,
    resets: u64,
    link_losses: u64,
}

impl Watched {
    /// Name of the port.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// True if the port has no link, or no device that is to be used before long.
    pub(super) fn has_no_link(&self) -> bool {
        self.link_up == Some(false) || self.is_stranded || self.is_long_away
    }

    /// Completes the state of the port for operators.
    pub(super) fn complete(&self, shown: &mut view::Port) {
        shown.state = match self.phase {
            Phase::Serving if !self.is_stranded => PortState::Running,
            Phase::Releasing { .. } | Phase::Gone => PortState::Removed,
            _ => PortState::Resetting,
        };
        (shown.resets, shown.link_losses) = (self.resets, self.link_losses);
        shown.members.clone_from(&self.members);
    }

    pub(super) fn new(name: String, now: Duration) -> Self {
        Self {
            name,
            phase: Phase::Serving,
            link_up: None,
            lacks_interface: false,
            link_due: now,
            link_patience: None,
            members: Vec::new(),
            removal: false,
            reset_due: None,
            is_stranded: false,
            away_since: None,
            is_long_away: false,
            asked_meanwhile: false,
            restarted: None,
            in_a_row: 0,
            failures: 0,
            resets: 0,
            link_losses: 0,
        }
    }

    pub(super) fn look(
        &mut self,
        signals: PortSignals,
        is_paused: impl FnOnce() -> bool,
        now: Duration,
    ) -> Option<Step> {
        if signals.link {
            self.link_due = now;
        }
        self.removal |= signals.removal;
        self.is_long_away = self.away_since.is_some_and(|since| now > since + LINK_PATIENCE);
        if self.phase == Phase::Restarting {
            // The thread that resets the device has it to itself until the end.
            self.asked_meanwhile |= signals.reset;
            return Some(Step::EndRestart);
        }
        if signals.reset {
            self.ask_for_reset(now);
        }
        if self.removal && !self.is_closed() && self.phase != (Phase::Pausing { removal: true }) {
            self.phase = Phase::Pausing { removal: true };
            return Some(Step::Pause);
        }
        match self.phase {
            Phase::Serving if self.reset_due.is_some_and(|due| due <= now) => {
                self.phase = Phase::Pausing { removal: false };
                self.away_since = Some(now);
                Some(Step::Pause)
            }
            Phase::Serving if self.link_due <= now => {
                self.link_due = now + LINK_INTERVAL;
                Some(Step::ReadLink)
            }
            Phase::Pausing { removal } if is_paused() => {
                Some(if removal { Step::Remove } else { self.begin_restart() })
            }
            Phase::Waiting { until } if until <= now => Some(self.begin_restart()),
            Phase::Releasing { until } if until <= now => Some(Step::Remove),
            _ => None,
        }
    }

    fn begin_restart(&mut self) -> Step {
        self.phase = Phase::Restarting;
        self.asked_meanwhile = false;
        Step::BeginRestart
    }

    /// Plans the reset that the device asks for: at once, or after a rest, which is the longer the more resets are in a row.
    fn ask_for_reset(&mut self, now: Duration) {
        if self.reset_due.is_some() {
            return;
        }
        let due = match self.restarted {
            Some(restarted) if now < restarted + CALM => (restarted + self.rest()).max(now),
            _ => {
                self.in_a_row = 0;
                now
            }
        };
        self.reset_due = Some(due);
        self.is_stranded = due > now + RESET_INTERVAL;
    }

    /// Least time between the latest reset and the next.
    fn rest(&self) -> Duration {
        RESET_INTERVAL.saturating_mul(1 << self.in_a_row.saturating_sub(1).min(6)).min(LONGEST_REST)
    }

    pub(super) fn see_members(&mut self, members: Vec<view::PortMember>) -> Vec<Note> {
        let changed = |member: &view::PortMember| {
            let before = self.members.iter().find(|before| before.name == member.name);
            let was_up = before.is_none_or(|before| before.link_up);
            let (kind, state) = match (was_up, member.link_up) {
                (true, false) => (EventKind::LinkDown, "down"),
                (false, true) => (EventKind::LinkUp, "up"),
                _ => return None,
            };
            let text = format!("port {}: the link of its member {} is {state}", self.name, member.name);
            Some(Note::new(kind, text))
        };
        // A member whose device goes away leaves the bond's list, and is still missed.
        let is_listed = |known: &view::PortMember| members.iter().any(|member| member.name == known.name);
        let gone = self.members.iter().filter(|known| !is_listed(known));
        let gone: Vec<_> = gone.map(|known| view::PortMember { link_up: false, ..known.clone() }).collect();
        let members: Vec<_> = members.into_iter().chain(gone).collect();
        let notes = members.iter().filter_map(changed).collect();
        self.members = members;
        notes
    }

    pub(super) fn see_link(&mut self, link: PortLink, now: Duration) -> Option<Note> {
        self.lacks_interface |= link.interface != PortInterface::Present;
        if link.up {
            self.link_patience = None;
        } else if !self.lacks_interface
            && self.link_up == Some(true)
            && self.link_patience.is_some_and(|until| now < until)
        {
            self.link_due = now + SETTLING_INTERVAL;
            return None;
        }
        let was_up = self.link_up.replace(link.up);
        let name = &self.name;
        match (was_up, link.up) {
            (None | Some(true), false) => {
                // A link that is not up yet, soon after the start, was not lost.
                self.link_losses += u64::from(was_up.is_some());
                let cause = if self.lacks_interface {
                    ", as its network interface is gone (deleted or moved away); one of its name is taken once it is up"
                } else {
                    ""
                };
                Some(Note::new(EventKind::LinkDown, format!("port {name}: the link is down{cause}")))
            }
            (Some(false), true) => {
                let speed = link.speed_mbps.map_or(String::new(), |speed| format!(", {speed} Mbit/s"));
                Some(Note::new(EventKind::LinkUp, format!("port {name}: the link is up{speed}")))
            }
            _ => None,
        }
    }

    pub(super) fn end_restart(&mut self, result: Result<(), String>, now: Duration) -> Vec<Note> {
        self.restarted = Some(now);
        // A reset that the device had asked for before this one is done, or tried again.
        (self.reset_due, self.is_stranded) = (None, false);
        let Err(cause) = result else { return vec![self.end_successful_restart(now)] };
        self.failures += 1;
        let pause = RESET_INTERVAL.saturating_mul(1 << (self.failures - 1).min(6)).min(LONGEST_PAUSE);
        self.phase = Phase::Waiting { until: now + pause };
        if self.failures > 1 {
            return Vec::new();
        }
        let name = &self.name;
        let text = if self.lacks_interface {
            format!("port {name}: its network interface cannot be taken anew, which is tried again: {cause}")
        } else {
            format!("port {name}: the device asks for a reset, which has failed and is tried again: {cause}")
        };
        self.link_patience = None;
        let lost = self.see_link(PortLink::DOWN, now);
        std::iter::once(Note::new(EventKind::PortResetFailed, text)).chain(lost).collect()
    }

    fn end_successful_restart(&mut self, now: Duration) -> Note {
        self.resets += 1;
        self.in_a_row += 1;
        self.failures = 0;
        self.phase = Phase::Serving;
        (self.away_since, self.is_long_away) = (None, false);
        self.link_due = now;
        self.link_patience = Some(now + LINK_PATIENCE);
        if std::mem::take(&mut self.asked_meanwhile) {
            self.ask_for_reset(now);
        }
        let (name, count, rest) = (&self.name, self.in_a_row, self.rest().as_secs());
        let what = if std::mem::take(&mut self.lacks_interface) {
            "its network interface is there again, and was taken anew"
        } else {
            "the device asked for a reset and was reset"
        };
        let text = match count {
            1 => format!("port {name}: {what}; workers poll it again"),
            _ => format!(
                "port {name}: {what}, {count} times in a row; workers poll it again, and the next reset is not made before \
                 {rest} s have passed"
            ),
        };
        Note::new(EventKind::PortReset, text)
    }

    /// True from the end of the device on.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Releasing { .. } | Phase::Gone)
    }

    pub(super) fn end_removal(&mut self, result: Result<(), String>, now: Duration) -> Option<Note> {
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
