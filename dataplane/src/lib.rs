//! Decides what happens to a packet: no I/O, no clock, no lock, no thread.

pub mod affinity;
pub mod backend;
pub mod delivery;
pub mod frame;
pub mod maglev;
pub mod seed;
pub mod time;
