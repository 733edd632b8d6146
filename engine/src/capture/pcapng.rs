//! Reads the packet blocks of a pcapng file: its sections, each in its own byte order, and their interfaces.

use std::io::Read;

use pcap_parser::pcapng::{
    InterfaceDescriptionBlock, OptionCode, parse_enhancedpacketblock_be, parse_enhancedpacketblock_le,
    parse_interfacedescriptionblock_be, parse_interfacedescriptionblock_le, parse_sectionheaderblock,
    parse_simplepacketblock_be, parse_simplepacketblock_le,
};

use super::input::Input;
use super::pcapng_block::{self as block, ByteOrder, HEAD_LEN, TAIL_LEN};
use super::{CaptureError, Captured, LinkType};

/// Bytes of the longest block that is read rather than skipped; libpcap's limit too (`MAX_BLOCKSIZE`).
const MAX_BLOCK_LEN: u32 = 16 * 1024 * 1024;

/// Number of interfaces that a section may describe.
const MAX_INTERFACES: usize = 65_536;

/// Section that is being read: its byte order, and the interfaces that it has described.
pub(super) struct Pcapng {
    order: ByteOrder,
    interfaces: Vec<Interface>,
    /// Time of the last record that had one.
    timestamp_nanos: u64,
}

impl Pcapng {
    /// True if a file that starts with `magic` is pcapng: it is the type of a section header.
    pub(super) fn starts_with(magic: [u8; 4]) -> bool {
        u32::from_le_bytes(magic) == block::SECTION_HEADER
    }

    /// Reads the first section's header; its block type is already in the block.
    pub(super) fn open<R: Read>(input: &mut Input<R>) -> Result<Self, CaptureError> {
        let mut pcapng = Self { order: ByteOrder::default(), interfaces: Vec::new(), timestamp_nanos: 0 };
        input.need(HEAD_LEN)?;
        pcapng.start_section(input)?;
        Ok(pcapng)
    }

    /// Reads on to the next packet block and reads it; None at the end of the file.
    pub(super) fn next<R: Read>(&mut self, input: &mut Input<R>) -> Result<Option<Captured>, CaptureError> {
        loop {
            input.next_block();
            if !input.extend_to(HEAD_LEN)? {
                return if input.block().is_empty() { Ok(None) } else { Err(input.truncated()) };
            }
            match self.order.u32_at(input.block(), block::TYPE_OFFSET) {
                block::SECTION_HEADER => self.start_section(input)?,
                block::INTERFACE_DESCRIPTION => self.add_interface(input)?,
                block::ENHANCED_PACKET => return self.enhanced_packet(input).map(Some),
                block::SIMPLE_PACKET => return self.simple_packet(input).map(Some),
                block::OBSOLETE_PACKET => return self.obsolete_packet(input).map(Some),
                _ => self.skip_block(input)?,
            }
        }
    }

    /// Starts a section: the byte order is its own, and interfaces count from 0 again.
    fn start_section<R: Read>(&mut self, input: &mut Input<R>) -> Result<(), CaptureError> {
        // The byte order stands behind the length, which is written in it.
        input.need(block::BYTE_ORDER_OFFSET + 4)?;
        self.order = ByteOrder::of_section(input.block())
            .ok_or_else(|| input.malformed("a pcapng section of neither byte order"))?;
        self.interfaces.clear();
        self.read_block(input)?;
        match parse_sectionheaderblock(input.block()) {
            Ok((_, header)) if header.major_version == 1 => Ok(()),
            Ok(_) => Err(input.malformed("a pcapng section of an unknown version")),
            Err(_) => Err(input.malformed("no pcapng section header")),
        }
    }

    fn add_interface<R: Read>(&mut self, input: &mut Input<R>) -> Result<(), CaptureError> {
        self.read_block(input)?;
        if self.interfaces.len() == MAX_INTERFACES {
            return Err(input.malformed("more than 65,536 interfaces in a section"));
        }
        let parsed = if self.order.is_big_endian() {
            parse_interfacedescriptionblock_be(input.block())
        } else {
            parse_interfacedescriptionblock_le(input.block())
        };
        let Ok((_, block)) = parsed else {
            return Err(input.malformed("no pcapng interface description"));
        };
        self.interfaces.push(Interface::of(&block, self.order));
        Ok(())
    }

    fn enhanced_packet<R: Read>(&mut self, input: &mut Input<R>) -> Result<Captured, CaptureError> {
        self.read_block(input)?;
        let parsed = if self.order.is_big_endian() {
            parse_enhancedpacketblock_be(input.block())
        } else {
            parse_enhancedpacketblock_le(input.block())
        };
        let Ok((_, block)) = parsed else {
            return Err(input.malformed("no pcapng enhanced packet block"));
        };
        let packet = Packet {
            interface: block.if_id as usize,
            time: u64::from(block.ts_high) << 32 | u64::from(block.ts_low),
            captured_len: block.caplen,
            wire_len: block.origlen,
        };
        self.captured(input, &packet)
    }

    fn obsolete_packet<R: Read>(&mut self, input: &mut Input<R>) -> Result<Captured, CaptureError> {
        self.read_block(input)?;
        let (bytes, order) = (input.block(), self.order);
        if bytes.len() < block::PACKET_OFFSET + TAIL_LEN {
            return Err(input.malformed("no pcapng packet block"));
        }
        let packet = Packet {
            interface: usize::from(order.u16_at(bytes, block::INTERFACE_OFFSET)),
            time: u64::from(order.u32_at(bytes, block::TIME_HIGH_OFFSET)) << 32
                | u64::from(order.u32_at(bytes, block::TIME_LOW_OFFSET)),
            captured_len: order.u32_at(bytes, block::CAPTURED_LEN_OFFSET),
            wire_len: order.u32_at(bytes, block::WIRE_LEN_OFFSET),
        };
        self.captured(input, &packet)
    }

    /// Makes a record of the enhanced or obsolete packet block that is in the input.
    fn captured<R: Read>(&mut self, input: &Input<R>, packet: &Packet) -> Result<Captured, CaptureError> {
        let Some(interface) = self.interfaces.get(packet.interface) else {
            return Err(input.malformed("a packet of an interface that the section did not describe"));
        };
        let captured_len = packet.captured_len as usize;
        if captured_len > input.block().len() - TAIL_LEN - block::PACKET_OFFSET {
            return Err(input.malformed("a packet that is longer than its block"));
        }
        self.timestamp_nanos = interface.nanos(packet.time);
        Ok(Captured {
            timestamp_nanos: self.timestamp_nanos,
            data: block::PACKET_OFFSET..block::PACKET_OFFSET + captured_len,
            wire_len: packet.wire_len.max(packet.captured_len),
            link_type: interface.link_type,
            interface: packet.interface as u32,
        })
    }

    /// Reads a simple packet block, which belongs to the section's first interface and has no time: it gets that of
    /// the record before.
    fn simple_packet<R: Read>(&mut self, input: &mut Input<R>) -> Result<Captured, CaptureError> {
        self.read_block(input)?;
        let parsed = if self.order.is_big_endian() {
            parse_simplepacketblock_be(input.block())
        } else {
            parse_simplepacketblock_le(input.block())
        };
        let Ok((_, block)) = parsed else {
            return Err(input.malformed("no pcapng simple packet block"));
        };
        let Some(interface) = self.interfaces.first() else {
            return Err(input.malformed("a packet of an interface that the section did not describe"));
        };
        let captured_len = block.origlen.min(interface.snaplen) as usize;
        if captured_len > block.data.len() {
            return Err(input.malformed("a packet that is longer than its block"));
        }
        Ok(Captured {
            timestamp_nanos: self.timestamp_nanos,
            data: block::SIMPLE_PACKET_OFFSET..block::SIMPLE_PACKET_OFFSET + captured_len,
            wire_len: block.origlen,
            link_type: interface.link_type,
            interface: 0,
        })
    }

    /// Reads the whole of the block whose head is in the input.
    fn read_block<R: Read>(&self, input: &mut Input<R>) -> Result<(), CaptureError> {
        let len = self.block_len(input)?;
        if len > MAX_BLOCK_LEN {
            return Err(input.malformed("a pcapng block of more than 16 MiB"));
        }
        input.need(len as usize)?;
        self.check_tail(input, len)
    }

    /// Skips the block whose head is in the input.
    fn skip_block<R: Read>(&self, input: &mut Input<R>) -> Result<(), CaptureError> {
        let len = self.block_len(input)?;
        input.skip(u64::from(len) - block::MIN_LEN as u64)?;
        input.need(block::MIN_LEN)?;
        self.check_tail(input, len)
    }

    fn block_len<R: Read>(&self, input: &Input<R>) -> Result<u32, CaptureError> {
        let len = self.order.u32_at(input.block(), block::LENGTH_OFFSET);
        if !block::is_possible_len(len as usize) || (len as usize) < input.block().len() {
            return Err(input.malformed("a pcapng block of an impossible length"));
        }
        Ok(len)
    }

    fn check_tail<R: Read>(&self, input: &Input<R>, len: u32) -> Result<(), CaptureError> {
        let bytes = input.block();
        if self.order.u32_at(bytes, bytes.len() - TAIL_LEN) == len {
            Ok(())
        } else {
            Err(input.malformed("a pcapng block whose two lengths differ"))
        }
    }
}

/// Fields that an enhanced and an obsolete packet block have in common.
struct Packet {
    interface: usize,
    /// Time in the interface's units.
    time: u64,
    captured_len: u32,
    wire_len: u32,
}

/// Interface as its section describes it.
struct Interface {
    link_type: LinkType,
    /// Bytes of a packet that a simple packet block holds at most.
    snaplen: u32,
    resolution: Resolution,
    /// Seconds to be added to every time.
    offset_seconds: i64,
}

/// Unit of an interface's times.
#[derive(Clone, Copy)]
enum Resolution {
    /// Unit of 10^-n seconds.
    Decimal(u8),
    /// Unit of 2^-n seconds.
    Binary(u8),
}

impl Interface {
    /// Reads an interface's description. The resolution and the offset are read from the options' bytes: pcap-parser
    /// knows no binary resolution finer than 2^-63, and always takes the offset for little-endian.
    fn of(block: &InterfaceDescriptionBlock<'_>, order: ByteOrder) -> Self {
        let mut interface = Self {
            link_type: LinkType(block.linktype.0 as u16),
            snaplen: if block.snaplen == 0 { u32::MAX } else { block.snaplen },
            resolution: Resolution::Decimal(6),
            offset_seconds: 0,
        };
        for option in &block.options {
            match (option.code, option.as_bytes()) {
                (OptionCode::EndOfOpt, _) => break,
                (OptionCode::IfTsresol, Ok(&[exponent])) if exponent & 0x80 == 0 => {
                    interface.resolution = Resolution::Decimal(exponent);
                }
                (OptionCode::IfTsresol, Ok(&[exponent])) => {
                    interface.resolution = Resolution::Binary(exponent & 0x7f);
                }
                (OptionCode::IfTsoffset, Ok(bytes)) => {
                    if let Ok(bytes) = bytes.try_into() {
                        interface.offset_seconds = order.u64(bytes).cast_signed();
                    }
                }
                _ => {}
            }
        }
        interface
    }

    /// Nanoseconds since the epoch, clamped to the range of a `u64`: 1970 to 2554.
    fn nanos(&self, time: u64) -> u64 {
        let nanos = self.resolution.nanos(time) + i128::from(self.offset_seconds) * 1_000_000_000;
        nanos.clamp(0, i128::from(u64::MAX)) as u64
    }
}

impl Resolution {
    /// Converts a number of units to nanoseconds, rounded down.
    fn nanos(self, units: u64) -> i128 {
        let units = i128::from(units);
        match self {
            Self::Decimal(exponent @ 0..=9) => units * 10i128.pow(9 - u32::from(exponent)),
            // Past 10^38 an i128 has no room for the divisor, and long before the quotient is 0.
            Self::Decimal(exponent) => {
                10i128.checked_pow(u32::from(exponent) - 9).map_or(0, |divisor| units / divisor)
            }
            Self::Binary(exponent) => (units * 1_000_000_000) >> exponent,
        }
    }
}
