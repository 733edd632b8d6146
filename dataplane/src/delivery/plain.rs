//! The delivery that nearly all packets get: whole, in a tunnel of their own family or in none. Link-layer and outer header
//! are then one piece, of a length that the compiler knows; a VLAN tag is put into it.

use zerocopy::FromBytes;
use zerocopy::byteorder::network_endian::{U16, U32};

use super::Delivery;
use super::outer::{self, Encapsulation, GRE_LEN, GUE_LEN, UDP_LEN};
use crate::egress::PortId;
use crate::frame::Frame;
use crate::packet::{Plain, PlainIpv4, PlainIpv6};
use crate::wire::checksum;
use crate::wire::ethernet::{self, ADDRESSES_LEN, HEADER_LEN as L3, TAG_LEN};
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
    /// One's complement sum of the outer IPv4 header's words, little-endian, to which the changing ones are added.
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
    /// Length of the VLAN tag that it comes behind; zero if there is none.
    pub tag_len: u8,
    /// True for IPv4, false for IPv6.
    pub is_ipv4: bool,
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
        plain.sum = if is_ipv4 { little_endian_sum(&plain.bytes[L3..IPIP4]) } else { 0 };
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
        if packet.tag_len == 0 {
            self.deliver_behind::<0, F>(frame, packet)
        } else {
            self.deliver_tagged(frame, packet)
        }
    }

    /// [`Self::deliver`] of a packet behind a VLAN tag.
    #[inline(never)]
    fn deliver_tagged<F: Frame>(&self, frame: &mut F, packet: &PlainPacket) -> Option<usize> {
        self.deliver_behind::<TAG_LEN, F>(frame, packet)
    }

    /// [`Self::deliver`] of a packet behind so many bytes of VLAN tags.
    #[inline(always)]
    fn deliver_behind<const TAG: usize, F: Frame>(
        &self,
        frame: &mut F,
        packet: &PlainPacket,
    ) -> Option<usize> {
        match (self.shape, packet.is_ipv4) {
            (Shape::L2, _) => self.deliver_l2::<TAG, F>(frame, packet),
            (Shape::Ipip4, true) => self.deliver_ipv4::<TAG, IPIP4, F>(frame, packet),
            (Shape::Gre4, true) => self.deliver_ipv4::<TAG, GRE4, F>(frame, packet),
            (Shape::Gue4, true) => self.deliver_ipv4::<TAG, GUE4, F>(frame, packet),
            (Shape::Ipip6, false) => self.deliver_ipv6::<TAG, IPIP6, F>(frame, packet),
            (Shape::Gre6, false) => self.deliver_ipv6::<TAG, GRE6, F>(frame, packet),
            _ => None,
        }
    }

    #[inline(always)]
    fn deliver_l2<const TAG: usize, F: Frame>(&self, frame: &mut F, packet: &PlainPacket) -> Option<usize> {
        let bytes = frame.bytes_mut();
        let link = bytes.first_chunk_mut::<ADDRESSES_LEN>()?;
        let arrived_at = arrival(link);
        link.copy_from_slice(&self.bytes[..ADDRESSES_LEN]);
        if self.keeps_source {
            link[6..].copy_from_slice(&arrived_at);
        }
        decrement_ttl(bytes.get_mut(L3 + TAG..)?, packet.is_ipv4);
        Some(bytes.len())
    }

    #[inline(always)]
    fn deliver_ipv4<const TAG: usize, const LEN: usize, F: Frame>(
        &self,
        frame: &mut F,
        packet: &PlainPacket,
    ) -> Option<usize> {
        let received = frame.bytes().get(L3 + TAG..)?;
        let received_head = received.first_chunk::<8>()?;
        let traffic_class = received_head[1];
        // Words of the header as a little-endian processor reads them: the sum is the same in either order (RFC 1071).
        const DONT_FRAGMENT: u16 = ipv4::DONT_FRAGMENT.swap_bytes();
        let dont_fragment = u16::from_le_bytes([received_head[6], received_head[7]]) & DONT_FRAGMENT;
        let (mut id, mut entropy) = (0, 0);
        if LEN == GUE4 || dont_fragment == 0 {
            entropy = PlainIpv4::known(received)?.flow().entropy();
            if dont_fragment == 0 {
                let original = u16::from_be_bytes([received_head[4], received_head[5]]);
                id = outer::identification(original, 0, entropy).swap_bytes();
            }
        }
        let (head, inner) = self.put_before::<TAG, LEN, F>(frame, packet)?;
        let total_len = ((LEN - L3) as u16 + packet.l3_len).swap_bytes();
        let sum = self.sum
            + (u32::from(traffic_class) << 8)
            + u32::from(total_len)
            + u32::from(dont_fragment)
            + u32::from(id);
        head[L3 + 1] = traffic_class;
        head[L3 + 2..L3 + 4].copy_from_slice(&total_len.to_le_bytes());
        head[L3 + 4..L3 + 6].copy_from_slice(&id.to_le_bytes());
        head[L3 + 6..L3 + 8].copy_from_slice(&dont_fragment.to_le_bytes());
        head[L3 + 10..L3 + 12].copy_from_slice(&checksum::finish(sum).to_le_bytes());
        if LEN == GUE4 {
            let len = (LEN - IPIP4) as u16 + packet.l3_len;
            outer::complete_udp(&mut head[IPIP4..], len, entropy);
        }
        decrement_ttl(inner, true);
        Some(TAG + LEN + inner.len())
    }

    #[inline(always)]
    fn deliver_ipv6<const TAG: usize, const LEN: usize, F: Frame>(
        &self,
        frame: &mut F,
        packet: &PlainPacket,
    ) -> Option<usize> {
        let received = PlainIpv6::known(frame.bytes().get(L3 + TAG..)?)?;
        let traffic_class = received.traffic_class();
        let label = received.flow().entropy() & ipv6::FLOW_LABEL;
        let (head, inner) = self.put_before::<TAG, LEN, F>(frame, packet)?;
        let first = U32::new(6 << 28 | u32::from(traffic_class) << 20 | label);
        head[L3..L3 + 4].copy_from_slice(&first.to_bytes());
        head[L3 + 4..L3 + 6].copy_from_slice(&U16::new((LEN - IPIP6) as u16 + packet.l3_len).to_bytes());
        decrement_ttl(inner, false);
        Some(TAG + LEN + inner.len())
    }

    /// Puts the headers before the packet, and parts them from it; a VLAN tag stays in them.
    #[inline(always)]
    fn put_before<'f, const TAG: usize, const LEN: usize, F: Frame>(
        &self,
        frame: &'f mut F,
        packet: &PlainPacket,
    ) -> Option<(&'f mut [u8; LEN], &'f mut [u8])> {
        let received = frame.bytes().first_chunk::<{ L3 + TAG_LEN }>()?;
        let arrived_at = self.keeps_source.then(|| arrival(received));
        let tag = *received[ADDRESSES_LEN..].first_chunk()?;
        // Padding of a short frame must not end up inside the tunnel.
        let len = TAG + LEN + usize::from(packet.l3_len);
        let bytes = frame.reframe(LEN - L3, len)?;
        *bytes.get_mut(TAG..)?.first_chunk_mut::<LEN>()? = *self.bytes.first_chunk()?;
        if TAG > 0 {
            put_tag(bytes.first_chunk_mut()?, &self.bytes, tag);
        }
        if let Some(arrived_at) = arrived_at {
            bytes.get_mut(6..ADDRESSES_LEN)?.copy_from_slice(&arrived_at);
        }
        bytes.get_mut(TAG..)?.split_first_chunk_mut()
    }
}

/// Puts the addresses of `headers` before the tag of a frame whose end of header, EtherType and all, is already behind it.
fn put_tag(link: &mut [u8; L3 + TAG_LEN], headers: &[u8; GRE6], tag: [u8; TAG_LEN]) {
    link[..ADDRESSES_LEN].copy_from_slice(&headers[..ADDRESSES_LEN]);
    link[ADDRESSES_LEN..ADDRESSES_LEN + TAG_LEN].copy_from_slice(&tag);
}

/// Link-layer address that a frame came to.
#[inline(always)]
fn arrival<const N: usize>(head: &[u8; N]) -> [u8; 6] {
    *head.first_chunk().expect("a frame begins with it")
}

/// One's complement sum of little-endian words, folded once, so that more can be added to it.
fn little_endian_sum(words: &[u8]) -> u32 {
    u32::from((!checksum::finish(checksum::sum(words))).swap_bytes())
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
