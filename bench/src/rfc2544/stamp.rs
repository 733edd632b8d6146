//! Stamp in a test frame, by which the tester knows it again: signature, time and sequence number.
//!
//! ```text
//! UDP:  | header, 8 bytes                           | signature, 4 | time, 4 | sequence, 6 | ...
//! TCP:  | ports, 4 | signature, 4 | time, 4 | flags ... to 20      | sequence, 6 | ...
//! ```
//!
//! With 14 bytes beyond the headers, a UDP datagram would do without the fields of TCP; a TCP segment in a frame of 64
//! bytes has 6 bytes of data. Its sequence and acknowledgement numbers are anything, for nobody puts streams together
//! on a load balancer of packets.

use std::ops::Range;

use guideway_dataplane::wire::checksum;

/// Bytes of the sequence number.
const SEQUENCE: usize = 6;

/// Stamp of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Number that the frames of one trial have, and no others.
    pub(super) signature: u32,
    /// Nanoseconds, of which the lower 32 bits are kept: enough for latencies of up to 4 s.
    pub(super) time: u32,
    /// Number of the frame in its trial.
    pub(super) sequence: u64,
}

/// Offsets of a stamp's two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Offset of signature and time.
    head: usize,
    /// Offset of the sequence number.
    sequence: usize,
}

impl Position {
    /// Stamp behind a UDP header at `l4`.
    pub(super) fn in_udp(l4: usize) -> Self {
        Self { head: l4 + 8, sequence: l4 + 16 }
    }

    /// Stamp in and behind a TCP header of 20 bytes at `l4`.
    pub(super) fn in_tcp(l4: usize) -> Self {
        Self { head: l4 + 4, sequence: l4 + 20 }
    }

    /// Number of bytes that a frame has at least.
    pub(super) fn end(self) -> usize {
        self.sequence + SEQUENCE
    }

    fn head_range(self) -> Range<usize> {
        self.head..self.head + 8
    }

    fn sequence_range(self) -> Range<usize> {
        self.sequence..self.end()
    }

    /// Writes a stamp where zeros have been; returns what it adds to the checksum.
    #[inline]
    pub(super) fn write(self, frame: &mut [u8], stamp: Stamp) -> u32 {
        let head = (u64::from(stamp.signature) << 32 | u64::from(stamp.time)).to_be_bytes();
        let [_, _, sequence @ ..] = stamp.sequence.to_be_bytes();
        frame[self.head_range()].copy_from_slice(&head);
        frame[self.sequence_range()].copy_from_slice(&sequence);
        checksum::sum(&head) + checksum::sum(&sequence)
    }

    /// Reads the stamp of a frame whose packet begins `shift` bytes further on than it was sent; none if it has another
    /// signature, or is too short.
    #[inline]
    pub(super) fn read(self, frame: &[u8], shift: isize, signature: u32) -> Option<Stamp> {
        let frame = |range: Range<usize>| {
            frame.get(range.start.checked_add_signed(shift)?..range.end.checked_add_signed(shift)?)
        };
        let head = u64::from_be_bytes(frame(self.head_range())?.try_into().ok()?);
        if (head >> 32) as u32 != signature {
            return None;
        }
        let mut sequence = [0; 8];
        sequence[2..].copy_from_slice(frame(self.sequence_range())?);
        Some(Stamp { signature, time: head as u32, sequence: u64::from_be_bytes(sequence) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { signature: 0xfeed_beef, time: 77, sequence: (1 << 47) + 5 };

    #[test]
    fn a_stamp_is_read_as_it_was_written_wherever_its_packet_has_gone() {
        for position in [Position::in_udp(34), Position::in_tcp(34)] {
            let mut frame = vec![0; 60];
            assert!(position.end() <= 60);
            let sum = position.write(&mut frame, STAMP);
            assert_eq!(checksum::finish(sum), checksum::finish(checksum::sum(&frame)));
            assert_eq!(position.read(&frame, 0, STAMP.signature), Some(STAMP));
            let tunnelled = [&[0xff; 20][..], &frame].concat();
            assert_eq!(position.read(&tunnelled, 20, STAMP.signature), Some(STAMP));
            assert_eq!(position.read(&frame[4..], -4, STAMP.signature), Some(STAMP));
        }
    }

    #[test]
    fn strangers_have_no_stamp() {
        let position = Position::in_udp(34);
        let mut frame = vec![0; 60];
        position.write(&mut frame, STAMP);
        assert_eq!(position.read(&frame, 0, STAMP.signature + 1), None);
        assert_eq!(position.read(&frame, 2, STAMP.signature), None);
        for len in 0..position.end() {
            assert_eq!(position.read(&frame[..len], 0, STAMP.signature), None, "{len}");
        }
        assert_eq!(position.read(&frame, -60, STAMP.signature), None);
        assert_eq!(position.read(&frame, 60, STAMP.signature), None);
    }
}
