//! TCP (RFC 9293), as far as a passthrough load balancer looks: ports and the flags that open and close a connection.

/// Length of the header without options.
pub const HEADER_LEN: usize = 20;

/// Offset of the flags' byte.
pub const FLAGS: usize = 13;

/// Flag that opens a connection.
pub const SYN: u8 = 0x02;

/// Flag that ends one side's part of a connection.
pub const FIN: u8 = 0x01;

/// Flag that breaks a connection off.
pub const RST: u8 = 0x04;

/// Flags that open or close a connection.
pub const TURNING: u8 = SYN | FIN | RST;

/// Flags of a segment of at least [`HEADER_LEN`] bytes that open or close its connection.
pub fn turning_flags(segment: &[u8]) -> u8 {
    segment[FLAGS] & TURNING
}

/// True if the header is whole and its data offset possible; `whole` says that the segment isn't a first fragment,
/// whose options may go on in the next.
pub fn is_well_formed(segment: &[u8], whole: bool) -> bool {
    if segment.len() < HEADER_LEN {
        return false;
    }
    let data_offset = usize::from(segment[12] >> 4) * 4;
    data_offset >= HEADER_LEN && (!whole || data_offset <= segment.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A SYN from port 40001 to port 443.
    const SEGMENT: [u8; 20] =
        [0x9c, 0x41, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0];

    #[test]
    fn flags_are_read_from_byte_13() {
        assert_eq!(turning_flags(&SEGMENT), SYN);
        for (byte, flags) in [(0x10, 0), (0x11, FIN), (0x14, RST), (0x12, SYN), (0xf8, 0), (0xff, TURNING)] {
            let mut segment = SEGMENT;
            segment[13] = byte;
            assert_eq!(turning_flags(&segment), flags, "{byte:#x}");
        }
    }

    #[test]
    fn a_data_offset_outside_the_segment_is_malformed() {
        assert!(is_well_formed(&SEGMENT, true));
        for (offset, whole, well_formed) in [(4, true, false), (6, true, false), (6, false, true)] {
            let mut segment = SEGMENT;
            segment[12] = offset << 4;
            assert_eq!(is_well_formed(&segment, whole), well_formed, "data offset {offset}");
        }
        assert!(!is_well_formed(&SEGMENT[..19], false));
    }
}
