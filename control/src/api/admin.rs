//! The appliance as an operator meets it while it runs: questions and commands over HTTP on a Unix socket.
//!
//! The server holds no state and decides nothing: it turns a route into a [`Request`](super::request::Request),
//! waits for the reply, and writes the [`view`](super::view) that comes back. Who answers requests is not its
//! concern.

mod capture_body;
pub mod client;
mod drop_help;
mod extract;
mod failure;
mod guard;
mod peer;
mod routes;
pub mod server;
mod socket;
mod tap_routes;

pub use peer::AccessRules;
pub use routes::{DEFAULT_DRAIN_SEC, DEFAULT_ENTRIES, MAX_DRAIN_SEC, MAX_ENTRIES, routes};
pub use socket::ListenError;
pub use tap_routes::{DEFAULT_TRACED, MAX_CAPTURE_SEC};
