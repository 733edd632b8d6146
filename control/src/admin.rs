//! The appliance as an operator meets it while it runs: questions and commands over HTTP on a Unix socket.
//!
//! ```text
//!  guideway status ─── Client ═══ Unix socket ═══ Server ──┐ Request, bounded
//!  curl ────────────────────────────┘                      ├──▶ supervisor, which owns all state
//!  Prometheus ════════════════════ metrics::Exporter ──────┘ ◀── each with its own reply
//! ```
//!
//! The server holds no state and decides nothing: it turns a route into a [`Request`], waits for the reply, and writes
//! the [`view`] that comes back. Who answers requests is not its concern.

pub mod request;
pub mod view;

pub use request::{CaptureReason, Refused, Reply, Request, UnknownReason};
