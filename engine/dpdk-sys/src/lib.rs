//! Bindings to DPDK: the functions and structures that Guideway's driver calls, those of `rte_hash` that its
//! benchmark calls, and nothing else.
//!
//! The names are DPDK's; `guideway_…` are the functions of `shim.c`, for what DPDK's headers define inline. What is
//! safe to call when is for the driver to prove.

#![no_std]
#![allow(missing_docs, non_camel_case_types, non_snake_case, non_upper_case_globals)]
#![allow(unsafe_op_in_unsafe_fn, unnecessary_transmutes, clippy::all)]

mod mbuf;

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
