//! The frames that the appliance sends on its own behalf, and the bounded queue in which they wait.

use std::collections::VecDeque;

use guideway_dataplane::address::Address;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::wire::ethernet::{HEADER_LEN, MacAddress};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetProtocol, Icmpv4Packet, Icmpv4Repr,
    Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, Ipv6Address, Ipv6Packet,
    Ipv6Repr, MldAddressRecordRepr, MldRecordType, MldRepr, NdiscNeighborFlags, NdiscRepr,
};

use super::link::Link;
use super::received::{Asked, Echo, solicited_node};

/// The most bytes that wait to be sent.
pub const MAX_QUEUED_BYTES: usize = 256 * 1_024;

/// The shortest frame, without its check sequence; not every driver pads what is shorter.
const MIN_FRAME_LEN: usize = 60;

const TAG_LEN: usize = 4;
const BROADCAST: MacAddress = MacAddress([0xff; 6]);
pub(super) const ALL_NODES: Address = Address::v6([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const ALL_MLDV2_ROUTERS: Address = Address::v6([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x16]);

/// The groups of one report: 20 bytes each, and 56 for its headers, in the smallest MTU of IPv6.
pub(super) const MAX_GROUPS: usize = (1_280 - 56) / 20;

/// The header before a report: ICMPv6 comes next; router alert (RFC 2711), and padding.
const HOP_BY_HOP: [u8; 8] = [58, 0, 5, 2, 0, 0, 1, 0];

/// The hop limit of all neighbour discovery (RFC 4861, section 4.3).
const DISCOVERY_HOP_LIMIT: u8 = 255;
const HOP_LIMIT: u8 = 64;

/// A frame to be sent, without its check sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The port to send it by.
    pub port: PortId,
    /// The bytes of the frame, at least 60.
    pub bytes: Vec<u8>,
}

impl Outgoing {
    /// The answer that `asked.target` is at the link's MAC address.
    pub(super) fn answer(link: &Link, asked: &Asked) -> Self {
        let Asked { target, asker, asker_mac } = *asked;
        if target.is_ipv4() {
            return Self::arp(link, asker_mac, ArpOperation::Reply, target, (asker_mac, asker));
        }
        // RFC 4861, section 7.2.4: a host that has no address yet is answered before everybody.
        if asker.0 == 0 {
            return Self::advertisement(link, multicast_mac(ALL_NODES), target, ALL_NODES, false);
        }
        Self::advertisement(link, asker_mac, target, asker, true)
    }

    /// The announcement to everybody that `address` is at the link's MAC address: an ARP announcement (RFC 5227,
    /// section 1.1), or an unsolicited neighbour advertisement (RFC 4861, section 7.2.6).
    pub(super) fn announcement(link: &Link, address: Address) -> Self {
        if address.is_ipv4() {
            Self::arp(link, BROADCAST, ArpOperation::Request, address, (MacAddress::default(), address))
        } else {
            Self::advertisement(link, multicast_mac(ALL_NODES), address, ALL_NODES, false)
        }
    }

    /// A report to the link's routers and switches that the appliance has begun to listen to groups, or listens to them
    /// still (RFC 3810). A switch that looks into these reports keeps solicitations from hosts that send none.
    ///
    /// Groups beyond [`MAX_GROUPS`] have no room in one report.
    pub(super) fn group_report(link: &Link, is_new: bool, groups: &[Address]) -> Self {
        let change = if is_new { MldRecordType::ChangeToExclude } else { MldRecordType::ModeIsExclude };
        let groups = groups.iter().take(MAX_GROUPS);
        let records: Vec<_> = groups.map(|group| MldAddressRecordRepr::new(change, v6(*group))).collect();
        let message = Icmpv6Repr::Mld(MldRepr::ReportRecordReprs(&records));
        let records_len: usize = records.iter().map(MldAddressRecordRepr::buffer_len).sum();
        // RFC 3810, section 5.2.13: from a link-local address, or where there is none from no address.
        let own = link.addresses.iter().map(|own| v6(own.address)).find(Ipv6Address::is_unicast_link_local);
        let header = Ipv6Repr {
            src_addr: own.unwrap_or(Ipv6Address::UNSPECIFIED),
            dst_addr: v6(ALL_MLDV2_ROUTERS),
            next_header: IpProtocol::HopByHop,
            payload_len: HOP_BY_HOP.len() + message.buffer_len() + records_len,
            hop_limit: 1,
        };
        let len = header.buffer_len() + header.payload_len;
        Self::frame(link, multicast_mac(ALL_MLDV2_ROUTERS), EthernetProtocol::Ipv6, len, |bytes| {
            let (ip, rest) = bytes.split_at_mut(header.buffer_len());
            let (options, icmp) = rest.split_at_mut(HOP_BY_HOP.len());
            header.emit(&mut Ipv6Packet::new_unchecked(ip));
            options.copy_from_slice(&HOP_BY_HOP);
            let checksums = ChecksumCapabilities::default();
            let icmp = &mut Icmpv6Packet::new_unchecked(icmp);
            message.emit(&header.src_addr, &header.dst_addr, icmp, &checksums);
        })
    }

    /// The question for the MAC address of `target`, to one neighbour or to all.
    pub(super) fn question(link: &Link, to: Option<MacAddress>, own: Address, target: Address) -> Self {
        if target.is_ipv4() {
            let sought = (MacAddress::default(), target);
            return Self::arp(link, to.unwrap_or(BROADCAST), ArpOperation::Request, own, sought);
        }
        let destination = if to.is_some() { target } else { solicited_node(target) };
        let message = Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit {
            target_addr: v6(target),
            lladdr: Some(mac(link.mac).into()),
        });
        let to = to.unwrap_or_else(|| multicast_mac(destination));
        Self::icmpv6(link, to, [own, destination], DISCOVERY_HOP_LIMIT, &message)
    }

    /// The reply to an echo request, to the MAC address that it came from: so no neighbour needs to be resolved.
    pub(super) fn echo_reply(link: &Link, to: MacAddress, echo: &Echo<'_>) -> Self {
        let Echo { source, destination, identifier: ident, sequence: seq_no, data } = *echo;
        if !source.is_ipv4() {
            let reply = Icmpv6Repr::EchoReply { ident, seq_no, data };
            return Self::icmpv6(link, to, [destination, source], HOP_LIMIT, &reply);
        }
        let reply = Icmpv4Repr::EchoReply { ident, seq_no, data };
        let header = Ipv4Repr {
            src_addr: v4(destination),
            dst_addr: v4(source),
            next_header: IpProtocol::Icmp,
            payload_len: reply.buffer_len(),
            hop_limit: HOP_LIMIT,
        };
        let len = header.buffer_len() + header.payload_len;
        Self::frame(link, to, EthernetProtocol::Ipv4, len, |bytes| {
            let checksums = ChecksumCapabilities::default();
            let (ip, icmp) = bytes.split_at_mut(header.buffer_len());
            reply.emit(&mut Icmpv4Packet::new_unchecked(icmp), &checksums);
            header.emit(&mut Ipv4Packet::new_unchecked(ip), &checksums);
        })
    }

    fn arp(
        link: &Link,
        to: MacAddress,
        operation: ArpOperation,
        own: Address,
        (target_mac, target): (MacAddress, Address),
    ) -> Self {
        let message = ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: mac(link.mac),
            source_protocol_addr: v4(own),
            target_hardware_addr: mac(target_mac),
            target_protocol_addr: v4(target),
        };
        Self::frame(link, to, EthernetProtocol::Arp, message.buffer_len(), |bytes| {
            message.emit(&mut ArpPacket::new_unchecked(bytes));
        })
    }

    fn advertisement(
        link: &Link,
        to: MacAddress,
        target: Address,
        destination: Address,
        solicited: bool,
    ) -> Self {
        let answer = if solicited { NdiscNeighborFlags::SOLICITED } else { NdiscNeighborFlags::empty() };
        let message = Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert {
            flags: answer | NdiscNeighborFlags::OVERRIDE,
            target_addr: v6(target),
            lladdr: Some(mac(link.mac).into()),
        });
        Self::icmpv6(link, to, [target, destination], DISCOVERY_HOP_LIMIT, &message)
    }

    fn icmpv6(
        link: &Link,
        to: MacAddress,
        [source, destination]: [Address; 2],
        hop_limit: u8,
        message: &Icmpv6Repr<'_>,
    ) -> Self {
        let header = Ipv6Repr {
            src_addr: v6(source),
            dst_addr: v6(destination),
            next_header: IpProtocol::Icmpv6,
            payload_len: message.buffer_len(),
            hop_limit,
        };
        let len = header.buffer_len() + header.payload_len;
        Self::frame(link, to, EthernetProtocol::Ipv6, len, |bytes| {
            let (ip, icmp) = bytes.split_at_mut(header.buffer_len());
            header.emit(&mut Ipv6Packet::new_unchecked(ip));
            let checksums = ChecksumCapabilities::default();
            message.emit(
                &header.src_addr,
                &header.dst_addr,
                &mut Icmpv6Packet::new_unchecked(icmp),
                &checksums,
            );
        })
    }

    fn frame(
        link: &Link,
        to: MacAddress,
        ethertype: EthernetProtocol,
        payload_len: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> Self {
        let header_len = HEADER_LEN + if link.vlan.is_some() { TAG_LEN } else { 0 };
        let mut bytes = Vec::with_capacity(MIN_FRAME_LEN.max(header_len + payload_len));
        bytes.extend(to.0);
        bytes.extend(link.mac.0);
        if let Some(vlan) = link.vlan {
            bytes.extend([0x81, 0x00]);
            bytes.extend(vlan.0.to_be_bytes());
        }
        bytes.extend(u16::from(ethertype).to_be_bytes());
        bytes.resize(header_len + payload_len, 0);
        write(&mut bytes[header_len..]);
        bytes.resize(bytes.len().max(MIN_FRAME_LEN), 0);
        Self { port: link.port, bytes }
    }
}

/// The frames that wait to be sent, first in, first out.
#[derive(Debug, Default)]
pub(super) struct Queue {
    frames: VecDeque<Outgoing>,
    bytes: usize,
}

impl Queue {
    /// Puts a frame at the end; false where the queue would exceed [`MAX_QUEUED_BYTES`].
    pub(super) fn push(&mut self, frame: Outgoing) -> bool {
        let bytes = self.bytes + frame.bytes.len();
        let has_room = bytes <= MAX_QUEUED_BYTES;
        if has_room {
            self.bytes = bytes;
            self.frames.push_back(frame);
        }
        has_room
    }

    pub(super) fn pop(&mut self) -> Option<Outgoing> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.bytes.len();
        Some(frame)
    }
}

/// The MAC address of an IPv6 group (RFC 2464, section 7).
pub(super) fn multicast_mac(group: Address) -> MacAddress {
    let [.., a, b, c, d] = group.v6_bytes();
    MacAddress([0x33, 0x33, a, b, c, d])
}

fn mac(mac: MacAddress) -> EthernetAddress {
    EthernetAddress(mac.0)
}

fn v4(address: Address) -> Ipv4Address {
    Ipv4Address::from(address.v4_bytes())
}

fn v6(address: Address) -> Ipv6Address {
    Ipv6Address::from(address.v6_bytes())
}
