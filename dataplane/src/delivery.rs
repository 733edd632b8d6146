//! How a packet travels from the appliance to its backend.

/// How a packet travels from the appliance to its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryMode {
    /// The destination MAC address is rewritten; the backend is on the same segment.
    L2,
    /// IP in IP, either family in either (RFC 2003, RFC 2473, RFC 4213).
    Ipip,
    /// Generic routing encapsulation without options (RFC 2784).
    Gre,
    /// Generic UDP encapsulation, variant 0.
    Gue {
        /// The UDP port that the backend decapsulates on.
        dst_port: u16,
    },
}
