//! Writes a capture: nanosecond pcap, little-endian, Ethernet.

use std::io::{self, BufWriter, Write};

/// Magic number of a pcap file whose times are in nanoseconds.
const NANOSECOND_MAGIC: u32 = 0xa1b2_3c4d;

/// Snapshot length that the header states; libpcap reads no longer records of Ethernet (`MAXIMUM_SNAPLEN`).
const SNAPLEN: u32 = 262_144;

/// Bytes of the buffer before the file: many, because captures are written from end to end.
const WRITE_BEHIND: usize = 256 * 1024;

/// Link type of Ethernet.
const ETHERNET: u32 = 1;

/// Writes a capture: nanosecond pcap, little-endian, Ethernet.
///
/// The capture is whole only after [`CaptureWriter::finish`]: a writer that is dropped before flushes what it can
/// and has nobody to tell of a full disk.
#[derive(Debug)]
pub struct CaptureWriter<W: Write> {
    output: BufWriter<W>,
}

impl<W: Write> CaptureWriter<W> {
    /// Starts a capture on `output` with the file's header.
    ///
    /// # Errors
    ///
    /// If writing to `output` fails.
    pub fn new(output: W) -> io::Result<Self> {
        let mut output = BufWriter::with_capacity(WRITE_BEHIND, output);
        output.write_all(&NANOSECOND_MAGIC.to_le_bytes())?;
        output.write_all(&2u16.to_le_bytes())?;
        output.write_all(&4u16.to_le_bytes())?;
        output.write_all(&[0; 8])?;
        output.write_all(&SNAPLEN.to_le_bytes())?;
        output.write_all(&ETHERNET.to_le_bytes())?;
        Ok(Self { output })
    }

    /// Writes one record: a frame of which `bytes` were kept and which was `wire_len` bytes long on the wire.
    ///
    /// # Errors
    ///
    /// If writing fails, and [`io::ErrorKind::InvalidInput`] for a time after 2106-02-07, which pcap's 32 bits
    /// of seconds do not hold, and for more bytes than its header's snapshot length.
    pub fn write(&mut self, timestamp_nanos: u64, bytes: &[u8], wire_len: u32) -> io::Result<()> {
        let seconds = u32::try_from(timestamp_nanos / 1_000_000_000).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "a pcap file holds no time after 2106-02-07")
        })?;
        let nanos = (timestamp_nanos % 1_000_000_000) as u32;
        let captured_len =
            u32::try_from(bytes.len()).ok().filter(|len| *len <= SNAPLEN).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "the frame is longer than the capture's snapshot length",
                )
            })?;
        self.output.write_all(&seconds.to_le_bytes())?;
        self.output.write_all(&nanos.to_le_bytes())?;
        self.output.write_all(&captured_len.to_le_bytes())?;
        self.output.write_all(&wire_len.max(captured_len).to_le_bytes())?;
        self.output.write_all(bytes)
    }

    /// Writes out the buffer and returns the output.
    ///
    /// # Errors
    ///
    /// If writing fails: the capture is then not whole.
    pub fn finish(self) -> io::Result<W> {
        let mut output = self.output.into_inner().map_err(io::IntoInnerError::into_error)?;
        output.flush()?;
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_is_its_header_and_its_records() {
        let mut writer = CaptureWriter::new(Vec::new()).unwrap();
        writer.write(1_000_000_002, &[0xaa, 0xbb], 60).unwrap();
        #[rustfmt::skip]
        let expected = [
            0x4d, 0x3c, 0xb2, 0xa1,  2, 0, 4, 0,  0, 0, 0, 0,  0, 0, 0, 0,  0, 0, 4, 0,  1, 0, 0, 0,
            1, 0, 0, 0,  2, 0, 0, 0,  2, 0, 0, 0,  60, 0, 0, 0,  0xaa, 0xbb,
        ];
        assert_eq!(writer.finish().unwrap(), expected);
    }

    #[test]
    fn a_frame_is_never_shorter_on_the_wire_than_in_the_file() {
        let mut writer = CaptureWriter::new(Vec::new()).unwrap();
        writer.write(0, &[1, 2, 3], 0).unwrap();
        assert_eq!(writer.finish().unwrap()[36..40], [3, 0, 0, 0]);
    }

    #[test]
    fn what_pcap_cannot_hold_is_refused() {
        let mut writer = CaptureWriter::new(Vec::new()).unwrap();
        let late = writer.write(u64::MAX, &[], 0).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::InvalidInput);
        let long = writer.write(0, &vec![0; 262_145], 0).unwrap_err();
        assert_eq!(long.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(writer.finish().unwrap().len(), 24);
    }

    /// Disk with room for so many bytes.
    struct Disk(usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.0);
            self.0 -= count;
            if count == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(count) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_reported_at_the_latest_by_finish() {
        let mut writer = CaptureWriter::new(Disk(30)).unwrap();
        writer.write(0, &[0; 60], 60).unwrap();
        let error = writer.finish().err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
