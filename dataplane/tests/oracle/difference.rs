//! The differences between our reading of a frame and etherparse's that are meant, each with the reason and a frame.

use etherparse::err::packet::SliceError;
use etherparse::err::{Layer, ipv6_exts};
use etherparse::{Ipv6ExtensionSlice, NetSlice, SlicedPacket};
use guideway_dataplane::flow::Fragment;
use guideway_dataplane::packet::Packet;
use guideway_dataplane::verdict::{DropReason, PassReason, Verdict};
use guideway_dataplane::wire::ethernet::{self, EtherType};
use guideway_dataplane::wire::protocol;
use pcap_fixtures::packet as build;

use crate::frames;

/// A difference that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// A third VLAN tag is not ours: the frame goes to the host path as it is, whole or not.
    ThirdTag,
    /// Nor is MACsec, into which etherparse looks.
    Macsec,
    /// Nor is ARP, which the host path reads; a damaged one is its concern.
    Arp,
    /// An authentication header is a protocol by its number, in IPv6 as in IPv4; etherparse walks over it.
    AuthenticationHeader,
    /// The headers of mobility, HIP and Shim6 are walked over (IANA lists them among the extension headers);
    /// etherparse takes them for protocols.
    RareExtensionHeader,
    /// Behind an IPv6 fragment header with an offset is the middle of something; etherparse goes on.
    LaterFragment,
    /// An IPv6 payload length of zero is an empty payload with padding behind it; etherparse takes it for a
    /// jumbogram (RFC 2675), which Ethernet does not carry.
    EmptyPayload,
    /// No sender fragments a fragment (RFC 8200, section 4.5).
    SecondFragmentHeader,
    /// The walk over IPv6 extension headers is bounded.
    ManyExtensionHeaders,
    /// An IPv4-mapped source or destination must not travel in an IPv6 packet.
    MappedAddress,
    /// No datagram is longer than 65,535 bytes, so no fragment ends behind that.
    FragmentPastTheEnd,
    /// A first fragment needs its layer-4 header here; etherparse looks into no fragment. RFC 8200, section 4.5, and
    /// RFC 1858 let it be dropped where that header is cut.
    FirstFragmentCutShort,
    /// ICMPv6 in IPv4 and ICMP in IPv6 are protocols by their number.
    IcmpOfTheOtherFamily,
    /// IGMP is a protocol by its number.
    Igmp,
    /// ICMP timestamps may have any length: only their first 8 bytes matter to us.
    IcmpTimestamp,
    /// A UDP length of zero means a jumbogram too.
    UdpLengthZero,
}

impl Difference {
    pub(crate) const ALL: [Self; 16] = [
        Self::ThirdTag,
        Self::Macsec,
        Self::Arp,
        Self::AuthenticationHeader,
        Self::RareExtensionHeader,
        Self::LaterFragment,
        Self::EmptyPayload,
        Self::SecondFragmentHeader,
        Self::ManyExtensionHeaders,
        Self::MappedAddress,
        Self::FragmentPastTheEnd,
        Self::FirstFragmentCutShort,
        Self::IcmpOfTheOtherFamily,
        Self::Igmp,
        Self::IcmpTimestamp,
        Self::UdpLengthZero,
    ];

    /// True if the difference accounts for the two readings of a frame.
    pub(crate) fn explains(
        self,
        frame: &[u8],
        ours: &Result<Packet, Verdict>,
        theirs: &Result<SlicedPacket<'_>, SliceError>,
    ) -> bool {
        let protocol = ours.as_ref().ok().map(|packet| packet.flow.protocol);
        let is_ipv4 = ours.as_ref().is_ok_and(|packet| packet.is_ipv4);
        let theirs = Theirs(theirs);
        match self {
            Self::ThirdTag => is_not_ip(frame, ours, &[0x8100, 0x88a8, 0x9100]),
            Self::Macsec => is_not_ip(frame, ours, &[0x88e5]),
            Self::Arp => is_not_ip(frame, ours, &[0x0806]) && theirs.stopped_in(&[Layer::Arp]),
            Self::AuthenticationHeader => {
                protocol == Some(AUTHENTICATION) && theirs.stopped_in_or_behind_it()
            }
            Self::RareExtensionHeader => {
                theirs.protocol().is_some_and(|number| [135, 139, 140].contains(&number))
            }
            Self::LaterFragment => {
                let is_later = |packet: &Packet| packet.flow.fragment == Fragment::Later;
                !is_ipv4 && ours.as_ref().is_ok_and(is_later) && theirs.0.is_err()
            }
            Self::EmptyPayload => theirs.payload_is_the_rest(frame, ours),
            Self::SecondFragmentHeader => {
                is_dropped(ours, DropReason::MalformedIpv6)
                    && theirs.count(|e| matches!(e, Ipv6ExtensionSlice::Fragment(_))) > 1
            }
            Self::ManyExtensionHeaders => {
                is_dropped(ours, DropReason::MalformedIpv6) && theirs.count(|_| true) > 8
            }
            Self::MappedAddress => is_dropped(ours, DropReason::MartianSource) && theirs.has_mapped(),
            Self::FragmentPastTheEnd => {
                is_dropped(ours, DropReason::MalformedIpv4) && theirs.ends_past_65535()
            }
            Self::FirstFragmentCutShort => is_malformed_layer4(ours) && theirs.is_first_fragment(),
            Self::IcmpOfTheOtherFamily => {
                (is_ipv4 && protocol == Some(protocol::ICMPV6)
                    || !is_ipv4 && protocol == Some(protocol::ICMP))
                    && theirs.stopped_in(ICMP_LAYERS)
            }
            Self::Igmp => protocol == Some(IGMP) && theirs.stopped_in(&[Layer::Igmp]),
            Self::IcmpTimestamp => {
                protocol == Some(protocol::ICMP)
                    && theirs.stopped_in(&[Layer::Icmpv4Timestamp, Layer::Icmpv4TimestampReply])
            }
            Self::UdpLengthZero => {
                is_dropped(ours, DropReason::MalformedUdp) && theirs.udp_length() == Some(0)
            }
        }
    }

    /// A frame that shows it.
    pub(crate) fn example(self) -> Vec<u8> {
        let v4 = || build::Packet::between("198.51.100.7", "203.0.113.10");
        let v6 = || build::Packet::between("2001:db8:c::7", "2001:db8::10");
        let syn = build::tcp::SYN;
        match self {
            Self::ThirdTag => v4().vlan(1).vlan(2).vlan(3).udp(1, 2).build(),
            // Its header is as long as two tags: flags, short length, packet number, EtherType.
            Self::Macsec => v4().vlan(0).vlan(1).udp(1, 2).patch(12, &[0x88, 0xe5, 0, 0, 0, 0]).build(),
            // Address lengths of 255 bytes each.
            Self::Arp => v4().patch(12, &[0x08, 0x06]).patch(14 + 4, &[255, 255]).build(),
            Self::AuthenticationHeader => v4().protocol(AUTHENTICATION).payload_len(4).build(),
            Self::RareExtensionHeader => {
                frames::chain(&[(135, 0, 0), (60, 0, 0)], protocol::UDP, &[0, 1, 0, 2, 0, 8, 0, 0])
            }
            Self::LaterFragment => frames::chain(&[(44, 0, 8)], 60, &[]),
            Self::EmptyPayload => v6().protocol(protocol::UDP).trailer(&[0, 1, 0, 2, 0, 8, 0, 0]).build(),
            Self::SecondFragmentHeader => frames::chain(&[(44, 0, 1), (44, 0, 1)], 253, &[]),
            Self::ManyExtensionHeaders => frames::chain(&[(60, 0, 0); 9], 253, &[]),
            Self::MappedAddress => {
                build::Packet::between("::ffff:198.51.100.7", "2001:db8::10").tcp(1, 2, syn).build()
            }
            Self::FragmentPastTheEnd => v4().fragment(65_528, false).payload_len(16).build(),
            Self::FirstFragmentCutShort => {
                v4().protocol(protocol::TCP).payload_len(8).fragment(0, true).build()
            }
            Self::IcmpOfTheOtherFamily => v4().protocol(protocol::ICMPV6).build(),
            Self::Igmp => v4().protocol(IGMP).build(),
            Self::IcmpTimestamp => v4().icmp(13, 0, 0).build(),
            Self::UdpLengthZero => v4().udp(1, 2).patch(14 + 20 + 4, &[0, 0]).build(),
        }
    }
}

const AUTHENTICATION: u8 = 51;
const IGMP: u8 = 2;
const ICMP_LAYERS: &[Layer] =
    &[Layer::Icmpv4, Layer::Icmpv4Timestamp, Layer::Icmpv4TimestampReply, Layer::Icmpv6];

fn is_not_ip(frame: &[u8], ours: &Result<Packet, Verdict>, types: &[u16]) -> bool {
    matches!(ours, Err(Verdict::Pass(PassReason::NotIp)))
        && matches!(ethernet::payload(frame), Some((EtherType::Other(other), _)) if types.contains(&other))
}

fn is_dropped(ours: &Result<Packet, Verdict>, wanted: DropReason) -> bool {
    matches!(ours, Err(Verdict::Drop(reason)) if *reason == wanted)
}

fn is_malformed_layer4(ours: &Result<Packet, Verdict>) -> bool {
    use DropReason::{MalformedIcmp, MalformedTcp, MalformedUdp};
    matches!(ours, Err(Verdict::Drop(MalformedTcp | MalformedUdp | MalformedIcmp)))
}

/// Reading of a frame by etherparse.
struct Theirs<'a>(&'a Result<SlicedPacket<'a>, SliceError>);

impl Theirs<'_> {
    fn stopped_in(&self, layers: &[Layer]) -> bool {
        matches!(self.0, Err(SliceError::Len(error)) if layers.contains(&error.layer))
    }

    /// Refused the authentication header itself, or read on behind it.
    fn stopped_in_or_behind_it(&self) -> bool {
        match self.0 {
            Err(SliceError::Len(_) | SliceError::Tcp(_) | SliceError::Ipv4Exts(_)) => true,
            Err(SliceError::Ipv6Exts(error)) => matches!(
                error,
                ipv6_exts::HeaderError::IpAuth(_) | ipv6_exts::HeaderError::HopByHopNotAtStart
            ),
            _ => false,
        }
    }

    fn net(&self) -> Option<&NetSlice<'_>> {
        self.0.as_ref().ok()?.net.as_ref()
    }

    /// Protocol behind the extension headers that etherparse knows.
    fn protocol(&self) -> Option<u8> {
        match self.net()? {
            NetSlice::Ipv6(ip) => Some(ip.payload().ip_number.0),
            _ => None,
        }
    }

    fn count(&self, wanted: fn(&Ipv6ExtensionSlice<'_>) -> bool) -> usize {
        match self.net() {
            Some(NetSlice::Ipv6(ip)) => ip.extensions().clone().into_iter().filter(wanted).count(),
            _ => 0,
        }
    }

    fn payload_is_the_rest(&self, frame: &[u8], ours: &Result<Packet, Verdict>) -> bool {
        let is_empty = match (self.net(), ours) {
            (Some(NetSlice::Ipv6(ip)), _) => ip.header().payload_length() == 0,
            (None, Ok(packet)) => !packet.is_ipv4 && packet.l3_len == 40,
            _ => false,
        };
        is_empty && frame.len() > 14 + 40
    }

    fn has_mapped(&self) -> bool {
        match self.net() {
            Some(NetSlice::Ipv6(ip)) => [ip.header().source_addr(), ip.header().destination_addr()]
                .iter()
                .any(|address| address.to_ipv4_mapped().is_some()),
            _ => false,
        }
    }

    fn ends_past_65535(&self) -> bool {
        match self.net() {
            Some(NetSlice::Ipv4(ip)) => {
                let start = usize::from(ip.header().fragments_offset().byte_offset());
                start + usize::from(ip.header().total_len()) > 65_535
            }
            _ => false,
        }
    }

    fn is_first_fragment(&self) -> bool {
        match self.net() {
            Some(NetSlice::Ipv4(ip)) => {
                ip.header().more_fragments() && ip.header().fragments_offset().value() == 0
            }
            Some(NetSlice::Ipv6(ip)) => ip.payload().fragmented,
            _ => false,
        }
    }

    fn udp_length(&self) -> Option<u16> {
        match &self.0.as_ref().ok()?.transport {
            Some(etherparse::TransportSlice::Udp(udp)) => Some(udp.length()),
            _ => None,
        }
    }
}
