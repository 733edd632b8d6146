//! Floods at full rate against a whole appliance in memory, and what each of them cost; `docs/failure-modes.md` has a row
//! for each, which its test compares.

#![allow(clippy::unwrap_used)] // A test that cannot set its scene fails there.

mod arp;
mod besieged;
mod datagrams;
mod document;
mod fragments;
mod gateway;
mod icmp;
mod lan;
mod link;
mod ndp;
mod options;
mod sources;
mod tcp;
mod toll;
