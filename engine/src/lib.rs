//! Moves packets: bursts between drivers and the data plane, snapshots to workers, frames to and from captures.
//!
//! The life of a worker: its thread is pinned to a core, subscribes to the snapshots that the control thread
//! [publishes](publish), takes its queues of every port, and polls them ([`poll_loop`]) until it is told to stop.
//! For every burst it takes the newest snapshot, lets the data plane decide, and ages a little of the conntrack table
//! ([`burst_processor`]). Ports belong to a [`driver`]: DPDK's behind the feature `dpdk`, or memory. In a replay the
//! frames are [`mbuf`]s filled from a [`capture`], and the poll loop is the replay's.

pub mod burst_processor;
pub mod capture;
pub mod clock;
pub mod counters;
pub mod driver;
pub mod host_path;
pub mod mbuf;
pub mod poll_loop;
pub mod publish;
pub mod tap;
