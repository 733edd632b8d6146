//! Writes a capture of several ports in which every frame has a comment: pcapng, little-endian, Ethernet.
//!
//! The blocks are those of draft-ietf-opsawg-pcapng, sections 4.1 to 4.3 and 4.6; `pcap-parser` puts them
//! into bytes, and [`pcapng_block`] those of 4.6.

use std::borrow::Cow;
use std::io::{self, Write};

use guideway_dataplane::egress::PortId;
use pcap_parser::pcapng::{
    BOM_MAGIC, EnhancedPacketBlock, InterfaceDescriptionBlock, OptionCode, PcapNGOption, SectionHeaderBlock,
};
use pcap_parser::{Linktype, ToVec};

use super::{MAX_FRAME_LEN, pcapng_block};

/// Name of the program, as the section header states it.
const APPLICATION: &str = concat!("guideway ", env!("CARGO_PKG_VERSION"));

/// Length of a section that does not say how long it is: it ends with the file.
const UNKNOWN_LENGTH: i64 = -1;

/// `if_tsresol`: units of 10^-9 seconds.
const NANOSECONDS: u8 = 9;

/// Option of the enhanced packet block that `pcap-parser` has no name for.
const EPB_FLAGS: OptionCode = OptionCode(2);

/// Bytes of an option's longest value: its length has 16 bits (section 3.5).
const MAX_OPTION_LEN: usize = 65_535;

/// Frame for a capture, with its port, its direction, its time, and a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommentedFrame<'a> {
    /// Port that the frame came in by, or left by.
    pub port: PortId,
    /// Direction in which the frame passed the port; None if that is not known.
    pub direction: Option<Direction>,
    /// Time at which the frame passed, in nanoseconds since 1970-01-01 00:00 UTC.
    pub timestamp_nanos: u64,
    /// Bytes of the frame from its Ethernet header on, as many as are at hand.
    pub bytes: &'a [u8],
    /// Length of the whole frame; the length of `bytes` if that is greater.
    pub wire_len: u32,
    /// Fate of the frame in words; may be empty. Only its first 65,535 bytes are written.
    pub comment: &'a str,
}

/// Direction in which a frame passes a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The frame came in.
    Inbound,
    /// The frame left.
    Outbound,
}

/// Writes a capture of several ports, frame by frame, each with a comment.
///
/// Every block goes to the output whole, by one `write_all`, and nothing is held back: whatever has been
/// written so far is a sound capture. A file as output needs a buffer before it.
#[derive(Debug)]
pub struct PcapngWriter<W: Write> {
    output: W,
    ports: usize,
    snaplen: u32,
}

impl<W: Write> PcapngWriter<W> {
    /// Starts a capture on `output` with the section's header and a description of each port; the names come in the
    /// order of the [`PortId`]s. At most `snaplen` bytes of a frame are written, and no more than [`MAX_FRAME_LEN`].
    ///
    /// # Errors
    ///
    /// If writing to `output` fails.
    pub fn new<'a>(output: W, ports: impl IntoIterator<Item = &'a str>, snaplen: u32) -> io::Result<Self> {
        // A limit of 0 would read as none (section 4.2).
        let mut writer = Self { output, ports: 0, snaplen: snaplen.clamp(1, MAX_FRAME_LEN as u32) };
        writer.start_section()?;
        for name in ports {
            writer.describe(name)?;
        }
        Ok(writer)
    }

    /// Writes one frame, cut at the capture's snapshot length.
    ///
    /// # Errors
    ///
    /// If writing fails, after which the capture may end within a block; and
    /// [`io::ErrorKind::InvalidInput`] for a port that the capture does not describe.
    pub fn write(&mut self, frame: &CommentedFrame<'_>) -> io::Result<()> {
        let port = usize::from(frame.port.0);
        if port >= self.ports {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a port that the capture does not describe",
            ));
        }
        let kept = &frame.bytes[..frame.bytes.len().min(self.snaplen as usize)];
        let whole = u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX);
        // One more than there are, for the end that `fix` puts there.
        let mut options = Vec::with_capacity(3);
        if let Some(direction) = frame.direction {
            // Section 4.3.1: bits 0 and 1.
            let flags = match direction {
                Direction::Inbound => 0b01u32,
                Direction::Outbound => 0b10,
            };
            options.push(option(EPB_FLAGS, flags.to_le_bytes().to_vec()));
        }
        if !frame.comment.is_empty() {
            options.push(text(OptionCode::Comment, frame.comment));
        }
        self.block(EnhancedPacketBlock {
            block_type: pcapng_block::ENHANCED_PACKET,
            block_len1: 0,
            if_id: port as u32,
            ts_high: (frame.timestamp_nanos >> 32) as u32,
            ts_low: frame.timestamp_nanos as u32,
            caplen: kept.len() as u32,
            origlen: frame.wire_len.max(whole),
            data: kept,
            options,
            block_len2: 0,
        })
    }

    /// Writes how many frames the capture lacks up to now, of all ports together. The number is written for the first
    /// port, because pcapng counts by interface alone; in a capture without ports nothing is written.
    ///
    /// # Errors
    ///
    /// If writing fails, after which the capture may end within a block.
    pub fn write_missing(&mut self, timestamp_nanos: u64, missing: u64) -> io::Result<()> {
        if self.ports == 0 {
            return Ok(());
        }
        self.output.write_all(&pcapng_block::missing_frames_block(timestamp_nanos, missing))
    }

    /// Output of the writer, for callers that take what has been written: always whole blocks.
    pub fn output(&mut self) -> &mut W {
        &mut self.output
    }

    /// Flushes the output and gives it back.
    ///
    /// # Errors
    ///
    /// If writing fails: the capture may then not be whole.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.flush()?;
        Ok(self.output)
    }

    fn start_section(&mut self) -> io::Result<()> {
        self.block(SectionHeaderBlock {
            block_type: pcapng_block::SECTION_HEADER,
            block_len1: 0,
            bom: BOM_MAGIC,
            major_version: 1,
            minor_version: 0,
            section_len: UNKNOWN_LENGTH,
            options: vec![
                text(OptionCode::ShbHardware, std::env::consts::ARCH),
                text(OptionCode::ShbOs, std::env::consts::OS),
                text(OptionCode::ShbUserAppl, APPLICATION),
            ],
            block_len2: 0,
        })
    }

    fn describe(&mut self, name: &str) -> io::Result<()> {
        self.ports += 1;
        self.block(InterfaceDescriptionBlock {
            block_type: pcapng_block::INTERFACE_DESCRIPTION,
            block_len1: 0,
            linktype: Linktype::ETHERNET,
            reserved: 0,
            snaplen: self.snaplen,
            options: vec![text(OptionCode::IfName, name)],
            block_len2: 0,
            // `fix` makes options of these two.
            if_tsresol: NANOSECONDS,
            if_tsoffset: 0,
        })
    }

    /// Writes a block, and fills in its lengths and its end of options.
    fn block(&mut self, mut block: impl ToVec) -> io::Result<()> {
        let bytes = block.to_vec().map_err(io::Error::other)?;
        self.output.write_all(&bytes)
    }
}

fn option(code: OptionCode, value: Vec<u8>) -> PcapNGOption<'static> {
    PcapNGOption { code, len: value.len() as u16, value: Cow::Owned(value) }
}

/// Makes an option that holds text, as much of it as fits; UTF-8 is not cut within a character (section 3.6.3).
fn text(code: OptionCode, value: &str) -> PcapNGOption<'_> {
    let value = &value.as_bytes()[..value.floor_char_boundary(MAX_OPTION_LEN)];
    PcapNGOption { code, len: value.len() as u16, value: Cow::Borrowed(value) }
}

#[cfg(test)]
mod tests {
    use pcap_parser::{Block, parse_block_le};

    use super::*;
    use crate::capture::{CaptureReader, LinkType};

    const FRAME: CommentedFrame<'_> = CommentedFrame {
        port: PortId(1),
        direction: Some(Direction::Inbound),
        timestamp_nanos: 0x0123_4567_89ab_cdef,
        bytes: &[0xaa; 5],
        wire_len: 60,
        comment: "drop ttl_expired",
    };

    fn write(frames: &[CommentedFrame<'_>], snaplen: u32) -> Vec<u8> {
        let mut writer = PcapngWriter::new(Vec::new(), ["lan", "wan"], snaplen).unwrap();
        for frame in frames {
            writer.write(frame).unwrap();
        }
        writer.finish().unwrap()
    }

    /// Reads time, bytes, and length on the wire of every frame, with the project's own reader.
    fn read(capture: &[u8]) -> Vec<(u64, Vec<u8>, u32)> {
        let mut reader = CaptureReader::new(capture).unwrap();
        let mut records = Vec::new();
        while let Some(record) = reader.next_record().unwrap() {
            assert_eq!(record.link_type, LinkType::ETHERNET);
            records.push((record.timestamp_nanos, record.bytes.to_vec(), record.wire_len));
        }
        records
    }

    fn blocks(mut capture: &[u8]) -> Vec<Block<'_>> {
        let mut blocks = Vec::new();
        while !capture.is_empty() {
            let (rest, block) = parse_block_le(capture).unwrap();
            blocks.push(block);
            capture = rest;
        }
        blocks
    }

    /// Reads the port of a capture's only frame, and its options by code and value.
    fn frame_options(capture: &[u8]) -> (u32, Vec<(u16, Vec<u8>)>) {
        let Some(Block::EnhancedPacket(block)) = blocks(capture).pop() else { panic!("no frame at the end") };
        let options = &block.options;
        (block.if_id, options.iter().map(|o| (o.code.0, o.as_bytes().unwrap().to_vec())).collect())
    }

    #[test]
    fn frames_come_back_through_the_reader() {
        let frames = [
            FRAME,
            CommentedFrame { port: PortId(0), timestamp_nanos: 0, bytes: &[1; 64], wire_len: 64, ..FRAME },
            CommentedFrame {
                timestamp_nanos: u64::MAX,
                bytes: &[2; 1514],
                direction: None,
                comment: "",
                ..FRAME
            },
        ];
        let expected = vec![
            (FRAME.timestamp_nanos, vec![0xaa; 5], 60),
            (0, vec![1; 64], 64),
            (u64::MAX, vec![2; 1514], 1514),
        ];
        assert_eq!(read(&write(&frames, 1600)), expected);
    }

    #[test]
    fn a_frame_is_an_enhanced_packet_block() {
        let before = write(&[], 1600).len();
        #[rustfmt::skip]
        let expected = [
            6, 0, 0, 0,  72, 0, 0, 0,  1, 0, 0, 0,                     // type, length, port
            0x67, 0x45, 0x23, 0x01,  0xef, 0xcd, 0xab, 0x89,           // time, upper half first
            5, 0, 0, 0,  60, 0, 0, 0,                                  // captured, on the wire
            0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0, 0, 0,                     // bytes and padding
            2, 0, 4, 0,  1, 0, 0, 0,                                   // flags: inbound
            1, 0, 16, 0,                                               // comment
            b'd', b'r', b'o', b'p', b' ', b't', b't', b'l', b'_', b'e', b'x', b'p', b'i', b'r', b'e', b'd',
            0, 0, 0, 0,                                                // end of options
            72, 0, 0, 0,
        ];
        assert_eq!(write(&[FRAME], 1600)[before..], expected);
    }

    #[test]
    fn what_a_capture_lacks_is_an_interface_statistics_block() {
        let mut writer = PcapngWriter::new(Vec::new(), ["lan", "wan"], 1600).unwrap();
        writer.write(&FRAME).unwrap();
        writer.write_missing(FRAME.timestamp_nanos, 0x0102).unwrap();
        let capture = writer.finish().unwrap();
        let Some(Block::InterfaceStatistics(block)) = blocks(&capture).pop() else { panic!("no statistics") };
        assert_eq!((block.if_id, block.ts_high, block.ts_low), (0, 0x0123_4567, 0x89ab_cdef));
        let options: Vec<_> = block.options.iter().map(|o| (o.code.0, o.as_bytes().unwrap())).collect();
        assert_eq!(options, [(7, &[2, 1, 0, 0, 0, 0, 0, 0][..]), (0, &[])]);
        assert_eq!(read(&capture).len(), 1, "readers go on");
    }

    #[test]
    fn a_capture_tells_who_wrote_it_and_names_its_ports() {
        let capture = write(&[], 1600);
        let blocks = blocks(&capture);
        let Block::SectionHeader(section) = &blocks[0] else { panic!("no section header") };
        assert_eq!((section.major_version, section.minor_version, section.section_len), (1, 0, -1));
        assert_eq!(section.shb_userappl().unwrap().unwrap(), APPLICATION);
        assert!(APPLICATION.starts_with("guideway 0."));
        for (block, name) in blocks[1..].iter().zip(["lan", "wan"]) {
            let Block::InterfaceDescription(interface) = block else { panic!("no interface description") };
            assert_eq!(interface.if_name().unwrap().unwrap(), name);
            assert_eq!((interface.if_tsresol, interface.if_tsoffset), (9, 0));
            assert_eq!((interface.linktype, interface.snaplen), (Linktype::ETHERNET, 1600));
        }
        assert_eq!(blocks.len(), 3);
    }

    #[test]
    fn directions_are_told_where_they_are_known() {
        let flags = |direction| {
            let capture = write(&[CommentedFrame { direction, comment: "", ..FRAME }], 1600);
            frame_options(&capture).1
        };
        let end = (0, Vec::new());
        assert_eq!(flags(Some(Direction::Inbound)), [(2, vec![1, 0, 0, 0]), end.clone()]);
        assert_eq!(flags(Some(Direction::Outbound)), [(2, vec![2, 0, 0, 0]), end]);
        assert_eq!(flags(None), []);
    }

    #[test]
    fn a_comment_ends_where_its_room_does_and_within_no_character() {
        let cases = [
            ("x".repeat(65_534), 65_534),
            ("x".repeat(65_535), 65_535),
            ("x".repeat(65_536), 65_535),
            ("x".repeat(1 << 20), 65_535),
            // 65,534 is the last boundary of characters of two bytes, 65,535 of three, 65,532 of four.
            ("é".repeat(40_000), 65_534),
            ("→".repeat(40_000), 65_535),
            ("🛤".repeat(40_000), 65_532),
        ];
        for (comment, kept) in cases {
            let capture = write(&[CommentedFrame { comment: &comment, ..FRAME }, FRAME], 1600);
            assert_eq!(read(&capture).len(), 2);
            let Block::EnhancedPacket(block) = &blocks(&capture)[3] else { panic!("no frame") };
            let text = block.options[1].as_str().unwrap();
            assert_eq!((text.len(), comment.starts_with(text)), (kept, true));
        }
    }

    #[test]
    fn the_longest_name_of_a_port_has_room() {
        let name = "n".repeat(70_000);
        let capture = PcapngWriter::new(Vec::new(), [&name[..]], 1600).unwrap().finish().unwrap();
        let Block::InterfaceDescription(interface) = &blocks(&capture)[1] else { panic!("no description") };
        assert_eq!(interface.if_name().unwrap().unwrap().len(), 65_535);
    }

    #[test]
    fn a_frame_of_no_bytes_is_one() {
        let empty = CommentedFrame { bytes: &[], ..FRAME };
        let capture = write(&[CommentedFrame { wire_len: 0, ..empty }, empty], 1600);
        assert_eq!(read(&capture), [(FRAME.timestamp_nanos, vec![], 0), (FRAME.timestamp_nanos, vec![], 60)]);
    }

    #[test]
    fn a_frame_is_cut_at_the_snapshot_length() {
        let long = vec![7; MAX_FRAME_LEN + 1];
        let lengths = |bytes, wire_len, snaplen| {
            let capture = write(&[CommentedFrame { bytes, wire_len, ..FRAME }], snaplen);
            let Block::EnhancedPacket(block) = &blocks(&capture)[3] else { panic!("no frame") };
            (block.caplen, block.origlen)
        };
        assert_eq!(lengths(&long[..1601], 0, 1600), (1600, 1601));
        assert_eq!(lengths(&long[..1600], 9000, 1600), (1600, 9000));
        // No limit that a reader would take for none, and none above what a capture may hold.
        assert_eq!(lengths(&long[..5], 60, 0), (1, 60));
        assert_eq!(lengths(&long, 0, u32::MAX), (MAX_FRAME_LEN as u32, MAX_FRAME_LEN as u32 + 1));
    }

    #[test]
    fn a_port_that_is_not_described_is_refused_and_nothing_is_written() {
        let mut writer = PcapngWriter::new(Vec::new(), ["lan"], 1600).unwrap();
        let before = writer.output().len();
        let error = writer.write(&FRAME).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(writer.output().len(), before);
        writer.write(&CommentedFrame { port: PortId(0), ..FRAME }).unwrap();
    }

    /// Output that keeps each write by itself, up to so many bytes.
    struct Pieces(Vec<Vec<u8>>, usize);

    impl Write for Pieces {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1 = self.1.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_piece_is_a_whole_block() {
        let mut writer = PcapngWriter::new(Pieces(Vec::new(), 4096), ["lan", "wan"], 1600).unwrap();
        writer.write(&FRAME).unwrap();
        let pieces = writer.finish().unwrap().0;
        assert_eq!(pieces.len(), 4);
        assert!(pieces.iter().all(|piece| blocks(piece).len() == 1));
    }

    #[test]
    fn a_full_disk_is_reported_at_once() {
        let room = write(&[FRAME], 1600).len();
        let mut writer = PcapngWriter::new(Pieces(Vec::new(), room), ["lan", "wan"], 1600).unwrap();
        writer.write(&FRAME).unwrap();
        assert_eq!(writer.write(&FRAME).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
