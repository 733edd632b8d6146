//! The table's memory: zero, aligned to its pairs, and on huge pages where the system has them.
//!
//! A table of gigabytes on pages of 4 KiB misses the processor's page-table cache at nearly every lookup, which costs as
//! much again as the lookup. Mapped memory starts zero without being written to, so a table costs nothing before its
//! first use; the allocator would write zeros to memory of such an alignment.
//!
//! A page lies on the node of the thread that uses it first. So whoever populates the table does it share by share, each
//! from the core of a worker: together the workers have the table on all their nodes, and one of them is as far from it as
//! the other.
#![allow(unsafe_code)] // mapped bytes are seen as slots

use std::fmt;
use std::io;
use std::ops::Deref;

use memmap2::{MmapMut, MmapOptions};

use super::pair::Pair;

/// Mapped memory of so many pairs of buckets, all empty at first.
pub(super) struct Memory {
    map: MmapMut,
    pairs: usize,
    page_bytes: usize,
}

/// Binary logarithm of the bytes of the largest pages, which the administrator has to reserve.
const GIGANTIC: u8 = 30;

/// Bytes of the pages that the kernel gives by itself where it can.
const TRANSPARENT: usize = 2 << 20;

impl Memory {
    /// Memory for `pairs`, at least one; none where the system has not as much to give.
    pub(super) fn new(pairs: usize) -> io::Result<Self> {
        let len = pairs.checked_mul(size_of::<Pair>()).ok_or(io::ErrorKind::OutOfMemory)?;
        if len >= 1 << GIGANTIC
            && let Some(rounded) = len.checked_next_multiple_of(1 << GIGANTIC)
            // Refused unless so many are free: the kernel reserves them with the mapping.
            && let Ok(map) = MmapOptions::new().len(rounded).huge(Some(GIGANTIC)).map_anon()
        {
            return Ok(Self { map, pairs, page_bytes: 1 << GIGANTIC });
        }
        let map = MmapOptions::new().len(len).map_anon()?;
        // Asked for, not needed: without huge pages the table works, slower.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Self { map, pairs, page_bytes: TRANSPARENT })
    }

    /// Bytes of the pages that the memory has, or has been promised where the kernel can give them.
    pub(super) fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    /// Asks the system for the pages of one share of so many now, so that no first use of one has to wait. The pages are
    /// those nearest to the calling thread.
    pub(super) fn populate(&self, share: usize, of: usize) -> io::Result<()> {
        let pages = self.map.len().div_ceil(self.page_bytes);
        let start = |share: usize| (pages * share / of * self.page_bytes).min(self.map.len());
        #[cfg(target_os = "linux")]
        if start(share) < start(share + 1) {
            let len = start(share + 1) - start(share);
            self.map.advise_range(memmap2::Advice::PopulateWrite, start(share), len)?;
        }
        Ok(())
    }
}

impl Deref for Memory {
    type Target = [Pair];

    #[inline]
    fn deref(&self) -> &[Pair] {
        // SAFETY: the mapping is at least `pairs` times the size of a pair long and lives as long as `self`. It starts at a page,
        // which is a multiple of a pair's alignment. It is zero or was written to as slots, and any bytes, zeros among
        // them, are atomics of 64 bits. Nobody sees it as bytes: `map` stays in here, and its advice leaves what is
        // written. Shared references suffice to change it, as a pair holds nothing but atomics.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.pairs) }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("pairs", &self.pairs).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_memory_is_aligned_and_empty() {
        for pairs in [1, 31, 32, 33, 50_000] {
            let memory = Memory::new(pairs).unwrap();
            assert_eq!(memory.len(), pairs);
            assert!(std::ptr::from_ref(&memory[0]).addr().is_multiple_of(align_of::<Pair>()));
            assert!(memory.iter().flat_map(|pair| &pair.0).all(|slot| slot.settled().is_none()));
        }
    }

    #[test]
    fn memory_can_be_had_at_once() {
        for (pairs, shares) in [(1_000, 1), (1_000, 3), (100_000, 4)] {
            let memory = Memory::new(pairs).unwrap();
            for share in 0..shares {
                // Kernels before 5.14 don't know how; the pages then come at their first use.
                let _ = memory.populate(share, shares);
            }
            assert!(memory[pairs - 1].0[0].settled().is_none());
        }
    }

    #[test]
    fn more_than_there_is_is_refused() {
        assert!(Memory::new(usize::MAX / 64).is_err());
        assert!(Memory::new(1 << 52).is_err());
    }
}
