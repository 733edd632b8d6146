//! Decides what happens to a packet: no I/O, no clock, no lock, no thread.

pub mod address;
pub mod affinity;
pub mod backend;
pub mod conntrack;
pub mod counters;
pub mod delivery;
pub mod flow;
pub mod forwarding_rule;
pub mod frame;
pub mod icmp_error;
pub mod maglev;
pub mod packet;
pub mod pipeline;
mod prefetch;
mod primitive;
pub mod seed;
pub mod snapshot;
pub mod time;
pub mod verdict;
pub mod wire;
