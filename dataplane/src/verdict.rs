//! Verdicts: what becomes of a packet, and why, in stable words.

/// End of a packet. Every packet has exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Sent to a backend.
    Forward,
    /// Passed to the host path: the packet isn't ours.
    Pass(PassReason),
    /// Dropped.
    Drop(DropReason),
}

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every reason, in the order of its counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Stable word that captures, metrics and tools show.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

reasons! {
    /// Reason that a packet isn't ours.
    PassReason {
        /// Neither IPv4 nor IPv6.
        NotIp = "not_ip",
        /// No forwarding rule and no route holds its destination.
        NoForwardingRule = "no_forwarding_rule",
        /// IPv6 neighbour discovery addressed to a VIP.
        NeighborDiscovery = "neighbor_discovery",
        /// Only rules without `allow_global_access` hold the destination, and the client is outside of `region_ranges`.
        OutsideRegion = "outside_region",
    }
}

reasons! {
    /// Reason that a packet is dropped. A variant per cause, a counter per variant.
    DropReason {
        /// The frame ends inside its Ethernet header or VLAN tags.
        MalformedEthernet = "malformed_ethernet",
        /// The frame is shorter than the IP packet whose length its header states.
        Truncated = "truncated",
        /// Version, header length, total length or fragment of an IPv4 packet contradict each other, or the frame ends
        /// in the header.
        MalformedIpv4 = "malformed_ipv4",
        /// Version, payload length or extension headers of an IPv6 packet contradict each other, or the frame ends in
        /// the header.
        MalformedIpv6 = "malformed_ipv6",
        /// A TCP header that is cut short, or whose data offset is impossible.
        MalformedTcp = "malformed_tcp",
        /// A UDP header that is cut short, or whose length is impossible.
        MalformedUdp = "malformed_udp",
        /// An ICMP or ICMPv6 header that is cut short.
        MalformedIcmp = "malformed_icmp",
        /// No packet may come from the source address.
        MartianSource = "martian_source",
        /// The source is an address of the appliance itself, in the network that the packet came by.
        OwnSource = "own_source",
        /// The access list of the packet's forwarding rule denies its source.
        AccessDenied = "access_denied",
        /// The source has begun as many connections at this worker in this second as it may.
        SourceRateLimited = "source_rate_limited",
        /// A packet for a forwarding rule came in a broadcast or multicast frame.
        LinkLayerGroup = "link_layer_group",
        /// The TTL or hop limit ends here.
        TtlExpired = "ttl_expired",
        /// No backend may get the packet.
        NoEligibleBackend = "no_eligible_backend",
        /// Nobody has answered for the backend's address, or for the router's on the way to it.
        NextHopUnresolved = "next_hop_unresolved",
        /// The packet doesn't fit the path to its backend and must not be fragmented.
        PacketTooBig = "packet_too_big",
        /// The packet doesn't fit its tunnel, and its sender can neither be told nor be left to the tunnel's fragments.
        ExceedsTunnelMtu = "exceeds_tunnel_mtu",
        /// The frame's memory has no room before it for an outer header.
        NoHeadroom = "no_headroom",
        /// The frame's VLAN, or its want of a tag, is that of no network on the port that it came by.
        NoNetwork = "no_network",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_snake_case_and_name_one_reason_each() {
        let mut words: Vec<_> = PassReason::ALL.iter().map(|reason| reason.as_str()).collect();
        words.extend(DropReason::ALL.iter().map(|reason| reason.as_str()));
        assert!(
            words
                .iter()
                .all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit()))
        );
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count);
    }

    #[test]
    fn counters_find_reasons_by_their_index() {
        assert!(DropReason::ALL.iter().enumerate().all(|(index, reason)| *reason as usize == index));
        assert!(PassReason::ALL.iter().enumerate().all(|(index, reason)| *reason as usize == index));
    }
}
