//! Moves packets: captures, bursts, drivers, workers, snapshot publishing.
//!
//! A [`worker`]'s life: its thread is pinned to a core, subscribes to the snapshots that the control thread
//! [publishes](publish), takes one queue pair of every port, and polls them ([`poll_loop`]) until it is told to stop.
//! Each poll takes the newest snapshot, has the data plane decide a burst, and ages a little of the conntrack table.
//! Ports are a [`driver`]'s: DPDK's behind the feature `dpdk`, or memory. In a replay the frames are [`mbuf`]s filled
//! from a [`capture`], and the poll loop is the replay's.

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
