//! Packets that no longer fit the path once an outer header is before them.

use super::{NEAR, client, client_v6};
use crate::configuration::{Configuration, OWN_V4, OWN_V6};
use crate::delivery_mode::Mode;
use crate::fixture::{Fixture, Outcome, hit, new, off};
use crate::packet::Packet;
use crate::packet::tcp::{ACK, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![
        ipip(),
        gue_v6(),
        own_mtu(),
        longest(),
        unanswerable(),
        rate(),
        without_df(),
        path_mtu("sizes/path-mtu-of-ipip-is-learnt", "Ipip", Mode::Ipip, "198.18.0.1", 1380),
        path_mtu("sizes/path-mtu-of-gre-is-learnt", "GRE", Mode::Gre, "198.18.0.1", 1376),
        path_mtu("sizes/path-mtu-of-gue-is-learnt", "GUE", Mode::GUE, "198.18.0.1", 1368),
        path_mtu("sizes/path-mtu-of-ipip-over-ipv6-is-learnt", "Ipip", Mode::Ipip, "2001:db8:2::1", 1360),
        forged_path_mtu(),
        fragmented(
            "sizes/a-tunnel-over-ipv4-leaves-in-fragments",
            "With fragment_tunnels, the tunnel packet of an IPv4 packet without DF leaves in fragments that fit the path.",
            "198.18.0.1",
        ),
        fragmented(
            "sizes/a-tunnel-over-ipv6-leaves-in-fragments",
            "With fragment_tunnels, the same over IPv6: fragments with a fragment header (RFC 2473, section 7.2).",
            "2001:db8:2::1",
        ),
    ]
}

fn behind(mode: Mode, endpoint: &str) -> Configuration {
    Configuration::new()
        .external("all", "protocol = 'UNSPECIFIED'")
        .rule("all", "ip_address = '203.0.113.10'\nip_protocol = 'L3_DEFAULT'\nall_ports = true")
        .rule("all-v6", "ip_address = '2001:db8::10'\nip_protocol = 'L3_DEFAULT'\nall_ports = true")
        .group("far", mode, &[("b1", endpoint)])
}

fn ipip() -> Fixture {
    let v4 = |payload| client(7).tcp(40_000, 443, ACK).payload_len(payload);
    let v6 = |payload| client_v6(7).tcp(40_000, 443, ACK).payload_len(payload);
    Fixture::new(
        "sizes/too-big-is-told-to-the-client",
        "With DF or IPv6, a packet that the tunnel makes too long is answered with its MTU; else it is \
         dropped as that.",
        behind(Mode::Ipip, "198.18.0.1"),
    )
    .frame(&client(7).tcp(40_000, 443, SYN), new("all", "b1"))
    .frame(&v4(1480 - 40).dont_fragment(), hit("all", "b1"))
    .frame(&v4(1481 - 40).dont_fragment(), hit("all", "b1").but_too_big(Some(1480)))
    .frame(&v4(1481 - 40), hit("all", "b1").but_too_long())
    .frame(&v4(1460), hit("all", "b1").but_too_long())
    .frame(&v4(1460).vlan(100).dont_fragment(), hit("all", "b1").but_too_big(Some(1480)))
    .frame(&client_v6(7).tcp(40_000, 443, SYN), new("all-v6", "b1"))
    .frame(&v6(1480 - 60), hit("all-v6", "b1"))
    .frame(&v6(1481 - 60), hit("all-v6", "b1").but_too_big(Some(1480)))
}

fn gue_v6() -> Fixture {
    let v4 = |payload| client(7).udp(40_000, 4433).payload_len(payload).dont_fragment();
    Fixture::new(
        "sizes/the-mtu-that-is-told-leaves-room-for-the-outer-headers",
        "GUE over IPv6 takes 52 bytes from the path's MTU.",
        behind(Mode::GUE, "2001:db8:2::1"),
    )
    .frame(&v4(1448 - 28), off("all", "b1"))
    .frame(&v4(1449 - 28), off("all", "b1").but_too_big(Some(1448)))
    .frame(&client_v6(7).udp(40_000, 4433).payload_len(1400), off("all-v6", "b1"))
    .frame(&client_v6(7).udp(40_000, 4433).payload_len(1401), off("all-v6", "b1").but_too_big(Some(1448)))
}

fn own_mtu() -> Fixture {
    let config = Configuration::new()
        .external("all", "protocol = 'UNSPECIFIED'")
        .rule("all", "ip_address = '203.0.113.10'\nip_protocol = 'L3_DEFAULT'\nall_ports = true")
        .group("near", Mode::L2, &NEAR[..1])
        .group_lines("mtu = 1400");
    let packet = |payload| client(7).udp(40_000, 4433).payload_len(payload);
    Fixture::new(
        "sizes/a-groups-own-mtu-counts",
        "The MTU of a backend group takes the place of the network's, for l2 too.",
        config,
    )
    .frame(&packet(1400 - 28).dont_fragment(), off("all", "b1"))
    .frame(&packet(1401 - 28).dont_fragment(), off("all", "b1").but_too_big(Some(1400)))
    .frame(&packet(1401 - 28), off("all", "b1"))
}

fn longest() -> Fixture {
    // What IPv4's total length of 65,535 leaves beside an outer header of 20 bytes, and that of UDP's and its own.
    let payload = |whole: usize| vec![0; whole - 28];
    Fixture::new(
        "sizes/what-fits-no-outer-header-is-refused",
        "A packet that the outer header would make longer than IPv4 can say is refused, with DF and without.",
        behind(Mode::Ipip, "198.18.0.1"),
    )
    .snapped(&client(7).udp(40_000, 53).payload(&payload(65_515)), 96, off("all", "b1").but_too_long())
    .snapped(
        &client(7).udp(40_000, 53).payload(&payload(65_516)),
        96,
        off("all", "b1").but_too_big(Some(1480)),
    )
    .snapped(
        &client(7).udp(40_000, 53).payload(&payload(65_535)),
        96,
        off("all", "b1").but_too_big(Some(1480)),
    )
}

fn unanswerable() -> Fixture {
    let reply = client(7).udp(7, 7);
    Fixture::new(
        "sizes/no-error-answers-an-error-or-a-later-fragment",
        "A packet that is too big is dropped without an answer where none may be sent (RFC 1122, RFC 4443).",
        behind(Mode::Ipip, "198.18.0.1"),
    )
    .frame(
        &client(7).dont_fragment().icmp(3, 1, 0).quoting(&reply.payload_len(1500), 1460),
        off("all", "b1").but_too_big(None),
    )
    .frame(
        &client_v6(7).icmp(1, 0, 0).quoting(&client_v6(7).udp(7, 7).payload_len(1500), 1440),
        off("all-v6", "b1").but_too_big(None),
    )
    .frame(
        &client(7).dont_fragment().protocol(17).fragment(1480, false).payload_len(1470),
        off("all", "b1").but_too_big(None),
    )
    .frame(
        &client_v6(7).protocol(17).fragment(1440, false).payload_len(1440),
        off("all-v6", "b1").but_too_big(None),
    )
    // A first fragment may be answered.
    .frame(
        &client_v6(7).udp(7, 7).payload_len(1430).fragment(0, true),
        off("all-v6", "b1").but_too_big(Some(1480)),
    )
}

/// The datagrams of a SIP server, and the fragments of longer ones.
fn without_df() -> Fixture {
    let datagram = |payload| client(7).identification(7).udp(5060, 5060).payload_len(payload);
    let fragments = datagram(2000).fragments(1480);
    Fixture::new(
        "sizes/what-a-tunnel-cannot-carry-whole-is-dropped-as-that",
        "A datagram without DF that does not fit the tunnel is dropped as exceeds_tunnel_mtu, a full-sized \
         fragment too, and never counted as forwarded.",
        behind(Mode::Ipip, "198.18.0.1"),
    )
    .frame(&datagram(1452), off("all", "b1"))
    .frame(&datagram(1472), off("all", "b1").but_too_long())
    .frame(&datagram(1472).dont_fragment(), off("all", "b1").but_too_big(Some(1480)))
    .frame(&fragments[0], off("all", "b1").but_too_long())
    .frame(&fragments[1], off("all", "b1"))
}

/// "Fragmentation needed" or "packet too big" about the packet in which `mode` carries `inner` from `own`.
fn told_mtu(own: &str, mode: Mode, endpoint: &str, inner: &Packet) -> Packet {
    let bytes = inner.forwarded().ip_bytes();
    let outer = Packet::between(own, endpoint).dont_fragment();
    let outer = match mode {
        Mode::L2 | Mode::Ipip => outer.protocol(4).payload(&bytes),
        Mode::Gre => outer.gre(0x0800).payload(&bytes),
        Mode::Gue { dst_port } => {
            let payload = [&[0, 4, 0, 0][..], &bytes].concat();
            outer.udp_without_checksum(0xebb9, dst_port).payload(&payload)
        }
    };
    let router = if outer.src.is_ipv4() { "192.0.2.254" } else { "2001:db8:1::fe" };
    Packet::between(router, own).packet_too_big(1400, &outer, 156)
}

fn path_mtu(name: &'static str, word: &'static str, mode: Mode, endpoint: &str, told: u16) -> Fixture {
    let own = if endpoint.contains(':') { OWN_V6 } else { OWN_V4 };
    let data = |payload: usize| client(7).dont_fragment().tcp(40_000, 443, ACK).payload_len(payload);
    let claim: &'static str = match word {
        "GRE" => "As of ipip: the path MTU of a GRE tunnel.",
        "GUE" => "As of ipip: the path MTU of a GUE tunnel.",
        _ => {
            "A router's \"too big\" about the tunnel's own packet lowers the path's MTU: clients are told on their next \
             packet, for 10 minutes."
        }
    };
    Fixture::new(name, claim, behind(mode, endpoint))
        .frame(&client(7).tcp(40_000, 443, SYN), new("all", "b1"))
        .frame(&data(1400), hit("all", "b1"))
        .frame(&told_mtu(own, mode, endpoint, &data(1400)), Outcome::Pass("no_forwarding_rule"))
        .frame(&data(1400), hit("all", "b1").but_too_big(Some(told)))
        .frame(&data(usize::from(told) - 40), hit("all", "b1"))
        .frame(&data(usize::from(told) - 39), hit("all", "b1").but_too_big(Some(told)))
        .wait(600_000)
        .frame(&data(1400), new("all", "b1"))
}

fn forged_path_mtu() -> Fixture {
    let data = client(7).dont_fragment().tcp(40_000, 443, ACK).payload_len(1400);
    let pass = Outcome::Pass("no_forwarding_rule");
    Fixture::new(
        "sizes/forged-path-mtus-are-not-believed",
        "An error that quotes no packet of the appliance's tunnels changes nothing: another source, another endpoint, \
         another tunnel's headers.",
        behind(Mode::Ipip, "198.18.0.1"),
    )
    .frame(&client(7).tcp(40_000, 443, SYN), new("all", "b1"))
    .frame(&told_mtu("192.0.2.9", Mode::Ipip, "198.18.0.1", &data), pass)
    .frame(&told_mtu(OWN_V4, Mode::Ipip, "198.18.0.9", &data), pass)
    .frame(&told_mtu(OWN_V4, Mode::Gre, "198.18.0.1", &data), pass)
    .frame(&data, hit("all", "b1"))
}

fn fragmented(name: &'static str, claim: &'static str, endpoint: &str) -> Fixture {
    let datagram = |payload| client(7).identification(7).tos(0xb9).udp(5060, 5060).payload_len(payload);
    let modes = [("ipip", Mode::Ipip), ("gre", Mode::Gre), ("gue", Mode::GUE)];
    let addresses = ["203.0.113.10", "203.0.113.11", "203.0.113.12"];
    let mut config = Configuration::new().network("fragment_tunnels = true\nmtu = 1400");
    for ((name, mode), line) in modes.into_iter().zip([
        "ip_address = '203.0.113.10'\nip_protocol = 'UDP'\nall_ports = true",
        "ip_address = '203.0.113.11'\nip_protocol = 'UDP'\nall_ports = true",
        "ip_address = '203.0.113.12'\nip_protocol = 'UDP'\nall_ports = true",
    ]) {
        config = config.external(name, "protocol = 'UDP'").rule(name, line);
        config = config.group(name, mode, &[(name, endpoint)]);
    }
    let mut fixture = Fixture::new(name, claim, config);
    for ((name, _), address) in modes.into_iter().zip(addresses) {
        let to = |packet: Packet| Packet { dst: address.parse().expect("an IP address"), ..packet };
        let fragments = to(datagram(4000)).fragments(1480);
        fixture = fixture
            .frame(&to(datagram(1300)), off(name, name))
            .frame_in_fragments(&to(datagram(1473)), off(name, name), 1400)
            .frame_in_fragments(&to(datagram(1472).vlan(100)).trailer(&[9; 3]), off(name, name), 1400)
            // Fragments are packets of their own in the tunnel, each with its own identification there.
            .frame_in_fragments(&fragments[0], off(name, name), 1400)
            .frame_in_fragments(&fragments[1], off(name, name), 1400)
            .frame(&fragments[2], off(name, name))
            // Longer than the captures of 1,500 bytes, in more than two.
            .frame_in_fragments(&to(datagram(8000)), off(name, name), 1400);
    }
    fixture
}

fn rate() -> Fixture {
    let packet = |port| client(7).dont_fragment().udp(port, 53).payload_len(1472);
    let config = behind(Mode::Ipip, "198.18.0.1").network("icmp_errors_per_sec = 2");
    Fixture::new(
        "sizes/errors-are-sent-at-a-bounded-rate",
        "No more than icmp_errors_per_sec answers are sent in a second; the packets are dropped all the \
         same.",
        config,
    )
    .frame(&packet(1), off("all", "b1").but_too_big(Some(1480)))
    .frame(&packet(2), off("all", "b1").but_too_big(Some(1480)))
    .frame(&packet(3), off("all", "b1").but_too_big(None))
    .frame(&packet(4), off("all", "b1").but_too_big(None))
    .wait(1000)
    .frame(&packet(5), off("all", "b1").but_too_big(Some(1480)))
}
