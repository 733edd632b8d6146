//! The appliance that runs: its state, the control thread that owns it, and the process on DPDK around both.

pub mod appliance;
#[cfg(feature = "dpdk")]
pub mod live;
pub mod supervisor;
