//! Connections to a VIP at one backend: what is sent, what is heard, and what is held.

mod delivery;
mod exchange;
mod far_end;
mod kernel;
mod lab;
mod many;
mod streams;
