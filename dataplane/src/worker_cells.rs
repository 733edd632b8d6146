//! Cells of one worker that no cache line has in common with anything else.
//!
//! The allocator puts workers' memory side by side, and a line that two of them write to would travel between their cores
//! with every burst. So there is room before the first cell and behind the last one that nobody uses.

use std::ops::Range;

use zerocopy::FromZeros;

/// Bytes that a processor fetches together: two lines of 64.
pub(crate) const LINES: usize = 128;

/// Cells of one worker, which are zero at first.
#[derive(Debug)]
pub(crate) struct WorkerCells<T>(Box<[T]>);

impl<T: FromZeros> WorkerCells<T> {
    /// Cells before the first and behind the last that nobody uses.
    const UNUSED: usize = LINES / size_of::<T>();

    /// So many cells at zero, which take no memory before they are used: the system gives zeros at the first use, from the
    /// memory that is nearest to the worker.
    pub(crate) fn new(count: usize) -> Self {
        let cells = <[T]>::new_box_zeroed_with_elems(count + 2 * Self::UNUSED);
        Self(cells.expect("memory for 40 bytes a backend at most, and 24 a rule"))
    }

    /// Cell with this index, or one that nobody uses; none beyond these.
    #[inline(always)]
    pub(crate) fn at(&self, index: u32) -> Option<&T> {
        self.0.get(Self::UNUSED + index as usize)
    }

    /// Cells that are used.
    #[inline]
    pub(crate) fn used(&self) -> &[T] {
        &self.0[Self::UNUSED..self.0.len() - Self::UNUSED]
    }

    /// Addresses of the cells that are used.
    pub(crate) fn addresses(&self) -> Range<usize> {
        let used = self.used().as_ptr_range();
        used.start.addr()..used.end.addr()
    }
}
