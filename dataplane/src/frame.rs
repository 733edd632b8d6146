//! Frames: what the data plane asks of the memory that holds one, an mbuf or a capture's copy of one.

/// Ethernet frame in memory, with headroom before it.
pub trait Frame {
    /// Bytes of the frame, from the destination MAC address on, without a frame check sequence.
    fn bytes(&self) -> &[u8];

    /// Bytes of the frame, to be changed.
    fn bytes_mut(&mut self) -> &mut [u8];

    /// Grows the frame by `count` bytes of unspecified content before its first byte.
    ///
    /// Returns false and changes nothing where the headroom is too short.
    fn prepend(&mut self, count: usize) -> bool;

    /// Cuts the frame down to its first `len` bytes; a shorter frame stays as it is.
    fn truncate(&mut self, len: usize);

    /// Grows the frame by `count` bytes of unspecified content before its first byte, cuts it down to `len` bytes, and
    /// returns these.
    ///
    /// Returns `None` and changes nothing where the headroom is too short.
    #[inline]
    fn reframe(&mut self, count: usize, len: usize) -> Option<&mut [u8]> {
        if !self.prepend(count) {
            return None;
        }
        self.truncate(len);
        Some(self.bytes_mut())
    }

    /// Makes another frame of the same kind of memory, which holds `parts`, one behind the other.
    ///
    /// None where there is no memory for it, or the frame's memory gives none.
    fn another(&self, parts: [&[u8]; 2]) -> Option<Self>
    where
        Self: Sized,
    {
        let _ = parts;
        None
    }

    /// Asks the device that sends the frame to compute the checksum of its UDP header, which follows an IPv6 header of
    /// `ip_len` bytes at `ip_offset`. The field holds the one's complement sum of the pseudo header meanwhile.
    ///
    /// Returns false and changes nothing where the frame's memory has no way to tell the device: then its bytes are all
    /// that is sent.
    fn offload_udp_checksum(&mut self, ip_offset: usize, ip_len: usize) -> bool {
        let _ = (ip_offset, ip_len);
        false
    }
}

/// Headroom that every driver provides, as DPDK does (`RTE_PKTMBUF_HEADROOM`).
pub const HEADROOM: usize = 128;
