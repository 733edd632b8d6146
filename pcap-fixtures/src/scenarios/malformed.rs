//! Malformed input: every frame is counted once, none comes out, and the next good one does.

use super::{VIP, VIP_V6, client, client_v6, everything, everything_v6, web};
use crate::configuration::{OWN_V4, OWN_V6};
use crate::fixture::{Fixture, Outcome, new, off};
use crate::packet::Packet;
use crate::packet::tcp::{ACK, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![
        ethernet(),
        truncated(),
        ipv4(),
        transport(),
        fragments(),
        ipv6(),
        extension_headers(),
        martians(),
        martians_v6(),
        own_sources(),
        own_sources_v6(),
        odd(),
    ]
}

const ETHERNET: Outcome = Outcome::Drop("malformed_ethernet");
const TRUNCATED: Outcome = Outcome::Drop("truncated");
const IPV4: Outcome = Outcome::Drop("malformed_ipv4");
const IPV6: Outcome = Outcome::Drop("malformed_ipv6");
const TCP: Outcome = Outcome::Drop("malformed_tcp");
const UDP: Outcome = Outcome::Drop("malformed_udp");
const ICMP: Outcome = Outcome::Drop("malformed_icmp");

/// Offset of the IP header in an untagged frame.
const IP: usize = 14;

fn ethernet() -> Fixture {
    let whole = client(7).tcp(40_000, 443, SYN);
    let frame = whole.build();
    let tagged = client(7).service_vlan(5).vlan(100).tcp(40_000, 443, SYN).build();
    Fixture::new(
        "malformed/frames-that-end-in-their-header",
        "A frame that ends inside its Ethernet header or its VLAN tags is dropped as such.",
        web(""),
    )
    .unhealthy("b2")
    .raw(&[], ETHERNET)
    .raw(&frame[..1], ETHERNET)
    .raw(&frame[..12], ETHERNET)
    .raw(&frame[..13], ETHERNET)
    .raw(&tagged[..14], ETHERNET)
    .raw(&tagged[..17], ETHERNET)
    .raw(&tagged[..21], ETHERNET)
    .frame(&whole, new("web", "b1"))
}

fn truncated() -> Fixture {
    // A datagram of 3,000 bytes, and the IPv6 packet alike, as a device passes them on that cuts after 1,982 bytes.
    let datagram = |packet: Packet| packet.payload_len(3000).build();
    let (v4, v6) = (datagram(client(7).udp(40_000, 53)), datagram(client_v6(7).udp(40_000, 53)));
    let tagged = datagram(client(7).vlan(100).udp(40_000, 53));
    let first = client(7).udp(40_000, 53).payload_len(1480).fragment(0, true).build();
    let later = client(7).protocol(17).fragment(1480, false).payload_len(100).build();
    let cut = client(7).vlan(100).tcp(40_000, 443, SYN).build();
    Fixture::new(
        "malformed/frames-that-were-cut",
        "A frame that is shorter than its IP packet, whole or a fragment, is dropped as truncated, whichever \
         layer it ends in.",
        everything("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .raw(&v4[..1982], TRUNCATED)
    .raw(&v6[..1982], TRUNCATED)
    .raw(&tagged[..1982], TRUNCATED)
    .raw(&first[..first.len() - 1], TRUNCATED)
    .raw(&later[..IP + 20], TRUNCATED)
    .raw(&cut[..IP + 4 + 20], TRUNCATED)
    .raw(&cut[..cut.len() - 1], TRUNCATED)
    // An option's length more than the frame has, of a header that is otherwise whole.
    .raw(&client(7).udp(40_000, 53).payload_len(40).patch(IP, &[0x4f]).build()[..IP + 40], TRUNCATED)
    .frame(&client(7).udp(40_000, 53).payload_len(1000), off("all", "b1"))
}

fn ipv4() -> Fixture {
    let whole = client(7).tcp(40_000, 443, SYN).payload_len(4);
    let frame = whole.build();
    let patched = |offset: usize, bytes: &[u8]| whole.clone().patch(IP + offset, bytes).build();
    Fixture::new(
        "malformed/ipv4-headers-that-contradict-themselves",
        "IPv4: version, header length and total length must agree with each other and with the frame.",
        web(""),
    )
    .unhealthy("b2")
    .raw(&frame[..IP], IPV4)
    .raw(&frame[..IP + 19], IPV4)
    .raw(&patched(0, &[0x55]), IPV4)
    .raw(&patched(0, &[0x65]), IPV4)
    .raw(&patched(0, &[0x44]), IPV4)
    .raw(&patched(0, &[0x40]), IPV4)
    .raw(&patched(0, &[0x4c]), IPV4)
    .raw(&patched(2, &[0, 19]), IPV4)
    .raw(&patched(2, &[0, 0]), IPV4)
    .raw(&patched(2, &45_u16.to_be_bytes()), TRUNCATED)
    .raw(&patched(2, &[0xff, 0xff]), TRUNCATED)
    .raw(&frame[..frame.len() - 1], TRUNCATED)
    .frame(&whole, new("web", "b1"))
}

fn transport() -> Fixture {
    let tcp = client(7).tcp(40_000, 443, SYN).payload_len(4);
    let udp = client(7).udp(40_000, 53).payload_len(4);
    let cut = |protocol, len| client(7).protocol(protocol).payload_len(len).build();
    let l4 = IP + 20;
    Fixture::new(
        "malformed/transport-headers-that-lie",
        "TCP's data offset and UDP's length must be possible, and headers whole; UDP may be shorter than \
         its packet.",
        everything("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .raw(&cut(6, 0), TCP)
    .raw(&cut(6, 19), TCP)
    .raw(&tcp.clone().patch(l4 + 12, &[0x40]).build(), TCP)
    .raw(&tcp.clone().patch(l4 + 12, &[0x00]).build(), TCP)
    .raw(&tcp.clone().patch(l4 + 12, &[0x70]).build(), TCP)
    .raw(&tcp.clone().patch(l4 + 12, &[0xf0]).build(), TCP)
    .raw(&cut(17, 0), UDP)
    .raw(&cut(17, 7), UDP)
    .raw(&udp.clone().patch(l4 + 4, &[0, 7]).build(), UDP)
    .raw(&udp.clone().patch(l4 + 4, &[0, 0]).build(), UDP)
    .raw(&udp.clone().patch(l4 + 4, &[0, 13]).build(), UDP)
    .raw(&udp.clone().patch(l4 + 4, &[0xff, 0xff]).build(), UDP)
    .raw(&cut(1, 0), ICMP)
    .raw(&cut(1, 7), ICMP)
    .frame(&udp.clone().patch(l4 + 4, &[0, 9]), off("all", "b1"))
    .frame(&tcp.patch(l4 + 12, &[0x60]), new("all", "b1"))
    .frame(&udp, off("all", "b1"))
}

fn fragments() -> Fixture {
    Fixture::new(
        "malformed/fragments-that-cannot-be",
        "A fragment past the end of the longest datagram (\"ping of death\") and a first one too small for \
         its header are dropped.",
        everything("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .raw(&client(7).protocol(1).fragment(65_528, false).payload_len(100).build(), IPV4)
    .raw(&client(7).protocol(1).fragment(65_512, false).payload_len(8).build(), IPV4)
    .raw(&client(7).protocol(6).fragment(0, true).payload_len(8).build(), TCP)
    .raw(&client(7).protocol(6).fragment(0, true).payload_len(16).build(), TCP)
    .raw(&client(7).protocol(17).fragment(0, true).payload(&[]).build(), UDP)
    // The last that fits, and a first one whose TCP options go on in the next.
    .frame(&client(7).protocol(1).fragment(65_504, false).payload_len(11), off("all", "b1"))
    .frame(
        &client(7).tcp(40_000, 443, SYN).payload_len(4).fragment(0, true).patch(IP + 20 + 12, &[0xa0]),
        new("all", "b1"),
    )
}

fn ipv6() -> Fixture {
    let whole = client_v6(7).tcp(40_000, 443, SYN).payload_len(4);
    let frame = whole.build();
    let patched = |offset: usize, bytes: &[u8]| whole.clone().patch(IP + offset, bytes).build();
    let cut = |protocol, len| client_v6(7).protocol(protocol).payload_len(len).build();
    Fixture::new(
        "malformed/ipv6-headers-that-contradict-themselves",
        "IPv6: version and payload length must agree with the frame, and a jumbogram's length of 0 is none \
         of a router's.",
        everything_v6("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .raw(&frame[..IP], IPV6)
    .raw(&frame[..IP + 39], IPV6)
    .raw(&patched(0, &[0x45]), IPV6)
    .raw(&patched(0, &[0x00]), IPV6)
    .raw(&patched(4, &25_u16.to_be_bytes()), TRUNCATED)
    .raw(&patched(4, &[0xff, 0xff]), TRUNCATED)
    .raw(&frame[..frame.len() - 1], TRUNCATED)
    .raw(&client_v6(7).hop_by_hop(&[0xc2, 4, 0, 1, 0, 0]).udp(1, 2).patch(IP + 4, &[0, 0]).build(), IPV6)
    .raw(&cut(6, 19), TCP)
    .raw(&cut(17, 7), UDP)
    .raw(&cut(58, 3), ICMP)
    .frame(&whole, new("all", "b1"))
}

fn extension_headers() -> Fixture {
    let after = |first: u8, bytes: &[u8]| client_v6(7).protocol(first).payload(bytes).build();
    let options = [60, 0, 1, 4, 0, 0, 0, 0];
    let fragment = |next: u8, offset: u16| [&[next, 0], &offset.to_be_bytes()[..], &[0, 0, 0, 7]].concat();
    Fixture::new(
        "malformed/ipv6-extension-headers-that-lead-nowhere",
        "A chain of extension headers that runs past the packet, repeats what may stand once or has no end \
         is dropped.",
        everything_v6("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    // Cut inside, and longer than what is left.
    .raw(&after(60, &[]), IPV6)
    .raw(&after(60, &[6]), IPV6)
    .raw(&after(60, &[6, 1, 0, 0, 0, 0, 0, 0]), IPV6)
    .raw(&after(60, &[6, 0xff, 0, 0, 0, 0, 0, 0]), IPV6)
    .raw(&after(43, &[60, 0, 0, 0, 0, 0, 0, 0]), IPV6)
    .raw(&after(44, &[6, 0, 0, 1]), IPV6)
    // Hop-by-hop options that are not first, and a second fragment header.
    .raw(&after(60, &[&[0, 0, 1, 4, 0, 0, 0, 0][..], &[59, 0, 1, 4, 0, 0, 0, 0]].concat()), IPV6)
    .raw(&after(44, &[fragment(44, 1), fragment(6, 1), vec![0; 20]].concat()), IPV6)
    .raw(&after(44, &[fragment(44, 0), fragment(6, 0), vec![0; 20]].concat()), IPV6)
    // More of them than any packet has.
    .raw(&after(60, &options.repeat(40)), IPV6)
    .frame(&client_v6(7).tcp(40_000, 443, SYN), new("all", "b1"))
}

fn martians() -> Fixture {
    let from = |src| Packet::between(src, VIP).tcp(40_000, 443, SYN);
    let refused = Outcome::Refuse("web", "martian_source");
    let mut fixture = Fixture::new(
        "malformed/sources-that-nobody-has",
        "A source that no packet may come from is dropped when it asks for a VIP; RFC 1812, section 5.3.7.",
        web(""),
    )
    .unhealthy("b2");
    for src in ["0.0.0.0", "0.1.2.3", "127.0.0.1", "169.254.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"]
    {
        fixture = fixture.frame(&from(src), refused);
    }
    fixture
        .frame(&Packet::between("127.0.0.1", "203.0.113.99").udp(1, 2), Outcome::Pass("no_forwarding_rule"))
        .frame(&from("223.255.255.255"), new("web", "b1"))
        // "LAND": the VIP to itself. It is a packet like any; that it loops is for the backend to refuse.
        .frame(&Packet::between(VIP, VIP).tcp(443, 443, SYN), new("web", "b1"))
}

fn martians_v6() -> Fixture {
    let from = |src| Packet::between(src, VIP_V6).tcp(40_000, 443, SYN);
    let refused = Outcome::Refuse("all", "martian_source");
    let mapped = Outcome::Drop("martian_source");
    Fixture::new(
        "malformed/ipv6-sources-that-nobody-has",
        "IPv6: unspecified, loopback, link-local and multicast sources are dropped, and IPv4-mapped addresses at \
         either end.",
        everything_v6("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .frame(&from("::"), refused)
    .frame(&from("::1"), refused)
    .frame(&from("fe80::1"), refused)
    .frame(&from("ff02::1"), refused)
    .frame(&from("::ffff:198.51.100.7"), mapped)
    .frame(&Packet::between("2001:db8:c::7", "::ffff:203.0.113.10").tcp(40_000, 443, SYN), mapped)
    .frame(&from("2001:db8:c::7"), new("all", "b1"))
}

fn own_sources() -> Fixture {
    let own = || Packet::between(OWN_V4, VIP);
    let answer = Packet::between(VIP, "198.51.100.7").tcp(443, 40_000, ACK).payload_len(1_400);
    let refused = Outcome::Refuse("all", "own_source");
    Fixture::new(
        "malformed/sources-that-are-the-appliances-own",
        "A packet from the appliance's own address, as a loop or a backend without the VIP sends one back, reaches no \
         backend; an ICMP error neither, whatever it quotes.",
        everything("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .frame(&own().tcp(40_000, 443, SYN), refused)
    .frame(&own().tcp(40_000, 443, ACK), refused)
    .frame(&own().udp(40_000, 443), refused)
    .frame(&own().echo_request(7, 1), refused)
    .frame(&own().identification(5).protocol(17).fragment(1_480, false), refused)
    .frame(&own().packet_too_big(1_400, &answer, 28), refused)
    .frame(&client(7).tcp(40_000, 443, SYN), new("all", "b1"))
}

fn own_sources_v6() -> Fixture {
    let own = || Packet::between(OWN_V6, VIP_V6);
    let refused = Outcome::Refuse("all", "own_source");
    Fixture::new(
        "malformed/ipv6-sources-that-are-the-appliances-own",
        "IPv6: a packet from the appliance's own address reaches no backend.",
        everything_v6("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .frame(&own().tcp(40_000, 443, SYN), refused)
    .frame(&own().tcp(40_000, 443, ACK), refused)
    .frame(&own().esp(7), refused)
    .frame(&client_v6(7).tcp(40_000, 443, SYN), new("all", "b1"))
}

fn odd() -> Fixture {
    Fixture::new(
        "malformed/odd-but-sound-packets-travel",
        "Flags that make no sense, ports of zero and reserved bits are not the load balancer's to judge.",
        everything("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .frame(&client(7).tcp(0, 0, SYN), new("all", "b1"))
    .frame(&client(7).tcp(40_000, 443, 0), new("all", "b1"))
    .frame(&client(7).tcp(40_001, 443, 0xff), new("all", "b1"))
    .frame(&client(7).udp(0, 0), off("all", "b1"))
    .frame(&client(7).tcp(40_002, 443, ACK).patch(IP + 20 + 12, &[0x5e]), new("all", "b1"))
    .frame(&client(7).protocol(0).payload_len(3), off("all", "b1"))
    .frame(&client(7).protocol(41).payload_len(3), off("all", "b1"))
}
