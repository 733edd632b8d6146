//! Asks the processor for a cache line before it is needed.
#![allow(unsafe_code)] // the instruction is an `unsafe fn` on stable Rust

/// Starts fetching the cache line that holds the first byte of `target` into every cache level.
///
/// It does nothing where the target has no such instruction in stable Rust.
#[inline(always)]
pub(crate) fn prefetch<T>(target: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: PREFETCHT0 is part of SSE, which every x86_64 target has. It reads nothing that the program can
        // observe and never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(target.cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = target;
}
