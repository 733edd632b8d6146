//! The appliance that runs: its state, the control thread that owns it, the workers' ends, and the process on DPDK around all.
//!
//! ```text
//!  live ──▶ assemble ──▶ supervisor ──▶ appliance
//!  bench, tests ──▶ ┘         └──▶ worker, ports, warnings ──▶ machine
//! ```

pub mod appliance;
pub mod aside;
pub mod assemble;
pub mod confinement;
mod kept_state;
pub mod last_resort;
#[cfg(feature = "dpdk")]
pub mod live;
pub mod machine;
pub mod operator_state;
pub mod ports;
pub mod process;
#[cfg_attr(not(feature = "dpdk"), allow(dead_code))]
mod service_manager;
mod state_file;
mod supervisor;
mod table_memory;
pub mod warnings;
pub mod worker;
