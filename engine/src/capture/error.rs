//! Reason for which a capture cannot be read, or not to its end.

use std::io::ErrorKind;
use std::{error, fmt, io};

use super::{LinkType, MAX_FRAME_LEN};

/// Reason for which a capture cannot be read, or not to its end.
///
/// `records` is the number of whole records that were delivered before; a caller who can do with those goes on
/// with them. Nothing is delivered after an error.
#[derive(Debug)]
pub enum CaptureError {
    /// The file cannot be opened or read: it is missing, unreadable, or its disk failed.
    Io {
        /// Whole records that were delivered before the error.
        records: u64,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The file is empty: typically, the capturing tool was stopped before it wrote.
    Empty,
    /// The file starts as no capture does: typically, it is compressed or is another kind of file.
    NotACapture {
        /// First bytes of the file: four, or all that it has.
        start: Vec<u8>,
        /// Kind of file that commonly starts so, with the remedy; None if it is unknown.
        looks_like: Option<&'static str>,
    },
    /// The capture ends in the middle of a record: typically, the capturing tool was killed, or the disk was full.
    Truncated {
        /// Whole records that were delivered before the error.
        records: u64,
        /// Offset in the file at which the incomplete part starts.
        offset: u64,
    },
    /// The capture contradicts itself: typically, it was damaged in transfer.
    Malformed {
        /// Whole records that were delivered before the error.
        records: u64,
        /// Offset in the file at which the damaged part starts.
        offset: u64,
        /// Contradiction that was found, as a noun phrase.
        what: &'static str,
    },
    /// A frame is longer than [`MAX_FRAME_LEN`]: typically, it was captured above segmentation offload with BIG TCP,
    /// or the file is damaged.
    FrameTooLong {
        /// Whole records that were delivered before the error.
        records: u64,
        /// Offset in the file at which the record starts.
        offset: u64,
        /// Length of the frame on the wire or in the file, whichever is greater.
        len: u32,
    },
    /// The frames are of a link layer that cannot be read as Ethernet or as IP: typically, they were captured on a
    /// radio or a serial interface.
    UnsupportedLinkType {
        /// Whole records that were delivered before the error.
        records: u64,
        /// Link layer that the frames were captured with.
        link_type: LinkType,
    },
}

impl CaptureError {
    /// Number of whole records that were delivered before the error.
    pub fn records(&self) -> u64 {
        match self {
            Self::Empty | Self::NotACapture { .. } => 0,
            Self::Io { records, .. }
            | Self::Truncated { records, .. }
            | Self::Malformed { records, .. }
            | Self::FrameTooLong { records, .. }
            | Self::UnsupportedLinkType { records, .. } => *records,
        }
    }
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { records: 0, source } => write!(f, "cannot read the capture: {source}"),
            Self::Io { records, source } => {
                write!(f, "cannot read the capture after record {records}: {source}")?;
                let is_damage = matches!(source.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof);
                if is_damage {
                    f.write_str("; what came before is whole: copy the file again")
                } else {
                    Ok(())
                }
            }
            Self::Empty => write!(f, "the file is empty, not a capture (pcap and pcapng are read)"),
            Self::NotACapture { start, looks_like } => {
                write!(f, "not a capture: pcap and pcapng are read, and this file starts with")?;
                for byte in start {
                    write!(f, " {byte:02x}")?;
                }
                match looks_like {
                    Some(kind) => write!(f, ", as {kind}"),
                    None => Ok(()),
                }
            }
            Self::Truncated { records, offset } => write!(
                f,
                "the capture ends in the middle of record {}, which starts at byte {offset}; \
                 the {records} before it are whole: let the capturing tool end by itself (Ctrl-C, no kill -9), or go on \
                 with them",
                records + 1
            ),
            Self::Malformed { records, offset, what } => {
                write!(
                    f,
                    "the capture is damaged at byte {offset}, after record {records}: {what}; the {records} before are \
                     whole: copy the file again, or keep them (editcap -r IN OUT 1-{records})"
                )
            }
            Self::FrameTooLong { records, offset, len } => write!(
                f,
                "record {} at byte {offset} is a frame of {len} bytes, and the limit is {MAX_FRAME_LEN}; \
                 capture with segmentation offload off (ethtool -K <interface> gro off tso off)",
                records + 1
            ),
            Self::UnsupportedLinkType { records, link_type } => write!(
                f,
                "record {} was captured as {link_type}; Ethernet, raw IP and Linux cooked captures are read: \
                 capture on an Ethernet interface (tcpdump -i eth0) or on all of them (tcpdump -i any)",
                records + 1
            ),
        }
    }
}

impl error::Error for CaptureError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
