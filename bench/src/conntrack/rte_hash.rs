//! DPDK's `rte_hash`, with lookups of a whole burst at once.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use guideway_dataplane::pipeline::BURST;
use guideway_dpdk_sys as sys;
use guideway_engine::driver::dpdk::{Eal, EalOptions, Memory};

use super::contestant::{LookupResults, Table};
use super::traffic::Key;

/// Starts DPDK with memory for a table of twice as many entries, on pages of hugetlbfs if enough are free.
pub(super) fn start_eal(entries: usize) -> Eal {
    // A slot of 32 bytes, an eighth of a bucket of 64, a few of an index: for each of twice the entries, and to spare.
    let mebibytes = (2 * entries * 64).div_ceil(1 << 20) + 64;
    let free = std::fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    let free: usize = free.ok().and_then(|pages| pages.trim().parse().ok()).unwrap_or(0);
    // A second process, that of the footprint, has as much again.
    let memory = if 2 * free >= 2 * mebibytes {
        Memory::HugePages
    } else {
        Memory::NoHuge { mebibytes: mebibytes as u32 }
    };
    Eal::init(&EalOptions { memory, ..EalOptions::default() }).unwrap_or_else(|error| panic!("DPDK: {error}"))
}

pub(super) struct RteHash<'eal> {
    table: NonNull<sys::rte_hash>,
    eal: PhantomData<&'eal Eal>,
}

// SAFETY: rte_hash permits lookups by any number of threads beside each other, and that is all that a shared reference
// is good for: adding and freeing take an exclusive one.
unsafe impl Sync for RteHash<'_> {}

const NAME: &CStr = c"guideway-bench";

impl<'eal> RteHash<'eal> {
    /// Makes a table for `capacity` entries, with DPDK's default hash function, whose readers take no lock.
    pub(super) fn new(_eal: &'eal Eal, capacity: usize) -> Self {
        let parameters = sys::rte_hash_parameters {
            name: NAME.as_ptr(),
            entries: u32::try_from(capacity).expect("tables have fewer entries"),
            key_len: size_of::<Key>() as u32,
            extra_flag: sys::RTE_HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF as u8,
            ..Default::default()
        };
        // SAFETY: EAL runs, for `_eal` is borrowed; the parameters and the name in them are read during the call.
        let table = unsafe { sys::rte_hash_create(&raw const parameters) };
        let table = NonNull::new(table).expect("DPDK has memory for the table, and no other of its name");
        Self { table, eal: PhantomData }
    }
}

impl Table for RteHash<'_> {
    fn insert(&mut self, key: Key) -> bool {
        let value = ptr::without_provenance_mut(key.backend().0 as usize);
        // SAFETY: the table lives as long as `self`, whose exclusive borrow keeps other threads from adding; the key has
        // the length that the table was made for and is copied. The value is a number, and nobody follows it.
        let added =
            unsafe { sys::rte_hash_add_key_data(self.table.as_ptr(), ptr::from_ref(&key).cast(), value) };
        added == 0
    }

    fn look_up(&self, keys: &[Key]) -> LookupResults {
        let mut results = LookupResults::default();
        for burst in keys.chunks(BURST) {
            let mut pointers = [ptr::null::<c_void>(); BURST];
            for (pointer, key) in pointers.iter_mut().zip(burst) {
                *pointer = ptr::from_ref(key).cast();
            }
            let mut values = [ptr::null_mut::<c_void>(); BURST];
            let mut found = 0;
            // SAFETY: the table lives as long as `self`. There are as many pointers as the call is told, each to a key
            // of the table's length, and room for as many values; 32 are no more than `RTE_HASH_LOOKUP_BULK_MAX`, 64.
            let hits = unsafe {
                sys::rte_hash_lookup_bulk_data(
                    self.table.as_ptr(),
                    pointers.as_mut_ptr(),
                    burst.len() as u32,
                    &raw mut found,
                    values.as_mut_ptr(),
                )
            };
            debug_assert_eq!(hits, found.count_ones() as i32);
            for (index, value) in values.into_iter().enumerate() {
                if found >> index & 1 == 1 {
                    results.count(value.addr() as u32);
                }
            }
        }
        results
    }
}

impl Drop for RteHash<'_> {
    fn drop(&mut self) {
        // SAFETY: `rte_hash_create` gave the table, nobody else frees it, and EAL still runs.
        unsafe { sys::rte_hash_free(self.table.as_ptr()) };
    }
}
