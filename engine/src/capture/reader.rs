//! Reads a capture record by record.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::input::{Input, ROOM};
use super::pcap::Pcap;
use super::pcapng::Pcapng;
use super::{CaptureError, LinkType, MAX_FRAME_LEN};

/// Captured frame with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Time at which the frame passed, in nanoseconds since 1970-01-01 00:00 UTC.
    ///
    /// Times are delivered as they are found and may run backwards: captures are merged, and clocks are set.
    pub timestamp_nanos: u64,
    /// Bytes of the frame from its Ethernet header on, as far as they were captured.
    ///
    /// A frame of another link layer has an Ethernet header without addresses here. A frame check sequence stays, as
    /// padding does.
    pub bytes: &'a [u8],
    /// Length of the frame on the wire, from its Ethernet header on: at least that of `bytes`, and at most
    /// [`MAX_FRAME_LEN`].
    pub wire_len: u32,
    /// Link layer that the frame was captured with.
    pub link_type: LinkType,
    /// Interface that the frame was captured on, by its index in its section of a pcapng file; 0 in a pcap file.
    pub interface: u32,
}

/// Reads a capture, pcap or pcapng, record by record.
///
/// Every byte order and time resolution of the two formats is read, and every kind of packet block of pcapng, with
/// several interfaces and several sections; other blocks are skipped. Memory is bounded by the longest block (at most
/// 16 MiB), not by the file.
///
/// ```
/// use guideway_engine::capture::{CaptureReader, CaptureWriter};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut writer = CaptureWriter::new(Vec::new())?;
/// writer.write(1_700_000_000_000_000_000, b"frame", 60)?;
/// let capture = writer.finish()?;
///
/// let mut reader = CaptureReader::new(&capture[..])?;
/// while let Some(record) = reader.next_record()? {
///     assert_eq!((record.bytes, record.wire_len), (&b"frame"[..], 60));
/// }
/// # Ok(())
/// # }
/// ```
pub struct CaptureReader<R> {
    input: Input<R>,
    format: Format,
    ended: bool,
}

enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

impl CaptureReader<Box<dyn Read + Send>> {
    /// Opens the capture at `path`, or the one on standard input if `path` is `-`.
    ///
    /// # Errors
    ///
    /// Errors of [`CaptureReader::new`]. The error doesn't name the path, which the caller knows.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        if path.as_os_str() == "-" {
            return Self::new(Box::new(io::stdin()));
        }
        match File::open(path) {
            Ok(file) => Self::new(Box::new(file)),
            Err(source) => Err(CaptureError::Io { records: 0, source }),
        }
    }
}

impl<R: Read> CaptureReader<R> {
    /// Starts to read a capture from `source`, up to the end of its header.
    ///
    /// `source` needs no buffer of its own.
    ///
    /// # Errors
    ///
    /// If `source` holds no capture, or its header is not whole.
    pub fn new(source: R) -> Result<Self, CaptureError> {
        let mut input = Input::new(source);
        let whole = input.extend_to(4)?;
        let format = match *input.block() {
            [] => return Err(CaptureError::Empty),
            [a, b, c, d] if whole && Pcap::starts_with([a, b, c, d]) => Format::Pcap(Pcap::open(&mut input)?),
            [a, b, c, d] if whole && Pcapng::starts_with([a, b, c, d]) => {
                Format::Pcapng(Pcapng::open(&mut input)?)
            }
            ref start => {
                return Err(CaptureError::NotACapture {
                    start: start.to_vec(),
                    looks_like: looks_like(start),
                });
            }
        };
        Ok(Self { input, format, ended: false })
    }

    /// Reads the next record; None after the last.
    ///
    /// # Errors
    ///
    /// If the capture ends inside a record, is damaged or holds what cannot be read. The records before are whole; none
    /// is delivered afterwards.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, CaptureError> {
        if self.ended {
            return Ok(None);
        }
        // Until a record is whole, this is the end: of the file, or by an error.
        self.ended = true;
        let captured = match &mut self.format {
            Format::Pcap(pcap) => pcap.next(&mut self.input)?,
            Format::Pcapng(pcapng) => pcapng.next(&mut self.input)?,
        };
        let Some(captured) = captured else {
            return Ok(None);
        };
        let (link_type, interface) = (captured.link_type, captured.interface);
        let in_memory = ROOM + captured.data.start..ROOM + captured.data.end;
        let Some(frame) = link_type.make_ethernet(self.input.memory_mut(), in_memory) else {
            return Err(CaptureError::UnsupportedLinkType { records: self.input.records, link_type });
        };
        // The new header has replaced bytes that were captured, so what it adds to the one length it adds to the other.
        let wire_len = (captured.wire_len - captured.data.len() as u32).saturating_add(frame.len() as u32);
        if wire_len as usize > MAX_FRAME_LEN {
            return Err(self.input.too_long(wire_len));
        }
        self.ended = false;
        self.input.records += 1;
        Ok(Some(Record {
            timestamp_nanos: captured.timestamp_nanos,
            bytes: &self.input.memory_mut()[frame],
            wire_len,
            link_type,
            interface,
        }))
    }

    /// Number of records delivered so far.
    pub fn records(&self) -> u64 {
        self.input.records
    }
}

impl<R> fmt::Debug for CaptureReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureReader").field("records", &self.input.records).finish_non_exhaustive()
    }
}

/// Kind of file that commonly starts so and is no capture, with the remedy.
fn looks_like(start: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 6] = [
        (b"\x1f\x8b", "a gzip file does; gunzip it first"),
        (b"BZh", "a bzip2 file does; bunzip2 it first"),
        (b"\xfd7zX", "an xz file does; unxz it first"),
        (b"\x28\xb5\x2f\xfd", "a zstd file does; unzstd it first"),
        (b"PK\x03\x04", "a zip file does; unzip it first"),
        (b"snoo", "a snoop capture does; convert it with editcap -F pcapng"),
    ];
    KINDS.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, kind)| *kind)
}
