//! Mempools: memory for frames, allocated before the first poll.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

use guideway_dataplane::pipeline::BURST;
use guideway_dpdk_sys as sys;

use super::{DpdkMbuf, Eal, PortOptions, StartError, dpdk_log};

/// `SOCKET_ID_ANY`: memory of any NUMA node.
const ANY_NODE: i32 = -1;

/// Bytes that an mbuf takes beside its buffer: its header of two cache lines and the pool's object header of one.
const MBUF_OVERHEAD: u32 = 192;

/// Bytes that drivers count beside the MTU when they choose between one mbuf a frame and several: an Ethernet header, a
/// frame check sequence and, as those of Intel's 1-gigabit NICs do, three VLAN tags (`E1000_ETH_OVERHEAD` and two more).
const FRAME_OVERHEAD: u32 = 14 + 4 + 3 * 4;

/// Granule of a buffer's size: devices of Intel take the largest multiple of 1,024 bytes (1 and 10 gigabits) or 128 (from
/// 40 on) within a buffer, and the one for E810 of DPDK 22.11 the smallest multiple of 128 above it.
const ROOM_GRANULE: u32 = 1024;

/// Pool of mbufs. Copies are handles to the same pool, which lives as long as EAL.
#[derive(Clone, Copy)]
pub struct Mempool<'eal> {
    pool: NonNull<sys::rte_mempool>,
    data_room: u16,
    eal: PhantomData<&'eal ()>,
}

// SAFETY: a pool may be used by any number of threads at once: its ring is made for several producers and consumers,
// and its caches are each one registered thread's.
unsafe impl Send for Mempool<'_> {}
// SAFETY: as above; a handle has nothing else to share.
unsafe impl Sync for Mempool<'_> {}

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

    /// Sizes a pool that its users together cannot empty: `queue_pairs` opened with `ports`, `workers`, and
    /// `host_frames` on their way to or from the control thread.
    pub fn holding(queue_pairs: u32, ports: &PortOptions, workers: u32, host_frames: u32) -> Self {
        let options = Self::default();
        let descriptors = u32::from(ports.rx_descriptors) + u32::from(ports.tx_descriptors);
        // A cache may grow to one and a half of its size before it gives back (`CACHE_FLUSHTHRESH_MULTIPLIER`); one
        // worker more for the control thread's.
        let per_worker = 3 * BURST as u32 + u32::from(options.cache) * 3 / 2;
        let mbufs = queue_pairs * descriptors + (workers + 1) * per_worker + host_frames;
        Self { mbufs: (mbufs + 1).next_power_of_two() - 1, ..options }
    }
}

impl Eal {
    /// Allocates a mempool under a name that no other one has.
    ///
    /// # Errors
    /// [`StartError::NoMemoryForMbufs`].
    pub fn mempool(&self, name: &str, options: &MempoolOptions) -> Result<Mempool<'_>, StartError> {
        let buffer = u32::from(options.data_room) + sys::RTE_PKTMBUF_HEADROOM;
        let refused = |message| StartError::NoMemoryForMbufs {
            mbufs: options.mbufs,
            mebibytes: ((u64::from(options.mbufs) * u64::from(buffer + MBUF_OVERHEAD)) >> 20) as u32,
            message,
        };
        let c_name = CString::new(name).map_err(|_| refused("a name holds no NUL".to_owned()))?;
        let buffer =
            u16::try_from(buffer).map_err(|_| refused("a buffer has at most 65,535 bytes".to_owned()))?;
        let node = options.node.map_or(ANY_NODE, i32::from);
        dpdk_log::forget();
        // SAFETY: EAL runs; the name ends in NUL and is copied. Any numbers are allowed: what cannot be is refused.
        let pool = unsafe {
            sys::rte_pktmbuf_pool_create(
                c_name.as_ptr(),
                options.mbufs,
                u32::from(options.cache),
                0,
                buffer,
                node,
            )
        };
        let pool = NonNull::new(pool).ok_or_else(|| refused(dpdk_log::message(dpdk_log::errno())))?;
        Ok(Mempool { pool, data_room: options.data_room, eal: PhantomData })
    }
}

impl<'eal> Mempool<'eal> {
    /// Makes a frame of these bytes; None if the pool is empty or an mbuf too small.
    pub fn frame(&self, bytes: &[u8]) -> Option<DpdkMbuf<'eal>> {
        // SAFETY: the pool lives as long as EAL, which outlasts `'eal`.
        let mbuf = unsafe { sys::guideway_mbuf_alloc(self.pool.as_ptr()) };
        // SAFETY: the mbuf was just taken out of the pool and initialised, and nobody else has it.
        let mut mbuf = unsafe { DpdkMbuf::from_raw(NonNull::new(mbuf)?) }?;
        mbuf.append(bytes).then_some(mbuf)
    }

    /// Number of mbufs in the pool and in its caches: exact while nobody polls.
    pub fn available(&self) -> u32 {
        // SAFETY: the pool lives as long as EAL, which outlasts `'eal`; the function only reads.
        unsafe { sys::rte_mempool_avail_count(self.pool.as_ptr()) }
    }

    /// Bytes of the longest frame that an mbuf holds.
    pub fn data_room(&self) -> u16 {
        self.data_room
    }

    pub(super) fn as_ptr(&self) -> *mut sys::rte_mempool {
        self.pool.as_ptr()
    }
}

impl fmt::Debug for Mempool<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mempool").field("available", &self.available()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_holds_what_its_users_may_hold_and_wastes_no_memory() {
        let ports = PortOptions { rx_descriptors: 512, tx_descriptors: 1024, ..PortOptions::default() };
        assert_eq!(MempoolOptions::holding(4, &ports, 2, 256).mbufs, 8191);
        assert_eq!(MempoolOptions::holding(1, &ports, 1, 0).mbufs, 4095);
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
