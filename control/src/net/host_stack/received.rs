//! The message in a received frame, read with smoltcp's wire formats and checked against the rules of its protocol.

use guideway_dataplane::address::Address;
use guideway_dataplane::wire::ethernet::MacAddress;
use smoltcp::phy::{ChecksumCapabilities, Medium};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetProtocol, HardwareAddress, Icmpv4Message,
    Icmpv4Packet, Icmpv4Repr, Icmpv6Message, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv4Packet, Ipv4Repr,
    Ipv6Address, Ipv6ExtHeader, Ipv6Packet, Ipv6Repr, MldRepr, NdiscNeighborFlags, NdiscRepr,
    RawHardwareAddress,
};

use super::link::VlanId;
use super::neighbours::Claim;

/// The reason why a frame cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// The frame is cut short, has a wrong checksum, or breaks the rules of its protocol.
    Malformed,
    /// The frame has more tags than one, or a service tag.
    ForeignTags,
}

use Unreadable::Malformed;

/// A frame without its Ethernet header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope<'a> {
    pub(super) destination: MacAddress,
    pub(super) source: MacAddress,
    pub(super) vlan: Option<VlanId>,
    ethertype: EthernetProtocol,
    payload: &'a [u8],
}

/// The message in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// ARP or neighbour discovery.
    Resolution(Resolution),
    /// An echo request.
    Echo(Echo<'a>),
    /// A query for the listeners of a group, or of all groups where it names none.
    GroupQuery(Option<Address>),
    /// Any other IP packet.
    Packet {
        /// The address that the packet comes from.
        source: Address,
        /// The address that the packet is for.
        destination: Address,
    },
    /// Anything else.
    Other,
}

/// A message of ARP or of neighbour discovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resolution {
    /// The sender's question for the MAC address of an address.
    pub(super) question: Option<Asked>,
    /// The sender's claim about the MAC address of an address.
    pub(super) claim: Option<(Address, Claim)>,
    pub(super) is_arp: bool,
}

/// A question for the MAC address of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) target: Address,
    /// The address that asks; unspecified where a host intends to use the target itself, and looks whether it is free.
    pub(super) asker: Address,
    pub(super) asker_mac: MacAddress,
}

/// An echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Echo<'a> {
    pub(super) source: Address,
    pub(super) destination: Address,
    pub(super) identifier: u16,
    pub(super) sequence: u16,
    pub(super) data: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Opens a frame. A tag of VLAN 0 gives a priority and no VLAN.
    pub(super) fn open(frame: &'a [u8]) -> Result<Self, Unreadable> {
        const CUSTOMER_TAG: u16 = 0x8100;
        let word = |offset: usize| -> Result<u16, Unreadable> {
            let bytes = frame.get(offset..offset + 2).ok_or(Malformed)?;
            Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
        };
        let (vlan, ethertype, payload) = match word(12)? {
            CUSTOMER_TAG => (word(14)? & 0x0fff, word(16)?, &frame[18..]),
            ethertype => (0, ethertype, &frame[14..]),
        };
        if matches!(ethertype, CUSTOMER_TAG | 0x88a8 | 0x9100) {
            return Err(Unreadable::ForeignTags);
        }
        Ok(Self {
            destination: mac(EthernetAddress::from_bytes(&frame[..6])),
            source: mac(EthernetAddress::from_bytes(&frame[6..12])),
            vlan: (vlan != 0).then_some(VlanId(vlan)),
            ethertype: EthernetProtocol::from(ethertype),
            payload,
        })
    }

    /// Reads the message; `own` is the MAC address of the link that it came by.
    pub(super) fn message(&self, own: MacAddress) -> Result<Message<'a>, Unreadable> {
        match self.ethertype {
            EthernetProtocol::Arp => self.arp(own),
            EthernetProtocol::Ipv4 => self.ipv4(),
            EthernetProtocol::Ipv6 => self.ipv6(),
            _ => Ok(Message::Other),
        }
    }

    /// Reads ARP (RFC 826).
    fn arp(&self, own: MacAddress) -> Result<Message<'a>, Unreadable> {
        let packet = ArpPacket::new_checked(self.payload).map_err(|_| Malformed)?;
        let Ok(ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr,
            target_hardware_addr,
            target_protocol_addr,
        }) = ArpRepr::parse(&packet)
        else {
            return Ok(Message::Other);
        };
        let sender = Address::v4(source_protocol_addr.octets());
        let target = Address::v4(target_protocol_addr.octets());
        let sender_mac = unicast(source_hardware_addr)?;
        let is_request = match operation {
            ArpOperation::Request => true,
            ArpOperation::Reply => false,
            ArpOperation::Unknown(_) => return Ok(Message::Other),
        };
        let is_probe = is_request && source_protocol_addr.is_unspecified();
        if sender.is_martian_source() && !is_probe {
            return Err(Malformed);
        }
        // A reply to the appliance answers its question, even where it is sent to everybody; all else, gratuitous
        // replies too, is news at most.
        let solicited = !is_request && mac(target_hardware_addr) == own;
        Ok(Message::Resolution(Resolution {
            question: is_request.then_some(Asked { target, asker: sender, asker_mac: sender_mac }),
            claim: (!is_probe)
                .then_some((sender, Claim { mac: Some(sender_mac), solicited, overrides: true })),
            is_arp: true,
        }))
    }

    fn ipv4(&self) -> Result<Message<'a>, Unreadable> {
        let packet = Ipv4Packet::new_checked(self.payload).map_err(|_| Malformed)?;
        let source = Address::v4(packet.src_addr().octets());
        let destination = Address::v4(packet.dst_addr().octets());
        // Nothing here puts fragments together, and a fragment is no echo request.
        if packet.more_frags() || packet.frag_offset() != 0 {
            return Ok(Message::Packet { source, destination });
        }
        let checksums = ChecksumCapabilities::default();
        let header = Ipv4Repr::parse(&packet, &checksums).map_err(|_| Malformed)?;
        if source.is_martian_source() {
            return Err(Malformed);
        }
        if header.next_header != IpProtocol::Icmp {
            return Ok(Message::Packet { source, destination });
        }
        let icmp = Icmpv4Packet::new_checked(packet.payload()).map_err(|_| Malformed)?;
        if (icmp.msg_type(), icmp.msg_code()) != (Icmpv4Message::EchoRequest, 0) {
            return Ok(Message::Packet { source, destination });
        }
        match Icmpv4Repr::parse(&icmp, &checksums) {
            Ok(Icmpv4Repr::EchoRequest { ident: identifier, seq_no: sequence, data }) => {
                Ok(Message::Echo(Echo { source, destination, identifier, sequence, data }))
            }
            _ => Err(Malformed),
        }
    }

    fn ipv6(&self) -> Result<Message<'a>, Unreadable> {
        let packet = Ipv6Packet::new_checked(self.payload).map_err(|_| Malformed)?;
        let header = Ipv6Repr::parse(&packet).map_err(|_| Malformed)?;
        let source = address(header.src_addr)?;
        let destination = address(header.dst_addr)?;
        if let Some(query) = group_query(&header, packet.payload()) {
            return query;
        }
        // Echo requests behind extension headers stay unanswered.
        if header.next_header != IpProtocol::Icmpv6 {
            return Ok(Message::Packet { source, destination });
        }
        let icmp = Icmpv6Packet::new_unchecked(packet.payload());
        let Some(code) = packet.payload().get(1) else { return Err(Malformed) };
        let is_ours = matches!(
            icmp.msg_type(),
            Icmpv6Message::EchoRequest | Icmpv6Message::NeighborSolicit | Icmpv6Message::NeighborAdvert
        );
        if !is_ours || *code != 0 {
            return Ok(Message::Packet { source, destination });
        }
        let checksums = ChecksumCapabilities::default();
        match Icmpv6Repr::parse(&header.src_addr, &header.dst_addr, &icmp, &checksums) {
            Ok(Icmpv6Repr::EchoRequest { ident: identifier, seq_no: sequence, data })
                if !source.is_martian_source() =>
            {
                Ok(Message::Echo(Echo { source, destination, identifier, sequence, data }))
            }
            // RFC 4861, sections 7.1.1 and 7.1.2: a hop limit of 255 proves that no router forwarded it.
            Ok(Icmpv6Repr::Ndisc(message)) if header.hop_limit == 255 => self.discovery(&header, message),
            _ => Err(Malformed),
        }
    }

    fn discovery(&self, header: &Ipv6Repr, message: NdiscRepr<'_>) -> Result<Message<'a>, Unreadable> {
        let is_anonymous = header.src_addr.is_unspecified();
        let source = address(header.src_addr)?;
        if !is_anonymous {
            neighbour_address(header.src_addr)?;
        }
        match message {
            NdiscRepr::NeighborSolicit { target_addr, lladdr } => {
                let target = neighbour_address(target_addr)?;
                let group = solicited_node(target);
                let destination = address(header.dst_addr)?;
                let source_mac = lladdr.map(link_layer).transpose()?;
                // RFC 4861, section 7.1.1.
                if is_anonymous && (destination != group || source_mac.is_some()) {
                    return Err(Malformed);
                }
                if destination != group && destination != target {
                    return Ok(Message::Other);
                }
                let claim = source_mac
                    .map(|mac| (source, Claim { mac: Some(mac), solicited: false, overrides: true }));
                // A question to one neighbour alone may leave out the MAC address that asks.
                let asker_mac = source_mac.unwrap_or(self.source);
                Ok(Message::Resolution(Resolution {
                    question: Some(Asked { target, asker: source, asker_mac }),
                    claim,
                    is_arp: false,
                }))
            }
            NdiscRepr::NeighborAdvert { flags, target_addr, lladdr } => {
                let target = neighbour_address(target_addr)?;
                let solicited = flags.contains(NdiscNeighborFlags::SOLICITED);
                // RFC 4861, section 7.1.2.
                if solicited && header.dst_addr.is_multicast() {
                    return Err(Malformed);
                }
                let claim = Claim {
                    mac: lladdr.map(link_layer).transpose()?,
                    solicited,
                    overrides: flags.contains(NdiscNeighborFlags::OVERRIDE),
                };
                Ok(Message::Resolution(Resolution {
                    question: None,
                    claim: Some((target, claim)),
                    is_arp: false,
                }))
            }
            _ => Ok(Message::Other),
        }
    }
}

/// The query in a packet of multicast listener discovery, version 2; `None` where the packet is something else.
fn group_query<'a>(header: &Ipv6Repr, payload: &[u8]) -> Option<Result<Message<'a>, Unreadable>> {
    // RFC 2711: the router alert option, which marks multicast listener discovery.
    const ROUTER_ALERT: [u8; 4] = [5, 2, 0, 0];
    const V1_LEN: usize = 24;
    if header.next_header != IpProtocol::HopByHop {
        return None;
    }
    let options = Ipv6ExtHeader::new_checked(payload).ok()?;
    let message = &payload[8 * (1 + usize::from(options.header_len()))..];
    let is_query = options.next_header() == IpProtocol::Icmpv6
        && message.first() == Some(&u8::from(Icmpv6Message::MldQuery))
        && message.len() != V1_LEN;
    if !is_query {
        return None;
    }
    // RFC 3810, section 6.2.
    let is_from_link = header.hop_limit == 1 && header.src_addr.is_unicast_link_local();
    if !is_from_link || !options.payload().windows(4).any(|option| option == ROUTER_ALERT) {
        return Some(Err(Malformed));
    }
    let icmp = Icmpv6Packet::new_unchecked(message);
    let checksums = ChecksumCapabilities::default();
    let Ok(Icmpv6Repr::Mld(MldRepr::Query { mcast_addr: group, .. })) =
        Icmpv6Repr::parse(&header.src_addr, &header.dst_addr, &icmp, &checksums)
    else {
        return Some(Err(Malformed));
    };
    let group = (!group.is_unspecified()).then_some(Address::v6(group.octets()));
    Some(Ok(Message::GroupQuery(group)))
}

/// The group in which the owner of `address` listens for questions (RFC 4291, section 2.7.1).
pub(super) fn solicited_node(address: Address) -> Address {
    const GROUPS: u128 = 0xff02_0000_0000_0000_0000_0001_ff00_0000;
    Address(GROUPS | (address.0 & 0xff_ffff))
}

fn mac(address: EthernetAddress) -> MacAddress {
    MacAddress(address.0)
}

/// The MAC address of one host; a group's or the zero address is malformed.
fn unicast(address: EthernetAddress) -> Result<MacAddress, Unreadable> {
    let mac = mac(address);
    if mac.is_group() || mac == MacAddress::default() { Err(Malformed) } else { Ok(mac) }
}

fn link_layer(address: RawHardwareAddress) -> Result<MacAddress, Unreadable> {
    match address.parse(Medium::Ethernet) {
        Ok(HardwareAddress::Ethernet(address)) => unicast(address),
        _ => Err(Malformed),
    }
}

/// An IPv6 address, unless it would be taken for an IPv4 address.
fn address(v6: Ipv6Address) -> Result<Address, Unreadable> {
    let address = Address::v6(v6.octets());
    if address.is_ipv4() { Err(Malformed) } else { Ok(address) }
}

/// The address of one host on the link, a link-local one too: routers have no other to each other and to hosts, and a
/// host asks from its own on behalf of packets that come from an address of another link.
fn neighbour_address(v6: Ipv6Address) -> Result<Address, Unreadable> {
    if v6.is_unspecified() || v6.is_loopback() || v6.is_multicast() { Err(Malformed) } else { address(v6) }
}
