//! Stalls of the control thread's loop: how late its turns begin, and which step was the longest.
//!
//! Pure: the loop tells the time of each turn and of each step. All that the thread does counts, tasks of probes too, as
//! every one of them puts off the next turn.

use std::time::Duration;

use super::TURN;
use super::event_log::Note;
use crate::api::view::{self, EventKind};

/// Upper bounds of the histogram's buckets, in milliseconds.
const BOUNDS_MS: [u64; 10] = [1, 2, 5, 10, 25, 50, 100, 250, 1_000, 5_000];

/// Stall from which on an event tells of it.
const TOLD_FROM: Duration = Duration::from_millis(100);

/// Shortest time between two events; stalls between them are told of together.
const QUIET: Duration = Duration::from_secs(60);

/// Time of one of the maxima that the last minute is made of.
const SLOT: Duration = Duration::from_secs(10);

/// Measurement of the loop's stalls.
#[derive(Debug)]
pub(super) struct LoopWatch {
    last_turn: Duration,
    /// Longest step since the last turn.
    step: (&'static str, Duration),
    /// Turns by bucket; the last bucket has no bound.
    turns: [u64; BOUNDS_MS.len() + 1],
    stalled: Duration,
    longest: Duration,
    over: u64,
    /// Number of the slot of time, and its longest stall; the latest last.
    slots: [(u64, Duration); 6],
    told_at: Option<Duration>,
    /// Stalls that no event has told of: their number, and the longest.
    untold: (u64, Duration, (&'static str, Duration)),
}

impl LoopWatch {
    /// Measurement from `now` on.
    pub(super) fn new(now: Duration) -> Self {
        let nothing = ("", Duration::ZERO);
        Self {
            last_turn: now,
            step: nothing,
            turns: [0; BOUNDS_MS.len() + 1],
            stalled: Duration::ZERO,
            longest: Duration::ZERO,
            over: 0,
            slots: [(0, Duration::ZERO); 6],
            told_at: None,
            untold: (0, Duration::ZERO, nothing),
        }
    }

    /// Notes how long a step of the loop took.
    pub(super) fn did(&mut self, step: &'static str, took: Duration) {
        if took > self.step.1 {
            self.step = (step, took);
        }
    }

    /// Notes that a turn begins; returns the event of a long stall before it, or of several.
    pub(super) fn begin_turn(&mut self, now: Duration) -> Option<Note> {
        let stall = now.saturating_sub(self.last_turn).saturating_sub(TURN);
        let step = std::mem::replace(&mut self.step, ("", Duration::ZERO));
        self.last_turn = now;
        let bucket = BOUNDS_MS.iter().position(|bound| stall <= Duration::from_millis(*bound));
        self.turns[bucket.unwrap_or(BOUNDS_MS.len())] += 1;
        self.stalled += stall;
        self.longest = self.longest.max(stall);
        let slot = slot(now);
        let newest = &mut self.slots[(slot % 6) as usize];
        *newest = if newest.0 == slot { (slot, newest.1.max(stall)) } else { (slot, stall) };
        if stall >= TOLD_FROM {
            self.over += 1;
            self.untold.0 += 1;
            if stall > self.untold.1 {
                (self.untold.1, self.untold.2) = (stall, step);
            }
        }
        let is_due = self.told_at.is_none_or(|told| now.saturating_sub(told) >= QUIET);
        (self.untold.0 > 0 && is_due).then(|| self.tell(now))
    }

    fn tell(&mut self, now: Duration) -> Note {
        let nothing = (0, Duration::ZERO, ("", Duration::ZERO));
        let (count, longest, (step, took)) = std::mem::replace(&mut self.untold, nothing);
        self.told_at = Some(now);
        let longest_ms = longest.as_millis();
        let text = match count {
            1 => format!("the control thread stood still for {longest_ms} ms"),
            _ => format!("the control thread stood still {count} times, for {longest_ms} ms at most"),
        };
        let cause = if took * 2 > longest {
            format!("{step} took {} ms", took.as_millis())
        } else {
            "no step of its own took that long: look at the load of its core".to_owned()
        };
        Note::new(EventKind::ControlStalled, format!("{text}: {cause}"))
    }

    /// Stalls for operators.
    pub(super) fn view(&self, now: Duration) -> view::ControlLoop {
        let oldest = slot(now).saturating_sub(5);
        let recent = self.slots.iter().filter(|(slot, _)| *slot >= oldest).map(|(_, longest)| *longest);
        let bounds = BOUNDS_MS.iter().map(|bound| Some(*bound)).chain([None]);
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        view::ControlLoop {
            longest_stall_last_minute_ms: ms(recent.max().unwrap_or_default()),
            longest_stall_ms: ms(self.longest),
            long_stalls: self.over,
            stalled_sec: self.stalled.as_secs_f64(),
            turns: bounds
                .zip(self.turns)
                .map(|(up_to_ms, turns)| view::TurnsByStall { up_to_ms, turns })
                .collect(),
        }
    }
}

fn slot(now: Duration) -> u64 {
    now.as_secs() / SLOT.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_long_stall_is_told_with_its_step_and_the_next_ones_together() {
        let mut watch = LoopWatch::new(ms(0));
        assert!(watch.begin_turn(ms(1)).is_none() && watch.begin_turn(ms(100)).is_none(), "98 ms");
        watch.did("a reload", ms(380));
        watch.did("ports", ms(2));
        let note = format!("{:?}", watch.begin_turn(ms(501)));
        assert!(note.contains("stood still for 400 ms: a reload took 380 ms"), "{note}");
        assert!(watch.begin_turn(ms(1_000)).is_none() && watch.begin_turn(ms(2_000)).is_none());
        assert!(watch.begin_turn(ms(2_001)).is_none());
        let mut note = None;
        for now in (2_002..60_600).step_by(50) {
            note = note.or(watch.begin_turn(ms(now)));
        }
        let note = format!("{note:?}");
        assert!(note.contains("stood still 2 times, for 999 ms at most: no step of its own"), "{note}");
    }

    #[test]
    fn stalls_are_counted_by_length_and_the_longest_of_the_last_minute_is_known() {
        let mut watch = LoopWatch::new(ms(0));
        for now in [1, 2, 5, 306, 307, 7_308] {
            watch.begin_turn(ms(now));
        }
        let view = watch.view(ms(7_308));
        let turns: Vec<_> = view.turns.iter().map(|turns| turns.turns).collect();
        assert_eq!(turns, [3, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1]);
        assert_eq!(
            (view.longest_stall_ms, view.longest_stall_last_minute_ms, view.long_stalls),
            (7_000.0, 7_000.0, 2)
        );
        assert!((view.stalled_sec - 7.302).abs() < 1e-9, "{}", view.stalled_sec);
        let mut now = 7_308;
        while now < 70_000 {
            now += 11;
            watch.begin_turn(ms(now));
        }
        let view = watch.view(ms(now));
        assert_eq!((view.longest_stall_ms, view.longest_stall_last_minute_ms), (7_000.0, 10.0));
    }
}
