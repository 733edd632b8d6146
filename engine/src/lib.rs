//! Moves packets: captures, bursts, drivers, workers, snapshot publishing.
//!
//! A worker's life: its thread is pinned to a core, subscribes to the snapshots, takes one queue pair of every port, and
//! polls them ([`poll_loop`]) until it is told to stop. Ports are DPDK's, behind the feature `dpdk`, or memory.

pub mod capture;
pub mod clock;
pub mod counters;
pub mod driver;
pub mod host_path;
pub mod mbuf;
pub mod poll_loop;
pub mod publish;
pub mod worker;
