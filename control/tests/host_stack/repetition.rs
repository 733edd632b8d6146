//! Announcements that are repeated, so that switches do not forget a port that only receives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use guideway::net::host_stack::{Answers, HostAddress, HostStack, Link, Rates, Vip};
use guideway_dataplane::address::Address;
use guideway_dataplane::egress::PortId;

use crate::{OWN_MAC, TAGGED_MAC, address, appliance, links, secs, sent};

/// Frames that a stack sends at each second of a time, by the second.
fn sent_at(stack: &mut HostStack, seconds: std::ops::RangeInclusive<u64>) -> BTreeMap<u64, Vec<Vec<u8>>> {
    let frames = seconds.map(|second| {
        stack.poll(secs(second));
        (second, sent(stack))
    });
    frames.filter(|(_, frames)| !frames.is_empty()).collect()
}

/// Addresses that a frame announces: the sender of a gratuitous ARP, or the target of an unsolicited advertisement.
pub(crate) fn announced(frame: &[u8]) -> String {
    let untagged = if frame[12..14] == [0x81, 0] { &frame[16..] } else { &frame[12..] };
    match untagged[..2] {
        [0x08, 0x06] => {
            assert_eq!((&frame[..6], &untagged[8..10]), (&[0xff; 6][..], &[0, 1][..]), "a request to all");
            let [sender, target] =
                [16, 26].map(|at| <[u8; 4]>::try_from(&untagged[at..at + 4]).expect("four bytes"));
            assert_eq!(sender, target);
            std::net::Ipv4Addr::from(sender).to_string()
        }
        [0x86, 0xdd] => {
            assert_eq!((untagged[2 + 40], &frame[..2]), (136, &[0x33, 0x33][..]), "an advertisement to all");
            let target = <[u8; 16]>::try_from(&untagged[2 + 48..2 + 64]).expect("sixteen bytes");
            std::net::Ipv6Addr::from(target).to_string()
        }
        _ => panic!("{frame:02x?}"),
    }
}

#[test]
fn each_held_address_is_announced_once_in_every_interval_and_one_at_a_time() {
    let mut stack = appliance(Rates::default());
    stack.repeat_announcements(Some(secs(60)), secs(0));
    let frames = sent_at(&mut stack, 1..=180);
    // Three own addresses and the two VIPs that are always answered for: every twelve seconds, one of them.
    assert_eq!(
        frames.keys().copied().collect::<Vec<_>>(),
        (1..=15).map(|turn| turn * 12).collect::<Vec<_>>()
    );
    assert!(frames.values().all(|frames| frames.len() == 1));
    let addresses: Vec<_> = frames.values().map(|frames| announced(&frames[0])).collect();
    let mut held = ["192.0.2.10", "192.0.2.100", "198.51.100.10", "2001:db8::10", "2001:db8::100"];
    for round in addresses.chunks(5) {
        let mut round = round.to_vec();
        round.sort();
        held.sort_unstable();
        assert_eq!(round, held);
    }
    let sources: BTreeSet<_> =
        frames.values().map(|frames| <[u8; 6]>::try_from(&frames[0][6..12]).unwrap()).collect();
    assert_eq!(sources, BTreeSet::from([OWN_MAC, TAGGED_MAC]), "both ports are heard of");
    assert_eq!((stack.counters().announcements, stack.counters().group_reports), (15, 0));
}

#[test]
fn without_an_interval_nothing_is_repeated_and_another_holds_at_once() {
    let mut stack = appliance(Rates::default());
    stack.repeat_announcements(None, secs(0));
    assert_eq!(sent_at(&mut stack, 1..=1_000).len(), 0);
    assert_eq!(stack.next_poll(), None);
    stack.repeat_announcements(Some(secs(300)), secs(1_000));
    assert_eq!(stack.next_poll(), Some(secs(1_060)));
    stack.repeat_announcements(Some(secs(300)), secs(1_050));
    assert_eq!(stack.next_poll(), Some(secs(1_060)), "a reload that changes nothing does not put it off");
    stack.repeat_announcements(Some(secs(5)), secs(1_050));
    assert_eq!(sent_at(&mut stack, 1_050..=1_060).len(), 10);
}

#[test]
fn a_vip_is_repeated_from_its_announcement_to_its_withdrawal() {
    let mut stack = appliance(Rates::default());
    stack.repeat_announcements(Some(secs(10)), secs(0));
    let is_announced = |stack: &mut HostStack, seconds| {
        let frames = sent_at(stack, seconds);
        frames.values().flatten().any(|frame| announced(frame) == "192.0.2.101")
    };
    assert!(!is_announced(&mut stack, 0..=30));
    stack.announce(address("192.0.2.101"), secs(31)).unwrap();
    sent_at(&mut stack, 31..=35);
    assert!(is_announced(&mut stack, 36..=50));
    stack.withdraw(address("192.0.2.101"));
    assert!(!is_announced(&mut stack, 51..=80));
}

#[test]
fn many_addresses_stretch_the_interval_instead_of_flooding_the_link() {
    let mut stack = appliance(Rates::default());
    let vip = |host: u128| Vip {
        addresses: Address(address("2001:db8::").0 | host).into(),
        answers: Answers::Always,
    };
    stack.set_links(links(), &(1_000..4_000).map(vip).collect::<Vec<_>>());
    stack.repeat_announcements(Some(secs(10)), secs(0));
    let mut addresses = BTreeSet::new();
    for second in 0..61 {
        let frames: Vec<_> = (1..=1_000)
            .flat_map(|ms| {
                stack.poll(secs(second) + Duration::from_millis(ms));
                sent(&mut stack)
            })
            .collect();
        assert!(frames.len() <= 50, "{} in a second", frames.len());
        addresses.extend(frames.iter().map(|frame| announced(frame)));
    }
    assert_eq!(addresses.len(), 3_000 + 3, "each had its turn");
    // After a pause, what was left out is not made up for.
    stack.poll(secs(1_000));
    assert_eq!(sent(&mut stack).len(), 1);
}

#[test]
fn a_vip_on_no_link_is_repeated_only_where_the_port_has_no_address() {
    let mut links = links();
    let vip = Vip { addresses: address("203.0.113.10").into(), answers: Answers::Always };
    let announced_on = |links: Vec<Link>| {
        let mut stack = HostStack::new(links, &[vip], Rates::default());
        stack.repeat_announcements(Some(secs(1)), secs(0));
        let mut ports = BTreeSet::new();
        for second in 1..=20 {
            stack.poll(secs(second));
            while let Some(frame) = stack.transmit() {
                if announced(&frame.bytes) == "203.0.113.10" {
                    ports.insert(frame.port.0);
                }
            }
        }
        ports
    };
    assert_eq!(announced_on(links.clone()), BTreeSet::new());
    links.push(Link { port: PortId(2), addresses: Vec::new(), vlan: None, ..links[0].clone() });
    assert_eq!(announced_on(links.clone()), BTreeSet::from([2]));
    // Addresses that a link holds are announced there alone.
    links[2].addresses.push(HostAddress::new(address("203.0.113.1"), 24));
    assert_eq!(announced_on(links), BTreeSet::from([2]));
}
