//! Announcements: routers learn the way to a virtual IP address only while this appliance can serve it.
//!
//! ```text
//!  configuration, health, stalls ──▶ Plan ──▶ Announcer ──┬─▶ a task a hook ──▶ BIRD's control socket
//!                                                         └─▶ a task a hook ──▶ a program
//! ```
//!
//! A hook is told one thing at a time, and only what was wanted last: what was wanted in between nobody hears of.

mod plan;

pub use plan::{Plan, Reason, Situation, Stage, Wish};
