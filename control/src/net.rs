//! The appliance as a host on its networks: neighbours, echo, and the TCP that probes go by; both pure.

pub mod host_stack;
pub mod probe_tcp;
