//! Durations, shares and the like, as tables show them.

/// Writes a duration in its two largest units: `3 d 4 h`, `12 min 5 s`.
pub(super) fn duration(seconds: u64) -> String {
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
pub(super) fn percent(share: f64) -> String {
    format!("{:.3} %", share * 100.0)
}

/// Writes `yes` or `no`.
pub(super) fn yes_no(is: bool) -> String {
    if is { "yes" } else { "no" }.to_owned()
}

/// Writes a number with its noun: `1 packet`, `2 packets`.
pub(super) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

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
