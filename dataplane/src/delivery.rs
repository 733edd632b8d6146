//! Delivery of a packet from the appliance to its backend: untouched but for its TTL, behind a new link-layer
//! address and perhaps an outer header.

pub mod fragments;
mod outer;
mod plain;

use crate::address::{Address, Prefix};
use crate::egress::{Egress, PortId};
use crate::flow::Flow;
use crate::frame::Frame;
use crate::packet::Packet;
use crate::verdict::DropReason;
use crate::wire::ethernet;
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::ipv6::{self, Ipv6Header};

pub use outer::OuterHeader;
pub use plain::{PlainDelivery, PlainForm, PlainPacket};

/// Way of a packet from the appliance to its backend, as the configuration names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryMode {
    /// Rewritten destination MAC address; the backend is on the same segment.
    L2,
    /// IP in IP, either family in either (RFC 2003, RFC 2473, RFC 4213).
    Ipip,
    /// Generic routing encapsulation without options (RFC 2784).
    Gre,
    /// Generic UDP encapsulation, variant 0.
    Gue {
        /// UDP port that the backend decapsulates on.
        dst_port: u16,
    },
}

impl DeliveryMode {
    /// Name of the mode in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::Ipip => "ipip",
            Self::Gre => "gre",
            Self::Gue { .. } => "gue",
        }
    }

    /// Bytes that the mode puts before a packet for an endpoint of the family.
    pub const fn overhead(self, endpoint_is_ipv4: bool) -> usize {
        let ip = if endpoint_is_ipv4 { 20 } else { 40 };
        match self {
            Self::L2 => 0,
            Self::Ipip => ip,
            Self::Gre => ip + outer::GRE_LEN,
            Self::Gue { .. } => ip + outer::UDP_LEN + outer::GUE_LEN,
        }
    }
}

/// Addresses that a tunnel's outer header is made of.
#[derive(Clone, Copy, Debug)]
pub struct Tunnel {
    /// Endpoint, of the same family as `source`.
    pub endpoint: Address,
    /// Own address of the appliance.
    pub source: Address,
    /// Prefix to take sources from instead, one per flow, for receivers that spread load by outer addresses.
    pub source_range: Option<Prefix>,
}

/// Delivery to one backend, worked out when its snapshot is made.
#[derive(Clone, Debug)]
pub struct Delivery {
    egress: Egress,
    inner_mtu: usize,
    /// Length of the largest packet that fits the path as it is configured, where a narrower one may have been learnt.
    configured_inner_mtu: usize,
    overhead: usize,
    outer: Option<OuterHeader>,
    fragments: bool,
}

/// Treatment of a packet that does not fit the path to its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLong {
    /// Dropped; the sender is told the MTU.
    Refuse,
    /// Dropped: to tell the sender would change nothing, and the tunnel does not fragment.
    Drop,
    /// Delivered; the outer packet leaves in fragments.
    Fragment,
    /// Delivered whole, to be fragmented on the path.
    Forward,
}

impl Delivery {
    /// Delivery that rewrites a frame's link-layer addresses to those of `egress`.
    pub fn l2(egress: Egress, mtu: u16) -> Self {
        let inner_mtu = usize::from(mtu);
        Self {
            egress,
            inner_mtu,
            configured_inner_mtu: inner_mtu,
            overhead: 0,
            outer: None,
            fragments: false,
        }
    }

    /// Delivery that puts an outer header before the packet, and sends the frame on its way by `egress`.
    pub fn tunnel(mode: DeliveryMode, tunnel: &Tunnel, egress: Egress, mtu: u16) -> Self {
        let overhead = mode.overhead(tunnel.endpoint.is_ipv4());
        let outer = OuterHeader::new(mode, tunnel);
        let inner_mtu = usize::from(mtu) - overhead;
        Self { egress, inner_mtu, configured_inner_mtu: inner_mtu, overhead, outer, fragments: false }
    }

    /// Delivery over a path that was learnt to take packets of `mtu` bytes, the outermost ones, where that is less.
    #[must_use]
    pub fn narrowed_to(self, mtu: u16) -> Self {
        let inner_mtu = usize::from(mtu).saturating_sub(self.overhead).min(self.configured_inner_mtu);
        Self { inner_mtu, ..self }
    }

    /// Delivery whose tunnel carries IPv4 packets without DF that do not fit it in fragments, where `fragments` is true.
    #[must_use]
    pub fn fragmenting(self, fragments: bool) -> Self {
        Self { fragments, ..self }
    }

    /// Egress that frames leave by.
    pub fn egress(&self) -> &Egress {
        &self.egress
    }

    /// Port that sends the delivered frames.
    #[inline]
    pub fn port(&self) -> PortId {
        self.egress.port
    }

    /// Length of the largest packet that fits the path behind its outer header.
    #[inline]
    pub fn inner_mtu(&self) -> usize {
        self.inner_mtu
    }

    /// MTU of the path, in bytes of the outermost packet.
    #[inline]
    pub fn mtu(&self) -> usize {
        self.inner_mtu + self.overhead
    }

    /// MTU that the sender of a packet which does not fit is told.
    pub fn told_mtu(&self, packet: &Packet) -> usize {
        // RFC 2473, section 7.1(a): no less than what every IPv6 path has, for senders ignore that (RFC 8201, section 4).
        if self.outer.is_none() || packet.is_ipv4 {
            self.inner_mtu
        } else {
            self.inner_mtu.max(ipv6::MIN_MTU)
        }
    }

    /// True if the packet fits the path.
    #[inline(always)]
    pub fn fits(&self, packet: &Packet) -> bool {
        packet.l3_len as usize <= self.inner_mtu
    }

    /// Treatment of a packet that does not fit the path.
    pub fn too_long(&self, packet: &Packet) -> TooLong {
        let len = packet.l3_len as usize;
        if len + self.overhead > usize::from(u16::MAX) {
            return TooLong::Refuse;
        }
        // A learnt path MTU is somebody's word: what cannot get shorter is sent as it would be without. If it is true,
        // a router fragments it, or drops it as it would before.
        let fits_configured_path = len <= self.configured_inner_mtu;
        match (&self.outer, packet.dont_fragment) {
            // A link that is no narrower than the one that the packet leaves by brought it, or a router is on the way.
            (None, false) => TooLong::Forward,
            (None, true) => TooLong::Refuse,
            (Some(_), false) if self.fragments => TooLong::Fragment,
            (Some(_), false) if fits_configured_path => TooLong::Forward,
            (Some(_), false) => TooLong::Drop,
            // Senders make no IPv6 packets shorter than this, whatever they are told.
            (Some(_), true) if !packet.is_ipv4 && len <= ipv6::MIN_MTU => {
                if fits_configured_path {
                    TooLong::Forward
                } else {
                    TooLong::Drop
                }
            }
            (Some(_), true) => TooLong::Refuse,
        }
    }

    /// Turns `frame`, which holds `packet`, into the frame that the backend gets. The TTL goes down by one.
    ///
    /// `flow` is told apart from others in outer headers: the connection's, also where an ICMP error follows it.
    ///
    /// # Errors
    /// `NextHopUnresolved` and `NoHeadroom`, with the frame unchanged.
    pub fn deliver<F: Frame>(&self, frame: &mut F, packet: &Packet, flow: &Flow) -> Result<(), DropReason> {
        self.deliver_any(frame, packet, flow, self.egress.offloads_udp_checksum)
    }

    /// Turns `frame` into one that [`fragments::fragments`] cuts into the frames that the backend gets.
    ///
    /// # Errors
    /// `NextHopUnresolved` and `NoHeadroom`; where the latter concerns the fragment header alone, the frame is changed.
    pub fn deliver_in_fragments<F: Frame>(
        &self,
        frame: &mut F,
        packet: &Packet,
        flow: &Flow,
    ) -> Result<(), DropReason> {
        // A device would compute a checksum for each fragment.
        self.deliver_any(frame, packet, flow, false)?;
        if self.outer.as_ref().is_none_or(OuterHeader::is_ipv4) {
            return Ok(());
        }
        let l3 = usize::from(packet.l3_offset);
        let inner = frame.bytes().get(l3 + self.overhead..).and_then(Ipv4Header::parse);
        // Fragments of one datagram share an identification, and each is a packet of its own here.
        let own = inner.map_or(0, |ip| u32::from(ip.id.get()) << 16 | u32::from(ip.flags_offset.get()));
        if fragments::insert_header(frame, l3, own ^ flow.entropy()) {
            Ok(())
        } else {
            Err(DropReason::NoHeadroom)
        }
    }

    #[inline(never)]
    fn deliver_any<F: Frame>(
        &self,
        frame: &mut F,
        packet: &Packet,
        flow: &Flow,
        offloads_udp_checksum: bool,
    ) -> Result<(), DropReason> {
        let Some(next_hop) = self.egress.next_hop else { return Err(DropReason::NextHopUnresolved) };
        let l3 = usize::from(packet.l3_offset);
        let len = packet.l3_len as usize;
        let source = self.egress.source.unwrap_or_else(|| ethernet::destination(frame.bytes()));
        if let Some(outer) = &self.outer {
            if !frame.prepend(self.overhead) {
                return Err(DropReason::NoHeadroom);
            }
            // Padding of a short frame must not end up inside the tunnel.
            frame.truncate(self.overhead + l3 + len);
            let offloaded = offloads_udp_checksum
                && outer.has_udp_checksum()
                && frame.offload_udp_checksum(l3, ipv6::HEADER_LEN);
            let bytes = frame.bytes_mut();
            if l3 > ethernet::HEADER_LEN {
                let tags = ethernet::ADDRESSES_LEN..l3;
                bytes.copy_within(self.overhead + tags.start..self.overhead + tags.end, tags.start);
            }
            let (link, rest) = bytes.split_at_mut(l3);
            let (headers, inner) = rest.split_at_mut(self.overhead);
            let ethertype: u16 = if outer.is_ipv4() { ipv4::ETHERTYPE } else { ipv6::ETHERTYPE };
            link[l3 - 2..].copy_from_slice(&ethertype.to_be_bytes());
            ethernet::set_addresses(link, next_hop, source);
            decrement_ttl(inner, packet.is_ipv4);
            outer.write(headers, inner, packet, flow, offloaded);
        } else {
            let (link, packet_bytes) = frame.bytes_mut().split_at_mut(l3);
            ethernet::set_addresses(link, next_hop, source);
            decrement_ttl(packet_bytes, packet.is_ipv4);
        }
        Ok(())
    }
}

#[inline]
fn decrement_ttl(packet: &mut [u8], is_ipv4: bool) {
    if is_ipv4 {
        if let Some(header) = Ipv4Header::parse_mut(packet) {
            header.decrement_ttl();
        }
    } else if let Some(header) = Ipv6Header::parse_mut(packet) {
        header.hop_limit -= 1;
    }
}

#[cfg(test)]
mod tests {
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};
    use pcap_fixtures::packet::Packet as Packets;

    use super::*;
    use crate::wire::ethernet::MacAddress;

    struct Memory {
        bytes: Vec<u8>,
        start: usize,
    }

    impl Frame for Memory {
        fn bytes(&self) -> &[u8] {
            &self.bytes[self.start..]
        }

        fn bytes_mut(&mut self) -> &mut [u8] {
            &mut self.bytes[self.start..]
        }

        fn prepend(&mut self, count: usize) -> bool {
            self.start -= count;
            true
        }

        fn truncate(&mut self, len: usize) {
            self.bytes.truncate(self.start + len);
        }
    }

    /// All modes in turn: a new one does not compile before it has its turn.
    fn following(mode: &DeliveryMode) -> Option<DeliveryMode> {
        match mode {
            DeliveryMode::L2 => Some(DeliveryMode::Ipip),
            DeliveryMode::Ipip => Some(DeliveryMode::Gre),
            DeliveryMode::Gre => Some(DeliveryMode::Gue { dst_port: 6080 }),
            DeliveryMode::Gue { .. } => None,
        }
    }

    /// The tunnelled frame of a packet, by the plain path where there is one for it and by the general path where not.
    fn delivered(
        mode: DeliveryMode,
        outer: [&str; 2],
        inner: [&str; 2],
        source: Option<MacAddress>,
    ) -> Vec<u8> {
        let [endpoint, own] =
            outer.map(|text| Address::from(text.parse::<std::net::IpAddr>().expect("an address")));
        let egress = Egress { source, ..Egress::to(MacAddress([2, 0, 0, 0, 0, 7])) };
        let tunnel = Tunnel { endpoint, source: own, source_range: None };
        let received =
            Packets::between(inner[0], inner[1]).dont_fragment().tcp(1025, 80, 0x10).payload_len(77).build();
        let packet = Packet::parse(&received).expect("a whole packet");
        let mut frame = Memory { bytes: [vec![0; 128], received].concat(), start: 128 };
        let delivery = Delivery::tunnel(mode, &tunnel, egress, 1500);
        delivery.deliver(&mut frame, &packet, &packet.flow).expect("there is headroom");
        frame.bytes().to_vec()
    }

    /// A learnt path MTU may be forged: what its sender cannot make shorter goes on as it did before.
    #[test]
    fn what_cannot_get_shorter_is_dropped_by_the_configured_mtu_alone() {
        let address = |text: &str| Address::from(text.parse::<std::net::IpAddr>().expect("an address"));
        let tunnel =
            Tunnel { endpoint: address("10.1.0.7"), source: address("192.0.2.1"), source_range: None };
        let egress = Egress::to(MacAddress([2, 0, 0, 0, 0, 7]));
        let configured = Delivery::tunnel(DeliveryMode::Ipip, &tunnel, egress, 1500);
        let learnt = configured.clone().narrowed_to(1300);
        assert_eq!((learnt.mtu(), learnt.inner_mtu()), (1300, 1280));
        assert_eq!(configured.clone().narrowed_to(1600).mtu(), 1500);
        let v4 =
            |len: usize| Packets::between("192.0.2.7", "203.0.113.10").tcp(1, 80, 0x10).payload_len(len - 40);
        let v6 = |len: usize| {
            Packets::between("2001:db8::7", "2001:db8::10").tcp(1, 80, 0x10).payload_len(len - 60)
        };
        let narrower = configured.clone().narrowed_to(1200);
        for (claim, delivery, packet, expected) in [
            ("by what is configured", &configured, v4(1481), TooLong::Drop),
            ("by what was learnt", &learnt, v4(1480), TooLong::Forward),
            ("with DF", &learnt, v4(1480).dont_fragment(), TooLong::Refuse),
            ("in fragments", &learnt.clone().fragmenting(true), v4(1480), TooLong::Fragment),
            ("the least of IPv6", &narrower, v6(1280), TooLong::Forward),
            ("more of IPv6", &narrower, v6(1281), TooLong::Refuse),
        ] {
            let packet = Packet::parse(&packet.build()).expect("a whole packet");
            assert!(!delivery.fits(&packet), "{claim}");
            assert_eq!(delivery.too_long(&packet), expected, "{claim}");
        }
    }

    #[test]
    fn a_tunnel_in_udp_has_its_length_and_over_ipv6_its_checksum() {
        let (v4, v6) = (["10.1.0.7", "192.0.2.1"], ["fd00::7", "2001:db8:1::1"]);
        for mode in std::iter::successors(Some(DeliveryMode::L2), following) {
            for (outer, inner) in [(v4, v4), (v4, v6), (v6, v4), (v6, v6)] {
                for source in [None, Some(MacAddress([2, 0, 0, 0, 0, 1]))] {
                    let claim = format!("{mode:?} from {outer:?} of {inner:?}");
                    let frame = delivered(mode, outer, inner, source);
                    let sliced = SlicedPacket::from_ethernet(&frame).expect(&claim);
                    let Some(TransportSlice::Udp(udp)) = sliced.transport else { continue };
                    match sliced.net.expect(&claim) {
                        NetSlice::Ipv4(ip) => {
                            assert_eq!(usize::from(udp.length()), ip.payload().payload.len(), "{claim}");
                        }
                        NetSlice::Ipv6(ip) => {
                            assert_eq!(usize::from(udp.length()), ip.payload().payload.len(), "{claim}");
                            let header = ip.header().to_header();
                            let sum = udp.to_header().calc_checksum_ipv6(&header, udp.payload());
                            assert_eq!(Ok(udp.checksum()), sum, "{claim}");
                        }
                        NetSlice::Arp(_) => unreachable!("{claim}"),
                    }
                }
            }
        }
    }
}
