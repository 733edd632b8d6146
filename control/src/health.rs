//! Health checks: asks the backends whether they can serve.
//!
//! ```text
//!  Config ──▶ Monitor ──▶ Scheduler ──▶ a task for each check ──▶ ProbeJob ──▶ probe
//!                │                          │         ▲                          │
//!                │      ┌── ProbeReport ◀───┘         └─────── ProbeResult ◀─────┘
//!                ▼      ▼
//!              HealthState: thresholds, weights ──▶ HealthChange, for the services
//! ```
//!
//! A probe is one question to one backend on one connection; [`probe`] knows what is said there. It knows neither
//! how the connection came to be nor when the next one is due: the same probes run over the kernel's sockets and
//! over a TCP stack in user space.

pub mod by_hand;
pub mod change;
pub mod demand;
pub mod descriptors;
pub mod lag;
pub mod monitor;
pub mod probe;
mod probe_job;
pub mod scheduler;
pub mod state;
mod threshold;
pub mod weights;
