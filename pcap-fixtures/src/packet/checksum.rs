//! Checksums of the protocols that the packets carry.

use std::net::IpAddr;

/// Computes the Internet checksum of `bytes` (RFC 1071).
pub(super) fn internet(bytes: &[u8]) -> u16 {
    let mut sum: u64 =
        bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

/// Computes the checksum of a segment with its pseudo-header (RFC 793, section 3.1; RFC 8200, section 8.1).
pub(super) fn with_pseudo_header(src: IpAddr, dst: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    let mut bytes = Vec::new();
    for address in [src, dst] {
        match address {
            IpAddr::V4(address) => bytes.extend(address.octets()),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
    }
    // IPv4 has 16 bits of length and IPv6 has 32; the sum does not tell.
    bytes.extend((segment.len() as u32).to_be_bytes());
    bytes.extend([0, 0, 0, protocol]);
    bytes.extend(segment);
    internet(&bytes)
}

/// Computes the CRC32c of an SCTP packet (RFC 9260, appendix A), bit by bit.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_rfc_1071s_example_is_right() {
        assert_eq!(internet(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(internet(&[0x01]), !0x0100);
    }

    #[test]
    fn the_crc32c_of_rfc_3720s_example_is_right() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
