//! The fleet's seed and the keyed hash that every choice of a backend rests on.

use std::fmt;
use std::hash::Hasher;
use std::str::FromStr;

use siphasher::sip::SipHasher13;

/// Key of the selection hash and of the lookup tables: appliances that share it choose alike.
///
/// The hash is SipHash-1-3 over bytes whose layout the caller specifies, so it is the same on every machine, in
/// every build and version; the test vectors below are never to be changed. SipHash because a client picks its own
/// ports and must not be able to aim them at one backend, which an unkeyed or a weakly keyed hash would let it
/// do; 1-3 rather than 2-4 because nobody outside sees the hash's output, no attack on it is known, and it is
/// computed for each packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seed([u8; 16]);

impl Seed {
    /// Seed of an appliance that is given none: the ASCII bytes `guideway-default`.
    ///
    /// It is public, so a fleet that fears aimed traffic sets its own.
    pub const DEFAULT: Self = Self(*b"guideway-default");

    /// Seed of these bytes: SipHash's key, k0 before k1, each little-endian.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// SipHash-1-3 of `bytes` under this seed.
    #[inline]
    #[must_use]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        SipHasher13::new_with_key(&self.0).hash(bytes)
    }

    /// The hash of [`Seed::hash`], by shared code that takes longer: a second caller of the other would move it out of the line
    /// of the packets that are selected for, which costs each of them 80 instructions.
    #[must_use]
    pub(crate) fn hash_apart(&self, bytes: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(bytes);
        hasher.finish()
    }

    /// Hash of a backend's name for one purpose: SipHash-1-3 of `purpose`, a colon, and the name in UTF-8.
    ///
    /// Two purposes give two hashes that have nothing to do with each other.
    #[must_use]
    pub fn hash_name(&self, purpose: &str, name: &str) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        // write() takes plain bytes: neither lengths nor terminators, unlike the Hash impl of str.
        hasher.write(purpose.as_bytes());
        hasher.write(b":");
        hasher.write(name.as_bytes());
        hasher.finish()
    }
}

impl Default for Seed {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Keeps the bytes to itself: a seed that is logged no longer keeps clients from aiming.
impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// Reads 32 hexadecimal digits, in either case.
impl FromStr for Seed {
    type Err = SeedError;

    fn from_str(text: &str) -> Result<Self, SeedError> {
        if let Some((position, found)) = text.chars().enumerate().find(|(_, c)| !c.is_ascii_hexdigit()) {
            return Err(SeedError::NotHex { position, found });
        }
        // From here on one character is one byte.
        if text.len() != 32 {
            return Err(SeedError::Length { digits: text.len() });
        }
        let value = u128::from_str_radix(text, 16).expect("32 hexadecimal digits fit 128 bits");
        Ok(Self(value.to_be_bytes()))
    }
}

/// Reason that a text is not a [`Seed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeedError {
    /// The text is all hexadecimal, but not 32 digits of it: typically a key of another size, or one cut short.
    Length {
        /// Number of digits.
        digits: usize,
    },
    /// A character is not a hexadecimal digit: typically a `0x` before the digits or separators between them.
    NotHex {
        /// Number of characters before it.
        position: usize,
        /// Character that is none.
        found: char,
    },
}

impl fmt::Display for SeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { digits } => write!(f, "a seed is 32 hexadecimal digits, not {digits}"),
            Self::NotHex { position, found } => {
                write!(f, "a seed is 32 hexadecimal digits, but character {} is {found:?}", position + 1)
            }
        }
    }
}

impl std::error::Error for SeedError {}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTING: Seed = Seed::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

    #[test]
    fn hash_is_frozen() {
        let frozen = [
            (Seed::DEFAULT, &b""[..], 0x30c0_5b74_626b_c9d0),
            (Seed::DEFAULT, b"guideway", 0x1c84_7fd5_5600_99d8),
            (COUNTING, b"", 0xabac_0158_050f_c4dc),
            (COUNTING, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14], 0xd320_d86d_2a51_9956),
            (COUNTING, &[0xff; 37], 0xa426_ad2f_fef6_75c1),
        ];
        for (seed, bytes, hash) in frozen {
            assert_eq!(seed.hash(bytes), hash, "{bytes:?} gives {:#018x}", seed.hash(bytes));
            assert_eq!(seed.hash_apart(bytes), hash, "{bytes:?}");
        }
    }

    #[test]
    fn hash_of_a_name_is_frozen() {
        assert_eq!(Seed::DEFAULT.hash_name("offset", "web-1"), 0xb455_131d_fa4e_7457);
        assert_eq!(Seed::DEFAULT.hash_name("skip", "web-1"), 0xc1ed_9d2d_7eea_e2ec);
    }

    #[test]
    fn hash_of_a_name_is_the_hash_of_purpose_colon_and_name() {
        assert_eq!(COUNTING.hash_name("offset", "web-1"), COUNTING.hash(b"offset:web-1"));
    }

    /// The standard library's default hasher happens to be SipHash-1-3 under a key of zeros: an independent witness.
    #[test]
    fn hash_is_siphash_1_3() {
        for len in 0..64 {
            let bytes: Vec<u8> = (0..len).collect();
            let mut witness = std::collections::hash_map::DefaultHasher::new();
            witness.write(&bytes);
            assert_eq!(Seed::new([0; 16]).hash(&bytes), witness.finish());
        }
    }

    #[test]
    fn seed_is_read_from_hexadecimal_in_byte_order() {
        assert_eq!("000102030405060708090a0B0C0D0E0F".parse(), Ok(COUNTING));
    }

    #[test]
    fn text_that_is_no_seed_says_why() {
        let cases = [
            ("", "a seed is 32 hexadecimal digits, not 0"),
            ("00", "a seed is 32 hexadecimal digits, not 2"),
            ("0x0102030405060708090a0b0c0d0e0f", "a seed is 32 hexadecimal digits, but character 2 is 'x'"),
            ("é00102030405060708090a0b0c0d0e0", "a seed is 32 hexadecimal digits, but character 1 is 'é'"),
            ("+00102030405060708090a0b0c0d0e0f", "a seed is 32 hexadecimal digits, but character 1 is '+'"),
        ];
        for (text, reason) in cases {
            assert_eq!(text.parse::<Seed>().unwrap_err().to_string(), reason, "{text}");
        }
    }

    #[test]
    fn seed_does_not_print_itself() {
        assert_eq!(format!("{COUNTING:?}"), "Seed(..)");
    }
}
