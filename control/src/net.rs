//! The appliance as a host on its networks: neighbours and echo, the TCP of probes, answers of DNS. All are pure.

pub mod dns_answer;
pub mod host_stack;
pub mod probe_tcp;
mod schedule;
