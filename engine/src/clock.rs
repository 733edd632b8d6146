//! The engine's clock: one start for the control thread and all workers, read once in many polls.

use std::time::{Duration, Instant};

use guideway_dataplane::time::Tick;

/// How many polls may see one reading. A poll takes microseconds, a tick is a second; a reading costs about 25 ns.
const POLLS_PER_READING: u32 = 32;

/// Counts whole seconds from the engine's start. Copies agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// How long ago the engine started.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The tick at this moment.
    pub fn now(&self) -> Tick {
        Tick::from_secs(self.start.elapsed().as_secs())
    }

    /// A worker's view of this clock.
    pub fn coarse(&self) -> CoarseClock {
        CoarseClock { clock: *self, tick: self.now(), polls_left: POLLS_PER_READING }
    }
}

/// A clock that is read at every poll and asks the processor at some.
#[derive(Clone, Debug)]
pub struct CoarseClock {
    clock: Clock,
    tick: Tick,
    polls_left: u32,
}

impl CoarseClock {
    /// The tick at this poll.
    #[inline]
    pub fn now(&mut self) -> Tick {
        self.polls_left -= 1;
        if self.polls_left == 0 {
            self.tick = self.clock.now();
            self.polls_left = POLLS_PER_READING;
        }
        self.tick
    }

    /// How long ago the engine started, at this moment.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coarse_clock_catches_up_within_its_polls() {
        let two_seconds_ago = Instant::now().checked_sub(Duration::from_secs(2)).expect("the machine is up");
        let mut coarse = CoarseClock {
            clock: Clock { start: two_seconds_ago },
            tick: Tick(0),
            polls_left: POLLS_PER_READING,
        };
        for _ in 1..POLLS_PER_READING {
            assert_eq!(coarse.now(), Tick(0));
        }
        assert_eq!(coarse.now(), Tick(2));
        assert_eq!(coarse.now(), Tick(2));
    }
}
