//! Delivery modes of backends, in the words of the configuration.

/// Delivery mode of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Delivery at layer 2: the destination MAC address is rewritten.
    L2,
    /// IP in IP, either family in either (RFC 2003, RFC 2473, RFC 4213).
    Ipip,
    /// GRE without options (RFC 2784).
    Gre,
    /// GUE variant 0 (draft-ietf-intarea-gue-09).
    Gue {
        /// UDP port that the backend decapsulates on.
        dst_port: u16,
    },
}

impl Mode {
    /// GUE on the port that IANA assigned to it.
    pub const GUE: Self = Self::Gue { dst_port: 6080 };

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::Ipip => "ipip",
            Self::Gre => "gre",
            Self::Gue { .. } => "gue",
        }
    }
}
