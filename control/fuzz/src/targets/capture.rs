//! No bytes make the capture reader panic, and it ends on all of them.

use guideway_engine::capture::CaptureReader;

/// Runs the target on these bytes.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(mut reader) = CaptureReader::new(bytes) else { return };
    while let Ok(Some(record)) = reader.next_record() {
        assert!(record.bytes.len() <= record.wire_len as usize);
    }
}
