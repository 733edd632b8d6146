//! Protocols beside TCP and UDP: which are tracked, which go by their hash alone.

use super::{client, client_v6, everything, everything_internal, everything_v6};
use crate::fixture::{Fixture, hit, new, off};

pub(super) fn fixtures() -> Vec<Fixture> {
    vec![tunnels_tracked(), tunnels_untracked(), tunnels_internal(), never_tracked(), never_tracked_v6()]
}

fn tunnels_tracked() -> Fixture {
    let (esp, gre) = (client(7).esp(0x1001).payload_len(64), client(7).gre(0x0800).payload_len(64));
    Fixture::new(
        "protocols/esp-and-gre-are-tracked-with-an-affinity",
        "ESP and GRE are tracked by 3-tuple, EXTERNAL, under any affinity but NONE; a new SPI is no new \
         connection.",
        everything("protocol = 'UNSPECIFIED'\nsession_affinity = 'CLIENT_IP'"),
    )
    .unhealthy("b2")
    .frame(&esp, new("all", "b1"))
    .frame(&gre, new("all", "b1"))
    .healthy("b2")
    .frame(&esp, hit("all", "b1"))
    .frame(&client(7).esp(0x2002).seq(77).payload_len(80), hit("all", "b1"))
    .frame(&gre, hit("all", "b1"))
    // They do not persist on a backend that turned unhealthy.
    .unhealthy("b1")
    .frame(&esp, new("all", "b2"))
    .frame(&gre, new("all", "b2"))
}

fn tunnels_untracked() -> Fixture {
    let (esp, gre) = (client(7).esp(0x1001).payload_len(64), client(7).gre(0x0800).payload_len(64));
    Fixture::new(
        "protocols/esp-and-gre-are-untracked-without-an-affinity",
        "ESP and GRE are not tracked under affinity NONE.",
        everything("protocol = 'UNSPECIFIED'"),
    )
    .unhealthy("b2")
    .frame(&esp, off("all", "b1"))
    .frame(&gre, off("all", "b1"))
    .healthy("b2")
    .unhealthy("b1")
    .frame(&esp, off("all", "b2"))
    .frame(&gre, off("all", "b2"))
}

fn tunnels_internal() -> Fixture {
    Fixture::new(
        "protocols/internal-esp-and-gre-are-never-tracked",
        "INTERNAL, ESP and GRE are not tracked under CLIENT_IP either.",
        everything_internal("protocol = 'UNSPECIFIED'\nsession_affinity = 'CLIENT_IP'"),
    )
    .unhealthy("b2")
    .frame(&client(7).esp(0x1001), off("all", "b1"))
    .frame(&client(7).gre(0x0800), off("all", "b1"))
    .frame(&client(7).esp(0x1001), off("all", "b1"))
}

fn never_tracked() -> Fixture {
    Fixture::new(
        "protocols/other-protocols-are-never-tracked",
        "ICMP, SCTP and all other protocols are never tracked, whatever the affinity.",
        everything("protocol = 'UNSPECIFIED'\nsession_affinity = 'CLIENT_IP_PROTO'"),
    )
    .unhealthy("b2")
    .frame(&client(7).echo_request(1, 1).payload_len(56), off("all", "b1"))
    .frame(&client(7).echo_request(1, 2).payload_len(56), off("all", "b1"))
    .frame(&client(7).sctp(1000, 2000, 7).payload_len(20), off("all", "b1"))
    .frame(&client(7).sctp(1000, 2000, 7).payload_len(20), off("all", "b1"))
    .frame(&client(7).protocol(4).payload(&client(8).udp(1, 2).ip_bytes()), off("all", "b1"))
    .frame(&client(7).protocol(253).payload_len(1), off("all", "b1"))
    .frame(&client(7).protocol(255), off("all", "b1"))
    // ICMPv6's number in IPv4 is a protocol like any.
    .frame(&client(7).protocol(58).payload(&[1]), off("all", "b1"))
}

fn never_tracked_v6() -> Fixture {
    Fixture::new(
        "protocols/icmpv6-is-never-tracked",
        "ICMPv6 and an authentication header, which is a protocol by number, go by their hash alone.",
        everything_v6("protocol = 'UNSPECIFIED'\nsession_affinity = 'CLIENT_IP'"),
    )
    .unhealthy("b2")
    .frame(&client_v6(7).echo_request(1, 1).payload_len(56), off("all", "b1"))
    .frame(&client_v6(7).echo_request(1, 2).payload_len(56), off("all", "b1"))
    .frame(&client_v6(7).protocol(51).payload_len(24), off("all", "b1"))
    // ICMP's number in IPv6 is a protocol like any, and so is "no next header".
    .frame(&client_v6(7).protocol(1).payload(&[3]), off("all", "b1"))
    .frame(&client_v6(7).protocol(59), off("all", "b1"))
}
