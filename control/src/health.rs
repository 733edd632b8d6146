//! Health checks: asks the backends whether they can serve.
//!
//! A probe is one question to one backend on one connection; [`probe`] knows what is said there. It knows
//! neither how the connection came to be nor when the next one is due: the same probes run over the kernel's
//! sockets and over a TCP stack in user space.

pub mod probe;
