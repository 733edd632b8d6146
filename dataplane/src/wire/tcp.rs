//! TCP (RFC 9293), as far as a passthrough load balancer looks: ports and the SYN flag.

/// Length of the header without options.
pub const HEADER_LEN: usize = 20;

/// The flag that opens a connection, in byte 13.
pub const SYN: u8 = 0x02;

/// True if the SYN flag is set, in a segment of at least [`HEADER_LEN`] bytes.
pub fn syn(segment: &[u8]) -> bool {
    segment[13] & SYN != 0
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
    fn syn_is_read_from_byte_13() {
        assert!(syn(&SEGMENT));
        let mut ack = SEGMENT;
        ack[13] = 0x10;
        assert!(!syn(&ack));
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
