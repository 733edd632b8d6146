//! Floods over a cable into the real process, while connections go on: each kind, for a bounded number of frames.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use guideway::api::view::Stats;
use guideway::doctor::finding::{Diagnosis, Level};
use pcap_fixtures::packet::Packet;
use pcap_fixtures::packet::tcp::{ACK, SYN};

use crate::lab::Lab;
use crate::lab::address::{self, Family, Vip, WEB};
use crate::lab::appliance::{Appliance, socket};
use crate::lab::backend::Backend;
use crate::lab::client::names;
use crate::lab::conversation::{Conversation, go_on};
use crate::lab::patience::{PATIENCE, within};
use crate::lab::setup::{Setup, http_check};
use crate::lab::wire::Wire;

/// Frames of each flood.
const FRAMES: u32 = 20_000;

/// Frames that come back to back, and the rest after them, in which a worker that has lost its core takes up its queue.
const TRAIN: u32 = 250;
const REST: Duration = Duration::from_millis(2);

/// Trains after which the connections go on.
const TRAINS: u32 = 20;

const ALL: [&str; 3] = ["b0", "b1", "b2"];

/// Connections that the table is made for: each flood of sources has many times as many.
const CAPACITY: u64 = 1_024;

/// Slots of that table: half as many again.
const SLOTS: u64 = CAPACITY * 3 / 2;

/// Kind of a flood, and its frames by their number.
type Flood = (&'static str, Box<dyn Fn(u32) -> Vec<u8>>);

/// MAC address of a stranger, one for each number.
fn mac(number: u32) -> [u8; 6] {
    let [_, a, b, c] = number.to_be_bytes();
    [2, 0x66, 0, a, b, c]
}

/// Frames of a packet, each from another address: the last three bytes of the source are the number.
fn spread(packet: &Packet, to: [u8; 6]) -> Box<dyn Fn(u32) -> Vec<u8>> {
    let template = packet.clone().macs(mac(1), to).build();
    let end = if template[12..14] == [8, 0] { 30 } else { 38 };
    Box::new(move |number| {
        let mut frame = template.clone();
        frame[end - 3..end].copy_from_slice(&number.to_be_bytes()[1..]);
        if end == 30 {
            // The bridge of a machine that filters bridged packets looks at it.
            let header = usize::from(frame[14] & 0xf) * 4;
            frame[24..26].fill(0);
            let checksum = checksum(&frame[14..14 + header]);
            frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        }
        frame
    })
}

/// Internet checksum of a header (RFC 1071).
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

/// ARP about an address of the link, from a stranger.
fn arp(operation: u8, number: u32, to_mac: [u8; 6], [from, to]: [IpAddr; 2]) -> Vec<u8> {
    let bytes = |address| match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => panic!("{address} is asked for otherwise"),
    };
    let head = [&to_mac[..], &mac(number), &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation]].concat();
    [&head[..], &mac(number), &bytes(from), &to_mac, &bytes(to), &[0; 18]].concat()
}

/// Floods of all kinds at an appliance with this MAC address.
fn floods(own_mac: [u8; 6]) -> Vec<Flood> {
    let [v4, v6] = Family::BOTH.map(|family| Vip::OnLink.address(family));
    let backend = address::backend(0, Family::V4);
    let own = address::appliance(0, Family::V4);
    let from_4 = || Packet::between("100.64.0.0", &v4.to_string());
    let from_6 = || Packet::between("2001:db8:f::", &v6.to_string());
    let quoted = Packet::between(&v4.to_string(), "172.16.9.9").tcp(WEB, 40_000, ACK).payload_len(20);
    let solicitation = {
        let IpAddr::V6(vip) = v6 else { panic!("a VIP of the other family") };
        let body = [&vip.octets()[..], &[1, 1], &mac(1)].concat();
        let asker = "2001:db8:1::66";
        Packet::between(asker, &v6.to_string()).ttl(255).icmp(135, 0, 0).payload(&body)
    };
    let to = own_mac;
    let solicitation = solicitation.macs(mac(1), to).build();
    vec![
        ("SYNs", spread(&from_4().tcp(40_000, WEB, SYN), to)),
        ("SYNs over IPv6", spread(&from_6().tcp(40_000, WEB, SYN), to)),
        ("ACKs of no connection", spread(&from_4().tcp(40_000, WEB, ACK), to)),
        ("UDP datagrams", spread(&from_4().udp(5_353, address::ECHO).payload_len(30), to)),
        ("UDP datagrams for no rule", spread(&from_4().udp(5_353, 9).payload_len(30), to)),
        // Over IPv6: of IPv4, `net_af_packet` has the kernel keep fragments until their datagram is whole.
        (
            "first fragments",
            spread(&from_6().udp(5_353, address::ECHO).payload_len(64).fragment(0, true), to),
        ),
        ("last fragments", spread(&from_6().protocol(17).payload_len(64).fragment(1_480, false), to)),
        ("ICMP errors", spread(&from_4().icmp(3, 0, 0).quoting(&quoted, 48), to)),
        ("IPv4 options", spread(&from_4().options(&[7, 39, 4, 0]).tcp(40_000, WEB, SYN), to)),
        (
            "extension headers",
            spread(&from_6().destination_options(&[1, 4, 0, 0, 0, 0]).tcp(40_000, WEB, SYN), to),
        ),
        ("malformed segments", spread(&from_4().tcp(40_000, WEB, SYN).patch(14 + 20 + 12, &[0x10]), to)),
        ("packets whose TTL ends", spread(&from_4().ttl(1).tcp(40_000, WEB, SYN), to)),
        ("ARP requests", Box::new(move |number| arp(1, number % 4_096, [0xff; 6], [on_link(number), v4]))),
        ("ARP claims to a backend", Box::new(move |number| arp(2, number % 4_096, to, [backend, own]))),
        ("neighbour solicitations", Box::new(move |_| solicitation.clone())),
    ]
}

/// An address of the link that nobody has.
fn on_link(number: u32) -> IpAddr {
    IpAddr::from([192, 0, 2, 210 + (number % 40) as u8])
}

/// Number below a million, with a comma before its last three digits.
fn thousands(number: u64) -> String {
    format!("{},{:03}", number / 1_000, number % 1_000)
}

/// Checks that each packet that was offered has one end.
fn adds_up(stats: &Stats) {
    let total = &stats.total;
    let ends = total.forwarded + total.passed.values().sum::<u64>() + total.dropped.values().sum::<u64>();
    assert_eq!(total.offered, ends, "{total:?}");
}

/// Frames that the appliance has taken in, or that its device has lost before it.
fn arrived(stats: &Stats) -> u64 {
    stats.total.offered + stats.ports.iter().map(|port| port.missed).sum::<u64>()
}

#[test]
fn floods_of_every_kind_cost_no_connection() {
    let lab = Lab::new(1, 3);
    let _backends = Backend::all(&lab, 3);
    let toml = Setup::checked_by(3, http_check()).toml(0, &socket(&lab, 0));
    let toml = toml.replace("max_entries = 1_048_576", &format!("max_entries = {CAPACITY}"));
    let mut appliance = Appliance::start_with(&lab, 0, &toml);
    let own_mac: Vec<u8> =
        lab.appliance_mac(0).split(':').map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect();
    let floods = floods(own_mac.try_into().expect("six bytes"));
    let kinds = floods.len();
    let wire = Wire::open(lab.client(), "eth0").expect("the client has a device");
    let mut conversations: Vec<_> = Family::BOTH
        .iter()
        .flat_map(|family| Conversation::several(&lab, Vip::OnLink.web(*family), 4))
        .collect();
    // A packet in a later second confirms a connection.
    thread::sleep(Duration::from_millis(2_100));
    go_on(&mut conversations, "before any flood");

    let mut dropped_or_passed = BTreeSet::new();
    for (kind, frames) in floods {
        let before = appliance.stats();
        for train in 0..FRAMES / TRAIN {
            wire.flood((train * TRAIN..(train + 1) * TRAIN).map(&frames));
            thread::sleep(REST);
            if train.is_multiple_of(TRAINS) {
                go_on(&mut conversations, kind);
            }
        }
        go_on(&mut conversations, kind);
        let more = || arrived(&appliance.stats()) - arrived(&before);
        let all_arrived = within(PATIENCE, || (more() >= u64::from(FRAMES)).then_some(()));
        assert!(all_arrived.is_some(), "{kind}: {} of {FRAMES} frames came, or are counted as lost", more());
        let after = appliance.stats();
        adds_up(&after);
        assert!(after.conntrack.entries <= SLOTS, "{kind}: {} entries", after.conntrack.entries);
        for (reason, packets) in &after.total.dropped {
            if *packets > before.total.dropped[reason] {
                dropped_or_passed.insert(reason.clone());
            }
        }
        // A machine with much to do may lose a probe for want of a core.
        let pages = lab.curl(Vip::OnLink.web(Family::V4), 30);
        assert!(pages.len() == 30 && names(&pages).is_subset(&BTreeSet::from(ALL)), "{kind}: {pages:?}");
        let healthy = within(PATIENCE, || appliance.is_healthy().then_some(()));
        assert!(healthy.is_some(), "{kind}: {:?}", appliance.status());
    }
    go_on(&mut conversations, "after all floods");
    for family in Family::BOTH {
        assert_eq!(lab.ping(Vip::OnLink.address(family)), Ok(()));
    }
    assert_eq!(lab.neighbour(Vip::OnLink.address(Family::V4)), Some(lab.appliance_mac(0)), "no stranger's");
    // A flood of what is malformed, and one whose TTL ends, are told by their reasons.
    assert!(dropped_or_passed.is_superset(&["malformed_tcp", "ttl_expired"].map(str::to_owned).into()));
    let drops = appliance.must(&["drops"]);
    assert!(drops.contains("malformed_tcp") && drops.contains("ttl_expired"), "{drops}");
    let config = lab.directory().join("guideway-0.toml");
    let words = ["doctor", "--output", "json", "--config", &config.to_string_lossy()];
    let told = appliance.verb(&words);
    let diagnosis: Diagnosis =
        serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {}", told.stderr));
    let of_backends = |subject: &str| ALL.iter().any(|name| subject.contains(&format!("/{name}")));
    let sick: Vec<_> = diagnosis
        .findings
        .iter()
        .filter(|finding| finding.level == Level::Fault && of_backends(&finding.subject))
        .collect();
    assert!(sick.is_empty(), "{sick:#?}");
    appliance.must(&["status"]);
    let row = format!(
        "| {kinds} kinds of floods over a cable, one after the other, into the process | {} frames of each | nothing: {} \
         connections of both families go on, new ones begin, every backend is healthy after each | every counter adds up, and the table keeps \
         its {} slots | `floods_of_every_kind_cost_no_connection` in `control/tests/live/floods.rs` |",
        thousands(u64::from(FRAMES)),
        conversations.len(),
        thousands(SLOTS)
    );
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/failure-modes.md");
    let document = fs::read_to_string(document).expect("the document is there");
    assert!(document.lines().any(|line| line == row), "docs/failure-modes.md lacks the row\n{row}");
    drop(conversations);
    appliance.kill();
}
