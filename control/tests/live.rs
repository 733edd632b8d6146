//! The live appliance with what users run, curl, wrk, ping and nginx, in namespaces that each test makes.
//!
//! As root, with Debian's curl, ethtool, iproute2, iputils-ping, nginx-light, openssl,
//! python3-grpcio and wrk:
//!
//!     cargo test -p guideway --features dpdk --test live -- --test-threads=1
//!
//! Tests share nothing, but each appliance's worker polls a core without a pause.

#[path = "live/address.rs"]
mod address;
#[path = "live/appliance.rs"]
mod appliance;
#[path = "live/backend.rs"]
mod backend;
#[path = "live/client.rs"]
mod client;
#[path = "live/conversation.rs"]
mod conversation;
#[path = "live/decapsulation.rs"]
mod decapsulation;
#[path = "live/grpc_server.rs"]
mod grpc_server;
#[path = "live/lab.rs"]
mod lab;
#[path = "live/load.rs"]
mod load;
#[path = "live/namespace.rs"]
mod namespace;
#[path = "live/patience.rs"]
mod patience;
#[path = "live/process.rs"]
mod process;
#[path = "live/server.rs"]
mod server;
#[path = "live/setup.rs"]
mod setup;
#[path = "live/web_server.rs"]
mod web_server;

// The claims.
#[path = "live/changes.rs"]
mod changes;
#[path = "live/failover.rs"]
mod failover;
#[path = "live/failures.rs"]
mod failures;
#[path = "live/health.rs"]
mod health;
#[path = "live/traffic.rs"]
mod traffic;
#[path = "live/weights.rs"]
mod weights;
#[path = "live/without_appliance.rs"]
mod without_appliance;
