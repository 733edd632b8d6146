//! Replays of every capture in `pcap-fixtures/`: decisions and sent frames are compared with the expected ones.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Cursor, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::LazyLock;

use guideway::offline::replay::{Outputs, Summary, replay};
use guideway::offline::timeline::Timeline;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::verdict::{DropReason, PassReason};
use guideway_engine::capture::{CaptureReader, CaptureWriter, CommentedFrame, PcapngWriter, Record};
use guideway_model::config::Config;
use pcap_fixtures::capture::capture;
use pcap_fixtures::fixture::{Fixture, Outcome, START};
use pcap_fixtures::scenarios::fixtures;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// Results of a replay.
struct Replayed {
    summary: Summary,
    decisions: String,
    sent: Vec<u8>,
}

/// Memory that a replay writes and the test reads.
#[derive(Clone, Default)]
struct Buffer(Rc<RefCell<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pcap-fixtures")
}

fn parse(name: &str, config: &str) -> Config {
    Config::parse(name, config).unwrap_or_else(|errors| panic!("{}", errors.render(false)))
}

fn run(config: Config, events: Timeline, capture: &[u8], workers: usize) -> Replayed {
    let (decisions, sent) = (Buffer::default(), Buffer::default());
    let outputs = Outputs {
        decisions: Some(Box::new(decisions.clone())),
        frames: Some(CaptureWriter::new(Box::new(sent.clone()) as Box<dyn Write>).unwrap()),
        ..Outputs::default()
    };
    let capture = CaptureReader::new(Cursor::new(capture.to_vec())).unwrap();
    let (summary, result) = replay(config, events, capture, workers, outputs);
    result.unwrap();
    assert!(summary.is_balanced(), "offered = forwarded + passed + dropped, but: {summary:#?}");
    let decisions = String::from_utf8(decisions.0.take()).unwrap();
    assert_eq!(decisions.lines().count() as u64, summary.packets);
    Replayed { summary, decisions, sent: sent.0.take() }
}

fn replay_fixture(fixture: &Fixture, workers: usize) -> Replayed {
    let file = |kind: &str| folder().join("captures").join(fixture.path(kind));
    let path = file("toml");
    let config = parse(&path.to_string_lossy(), &fs::read_to_string(&path).unwrap());
    let events = match file("events.toml") {
        path if path.exists() => Timeline::read(&path, &config).unwrap(),
        _ => Timeline::default(),
    };
    run(config, events, &fs::read(file("in.pcap")).unwrap(), workers)
}

/// One frame of a capture.
#[derive(Debug, PartialEq, Eq)]
struct Captured {
    nanos: u64,
    wire_len: u32,
    bytes: Vec<u8>,
}

fn frames(capture: &[u8]) -> Vec<Captured> {
    let mut reader = CaptureReader::new(capture).unwrap();
    let mut frames = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        let Record { timestamp_nanos, wire_len, bytes, .. } = record;
        frames.push(Captured { nanos: timestamp_nanos, wire_len, bytes: bytes.to_vec() });
    }
    frames
}

impl fmt::Display for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:4} ", self.nanos, self.wire_len)?;
        self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Number of occurrences of each word.
fn count_each(words: impl Iterator<Item = &'static str>) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    words.for_each(|word| *counts.entry(word).or_default() += 1);
    counts
}

#[test]
fn every_fixture_is_decided_and_sent_as_it_must_be() {
    let mut wrong = String::new();
    for fixture in fixtures() {
        let file = |kind: &str| fs::read(folder().join("captures").join(fixture.path(kind))).unwrap();
        let replayed = replay_fixture(&fixture, 1);
        let decisions = String::from_utf8(file("decisions.jsonl")).unwrap();
        for (decided, right) in replayed.decisions.lines().zip(decisions.lines()) {
            if decided != right {
                wrong += &format!("{}\n  is        {decided}\n  should be {right}\n", fixture.name);
            }
        }
        let (sent, right) = (frames(&replayed.sent), frames(&file("out.pcap")));
        if sent.len() != right.len() {
            wrong += &format!("{}: {} frames sent, not {}\n", fixture.name, sent.len(), right.len());
        }
        for (sent, right) in sent.iter().zip(&right) {
            if sent != right {
                wrong += &format!("{}\n  sent      {sent}\n  should be {right}\n", fixture.name);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_frame_of_a_fixture_is_counted_once_under_its_reason() {
    for fixture in fixtures() {
        let summary = replay_fixture(&fixture, 1).summary;
        let of = |wanted| {
            let verdicts = fixture.outcomes().map(|outcome| outcome.verdict());
            verdicts.filter_map(move |(verdict, reason)| (verdict == wanted).then_some(reason.unwrap_or("")))
        };
        assert_eq!(summary.packets, fixture.outcomes().count() as u64, "{}", fixture.name);
        assert_eq!(summary.forwarded, of("forward").count() as u64, "{}", fixture.name);
        assert_eq!(summary.passed, count_each(of("pass")), "{}", fixture.name);
        assert_eq!(summary.dropped, count_each(of("drop")), "{}", fixture.name);
        let answered = fixture.outcomes().filter(|outcome| matches!(outcome, Outcome::TooBig(_, Some(_))));
        assert_eq!(summary.icmp_errors_sent, answered.count() as u64, "{}", fixture.name);
    }
}

#[test]
fn decisions_do_not_depend_on_the_number_of_workers() {
    for fixture in fixtures() {
        let [one, three] = [1, 3].map(|workers| replay_fixture(&fixture, workers));
        assert_eq!(one.decisions, three.decisions, "{}", fixture.name);
        assert_eq!(one.sent, three.sent, "{}", fixture.name);
    }
}

#[test]
fn every_reason_to_pass_or_drop_has_a_fixture() {
    let shown =
        count_each(fixtures().iter().flat_map(Fixture::outcomes).filter_map(|outcome| outcome.verdict().1));
    let passed = PassReason::ALL.iter().map(|reason| reason.as_str());
    let dropped = DropReason::ALL.iter().map(|reason| reason.as_str());
    let missing: Vec<_> = passed.chain(dropped).filter(|reason| !shown.contains_key(reason)).collect();
    // In a replay every next hop is known, and every frame has headroom.
    assert_eq!(missing, [DropReason::NextHopUnresolved, DropReason::NoHeadroom].map(DropReason::as_str));
}

#[test]
fn packets_that_exceed_the_mtu_and_may_be_fragmented_are_counted() {
    let fixtures = fixtures();
    let summary = |name| {
        let fixture = fixtures.iter().find(|fixture| fixture.name == name).expect("the fixture");
        replay_fixture(fixture, 1).summary
    };
    // By l2, whoever is on the path fragments; a tunnel's packets are fragmented here, or not sent.
    assert_eq!(summary("sizes/a-groups-own-mtu-counts").exceeding_mtu, 1);
    assert_eq!(summary("sizes/too-big-is-told-to-the-client").exceeding_mtu, 0);
    let fragmented = summary("sizes/a-tunnel-over-ipv4-leaves-in-fragments");
    assert_eq!((fragmented.fragmented, fragmented.exceeding_mtu), (15, 0));
}

#[test]
fn frames_that_the_capture_cut_are_counted_and_those_that_a_device_cut_are_not() {
    let fixtures = fixtures();
    let cut_in = |name: &str| {
        let fixture = fixtures.iter().find(|fixture| fixture.name == name).expect("the fixture");
        let summary = replay_fixture(fixture, 1).summary;
        (summary.cut_in_capture, summary.dropped.get("truncated").copied().unwrap_or(0))
    };
    assert_eq!(cut_in("link/cut-captures-are-replayed-at-their-wire-length"), (4, 0));
    assert_eq!(cut_in("malformed/frames-that-were-cut"), (0, 8));
}

#[test]
fn the_demonstration_shows_shares_against_weights_and_every_verdict() {
    let config = || parse("default.toml", include_str!("../default.toml"));
    let capture = fs::read(folder().join("demo.in.pcap")).unwrap();
    let Replayed { summary, decisions, .. } = run(config(), Timeline::default(), &capture, 1);
    assert!((1_800..2_500).contains(&summary.packets), "{}", summary.packets);
    assert!(summary.passed.len() >= 2 && summary.dropped.len() >= 6);
    assert_eq!(summary.icmp_errors_sent, 4);
    assert_eq!(summary.icmp_errors_steered, 4);
    let backends: BTreeMap<_, _> =
        summary.backends.iter().map(|backend| (backend.backend.as_str(), backend)).collect();
    assert_eq!(backends.keys().copied().collect::<Vec<_>>(), ["fw-1", "fw-2", "web-1", "web-2"]);
    for backend in backends.values() {
        let off = (backend.expected_share - backend.selection_share).abs();
        assert!(off < 0.1, "{}: {} of {}", backend.backend, backend.selection_share, backend.expected_share);
    }
    assert_eq!(decisions, run(config(), Timeline::default(), &capture, 3).decisions);
}

/// Configuration that forwards all traffic of a route, of which the range is missing, to two backends behind a tunnel.
const FOREIGN: &str = "
[network]
ipv4_address = '192.0.2.1'
gateway_mac_address = '02:00:00:00:00:fe'

[conntrack]
max_entries = 1024

[[forwarding_rule]]
name = 'all'
load_balancing_scheme = 'INTERNAL'
ip_address = '192.0.2.10'
ip_protocol = 'L3_DEFAULT'
all_ports = true
backend_service = 'all'

[[backend_service]]
name = 'all'
load_balancing_scheme = 'INTERNAL'
protocol = 'UNSPECIFIED'
health_checks = ['alive']
backends = [{ group = 'far' }]

[[backend_group]]
name = 'far'
delivery = 'ipip'
endpoints = [{ name = 'b1', ip_address = '198.18.0.1' }, { name = 'b2', ip_address = '198.18.0.2' }]

[[health_check]]
name = 'alive'
type = 'TCP'
port = 22

[[route]]
name = 'out'
next_hop_ilb = 'all'
";

/// Replays a capture from another source under a route that its traffic takes.
fn replay_foreign(name: &str, dest_range: &str, workers: usize) -> (Vec<u8>, Replayed) {
    let config = parse("foreign.toml", &format!("{FOREIGN}dest_range = '{dest_range}'\n"));
    let capture = fs::read(folder().join("foreign").join(name)).unwrap();
    let replayed = run(config, Timeline::default(), &capture, workers);
    (capture, replayed)
}

#[test]
fn foreign_ntp_requests_are_forwarded_whole_and_replies_are_passed() {
    let (capture, Replayed { summary, decisions, sent }) = replay_foreign("ntp.pcap", "17.0.0.0/8", 1);
    assert_eq!((summary.packets, summary.forwarded), (12, 6));
    assert_eq!(summary.passed, BTreeMap::from([("no_forwarding_rule", 6)]));
    // Two clients ask three servers once each; requests and replies take turns.
    assert_eq!((summary.conntrack.new, summary.conntrack.hits), (6, 0));
    let verdicts: Vec<bool> = decisions.lines().map(|line| line.contains("\"forward\"")).collect();
    assert_eq!(verdicts, [true, false].repeat(6));

    let (sent, frames) = (frames(&sent), frames(&capture));
    assert_eq!(sent.len(), 6);
    for (sent, request) in sent.iter().zip(frames.iter().step_by(2)) {
        // The packet is behind an Ethernet header; in sent frames, an outer IPv4 header follows that.
        let (inner, packet) = (&sent.bytes[14 + 20..], &request.bytes[14..]);
        // The TTL goes from 64 to 63; nothing else changes but the checksum.
        assert_eq!((inner[8], packet[8]), (63, 64));
        assert_eq!((&inner[..8], inner[9], &inner[12..]), (&packet[..8], packet[9], &packet[12..]));
        let words = inner[..20].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
        let sum: u32 = words.sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "the inner header's checksum");
    }
}

#[test]
fn foreign_dhcp_broadcasts_are_not_forwarded_and_replies_are() {
    let (_, Replayed { summary, sent, .. }) = replay_foreign("test016-be.pcapng", "0.0.0.0/0", 1);
    assert_eq!((summary.packets, summary.forwarded), (4, 2));
    assert_eq!(summary.dropped, BTreeMap::from([("link_layer_group", 2)]));
    // The header checksum of the captured replies is 0, as senders leave it to their hardware: wrong, and it stays so.
    assert!(frames(&sent).iter().all(|frame| frame.bytes[14 + 20 + 10..][..2] == [0x01, 0x00]));
}

#[test]
fn foreign_captures_are_decided_alike_by_any_number_of_workers() {
    for (name, dest_range) in [("ntp.pcap", "17.0.0.0/8"), ("test016-be.pcapng", "0.0.0.0/0")] {
        let [one, three] = [1, 3].map(|workers| replay_foreign(name, dest_range, workers).1);
        assert_eq!(one.decisions, three.decisions, "{name}");
        assert_eq!(one.sent, three.sent, "{name}");
    }
}

#[test]
fn interfaces_of_a_capture_are_the_ports_that_networks_are_on() {
    use pcap_fixtures::packet::{Packet, tcp::*};
    let mut config = "[[health_check]]\nname = 'alive'\ntype = 'TCP'\n".to_owned();
    for (index, name) in ["blue", "red"].into_iter().enumerate() {
        config += &format!(
            "[[port]]\nname = 'nic{index}'\ndevice = 'net_pcap{index},iface=eth{index}'\n\
             [[network]]\nname = '{name}'\nport = 'nic{index}'\n\
             [[forwarding_rule]]\nname = '{name}'\nnetwork = '{name}'\nip_address = '203.0.113.10'\nports = [80]\n\
             backend_service = '{name}'\n\
             [[backend_service]]\nname = '{name}'\nnetwork = '{name}'\nhealth_checks = ['alive']\n\
             backends = [{{ group = '{name}' }}]\n\
             [[backend_group]]\nname = '{name}'\nnetwork = '{name}'\n\
             endpoints = [{{ name = 'b', ip_address = '10.0.0.{index}' }}]\n"
        );
    }
    let mut writer = PcapngWriter::new(Vec::new(), ["nic0", "nic1", "spare"], 65_535).unwrap();
    let frame = Packet::between("198.51.100.7", "203.0.113.10").tcp(40_000, 80, SYN).build();
    for port in [0, 1, 1, 0, 2] {
        let comment = "";
        let (bytes, wire_len) = (&frame[..], frame.len() as u32);
        writer
            .write(&CommentedFrame {
                port: PortId(port),
                direction: None,
                timestamp_nanos: START,
                bytes,
                wire_len,
                comment,
            })
            .unwrap();
    }
    let capture = writer.finish().unwrap();
    for workers in [1, 3] {
        let config = parse("nics.toml", &config);
        let Replayed { decisions, .. } = run(config, Timeline::default(), &capture, workers);
        let right = |line: u8, network: &str| {
            format!(
                "{{\"frame\":{line},\"network\":\"{network}\",\"verdict\":\"forward\",\"forwarding_rule\":\"{network}\",\
                 \"backend_service\":\"{network}\",\"backend\":\"b\",\"tracking\":\"new\"}}\n"
            )
        };
        let none = "{\"frame\":5,\"verdict\":\"drop\",\"reason\":\"no_network\"}\n".to_owned();
        let lines = [right(1, "blue"), right(2, "red"), right(3, "red"), right(4, "blue"), none];
        assert_eq!(decisions, lines.concat());
    }
}

#[test]
fn a_table_full_of_closed_and_spoofed_connections_tracks_every_new_one() {
    use pcap_fixtures::packet::{Packet, tcp::*};
    let from = |client: u32| {
        let [_, a, b, c] = client.to_be_bytes();
        Packet::between(&format!("10.{a}.{b}.{c}"), "192.0.2.10")
    };
    let segments = |clients: std::ops::Range<u32>, flags: &'static [u8]| {
        clients.flat_map(move |client| flags.iter().map(move |flags| from(client).tcp(40_000, 443, *flags)))
    };
    let short = segments(0..8_000, &[SYN, ACK, ACK, FIN | ACK, ACK]);
    let long = segments(10_000..10_200, &[SYN, ACK]);
    let spoofed = segments(1_000_000..1_010_000, &[ACK]);
    let new = segments(20_000..20_200, &[SYN, ACK]);
    let datagrams = (2_000_000..2_010_000).map(|client| from(client).udp(40_000, 53));
    let later = segments(10_000..10_200, &[ACK]).chain(segments(20_000..20_200, &[ACK]));
    // Connections that last are confirmed by a packet in a second after the first.
    let packets = short
        .map(|packet| (0, packet))
        .chain(long.map(|packet| (1, packet)))
        .chain(segments(10_000..10_200, &[ACK]).chain(spoofed).map(|packet| (2, packet)))
        .chain(new.map(|packet| (3, packet)))
        .chain(segments(20_000..20_200, &[ACK]).chain(datagrams).chain(later).map(|packet| (4, packet)));
    let frames: Vec<(u64, Vec<u8>)> = packets.map(|(second, packet)| (second, packet.build())).collect();
    let at = |second| START + second * 1_000_000_000;
    let capture = capture(frames.iter().map(|(second, frame)| (at(*second), &frame[..])));
    let config = FOREIGN.replace("max_entries = 1024", "max_entries = 4096");
    let config = parse("full.toml", &format!("{config}dest_range = '172.16.0.0/12'\n"));
    let Replayed { summary, decisions, .. } = run(config, Timeline::default(), &capture, 1);
    let count = summary.conntrack;
    assert_eq!((summary.forwarded, count.full, count.untracked), (frames.len() as u64, 0, 0));
    assert!(!decisions.contains("\"off\""));
    let made = 8_000 + 200 + 10_000 + 200 + 10_000;
    assert_eq!((count.new, count.hits), (made, frames.len() as u64 - made));
    assert!(count.evicted_closed > 1_000 && count.evicted_unconfirmed > 10_000, "{count:?}");
    assert_eq!((count.evicted_void, count.evicted_half_open), (0, 0));
    assert_eq!(count.evicted, count.evicted_closed + count.evicted_unconfirmed);
}

/// A frame of a fixture, damaged: cut to a part of its length, with some of its bytes overwritten.
#[derive(Clone, Debug)]
struct Damage {
    frame: Index,
    keep: f64,
    patches: Vec<(Index, u8)>,
}

fn damage() -> impl Strategy<Value = Damage> {
    let patches = vec((any::<Index>(), any::<u8>()), 0..4);
    // Most frames stay whole, so that what is behind their first header is reached.
    let keep = prop_oneof![3 => Just(1.0), 1 => 0.0..1.0];
    (any::<Index>(), keep, patches).prop_map(|(frame, keep, patches)| Damage { frame, keep, patches })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// [`run`] checks that offered = forwarded + passed + dropped.
    #[test]
    fn damaged_frames_are_counted_once_and_decided_alike_by_any_number_of_workers(
        damages in vec(damage(), 1..200),
    ) {
        let frames: Vec<Vec<u8>> = damages.iter().map(Damage::apply).collect();
        let capture = capture(frames.iter().map(|frame| (START, &frame[..])));
        let config = || parse("default.toml", include_str!("../default.toml"));
        let [one, three] = [1, 3].map(|workers| run(config(), Timeline::default(), &capture, workers));
        prop_assert_eq!(one.summary.packets, frames.len() as u64);
        prop_assert_eq!(one.decisions, three.decisions);
    }
}

impl Damage {
    fn apply(&self) -> Vec<u8> {
        static FRAMES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(whole_frames);
        let mut frame = self.frame.get(&FRAMES).clone();
        frame.truncate((frame.len() as f64 * self.keep) as usize);
        for (index, byte) in &self.patches {
            if !frame.is_empty() {
                // Most of the damage is at the front, where the headers are.
                let index = index.index(frame.len().min(80));
                frame[index] = *byte;
            }
        }
        frame
    }
}

/// All frames of all fixtures.
fn whole_frames() -> Vec<Vec<u8>> {
    let captured = |fixture: &Fixture| {
        let capture = fs::read(folder().join("captures").join(fixture.path("in.pcap"))).unwrap();
        frames(&capture).into_iter().map(|frame| frame.bytes)
    };
    fixtures().iter().flat_map(captured).collect()
}
