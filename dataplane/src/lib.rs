//! Decides what happens to a packet: no I/O, no clock, no lock, no thread.
//!
//! The life of a packet, in the order of [`pipeline`]:
//!
//! 1. A [`frame`] comes in a burst; its port and VLAN say which [`network`] it is of ([`ingress`]). One parse makes it a
//!    [`packet`]: a [`flow`], and what else the later steps need. Header views are in [`wire`]. A frame without a well-formed
//!    IP packet ends here.
//! 2. The network's [`forwarding_rule`]s say which service it belongs to; without a rule it is passed to the host. An ICMP error
//!    goes by the packet that it quotes ([`icmp_error`]).
//!    The rule may have an [`access_list`] of the sources that it admits.
//! 3. The service's [`affinity`] says which parts of the flow name its connection and which choose its backend.
//! 4. [`conntrack`] knows the connection's [`backend`], or its selection hash, keyed by the fleet's [`seed`], falls on a
//!    slot of the lookup table ([`maglev`]).
//!    [`admission`] may say that none is made, or that a source has begun too many connections ([`source_meter`]).
//!    A later fragment goes where the first of its datagram went ([`first_fragments`]).
//! 5. [`delivery`] turns the frame into the one that the backend gets, and [`egress`] says by which port it leaves.
//! 6. A [`verdict`] says what became of it; [`counters`] count each packet once, [`traffic_counters`] those of each rule
//!    and backend, and the connections that begin.
//!
//! All that a packet is decided by is in one immutable [`snapshot`], the conntrack table, and the [`time`] of its burst.

pub mod access_list;
pub mod address;
pub mod admission;
pub mod affinity;
pub mod backend;
pub mod conntrack;
pub mod counters;
pub mod delivery;
pub mod egress;
pub mod first_fragments;
pub mod flow;
pub mod forwarding_rule;
pub mod frame;
pub mod icmp_error;
pub mod ingress;
pub mod maglev;
pub mod network;
pub mod packet;
pub mod pipeline;
mod prefetch;
mod primitive;
pub mod seed;
pub mod snapshot;
pub mod source_meter;
pub mod subsets;
pub mod time;
pub mod traffic_counters;
pub mod verdict;
pub mod wire;
mod worker_cells;
