//! Input of the reader: one block of the file in memory at a time.

use std::io::{self, BufRead, BufReader, Read};

use super::CaptureError;

/// Bytes kept free before the block, so that a header can be put in front of its data in place.
pub(super) const ROOM: usize = 16;

/// Bytes of the buffer between the file and the block: many, because captures are read from end to end.
const READ_AHEAD: usize = 256 * 1024;

/// Bytes of a capture, taken block by block.
///
/// ```text
/// memory:  | room  | block                  | stale                 |
///          0       ROOM                     ROOM + len              memory.len()
/// ```
pub(super) struct Input<R> {
    source: BufReader<R>,
    memory: Vec<u8>,
    len: usize,
    /// Offset of the block in the file.
    offset: u64,
    /// Bytes of the block that were taken from the file, skipped ones included.
    taken: u64,
    /// Whole records delivered so far.
    pub(super) records: u64,
}

impl<R: Read> Input<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source: BufReader::with_capacity(READ_AHEAD, source),
            memory: vec![0; ROOM],
            len: 0,
            offset: 0,
            taken: 0,
            records: 0,
        }
    }

    /// Drops the block and starts the next one, which has no bytes yet.
    pub(super) fn next_block(&mut self) {
        self.offset += self.taken;
        self.taken = 0;
        self.len = 0;
    }

    /// Bytes of the block that are in memory.
    pub(super) fn block(&self) -> &[u8] {
        &self.memory[ROOM..ROOM + self.len]
    }

    /// Bytes of the block that are in memory, with the room before them.
    pub(super) fn memory_mut(&mut self) -> &mut [u8] {
        &mut self.memory[..ROOM + self.len]
    }

    /// Extends the block up to `len` bytes in all; false if the file ends before.
    ///
    /// The caller has checked `len` against a limit: this much memory will be taken.
    pub(super) fn extend_to(&mut self, len: usize) -> Result<bool, CaptureError> {
        if self.memory.len() < ROOM + len {
            self.memory.resize(ROOM + len, 0);
        }
        while self.len < len {
            match self.source.read(&mut self.memory[ROOM + self.len..ROOM + len]) {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.len += count;
                    self.taken += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.failed(source)),
            }
        }
        Ok(true)
    }

    /// Extends the block up to `len` bytes in all, which must be there.
    pub(super) fn need(&mut self, len: usize) -> Result<(), CaptureError> {
        if self.extend_to(len)? { Ok(()) } else { Err(self.truncated()) }
    }

    /// Skips `count` bytes of the file, which must be there, without adding them to the block.
    pub(super) fn skip(&mut self, count: u64) -> Result<(), CaptureError> {
        let mut left = count;
        while left > 0 {
            let step = match self.source.fill_buf() {
                Ok([]) => return Err(self.truncated()),
                Ok(buffered) => buffered.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(self.failed(source)),
            };
            self.source.consume(step);
            left -= step as u64;
            self.taken += step as u64;
        }
        Ok(())
    }

    /// Makes the error for a file that ends inside the block.
    pub(super) fn truncated(&self) -> CaptureError {
        CaptureError::Truncated { records: self.records, offset: self.offset }
    }

    /// Makes the error for a block that contradicts itself or an earlier one.
    pub(super) fn malformed(&self, what: &'static str) -> CaptureError {
        CaptureError::Malformed { records: self.records, offset: self.offset, what }
    }

    /// Makes the error for a block whose frame is longer than the limit.
    pub(super) fn too_long(&self, len: u32) -> CaptureError {
        CaptureError::FrameTooLong { records: self.records, offset: self.offset, len }
    }

    fn failed(&self, source: io::Error) -> CaptureError {
        CaptureError::Io { records: self.records, source }
    }
}
