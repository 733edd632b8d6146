//! Dropped packets in sentences: for every reason of the data plane what happened, and what to do.
//!
//! These texts stand here alone: `guideway drops` shows them, and so does the report of a replay.

use guideway_dataplane::verdict::DropReason;

/// Meaning of a reason, and the remedy.
pub(crate) type Sentences = (&'static str, &'static str);

/// Meaning and remedy of a drop reason.
pub(crate) const fn dropped(reason: DropReason) -> Sentences {
    match reason {
        DropReason::MalformedEthernet => (
            "The frame ends inside its Ethernet header or its VLAN tags.",
            "Capture some with `guideway capture`, and look for the sender or the link that cuts frames \
             short.",
        ),
        DropReason::Truncated => (
            "The frame is shorter than the IP packet whose length its header states: a device cuts frames that \
             are too long for it, or the sender lies.",
            "Turn off receive offloads that merge packets (`ethtool -K INTERFACE gro off lro off`), keep the \
             link's MTU at the port's `mtu`, and take fragments by another device than net_af_packet, which \
             reassembles them; if it is none of these, capture some to find the sender.",
        ),
        DropReason::MalformedIpv4 => (
            "Version, header length, total length or fragment of an IPv4 packet contradict each other, or the \
             frame ends in the header.",
            "Nothing to do for single packets; capture them to find the sender if there are many.",
        ),
        DropReason::MalformedIpv6 => (
            "The lengths or the extension headers of an IPv6 packet contradict each other, or the frame ends \
             in the header.",
            "Nothing to do for single packets; capture them to find the sender if there are many.",
        ),
        DropReason::MalformedTcp => (
            "A TCP header is cut short, or its data offset is impossible.",
            "Nothing to do for single packets, which scanners send; capture them if there are many.",
        ),
        DropReason::MalformedUdp => (
            "A UDP header is cut short, or its length is impossible.",
            "Nothing to do for single packets, which scanners send; capture them if there are many.",
        ),
        DropReason::MalformedIcmp => (
            "An ICMP or ICMPv6 header is cut short.",
            "Nothing to do for single packets, which scanners send; capture them if there are many.",
        ),
        DropReason::MartianSource => (
            "The source is an address that no packet may come from: this network, loopback, link-local, \
             multicast, or IPv4 mapped into IPv6.",
            "Filter forged sources where they enter your network (BCP 38); if the sender is your own, mend \
             its address.",
        ),
        DropReason::OwnSource => (
            "The source is an address of the appliance itself: forged, brought by a loop, or a health check that a \
             backend has sent back.",
            "See that each backend has the VIP itself, on `lo`: one without it, and with `ip_forward`, sends health checks \
             back. Then look for another host with the address, and for loops. Ask the VIP from another address.",
        ),
        DropReason::LinkLayerGroup => (
            "A packet for a forwarding rule came in a broadcast or multicast frame.",
            "Look for a neighbour with a wrong MAC address for the VIP, or a switch or cluster that sends to \
             a group.",
        ),
        DropReason::TtlExpired => (
            "The TTL or hop limit ended here: traceroute, or a loop.",
            "If it isn't traceroute, look for a backend or router that sends the VIP's packets back here.",
        ),
        DropReason::NoEligibleBackend => (
            "No backend of the service may have new connections.",
            "See `guideway backend list`: mend what makes backends unhealthy, undrain some, or add some. \
             With `drop_traffic_if_unhealthy` this is what you asked for.",
        ),
        DropReason::NextHopUnresolved => (
            "Nobody answers ARP or neighbour discovery for the backend, or for the router on the way to it.",
            "See `guideway backend list` for who; check that it is up, and addresses, VLAN tags and \
             `gateways` of the port.",
        ),
        DropReason::PacketTooBig => (
            "The packet does not fit the path to its backend and must not be fragmented; its sender is told.",
            "Raise `mtu` where the path carries more, or lower the MSS or MTU of clients; see that ICMP \
             reaches them.",
        ),
        DropReason::ExceedsTunnelMtu => (
            "The tunnel's headers make the packet too long for the path, and its sender lets routers fragment it, or \
             sends IPv6 packets of 1,280 bytes, which may be no shorter.",
            "Raise the MTU of the path and `mtu` with it, let `fragment_tunnels` send IPv4 in fragments, or lower the \
             MTU of the senders.",
        ),
        DropReason::NoHeadroom => (
            "The frame's buffer has no room before the packet for an outer header.",
            "Deliver by `l2`, or use a device whose driver leaves the headroom of 128 bytes.",
        ),
        DropReason::AccessDenied => (
            "The access list of the packet's forwarding rule denies its source.",
            "`guideway explain` shows the prefix; take it off `[[access_list]]` if the client is to be served.",
        ),
        DropReason::SourceRateLimited => (
            "The source began as many connections at its worker in the second as `new_connections_per_source_per_sec` has room for.",
            "Nothing to do for a flood. Raise the limit, or lengthen the prefixes that are one source, if many clients share \
             an address.",
        ),
        DropReason::NoNetwork => (
            "The frame's VLAN, or its want of a tag, is that of no network on the port that it came by.",
            "Take the VLANs that are no network's off the switch port, or add a `[[network]]` for the VLAN.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_says_what_happened_and_what_to_do() {
        for (meaning, remedy) in DropReason::ALL.iter().map(|reason| dropped(*reason)) {
            assert!(meaning.ends_with('.') && remedy.ends_with('.'), "{meaning} {remedy}");
        }
    }
}
