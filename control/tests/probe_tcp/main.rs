//! The TCP of probes: connections to a VIP at one backend, their packets, and the memory that they hold.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

mod datagrams;
mod delivery;
mod exchange;
mod far_end;
mod kernel;
mod lab;
mod many;
mod streams;
