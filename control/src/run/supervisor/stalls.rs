//! Stalls of the control thread and of workers, in which probes fail that say nothing of their backends.
//!
//! Pure: what was seen goes in with its time. A probe's failure is excused where a stall took a good part of the probe's
//! time: its packets, or its answer, waited on this side meanwhile. A success counts whenever it comes.

use std::collections::VecDeque;
use std::time::Duration;

use super::event_log::Note;
use crate::api::view::EventKind;

/// The longest pause that is none: a probe has a second at least, and a shorter pause leaves it most of that.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// The least share of its time that a probe must have lost: who had nine tenths of a long timeout to answer did not fail
/// for the rest.
const LEAST_SHARE: f64 = 0.1;

/// The longest time of one stall that excuses failures: a worker that never polls again must not keep backends that have
/// died in service, as the other workers send to them.
const LONGEST_EXCUSE: Duration = Duration::from_secs(30);

/// Stalls that are remembered: the latest ones. A probe outlasts more of them only where stalls are all that there is.
const REMEMBERED: usize = 64;

/// The thread that stood still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thread {
    Control,
    Worker(usize),
}

#[derive(Clone, Copy, Debug)]
struct Stall {
    thread: Thread,
    from: Duration,
    /// End of the stall; none while it goes on.
    until: Option<Duration>,
    /// True once an event has told that failures in it are discarded.
    is_told: bool,
}

impl Stall {
    /// The time that the stall took from a probe.
    fn overlap(&self, probe: &ProbeTime) -> Duration {
        let until = self.until.unwrap_or(probe.ended).min(probe.ended).min(self.from + LONGEST_EXCUSE);
        until.saturating_sub(self.from.max(probe.began))
    }
}

/// The latest polls of a worker.
#[derive(Clone, Copy, Debug)]
struct Pulse {
    beats: u64,
    /// Time of the look that first saw these beats.
    since: Duration,
}

/// The time of a probe, and the threads that it depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProbeTime {
    pub(super) began: Duration,
    pub(super) ended: Duration,
    /// True if workers send its packets and receive the answers; else the kernel does.
    pub(super) by_workers: bool,
}

/// The stalls of late, and what they excuse.
#[derive(Debug)]
pub(super) struct Stalls {
    control_seen: Duration,
    workers: Vec<Pulse>,
    latest: VecDeque<Stall>,
    discarded: u64,
}

impl Stalls {
    /// No stalls: the control thread goes on at `now`, and workers that are not looked at have not stalled either.
    pub(super) fn new(now: Duration) -> Self {
        Self { control_seen: now, workers: Vec::new(), latest: VecDeque::new(), discarded: 0 }
    }

    /// Notes that the control thread goes on at `now`.
    pub(super) fn look_at_control(&mut self, now: Duration) {
        if now.saturating_sub(self.control_seen) > LONGEST_PAUSE {
            let (from, until) = (self.control_seen, Some(now));
            self.remember(Stall { thread: Thread::Control, from, until, is_told: false });
        }
        self.control_seen = now;
    }

    /// Takes in each worker's count of polls.
    pub(super) fn look_at_workers(&mut self, beats: impl Iterator<Item = u64>, now: Duration) {
        for (worker, beats) in beats.enumerate() {
            if worker == self.workers.len() {
                self.workers.push(Pulse { beats, since: now });
            }
            let pulse = &mut self.workers[worker];
            let thread = Thread::Worker(worker);
            let ongoing =
                self.latest.iter_mut().find(|stall| stall.thread == thread && stall.until.is_none());
            if beats != pulse.beats {
                *pulse = Pulse { beats, since: now };
                if let Some(stall) = ongoing {
                    stall.until = Some(now);
                }
            } else if ongoing.is_none() && now.saturating_sub(pulse.since) > LONGEST_PAUSE {
                let from = pulse.since;
                self.remember(Stall { thread, from, until: None, is_told: false });
            }
        }
    }

    /// True if a worker stands still, and has done so for less than the longest time that excuses anything.
    pub(super) fn has_worker_standing_still(&self, now: Duration) -> bool {
        let mut ongoing =
            self.latest.iter().filter(|stall| stall.thread != Thread::Control && stall.until.is_none());
        ongoing.any(|stall| now < stall.from + LONGEST_EXCUSE)
    }

    /// True if the failure of a probe is to be discarded, which is counted; the event is of the first in its stall.
    pub(super) fn excuse(&mut self, probe: &ProbeTime) -> (bool, Option<Note>) {
        let lasted = probe.ended.saturating_sub(probe.began);
        let least = lasted.mul_f64(LEAST_SHARE).max(LONGEST_PAUSE);
        let concerns = |stall: &Stall| probe.by_workers || stall.thread == Thread::Control;
        let stalls = self.latest.iter_mut().filter(|stall| concerns(stall));
        let Some(stall) = stalls.max_by_key(|stall| stall.overlap(probe)) else { return (false, None) };
        if stall.overlap(probe) < least {
            return (false, None);
        }
        self.discarded += 1;
        let is_told = std::mem::replace(&mut stall.is_told, true);
        (true, (!is_told).then(|| note(stall, probe.ended)))
    }

    /// Failures of probes that were discarded.
    pub(super) fn discarded(&self) -> u64 {
        self.discarded
    }

    fn remember(&mut self, stall: Stall) {
        if self.latest.len() == REMEMBERED {
            // Stalls that have ended go first: a worker that never polls again is not forgotten.
            let oldest = self.latest.iter().position(|stall| stall.until.is_some()).unwrap_or(0);
            self.latest.remove(oldest);
        }
        self.latest.push_back(stall);
    }
}

/// The event of the first failure that a stall excuses.
fn note(stall: &Stall, now: Duration) -> Note {
    let millis = stall.until.unwrap_or(now).saturating_sub(stall.from).as_millis();
    let who = match stall.thread {
        Thread::Control => format!("the control thread stood still for {millis} ms"),
        Thread::Worker(worker) if stall.until.is_some() => {
            format!("worker {worker} did not poll for {millis} ms")
        }
        Thread::Worker(worker) => format!("worker {worker} has not polled for {millis} ms"),
    };
    Note::new(EventKind::ProbesDiscarded, format!("{who}: failures of probes in that time count for nothing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn probe(began: u64, ended: u64) -> ProbeTime {
        ProbeTime { began: ms(began), ended: ms(ended), by_workers: true }
    }

    fn of_kernel(began: u64, ended: u64) -> ProbeTime {
        ProbeTime { by_workers: false, ..probe(began, ended) }
    }

    /// Looks every 100 ms up to `end`, and at worker 1's polls only outside of `rest`.
    fn watched(rest: std::ops::Range<u64>, end: u64) -> Stalls {
        let mut stalls = Stalls::new(ms(0));
        let mut beats = 0;
        for now in (0..=end).step_by(100) {
            beats += u64::from(!rest.contains(&now));
            stalls.look_at_control(ms(now));
            stalls.look_at_workers([now, beats].into_iter(), ms(now));
        }
        stalls
    }

    #[test]
    fn failures_in_a_pause_of_the_control_thread_are_discarded_and_told_once() {
        let mut stalls = Stalls::new(ms(0));
        stalls.look_at_control(ms(200));
        assert!(!stalls.excuse(&probe(0, 1_000)).0, "no pause yet");
        stalls.look_at_control(ms(3_200));
        let (excused, note) = stalls.excuse(&of_kernel(1_000, 3_200));
        assert!(
            excused && format!("{note:?}").contains("the control thread stood still for 3000 ms"),
            "{note:?}"
        );
        assert!(matches!(stalls.excuse(&probe(2_900, 3_900)), (true, None)));
        assert_eq!(stalls.discarded(), 2);
        assert!(!stalls.excuse(&probe(3_000, 4_000)).0, "it had most of its time");
        assert!(!stalls.excuse(&probe(3_200, 4_200)).0, "it began afterwards");
        assert!(!stalls.excuse(&probe(2_000, 2_005)).0, "an answer at once did not wait for anybody");
        assert_eq!(stalls.discarded(), 2);
    }

    #[test]
    fn failures_while_a_worker_does_not_poll_are_discarded_unless_the_kernel_probes() {
        let mut stalls = watched(1_000..2_000, 1_500);
        let (excused, note) = stalls.excuse(&probe(500, 1_500));
        assert!(excused && format!("{note:?}").contains("worker 1 has not polled for 600 ms"), "{note:?}");
        assert!(!stalls.excuse(&of_kernel(500, 1_500)).0);
        let mut stalls = watched(1_000..2_000, 9_000);
        assert!(stalls.excuse(&probe(1_500, 2_500)).0, "it was under way when the worker went on");
        assert!(!stalls.excuse(&probe(2_000, 3_000)).0);
        assert!(!stalls.excuse(&probe(8_000, 9_000)).0);
        assert!(!watched(1_000..1_200, 9_000).excuse(&probe(700, 1_700)).0, "too short a rest");
    }

    #[test]
    fn a_worker_stands_still_until_it_polls_again_or_half_a_minute_is_over() {
        let stands_still = |rest, now| watched(rest, now).has_worker_standing_still(ms(now));
        assert!(!stands_still(1_000..90_000, 1_100), "too short a rest");
        assert!(
            stands_still(1_000..90_000, 1_400),
            "and the first question about a claim waits for half a second"
        );
        assert!(stands_still(1_000..90_000, 30_000));
        assert!(!stands_still(1_000..90_000, 31_000), "other workers go on, and neighbours move");
        assert!(!stands_still(1_000..2_000, 2_000));
        let mut stalls = Stalls::new(ms(0));
        stalls.look_at_control(ms(3_000));
        assert!(
            !stalls.has_worker_standing_still(ms(3_000)),
            "what the control thread has not taken in waits for it"
        );
    }

    #[test]
    fn a_long_timeout_is_not_excused_by_a_short_stall() {
        let mut stalls = watched(10_000..10_900, 30_000);
        assert!(!stalls.excuse(&probe(5_000, 25_000)).0);
        assert!(stalls.excuse(&probe(7_000, 12_000)).0);
    }

    #[test]
    fn a_worker_that_never_polls_again_excuses_failures_for_half_a_minute() {
        let mut stalls = Stalls::new(ms(0));
        for now in 0..100 {
            stalls.look_at_control(ms(now * 1_000));
            stalls.look_at_workers([7].into_iter(), ms(now * 1_000));
        }
        stalls.latest.retain(|stall| stall.thread != Thread::Control);
        assert!(stalls.excuse(&probe(20_000, 21_000)).0);
        assert!(!stalls.excuse(&probe(40_000, 41_000)).0, "backends that have died are found again");
    }

    #[test]
    fn a_worker_that_never_polls_again_is_remembered_beyond_any_number_of_other_stalls() {
        let mut stalls = Stalls::new(ms(0));
        for now in 0..100 {
            stalls.look_at_control(ms(now * 1_000));
            stalls.look_at_workers([7].into_iter(), ms(now * 1_000));
        }
        assert_eq!(stalls.latest.len(), REMEMBERED);
        assert!(stalls.latest.iter().any(|stall| stall.thread == Thread::Worker(0) && stall.until.is_none()));
    }
}
