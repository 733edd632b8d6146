//! Sight of a backend by an appliance: its frames show which MAC address it believes, and the network what may have misled it.

use std::time::Duration;

use crate::frame::{self, Mac};

/// Time in which two questions of an appliance are lost or answered, and its workers have the outcome: a claim to a backend's
/// address is decided within a second, and a snapshot waits for 0.3 s at most.
pub const CALM: Duration = Duration::from_secs(3);

/// Longest time for which an appliance believes a stranger after the latest trouble: three vain questions, then one to all.
pub const LONGEST_ERROR: Duration = Duration::from_secs(12);

/// Sight of one backend by one appliance.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sight {
    /// Time at which the backend was last down, or a question for it, or its answer, was lost.
    troubled_at: Duration,
    /// Time of the latest frame to the backend's own MAC address, over IPv4 (and by ARP) and over IPv6.
    right_at: [Option<Duration>; 2],
}

/// Index of the family that a frame is of.
fn family(frame: &[u8]) -> usize {
    usize::from(frame.get(12..14) == Some(&[0x86, 0xdd]))
}

impl Sight {
    /// Notes that a question or an answer may have been lost.
    pub fn note_trouble(&mut self, now: Duration) {
        self.troubled_at = now;
    }

    /// Notes that the appliance knows no MAC address of the backend, or a former one.
    pub fn forget(&mut self, now: Duration) {
        *self = Self { troubled_at: now, right_at: [None; 2] };
    }

    /// Takes in a frame that the appliance sends; `mac` is the backend's own.
    pub fn take_in(&mut self, sent: &[u8], mac: Mac, now: Duration) {
        if frame::destination(sent) == Some(mac) {
            self.right_at[family(sent)] = Some(now);
        }
    }

    /// True if a frame to one who has claimed the backend's address has no excuse: the appliance has known the right MAC
    /// address, and no question was lost since, nor shortly before; or no trouble has lasted for so long.
    pub fn is_misled(&self, sent: &[u8], now: Duration) -> bool {
        let has_known = self.right_at[family(sent)].is_some_and(|right| self.troubled_at + CALM < right);
        has_known || self.troubled_at + LONGEST_ERROR < now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 1, 0];

    fn sec(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn sent(ether_type: [u8; 2]) -> Vec<u8> {
        [&MAC[..], &[2, 0, 0, 0, 0, 1], &ether_type].concat()
    }

    #[test]
    fn a_stranger_is_excused_by_trouble_that_is_not_long_past_and_by_nothing_else() {
        let (four, six) = (sent([8, 0]), sent([0x86, 0xdd]));
        let mut sight = Sight::default();
        sight.forget(sec(1));
        assert!(!sight.is_misled(&four, sec(5)), "nobody was known");
        sight.take_in(&four, MAC, sec(5));
        assert!(sight.is_misled(&four, sec(6)) && !sight.is_misled(&six, sec(6)));
        sight.note_trouble(sec(6));
        assert!(!sight.is_misled(&four, sec(8)), "a question was lost");
        assert!(sight.is_misled(&four, sec(19)), "it would have been asked again");
        sight.take_in(&four, [2; 6], sec(10));
        assert!(!sight.is_misled(&four, sec(11)), "another machine's frame shows nothing");
        sight.take_in(&four, MAC, sec(10));
        assert!(sight.is_misled(&four, sec(11)));
    }
}
