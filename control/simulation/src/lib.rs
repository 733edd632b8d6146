//! Simulation of whole appliances in virtual time: a seed decides all that happens, and replays it.
//!
//! ```text
//!  seed ─▶ Scenario ─▶ configuration, machines, faults
//!                         │
//!   clients ─▶ router ─▶ network ─▶ wire ─▶ workers ─▶ control thread        ┐ real: run, engine, model, net, health
//!      ▲                    │ ▲                │             │               ┘
//!      └──── replies ── backends ◀── frames ───┘             ├─▶ messenger ─▶ router's routes
//!                                                            └─▶ snapshots, requests ◀── operator
//!   after each step: invariants ─▶ Violation, with the story of the seed
//! ```
//!
//! A single thread does everything of a seed, in an order that the seed draws, and the clock of tokio and of the engine stands still
//! meanwhile. Two runs of a seed have the same digest.

pub mod appliance;
pub mod backend;
pub mod client;
pub mod dice;
pub mod fault;
pub mod frame;
pub mod invariant;
pub mod network;
pub mod operator;
pub mod report;
pub mod router;
pub mod scenario;
pub mod seeds;
pub mod sight;
pub mod site;
pub mod tunnel;
pub mod virtual_time;
pub mod world;

pub use report::{Outcome, Report};
pub use world::simulate;
