//! Changes things: configuration, health, failover.
