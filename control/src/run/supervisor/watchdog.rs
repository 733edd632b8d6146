//! The watchdog: notices workers that do not poll.

use std::collections::VecDeque;
use std::time::Duration;

/// The time that a worker may go without a poll: a thousand times what a full burst takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// The time over which the load of a worker is measured.
const LOAD_TIME: Duration = Duration::from_secs(1);

/// The latest polls of each worker.
#[derive(Debug)]
pub(super) struct Watchdog(Vec<Pulse>);

#[derive(Clone, Debug, Default)]
struct Pulse {
    beats: u64,
    /// Polls, and those that found a frame, as each look of the last second saw them, with its time.
    looks: VecDeque<(Duration, u64, u64)>,
    /// Time of the look that first saw these beats.
    since: Duration,
    is_stalled: bool,
    /// The worker's thread has ended.
    has_ended: bool,
}

/// A worker has stalled, or goes on after it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) worker: usize,
    pub(super) is_stalled: bool,
}

impl Watchdog {
    pub(super) fn new(workers: usize) -> Self {
        Self(vec![Pulse::default(); workers])
    }

    /// Takes in each worker's count of polls, and of those that found a frame; returns the workers that have stalled or
    /// resumed since the last look.
    pub(super) fn look(&mut self, polls: impl Iterator<Item = (u64, u64)>, now: Duration) -> Vec<News> {
        let mut news = Vec::new();
        for (worker, (pulse, (beats, busy))) in self.0.iter_mut().zip(polls).enumerate() {
            if beats != pulse.beats {
                (pulse.beats, pulse.since) = (beats, now);
            }
            pulse.see(beats, busy, now);
            let is_stalled = now.saturating_sub(pulse.since) > PATIENCE;
            if is_stalled != pulse.is_stalled {
                pulse.is_stalled = is_stalled;
                news.push(News { worker, is_stalled });
            }
        }
        news
    }

    /// Marks a worker whose thread has ended: it counts as stalled for ever.
    pub(super) fn mark_ended(&mut self, worker: usize) {
        if let Some(pulse) = self.0.get_mut(worker) {
            pulse.has_ended = true;
        }
    }

    /// The share of a worker's polls of the last second that found a frame: the load now.
    pub(super) fn busy_share(&self, worker: usize) -> f64 {
        self.0.get(worker).map_or(0.0, Pulse::busy_share)
    }

    /// True if a worker has not polled for too long, or has ended.
    pub(super) fn is_stalled(&self, worker: usize) -> bool {
        self.0.get(worker).is_some_and(|pulse| pulse.is_stalled || pulse.has_ended)
    }
}

impl Pulse {
    /// Takes in a look, and forgets those that are of no use any more: one of a second ago is what the others go by.
    fn see(&mut self, beats: u64, busy: u64, now: Duration) {
        self.looks.push_back((now, beats, busy));
        while self.looks.get(1).is_some_and(|(at, ..)| now.saturating_sub(*at) >= LOAD_TIME) {
            self.looks.pop_front();
        }
    }

    fn busy_share(&self) -> f64 {
        let (Some((_, from, idle)), Some((_, to, busy))) = (self.looks.front(), self.looks.back()) else {
            return 0.0;
        };
        let polls = to.saturating_sub(*from);
        if polls == 0 { 0.0 } else { (busy.saturating_sub(*idle) as f64 / polls as f64).clamp(0.0, 1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_has_ended_is_stalled_at_once_and_for_ever() {
        let mut watchdog = Watchdog::new(2);
        watchdog.look([(5, 1), (5, 1)].into_iter(), Duration::from_millis(100));
        watchdog.mark_ended(0);
        watchdog.look([(6, 1), (6, 1)].into_iter(), Duration::from_millis(200));
        assert_eq!([0, 1].map(|worker| watchdog.is_stalled(worker)), [true, false]);
    }

    #[test]
    fn a_worker_that_stops_is_named_once_and_so_is_its_return() {
        let mut watchdog = Watchdog::new(2);
        let mut look = |ms, beats: [u64; 2]| {
            let polls = beats.map(|beats| (beats, beats / 2)).into_iter();
            let news = watchdog.look(polls, Duration::from_millis(ms));
            news.into_iter().map(|news| (news.worker, news.is_stalled)).collect::<Vec<_>>()
        };
        assert_eq!(look(500, [1, 1]), []);
        assert_eq!(look(1_500, [2, 1]), []);
        assert_eq!(look(1_600, [3, 1]), [(1, true)]);
        assert_eq!(look(9_000, [4, 1]), []);
        assert_eq!(look(9_100, [5, 2]), [(1, false)]);
    }

    #[test]
    fn the_load_is_that_of_the_last_second() {
        let mut watchdog = Watchdog::new(1);
        let mut look = |tenths: u64, busy: u64| {
            watchdog.look([(tenths * 10, busy)].into_iter(), Duration::from_millis(100 * tenths));
            watchdog.busy_share(0)
        };
        // Ten polls a tenth of a second: all are busy for two seconds, and none afterwards.
        let busy: Vec<f64> = (1..=20).map(|tenth| look(tenth, 10 * tenth)).collect();
        assert!(busy[1..].iter().all(|share| (share - 1.0).abs() < 1e-9), "{busy:?}");
        let calm: Vec<f64> = (21..=31).map(|tenth| look(tenth, 200)).collect();
        assert!((calm[4] - 0.5).abs() < 1e-9 && calm[9] == 0.0 && calm[10] == 0.0, "{calm:?}");
    }
}
