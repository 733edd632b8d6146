//! Scales from values to positions on an axis, with round numbers to mark it.

/// Spacing of values over an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steps {
    /// Equal distances are equal differences; the axis begins at zero.
    Linear,
    /// Equal distances are equal ratios.
    Logarithmic,
}

/// Scale of an axis, from its first mark to its last.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    steps: Steps,
    low: f64,
    high: f64,
    pub(super) marks: Vec<f64>,
}

/// Number of marks that a long axis has, about.
const MARKS: f64 = 6.0;

/// Length of an axis that a mark takes at least, with its text.
const MARK: f64 = 62.0;

impl Scale {
    /// Makes a scale that has room for all of `values`, for an axis of this length.
    pub(super) fn over(steps: Steps, values: impl Iterator<Item = f64> + Clone, length: f64) -> Self {
        let most_marks = (length / MARK).clamp(2.0, MARKS);
        match steps {
            Steps::Linear => Self::linear(values.fold(0.0, f64::max), most_marks),
            Steps::Logarithmic => {
                let positive = values.filter(|value| *value > 0.0);
                let low = positive.clone().fold(f64::INFINITY, f64::min);
                let high = positive.fold(0.0, f64::max);
                let (low, high) = if low > high { (1.0, 10.0) } else { (low, high) };
                Self::logarithmic(low, high, most_marks)
            }
        }
    }

    fn linear(most: f64, most_marks: f64) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let step = round_step(most / most_marks);
        let count = (most / step - 1e-9).ceil() as usize;
        let marks: Vec<f64> = (0..=count).map(|number| number as f64 * step).collect();
        Self { steps: Steps::Linear, low: 0.0, high: count as f64 * step, marks }
    }

    fn logarithmic(least: f64, most: f64, most_marks: f64) -> Self {
        let decade = |value: f64, round: fn(f64) -> f64| round(value.log10()) as i32;
        let first = decade(least * (1.0 + 1e-9), f64::floor);
        let last = decade(most * (1.0 - 1e-9), f64::ceil).max(first + 1);
        let decades = (first..=last).map(|power| 10_f64.powi(power));
        let between = f64::from(last - first) * 3.0 <= most_marks;
        let every = (f64::from(last - first) / most_marks).ceil().max(1.0) as usize;
        let marks = if between {
            // Few decades: marks between them as well.
            decades
                .flat_map(|decade| [1.0, 2.0, 5.0].map(|digit| decade * digit))
                .filter(|mark| *mark <= 10_f64.powi(last) * (1.0 + 1e-9))
                .collect()
        } else {
            decades.step_by(every).collect()
        };
        Self { steps: Steps::Logarithmic, low: 10_f64.powi(first), high: 10_f64.powi(last), marks }
    }

    /// Makes a linear scale that ends at `end` itself, marked or not.
    pub(super) fn until(end: f64, length: f64) -> Self {
        let mut scale = Self::linear(end, (length / MARK).clamp(2.0, 2.0 * MARKS));
        if end > 0.0 {
            scale.high = end;
            scale.marks.retain(|mark| *mark <= end * (1.0 + 1e-9));
        }
        scale
    }

    /// Position of a value, from 0 at the axis' start to 1 at its end.
    pub(super) fn position(&self, value: f64) -> f64 {
        match self.steps {
            Steps::Linear => value / self.high,
            Steps::Logarithmic => {
                let value = value.max(self.low);
                (value / self.low).log10() / (self.high / self.low).log10()
            }
        }
    }
}

/// Finds the first of 1, 2 and 5 times a power of ten that is no less than `least`.
fn round_step(least: f64) -> f64 {
    let decade = 10_f64.powf(least.log10().floor());
    let digit = [1.0, 2.0, 5.0, 10.0].into_iter().find(|digit| digit * decade >= least * (1.0 - 1e-9));
    digit.unwrap_or(10.0) * decade
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(steps: Steps, values: &[f64]) -> Vec<f64> {
        Scale::over(steps, values.iter().copied(), 800.0).marks
    }

    #[test]
    fn linear_marks_are_round_and_reach_from_zero_over_the_largest_value() {
        assert_eq!(marks(Steps::Linear, &[3.0, 11.7]), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]);
        assert_eq!(marks(Steps::Linear, &[100.0]), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(marks(Steps::Linear, &[0.55]).len(), 7);
        assert_eq!(marks(Steps::Linear, &[]), marks(Steps::Linear, &[1.0]));
        for most in [0.000_7, 0.3, 1.0, 4.2, 17.0, 999.0, 123_456.0] {
            let marks = marks(Steps::Linear, &[most]);
            assert!((3..=8).contains(&marks.len()), "{most}: {marks:?}");
            assert!(*marks.last().expect("it has marks") >= most * (1.0 - 1e-9), "{most}: {marks:?}");
        }
    }

    #[test]
    fn logarithmic_marks_are_decades_around_all_values() {
        assert_eq!(marks(Steps::Logarithmic, &[1e3, 1e7]), [1e3, 1e4, 1e5, 1e6, 1e7]);
        assert_eq!(marks(Steps::Logarithmic, &[800.0, 3e6])[0], 100.0);
        assert_eq!(marks(Steps::Logarithmic, &[20.0, 70.0]), [10.0, 20.0, 50.0, 100.0]);
        assert_eq!(marks(Steps::Logarithmic, &[]), marks(Steps::Logarithmic, &[2.0]));
    }

    #[test]
    fn a_short_axis_has_fewer_marks() {
        let marks = |steps, values: &[f64]| Scale::over(steps, values.iter().copied(), 200.0).marks;
        assert_eq!(marks(Steps::Linear, &[100.0]), [0.0, 50.0, 100.0]);
        assert_eq!(marks(Steps::Logarithmic, &[1e1, 1e7]), [1e1, 1e3, 1e5, 1e7]);
        assert_eq!(marks(Steps::Logarithmic, &[20.0, 70.0]), [10.0, 20.0, 50.0, 100.0]);
    }

    #[test]
    fn a_scale_until_an_end_has_no_mark_beyond_it() {
        let scale = Scale::until(61.0, 200.0);
        assert_eq!(scale.marks, [0.0, 20.0, 40.0, 60.0]);
        assert_eq!(scale.position(61.0), 1.0);
        assert_eq!(Scale::until(0.0, 400.0).position(0.0), 0.0);
    }

    #[test]
    fn positions_go_from_zero_to_one() {
        let linear = Scale::over(Steps::Linear, [100.0].into_iter(), 800.0);
        assert_eq!([0.0, 50.0, 100.0].map(|value| linear.position(value)), [0.0, 0.5, 1.0]);
        let logarithmic = Scale::over(Steps::Logarithmic, [1e2, 1e6].into_iter(), 800.0);
        let positions = [1e2, 1e4, 1e6, 0.0].map(|value| (logarithmic.position(value) * 1e6).round() / 1e6);
        assert_eq!(positions, [0.0, 0.5, 1.0, 0.0]);
    }
}
