//! Slots: memory for frames as a NIC's driver has it, fixed, with headroom, from a pool that goes round.

use guideway_dataplane::frame::{Frame, HEADROOM};

/// Bytes of the longest frame that a slot has room for.
pub(super) const LONGEST_FRAME: usize = 1518;

const SIZE: usize = (HEADROOM + LONGEST_FRAME).next_multiple_of(64);

/// Memory of one frame with its headroom.
#[repr(align(64))]
pub(super) struct Slot {
    memory: [u8; SIZE],
    start: u16,
    end: u16,
}

impl Slot {
    /// Makes a slot without a frame.
    pub(super) const fn empty() -> Self {
        Self { memory: [0; SIZE], start: HEADROOM as u16, end: HEADROOM as u16 }
    }

    /// Begins a frame of `len` bytes whose first 64 are `head`; the others stay as they were.
    #[inline]
    pub(super) fn receive(&mut self, head: &[u8; 64], len: usize) -> &mut [u8; 64] {
        self.start = HEADROOM as u16;
        self.end = (HEADROOM + len) as u16;
        let first = self.memory[HEADROOM..].first_chunk_mut().expect("a slot is longer than its headroom");
        *first = *head;
        first
    }

    /// Gives the received frame's TCP header, whose byte 12 lies at `offset`, its length and these flags.
    #[inline]
    pub(super) fn set_tcp(&mut self, offset: usize, flags: u8) {
        self.memory[HEADROOM + offset..HEADROOM + offset + 2].copy_from_slice(&[0x50, flags]);
    }
}

impl Frame for Slot {
    #[inline]
    fn bytes(&self) -> &[u8] {
        &self.memory[usize::from(self.start)..usize::from(self.end)]
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[usize::from(self.start)..usize::from(self.end)]
    }

    #[inline]
    fn prepend(&mut self, count: usize) -> bool {
        let Some(start) = usize::from(self.start).checked_sub(count) else { return false };
        self.start = start as u16;
        true
    }

    #[inline]
    fn reframe(&mut self, count: usize, len: usize) -> Option<&mut [u8]> {
        let start = usize::from(self.start).checked_sub(count)?;
        let end = usize::from(self.end).min(start + len);
        (self.start, self.end) = (start as u16, end as u16);
        self.memory.get_mut(start..end)
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        self.end = self.end.min((usize::from(self.start) + len) as u16);
    }
}
