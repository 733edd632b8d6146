//! Reads the records of a pcap file, in either byte order, with times in microseconds or nanoseconds.

use std::io::Read;

use pcap_parser::pcap::{parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified};
use pcap_parser::{PcapHeader, parse_pcap_header};

use super::input::Input;
use super::{CaptureError, Captured, LinkType, MAX_FRAME_LEN};

const FILE_HEADER_LEN: usize = 24;
const RECORD_HEADER_LEN: usize = 16;

/// Bytes of a record header in the "modified" format of old Linux distributions, which adds the interface.
const MODIFIED_RECORD_HEADER_LEN: usize = 24;

/// Format of a pcap file's records, as its header states it.
pub(super) struct Pcap {
    header: PcapHeader,
}

impl Pcap {
    /// True if a file that starts with `magic` is pcap: microseconds, nanoseconds, both byte orders, and the modified
    /// format.
    pub(super) fn starts_with(magic: [u8; 4]) -> bool {
        matches!(
            u32::from_le_bytes(magic),
            0xa1b2_c3d4 | 0xd4c3_b2a1 | 0xa1b2_3c4d | 0x4d3c_b2a1 | 0xa1b2_cd34
        )
    }

    /// Reads the file's header; its magic number is already in the block.
    pub(super) fn open<R: Read>(input: &mut Input<R>) -> Result<Self, CaptureError> {
        input.need(FILE_HEADER_LEN)?;
        match parse_pcap_header(input.block()) {
            Ok((_, header)) => Ok(Self { header }),
            Err(_) => Err(input.malformed("no pcap header")),
        }
    }

    /// Reads the next record; None at the end of the file.
    pub(super) fn next<R: Read>(&self, input: &mut Input<R>) -> Result<Option<Captured>, CaptureError> {
        let header_len = self.record_header_len();
        input.next_block();
        if !input.extend_to(header_len)? {
            return if input.block().is_empty() { Ok(None) } else { Err(input.truncated()) };
        }
        let captured_len = self.u32_at(input.block(), 8);
        if captured_len as usize > MAX_FRAME_LEN {
            return Err(input.too_long(captured_len));
        }
        let end = header_len + captured_len as usize;
        input.need(end)?;

        let parsed = if self.header.is_modified_format() {
            parse_pcap_frame_modified(input.block())
        } else if self.header.is_bigendian() {
            parse_pcap_frame_be(input.block())
        } else {
            parse_pcap_frame(input.block())
        };
        let Ok((_, record)) = parsed else {
            return Err(input.malformed("no pcap record"));
        };
        let unit_nanos = if self.header.is_nanosecond_precision() { 1 } else { 1_000 };
        Ok(Some(Captured {
            timestamp_nanos: u64::from(record.ts_sec) * 1_000_000_000
                + u64::from(record.ts_usec) * unit_nanos,
            data: header_len..end,
            wire_len: record.origlen.max(captured_len),
            link_type: self.link_type(),
            interface: 0,
        }))
    }

    /// Link type of the file, without the length of the frame check sequence, which shares its field.
    fn link_type(&self) -> LinkType {
        LinkType((self.header.network.0 & 0xffff) as u16)
    }

    fn record_header_len(&self) -> usize {
        if self.header.is_modified_format() { MODIFIED_RECORD_HEADER_LEN } else { RECORD_HEADER_LEN }
    }

    fn u32_at(&self, block: &[u8], offset: usize) -> u32 {
        let word = [block[offset], block[offset + 1], block[offset + 2], block[offset + 3]];
        if self.header.is_bigendian() { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    }
}
