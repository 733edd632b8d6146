//! Words to systemd: the appliance forwards, lives, stops. Without systemd there is nobody to tell.

use std::time::Duration;

use sd_notify::NotifyState;

/// Tells that the appliance forwards.
pub(super) fn tell_ready() {
    let _ = sd_notify::notify(false, &[NotifyState::Ready]);
}

/// Tells that the appliance stops.
pub(super) fn tell_stopping() {
    let _ = sd_notify::notify(false, &[NotifyState::Stopping]);
}

/// Sign of life of the control thread, for the unit's `WatchdogSec`.
#[derive(Debug)]
pub(super) struct Heartbeat {
    /// Time between two signs, half of what systemd waits; none where the unit asks for no signs.
    interval: Option<Duration>,
    last: Option<Duration>,
}

impl Heartbeat {
    /// The heartbeat that the unit asks for.
    pub(super) fn of_unit() -> Self {
        let mut micros = 0;
        let is_asked_for = sd_notify::watchdog_enabled(false, &mut micros);
        Self::every(is_asked_for.then(|| Duration::from_micros(micros) / 2))
    }

    fn every(interval: Option<Duration>) -> Self {
        Self { interval, last: None }
    }

    /// Gives a sign if one is due.
    pub(super) fn beat(&mut self, now: Duration) {
        if self.is_due(now) {
            let _ = sd_notify::notify(false, &[NotifyState::Watchdog]);
        }
    }

    fn is_due(&mut self, now: Duration) -> bool {
        let is_due =
            self.interval.is_some_and(|interval| self.last.is_none_or(|last| now >= last + interval));
        if is_due {
            self.last = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_come_twice_as_often_as_they_are_waited_for_and_never_unasked() {
        let seconds = Duration::from_secs;
        let mut heartbeat = Heartbeat::every(Some(seconds(5)));
        let due: Vec<bool> = [0, 4, 5, 6, 10, 30].map(|now| heartbeat.is_due(seconds(now))).into();
        assert_eq!(due, [true, false, true, false, true, true]);
        assert!(!Heartbeat::every(None).is_due(seconds(100)));
    }
}
