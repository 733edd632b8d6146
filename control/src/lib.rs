//! Changes things: configuration, health, failover.

pub mod config;
