//! Tunnels as backends take them apart, by etherparse and by no code of the appliance.

use std::net::IpAddr;

use etherparse::{IpNumber, NetSlice, SlicedPacket, TransportSlice};

use crate::scenario::Delivery;

/// UDP port on which backends take GUE.
const GUE_PORT: u16 = 6080;

/// Ether types of IPv4 and of IPv6.
const ETHER_TYPES: [[u8; 2]; 2] = [[8, 0], [0x86, 0xdd]];

/// Packet in a tunnel, and the headers before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Kind of the tunnel.
    pub delivery: Delivery,
    /// Address that the tunnel leads to.
    pub destination: IpAddr,
    /// Frame on a link without the tunnel: the packet with the link-layer addresses of the outer one.
    pub frame: Vec<u8>,
    /// Error in the outer headers, if there is one.
    pub fault: Option<&'static str>,
}

/// Takes a tunnel apart; none where the frame has none.
pub fn open(frame: &[u8]) -> Option<Opened> {
    let sliced = SlicedPacket::from_ethernet(frame).ok()?;
    let (protocol, destination, payload, mut fault) = match sliced.net.as_ref()? {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            let is_right = header.header_checksum() == header.to_header().calc_header_checksum();
            let fault = match (header.ttl(), is_right) {
                (64, true) => None,
                (64, false) => Some("the outer checksum is wrong"),
                _ => Some("the outer TTL is not 64"),
            };
            (ip.payload().ip_number, IpAddr::from(header.destination()), ip.payload().payload, fault)
        }
        NetSlice::Ipv6(ip) => {
            let header = ip.header();
            let fault = (header.hop_limit() != 64).then_some("the outer hop limit is not 64");
            (ip.payload().ip_number, IpAddr::from(header.destination()), ip.payload().payload, fault)
        }
        NetSlice::Arp(_) => return None,
    };
    let (delivery, ether_type, inner) = match (protocol, sliced.transport.as_ref()) {
        (IpNumber::IPV4, _) => (Delivery::Ipip, ETHER_TYPES[0], payload),
        (IpNumber::IPV6, _) => (Delivery::Ipip, ETHER_TYPES[1], payload),
        (IpNumber::GRE, _) => {
            // Without options, by RFC 2784.
            let (header, inner) = payload.split_first_chunk::<4>()?;
            fault = fault.or((header[..2] != [0, 0]).then_some("GRE has options"));
            (Delivery::Gre, [header[2], header[3]], inner)
        }
        (_, Some(TransportSlice::Udp(udp))) if udp.destination_port() == GUE_PORT => {
            if let NetSlice::Ipv6(ip) = sliced.net.as_ref()? {
                let sum = udp.to_header().calc_checksum_ipv6(&ip.header().to_header(), udp.payload());
                fault = fault.or((sum != Ok(udp.checksum())).then_some("the checksum of UDP is wrong"));
            }
            let (header, inner) = udp.payload().split_first_chunk::<4>()?;
            fault = fault.or(((header[0], header[2], header[3]) != (0, 0, 0)).then_some("GUE has options"));
            let ether_type = match IpNumber(header[1]) {
                IpNumber::IPV4 => ETHER_TYPES[0],
                IpNumber::IPV6 => ETHER_TYPES[1],
                _ => return None,
            };
            (Delivery::Gue, ether_type, inner)
        }
        _ => return None,
    };
    let is_what_it_says = match inner.first()? >> 4 {
        4 => ether_type == ETHER_TYPES[0],
        6 => ether_type == ETHER_TYPES[1],
        _ => false,
    };
    fault = fault.or((!is_what_it_says).then_some("the packet inside is of another version"));
    let frame = [frame.get(..12)?, &ether_type, inner].concat();
    Some(Opened { delivery, destination, frame, fault })
}

#[cfg(test)]
mod tests {
    use pcap_fixtures::packet::Packet;

    use super::*;

    #[test]
    fn a_tunnel_is_taken_apart_and_an_error_in_its_headers_is_told() {
        let inner = Packet::between("198.51.100.1", "203.0.113.10").tcp(1, 80, 2);
        let bytes = inner.ip_bytes();
        let outer = || Packet::between("192.0.2.1", "192.0.2.11");
        let gue = [&[0, 4, 0, 0], &bytes[..]].concat();
        for (delivery, packet) in [
            (Delivery::Ipip, outer().protocol(4).payload(&bytes)),
            (Delivery::Gre, outer().gre(0x0800).payload(&bytes)),
            (Delivery::Gue, outer().udp(50_000, GUE_PORT).payload(&gue)),
        ] {
            let opened = open(&packet.build()).expect("it is a tunnel");
            assert_eq!((opened.delivery, opened.fault), (delivery, None));
            assert_eq!((&opened.frame[14..], opened.destination), (&bytes[..], [192, 0, 2, 11].into()));
            let short_lived = open(&packet.ttl(63).build()).expect("it is a tunnel");
            assert_eq!(short_lived.fault, Some("the outer TTL is not 64"));
        }
        let mislabelled = open(&outer().protocol(41).payload(&bytes).build()).expect("it is a tunnel");
        assert_eq!(mislabelled.fault, Some("the packet inside is of another version"));
        assert_eq!(open(&inner.build()), None);
    }
}
