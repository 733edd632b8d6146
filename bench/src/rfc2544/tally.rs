//! Tally of what has come back: every test frame once, and what came twice or too late beside it.

/// Frames that have come back in a trial.
#[derive(Debug)]
pub(super) struct Tally {
    /// A bit for each frame that may be sent, set once it has come back.
    seen: Vec<u64>,
    /// For each flow the number of frames of it that were sent up to the latest that has come back.
    latest: Vec<u32>,
    sendable: u64,
    /// Frames that have come back, each counted once.
    pub(super) received: u64,
    /// Frames that had come back before.
    pub(super) duplicates: u64,
    /// Frames that a later one of their flow had overtaken (RFC 4737).
    pub(super) reordered: u64,
    /// Frames that are none of the trial's.
    pub(super) strangers: u64,
}

impl Tally {
    /// Makes the tally of a trial of up to `sendable` frames, which belong to `flows` flows in turns.
    pub(super) fn new(sendable: u64, flows: u32) -> Self {
        Self {
            // The system gives memory to what is touched: the frames that were sent, not those that might have been.
            seen: vec![0; sendable.div_ceil(64) as usize],
            latest: vec![0; flows as usize],
            sendable,
            received: 0,
            duplicates: 0,
            reordered: 0,
            strangers: 0,
        }
    }

    /// Counts a frame that has come back; false if it is none of the trial's, or has come back before.
    pub(super) fn count(&mut self, sequence: u64) -> bool {
        if sequence >= self.sendable {
            self.strangers += 1;
            return false;
        }
        let (word, bit) = (&mut self.seen[(sequence / 64) as usize], 1 << (sequence % 64));
        if *word & bit != 0 {
            self.duplicates += 1;
            return false;
        }
        *word |= bit;
        self.received += 1;
        let flows = self.latest.len() as u64;
        let (latest, own) = (&mut self.latest[(sequence % flows) as usize], (sequence / flows) as u32 + 1);
        self.reordered += u64::from(own < *latest);
        *latest = own.max(*latest);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(sequences: &[u64]) -> (u64, u64, u64, u64) {
        let mut tally = Tally::new(100, 4);
        for sequence in sequences {
            tally.count(*sequence);
        }
        (tally.received, tally.duplicates, tally.reordered, tally.strangers)
    }

    #[test]
    fn each_frame_is_counted_once() {
        assert_eq!(tally(&(0..100).collect::<Vec<_>>()), (100, 0, 0, 0));
        assert_eq!(tally(&[0, 1, 63, 64, 99, 64, 63, 64]), (5, 3, 0, 0));
        assert_eq!(tally(&[100, u64::MAX, 1]), (1, 0, 0, 2));
    }

    #[test]
    fn frames_are_reordered_within_their_flow_alone() {
        assert_eq!(tally(&[3, 2, 1, 0, 7, 6, 5, 4]), (8, 0, 0, 0), "four flows");
        assert_eq!(tally(&[0, 8, 4, 12, 1]), (5, 0, 1, 0), "4 comes after 8, which is of its flow");
    }
}
