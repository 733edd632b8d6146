//! The appliance as operators and Prometheus reach it: HTTP on a Unix socket, and a page of metrics.

pub mod admin;
mod http_server;
pub mod metrics;
