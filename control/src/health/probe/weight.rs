//! The weight that a backend reports in the header of its answer.

use guideway_model::config::MAX_WEIGHT;
use hyper::header::HeaderMap;

/// The weight that a backend reports with its answer, or the lack of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightReport {
    /// A weight from 0 to 1000.
    Weight(u16),
    /// The answer has no header for a weight.
    Missing,
    /// The header is not one decimal number from 0 to 1000.
    Invalid,
}

/// The header that carries the weight.
pub(super) const HEADER: &str = "x-load-balancing-endpoint-weight";

/// Digits of the largest weight; more before the point can only be leading zeros or an excess.
const MAX_DIGITS: usize = MAX_WEIGHT.ilog10() as usize + 1;

impl WeightReport {
    /// Reads the headers of an answer.
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(HEADER).iter();
        match (values.next(), values.next()) {
            (None, _) => Self::Missing,
            (Some(value), None) => parse(value.as_bytes()).map_or(Self::Invalid, Self::Weight),
            // Which of two would count is anybody's guess.
            (Some(_), Some(_)) => Self::Invalid,
        }
    }
}

/// Reads a number of digits with a decimal point or without, and neither a sign, nor white space, nor an exponent.
///
/// A fraction is rounded, halves up; what is more than 0 is never rounded to 0, which would take the backend out.
fn parse(value: &[u8]) -> Option<u16> {
    let point = value.iter().position(|byte| *byte == b'.').unwrap_or(value.len());
    let (whole, rest) = value.split_at(point);
    let fraction = rest.get(1..).unwrap_or_default();
    let is_number = whole.iter().chain(fraction).all(u8::is_ascii_digit);
    if !is_number || whole.len() + fraction.len() == 0 || whole.len() > MAX_DIGITS {
        return None;
    }
    let whole = whole.iter().fold(0, |weight, digit| weight * 10 + u16::from(digit - b'0'));
    let rounded = whole + u16::from(fraction.first().is_some_and(|tenths| *tenths >= b'5'));
    let is_zero = whole == 0 && fraction.iter().all(|digit| *digit == b'0');
    let weight = if is_zero { 0 } else { rounded.max(1) };
    (weight <= MAX_WEIGHT).then_some(weight)
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn report(values: &[&'static [u8]]) -> WeightReport {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_bytes(value).expect("a value"));
        }
        WeightReport::read(&headers)
    }

    #[test]
    fn weights_go_from_0_to_1000() {
        for (value, weight) in [(b"0".as_slice(), 0), (b"7", 7), (b"042", 42), (b"999", 999), (b"1000", 1000)]
        {
            assert_eq!(report(&[value]), WeightReport::Weight(weight));
        }
    }

    #[test]
    fn fractions_are_rounded_and_never_to_0_unless_they_are_0() {
        for (value, weight) in [
            (b"1.0".as_slice(), 1),
            (b"2.5", 3),
            (b"2.49", 2),
            (b"0.5", 1),
            (b"0.3", 1),
            (b"0.0000000000000000000000000000001", 1),
            (b".25", 1),
            (b"7.", 7),
            (b"0.0", 0),
            (b".0", 0),
            (b"33.333333333333336", 33),
            (b"999.5", 1000),
            (b"1000.2", 1000),
        ] {
            assert_eq!(report(&[value]), WeightReport::Weight(weight), "{}", value.escape_ascii());
        }
        for value in [b"1000.5".as_slice(), b".", b"1.2.3", b"1,5", b"-0.5", b"1.5e2", b"1. 5", b"00001.5"] {
            assert_eq!(report(&[value]), WeightReport::Invalid, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn anything_else_is_invalid() {
        for value in [
            b"".as_slice(),
            b"1001",
            b"9999",
            b"10000",
            b"00001",
            b"65536",
            b"18446744073709551617",
            b"-1",
            b"+1",
            b"1e2",
            b"0x10",
            b"1 0",
            b" 1",
            b"1,2",
            b"ten",
            b"\xd9\xa1",
        ] {
            assert_eq!(report(&[value]), WeightReport::Invalid, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn two_weights_are_invalid() {
        assert_eq!(report(&[b"1", b"1"]), WeightReport::Invalid);
    }

    #[test]
    fn no_header_is_a_missing_weight() {
        assert_eq!(report(&[]), WeightReport::Missing);
    }
}
