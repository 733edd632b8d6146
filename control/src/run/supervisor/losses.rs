//! Losses of frames outside of this process's own rings: in devices, below them, and on the way out. A neighbour's answer, or the
//! question to it, may be among them.
//!
//! Pure: counters go in with their time.

use std::time::Duration;

/// Time between two looks, where nobody asks for one earlier.
const INTERVAL: Duration = Duration::from_millis(500);

/// Least part of the frames of a way, as its inverse, whose loss counts: a neighbour is asked twice before another takes its place,
/// and a busy device that loses a few frames in a million must not keep it from being followed.
const LEAST_PART: u64 = 100;

/// Counters of a way that frames take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// Frames that got through.
    pub(super) through: u64,
    /// Frames that were lost.
    pub(super) lost: u64,
}

/// Counters of all ways at the last look.
#[derive(Debug, Default)]
pub(super) struct Losses {
    looked_at: Duration,
    ways: Vec<Way>,
}

impl Losses {
    /// True if the last look is long enough ago.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        now >= self.looked_at + INTERVAL
    }

    /// Takes in the counters of each way; true if one of them has lost a good part of its frames since the last look.
    pub(super) fn look(&mut self, ways: Vec<Way>, now: Duration) -> bool {
        self.looked_at = now;
        let before = std::mem::replace(&mut self.ways, ways);
        self.ways.iter().zip(before).any(|(way, before)| {
            // Counters of a device that was made anew may begin at 0.
            let lost = way.lost.saturating_sub(before.lost);
            let frames = way.through.saturating_sub(before.through).saturating_add(lost);
            lost > 0 && lost.saturating_mul(LEAST_PART) >= frames
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_way_that_loses_a_hundredth_of_its_frames_is_told_whatever_others_carry() {
        let mut losses = Losses::default();
        let mut look = |through, lost| {
            let busy = Way { through: 1_000_000 + through * 50, lost: 3 };
            losses.look(vec![busy, Way { through, lost }], ms(0))
        };
        assert!(!look(500, 70), "what was lost before the first look says nothing");
        assert!(!look(1_500, 70));
        assert!(!look(2_500, 79), "9 of 1,009");
        assert!(look(3_500, 90));
        assert!(!look(3_500, 90), "told once");
        assert!(look(3_500, 91), "one lost, none came through");
        assert!(!look(10, 0), "a device that was made anew");
        assert!(look(11, 1));
    }

    #[test]
    fn a_look_is_due_every_half_second() {
        let mut losses = Losses::default();
        assert!(losses.is_due(ms(500)));
        losses.look(Vec::new(), ms(700));
        assert!(!losses.is_due(ms(1_199)) && losses.is_due(ms(1_200)));
    }
}
