//! UDP (RFC 768).

/// Length of the header.
pub const HEADER_LEN: usize = 8;

/// True if the header is whole and its length possible; `whole` says that the datagram isn't a first fragment, which is
/// shorter than its header says.
///
/// A length short of the packet's end is left alone: bytes behind the datagram harm nobody.
pub fn is_well_formed(datagram: &[u8], whole: bool) -> bool {
    if datagram.len() < HEADER_LEN {
        return false;
    }
    let length = usize::from(u16::from_be_bytes([datagram[4], datagram[5]]));
    length >= HEADER_LEN && (!whole || length <= datagram.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_the_packet_does_not_hold_is_malformed() {
        let datagram = [0x13, 0x88, 0x00, 0x35, 0x00, 0x0a, 0, 0, 1, 2];
        assert!(is_well_formed(&datagram, true));
        assert!(!is_well_formed(&datagram[..9], true));
        assert!(is_well_formed(&datagram[..9], false));
        assert!(!is_well_formed(&datagram[..7], false));
        let short = [0x13, 0x88, 0x00, 0x35, 0x00, 0x07, 0, 0];
        assert!(!is_well_formed(&short, true));
    }
}
