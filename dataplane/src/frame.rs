//! What the data plane asks of the memory that holds a frame: an mbuf, or a capture's copy of one.

/// One Ethernet frame in memory, with headroom before it.
pub trait Frame {
    /// The frame's bytes, from the destination MAC address on, without a frame check sequence.
    fn bytes(&self) -> &[u8];

    /// The same bytes, writable.
    fn bytes_mut(&mut self) -> &mut [u8];

    /// Grows the frame by `count` bytes of unspecified content before its first byte.
    ///
    /// Returns false and changes nothing where the headroom is too short.
    fn prepend(&mut self, count: usize) -> bool;

    /// Cuts the frame down to its first `len` bytes; a shorter frame stays as it is.
    fn truncate(&mut self, len: usize);
}

/// The headroom that every driver provides, as DPDK does (`RTE_PKTMBUF_HEADROOM`).
pub const HEADROOM: usize = 128;
