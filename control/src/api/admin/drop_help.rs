//! Lost packets in sentences: for every reason what happened, and what to do.
//!
//! These texts stand here alone: `guideway drops` shows them.

use guideway_dataplane::verdict::DropReason;

use crate::api::view::{CountedBy, DropRow, Drops, Stats};

/// Meaning of a reason, and the remedy.
type Sentences = (&'static str, &'static str);

impl Drops {
    /// Lists every reason with its count, zeros too.
    pub fn new(stats: &Stats) -> Self {
        let row = |counted_by, reason: &str, packets, (meaning, help): Sentences| DropRow {
            counted_by,
            reason: reason.to_owned(),
            packets,
            meaning: meaning.to_owned(),
            help: help.to_owned(),
        };
        let sum = |count: fn(&crate::api::view::PortStats) -> u64| stats.ports.iter().map(count).sum();
        let device = [
            ("missed", sum(|port| port.missed), MISSED),
            ("no_mbuf", sum(|port| port.no_mbuf), NO_MBUF),
            ("rx_errors", sum(|port| port.rx_errors), RX_ERRORS),
            ("tx_errors", sum(|port| port.tx_errors), TX_ERRORS),
        ];
        let link = &stats.total.link;
        let worker = [
            ("refused", link.refused, REFUSED),
            ("tx_full", link.tx_full, TX_FULL),
            ("unknown_egress_port", link.unknown_egress_port, UNKNOWN_EGRESS_PORT),
            ("host_full", link.host_full, HOST_FULL),
            ("no_fragment_memory", link.no_fragment_memory, NO_FRAGMENT_MEMORY),
        ];
        let device = device.map(|(reason, packets, text)| row(CountedBy::Device, reason, packets, text));
        let worker = worker.map(|(reason, packets, text)| row(CountedBy::Worker, reason, packets, text));
        let verdicts = DropReason::ALL.iter().map(|reason| {
            let packets = stats.total.dropped.get(reason.as_str()).copied().unwrap_or(0);
            row(CountedBy::DataPlane, reason.as_str(), packets, dropped(*reason))
        });
        Self { drops: device.into_iter().chain(worker).chain(verdicts).collect() }
    }
}

const MISSED: Sentences = (
    "The device had no free receive descriptor: the workers take packets more slowly than they come.",
    "Give the appliance more workers or more `rx_descriptors`; see `busy` in `guideway status`.",
);
const NO_MBUF: Sentences =
    ("The driver had no buffer for the packet.", "Raise `mbufs` in `[engine]`, and the memory with it.");
const RX_ERRORS: Sentences = (
    "The device received a damaged frame, or one that is too long for it.",
    "Look at cable, transceiver and switch port, and compare the port's `mtu` with that of its neighbours.",
);
const TX_ERRORS: Sentences = (
    "The device could not send a frame that it had taken.",
    "Compare the port's `mtu` with what its link carries; see the device's own log.",
);
const REFUSED: Sentences = (
    "A frame filled more than one buffer, or the worker that it belongs to had no room for it.",
    "Turn off receive offloads that merge packets, lower the MTU of the senders, or add workers.",
);
const TX_FULL: Sentences = (
    "A port's transmit queue stayed full: more is to be sent than the link carries.",
    "Use a faster link, or raise the port's `tx_descriptors` if the load comes in short bursts.",
);
const UNKNOWN_EGRESS_PORT: Sentences = (
    "The forwarding state names a port that the workers have not opened: a fault of the appliance itself.",
    "Restart the appliance, which opens every configured port, and report the fault with the configuration.",
);
const HOST_FULL: Sentences = (
    "Too many packets that are not ours waited for the host stack: ARP and echo requests may be among them.",
    "See `passed` in `guideway stats` for what they are, and keep such traffic away from the port.",
);
const NO_FRAGMENT_MEMORY: Sentences = (
    "There was no buffer for the fragments of a tunnel packet, or the packet would have made too many.",
    "Raise `mbufs` in `[engine]`, or carry longer packets: raise the MTU of the path and `mtu` with it.",
);

/// Meaning and remedy of a drop reason.
const fn dropped(reason: DropReason) -> Sentences {
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
        DropReason::NoNetwork => (
            "The frame's VLAN, or its want of a tag, is that of no network on the port that it came by.",
            "Take the VLANs that are no network's off the switch port, or add a `[[network]]` for the VLAN.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::view::{LinkStats, PacketStats, PortStats};

    #[test]
    fn every_reason_has_its_counter_and_says_what_to_do() {
        let total = PacketStats {
            dropped: [("ttl_expired".to_owned(), 3)].into(),
            link: LinkStats {
                sent: 9,
                tx_full: 4,
                unknown_egress_port: 7,
                host_full: 5,
                refused: 6,
                joined: 0,
                fragments: 9,
                no_fragment_memory: 2,
            },
            ..PacketStats::default()
        };
        let port = |name: &str, missed| PortStats { name: name.into(), missed, ..PortStats::default() };
        let stats = Stats { total, ports: vec![port("lan", 1), port("wan", 10)], ..Stats::default() };
        let rows = Drops::new(&stats).drops;
        assert_eq!(rows.len(), 4 + 5 + DropReason::ALL.len());
        let counted: Vec<_> = rows.iter().filter(|row| row.packets > 0).collect();
        let counted: Vec<_> = counted.iter().map(|row| (row.reason.as_str(), row.packets)).collect();
        assert_eq!(
            counted,
            [
                ("missed", 11),
                ("refused", 6),
                ("tx_full", 4),
                ("unknown_egress_port", 7),
                ("host_full", 5),
                ("no_fragment_memory", 2),
                ("ttl_expired", 3)
            ]
        );
        for row in rows {
            assert!(row.meaning.ends_with('.') && row.help.ends_with('.'), "{}", row.reason);
        }
    }
}
