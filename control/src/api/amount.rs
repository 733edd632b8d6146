//! Durations, shares and the like, as tables show them.

/// Writes a duration in its two largest units: `3 d 4 h`, `12 min 5 s`.
pub fn duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let largest = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(3);
    let mut rest = seconds;
    let parts = UNITS[largest..].iter().take(2).enumerate().filter_map(|(index, (unit, name))| {
        let count = rest / unit;
        rest %= unit;
        (index == 0 || count > 0).then(|| format!("{count} {name}"))
    });
    parts.collect::<Vec<_>>().join(" ")
}

/// Writes a share of one as `12.345 %`.
pub fn percent(share: f64) -> String {
    format!("{:.3} %", share * 100.0)
}

/// Writes `yes` or `no`.
pub fn yes_no(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

/// Writes a number with its noun: `1 packet`, `2 packets`.
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Writes a rate a second in three digits or so: `0`, `0.4`, `12`, `3.46k`, `120M`.
pub fn rate(rate: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")];
    // An amount that would have four digits is of the next unit.
    match UNITS.iter().find(|(unit, _)| rate >= unit * 0.9995) {
        Some((unit, name)) => {
            let scaled = rate / unit;
            let digits = if scaled < 9.995 { 2 } else { usize::from(scaled < 99.95) };
            format!("{scaled:.digits$}{name}")
        }
        None if rate == 0.0 => "0".to_owned(),
        None if rate < 9.95 => format!("{rate:.1}"),
        None => format!("{rate:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_three_digits_at_most() {
        for (number, text) in [
            (0.0, "0"),
            (0.04, "0.0"),
            (0.35, "0.3"),
            (9.94, "9.9"),
            (9.96, "10"),
            (999.4, "999"),
            (999.6, "1.00k"),
            (3_456.0, "3.46k"),
            (9_996.0, "10.0k"),
            (99_960.0, "100k"),
            (999_600.0, "1.00M"),
            (12_500_000_000.0, "12.5G"),
            (5e15, "5000T"),
        ] {
            assert_eq!(rate(number), text);
        }
    }

    #[test]
    fn a_duration_has_its_two_largest_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (725, "12 min 5 s"),
            (3_600, "1 h"),
            (3_605, "1 h"),
            (273_900, "3 d 4 h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
