//! The delivery that nearly all packets get: whole, in a tunnel of their own family or in none. Link-layer and outer header
//! are then one piece, of a length that the compiler knows; a VLAN tag is put into it.

use std::num::NonZeroUsize;

use zerocopy::FromBytes;
use zerocopy::byteorder::network_endian::{U16, U32};

use super::Delivery;
use super::outer::{self, Encapsulation, GRE_LEN, GUE_LEN, UDP_LEN};
use crate::egress::PortId;
use crate::frame::Frame;
use crate::packet::{flow_of_ipv4, flow_of_ipv6};
use crate::wire::checksum;
use crate::wire::ethernet::{self, ADDRESSES_LEN, HEADER_LEN as L3, TAG_LEN};
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::ipv6::{self, Ipv6Header};

const IPIP4: usize = L3 + ipv4::HEADER_LEN;
const GRE4: usize = IPIP4 + GRE_LEN;
const GUE4: usize = IPIP4 + UDP_LEN + GUE_LEN;
const IPIP6: usize = L3 + ipv6::HEADER_LEN;
const GRE6: usize = IPIP6 + GRE_LEN;

/// Length that every plain packet has at least: IP header and UDP header.
const LEAST_IPV4: usize = ipv4::HEADER_LEN + UDP_LEN;
const LEAST_IPV6: usize = ipv6::HEADER_LEN + UDP_LEN;

/// Delivery of plain packets to one backend: what is put before them, but for the fields that follow the packet.
//
// In this order, and with the state words before it, all that an IPv4 tunnel needs lies in one line.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct PlainDelivery {
    /// Length of the longest packet that fits the path.
    inner_mtu: u16,
    /// One's complement sum of the outer IPv4 header's words, little-endian, to which the changing ones are added.
    sum: u16,
    port: PortId,
    /// Form of packets that get [`Shape::Ipip4`], if any: a comparison for most, in place of a jump by a table.
    by_ipip4: Option<PlainForm>,
    /// Shape for each [form](PlainForm) of packets, so that one look tells it.
    shapes: [Shape; PlainForm::ALL.len()],
    bytes: [u8; GRE6],
    /// Shape for the packets of [`Shape::Apart`].
    apart: Shape,
    /// True if frames leave from the address that they came to.
    keeps_source: bool,
}

/// Kinds of headers before a plain packet; the code for each knows its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// None: the general delivery knows what to do.
    General,
    /// Any of the others, by code that is called: behind a VLAN tag, or from the address that the frame came to.
    Apart,
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
    /// Family, and the tag that it comes behind.
    pub form: PlainForm,
}

/// Family of a plain packet, and the VLAN tag that it comes behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainForm {
    /// IPv4 in an untagged frame.
    Ipv4,
    /// IPv6 in an untagged frame.
    Ipv6,
    /// IPv4 behind a tag.
    TaggedIpv4,
    /// IPv6 behind a tag.
    TaggedIpv6,
}

impl PlainForm {
    /// Forms of delivery, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Ipv4, Self::Ipv6, Self::TaggedIpv4, Self::TaggedIpv6];

    /// Form of packets of a family, behind a tag or not.
    #[inline(always)]
    pub const fn new(is_ipv4: bool, is_tagged: bool) -> Self {
        Self::ALL[(is_tagged as usize) << 1 | !is_ipv4 as usize]
    }

    /// True for IPv4, false for IPv6.
    #[inline(always)]
    pub fn is_ipv4(self) -> bool {
        self as usize & 1 == 0
    }

    /// Length of the VLAN tag; zero if there is none.
    #[inline(always)]
    pub fn tag_len(self) -> usize {
        (self as usize >> 1) * TAG_LEN
    }
}

impl PlainDelivery {
    /// Delivery that leaves every packet to the general one.
    pub const GENERAL: Self = Self {
        inner_mtu: 0,
        sum: 0,
        port: PortId(0),
        by_ipip4: None,
        shapes: [Shape::General; _],
        bytes: [0; GRE6],
        apart: Shape::General,
        keeps_source: false,
    };

    /// The part of a delivery that is for plain packets.
    pub fn of(delivery: &Delivery) -> Self {
        let inner_mtu = delivery.inner_mtu() as u16;
        let plain = Self { inner_mtu, ..Self::GENERAL };
        plain.with_headers(delivery).unwrap_or(plain)
    }

    fn with_headers(mut self, delivery: &Delivery) -> Option<Self> {
        let egress = delivery.egress();
        let next_hop = egress.next_hop?;
        ethernet::set_addresses(&mut self.bytes, next_hop, egress.source.unwrap_or_default());
        self.port = egress.port;
        self.keeps_source = egress.source.is_none();
        self.apart = Shape::L2;
        if let Some(outer) = &delivery.outer {
            let is_ipv4 = outer.is_ipv4();
            self.apart = match (outer.plain_encapsulation()?, is_ipv4) {
                (Encapsulation::Ipip, true) => Shape::Ipip4,
                (Encapsulation::Gre, true) => Shape::Gre4,
                (Encapsulation::Gue { .. }, true) => Shape::Gue4,
                (Encapsulation::Ipip, false) => Shape::Ipip6,
                (Encapsulation::Gre, false) => Shape::Gre6,
                // The UDP checksum covers the packet.
                (Encapsulation::Gue { .. }, false) => return None,
            };
            let headers = outer.template(is_ipv4);
            self.bytes[L3..L3 + headers.len()].copy_from_slice(headers);
            self.bytes[L3 - 2..L3].copy_from_slice(if is_ipv4 { &[0x08, 0x00] } else { &[0x86, 0xdd] });
            self.sum = if is_ipv4 { little_endian_sum(&self.bytes[L3..IPIP4]) } else { 0 };
        }
        self.shapes = PlainForm::ALL.map(|form| self.shape_for(form));
        let by_ipip4 = |form: &PlainForm| self.shape_for(*form) == Shape::Ipip4;
        self.by_ipip4 = PlainForm::ALL.into_iter().find(by_ipip4);
        Some(self)
    }

    fn shape_for(&self, form: PlainForm) -> Shape {
        let is_for_family = match self.apart {
            Shape::General | Shape::Apart => false,
            Shape::L2 => true,
            Shape::Ipip4 | Shape::Gre4 | Shape::Gue4 => form.is_ipv4(),
            Shape::Ipip6 | Shape::Gre6 => !form.is_ipv4(),
        };
        match (is_for_family, self.keeps_source || form.tag_len() > 0) {
            (false, _) => Shape::General,
            (true, true) => Shape::Apart,
            (true, false) => self.apart,
        }
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
    pub fn deliver<F: Frame>(&self, frame: &mut F, packet: &PlainPacket) -> Option<NonZeroUsize> {
        if self.by_ipip4 == Some(packet.form) {
            return self.deliver_ipv4::<0, false, IPIP4, F>(frame, packet);
        }
        match self.shapes[packet.form as usize] {
            Shape::Apart => self.deliver_apart(frame, packet),
            shape => self.deliver_as::<0, false, F>(shape, frame, packet),
        }
    }

    /// Delivery of a packet behind a VLAN tag, or in a frame that leaves from the address that it came to.
    #[inline(never)]
    fn deliver_apart<F: Frame>(&self, frame: &mut F, packet: &PlainPacket) -> Option<NonZeroUsize> {
        if packet.form.tag_len() == 0 {
            self.deliver_as::<0, true, F>(self.apart, frame, packet)
        } else {
            self.deliver_as::<TAG_LEN, true, F>(self.apart, frame, packet)
        }
    }

    /// Delivery behind so many bytes of VLAN tags; unless it is `APART`, frames do not leave from the address that they
    /// came to.
    #[inline(always)]
    fn deliver_as<const TAG: usize, const APART: bool, F: Frame>(
        &self,
        shape: Shape,
        frame: &mut F,
        packet: &PlainPacket,
    ) -> Option<NonZeroUsize> {
        match shape {
            Shape::General | Shape::Apart => None,
            Shape::L2 => self.deliver_l2::<TAG, APART, F>(frame, packet),
            Shape::Ipip4 => self.deliver_ipv4::<TAG, APART, IPIP4, F>(frame, packet),
            Shape::Gre4 => self.deliver_ipv4::<TAG, APART, GRE4, F>(frame, packet),
            Shape::Gue4 => self.deliver_ipv4::<TAG, APART, GUE4, F>(frame, packet),
            Shape::Ipip6 => self.deliver_ipv6::<TAG, APART, IPIP6, F>(frame, packet),
            Shape::Gre6 => self.deliver_ipv6::<TAG, APART, GRE6, F>(frame, packet),
        }
    }

    #[inline(always)]
    fn deliver_l2<const TAG: usize, const APART: bool, F: Frame>(
        &self,
        frame: &mut F,
        packet: &PlainPacket,
    ) -> Option<NonZeroUsize> {
        let bytes = frame.bytes_mut();
        let link = bytes.first_chunk_mut::<ADDRESSES_LEN>()?;
        let arrived_at = arrival(link);
        link.copy_from_slice(&self.bytes[..ADDRESSES_LEN]);
        if APART && self.keeps_source {
            link[6..].copy_from_slice(&arrived_at);
        }
        decrement_ttl(bytes.get_mut(L3 + TAG..)?, packet.form.is_ipv4());
        NonZeroUsize::new(bytes.len())
    }

    #[inline(always)]
    fn deliver_ipv4<const TAG: usize, const APART: bool, const LEN: usize, F: Frame>(
        &self,
        frame: &mut F,
        packet: &PlainPacket,
    ) -> Option<NonZeroUsize> {
        let (head, inner) = self.put_before::<TAG, APART, LEN, LEAST_IPV4, F>(frame, packet)?;
        let received: &mut [u8; LEAST_IPV4] = inner.first_chunk_mut().expect(LONGER);
        let traffic_class = received[1];
        // Words of the header as a little-endian processor reads them: the sum is the same in either order (RFC 1071).
        const DONT_FRAGMENT: u16 = ipv4::DONT_FRAGMENT.swap_bytes();
        let may_fragment = u16::from_le_bytes([received[6], received[7]]) & DONT_FRAGMENT == 0;
        // Identification and flags: the one or the others are zero.
        let (mut id_and_flags, mut id_or_flags) = (u32::from(DONT_FRAGMENT) << 16, DONT_FRAGMENT);
        let mut entropy = 0;
        if LEN == GUE4 || may_fragment {
            entropy = flow_of_ipv4(received.first_chunk().expect(LONGER)).entropy();
            if may_fragment {
                let original = u16::from_be_bytes([received[4], received[5]]);
                id_or_flags = outer::identification(original, 0, entropy).swap_bytes();
                id_and_flags = u32::from(id_or_flags);
            }
        }
        let total_len = ((LEN - L3) as u16 + packet.l3_len).swap_bytes();
        let sum = u32::from(self.sum)
            + (u32::from(traffic_class) << 8)
            + u32::from(total_len)
            + u32::from(id_or_flags);
        head[L3 + 1] = traffic_class;
        head[L3 + 2..L3 + 4].copy_from_slice(&total_len.to_le_bytes());
        head[L3 + 4..L3 + 8].copy_from_slice(&id_and_flags.to_le_bytes());
        head[L3 + 10..L3 + 12].copy_from_slice(&checksum::finish(sum).to_le_bytes());
        if LEN == GUE4 {
            let len = (LEN - IPIP4) as u16 + packet.l3_len;
            outer::complete_udp(&mut head[IPIP4..], len, entropy);
        }
        decrement_ttl(received, true);
        NonZeroUsize::new(TAG + LEN + inner.len())
    }

    #[inline(always)]
    fn deliver_ipv6<const TAG: usize, const APART: bool, const LEN: usize, F: Frame>(
        &self,
        frame: &mut F,
        packet: &PlainPacket,
    ) -> Option<NonZeroUsize> {
        let (head, inner) = self.put_before::<TAG, APART, LEN, LEAST_IPV6, F>(frame, packet)?;
        let received: &mut [u8; LEAST_IPV6] = inner.first_chunk_mut().expect(LONGER);
        let traffic_class = (u16::from_be_bytes([received[0], received[1]]) >> 4) as u8;
        let label = flow_of_ipv6(received.first_chunk().expect(LONGER)).entropy() & ipv6::FLOW_LABEL;
        let first = U32::new(6 << 28 | u32::from(traffic_class) << 20 | label);
        head[L3..L3 + 4].copy_from_slice(&first.to_bytes());
        head[L3 + 4..L3 + 6].copy_from_slice(&U16::new((LEN - IPIP6) as u16 + packet.l3_len).to_bytes());
        decrement_ttl(received, false);
        NonZeroUsize::new(TAG + LEN + inner.len())
    }

    /// Puts the headers before the packet, which is as long as the least, and parts them from it; a VLAN tag stays in them.
    #[inline(always)]
    fn put_before<'f, const TAG: usize, const APART: bool, const LEN: usize, const LEAST: usize, F: Frame>(
        &self,
        frame: &'f mut F,
        packet: &PlainPacket,
    ) -> Option<(&'f mut [u8; LEN], &'f mut [u8])> {
        // Padding of a short frame must not end up inside the tunnel.
        let len = TAG + LEN + usize::from(packet.l3_len);
        let bytes = frame.reframe(LEN - L3, len)?;
        // Once for all that is looked at.
        assert!(bytes.len() >= TAG + LEN + LEAST, "{LONGER}");
        let received: [u8; L3 + TAG_LEN] = *bytes[LEN - L3..].first_chunk().expect(LONGER);
        *bytes[TAG..].first_chunk_mut::<LEN>().expect(LONGER) =
            *self.bytes.first_chunk().expect("the longest headers");
        if TAG > 0 {
            let link = bytes.first_chunk_mut::<{ ADDRESSES_LEN + TAG_LEN }>().expect(LONGER);
            link[..ADDRESSES_LEN].copy_from_slice(&self.bytes[..ADDRESSES_LEN]);
            link[ADDRESSES_LEN..].copy_from_slice(&received[ADDRESSES_LEN..ADDRESSES_LEN + TAG_LEN]);
        }
        if APART && self.keeps_source {
            bytes[6..ADDRESSES_LEN].copy_from_slice(&received[..6]);
        }
        bytes[TAG..].split_first_chunk_mut()
    }
}

/// Reason that no look into a plain packet's headers goes past its end.
const LONGER: &str = "a plain packet has whole headers";

/// Link-layer address that a frame came to.
#[inline(always)]
fn arrival<const N: usize>(head: &[u8; N]) -> [u8; 6] {
    *head.first_chunk().expect("a frame begins with it")
}

/// One's complement sum of little-endian words, folded, so that more can be added to it.
fn little_endian_sum(words: &[u8]) -> u16 {
    (!checksum::finish(checksum::sum(words))).swap_bytes()
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
