//! VIPs that are prefixes: each address is answered for, and few are announced.

use guideway::net::host_stack::{Answers, FrameKind, HostStack, Rates, Vip};
use guideway_dataplane::address::Prefix;
use pcap_fixtures::packet::{Packet, tcp};

use crate::frames::{SOLICITATION, arp_request, discovery, group_query, group_report, handle};
use crate::repetition::announced;
use crate::{OWN_MAC, PEER_MAC, address, links, secs, sent};

fn vip(text: &str, answers: Answers) -> Vip {
    Vip { addresses: prefix(text), answers }
}

fn prefix(text: &str) -> Prefix {
    match text.split_once('/') {
        Some((network, length)) => Prefix::new(address(network), length.parse().expect("a length")),
        None => address(text).into(),
    }
}

fn stack(vips: &[Vip]) -> HostStack {
    HostStack::new(links(), vips, Rates::default())
}

/// Addresses that are announced when the stack is polled at a second.
fn announced_at(stack: &mut HostStack, second: u64) -> Vec<String> {
    stack.poll(secs(second));
    let frames = sent(stack).into_iter();
    // A report of groups has a header between those of IPv6 and ICMPv6.
    frames
        .filter(|frame| frame[12..14] != [0x86, 0xdd] || frame[20] == 58)
        .map(|frame| announced(&frame))
        .collect()
}

#[test]
fn each_address_of_a_prefix_is_answered_for_and_no_other() {
    let mut stack =
        stack(&[vip("192.0.2.128/28", Answers::Always), vip("2001:db8::1:0:0/96", Answers::Always)]);
    for host in 128..144 {
        assert_eq!(handle(&mut stack, &arp_request([192, 0, 2, 7], [192, 0, 2, host])), FrameKind::Arp);
    }
    for host in [127, 144] {
        assert_eq!(handle(&mut stack, &arp_request([192, 0, 2, 7], [192, 0, 2, host])), FrameKind::NotForUs);
    }
    assert_eq!(sent(&mut stack).len(), 16);
    for (target, kind) in [
        ("2001:db8::1:0:0", FrameKind::Ndp),
        ("2001:db8::1:ffff:ffff", FrameKind::Ndp),
        ("2001:db8::2:0:0", FrameKind::NotForUs),
    ] {
        let group = [0x33, 0x33, 0xff, 0, 0, 0];
        let question = discovery("2001:db8::7", target, SOLICITATION, target, Some((1, PEER_MAC)));
        assert_eq!(handle(&mut stack, &question.macs(PEER_MAC, group).build()), kind, "{target}");
    }
    assert_eq!(sent(&mut stack).len(), 2);
    for own in ["192.0.2.139", "2001:db8::1:0:9"] {
        let client = if own.contains(':') { "2001:db8:7::7" } else { "198.51.100.77" };
        let to = || Packet::between(client, own).macs(PEER_MAC, OWN_MAC);
        assert_eq!(handle(&mut stack, &to().echo_request(7, 9).payload_len(40).build()), FrameKind::Echo);
        let reply = Packet::between(own, client).macs(OWN_MAC, PEER_MAC).echo_reply(7, 9).payload_len(40);
        assert_eq!(sent(&mut stack), [reply.dont_fragment().build()]);
        assert_eq!(handle(&mut stack, &to().tcp(1, 80, tcp::SYN).build()), FrameKind::UnservedVip);
    }
}

#[test]
fn a_longer_prefix_and_an_address_are_exceptions_from_the_one_that_holds_them() {
    let mut stack = stack(&[
        vip("192.0.2.128/28", Answers::Always),
        vip("192.0.2.136/29", Answers::Never),
        vip("192.0.2.137", Answers::WhenAnnounced),
    ]);
    let answered = |stack: &mut HostStack| -> Vec<u8> {
        let hosts = (128..144).filter(|host| {
            handle(stack, &arp_request([192, 0, 2, 7], [192, 0, 2, *host]));
            !sent(stack).is_empty()
        });
        hosts.collect()
    };
    assert_eq!(answered(&mut stack), (128..136).collect::<Vec<_>>());
    stack.announce(prefix("192.0.2.137"), secs(1)).expect("it may be announced");
    assert_eq!(answered(&mut stack), (128..136).chain([137]).collect::<Vec<_>>());
    assert!(stack.announce(prefix("192.0.2.136/29"), secs(1)).is_err(), "it is never answered for");
    assert!(stack.announce(prefix("192.0.2.128/29"), secs(1)).is_err(), "it is no VIP");
}

#[test]
fn a_small_prefix_is_announced_whole_and_a_large_one_by_its_first_address() {
    let mut stack = stack(&[
        vip("192.0.2.128/28", Answers::WhenAnnounced),
        vip("192.0.2.130", Answers::Never),
        vip("192.0.2.32/27", Answers::WhenAnnounced),
        vip("2001:db8::1:0:0/96", Answers::WhenAnnounced),
        vip("203.0.113.0/24", Answers::WhenAnnounced),
    ]);
    assert!(announced_at(&mut stack, 0).is_empty());
    stack.announce(prefix("192.0.2.128/28"), secs(1)).expect("it may be announced");
    let whole: Vec<_> =
        (128..144).filter(|host| *host != 130).map(|host| format!("192.0.2.{host}")).collect();
    let mut found = announced_at(&mut stack, 1);
    found.sort_by_key(|address| address[8..].parse::<u8>().expect("a number"));
    assert_eq!(found, whole, "one of them is another VIP");
    assert_eq!(announced_at(&mut stack, 2).len() + announced_at(&mut stack, 3).len(), 30);
    assert!(announced_at(&mut stack, 4).is_empty());

    stack.announce(prefix("192.0.2.32/27"), secs(5)).expect("it may be announced");
    assert_eq!(announced_at(&mut stack, 5), ["192.0.2.32"]);
    stack.announce(prefix("2001:db8::1:0:0/96"), secs(5)).expect("it may be announced");
    assert_eq!(announced_at(&mut stack, 5), ["2001:db8::1:0:0"]);
    assert_eq!(handle(&mut stack, &group_query("ff02::1:ff00:0").build()), FrameKind::Mld);
    assert_eq!(sent(&mut stack), [group_report(2, &["ff02::1:ff00:0"])]);

    stack.withdraw(prefix("192.0.2.128/28"));
    stack.withdraw(prefix("192.0.2.32/27"));
    assert_eq!(announced_at(&mut stack, 6), ["2001:db8::1:0:0"]);
    handle(&mut stack, &arp_request([192, 0, 2, 7], [192, 0, 2, 129]));
    assert!(sent(&mut stack).is_empty());
    let shown: Vec<_> = stack.vips().map(|(vip, held)| (vip.addresses.to_string(), held)).collect();
    let expected = [
        ("192.0.2.32/27", false),
        ("192.0.2.128/28", false),
        ("192.0.2.130/32", false),
        ("203.0.113.0/24", false),
        ("2001:db8::1:0:0/96", true),
    ];
    assert_eq!(shown, expected.map(|(text, held)| (text.to_owned(), held)));
}

#[test]
fn a_prefix_keeps_its_announcement_through_a_reload_that_takes_an_address_out() {
    let mut stack = stack(&[vip("192.0.2.128/28", Answers::WhenAnnounced)]);
    stack.announce(prefix("192.0.2.128/28"), secs(1)).expect("it may be announced");
    assert_eq!(announced_at(&mut stack, 1).len(), 16);
    stack.set_links(
        links(),
        &[vip("192.0.2.128/28", Answers::WhenAnnounced), vip("192.0.2.129", Answers::Never)],
    );
    let answers = |stack: &mut HostStack, host| {
        handle(stack, &arp_request([192, 0, 2, 7], [192, 0, 2, host]));
        sent(stack).len()
    };
    assert_eq!([128, 129, 130].map(|host| answers(&mut stack, host)), [1, 0, 1]);
    assert_eq!(announced_at(&mut stack, 2).len(), 15);
}

#[test]
fn claims_to_addresses_of_a_prefix_are_claims_to_the_prefix() {
    let mut stack = stack(&[vip("192.0.2.128/28", Answers::Always)]);
    for host in [128, 140] {
        let claim = arp_request([192, 0, 2, host], [192, 0, 2, host]);
        assert_eq!(handle(&mut stack, &claim), FrameKind::AddressConflict);
        let conflict = stack.last_conflict().expect("there is one");
        assert_eq!(
            (conflict.address, conflict.held),
            (address(&format!("192.0.2.{host}")), prefix("192.0.2.128/28"))
        );
    }
}

#[test]
fn repetition_of_a_large_prefix_is_that_of_one_address() {
    let mut stack = stack(&[vip("2001:db8::1:0:0/96", Answers::Always)]);
    stack.repeat_announcements(Some(secs(4)), secs(0));
    let mut found: Vec<_> = (1..=4).flat_map(|second| announced_at(&mut stack, second)).collect();
    found.sort();
    assert_eq!(found, ["192.0.2.10", "198.51.100.10", "2001:db8::10", "2001:db8::1:0:0"]);
}
