//! The delivery that nearly all packets get: untagged, not to be fragmented, in a tunnel of their own family that has no
//! more than addresses in it. Link-layer and outer header are then one piece, of a length that the compiler knows.

use zerocopy::FromBytes;
use zerocopy::byteorder::network_endian::{U16, U32};

use super::outer::Encapsulation;
use super::{DeliveryMode, OuterHeader, Tunnel};
use crate::egress::Egress;
use crate::flow::Flow;
use crate::frame::Frame;
use crate::packet::Packet;
use crate::verdict::DropReason;
use crate::wire::checksum;
use crate::wire::ethernet::{self, HEADER_LEN as L3};
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::ipv6::{self, Ipv6Header};

const IPIP4: usize = L3 + ipv4::HEADER_LEN;
const GRE4: usize = IPIP4 + super::outer::GRE_LEN;
const IPIP6: usize = L3 + ipv6::HEADER_LEN;
const GRE6: usize = IPIP6 + super::outer::GRE_LEN;

/// Headers before a plain packet, but for the fields that follow the packet.
#[derive(Clone, Debug)]
pub(super) struct PlainTunnel {
    bytes: [u8; GRE6],
    shape: Shape,
    /// Family of the tunnel and of the packets in it.
    is_ipv4: bool,
    /// One's complement sum of the outer IPv4 header, to which the changing words are added.
    sum: u32,
}

/// Kinds of headers before a plain packet; the code for each knows its length.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Ipip4,
    Gre4,
    Ipip6,
    Gre6,
}

impl PlainTunnel {
    /// Headers that a tunnel puts before plain packets; none if there is more to do.
    pub(super) fn new(
        mode: DeliveryMode,
        tunnel: &Tunnel,
        egress: &Egress,
        outer: &OuterHeader,
    ) -> Option<Self> {
        let is_ipv4 = tunnel.endpoint.is_ipv4();
        let shape = match (Encapsulation::of(mode)?, is_ipv4) {
            (Encapsulation::Ipip, true) => Shape::Ipip4,
            (Encapsulation::Gre, true) => Shape::Gre4,
            (Encapsulation::Ipip, false) => Shape::Ipip6,
            (Encapsulation::Gre, false) => Shape::Gre6,
            // The UDP header of GUE has fields that depend on the packet.
            (Encapsulation::Gue { .. }, _) => return None,
        };
        let (Some(next_hop), Some(source), None) = (egress.next_hop, egress.source, tunnel.source_range)
        else {
            return None;
        };
        let headers = outer.template(is_ipv4);
        let len = L3 + headers.len();
        let mut bytes = [0; GRE6];
        bytes[L3..len].copy_from_slice(headers);
        bytes[L3 - 2..L3].copy_from_slice(if is_ipv4 { &[0x08, 0x00] } else { &[0x86, 0xdd] });
        ethernet::set_addresses(&mut bytes, next_hop, source);
        if is_ipv4 {
            // As in `OuterHeader`: what may not be fragmented has DF and needs no identification.
            bytes[L3 + 6..L3 + 8].copy_from_slice(&ipv4::DONT_FRAGMENT.to_be_bytes());
        }
        let sum = if is_ipv4 { checksum::sum(&bytes[L3..IPIP4]) } else { 0 };
        Some(Self { bytes, shape, is_ipv4, sum })
    }

    /// True if this delivers `packet`.
    #[inline(always)]
    pub(super) fn takes(&self, packet: &Packet) -> bool {
        (usize::from(packet.l3_offset) == L3) & packet.dont_fragment & (packet.is_ipv4 == self.is_ipv4)
    }

    /// Turns `frame`, which holds `packet`, into the frame that the backend gets.
    ///
    /// # Errors
    /// `NoHeadroom`, with the frame unchanged.
    #[inline(always)]
    pub(super) fn deliver<F: Frame>(
        &self,
        frame: &mut F,
        packet: &Packet,
        flow: &Flow,
    ) -> Result<(), DropReason> {
        match self.shape {
            Shape::Ipip4 => self.deliver_ipv4::<IPIP4, F>(frame, packet),
            Shape::Gre4 => self.deliver_ipv4::<GRE4, F>(frame, packet),
            Shape::Ipip6 => self.deliver_ipv6::<IPIP6, F>(frame, packet, flow),
            Shape::Gre6 => self.deliver_ipv6::<GRE6, F>(frame, packet, flow),
        }
    }

    #[inline(always)]
    fn deliver_ipv4<const LEN: usize, F: Frame>(
        &self,
        frame: &mut F,
        packet: &Packet,
    ) -> Result<(), DropReason> {
        let l3_len = packet.l3_len as usize;
        let (head, inner) = self.put_before::<LEN, F>(frame, l3_len)?;
        let total_len = (LEN - L3 + l3_len) as u16;
        let sum = self.sum + u32::from(packet.traffic_class) + u32::from(total_len);
        head[L3 + 1] = packet.traffic_class;
        head[L3 + 2..L3 + 4].copy_from_slice(&total_len.to_be_bytes());
        head[L3 + 10..L3 + 12].copy_from_slice(&checksum::finish(sum).to_be_bytes());
        if let Ok((header, _)) = Ipv4Header::mut_from_prefix(inner) {
            header.decrement_ttl();
        }
        Ok(())
    }

    #[inline(always)]
    fn deliver_ipv6<const LEN: usize, F: Frame>(
        &self,
        frame: &mut F,
        packet: &Packet,
        flow: &Flow,
    ) -> Result<(), DropReason> {
        let l3_len = packet.l3_len as usize;
        let (head, inner) = self.put_before::<LEN, F>(frame, l3_len)?;
        let label = flow.entropy() & ipv6::FLOW_LABEL;
        let first = U32::new(6 << 28 | u32::from(packet.traffic_class) << 20 | label);
        head[L3..L3 + 4].copy_from_slice(&first.to_bytes());
        head[L3 + 4..L3 + 6].copy_from_slice(&U16::new((LEN - IPIP6 + l3_len) as u16).to_bytes());
        if let Ok((header, _)) = Ipv6Header::mut_from_prefix(inner) {
            header.hop_limit -= 1;
        }
        Ok(())
    }

    /// Writes the headers before the packet, and parts them from it.
    #[inline(always)]
    fn put_before<'f, const LEN: usize, F: Frame>(
        &self,
        frame: &'f mut F,
        l3_len: usize,
    ) -> Result<(&'f mut [u8; LEN], &'f mut [u8]), DropReason> {
        if !frame.prepend(LEN - L3) {
            return Err(DropReason::NoHeadroom);
        }
        // Padding of a short frame must not end up inside the tunnel.
        frame.truncate(LEN + l3_len);
        let (head, inner) = frame.bytes_mut().split_first_chunk_mut::<LEN>().expect("room for it was made");
        *head = *self.bytes.first_chunk().expect("there is room for the longest");
        Ok((head, inner))
    }
}
