//! The file under the reader: one block of it in memory at a time.

use std::io::{self, BufRead, BufReader, Read};

use super::CaptureError;

/// Bytes kept free before the block, so that a header can be put in front of its data in place.
pub(super) const ROOM: usize = 16;

/// The buffer between the file and the block: large, because captures are read from end to end.
const READ_AHEAD: usize = 256 * 1024;

/// A capture's bytes, taken block by block.
///
/// ```text
/// memory:  | room  | block                  | stale                 |
///          0       ROOM                     ROOM + len              memory.len()
/// ```
pub(super) struct Input<R> {
    source: BufReader<R>,
    memory: Vec<u8>,
    len: usize,
    /// Where in the file the block starts.
    offset: u64,
    /// Bytes of the block that were taken from the file, those skipped too.
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

    /// Lets the block go and starts the next one, as yet without bytes.
    pub(super) fn next_block(&mut self) {
        self.offset += self.taken;
        self.taken = 0;
        self.len = 0;
    }

    /// The block so far.
    pub(super) fn block(&self) -> &[u8] {
        &self.memory[ROOM..ROOM + self.len]
    }

    /// The block so far with the room before it.
    pub(super) fn memory_mut(&mut self) -> &mut [u8] {
        &mut self.memory[..ROOM + self.len]
    }

    /// Extends the block up to `len` bytes in all; false where the file ends before.
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

    /// Passes over `count` bytes of the file, which must be there, without adding them to the block.
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

    /// The file ends inside the block.
    pub(super) fn truncated(&self) -> CaptureError {
        CaptureError::Truncated { records: self.records, offset: self.offset }
    }

    /// The block contradicts itself or what came before.
    pub(super) fn malformed(&self, what: &'static str) -> CaptureError {
        CaptureError::Malformed { records: self.records, offset: self.offset, what }
    }

    /// The block holds a frame over the limit.
    pub(super) fn too_long(&self, len: u32) -> CaptureError {
        CaptureError::FrameTooLong { records: self.records, offset: self.offset, len }
    }

    fn failed(&self, source: io::Error) -> CaptureError {
        CaptureError::Io { records: self.records, source }
    }
}
