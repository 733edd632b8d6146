//! Mempools: memory for frames, allocated before the first poll.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

use guideway_dpdk_sys as sys;

use super::{DpdkMbuf, Eal, MempoolOptions, StartError, dpdk_log};

/// `SOCKET_ID_ANY`: memory of any NUMA node.
const ANY_NODE: i32 = -1;

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

impl Eal {
    /// Allocates a mempool under a name that no other one has.
    ///
    /// # Errors
    /// [`StartError::NoMemoryForMbufs`].
    pub fn mempool(&self, name: &str, options: &MempoolOptions) -> Result<Mempool<'_>, StartError> {
        let buffer = options.buffer_len();
        let refused = |message| StartError::NoMemoryForMbufs {
            mbufs: options.mbufs,
            mebibytes: (options.bytes() >> 20) as u32,
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
    use crate::driver::mempool_options::HEADROOM;

    #[test]
    fn the_headroom_is_that_of_dpdk() {
        assert_eq!(HEADROOM, sys::RTE_PKTMBUF_HEADROOM);
    }
}
