//! Answers to the device's health checks: backends echo a datagram that comes to them, in whatever tunnel (RFC 862).
//!
//! A check of type `UDP` whose `response` is its `request` finds every backend healthy in this way.

use std::net::IpAddr;

use guideway_dataplane::packet::Packet;
use guideway_dataplane::wire::ethernet::MacAddress;

use super::client;
use super::protocol::Family;

const L3: usize = 14;
const IPV4_IN_IP: u8 = 4;
const UDP: u8 = 17;
const IPV6_IN_IP: u8 = 41;
const GRE: u8 = 47;

/// Bytes of a GRE header without options, and of a UDP header with a GUE header.
const GRE_LEN: usize = 4;
const GUE_LEN: usize = 8 + 4;

/// UDP port that GUE has by default.
const GUE_PORT: u16 = 6080;

/// Makes the echo of a datagram, from the port that has this MAC address; none of any other frame, nor of one that comes
/// from a client of the tester's.
pub(super) fn echo(frame: &[u8], own: MacAddress) -> Option<Vec<u8>> {
    let outer = Packet::parse(frame).ok()?;
    let l4 = usize::from(outer.l4_offset);
    let inner_at = match outer.flow.protocol {
        IPV4_IN_IP | IPV6_IN_IP => l4,
        GRE => l4 + GRE_LEN,
        UDP if outer.flow.dst_port == GUE_PORT => l4 + GUE_LEN,
        UDP => usize::from(outer.l3_offset),
        _ => return None,
    };
    let packet = frame.get(inner_at..usize::from(outer.l3_offset) + outer.l3_len as usize)?;
    let is_ipv4 = packet.first()? >> 4 == 4;
    let ether_type = if is_ipv4 { [0x08, 0x00] } else { [0x86, 0xdd] };
    let mut echo = [&frame[6..12], &own.0, &ether_type, packet].concat();
    let asked = Packet::parse(&echo).ok()?;
    if asked.flow.protocol != UDP || is_client(asked.flow.src.into()) {
        return None;
    }
    // The checksums are sums, to which the order of addresses and ports does not matter.
    let (addresses, len) = if is_ipv4 { (L3 + 12, 4) } else { (L3 + 8, 16) };
    let (first, second) = echo.get_mut(addresses..addresses + 2 * len)?.split_at_mut(len);
    first.swap_with_slice(second);
    let ports = usize::from(asked.l4_offset);
    let (first, second) = echo.get_mut(ports..ports + 4)?.split_at_mut(2);
    first.swap_with_slice(second);
    Some(echo)
}

fn is_client(address: IpAddr) -> bool {
    let family = if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
    let [first, last] = client::ends(family);
    (first..=last).contains(&address)
}

#[cfg(test)]
mod tests {
    use pcap_fixtures::packet::Packet as Built;

    use super::*;

    const DEVICE: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const OWN: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);

    fn probe(src: &str, dst: &str) -> Built {
        Built::between(src, dst).udp(4_000, 7).payload(b"alive?").macs(DEVICE, OWN.0)
    }

    #[test]
    fn a_probe_is_echoed_from_any_tunnel() {
        for (src, dst, ether_type) in
            [("10.99.0.1", "203.0.113.1", 0x0800), ("2001:db8:1::1", "2001:db8::1", 0x86dd)]
        {
            let (probe, number) = (probe(src, dst), if ether_type == 0x0800 { 4 } else { 41 });
            let expected =
                Built::between(dst, src).udp(7, 4_000).payload(b"alive?").macs(OWN.0, DEVICE).build();
            let inner = probe.ip_bytes();
            let tunnel = || Built::between("192.0.2.1", "10.99.1.7").macs(DEVICE, OWN.0);
            let gue = [&[0, number, 0, 0][..], &inner].concat();
            for frame in [
                probe.build(),
                probe.trailer(&[0; 9]).build(),
                tunnel().protocol(number).payload(&inner).build(),
                tunnel().gre(ether_type).payload(&inner).build(),
                tunnel().udp(50_000, GUE_PORT).payload(&gue).build(),
            ] {
                assert_eq!(echo(&frame, OWN).as_deref(), Some(&expected[..]), "{src}");
            }
        }
    }

    #[test]
    fn a_clients_frame_is_not_echoed_and_neither_is_nonsense() {
        assert_eq!(echo(&probe("198.18.0.1", "203.0.113.1").build(), OWN), None);
        let segment = Built::between("10.99.0.1", "203.0.113.1").tcp(1, 2, 2).build();
        assert_eq!(echo(&segment, OWN), None);
        let tunnelled = Built::between("192.0.2.1", "10.99.1.7").protocol(IPV4_IN_IP);
        let frame = tunnelled.payload(&probe("10.99.0.1", "203.0.113.1").ip_bytes()).build();
        for len in 0..frame.len() {
            assert_eq!(echo(&frame[..len], OWN), None, "{len}");
        }
    }
}
