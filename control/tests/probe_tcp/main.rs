//! Connections to a VIP at one backend: what is sent, what is heard, and what is held.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

mod delivery;
mod exchange;
mod far_end;
mod kernel;
mod lab;
mod many;
mod streams;
