//! Cuts a stream of pcapng into whole blocks, so that a file is whole wherever the stream ends.

use std::fmt;

use bytes::{Bytes, BytesMut};
use guideway_engine::capture::pcapng_block::{self, ByteOrder};

/// Longest block accepted: a frame of 64 KiB with its options, many times over.
const MAX_BLOCK: usize = 1 << 20;

/// Splitter of a pcapng stream; holds the bytes that came after the last whole block.
#[derive(Debug, Default)]
pub(super) struct PcapngSplitter {
    waiting: BytesMut,
    order: ByteOrder,
    packets: u64,
    missing: u64,
}

/// Error: the stream is not pcapng.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotPcapng;

impl fmt::Display for NotPcapng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no pcapng")
    }
}

impl PcapngSplitter {
    /// Takes the next bytes, and returns all blocks that are whole by now.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Bytes, NotPcapng> {
        self.waiting.extend_from_slice(bytes);
        let mut whole = 0;
        while let Some(len) = self.block_len(whole)? {
            let block = &self.waiting[whole..whole + len];
            match self.order.u32_at(block, pcapng_block::TYPE_OFFSET) {
                pcapng_block::ENHANCED_PACKET => self.packets += 1,
                // Only Guideway's own captures come here, so that the block is of the kind that it writes.
                pcapng_block::INTERFACE_STATISTICS => {
                    self.missing = pcapng_block::missing_frames(block, self.order).unwrap_or(self.missing);
                }
                _ => {}
            }
            whole += len;
        }
        Ok(self.waiting.split_to(whole).freeze())
    }

    /// Packets in the whole blocks so far.
    pub(super) fn packets(&self) -> u64 {
        self.packets
    }

    /// Packets missing from the capture, by its latest statistics block.
    pub(super) fn missing(&self) -> u64 {
        self.missing
    }

    /// Length of the block at `start`, if it is whole.
    fn block_len(&mut self, start: usize) -> Result<Option<usize>, NotPcapng> {
        let rest = &self.waiting[start..];
        if rest.len() < pcapng_block::MIN_LEN {
            return Ok(None);
        }
        if self.order.u32_at(rest, pcapng_block::TYPE_OFFSET) == pcapng_block::SECTION_HEADER {
            self.order = ByteOrder::of_section(rest).ok_or(NotPcapng)?;
        }
        let len = self.order.u32_at(rest, pcapng_block::LENGTH_OFFSET) as usize;
        if !pcapng_block::is_possible_len(len) || len > MAX_BLOCK {
            return Err(NotPcapng);
        }
        Ok((rest.len() >= len).then_some(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(kind: [u8; 4], body: &[u8], big_endian: bool) -> Vec<u8> {
        let len = 12 + body.len() as u32;
        let len = if big_endian { len.to_be_bytes() } else { len.to_le_bytes() };
        [&kind[..], &len, body, &len].concat()
    }

    #[test]
    fn only_whole_blocks_come_out_however_the_bytes_come_in() {
        for big_endian in [false, true] {
            let mut magic = 0x1A2B_3C4D_u32.to_be_bytes();
            if !big_endian {
                magic.reverse();
            }
            let header = block(pcapng_block::SECTION_HEADER.to_le_bytes(), &magic, big_endian);
            let kind = if big_endian { [0, 0, 0, 6] } else { [6, 0, 0, 0] };
            let packet = block(kind, &[7; 20], big_endian);
            let stream = [&header[..], &packet, &packet].concat();
            let ends = [header.len(), header.len() + packet.len(), stream.len()];
            for step in 1..stream.len() {
                let (mut splitter, mut out) = (PcapngSplitter::default(), 0);
                for (i, piece) in stream.chunks(step).enumerate() {
                    out += splitter.take(piece).unwrap().len();
                    let come = (i * step + piece.len()).min(stream.len());
                    assert_eq!(out, ends.iter().copied().filter(|end| *end <= come).max().unwrap_or(0));
                }
                assert_eq!(splitter.packets(), 2);
            }
        }
    }

    #[test]
    fn the_latest_count_of_what_is_missing_holds() {
        let mut writer = guideway_engine::capture::PcapngWriter::new(Vec::new(), ["lan"], 64).unwrap();
        let mut splitter = PcapngSplitter::default();
        for missing in [3, 1 << 40] {
            writer.write_missing(9, missing).unwrap();
            splitter.take(&std::mem::take(writer.output())).unwrap();
            assert_eq!((splitter.missing(), splitter.packets()), (missing, 0));
        }
    }

    #[test]
    fn what_is_no_pcapng_is_refused() {
        assert_eq!(PcapngSplitter::default().take(b"{\"error\": \"no\"}"), Err(NotPcapng));
        let endless = block([6, 0, 0, 0], &[0; 4], false);
        let endless = [&endless[..4], &(u32::MAX - 3).to_le_bytes(), &[0; 4]].concat();
        assert_eq!(PcapngSplitter::default().take(&endless), Err(NotPcapng));
    }
}
