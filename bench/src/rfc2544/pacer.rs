//! Pace of a generator: how many frames are due, by a clock that the caller reads.

use guideway_dataplane::pipeline::BURST;

/// Schedule of frames at equal distances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacer {
    frames_per_nano: f64,
    start: f64,
    made: f64,
    backlog: f64,
}

impl Pacer {
    /// Begins at `start` nanoseconds with so many frames per second.
    ///
    /// After a stall at most `backlog` frames are made up for. What else has become due meanwhile is left out: a device
    /// need not stand a burst that nobody asked for.
    pub(super) fn new(rate: u64, start: u64, backlog: u32) -> Self {
        Self { frames_per_nano: rate as f64 / 1e9, start: start as f64, made: 0.0, backlog: backlog.into() }
    }

    /// Number of frames to send at `now`, at most a burst.
    pub(super) fn due(&mut self, now: u64) -> usize {
        let mut due = ((now as f64 - self.start) * self.frames_per_nano).floor() + 1.0 - self.made;
        if due > self.backlog {
            self.start += (due - self.backlog) / self.frames_per_nano;
            due = self.backlog;
        }
        let due = due.clamp(0.0, BURST as f64);
        self.made += due;
        due as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_due_at_equal_distances() {
        let mut pacer = Pacer::new(1_000_000, 500, 64);
        let due: Vec<_> = [500, 501, 1_499, 1_500, 4_500, 4_501].map(|now| pacer.due(now)).into();
        assert_eq!(due, [1, 0, 0, 1, 3, 0]);
    }

    #[test]
    fn a_second_has_as_many_frames_as_the_rate_says() {
        for rate in [1, 999, 1_000_000, 14_880_952] {
            let mut pacer = Pacer::new(rate, 77, 64);
            let sent: usize = (77..1_000_000_077).step_by(1_000).map(|now| pacer.due(now)).sum();
            assert!(rate.abs_diff(sent as u64) <= 15, "{sent} of {rate}");
        }
    }

    #[test]
    fn what_a_stall_has_missed_is_not_made_up_for() {
        let mut pacer = Pacer::new(1_000_000, 0, 64);
        assert_eq!(pacer.due(0), 1);
        let after = 10_000_000;
        assert_eq!([pacer.due(after), pacer.due(after), pacer.due(after)], [32, 32, 0]);
        assert_eq!(pacer.due(after + 1_000), 1);
    }
}
