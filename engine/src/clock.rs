//! Clock of the engine: one start for the control thread and all workers, read once in many polls.

use std::time::{Duration, Instant};

use guideway_dataplane::time::Tick;

/// Polls that may see one reading. A poll takes microseconds, a tick is a second; a reading costs about 25 ns.
const POLLS_PER_READING: u32 = 32;

/// Clock that counts from the engine's start; copies have the same start.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Source);

/// Source of a clock's time.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// Monotonic time of the machine, from here on.
    Started(Instant),
    /// Function that tells the time since the start.
    Told(fn() -> Duration),
}

impl Clock {
    /// Starts a clock now.
    pub fn start() -> Self {
        Self(Source::Started(Instant::now()))
    }

    /// Clock of an engine that has run for this time, or since the machine's start if that is less.
    pub fn running_for(time: Duration) -> Self {
        let now = Instant::now();
        Self(Source::Started(now.checked_sub(time).unwrap_or(now)))
    }

    /// Clock that goes by what `elapsed` tells, which never goes back: virtual time, for a simulation.
    pub fn told_by(elapsed: fn() -> Duration) -> Self {
        Self(Source::Told(elapsed))
    }

    /// Time since the engine's start.
    pub fn elapsed(&self) -> Duration {
        match self.0 {
            Source::Started(start) => start.elapsed(),
            Source::Told(elapsed) => elapsed(),
        }
    }

    /// Tick at this moment: whole seconds since the engine's start.
    pub fn now(&self) -> Tick {
        Tick::from_secs(self.elapsed().as_secs())
    }

    /// Makes a view of this clock for a worker to read at every poll.
    pub fn coarse(&self) -> CoarseClock {
        CoarseClock { clock: *self, tick: self.now(), polls_left: POLLS_PER_READING }
    }
}

/// View of a [`Clock`] that is read at every poll, and reads the clock itself at one in many.
#[derive(Clone, Debug)]
pub struct CoarseClock {
    clock: Clock,
    tick: Tick,
    polls_left: u32,
}

impl CoarseClock {
    /// Tick at this poll, up to 32 polls old.
    #[inline]
    pub fn now(&mut self) -> Tick {
        self.polls_left -= 1;
        if self.polls_left == 0 {
            self.tick = self.clock.now();
            self.polls_left = POLLS_PER_READING;
        }
        self.tick
    }

    /// Time since the engine's start, read from the clock itself.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_told_the_time_has_no_other() {
        let clock = Clock::told_by(|| Duration::from_millis(7_900));
        assert_eq!((clock.elapsed(), clock.now()), (Duration::from_millis(7_900), Tick(7)));
        assert_eq!(clock.coarse().elapsed(), Duration::from_millis(7_900));
    }

    #[test]
    fn a_coarse_clock_catches_up_within_its_polls() {
        let mut coarse = CoarseClock {
            clock: Clock::running_for(Duration::from_secs(2)),
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
