//! Captures: files (and pipes) of frames with the time each one passed.
//!
//! [`CaptureReader`] reads pcap and pcapng record by record, in memory that the longest block bounds and not
//! the file, so a capture may be as long as the disk or come from a pipe. [`CaptureWriter`] writes nanosecond
//! pcap; [`PcapngWriter`] writes a pcapng in which every frame has a comment.
//!
//! The grammar of headers and blocks is `pcap-parser`'s. The framing, which is where a file starts, how long the
//! next block is and whether all of it is there, is done here, because that is where a capture that was cut short
//! or damaged shows, and it must end in an error that says how far it was good.

mod error;
mod input;
mod link_type;
mod pcap;
mod pcapng;
pub mod pcapng_block;
mod pcapng_writer;
mod reader;
mod writer;

use std::ops::Range;

pub use error::CaptureError;
pub use link_type::LinkType;
pub use pcapng_writer::{CommentedFrame, Direction, PcapngWriter};
pub use reader::{CaptureReader, Record};
pub use writer::CaptureWriter;

/// Bytes of the longest frame that a capture may hold, captured or on the wire: an Ethernet header with two VLAN
/// tags, then the longest IPv6 packet that is no jumbogram (RFC 8200, section 3: a payload of 65,535 bytes).
///
/// Only captures taken above segmentation offload with BIG TCP hold longer ones; no wire carried them.
pub const MAX_FRAME_LEN: usize = 14 + 2 * 4 + 40 + 65_535;

/// Record as its file's format describes it: the range of its bytes in the block, and its time, length, link type and interface.
struct Captured {
    timestamp_nanos: u64,
    data: Range<usize>,
    wire_len: u32,
    link_type: LinkType,
    interface: u32,
}
