//! Registers a worker's thread with EAL: pinned to a core, with a mempool cache of its own.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use core_affinity::CoreId;
use guideway_dpdk_sys as sys;

use super::{StartError, dpdk_log, preflight};

thread_local! {
    /// True on a thread that is registered: EAL itself would register it twice.
    static REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// Marks the calling thread, which started EAL, as registered: EAL has given it an lcore.
pub(super) fn claim_for_eal() {
    REGISTERED.set(true);
}

/// Proof that EAL runs, which a worker's thread needs to register.
#[derive(Clone, Copy, Debug)]
pub struct Running<'eal>(PhantomData<&'eal ()>);

impl Running<'_> {
    /// Makes the proof; only `Eal::running` does, for as long as EAL is borrowed.
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

/// Registration of this thread with EAL. It stays on the thread, and ends with it at the latest.
///
/// A thread that is not registered has no mempool cache: it would take the pool's shared ring for every burst, at
/// about twice the cost.
pub struct Lcore<'eal> {
    core: usize,
    eal: PhantomData<&'eal ()>,
    not_send: PhantomData<*const ()>,
}

impl<'eal> Lcore<'eal> {
    /// Pins this thread to `core` and registers it.
    ///
    /// # Errors
    /// [`StartError::CoreOffline`], [`StartError::CoreForbidden`], [`StartError::ThreadRefused`].
    pub fn register(_: Running<'eal>, core: usize) -> Result<Self, StartError> {
        if REGISTERED.get() {
            return Err(StartError::ThreadRefused {
                message: "this thread is registered already".to_owned(),
            });
        }
        preflight::core(Path::new("/sys"), core)?;
        // Before it is registered: EAL notes the affinity that it finds.
        if !core_affinity::set_for_current(CoreId { id: core }) {
            return Err(StartError::CoreForbidden { core });
        }
        // SAFETY: EAL runs, as `Running` says, and this thread is not registered.
        let registered = unsafe { sys::rte_thread_register() };
        if registered < 0 {
            return Err(StartError::ThreadRefused { message: dpdk_log::error_name(dpdk_log::errno()) });
        }
        REGISTERED.set(true);
        Ok(Self { core, eal: PhantomData, not_send: PhantomData })
    }

    /// Number of the core that this thread is pinned to.
    pub fn core(&self) -> usize {
        self.core
    }
}

impl Drop for Lcore<'_> {
    fn drop(&mut self) {
        // SAFETY: EAL runs, since `'eal` does not end before `self`; this thread is registered, since `Lcore` is made
        // by `register` alone and does not leave its thread.
        unsafe { sys::rte_thread_unregister() };
        REGISTERED.set(false);
    }
}

impl fmt::Debug for Lcore<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lcore").field("core", &self.core).finish_non_exhaustive()
    }
}
