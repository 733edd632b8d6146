//! Floods of frames that are cut short, malformed, or not the appliance's.

use pcap_fixtures::packet::Packet;
use pcap_fixtures::packet::tcp::{ACK, SYN};

use crate::besieged::{CONFIG, flooded, flooded_with};
use crate::document::assert_row;
use crate::lan::{OWN_MAC, VIP};
use crate::sources::{Frames, again, by_router, by_turns, spread};

fn syn(family: usize) -> Packet {
    Packet::between(["100.0.0.0", "2001:db8:f::"][family], VIP[family]).tcp(40_000, 80, SYN)
}

#[test]
fn a_flood_of_truncated_frames() {
    let whole = [by_router(&syn(0)), by_router(&syn(1)), by_router(&syn(0).vlan(7))];
    let cut = whole.iter().flat_map(|frame| (1..frame.len()).map(|len| frame[..len].to_vec()));
    let toll = flooded(&again(cut.collect()));
    assert_row(
        "frames of SYNs that end after each of their bytes",
        &toll,
        ("link", "a_flood_of_truncated_frames"),
    );
}

#[test]
fn a_flood_of_malformed_packets() {
    let packets = [
        // IPv4: version, header length, total length; TCP: data offset; UDP: length.
        syn(0).patch(14, &[0x55]),
        syn(0).patch(14, &[0x44]),
        syn(0).patch(16, &[0, 10]),
        syn(0).patch(14 + 20 + 12, &[0x10]),
        Packet::between("100.0.0.0", VIP[0]).udp(5_353, 53).patch(14 + 20 + 4, &[0, 4]),
        Packet::between("100.0.0.0", VIP[0]).protocol(1).payload(&[8, 0]),
        syn(1).patch(14, &[0x50]),
        syn(1).patch(14 + 4, &[0, 5]),
        syn(1).patch(14 + 40 + 12, &[0xf0]),
    ];
    let toll = flooded(&by_turns(packets.map(|packet| spread(&packet)).into()));
    assert_row(
        "packets whose lengths and versions contradict each other",
        &toll,
        ("link", "a_flood_of_malformed_packets"),
    );
}

#[test]
fn a_flood_of_frames_of_foreign_vlans() {
    let mut config = "[[network]]\nname = \"lan\"\n[[network]]\nname = \"blue\"\nvlan = 42\n".to_owned();
    for line in CONFIG.split_inclusive('\n') {
        config += line;
        if ["[[forwarding_rule]]", "[[backend_service]]", "[[backend_group]]"].contains(&line.trim()) {
            config += "network = \"lan\"\n";
        }
    }
    let tagged = |tag: u16| spread(&syn(0).vlan(tag));
    let doubled = spread(&syn(0).service_vlan(7).vlan(8));
    let toll = flooded_with(&config, &by_turns(vec![tagged(7), tagged(4_095), doubled]));
    assert_row("frames of VLANs of no network", &toll, ("link", "a_flood_of_frames_of_foreign_vlans"));
}

#[test]
fn a_flood_of_other_ethertypes() {
    let of = |ethertype: u16| {
        let mut frame = by_router(&syn(0));
        frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
        frame
    };
    // LLDP, MPLS, PPPoE, a length of 802.3, and one that nobody has.
    let toll = flooded(&again([0x88cc, 0x8847, 0x8864, 0x0040, 0xffff].map(of).into()));
    assert_row("frames that hold no IP", &toll, ("link", "a_flood_of_other_ethertypes"));
}

#[test]
fn a_flood_of_packets_in_frames_of_groups() {
    let of = |group: [u8; 6], family: usize| {
        let mut frame = by_router(&syn(family));
        frame[..6].copy_from_slice(&group);
        frame
    };
    let groups = vec![of([0xff; 6], 0), of([1, 0, 0x5e, 0, 0, 1], 0), of([0x33, 0x33, 0, 0, 0, 1], 1)];
    let toll = flooded(&again(groups));
    assert_row(
        "SYNs for the VIPs in broadcast and multicast frames",
        &toll,
        ("link", "a_flood_of_packets_in_frames_of_groups"),
    );
}

#[test]
fn a_flood_of_the_appliances_own_frames() {
    let looped = |family: usize| {
        let packet = Packet::between(["192.0.2.1", "2001:db8::1"][family], VIP[family]).tcp(40_000, 80, ACK);
        packet.macs(OWN_MAC, OWN_MAC).build()
    };
    let toll = flooded(&again(vec![looped(0), looped(1)]));
    assert_row(
        "packets from the appliance's own addresses, as a loop brings them",
        &toll,
        ("link", "a_flood_of_the_appliances_own_frames"),
    );
}

#[test]
fn a_flood_of_sources_that_nobody_has() {
    let from = |source: &str, vip: &str| by_router(&Packet::between(source, vip).tcp(40_000, 80, SYN));
    let sources = vec![
        from("127.0.0.1", VIP[0]),
        from("0.0.0.0", VIP[0]),
        from("224.0.0.1", VIP[0]),
        from("255.255.255.255", VIP[0]),
        from("::1", VIP[1]),
        from("ff02::1", VIP[1]),
    ];
    let toll = flooded(&again(sources));
    assert_row(
        "SYNs from loopback, multicast and unspecified addresses",
        &toll,
        ("link", "a_flood_of_sources_that_nobody_has"),
    );
}

#[test]
fn a_flood_of_expired_packets() {
    let of = |family: usize| spread(&syn(family).ttl(1));
    let frames: Frames = by_turns(vec![of(0), of(1)]);
    let toll = flooded(&frames);
    assert_row("SYNs whose TTL ends here", &toll, ("link", "a_flood_of_expired_packets"));
}
