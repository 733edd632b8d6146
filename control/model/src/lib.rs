//! The forwarding state as values: a configuration and what has happened since become the snapshot that workers forward by.
//!
//! ```text
//!  text ─▶ config ─▶ service ◀── health, weights, drains, time
//!             │         │ eligible
//!             ▼         ▼
//!          names     compiler ◀── egress_lookup
//!             │         ▼
//!  traffic_totals    snapshot ─▶ workers
//! ```
//!
//! Pure: no thread, no socket, no clock and no file. Everything that happens is an argument, with its time.

pub mod backend_handles;
pub mod compiler;
pub mod config;
pub mod config_diff;
pub mod decision_line;
pub mod egress_lookup;
pub mod eligible;
pub mod flow_text;
pub mod names;
#[cfg(any(test, feature = "test-support"))]
pub mod sample;
pub mod service;
pub mod traffic_totals;
