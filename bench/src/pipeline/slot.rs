//! Slots: memory for frames as a NIC's driver has it, fixed, with headroom, from a pool that goes round.

#![allow(unsafe_code)]

use guideway_dataplane::frame::{Frame, HEADROOM};

/// Bytes of a frame that are made anew for each packet.
pub(super) const HEAD: usize = 96;

/// Bytes of the longest frame that a slot has room for.
pub(super) const LONGEST_FRAME: usize = 1522;

const SIZE: usize = (HEADROOM + LONGEST_FRAME).next_multiple_of(64);

/// Memory of one frame with its headroom: a pointer, as an mbuf is in a driver's ring.
pub(super) struct Slot(Box<Memory>);

// As with an mbuf, `start <= end <= SIZE` is known by those who set them, and no access asks again.
#[repr(align(64))]
struct Memory {
    bytes: [u8; SIZE],
    start: u16,
    end: u16,
}

impl Slot {
    /// Makes a slot without a frame.
    pub(super) fn empty() -> Self {
        Self(Box::new(Memory { bytes: [0; SIZE], start: HEADROOM as u16, end: HEADROOM as u16 }))
    }

    /// Begins a frame of `len` bytes whose first ones are `head`; the others stay as they were.
    #[inline]
    pub(super) fn receive(&mut self, head: &[u8; HEAD], len: usize) -> &mut [u8; HEAD] {
        assert!(len <= LONGEST_FRAME);
        self.0.start = HEADROOM as u16;
        self.0.end = (HEADROOM + len) as u16;
        let first = self.0.bytes[HEADROOM..].first_chunk_mut().expect("a slot is longer than its headroom");
        *first = *head;
        first
    }
}

impl Frame for Slot {
    #[inline]
    fn bytes(&self) -> &[u8] {
        // SAFETY: `start <= end <= SIZE`, from `receive` on: `prepend` and `reframe` take from the start without going
        // below zero, and what changes the end leaves it behind the start.
        unsafe { self.0.bytes.get_unchecked(usize::from(self.0.start)..usize::from(self.0.end)) }
    }

    #[inline]
    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`.
        unsafe { self.0.bytes.get_unchecked_mut(usize::from(self.0.start)..usize::from(self.0.end)) }
    }

    #[inline]
    fn prepend(&mut self, count: usize) -> bool {
        let Some(start) = usize::from(self.0.start).checked_sub(count) else { return false };
        self.0.start = start as u16;
        true
    }

    #[inline]
    fn reframe(&mut self, count: usize, len: usize) -> Option<&mut [u8]> {
        let start = usize::from(self.0.start).checked_sub(count)?;
        let end = usize::from(self.0.end).min(start + len);
        (self.0.start, self.0.end) = (start as u16, end as u16);
        Some(self.bytes_mut())
    }

    #[inline]
    fn truncate(&mut self, len: usize) {
        self.0.end = usize::from(self.0.end).min(usize::from(self.0.start) + len) as u16;
    }
}
