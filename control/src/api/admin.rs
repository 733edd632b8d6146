//! The appliance as an operator meets it while it runs: questions and commands over HTTP on a Unix socket.
//!
//! ```text
//!  guideway status ─── Client ═══ Unix socket ═══ Server ──┐ Request, bounded
//!  curl ────────────────────────────┘                      ├──▶ supervisor, which owns all state
//!  Prometheus ════════════════════ metrics::Exporter ──────┘ ◀── each with its own reply
//! ```
//!
//! The server holds no state and decides nothing: it turns a route into a [`Request`], waits for the reply,
//! and writes the [`view`] that comes back. Who answers requests is not its concern.

mod capture_body;
pub mod client;
mod drop_help;
mod extract;
mod failure;
mod pcapng_splitter;
mod request;
pub mod server;
mod socket;
pub mod view;

pub use request::{CaptureReason, CaptureReasons, Refused, Reply, Request, UnknownReason};
pub use socket::ListenError;
