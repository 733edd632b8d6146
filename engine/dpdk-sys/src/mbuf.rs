//! Fields of an mbuf, by the offsets that the C compiler has found for the version of DPDK at hand.
//!
//! A constant is added to a pointer that is known to be aligned: a field costs the instructions that it would cost as a
//! field of a structure.

use core::ffi::c_void;

use crate::{
    guideway_mbuf_buf_addr, guideway_mbuf_buf_len, guideway_mbuf_data_len, guideway_mbuf_data_off,
    guideway_mbuf_nb_segs, guideway_mbuf_next, guideway_mbuf_ol_flags, guideway_mbuf_pkt_len,
    guideway_mbuf_pool, guideway_mbuf_vlan_tci, rte_mbuf, rte_mempool,
};

/// Makes a method of `rte_mbuf` that reads a field, and one that writes it where it has a second name.
macro_rules! field {
    ($get:ident $(, $set:ident)?: $type:ty = $offset:ident) => {
        #[inline(always)]
        pub fn $get(&self) -> $type {
            // SAFETY: the C compiler states that the field, which has this type in every version of DPDK, lies at this
            // offset within the structure; and it keeps fields aligned.
            unsafe { *core::ptr::from_ref(self).cast::<u8>().add($offset as usize).cast::<$type>() }
        }

        $(#[inline(always)]
        pub fn $set(&mut self, value: $type) {
            // SAFETY: as above, and `self` is borrowed mutably.
            unsafe { *core::ptr::from_mut(self).cast::<u8>().add($offset as usize).cast::<$type>() = value }
        })?
    };
}

impl rte_mbuf {
    field!(buf_addr: *mut c_void = guideway_mbuf_buf_addr);
    field!(buf_len: u16 = guideway_mbuf_buf_len);
    field!(data_off, set_data_off: u16 = guideway_mbuf_data_off);
    field!(data_len, set_data_len: u16 = guideway_mbuf_data_len);
    field!(pkt_len, set_pkt_len: u32 = guideway_mbuf_pkt_len);
    field!(nb_segs, set_nb_segs: u16 = guideway_mbuf_nb_segs);
    field!(next, set_next: *mut rte_mbuf = guideway_mbuf_next);
    field!(ol_flags, set_ol_flags: u64 = guideway_mbuf_ol_flags);
    field!(vlan_tci, set_vlan_tci: u16 = guideway_mbuf_vlan_tci);
    field!(pool: *mut rte_mempool = guideway_mbuf_pool);
}
