//! Poll loop over DPDK's queues, compiled in this crate: without the checks for overflow that crates around it have.

use std::sync::atomic::AtomicBool;

use super::PollLoop;
use crate::driver::dpdk::LiveQueues;
use crate::driver::steering::WorkerQueues;

impl PollLoop<WorkerQueues<LiveQueues<'_, '_>>> {
    /// Polls until `stop` is set, as [`Self::run`] does.
    ///
    /// Code that is generic is compiled where its types are known. This is such a place: called from here, the packet path has
    /// the settings of this crate, whatever those of the caller are.
    #[inline(never)]
    pub fn run_on_dpdk(&mut self, stop: &AtomicBool) {
        self.run(stop);
    }
}
