//! Single frames, written byte by byte.

use guideway::net::host_stack::{
    Answers, FrameKind, HostStack, MAX_QUEUED_BYTES, NeighbourEvent, Rates, Vip,
};
use guideway_dataplane::address::Address;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::wire::ethernet::MacAddress;
use pcap_fixtures::packet::{Packet, tcp};

use crate::{OWN_MAC, PEER_MAC, PORT, TAGGED_MAC, TAGGED_PORT, address, appliance, links, secs, sent};

const BROADCAST: [u8; 6] = [0xff; 6];
const REQUEST: u8 = 1;
const REPLY: u8 = 2;

/// An ARP packet in its frame, padded as on the wire.
fn arp(macs: [[u8; 6]; 2], operation: u8, sender: ([u8; 6], [u8; 4]), target: ([u8; 6], [u8; 4])) -> Vec<u8> {
    let mut frame = [&macs[0][..], &macs[1], &[0x08, 0x06]].concat();
    frame.extend([0, 1, 0x08, 0, 6, 4, 0, operation]);
    frame.extend([&sender.0[..], &sender.1, &target.0, &target.1].concat());
    frame.resize(60, 0);
    frame
}

pub(crate) fn arp_request(sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    arp([BROADCAST, PEER_MAC], REQUEST, (PEER_MAC, sender), ([0; 6], target))
}

/// A message of neighbour discovery: type, flags, target, and an option with a link-layer address.
pub(crate) fn discovery(
    from: &str,
    to: &str,
    message: (u8, u32),
    target: &str,
    option: Option<(u8, [u8; 6])>,
) -> Packet {
    let mut body = address(target).v6_bytes().to_vec();
    if let Some((kind, mac)) = option {
        body.extend([kind, 1]);
        body.extend(mac);
    }
    Packet::between(from, to).macs(PEER_MAC, OWN_MAC).ttl(255).icmp(message.0, 0, message.1).payload(&body)
}

pub(crate) const SOLICITATION: (u8, u32) = (135, 0);
const SOLICITED: u32 = 0x4000_0000;
const OVERRIDE: u32 = 0x2000_0000;

pub(crate) fn handle(stack: &mut HostStack, frame: &[u8]) -> FrameKind {
    stack.handle(PORT, frame, secs(1))
}

fn tagged(mut frame: Vec<u8>, tag: [u8; 4]) -> Vec<u8> {
    frame.splice(12..12, tag);
    frame
}

#[test]
fn who_asks_for_an_own_address_by_arp_gets_its_mac() {
    let mut stack = appliance(Rates::default());
    assert_eq!(handle(&mut stack, &arp_request([192, 0, 2, 7], [192, 0, 2, 10])), FrameKind::Arp);
    let reply = arp([PEER_MAC, OWN_MAC], REPLY, (OWN_MAC, [192, 0, 2, 10]), (PEER_MAC, [192, 0, 2, 7]));
    assert_eq!(sent(&mut stack), [reply]);
    assert_eq!((stack.counters().received(FrameKind::Arp), stack.counters().answered), (1, 1));
}

#[test]
fn a_probe_for_an_address_in_use_is_answered_so_that_nobody_takes_it() {
    let mut stack = appliance(Rates::default());
    assert_eq!(handle(&mut stack, &arp_request([0; 4], [192, 0, 2, 10])), FrameKind::Arp);
    let solicitation = discovery("::", "ff02::1:ff00:10", SOLICITATION, "2001:db8::10", None)
        .macs(PEER_MAC, [0x33, 0x33, 0xff, 0, 0, 0x10]);
    assert_eq!(handle(&mut stack, &solicitation.build()), FrameKind::Ndp);
    let answers = sent(&mut stack);
    assert_eq!(answers[0], arp([PEER_MAC, OWN_MAC], REPLY, (OWN_MAC, [192, 0, 2, 10]), (PEER_MAC, [0; 4])));
    let advertisement =
        discovery("2001:db8::10", "ff02::1", (136, OVERRIDE), "2001:db8::10", Some((2, OWN_MAC)));
    assert_eq!(answers[1], advertisement.macs(OWN_MAC, [0x33, 0x33, 0, 0, 0, 1]).build());
}

#[test]
fn solicitations_to_the_group_and_to_the_address_are_answered() {
    for (to, mac) in [("ff02::1:ff00:10", [0x33, 0x33, 0xff, 0, 0, 0x10]), ("2001:db8::10", OWN_MAC)] {
        let mut stack = appliance(Rates::default());
        let question = discovery("2001:db8::7", to, SOLICITATION, "2001:db8::10", Some((1, PEER_MAC)));
        assert_eq!(handle(&mut stack, &question.macs(PEER_MAC, mac).build()), FrameKind::Ndp);
        let answer = discovery(
            "2001:db8::10",
            "2001:db8::7",
            (136, SOLICITED | OVERRIDE),
            "2001:db8::10",
            Some((2, OWN_MAC)),
        );
        assert_eq!(sent(&mut stack), [answer.macs(OWN_MAC, PEER_MAC).build()]);
    }
}

#[test]
fn who_asks_from_a_link_local_address_is_answered_there() {
    let mut stack = appliance(Rates::default());
    let question =
        discovery("fe80::7", "ff02::1:ff00:100", SOLICITATION, "2001:db8::100", Some((1, PEER_MAC)));
    let frame = question.macs(PEER_MAC, [0x33, 0x33, 0xff, 0, 1, 0]).build();
    assert_eq!(handle(&mut stack, &frame), FrameKind::Ndp);
    let flags = SOLICITED | OVERRIDE;
    let answer = discovery("2001:db8::100", "fe80::7", (136, flags), "2001:db8::100", Some((2, OWN_MAC)));
    assert_eq!(sent(&mut stack), [answer.macs(OWN_MAC, PEER_MAC).build()]);
}

#[test]
fn a_gateway_is_found_by_its_link_local_address() {
    let mut stack = appliance(Rates::default());
    let gateway = stack.next_hop(address("2001:db8:ffff::1")).unwrap();
    assert_eq!(gateway.address, address("fe80::1"));
    stack.resolve(gateway, secs(0)).unwrap();
    let answer = discovery("fe80::1", "2001:db8::10", (136, SOLICITED), "fe80::1", Some((2, PEER_MAC)));
    assert_eq!(handle(&mut stack, &answer.build()), FrameKind::Ndp);
    assert_eq!(stack.mac(gateway), Some(MacAddress(PEER_MAC)));
}

#[test]
fn vips_answer_as_the_operator_set_it() {
    let mut stack = appliance(Rates::default());
    let answers = |stack: &mut HostStack, vip| {
        assert_eq!(handle(stack, &arp_request([192, 0, 2, 7], vip)), FrameKind::Arp);
        sent(stack).len()
    };
    let (always, when_announced, never) = ([192, 0, 2, 100], [192, 0, 2, 101], [203, 0, 113, 10]);
    assert_eq!([always, when_announced, never].map(|vip| answers(&mut stack, vip)), [1, 0, 0]);
    assert_eq!(stack.counters().withheld, 2);

    stack.announce(address("192.0.2.101"), secs(2)).unwrap();
    assert_eq!(answers(&mut stack, when_announced), 1);
    stack.withdraw(address("192.0.2.101"));
    assert_eq!(answers(&mut stack, when_announced), 0);
    assert!(stack.announce(address("203.0.113.10"), secs(2)).is_err());
}

#[test]
fn a_vip_on_one_link_is_not_answered_for_on_another() {
    let mut stack = appliance(Rates::default());
    let request = tagged(arp_request([192, 0, 2, 7], [192, 0, 2, 100]), [0x81, 0, 0, 42]);
    assert_eq!(stack.handle(TAGGED_PORT, &request, secs(1)), FrameKind::NotForUs);
    assert!(sent(&mut stack).is_empty());
}

#[test]
fn vips_keep_their_announcements_through_a_reload() {
    let mut stack = appliance(Rates::default());
    stack.announce(address("192.0.2.101"), secs(0)).unwrap();
    stack.set_links(
        links(),
        &[Vip { addresses: address("192.0.2.101").into(), answers: Answers::WhenAnnounced }],
    );
    let ask = |vip| arp_request([192, 0, 2, 7], vip);
    assert_eq!(handle(&mut stack, &ask([192, 0, 2, 101])), FrameKind::Arp);
    assert_eq!(handle(&mut stack, &ask([192, 0, 2, 100])), FrameKind::NotForUs);
    assert_eq!(stack.counters().answered, 1);
}

#[test]
fn a_vip_that_is_answered_for_no_longer_is_announced_no_longer() {
    let mut stack = appliance(Rates::default());
    stack.announce(address("192.0.2.101"), secs(0)).unwrap();
    stack.set_links(links(), &[Vip { addresses: address("192.0.2.101").into(), answers: Answers::Never }]);
    stack.poll(secs(0));
    assert!(sent(&mut stack).is_empty());
}

#[test]
fn an_announcement_is_made_three_times_a_second_apart() {
    let mut stack = appliance(Rates::default());
    stack.announce(address("192.0.2.101"), secs(10)).unwrap();
    let counts: Vec<_> = (10..20)
        .map(|at| {
            stack.poll(secs(at));
            let vip = [192, 0, 2, 101];
            let announcement = arp([BROADCAST, OWN_MAC], REQUEST, (OWN_MAC, vip), ([0; 6], vip));
            let frames = sent(&mut stack);
            assert!(frames.iter().all(|frame| *frame == announcement));
            frames.len()
        })
        .collect();
    assert_eq!(counts, [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(stack.next_poll(), None);
}

#[test]
fn on_start_all_is_announced_that_is_answered_for() {
    let mut stack = appliance(Rates::default());
    stack.announce_all(secs(0));
    stack.poll(secs(0));
    let frames = sent(&mut stack);
    // Three own addresses, and the two VIPs that are always answered for; those of IPv6 listen in groups.
    assert_eq!((stack.counters().announcements, stack.counters().group_reports), (5, 2));
    assert_eq!(frames.len(), 5 + 2);
    let vip = discovery("2001:db8::100", "ff02::1", (136, OVERRIDE), "2001:db8::100", Some((2, OWN_MAC)));
    assert!(frames.contains(&vip.macs(OWN_MAC, [0x33, 0x33, 0, 0, 0, 1]).build()));
}

/// A report of groups from the unspecified address, with the type of its records.
pub(crate) fn group_report(change: u8, groups: &[&str]) -> Vec<u8> {
    let mut records = Vec::new();
    for group in groups {
        records.extend([change, 0, 0, 0]);
        records.extend(address(group).v6_bytes());
    }
    let report = Packet::between("::", "ff02::16").macs(OWN_MAC, [0x33, 0x33, 0, 0, 0, 0x16]).ttl(1);
    report.hop_by_hop(&[5, 2, 0, 0, 1, 0]).icmp(143, 0, groups.len() as u32).payload(&records).build()
}

pub(crate) fn group_query(group: &str) -> Packet {
    let mut body = address(group).v6_bytes().to_vec();
    body.extend([2, 125, 0, 0]);
    let query = Packet::between("fe80::1", "ff02::1").macs(PEER_MAC, [0x33, 0x33, 0, 0, 0, 1]).ttl(1);
    query.hop_by_hop(&[5, 2, 0, 0, 1, 0]).icmp(130, 0, 1_000 << 16).payload(&body)
}

#[test]
fn switches_that_look_for_listeners_hear_of_the_groups_of_held_addresses() {
    let mut stack = appliance(Rates::default());
    assert_eq!(handle(&mut stack, &group_query("::").build()), FrameKind::Mld);
    assert_eq!(handle(&mut stack, &group_query("ff02::1:ff00:100").build()), FrameKind::Mld);
    assert_eq!(handle(&mut stack, &group_query("ff02::1:ff00:99").build()), FrameKind::NotForUs);
    assert_eq!(handle(&mut stack, &group_query("::").ttl(2).build()), FrameKind::Malformed);
    let (host, vip) = ("ff02::1:ff00:10", "ff02::1:ff00:100");
    assert_eq!(sent(&mut stack), [group_report(2, &[host, vip]), group_report(2, &[vip])]);

    stack.announce(address("2001:db8::100"), secs(2)).unwrap();
    stack.poll(secs(2));
    assert_eq!(sent(&mut stack)[0], group_report(4, &[vip]));
}

#[test]
fn many_groups_are_reported_in_frames_of_the_smallest_mtu() {
    let mut stack = appliance(Rates::default());
    let vip = |host: u128| Vip {
        addresses: Address(address("2001:db8::").0 | host).into(),
        answers: Answers::Always,
    };
    stack.set_links(links(), &(1_000..1_200).map(vip).collect::<Vec<_>>());
    assert_eq!(handle(&mut stack, &group_query("::").build()), FrameKind::Mld);
    let frames = sent(&mut stack);
    assert_eq!(frames.len(), 201_usize.div_ceil(61));
    assert!(frames.iter().all(|frame| frame.len() <= 14 + 1_280));
}

#[test]
fn echo_requests_to_own_addresses_and_vips_are_answered_to_where_they_came_from() {
    for (client, own) in [
        ("198.51.100.77", "192.0.2.10"),
        ("198.51.100.77", "203.0.113.10"),
        ("2001:db8:7::7", "2001:db8::10"),
        ("2001:db8:7::7", "2001:db8::100"),
    ] {
        let mut stack = appliance(Rates::default());
        let request = Packet::between(client, own).macs(PEER_MAC, OWN_MAC).echo_request(7, 9).payload_len(57);
        assert_eq!(handle(&mut stack, &request.build()), FrameKind::Echo);
        let reply = Packet::between(own, client).macs(OWN_MAC, PEER_MAC).echo_reply(7, 9).payload_len(57);
        assert_eq!(sent(&mut stack), [reply.dont_fragment().build()], "{client} to {own}");
    }
}

#[test]
fn tagged_frames_are_answered_under_their_tag() {
    let mut stack = appliance(Rates::default());
    let request =
        Packet::between("198.51.100.7", "198.51.100.10").macs(PEER_MAC, TAGGED_MAC).echo_request(1, 2);
    let request = request.payload_len(40).vlan(42);
    assert_eq!(stack.handle(TAGGED_PORT, &request.build(), secs(1)), FrameKind::Echo);
    let reply = Packet::between("198.51.100.10", "198.51.100.7").macs(TAGGED_MAC, PEER_MAC).echo_reply(1, 2);
    assert_eq!(sent(&mut stack), [reply.payload_len(40).vlan(42).dont_fragment().build()]);
}

#[test]
fn a_priority_tag_is_no_vlan_and_a_foreign_tag_no_link() {
    let mut stack = appliance(Rates::default());
    let request = arp_request([192, 0, 2, 7], [192, 0, 2, 10]);
    assert_eq!(handle(&mut stack, &tagged(request.clone(), [0x81, 0, 0xe0, 0])), FrameKind::Arp);
    assert_eq!(sent(&mut stack).len(), 1);
    assert_eq!(handle(&mut stack, &tagged(request.clone(), [0x81, 0, 0, 43])), FrameKind::UnknownVlan);
    assert_eq!(handle(&mut stack, &tagged(request.clone(), [0x88, 0xa8, 0, 0])), FrameKind::UnknownVlan);
    assert_eq!(stack.handle(PortId(9), &request, secs(1)), FrameKind::UnknownVlan);
    assert!(sent(&mut stack).is_empty());
}

#[test]
fn what_belongs_to_nobody_is_counted_and_not_answered() {
    let between = |from, to| Packet::between(from, to).macs(PEER_MAC, OWN_MAC);
    let own = || between("198.51.100.7", "192.0.2.10");
    let echo = || own().echo_request(1, 1);
    let lldp = [&[0x01, 0x80, 0xc2, 0, 0, 0x0e][..], &PEER_MAC, &[0x88, 0xcc], &[0; 46]].concat();
    let solicitation = || discovery("2001:db8::7", "2001:db8::10", SOLICITATION, "2001:db8::10", None);
    let cases = [
        ("ARP between others", arp_request([192, 0, 2, 7], [192, 0, 2, 8]), FrameKind::NotForUs),
        ("LLDP", lldp, FrameKind::NotForUs),
        (
            "an echo request to another",
            between("198.51.100.7", "192.0.2.99").echo_request(1, 1).build(),
            FrameKind::NotForUs,
        ),
        (
            "an echo request to another MAC",
            echo().macs(PEER_MAC, [2, 0, 0, 0, 0, 0x99]).build(),
            FrameKind::NotForUs,
        ),
        ("an echo request to everybody", echo().macs(PEER_MAC, BROADCAST).build(), FrameKind::NotForUs),
        (
            "what the appliance itself sent",
            arp([BROADCAST, OWN_MAC], REQUEST, (OWN_MAC, [192, 0, 2, 10]), ([0; 6], [192, 0, 2, 10])),
            FrameKind::NotForUs,
        ),
        (
            "an echo request from the appliance's own MAC",
            echo().macs(TAGGED_MAC, OWN_MAC).build(),
            FrameKind::NotForUs,
        ),
        (
            "a solicitation from nobody that says where",
            discovery("::", "ff02::1:ff00:10", SOLICITATION, "2001:db8::10", Some((1, PEER_MAC))).build(),
            FrameKind::Malformed,
        ),
        (
            "a solicitation from nobody to a single host",
            discovery("::", "2001:db8::10", SOLICITATION, "2001:db8::10", None).build(),
            FrameKind::Malformed,
        ),
        (
            "a solicitation to all nodes",
            discovery("2001:db8::7", "ff02::1", SOLICITATION, "2001:db8::10", None).build(),
            FrameKind::NotForUs,
        ),
        (
            "a solicitation from a group",
            discovery("ff02::1", "2001:db8::10", SOLICITATION, "2001:db8::10", None).build(),
            FrameKind::Malformed,
        ),
        (
            "a solicitation from the loopback address",
            discovery("::1", "2001:db8::10", SOLICITATION, "2001:db8::10", None).build(),
            FrameKind::Malformed,
        ),
        (
            "an answer to everybody",
            discovery("2001:db8::7", "ff02::1", (136, SOLICITED), "2001:db8::7", None).build(),
            FrameKind::Malformed,
        ),
        ("TCP to an own address", own().tcp(40_000, 22, tcp::SYN).build(), FrameKind::OtherOwn),
        ("a fragment of an echo request", echo().fragment(0, true).build(), FrameKind::OtherOwn),
        ("an echo reply", own().echo_reply(1, 1).build(), FrameKind::OtherOwn),
        (
            "TCP to a VIP",
            between("198.51.100.7", "203.0.113.10").tcp(40_000, 22, tcp::SYN).build(),
            FrameKind::UnservedVip,
        ),
        ("a wrong checksum", echo().patch(36, &[0xde, 0xad]).build(), FrameKind::Malformed),
        (
            "an echo request from a group",
            between("224.0.0.1", "192.0.2.10").echo_request(1, 1).build(),
            FrameKind::Malformed,
        ),
        (
            "an echo request from the appliance's own address",
            between("192.0.2.10", "192.0.2.10").echo_request(1, 1).build(),
            FrameKind::OwnSource,
        ),
        (
            "TCP from one own address to another",
            between("192.0.2.10", "203.0.113.10").tcp(40_000, 22, tcp::SYN).build(),
            FrameKind::OwnSource,
        ),
        (
            "TCP over IPv6 from an own address",
            between("2001:db8::10", "2001:db8::10").tcp(40_000, 22, tcp::SYN).build(),
            FrameKind::OwnSource,
        ),
        (
            "a solicitation from an own address that does not say where",
            discovery("2001:db8::10", "2001:db8::100", SOLICITATION, "2001:db8::100", None).build(),
            FrameKind::OwnSource,
        ),
        (
            "an answer of a backend from a VIP",
            between("203.0.113.10", "192.0.2.10").tcp(80, 40_000, tcp::SYN | tcp::ACK).build(),
            FrameKind::OtherOwn,
        ),
        (
            "TCP from an own address to a stranger",
            between("192.0.2.10", "198.51.100.7").tcp(40_000, 22, tcp::SYN).build(),
            FrameKind::NotForUs,
        ),
        ("an echo request from a group's MAC", echo().macs(BROADCAST, OWN_MAC).build(), FrameKind::Malformed),
        ("a solicitation from behind a router", solicitation().ttl(254).build(), FrameKind::Malformed),
        (
            "IPv4-mapped addresses in IPv6",
            between("::ffff:192.0.2.7", "::ffff:192.0.2.10").echo_request(1, 1).build(),
            FrameKind::Malformed,
        ),
        (
            "ARP from a group",
            arp([BROADCAST, PEER_MAC], REQUEST, (BROADCAST, [192, 0, 2, 7]), ([0; 6], [192, 0, 2, 10])),
            FrameKind::Malformed,
        ),
        ("ARP cut short", arp_request([192, 0, 2, 7], [192, 0, 2, 10])[..30].to_vec(), FrameKind::Malformed),
        ("no frame at all", Vec::new(), FrameKind::Malformed),
    ];
    let mut stack = appliance(Rates::default());
    for (claim, frame, kind) in &cases {
        assert_eq!(handle(&mut stack, frame), *kind, "{claim}");
        assert!(sent(&mut stack).is_empty(), "{claim}");
    }
    assert_eq!(stack.counters().received.iter().sum::<u64>(), cases.len() as u64);
}

#[test]
fn a_claim_to_an_own_address_is_counted_and_remembered() {
    let mut stack = appliance(Rates::default());
    let own = [192, 0, 2, 10];
    let claim = arp([BROADCAST, PEER_MAC], REQUEST, (PEER_MAC, own), ([0; 6], own));
    assert_eq!(handle(&mut stack, &claim), FrameKind::AddressConflict);
    let conflict = stack.last_conflict().unwrap();
    assert_eq!((conflict.address, conflict.mac), (address("192.0.2.10"), MacAddress(PEER_MAC)));
    // In its defence: RFC 5227, section 2.4 (c), and once in ten seconds.
    let announcement = arp([BROADCAST, OWN_MAC], REQUEST, (OWN_MAC, own), ([0; 6], own));
    assert_eq!(sent(&mut stack), [announcement]);
    assert_eq!(handle(&mut stack, &claim), FrameKind::AddressConflict);
    assert!(sent(&mut stack).is_empty());

    let claim = discovery("2001:db8::10", "ff02::1", (136, OVERRIDE), "2001:db8::10", Some((2, PEER_MAC)));
    let claim = claim.macs(PEER_MAC, [0x33, 0x33, 0, 0, 0, 1]);
    assert_eq!(handle(&mut stack, &claim.build()), FrameKind::AddressConflict);
    assert_eq!((sent(&mut stack).len(), stack.counters().defences), (1, 2));
}

#[test]
fn the_holder_of_a_vip_that_is_not_held_here_is_no_conflict() {
    let mut stack = appliance(Rates::default());
    let vip = [192, 0, 2, 101];
    let claim = arp([BROADCAST, PEER_MAC], REQUEST, (PEER_MAC, vip), ([0; 6], vip));
    assert_eq!(handle(&mut stack, &claim), FrameKind::Arp);
    stack.announce(address("192.0.2.101"), secs(1)).unwrap();
    assert_eq!(handle(&mut stack, &claim), FrameKind::AddressConflict);
}

#[test]
fn questions_go_to_all_and_their_answers_become_events() {
    let mut stack = appliance(Rates::default());
    let backends = ["192.0.2.7", "2001:db8::7"].map(|text| stack.next_hop(address(text)).unwrap());
    for backend in backends {
        stack.resolve(backend, secs(0)).unwrap();
    }
    stack.poll(secs(0));
    let (own, backend) = ([192, 0, 2, 10], [192, 0, 2, 7]);
    let solicitation =
        discovery("2001:db8::10", "ff02::1:ff00:7", SOLICITATION, "2001:db8::7", Some((1, OWN_MAC)));
    assert_eq!(
        sent(&mut stack),
        [
            arp([BROADCAST, OWN_MAC], REQUEST, (OWN_MAC, own), ([0; 6], backend)),
            solicitation.macs(OWN_MAC, [0x33, 0x33, 0xff, 0, 0, 7]).build(),
        ]
    );

    let reply = arp([OWN_MAC, PEER_MAC], REPLY, (PEER_MAC, backend), (OWN_MAC, own));
    assert_eq!(handle(&mut stack, &reply), FrameKind::Arp);
    let advertisement =
        discovery("2001:db8::7", "2001:db8::10", (136, SOLICITED), "2001:db8::7", Some((2, PEER_MAC)));
    assert_eq!(handle(&mut stack, &advertisement.build()), FrameKind::Ndp);
    let known = |next_hop| NeighbourEvent { next_hop, mac: Some(MacAddress(PEER_MAC)), before: None };
    assert_eq!(stack.events(), backends.map(known));
}

#[test]
fn no_neighbour_is_at_the_appliances_own_mac() {
    let mut stack = appliance(Rates::default());
    let backend = stack.next_hop(address("192.0.2.7")).unwrap();
    stack.resolve(backend, secs(0)).unwrap();
    let reply = arp([OWN_MAC, PEER_MAC], REPLY, (OWN_MAC, [192, 0, 2, 7]), (OWN_MAC, [192, 0, 2, 10]));
    assert_eq!(handle(&mut stack, &reply), FrameKind::NotForUs);
    assert_eq!((stack.mac(backend), stack.events()), (None, Vec::new()));
}

#[test]
fn answers_of_each_sort_are_limited_in_a_second_and_the_sorts_apart() {
    let rates = Rates { echo_replies_per_sec: 30, answers_per_sec: 20, ..Rates::default() };
    let mut stack = appliance(rates);
    let echo =
        Packet::between("198.51.100.7", "192.0.2.10").macs(PEER_MAC, OWN_MAC).echo_request(1, 1).build();
    for _ in 0..100 {
        assert_eq!(handle(&mut stack, &echo), FrameKind::Echo);
        assert_eq!(handle(&mut stack, &arp_request([192, 0, 2, 7], [192, 0, 2, 10])), FrameKind::Arp);
    }
    assert_eq!((stack.counters().answered, stack.counters().limited), (3 + 2, 195));
}

#[test]
fn what_waits_to_be_sent_is_bounded() {
    let mut stack = appliance(Rates { echo_replies_per_sec: u32::MAX, ..Rates::default() });
    let echo = Packet::between("198.51.100.7", "192.0.2.10").macs(PEER_MAC, OWN_MAC).echo_request(1, 1);
    let echo = echo.payload_len(1_400).build();
    for _ in 0..1_000 {
        handle(&mut stack, &echo);
    }
    let counters = stack.counters().clone();
    assert_eq!(counters.answered + counters.queue_full, 1_000);
    let bytes: usize = sent(&mut stack).iter().map(Vec::len).sum();
    assert!(bytes <= MAX_QUEUED_BYTES && bytes > MAX_QUEUED_BYTES - echo.len(), "{bytes}");
    handle(&mut stack, &echo);
    assert_eq!(sent(&mut stack).len(), 1);
}

#[test]
fn questions_over_the_limit_are_asked_later() {
    let mut stack = appliance(Rates { questions_per_sec: 100, ..Rates::default() });
    for host in 1..=200_u8 {
        let next_hop = stack.next_hop(Address::v4([198, 51, 100, host])).unwrap();
        if host != 10 {
            stack.resolve(next_hop, secs(1)).unwrap();
        }
    }
    stack.poll(secs(1));
    assert_eq!(sent(&mut stack).len(), 10);
    let soon = stack.next_poll().unwrap();
    assert!(soon > secs(1) && soon < secs(2), "{soon:?}");
    stack.poll(soon);
    assert_eq!(sent(&mut stack).len(), 1);
}
