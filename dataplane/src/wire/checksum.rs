//! The Internet checksum (RFC 1071).

/// One's complement sum of `bytes` as big-endian 16-bit words, unfolded, an odd last byte padded with zero.
///
/// 65,535 words of 65,535 fit a `u32`, and so does every packet.
pub fn sum(bytes: &[u8]) -> u32 {
    let mut words = bytes.chunks_exact(2);
    let mut total = words.by_ref().map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    if let [last] = words.remainder() {
        total += u32::from(*last) << 8;
    }
    total
}

/// Folds a sum to 16 bits and complements it: the value of a checksum field.
pub fn finish(sum: u32) -> u16 {
    // Added to itself with its halves swapped, the upper half is their sum, and has the carry of the lower one.
    !((sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of RFC 1071, section 3.
    #[test]
    fn sum_agrees_with_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(!finish(sum(&bytes)), 0xddf2);
    }

    #[test]
    fn sums_fold_with_the_carry_at_their_end() {
        for (sum, folded) in [
            (0, 0),
            (1, 1),
            (0xffff, 0xffff),
            (0x1_0000, 1),
            (0xffff_0001, 1),
            (0xffff_ffff, 0xffff),
            (0x1_fffe, 0xffff),
        ] {
            assert_eq!(!finish(sum), folded, "{sum:#x}");
        }
    }

    #[test]
    fn odd_byte_counts_as_the_high_half_of_a_word() {
        assert_eq!(sum(&[0x12, 0x34, 0x56]), 0x1234 + 0x5600);
    }
}
