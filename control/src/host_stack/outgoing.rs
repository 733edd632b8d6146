//! The frames that the appliance sends on its own behalf, and the bounded queue in which they wait.

use std::collections::VecDeque;

use guideway_dataplane::address::Address;
use guideway_dataplane::wire::ethernet::{HEADER_LEN, MacAddress};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetProtocol, Icmpv4Packet, Icmpv4Repr,
    Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, Ipv6Address, Ipv6Packet,
    Ipv6Repr, NdiscNeighborFlags, NdiscRepr,
};

use super::link::{Link, PortId};
use super::received::{Asked, Echo, solicited_node};

/// The most bytes that wait to be sent.
pub const MAX_QUEUED_BYTES: usize = 256 * 1_024;

/// The shortest frame, without its check sequence; not every driver pads what is shorter.
const MIN_FRAME_LEN: usize = 60;

const TAG_LEN: usize = 4;
const BROADCAST: MacAddress = MacAddress([0xff; 6]);
const ALL_NODES: Address = Address::v6([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// RFC 4861, section 4.3: the hop limit of all of neighbour discovery.
const DISCOVERY_HOP_LIMIT: u8 = 255;
const HOP_LIMIT: u8 = 64;

/// A frame to be sent, without its check sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// The port to send it by.
    pub port: PortId,
    /// Its bytes, at least 60 of them.
    pub bytes: Vec<u8>,
}

impl Outgoing {
    /// The answer that `asked.target` is at the link's MAC address.
    pub(super) fn answer(link: &Link, asked: &Asked) -> Self {
        let Asked { target, asker, asker_mac } = *asked;
        if target.is_ipv4() {
            return Self::arp(link, asker_mac, ArpOperation::Reply, target, (asker_mac, asker));
        }
        // RFC 4861, section 7.2.4: who has no address yet is answered before everybody.
        if asker.0 == 0 {
            return Self::advertisement(link, multicast_mac(ALL_NODES), target, ALL_NODES, false);
        }
        Self::advertisement(link, asker_mac, target, asker, true)
    }

    /// Tells everybody that `address` is at the link's MAC address: an ARP announcement (RFC 5227, section 1.1), or
    /// an unsolicited neighbour advertisement (RFC 4861, section 7.2.6).
    pub(super) fn announcement(link: &Link, address: Address) -> Self {
        if address.is_ipv4() {
            Self::arp(link, BROADCAST, ArpOperation::Request, address, (MacAddress::default(), address))
        } else {
            Self::advertisement(link, multicast_mac(ALL_NODES), address, ALL_NODES, false)
        }
    }

    /// Asks where `target` is, of one neighbour or of all.
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

    /// The reply to an echo request, to where it came from: that needs no neighbour of its own to be resolved.
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
    /// Puts a frame at the end; false where that would be more than [`MAX_QUEUED_BYTES`].
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

/// RFC 2464, section 7.
fn multicast_mac(group: Address) -> MacAddress {
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
