//! Sizes of a mempool: worked out before DPDK starts, and where it is not there.

use guideway_dataplane::pipeline::BURST;

/// Bytes before a frame in its buffer: `RTE_PKTMBUF_HEADROOM`, which a test compares.
pub(super) const HEADROOM: u32 = 128;

/// Bytes that an mbuf takes beside its buffer: its header of two cache lines and the pool's object header of one.
const MBUF_OVERHEAD: u32 = 192;

/// Bytes that drivers count beside the MTU when they choose between one mbuf a frame and several: an Ethernet header, a
/// frame check sequence and, as those of Intel's 1-gigabit NICs do, three VLAN tags (`E1000_ETH_OVERHEAD` and two more).
const FRAME_OVERHEAD: u32 = 14 + 4 + 3 * 4;

/// Granule of a buffer's size: devices of Intel take the largest multiple of 1,024 bytes (1 and 10 gigabits) or 128 (from
/// 40 on) within a buffer, and the one for E810 of DPDK 22.11 the smallest multiple of 128 above it.
const ROOM_GRANULE: u32 = 1024;

/// Size of a mempool, and of its mbufs.
#[derive(Clone, Copy, Debug)]
pub struct MempoolOptions {
    /// Number of mbufs; one less than a power of two wastes no memory.
    pub mbufs: u32,
    /// Bytes of the longest frame that an mbuf holds, without the headroom.
    pub data_room: u16,
    /// Mbufs that a worker may keep in a cache of its own, at most 512.
    pub cache: u16,
    /// NUMA node of the memory; any node if it is `None`.
    pub node: Option<u8>,
}

impl Default for MempoolOptions {
    fn default() -> Self {
        Self { mbufs: 16_383, data_room: 2048, cache: 256, node: None }
    }
}

impl MempoolOptions {
    /// Data room of buffers that hold the frames of a port with this MTU, so that no driver needs a second one for a frame
    /// or takes a buffer for longer than it is.
    pub fn room_for(mtu: u16) -> u16 {
        let granules = (u32::from(mtu) + FRAME_OVERHEAD).div_ceil(ROOM_GRANULE);
        // With its headroom, a buffer has at most 65,535 bytes.
        (granules.min(63) * ROOM_GRANULE) as u16
    }

    /// Sizes a pool that its users together cannot empty: `queue_pairs` of so many `descriptors` each, `workers`, and
    /// `host_frames` on their way to or from the control thread.
    pub fn holding(queue_pairs: u32, descriptors: u32, workers: u32, host_frames: u32) -> Self {
        let options = Self::default();
        // A cache may grow to one and a half of its size before it gives back (`CACHE_FLUSHTHRESH_MULTIPLIER`); one
        // worker more for the control thread's.
        let per_worker = 3 * BURST as u32 + u32::from(options.cache) * 3 / 2;
        let mbufs = queue_pairs * descriptors + (workers + 1) * per_worker + host_frames;
        Self { mbufs: (mbufs + 1).next_power_of_two() - 1, ..options }
    }

    /// Bytes of a buffer, its headroom included.
    pub fn buffer_len(&self) -> u32 {
        u32::from(self.data_room) + HEADROOM
    }

    /// Bytes of memory that the pool takes.
    pub fn bytes(&self) -> u64 {
        u64::from(self.mbufs) * u64::from(self.buffer_len() + MBUF_OVERHEAD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_holds_what_its_users_may_hold_and_wastes_no_memory() {
        assert_eq!(MempoolOptions::holding(4, 512 + 1024, 2, 256).mbufs, 8191);
        assert_eq!(MempoolOptions::holding(1, 512 + 1024, 1, 0).mbufs, 4095);
    }

    #[test]
    fn a_buffer_holds_a_frame_as_every_driver_counts_it() {
        // Overhead and granule of: e1000 and igb, ixgbe, i40e and iavf and ice.
        for (overhead, granule) in [(30, 1024), (26, 1024), (26, 128)] {
            for mtu in (1280..=9216).chain([u16::MAX - 3000]) {
                let room = u32::from(MempoolOptions::room_for(mtu));
                assert!(room / granule * granule >= u32::from(mtu) + overhead, "{mtu}");
                assert_eq!(room.next_multiple_of(128), room, "ice of DPDK 22.11 would overrun it");
            }
        }
        assert_eq!([1500, 9000, u16::MAX].map(MempoolOptions::room_for), [2048, 9216, 64_512]);
    }
}
