//! Statistics of shares: what chance alone makes of them.

/// Standard deviations on either side that hold 95 % of a normal distribution.
const Z_95: f64 = 1.959_963_984_540_054;

/// Standard deviations above the mean that 1 % of a normal distribution lies beyond.
const Z_ONE_SIDED_99: f64 = 2.326_347_874_040_841;

/// Bounds of the 95 % confidence interval of a share that was measured with so many independent choices.
///
/// Wilson's score interval: the shares from which the measured one is no farther than chance puts it in 95 of 100
/// captures. (E. B. Wilson: "Probable inference, the law of succession, and statistical inference", 1927.)
pub(super) fn wilson(share: f64, choices: f64) -> Option<(f64, f64)> {
    if choices <= 0.0 {
        return None;
    }
    let squared = Z_95 * Z_95;
    let middle = share + squared / (2.0 * choices);
    let spread = Z_95 * (share * (1.0 - share) / choices + squared / (4.0 * choices * choices)).sqrt();
    let scale = 1.0 + squared / choices;
    Some((((middle - spread) / scale).max(0.0), ((middle + spread) / scale).min(1.0)))
}

/// Pearson's chi-squared of measured shares against expected ones, which add up to one, with so many independent choices.
pub(super) fn chi_squared(shares: impl Iterator<Item = (f64, f64)>, choices: f64) -> f64 {
    let of = |(measured, expected): (f64, f64)| (measured - expected).powi(2) / expected;
    shares.filter(|(_, expected)| *expected > 0.0).map(of).sum::<f64>() * choices
}

/// True if chance alone makes a chi-squared as high in fewer than 1 of 100 captures.
///
/// By the cube root of the chi-squared, which is nearly normal. (E. B. Wilson, M. M. Hilferty: "The distribution of
/// chi-square", 1931.)
pub(super) fn is_beyond_chance(chi_squared: f64, degrees_of_freedom: usize) -> bool {
    let degrees = degrees_of_freedom as f64;
    if degrees < 1.0 {
        return false;
    }
    let variance = 2.0 / (9.0 * degrees);
    ((chi_squared / degrees).cbrt() - (1.0 - variance)) / variance.sqrt() > Z_ONE_SIDED_99
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_the_literature() {
        // R. G. Newcombe: "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
        let known = [
            (81.0, 263.0, 0.2553, 0.3662),
            (15.0, 148.0, 0.0624, 0.1605),
            (0.0, 20.0, 0.0, 0.1611),
            (1.0, 29.0, 0.0061, 0.1718),
        ];
        for (hits, of, low, high) in known {
            let bounds = wilson(hits / of, of).expect("there are choices");
            assert!(
                (bounds.0 - low).abs() < 5e-5 && (bounds.1 - high).abs() < 5e-5,
                "{hits} of {of}: {bounds:?}"
            );
        }
        assert_eq!(wilson(0.5, 0.0), None);
    }

    #[test]
    fn an_interval_is_as_wide_on_either_side_and_ends_at_all_and_none() {
        let (low, high) = wilson(0.3, 50.0).expect("there are choices");
        let (other_low, other_high) = wilson(0.7, 50.0).expect("there are choices");
        assert!((low + other_high - 1.0).abs() < 1e-12 && (high + other_low - 1.0).abs() < 1e-12);
        assert!((wilson(1.0, 10.0).expect("there are choices").1 - 1.0).abs() < 1e-12);
        assert_eq!(wilson(0.0, 10.0).expect("there are choices").0, 0.0);
    }

    #[test]
    fn chance_ends_at_the_tables_critical_values() {
        // Critical values of chi-squared at 1 %.
        for (degrees, critical) in
            [(1, 6.635), (2, 9.210), (5, 15.086), (10, 23.209), (30, 50.892), (100, 135.807)]
        {
            assert!(is_beyond_chance(critical * 1.01, degrees), "{degrees}");
            assert!(!is_beyond_chance(critical * 0.99, degrees), "{degrees}");
        }
        assert!(!is_beyond_chance(1e9, 0));
    }

    #[test]
    fn chi_squared_of_a_die() {
        // 5, 8, 9, 8, 10, 20 in 60 throws: 13.4.
        let throws = [5.0, 8.0, 9.0, 8.0, 10.0, 20.0].map(|count| (count / 60.0, 1.0 / 6.0));
        let chi_squared = chi_squared(throws.into_iter(), 60.0);
        assert!((chi_squared - 13.4).abs() < 1e-9, "{chi_squared}");
    }
}
