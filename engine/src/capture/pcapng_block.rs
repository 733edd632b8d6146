//! Layout of pcapng's blocks: their types, the offsets of their fields, and the byte order of a section.
//!
//! The reader, the writer and whoever cuts a stream into whole blocks go by this one description
//! (draft-ietf-opsawg-pcapng, sections 3.1, 4.1 to 4.4 and 4.6). Bytes count from the block's first:
//!
//! ```text
//! every block      0 type          4 length     8 body …        len - 4 length again
//! section header   8 byte order    12 …
//! enhanced packet  8 interface     12 time, upper half   16 time, lower half
//!                                  20 length captured    24 length on the wire    28 packet …
//! simple packet    8 length on the wire                  12 packet …
//! statistics       8 interface     12 time, upper half   16 time, lower half      20 options …
//! ```
//!
//! The obsolete packet block differs from the enhanced one in that its interface has 16 bits.

use std::ops::Range;

use pcap_parser::pcapng::{BOM_MAGIC, EPB_MAGIC, IDB_MAGIC, SHB_MAGIC, SPB_MAGIC};

/// Type of the block that starts a section, and so every file; it reads the same in either byte order.
pub const SECTION_HEADER: u32 = SHB_MAGIC;

/// Type of the block that describes an interface of its section.
pub const INTERFACE_DESCRIPTION: u32 = IDB_MAGIC;

/// Type of the packet block that the enhanced one made obsolete.
pub const OBSOLETE_PACKET: u32 = 2;

/// Type of the packet block without a time, which belongs to the section's first interface.
pub const SIMPLE_PACKET: u32 = SPB_MAGIC;

/// Type of the block that holds what was counted on an interface.
pub const INTERFACE_STATISTICS: u32 = 5;

/// Type of the block that holds a packet, its interface and its time.
pub const ENHANCED_PACKET: u32 = EPB_MAGIC;

/// Length of the head of every block: type and total length.
pub const HEAD_LEN: usize = 8;

/// Length of the end of every block: the total length again.
pub const TAIL_LEN: usize = 4;

/// Length of the shortest block, one without a body.
pub const MIN_LEN: usize = HEAD_LEN + TAIL_LEN;

/// Offset of a block's type.
pub const TYPE_OFFSET: usize = 0;

/// Offset of a block's total length.
pub const LENGTH_OFFSET: usize = 4;

/// Offset of a section header's byte-order magic.
pub const BYTE_ORDER_OFFSET: usize = HEAD_LEN;

/// Offset of a packet block's interface: 32 bits in the enhanced one, 16 in the obsolete one.
pub const INTERFACE_OFFSET: usize = 8;

/// Offset of the upper half of a packet block's time.
pub const TIME_HIGH_OFFSET: usize = 12;

/// Offset of the lower half of a packet block's time.
pub const TIME_LOW_OFFSET: usize = 16;

/// Offset of the length that a packet block holds of its packet.
pub const CAPTURED_LEN_OFFSET: usize = 20;

/// Offset of the length that a packet block's packet had on the wire.
pub const WIRE_LEN_OFFSET: usize = 24;

/// Offset of the packet in an enhanced or an obsolete packet block.
pub const PACKET_OFFSET: usize = 28;

/// Offset of the packet in a simple packet block.
pub const SIMPLE_PACKET_OFFSET: usize = 12;

/// Option of the statistics block: frames that the system had no room for (section 4.6).
const ISB_OSDROP: u16 = 7;

/// Length of a statistics block that counts missing frames and nothing else.
const MISSING_FRAMES_LEN: usize = 40;

/// The count in such a block: the value of its only option.
const MISSING_FRAMES: Range<usize> = 24..32;

/// Byte order of a section's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ByteOrder {
    /// The least significant byte first.
    #[default]
    LittleEndian,
    /// The most significant byte first.
    BigEndian,
}

impl ByteOrder {
    /// Reads the byte order of the section that the header `block` starts; None if it is neither.
    ///
    /// # Panics
    /// If `block` ends before its byte-order magic.
    pub fn of_section(block: &[u8]) -> Option<Self> {
        [Self::LittleEndian, Self::BigEndian]
            .into_iter()
            .find(|order| order.u32_at(block, BYTE_ORDER_OFFSET) == BOM_MAGIC)
    }

    /// True where the most significant byte comes first.
    pub const fn is_big_endian(self) -> bool {
        matches!(self, Self::BigEndian)
    }

    /// Reads 16 bits of `block`.
    ///
    /// # Panics
    /// If `block` ends before them.
    pub fn u16_at(self, block: &[u8], offset: usize) -> u16 {
        let bytes = [block[offset], block[offset + 1]];
        if self.is_big_endian() { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    /// Reads 32 bits of `block`.
    ///
    /// # Panics
    /// If `block` ends before them.
    pub fn u32_at(self, block: &[u8], offset: usize) -> u32 {
        let bytes = [block[offset], block[offset + 1], block[offset + 2], block[offset + 3]];
        if self.is_big_endian() { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    /// Reads a number of 64 bits.
    pub const fn u64(self, bytes: [u8; 8]) -> u64 {
        if self.is_big_endian() { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) }
    }
}

/// True if a block may say that it is `len` bytes long: blocks are whole 32-bit words.
pub const fn is_possible_len(len: usize) -> bool {
    len >= MIN_LEN && len.is_multiple_of(4)
}

/// Makes the statistics block that says how many frames a capture lacks up to a time: little-endian, of the
/// section's first interface.
pub fn missing_frames_block(timestamp_nanos: u64, missing: u64) -> [u8; MISSING_FRAMES_LEN] {
    let length = MISSING_FRAMES_LEN as u32;
    let mut block = [0; MISSING_FRAMES_LEN]; // the first interface; the end of options
    let mut put = |offset: usize, bytes: &[u8]| block[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(TYPE_OFFSET, &INTERFACE_STATISTICS.to_le_bytes());
    put(LENGTH_OFFSET, &length.to_le_bytes());
    put(TIME_HIGH_OFFSET, &((timestamp_nanos >> 32) as u32).to_le_bytes());
    put(TIME_LOW_OFFSET, &(timestamp_nanos as u32).to_le_bytes());
    put(MISSING_FRAMES.start - 4, &ISB_OSDROP.to_le_bytes());
    put(MISSING_FRAMES.start - 2, &(MISSING_FRAMES.len() as u16).to_le_bytes());
    put(MISSING_FRAMES.start, &missing.to_le_bytes());
    put(MISSING_FRAMES_LEN - TAIL_LEN, &length.to_le_bytes());
    block
}

/// Reads the number of missing frames from a block that [`missing_frames_block`] made; None where it is too short.
///
/// Statistics that another program wrote have other options there.
pub fn missing_frames(block: &[u8], order: ByteOrder) -> Option<u64> {
    block.get(MISSING_FRAMES)?.first_chunk().map(|count| order.u64(*count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_says_its_byte_order() {
        let header = |magic: [u8; 4]| [&[0; HEAD_LEN][..], &magic].concat();
        let order = |magic| ByteOrder::of_section(&header(magic));
        assert_eq!(order([0x1a, 0x2b, 0x3c, 0x4d]), Some(ByteOrder::BigEndian));
        assert_eq!(order([0x4d, 0x3c, 0x2b, 0x1a]), Some(ByteOrder::LittleEndian));
        assert_eq!(order([0x1a, 0x2b, 0x3c, 0x4e]), None);
    }

    #[test]
    fn numbers_are_read_in_the_order_of_their_section() {
        let block = [9, 1, 2, 3, 4];
        assert_eq!(ByteOrder::BigEndian.u16_at(&block, 1), 0x0102);
        assert_eq!(ByteOrder::LittleEndian.u16_at(&block, 1), 0x0201);
        assert_eq!(ByteOrder::BigEndian.u32_at(&block, 1), 0x0102_0304);
        assert_eq!(ByteOrder::LittleEndian.u32_at(&block, 1), 0x0403_0201);
        assert_eq!(ByteOrder::BigEndian.u64([0, 0, 0, 0, 0, 0, 1, 2]), 0x0102);
        assert_eq!(ByteOrder::LittleEndian.u64([2, 1, 0, 0, 0, 0, 0, 0]), 0x0102);
    }

    #[test]
    fn the_count_of_missing_frames_is_in_its_block() {
        let block = missing_frames_block(0x0102_0304_0506_0708, 0x1122_3344_5566_7788);
        #[rustfmt::skip]
        let expected = [
            5, 0, 0, 0,  40, 0, 0, 0,  0, 0, 0, 0,  4, 3, 2, 1,  8, 7, 6, 5,  7, 0, 8, 0,
            0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,  0, 0, 0, 0,  40, 0, 0, 0,
        ];
        assert_eq!(block, expected);
        assert_eq!(missing_frames(&block, ByteOrder::LittleEndian), Some(0x1122_3344_5566_7788));
        assert_eq!(missing_frames(&block[..31], ByteOrder::LittleEndian), None);
    }

    #[test]
    fn a_block_is_whole_words_and_no_shorter_than_its_frame() {
        let possible = [0, 4, 8, 11, 12, 13, 16].map(is_possible_len);
        assert_eq!(possible, [false, false, false, false, true, false, true]);
    }
}
