//! Lengths of test frames, as RFC 2544 counts them: with the frame check sequence.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Bytes of the frame check sequence, which the device adds and takes off.
pub(super) const CHECK_SEQUENCE: usize = 4;

/// Bytes that a frame takes on the wire beyond its own: preamble, start delimiter and gap.
const WIRE_OVERHEAD: f64 = 20.0;

/// Lengths of one round of the mix: 7 frames of 64 bytes, 4 of 570 and 1 of 1518.
const IMIX: [u16; 12] = [64, 570, 64, 64, 570, 64, 1518, 64, 570, 64, 570, 64];

/// Lengths that RFC 2544 asks for on Ethernet, and the mix.
pub(super) const STANDARD: &str = "64,128,256,512,1024,1280,1518,imix";

/// Length of a measurement's frames: one for all of them, or a mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameLen {
    Bytes(u16),
    Imix,
}

impl FrameLen {
    /// Lengths of one round, with the check sequence and none below `least`.
    pub(super) fn round(self, least: usize) -> Vec<usize> {
        let raised = |bytes: u16| usize::from(bytes).max(least);
        match self {
            Self::Bytes(bytes) => vec![raised(bytes)],
            Self::Imix => IMIX.map(raised).into(),
        }
    }
}

/// Bits that a frame of one of these lengths takes on the wire, on average.
pub(super) fn wire_bits(round: &[usize]) -> f64 {
    let bytes: usize = round.iter().sum();
    (bytes as f64 / round.len() as f64 + WIRE_OVERHEAD) * 8.0
}

impl FromStr for FrameLen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("imix") {
            return Ok(Self::Imix);
        }
        let bytes = text.parse().ok().filter(|bytes| (64..=1518).contains(bytes));
        bytes.map(Self::Bytes).ok_or_else(|| "write 64 to 1518 bytes, or imix".to_owned())
    }
}

impl fmt::Display for FrameLen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => bytes.fmt(f),
            Self::Imix => f.write_str("imix"),
        }
    }
}

impl Serialize for FrameLen {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_the_rfc_or_a_mix() {
        let standard: Vec<FrameLen> = STANDARD.split(',').map(|text| text.parse().expect(text)).collect();
        assert_eq!((standard[0], standard[7]), (FrameLen::Bytes(64), FrameLen::Imix));
        for wrong in ["63", "1519", "", "mix"] {
            wrong.parse::<FrameLen>().expect_err(wrong);
        }
        assert_eq!(FrameLen::Bytes(64).round(80), [80]);
        assert_eq!(FrameLen::Imix.round(0).iter().filter(|len| **len == 570).count(), 4);
    }

    #[test]
    fn a_line_of_ten_gigabits_carries_fifteen_million_small_frames() {
        assert_eq!((10e9 / wire_bits(&[64])) as u64, 14_880_952);
    }
}
