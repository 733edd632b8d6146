//! The appliance as a host on its networks: neighbours and echo, and the TCP of probes. Both are pure.

pub mod host_stack;
pub mod probe_tcp;
mod schedule;
