//! Changes things: configuration, health, failover; and replays captures.

pub mod announce;
pub mod api;
pub mod config_file;
pub mod health;
pub mod log;
pub mod net;
pub mod offline;
pub mod run;
