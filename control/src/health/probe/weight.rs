//! The weight that a backend reports in the header of its answer.

use hyper::header::HeaderMap;

/// What a backend says of its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightReport {
    /// The check is of a type whose answers have no headers for it.
    NotAsked,
    /// The answer has no such header.
    Missing,
    /// The header is not one whole decimal number from 0 to 1000.
    Invalid,
    /// The weight, from 0 to 1000.
    Weight(u16),
}

/// The header that carries the weight.
pub(super) const HEADER: &str = "x-load-balancing-endpoint-weight";

const MAX_WEIGHT: u16 = 1000;

impl WeightReport {
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

/// Digits alone: neither a sign, nor white space, nor a fraction.
fn parse(value: &[u8]) -> Option<u16> {
    // More digits than 1000 has can only be leading zeros or an excess.
    if value.is_empty() || value.len() > 4 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let weight = value.iter().fold(0, |weight, digit| weight * 10 + u16::from(digit - b'0'));
    (weight <= MAX_WEIGHT).then_some(weight)
}
