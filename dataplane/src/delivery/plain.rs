//! The delivery that nearly all packets get: untagged, whole, in a tunnel of their own family or in none. Link-layer and
//! outer header are then one piece, of a length that the compiler knows.

use zerocopy::FromBytes;
use zerocopy::byteorder::network_endian::{U16, U32};

use super::Delivery;
use super::outer::{self, Encapsulation, GRE_LEN, GUE_LEN, UDP_LEN};
use crate::egress::PortId;
use crate::frame::Frame;
use crate::packet::Plain;
use crate::wire::checksum;
use crate::wire::ethernet::{self, ADDRESSES_LEN, HEADER_LEN as L3};
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::ipv6::{self, Ipv6Header};

const IPIP4: usize = L3 + ipv4::HEADER_LEN;
const GRE4: usize = IPIP4 + GRE_LEN;
const GUE4: usize = IPIP4 + UDP_LEN + GUE_LEN;
const IPIP6: usize = L3 + ipv6::HEADER_LEN;
const GRE6: usize = IPIP6 + GRE_LEN;

/// Delivery of plain packets to one backend: what is put before them, but for the fields that follow the packet.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct PlainDelivery {
    /// One's complement sum of the outer IPv4 header, to which the changing words are added.
    sum: u32,
    /// Length of the longest packet that fits the path.
    inner_mtu: u16,
    shape: Shape,
    port: PortId,
    /// True if frames leave from the address that they came to.
    keeps_source: bool,
    bytes: [u8; GRE6],
}

/// Kinds of headers before a plain packet; the code for each knows its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// None: the general delivery knows what to do.
    General,
    L2,
    Ipip4,
    Gre4,
    Gue4,
    Ipip6,
    Gre6,
}

/// A plain packet, as far as its delivery depends on it.
#[derive(Clone, Copy, Debug)]
pub struct PlainPacket {
    /// Length of the IP packet.
    pub l3_len: u16,
    /// True for IPv4, false for IPv6.
    pub is_ipv4: bool,
    /// [`Flow::entropy`](crate::flow::Flow::entropy) of an IPv6 packet.
    pub entropy: u32,
}

impl PlainDelivery {
    /// Delivery that leaves every packet to the general one.
    pub const GENERAL: Self = Self {
        sum: 0,
        inner_mtu: 0,
        shape: Shape::General,
        port: PortId(0),
        keeps_source: false,
        bytes: [0; GRE6],
    };

    /// The part of a delivery that is for plain packets.
    pub fn of(delivery: &Delivery) -> Self {
        let inner_mtu = delivery.inner_mtu() as u16;
        Self::plain(delivery).unwrap_or(Self { inner_mtu, ..Self::GENERAL })
    }

    fn plain(delivery: &Delivery) -> Option<Self> {
        let egress = delivery.egress();
        let next_hop = egress.next_hop?;
        let mut plain = Self {
            sum: 0,
            inner_mtu: delivery.inner_mtu() as u16,
            shape: Shape::L2,
            port: egress.port,
            keeps_source: egress.source.is_none(),
            bytes: [0; GRE6],
        };
        ethernet::set_addresses(&mut plain.bytes, next_hop, egress.source.unwrap_or_default());
        let Some(outer) = &delivery.outer else { return Some(plain) };
        let is_ipv4 = outer.is_ipv4();
        plain.shape = match (outer.plain_encapsulation()?, is_ipv4) {
            (Encapsulation::Ipip, true) => Shape::Ipip4,
            (Encapsulation::Gre, true) => Shape::Gre4,
            (Encapsulation::Gue { .. }, true) => Shape::Gue4,
            (Encapsulation::Ipip, false) => Shape::Ipip6,
            (Encapsulation::Gre, false) => Shape::Gre6,
            // The UDP checksum covers the packet.
            (Encapsulation::Gue { .. }, false) => return None,
        };
        let headers = outer.template(is_ipv4);
        plain.bytes[L3..L3 + headers.len()].copy_from_slice(headers);
        plain.bytes[L3 - 2..L3].copy_from_slice(if is_ipv4 { &[0x08, 0x00] } else { &[0x86, 0xdd] });
        plain.sum = if is_ipv4 { checksum::sum(&plain.bytes[L3..IPIP4]) } else { 0 };
        Some(plain)
    }

    /// Port that sends the delivered frames.
    #[inline(always)]
    pub fn port(&self) -> PortId {
        self.port
    }

    /// True if the packet fits the path.
    #[inline(always)]
    pub fn fits(&self, packet: &PlainPacket) -> bool {
        packet.l3_len <= self.inner_mtu
    }

    /// Turns `frame`, which holds the plain `packet` that fits the path, into the frame that the backend gets. Returns the
    /// length of that, or none where the general delivery has to, and then the frame is unchanged.
    #[inline(always)]
    pub fn deliver<F: Frame>(&self, frame: &mut F, packet: &PlainPacket) -> Option<usize> {
        match (self.shape, packet.is_ipv4) {
            (Shape::L2, _) => self.deliver_l2(frame, packet.is_ipv4),
            (Shape::Ipip4, true) => self.deliver_ipv4::<IPIP4, F>(frame, packet),
            (Shape::Gre4, true) => self.deliver_ipv4::<GRE4, F>(frame, packet),
            (Shape::Gue4, true) => self.deliver_ipv4::<GUE4, F>(frame, packet),
            (Shape::Ipip6, false) => self.deliver_ipv6::<IPIP6, F>(frame, packet),
            (Shape::Gre6, false) => self.deliver_ipv6::<GRE6, F>(frame, packet),
            _ => None,
        }
    }

    #[inline(always)]
    fn deliver_l2<F: Frame>(&self, frame: &mut F, is_ipv4: bool) -> Option<usize> {
        let (link, inner) = frame.bytes_mut().split_first_chunk_mut::<L3>()?;
        let arrived_at = arrival(link);
        link[..ADDRESSES_LEN].copy_from_slice(&self.bytes[..ADDRESSES_LEN]);
        self.keep_source(link, arrived_at);
        decrement_ttl(inner, is_ipv4);
        Some(L3 + inner.len())
    }

    #[inline(always)]
    fn deliver_ipv4<const LEN: usize, F: Frame>(&self, frame: &mut F, packet: &PlainPacket) -> Option<usize> {
        let received = frame.bytes();
        let received_head = received.first_chunk::<{ L3 + 8 }>()?;
        let traffic_class = received_head[L3 + 1];
        let fragment = u16::from_be_bytes([received_head[L3 + 6], received_head[L3 + 7]]);
        let dont_fragment = fragment & ipv4::DONT_FRAGMENT;
        let arrived_at = arrival(received_head);
        let (mut id, mut entropy) = (0, 0);
        if LEN == GUE4 || dont_fragment == 0 {
            entropy = Plain::read_ipv4(received).map_or(0, |plain| plain.flow.entropy());
            if dont_fragment == 0 {
                let original = u16::from_be_bytes([received_head[L3 + 4], received_head[L3 + 5]]);
                id = outer::identification(original, 0, entropy);
            }
        }
        let (head, inner) = put_before::<LEN, F>(frame, packet.l3_len)?;
        *head = *self.bytes.first_chunk().expect("there is room for the longest");
        self.keep_source(head, arrived_at);
        let total_len = (LEN - L3) as u16 + packet.l3_len;
        let sum = self.sum
            + u32::from(traffic_class)
            + u32::from(total_len)
            + u32::from(dont_fragment)
            + u32::from(id);
        head[L3 + 1] = traffic_class;
        head[L3 + 2..L3 + 4].copy_from_slice(&total_len.to_be_bytes());
        head[L3 + 4..L3 + 6].copy_from_slice(&id.to_be_bytes());
        head[L3 + 6..L3 + 8].copy_from_slice(&dont_fragment.to_be_bytes());
        head[L3 + 10..L3 + 12].copy_from_slice(&checksum::finish(sum).to_be_bytes());
        if LEN == GUE4 {
            outer::complete_udp(&mut head[IPIP4..], total_len - ipv4::HEADER_LEN as u16, entropy);
        }
        decrement_ttl(inner, true);
        Some(LEN + inner.len())
    }

    #[inline(always)]
    fn deliver_ipv6<const LEN: usize, F: Frame>(&self, frame: &mut F, packet: &PlainPacket) -> Option<usize> {
        let received_head = frame.bytes().first_chunk::<{ L3 + 8 }>()?;
        let traffic_class = u16::from_be_bytes([received_head[L3], received_head[L3 + 1]]) >> 4 & 0xff;
        let arrived_at = arrival(received_head);
        let (head, inner) = put_before::<LEN, F>(frame, packet.l3_len)?;
        *head = *self.bytes.first_chunk().expect("there is room for the longest");
        self.keep_source(head, arrived_at);
        let label = packet.entropy & ipv6::FLOW_LABEL;
        let first = U32::new(6 << 28 | u32::from(traffic_class) << 20 | label);
        head[L3..L3 + 4].copy_from_slice(&first.to_bytes());
        head[L3 + 4..L3 + 6].copy_from_slice(&U16::new((LEN - IPIP6) as u16 + packet.l3_len).to_bytes());
        decrement_ttl(inner, false);
        Some(LEN + inner.len())
    }

    /// Lets the frame leave from the address that it came to, if it is to.
    #[inline(always)]
    fn keep_source<const N: usize>(&self, head: &mut [u8; N], arrived_at: [u8; 6]) {
        if self.keeps_source {
            head[6..ADDRESSES_LEN].copy_from_slice(&arrived_at);
        }
    }
}

/// Link-layer address that a frame came to.
#[inline(always)]
fn arrival<const N: usize>(head: &[u8; N]) -> [u8; 6] {
    *head.first_chunk().expect("a frame begins with it")
}

/// Makes room for the headers before the packet, and parts them from it.
#[inline(always)]
fn put_before<const LEN: usize, F: Frame>(frame: &mut F, l3_len: u16) -> Option<(&mut [u8; LEN], &mut [u8])> {
    // Padding of a short frame must not end up inside the tunnel.
    frame.reframe(LEN - L3, LEN + usize::from(l3_len))?.split_first_chunk_mut::<LEN>()
}

#[inline(always)]
fn decrement_ttl(packet: &mut [u8], is_ipv4: bool) {
    if is_ipv4 {
        if let Ok((header, _)) = Ipv4Header::mut_from_prefix(packet) {
            header.decrement_ttl();
        }
    } else if let Ok((header, _)) = Ipv6Header::mut_from_prefix(packet) {
        header.hop_limit -= 1;
    }
}
