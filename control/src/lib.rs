//! Changes things: configuration, health, failover; and replays captures.

pub mod admin;
pub mod announce;
pub mod appliance;
pub mod compile;
pub mod config;
pub mod directory;
pub mod eligible;
pub mod events;
pub mod explain;
pub mod flow_text;
pub mod handles;
pub mod health;
pub mod host_stack;
mod http_server;
pub mod in_path;
pub mod ledger;
#[cfg(feature = "dpdk")]
pub mod live;
pub mod log;
pub mod metrics;
pub mod replay;
#[cfg(test)]
mod sample;
pub mod service;
pub mod supervisor;
pub mod ways;
