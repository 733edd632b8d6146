//! Every way to a backend, for packets of both families: outer headers, and what stays as it was.

use super::{NEAR, NEAR_V6, client, client_v6, everything, web};
use crate::configuration::Configuration;
use crate::delivery_mode::Mode;
use crate::fixture::{Fixture, Outcome, hit, new, off};
use crate::packet::Packet;
use crate::packet::tcp::{ACK, PSH, SYN};

pub(super) fn fixtures() -> Vec<Fixture> {
    let mut fixtures = vec![l2(), l2_v6()];
    fixtures.extend([
        tunnel("delivery/ipip-over-ipv4", "IP in IP with IPv4 outside: 4in4 and 6in4.", Mode::Ipip, FAR),
        tunnel("delivery/ipip-over-ipv6", "IP in IP with IPv6 outside: 4in6 and 6in6.", Mode::Ipip, FAR_V6),
        tunnel("delivery/gre-over-ipv4", "GRE without options, IPv4 outside.", Mode::Gre, FAR),
        tunnel("delivery/gre-over-ipv6", "GRE without options, IPv6 outside.", Mode::Gre, FAR_V6),
        tunnel(
            "delivery/gue-over-ipv4",
            "GUE variant 0, IPv4 outside, without a UDP checksum.",
            Mode::GUE,
            FAR,
        ),
        tunnel(
            "delivery/gue-over-ipv6",
            "GUE variant 0, IPv6 outside, with a UDP checksum.",
            Mode::GUE,
            FAR_V6,
        ),
        gue_port(),
        own_mac(),
        dscp_and_ecn(),
        dont_fragment(),
        source_prefix(),
        ttl(),
        checksums(),
    ]);
    fixtures
}

const FAR: &str = "198.18.0.1";
const FAR_V6: &str = "2001:db8:2::1";

/// Configures rules of both families before one backend behind a tunnel.
fn behind(mode: Mode, endpoint: &str) -> Configuration {
    Configuration::new()
        .external("web", "protocol = 'UNSPECIFIED'")
        .rule("web", "ip_address = '203.0.113.10'\nports = [80, 443]")
        .rule("rest", "ip_address = '203.0.113.10'\nip_protocol = 'L3_DEFAULT'\nall_ports = true")
        .rule("web-v6", "ip_address = '2001:db8::10'\nports = [80, 443]")
        .rule("rest-v6", "ip_address = '2001:db8::10'\nip_protocol = 'L3_DEFAULT'\nall_ports = true")
        .group("far", mode, &[("b1", endpoint)])
}

fn tunnel(name: &'static str, claim: &'static str, mode: Mode, endpoint: &str) -> Fixture {
    let mut fixture = Fixture::new(name, claim, behind(mode, endpoint));
    for (client, web, rest) in [(client(7), "web", "rest"), (client_v6(7), "web-v6", "rest-v6")] {
        let flow = |flags| client.clone().identification(0x1234).tcp(40_000, 443, flags);
        fixture = fixture
            .frame(&flow(SYN), new(web, "b1"))
            .frame(&flow(ACK | PSH).seq(1).payload_len(517), hit(web, "b1"))
            .frame(&client.clone().udp(40_000, 53).payload(b"odd"), off(rest, "b1"))
            .frame(&client.clone().esp(7).payload_len(32), off(rest, "b1"))
            .frame(&client.clone().echo_request(1, 1), off(rest, "b1"))
            .frame(&client.clone().tcp(40_001, 80, SYN), new(web, "b1"))
            .frame(&client.clone().udp(40_002, 7).payload_len(900).fragments(504)[1], off(rest, "b1"));
    }
    let options = client(7).options(&[148, 4, 0, 0]).tcp(40_000, 443, ACK);
    let headers = client_v6(7).hop_by_hop(&[5, 2, 0, 0]).flow_label(0x777).tcp(40_000, 443, ACK);
    fixture.frame(&options, hit("web", "b1")).frame(&headers, hit("web-v6", "b1"))
}

fn gue_port() -> Fixture {
    Fixture::new(
        "delivery/gue-port-can-be-chosen",
        "GUE goes to `gue_port` where it is set, and to 6080 otherwise.",
        behind(Mode::Gue { dst_port: 7080 }, FAR),
    )
    .frame(&client(7).tcp(40_000, 443, SYN), new("web", "b1"))
    .frame(&client_v6(7).tcp(40_000, 443, SYN), new("web-v6", "b1"))
}

fn l2() -> Fixture {
    let options = client(7).options(&[148, 4, 0, 0]).tcp(40_000, 443, ACK).payload_len(40);
    Fixture::new(
        "delivery/l2-rewrites-addresses-and-ttl-alone",
        "l2: MAC addresses and TTL change and nothing else, options and payload least of all.",
        web(""),
    )
    .unhealthy("b2")
    .frame(&client(7).tcp(40_000, 443, SYN), new("web", "b1"))
    .frame(&options, hit("web", "b1"))
    .frame(&client(7).tos(0xb9).dont_fragment().identification(9).tcp(40_000, 443, ACK), hit("web", "b1"))
    .unhealthy("b1")
    .healthy("b2")
    .frame(&client(7).tcp(40_001, 443, SYN), new("web", "b2"))
}

fn l2_v6() -> Fixture {
    let config = Configuration::new()
        .external("web", "")
        .rule("web", "ip_address = '2001:db8::10'\nports = [80, 443]")
        .group("near", Mode::L2, NEAR_V6);
    Fixture::new(
        "delivery/l2-for-ipv6",
        "l2, IPv6: MAC addresses and hop limit change; there is no header checksum to follow.",
        config,
    )
    .unhealthy("b2")
    .frame(&client_v6(7).tcp(40_000, 443, SYN), new("web", "b1"))
    .frame(&client_v6(7).tos(0xb9).flow_label(5).tcp(40_000, 443, ACK).payload_len(3), hit("web", "b1"))
}

fn own_mac() -> Fixture {
    let config = Configuration::new()
        .own_mac([0x02, 0, 0, 0, 0, 0xaa])
        .external("web", "")
        .rule("web", "ip_address = '203.0.113.10'\nports = [443]")
        .group("near", Mode::L2, &NEAR[..1])
        .external("mail", "")
        .rule("mail", "ip_address = '203.0.113.25'\nports = [25]")
        .group("far", Mode::Ipip, &[("m1", FAR)]);
    Fixture::new(
        "delivery/frames-leave-from-the-configured-mac-address",
        "Frames leave from `[network] mac_address` where it is set, and from the address that they came to \
         otherwise.",
        config,
    )
    .frame(&client(7).tcp(40_000, 443, SYN), new("web", "b1"))
    .frame(&Packet::between("198.51.100.7", "203.0.113.25").tcp(40_000, 25, SYN), new("mail", "m1"))
}

fn dscp_and_ecn() -> Fixture {
    let mut fixture = Fixture::new(
        "delivery/dscp-and-ecn-are-copied-outward",
        "The outer header has the DSCP and, by RFC 6040, the ECN field of the packet: CE and Not-ECT too.",
        behind(Mode::Ipip, FAR),
    );
    // Expedited forwarding and AF41, each with every ECN field.
    for tos in [0xb8, 0xb9, 0xba, 0xbb, 0x88, 0x89, 0x8a, 0x8b, 0xff] {
        fixture = fixture.frame(&client(7).tos(tos).tcp(40_000 + u16::from(tos), 443, SYN), new("web", "b1"));
        fixture =
            fixture.frame(&client_v6(7).tos(tos).tcp(40_000 + u16::from(tos), 443, SYN), new("web-v6", "b1"));
    }
    fixture
}

fn dont_fragment() -> Fixture {
    let flow = client(7).identification(0xabcd);
    Fixture::new(
        "delivery/df-is-copied-outward",
        "DF goes outward, and IPv6 counts as DF; without it the outer identification follows the packet's \
         own.",
        behind(Mode::Gre, FAR),
    )
    .frame(&flow.clone().dont_fragment().tcp(40_000, 443, SYN), new("web", "b1"))
    .frame(&flow.clone().tcp(40_001, 443, SYN), new("web", "b1"))
    .frame(&flow.clone().identification(0xabce).tcp(40_001, 443, ACK), hit("web", "b1"))
    .frame(&client_v6(7).tcp(40_000, 443, SYN), new("web-v6", "b1"))
}

fn source_prefix() -> Fixture {
    let config = behind(Mode::Ipip, FAR)
        .tunnel_sources(&[("198.19.0.0", 20), ("2001:db8:5::", 64)])
        .external("mail", "")
        .rule("mail", "ip_address = '203.0.113.25'\nports = [25]")
        .group("far-v6", Mode::Ipip, &[("m1", FAR_V6)]);
    let mut fixture = Fixture::new(
        "delivery/source-prefix-carries-the-flows-entropy",
        "With tunnel_source_ranges the outer source's host part differs between flows and stays with each \
         flow.",
        config,
    );
    for port in 40_000..40_004 {
        let mail = Packet::between("198.51.100.7", "203.0.113.25");
        fixture = fixture
            .frame(&client(7).tcp(port, 443, SYN), new("web", "b1"))
            .frame(&client(7).tcp(port, 443, ACK), hit("web", "b1"))
            .frame(&client_v6(7).tcp(port, 443, SYN), new("web-v6", "b1"))
            .frame(&mail.clone().tcp(port, 25, SYN), new("mail", "m1"))
            .frame(&mail.tcp(port, 25, ACK), hit("mail", "m1"));
    }
    fixture
}

fn ttl() -> Fixture {
    const EXPIRED: Outcome = Outcome::Refuse("web", "ttl_expired");
    const EXPIRED_V6: Outcome = Outcome::Refuse("web-v6", "ttl_expired");
    let (v4, v6) = (client(7).tcp(40_000, 443, SYN), client_v6(7).tcp(40_000, 443, SYN));
    Fixture::new(
        "delivery/ttl-is-decremented-once-and-ends-here",
        "TTL and hop limit go down by one inside the tunnel, the outer one is 64; a packet with 1 or 0 is \
         dropped.",
        behind(Mode::Ipip, FAR),
    )
    .frame(&v4.clone().ttl(255), new("web", "b1"))
    .frame(&v4.clone().ttl(2), new("web", "b1"))
    .frame(&v4.clone().ttl(1), EXPIRED)
    .frame(&v4.ttl(0), EXPIRED)
    .frame(&v6.clone().ttl(255), new("web-v6", "b1"))
    .frame(&v6.clone().ttl(2), new("web-v6", "b1"))
    .frame(&v6.clone().ttl(1), EXPIRED_V6)
    .frame(&v6.ttl(0), EXPIRED_V6)
    // Another's packet is passed whatever its TTL: the host may want to answer.
    .frame(
        &Packet::between("198.51.100.7", "203.0.113.99").ttl(1).udp(1, 33_434),
        Outcome::Pass("no_forwarding_rule"),
    )
}

fn checksums() -> Fixture {
    // The IPv4 checksum is 10 bytes into its header, TCP's 16, UDP's 6; Ethernet's header has 14.
    let tcp = client(7).tcp(40_000, 443, SYN);
    let right = u16::from_be_bytes([tcp.build()[24], tcp.build()[25]]);
    let wrong = right ^ 0x5a5a;
    // RFC 1624, eqn. 3, for a TTL that goes from 64 to 63 beside an unchanged protocol: the field gains 0x0100.
    let (sum, carry) = wrong.overflowing_add(0x0100);
    let after = sum + u16::from(carry);
    Fixture::new(
        "delivery/wrong-checksums-stay-wrong",
        "A client's wrong checksum is not repaired: the header's follows the TTL alone, TCP's and UDP's \
         travel as they are.",
        everything("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .frame(&tcp.clone().patch(14 + 20 + 16, &[0xde, 0xad]), new("all", "b1"))
    .frame(&client(7).udp(40_000, 53).patch(14 + 20 + 6, &[0xde, 0xad]), off("all", "b1"))
    .frame(&client(7).udp_without_checksum(40_000, 53), off("all", "b1"))
    .frame_as(
        &tcp.clone().patch(24, &wrong.to_be_bytes()),
        new("all", "b1"),
        &tcp.forwarded().patch(24, &after.to_be_bytes()),
    )
}
