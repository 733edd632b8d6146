//! Values over time in a bounded number of points: where time goes on, points are merged.

use std::time::Duration;

/// Counts in equal pieces of time, whose length grows with the time that they cover: 1 ms, 10 ms, 100 ms and so on.
#[derive(Debug)]
pub struct TimeSeries<const N: usize> {
    step: Duration,
    counts: Vec<[u64; N]>,
}

/// Pieces that are kept at most.
const MOST_PIECES: usize = 2_000;

/// Pieces that are shown at most.
const MOST_SHOWN: usize = 120;

impl<const N: usize> TimeSeries<N> {
    pub(super) fn new() -> Self {
        Self { step: Duration::from_millis(1), counts: Vec::new() }
    }

    pub(super) fn add(&mut self, at: Duration, counts: [u64; N]) {
        while self.index(at) >= MOST_PIECES {
            self.counts = merged(&self.counts, 10);
            self.step *= 10;
        }
        let index = self.index(at);
        if self.counts.len() <= index {
            self.counts.resize(index + 1, [0; N]);
        }
        let piece = &mut self.counts[index];
        piece.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }

    fn index(&self, at: Duration) -> usize {
        usize::try_from(at.as_nanos() / self.step.as_nanos()).unwrap_or(usize::MAX)
    }

    /// Length of a piece, and the counts of all pieces, few enough for a chart.
    pub fn pieces(&self) -> (Duration, Vec<[u64; N]>) {
        let factors = [1, 2, 5, 10, 20];
        let fits = |factor: &usize| self.counts.len().div_ceil(*factor) <= MOST_SHOWN;
        let factor = factors.into_iter().find(fits).unwrap_or(20);
        (self.step * factor as u32, merged(&self.counts, factor))
    }

    /// Sums over all time.
    pub fn totals(&self) -> [u64; N] {
        merged(&self.counts, self.counts.len().max(1)).first().copied().unwrap_or([0; N])
    }
}

/// Adds each so many neighbours up.
fn merged<const N: usize>(counts: &[[u64; N]], factor: usize) -> Vec<[u64; N]> {
    let sum =
        |pieces: &[[u64; N]]| std::array::from_fn(|index| pieces.iter().map(|piece| piece[index]).sum());
    counts.chunks(factor).map(sum).collect()
}

/// Values at points in time, of which every other one is forgotten when there are too many.
#[derive(Debug, Default)]
pub struct Samples {
    points: Vec<(Duration, usize)>,
    distance: Duration,
}

/// Points that are kept at most.
const MOST_POINTS: usize = 128;

impl Samples {
    pub(in crate::offline::replay) fn is_due(&self, at: Duration) -> bool {
        self.points.last().is_none_or(|(last, _)| at >= *last + self.distance)
    }

    pub(in crate::offline::replay) fn add(&mut self, at: Duration, value: usize) {
        if self.points.len() >= MOST_POINTS {
            let mut is_kept = false;
            self.points.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
            let last = self.points.last().map_or(Duration::ZERO, |(last, _)| *last);
            self.distance = self.distance.max(last / (MOST_POINTS as u32 / 2));
        }
        self.points.push((at, value));
    }

    /// Points in order of time.
    pub fn points(&self) -> &[(Duration, usize)] {
        &self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_survive_every_merge() {
        let mut series = TimeSeries::<2>::new();
        for minute in 0..1_000 {
            series.add(Duration::from_secs(60 * minute), [1, 2]);
        }
        assert_eq!(series.totals(), [1_000, 2_000]);
        let (step, pieces) = series.pieces();
        assert_eq!(step, Duration::from_secs(500));
        assert_eq!(pieces.len(), 120);
        // Nine minutes begin in the first five hundred seconds.
        assert_eq!(pieces[0], [9, 18]);
        assert_eq!(pieces.iter().map(|piece| piece[0]).sum::<u64>(), 1_000);
    }

    #[test]
    fn a_day_of_samples_is_few_points_in_order() {
        let mut samples = Samples::default();
        for second in 0..86_400 {
            let at = Duration::from_secs(second);
            if samples.is_due(at) {
                samples.add(at, second as usize);
            }
        }
        let points = samples.points();
        assert!((64..=128).contains(&points.len()), "{}", points.len());
        assert!(points.is_sorted() && points[0].1 == 0 && points.last().expect("a point").1 > 84_000);
    }
}
