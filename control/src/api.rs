//! The appliance as operators and Prometheus reach it: HTTP on a Unix socket, and a page of metrics.
//!
//! ```text
//!  guideway status ─── admin::client ═══ Unix socket ═══ admin::server ──┐
//!  curl ───────────────────────────────────┘                             ├─▶ RequestSender ─▶ supervisor,
//!  Prometheus ═══════════════════════════════════ metrics::Exporter ─────┘   Request, bounded   which owns
//!                                                                            ◀── a reply each ── all state
//! ```
//!
//! Imports point one way: `admin` and `metrics` → `request_sender` → `request` → `packet_filter`, `view`. Neither `admin` nor
//! `metrics` knows of the other.

pub mod admin;
mod http_server;
pub mod metrics;
pub mod packet_filter;
pub mod request;
mod request_sender;
pub mod view;
