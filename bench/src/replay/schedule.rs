//! Schedule of a replay: when each clone of each frame is due. All clones of a capture run at once, each at another
//! point of it.
//!
//! If all clones were at one point, their packets would come in bursts of one kind, and a quiet second of the capture
//! would be one of the replay's. So a capture that takes as long as K slots is played by K clones like a round, each
//! a slot behind the one before it, and each from its start again when it has come to its end.

use std::time::Duration;

/// Endless sequence of frames, in the order in which they are due.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// Frames by how far into their slot they are due.
    turns: Vec<Turn>,
    clones: u64,
    slot_nanos: u64,
    slot: u64,
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    frame: u32,
    slot: u64,
    nanos: u64,
}

/// Frame of a clone that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) frame: usize,
    pub(super) clone: u64,
    /// Nanoseconds since the start at which the frame is due.
    pub(super) nanos: u64,
}

impl Schedule {
    /// Makes the schedule of so many clones of a capture that is `length` long and has its frames at these times.
    ///
    /// # Panics
    /// If there is no frame, no clone, or a frame after the capture's end.
    pub(super) fn new(times: &[Duration], length: Duration, clones: u64) -> Self {
        assert!(clones > 0 && !times.is_empty(), "there is something to play");
        let slot_nanos = (length.as_nanos() as u64).div_ceil(clones).max(1);
        let mut turns: Vec<Turn> = times
            .iter()
            .zip(0..)
            .map(|(time, frame)| {
                assert!(*time < length, "a frame lies within its capture");
                let nanos = time.as_nanos() as u64;
                Turn { frame, slot: nanos / slot_nanos, nanos: nanos % slot_nanos }
            })
            .collect();
        // Stable: frames of one moment keep their order.
        turns.sort_by_key(|turn| turn.nanos);
        Self { turns, clones, slot_nanos, slot: 0, next: 0 }
    }

    /// Frame that is due next.
    pub(super) fn peek(&self) -> Due {
        let turn = self.turns[self.next];
        Due {
            frame: turn.frame as usize,
            clone: (self.slot + self.clones - turn.slot) % self.clones,
            nanos: self.slot * self.slot_nanos + turn.nanos,
        }
    }

    /// Goes on to the next frame.
    pub(super) fn advance(&mut self) {
        self.next += 1;
        if self.next == self.turns.len() {
            self.next = 0;
            self.slot += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn take(schedule: &mut Schedule, count: usize) -> Vec<Due> {
        std::iter::repeat_with(|| {
            let due = schedule.peek();
            schedule.advance();
            due
        })
        .take(count)
        .collect()
    }

    #[test]
    fn in_one_length_every_clone_plays_every_frame_once() {
        let times = [0, 5, 5, 17, 29].map(Duration::from_nanos);
        let mut schedule = Schedule::new(&times, Duration::from_nanos(30), 3);
        let played = take(&mut schedule, 15);
        let mut seen = BTreeMap::new();
        played.iter().for_each(|due| *seen.entry((due.clone, due.frame)).or_insert(0) += 1);
        assert_eq!(seen.len(), 15);
        assert!(played.iter().all(|due| due.nanos < 30), "{played:?}");
        assert!(played.is_sorted_by_key(|due| due.nanos));
        assert_eq!(take(&mut schedule, 1)[0].nanos, 30);
    }

    #[test]
    fn a_clone_plays_its_frames_in_order_and_at_their_distances() {
        let times = [0, 5, 5, 17, 29].map(Duration::from_nanos);
        let mut schedule = Schedule::new(&times, Duration::from_nanos(30), 3);
        let played = take(&mut schedule, 45);
        let second: Vec<_> = played.iter().filter(|due| due.clone == 1).collect();
        let start = second.iter().position(|due| due.frame == 0).expect("it comes round");
        let frames: Vec<_> = second[start..start + 5].iter().map(|due| due.frame).collect();
        assert_eq!(frames, [0, 1, 2, 3, 4]);
        let nanos: Vec<_> =
            second[start..start + 5].iter().map(|due| due.nanos - second[start].nanos).collect();
        assert_eq!(nanos, [0, 5, 5, 17, 29]);
    }

    #[test]
    fn more_clones_than_nanoseconds_are_all_played() {
        let mut schedule = Schedule::new(&[Duration::ZERO], Duration::from_nanos(1), 4);
        let clones: Vec<_> = take(&mut schedule, 4).iter().map(|due| due.clone).collect();
        assert_eq!(clones, [0, 1, 2, 3]);
    }
}
