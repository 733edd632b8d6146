//! Bindings that capsule 0.1.5 expects of DPDK, bound to Debian's libdpdk 22.11.
//!
//! The names are those of DPDK 19.11; what has left it or changed since is written by hand. What is safe to
//! call when is for capsule to prove.

#![no_std]
#![allow(missing_docs, non_camel_case_types, non_upper_case_globals)]
#![allow(unsafe_op_in_unsafe_fn, unnecessary_transmutes, clippy::all)]

use core::ffi::{c_char, c_int, c_uint};
use core::ptr;

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));

unsafe extern "C" {
    #[link_name = "capsule_eal_init"]
    pub fn rte_eal_init(argc: c_int, argv: *mut *mut c_char) -> c_int;
    #[link_name = "capsule_thread_set_affinity"]
    pub fn rte_thread_set_affinity(cores: *mut rte_cpuset_t) -> c_int;
    // EAL knows the node of every processor; libnuma, which capsule asked, would be one more library.
    #[link_name = "rte_lcore_to_socket_id"]
    pub fn numa_node_of_cpu(cpu: c_int) -> c_int;
}

// DPDK's interface to the kernel (KNI), which Debian lacks: it does not start, so there is never one.

pub enum rte_kni {}

#[derive(Default)]
pub struct rte_kni_conf {
    pub name: [c_char; 32],
    pub group_id: u16,
    pub mbuf_size: u32,
    pub mac_addr: [u8; 6],
}

#[derive(Default)]
pub struct rte_kni_ops {
    pub port_id: u16,
    pub change_mtu: Option<extern "C" fn(u16, c_uint) -> c_int>,
    pub config_network_if: Option<extern "C" fn(u16, u8) -> c_int>,
    pub config_mac_address: Option<extern "C" fn(u16, *mut u8) -> c_int>,
    pub config_promiscusity: Option<extern "C" fn(u16, u8) -> c_int>,
}

const ENOTSUP: c_int = 95;

pub fn rte_kni_init(_max: c_uint) -> c_int {
    -ENOTSUP
}

pub fn rte_kni_close() {}

pub fn rte_kni_alloc(_: *mut rte_mempool, _: *const rte_kni_conf, _: *mut rte_kni_ops) -> *mut rte_kni {
    ptr::null_mut()
}

pub fn rte_kni_release(_: *mut rte_kni) -> c_int {
    -ENOTSUP
}

pub fn rte_kni_handle_request(_: *mut rte_kni) -> c_int {
    -ENOTSUP
}

pub fn rte_kni_rx_burst(_: *mut rte_kni, _: *mut *mut rte_mbuf, _: c_uint) -> c_uint {
    0
}

pub fn rte_kni_tx_burst(_: *mut rte_kni, _: *mut *mut rte_mbuf, _: c_uint) -> c_uint {
    0
}
