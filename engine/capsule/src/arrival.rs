//! Arrivals of a capture's frames: times and lengths, which `net_pcap` does not hand on.

use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use guideway_dataplane::frame::HEADROOM;
use guideway_dataplane::time::Tick;
use guideway_engine::capture::{CaptureReader, LinkType};

/// Bytes of the longest frame that fits capsule's mbufs (2,048 bytes) with all that the data plane may put before it.
const MAX_FRAME_LEN: u32 = 2048 - HEADROOM as u32;

/// Seconds of the longest capture: over longer ones a replay clears its table in gaps, which nothing does here.
const MAX_SECONDS: u64 = 3600;

/// Time of a frame's arrival, and its lengths.
pub(crate) struct Arrival {
    pub(crate) timestamp_nanos: u64,
    /// Time of the arrival on the clock of the data plane, which starts with the capture and never runs backwards.
    pub(crate) now: Tick,
    pub(crate) captured_len: usize,
    pub(crate) wire_len: usize,
}

/// Reads the arrivals of a capture's frames, in order.
pub(crate) fn arrivals(path: &Path) -> Result<Vec<Arrival>> {
    let unreadable = |error| anyhow!("{}: {error}", path.display());
    let mut reader = CaptureReader::open(path).map_err(unreadable)?;
    let mut arrivals = Vec::new();
    let (mut start, mut nanos) = (None, 0);
    while let Some(record) = reader.next_record().map_err(unreadable)? {
        let number = arrivals.len() + 1;
        ensure!(record.link_type == LinkType::ETHERNET, "frame {number} is not an Ethernet frame");
        ensure!(record.wire_len <= MAX_FRAME_LEN, "frame {number} is longer than {MAX_FRAME_LEN} bytes");
        nanos =
            record.timestamp_nanos.saturating_sub(*start.get_or_insert(record.timestamp_nanos)).max(nanos);
        let seconds = nanos / 1_000_000_000;
        ensure!(seconds <= MAX_SECONDS, "frame {number} is later than {MAX_SECONDS} seconds");
        arrivals.push(Arrival {
            timestamp_nanos: record.timestamp_nanos,
            now: Tick::from_secs(seconds),
            captured_len: record.bytes.len(),
            wire_len: record.wire_len as usize,
        });
    }
    ensure!(!arrivals.is_empty(), "{} holds no frame", path.display());
    Ok(arrivals)
}
