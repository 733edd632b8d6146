//! The forwarding state as values: a configuration and what has happened since become the snapshot that workers forward by.
//!
//! ```text
//!  text ─▶ config ─▶ ┌──────────── forwarding_state ────────────┐
//!                    │ config ─▶ service ── eligible            │ ─▶ names, traffic_totals
//!  health, weights,  │    │         │                           │ ─▶ lookup_table_view
//!  drains, time ───▶ │    └────▶ compiler ◀── egress_lookup     │ ─▶ snapshot ─▶ workers
//!                    └──────────────────────────────────────────┘
//! ```
//!
//! Pure: no thread, no socket, no clock and no file. Everything that happens is an argument, with its time.

pub mod backend_handles;
mod choices;
mod compiler;
pub mod config;
pub mod config_diff;
pub mod decision_line;
pub mod egress_lookup;
pub mod eligible;
pub mod explain;
pub mod flow_text;
pub mod forwarding_state;
pub mod lookup_table_view;
pub mod names;
mod network_numbers;
pub mod path_mtu;
pub mod plan;
mod port_succession;
pub mod recent_traffic;
pub mod removals;
#[cfg(any(test, feature = "test-support"))]
pub mod sample;
pub mod service;
pub mod trace;
pub mod traffic_totals;
pub mod warnings;
