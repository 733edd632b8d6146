//! The live appliance between real programs, such as curl, nginx and BIRD, in network namespaces that each test makes;
//! and the live appliance alone on DPDK's virtual devices, where a test needs no network.
//!
//! As root, with Debian's bird2, chromium, chromium-driver, curl, ethtool, iproute2, iputils-arping, iputils-ping, nftables, nginx-light, openssl,
//! python3-grpcio, systemd and wrk:
//!
//!     cargo test -p guideway --features fault-injection --test live -- --test-threads=2
//!
//! Two at a time on two cores: tests have network namespaces of their own, and wait for most of their time. A module's
//! name, such as `bgp::`, chooses the module's tests. `GUIDEWAY_LAB_SLOWNESS=6` multiplies all limits of time, for an emulated machine.

mod lab;

mod access;
mod admission;
mod backends;
mod bgp;
mod changes;
mod chaos;
mod clock;
mod confinement;
mod descriptors;
mod devices;
mod disks;
mod doctor;
mod documents;
mod failover;
mod failures;
mod faults;
mod floods;
mod health;
mod hooks;
mod interfaces;
mod kills;
mod links;
mod neighbours;
mod prefixes;
mod replay;
mod rivals;
mod start;
mod status_page;
mod taken_out;
mod taps;
mod traffic;
mod tutorial;
mod two_arms;
mod vlans;
mod weights;
mod without_appliance;
