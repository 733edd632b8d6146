//! The appliance as operators and Prometheus reach it: HTTP on a Unix socket, and pages of metrics and of the status.
//!
//! ```text
//!  guideway status ─── admin::client ═══ Unix socket ═══ admin::server ──┐
//!  curl ───────────────────────────────────┘                             ├─▶ RequestSender ─▶ supervisor,
//!  Prometheus ═══════════════════════════════════ metrics::Exporter ─────┘   Request, bounded   which owns
//!                                                                            ◀── a reply each ── all state
//! ```
//!
//! Imports point one way: `admin` and `metrics` → `request_sender` → `request` → `packet_filter`, `view`. Neither `admin` nor
//! `metrics` knows of the other. `overview` puts views into tables, in the words of `amount` and `visible`.

pub mod admin;
pub mod amount;
mod http_server;
pub mod metrics;
pub mod overview;
pub mod packet_filter;
pub mod request;
mod request_sender;
mod status_page;
pub mod view;
pub mod visible;
