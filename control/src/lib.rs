//! The control side of Guideway: changes what workers do with packets, and touches none of their packets itself.
//!
//! A change comes by one of four ways. Each ends in a snapshot, which the workers read from their next burst on; a capture
//! is decided by workers of its own.
//!
//! ```text
//!  a file       config_file ─▶ model::config ─────┐
//!  a probe      health::probe ─▶ health::state ───┼─▶ run::supervisor ──┐
//!  an operator  cli ═▶ api::admin ─▶ api::request ┘                     ├─▶ model::forwarding_state ─▶ snapshot ─▶ workers
//!  a capture    cli ─▶ offline::timeline ─▶ offline::replay ────────────┘
//! ```
//!
//! `model` is the crate `guideway-model`: pure, without sockets or threads. Beside the ways stand [`announce`], which
//! tells routers while the appliance can serve; [`net`], the appliance as a host on its links; [`api::metrics`], which
//! shows all of it to Prometheus; and [`log`].

pub mod announce;
pub mod api;
pub mod config_file;
pub mod doctor;
mod drop_help;
pub mod health;
pub mod log;
pub mod net;
pub mod offline;
pub mod run;
mod words;
