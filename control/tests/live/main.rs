//! The live appliance with what users run, curl, wrk, ping, nginx and BIRD, in network namespaces that each test makes;
//! and the live appliance alone, on DPDK's virtual devices, where a network would prove nothing more.
//!
//! As root, with Debian's bird2, curl, ethtool, iproute2, iputils-ping, nginx-light, openssl, python3-grpcio and wrk:
//!
//!     cargo test -p guideway --features fault-injection --test live -- --test-threads=1
//!
//! Tests share nothing, but each appliance's worker polls a core without a pause. A name chooses some of them, such as
//! `bgp::` or `replay::`.

mod lab;

mod bgp;
mod changes;
mod failover;
mod failures;
mod faults;
mod health;
mod replay;
mod start;
mod traffic;
mod weights;
mod without_appliance;
