//! Traces: what each packet met, in the words that an operator reads.

use std::time::Duration;

use guideway::offline::replay::{Outputs, TraceOrder, Traces, replay};
use guideway::offline::timeline::{Moment, Timeline};
use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::pipeline::{Decision, Pipeline};
use guideway_dataplane::time::Tick;
use guideway_engine::capture::{CaptureReader, CaptureWriter};
use guideway_engine::mbuf::Mbuf;
use guideway_engine::tap::FlowFilter;
use guideway_model::config::Config;
use guideway_model::egress_lookup::StandInMacs;
use guideway_model::forwarding_state::{ForwardingState, StateChange};
use guideway_model::sample::sample;
use guideway_model::trace::{EntryFound, PacketTrace, Passage};
use pcap_fixtures::packet::{Packet, tcp};

const CLIENT: &str = "198.51.100.7";
const VIP: &str = "203.0.113.10";

fn config(service: &str) -> Config {
    let groups = "[[backend_group]]\nname = \"g\"\ndelivery = \"ipip\"\nendpoints = [\n\
                  { name = \"b1\", ip_address = \"192.0.2.11\" }, { name = \"b2\", ip_address = \"192.0.2.12\" }]";
    let head = "[network]\nmac_address = \"02:00:00:00:00:01\"\nipv4_address = \"192.0.2.1\"";
    sample(head, &format!("backends = [{{ group = \"g\" }}]\n{service}"), groups)
}

fn health(at: u64, backend: &str, healthy: bool) -> Moment {
    let (service, backend) = ("svc".to_owned(), backend.to_owned());
    Moment { at: Duration::from_secs(at), changes: vec![StateChange::Health { service, backend, healthy }] }
}

/// Traces of all packets, each with its second.
fn traced(service: &str, packets: &[(u64, Packet)], moments: Vec<Moment>) -> Vec<PacketTrace> {
    let mut capture = CaptureWriter::new(Vec::new()).expect("memory takes everything");
    for (second, packet) in packets {
        let frame = packet.build();
        capture.write(second * 1_000_000_000, &frame, frame.len() as u32).expect("memory takes everything");
    }
    let capture = capture.finish().expect("memory takes everything");
    let order = TraceOrder { flows: FlowFilter::default(), service: None, backend: None, packets: 100 };
    let outputs = Outputs { trace: Some(order), ..Outputs::default() };
    let timeline = Timeline { moments, ..Timeline::default() };
    let capture = CaptureReader::new(&capture[..]).expect("it was just written");
    let (summary, result) = replay(config(service), timeline, capture, 1, outputs);
    result.expect("the capture is whole");
    let Traces { fitting, packets: traces } = summary.traces.expect("they were ordered");
    assert_eq!((fitting, traces.len()), (packets.len() as u64, packets.len()));
    traces
}

fn segment(flags: u8) -> Packet {
    Packet::between(CLIENT, VIP).tcp(40_000, 443, flags)
}

fn entry(trace: &PacketTrace) -> (EntryFound, &str) {
    let entry = trace.entry.as_ref().expect("it has a connection");
    (entry.found, &entry.words)
}

fn conntrack(trace: &PacketTrace) -> &str {
    trace.conntrack.as_deref().expect("it has a connection")
}

#[test]
fn the_entry_of_a_connection_is_told_from_its_first_packet_to_its_end() {
    let to_vip = segment(tcp::SYN);
    let packets = [
        (0, to_vip.clone()),
        (1, segment(tcp::ACK)),
        (3, segment(tcp::ACK)),
        (4, segment(tcp::FIN | tcp::ACK)),
        (90, segment(tcp::ACK)),
        (91, to_vip),
    ];
    let service =
        "connection_tracking_policy = { connection_persistence_on_unhealthy_backends = \"NEVER_PERSIST\" }";
    let first = traced(service, &packets[..1], Vec::new());
    let chosen = first[0].selected.clone().expect("both are healthy");
    let other = if chosen == "b1" { "b2" } else { "b1" };
    let traces = traced(service, &packets, vec![health(2, &chosen, false)]);
    let [syn, ack, moved, fin, late, again] = &traces[..] else { panic!("{traces:?}") };
    assert_eq!(entry(syn), (EntryFound::NotAsked, "none; a SYN starts its connection anew"));
    assert_eq!(conntrack(syn), format!("an entry was made: to {chosen}, half open"));
    assert_eq!(entry(ack), (EntryFound::Valid, &*format!("valid: to {chosen}, half open, idle 1 s of 60")));
    assert_eq!(conntrack(ack), format!("its entry was used: to {chosen}, established"));
    let (found, words) = entry(moved);
    let void = format!(
        "void: to {chosen}, established, idle 2 s; voided since it was made: its backend was unhealthy"
    );
    assert!(found == EntryFound::Void && words.starts_with(&void), "{words}");
    assert_eq!(conntrack(moved), format!("its entry was replaced: to {other}, unconfirmed"));
    let selection = moved.selection.as_ref().expect("the hash decides");
    assert_eq!((&selection.eligible[..], &*selection.because), (&[other.to_owned()][..], "healthy backends"));
    assert_eq!((&*selection.left_out[0].name, &*selection.left_out[0].why), (&*chosen, "unhealthy"));
    assert_eq!(conntrack(fin), format!("its entry was used: to {other}, closed"));
    let idle = format!("void: to {other}, closed, idle 86 s; it was not used for 86 s, of 60");
    assert_eq!(entry(late), (EntryFound::Void, &*idle));
    let anew = format!("left aside, as a SYN starts its connection anew: to {other}, unconfirmed, idle 1 s");
    assert_eq!(entry(again), (EntryFound::NotAsked, &*anew));
}

#[test]
fn a_connection_that_stays_on_an_unhealthy_backend_is_told_why() {
    let packets = [(0, segment(tcp::SYN)), (2, segment(tcp::ACK))];
    let chosen = traced("", &packets[..1], Vec::new())[0].selected.clone().expect("both are healthy");
    let stays = &traced("", &packets, vec![health(1, &chosen, false)])[1];
    let words = "its backend is unhealthy, and the connection stays on it";
    assert!(entry(stays).1.ends_with(words), "{stays:?}");
    assert_eq!(stays.backend_standing.as_deref(), Some("unhealthy"));
    let nobody = vec![health(1, "b1", false), health(1, "b2", false)];
    let last = &traced("", &[(0, segment(tcp::SYN)), (2, segment(tcp::SYN))], nobody)[1];
    let because = last.selection.as_ref().map(|selection| &*selection.because);
    assert_eq!(because, Some("nobody is healthy, so all serve"));
}

#[test]
fn ends_before_a_connection_are_told() {
    let dns = Packet::between(CLIENT, VIP).udp(5_000, 53);
    let expired = segment(tcp::SYN).ttl(1);
    let traces = traced("", &[(0, dns), (0, expired)], Vec::new());
    assert_eq!((&*traces[0].verdict, traces[0].reason.as_deref()), ("pass", Some("no_forwarding_rule")));
    assert_eq!(
        (&traces[0].forwarding_rule, &traces[0].vip_takes[..]),
        (&None, &["TCP all ports".to_owned()][..])
    );
    assert_eq!((&*traces[1].verdict, traces[1].reason.as_deref()), ("drop", Some("ttl_expired")));
    assert_eq!(traces[1].forwarding_rule.as_ref().map(|rule| &*rule.name), Some("rule"));
    assert!(traces[1].entry.is_none() && traces[1].backend.is_none());
}

#[test]
fn delivery_tells_the_tunnel_and_what_does_not_fit_it() {
    let large = segment(tcp::ACK).payload_len(1_445).dont_fragment();
    let error = Packet::between("192.0.2.254", VIP).packet_too_big(
        1_400,
        &Packet::between(VIP, CLIENT).tcp(443, 40_000, tcp::ACK).payload_len(500),
        28,
    );
    let traces = traced("", &[(0, segment(tcp::SYN)), (1, large), (2, error)], Vec::new());
    let [small, large, error] = &traces[..] else { panic!("{traces:?}") };
    let address = &small.backend.as_ref().expect("it was forwarded").address;
    let delivery = small.delivery.as_ref().expect("it was forwarded");
    assert_eq!(delivery.outer.as_deref(), Some(&*format!("192.0.2.1 > {address}")));
    assert_eq!(
        (delivery.packet_bytes, delivery.largest_packet, delivery.sent_bytes),
        (40, Some(1_480), Some(74))
    );
    let too_long = large.delivery.as_ref().and_then(|delivery| delivery.too_long.as_deref());
    assert_eq!(too_long, Some("refused; the sender is told an MTU of 1480"));
    assert_eq!((large.reason.as_deref(), large.answered), (Some("packet_too_big"), true));
    assert_eq!(error.quoted.as_deref(), Some("tcp 198.51.100.7:40000 > 203.0.113.10:443"));
    assert_eq!(
        error.backend.as_ref().map(|backend| &backend.name),
        small.backend.as_ref().map(|backend| &backend.name)
    );
    assert_eq!(conntrack(error), "its entry was left as it is: an ICMP error keeps none alive");
}

/// Frame that is decided under a snapshot before a change, and put into words after it.
#[test]
fn a_trace_says_that_the_state_has_changed_since_and_does_not_guess() {
    let mut state = ForwardingState::offline(config(""));
    let snapshot = state.snapshot(&StandInMacs);
    let table = ConntrackTable::with_capacity(100).expect("a few kB");
    let mut pipeline = Pipeline::new(TrackingHasher::new([1, 2, 3, 4]), 0);
    let received = segment(tcp::SYN).build();
    let mut frames = [Mbuf::new()];
    frames[0].fill(&received);
    let mut decisions = [Decision::PENDING];
    let look = pipeline.look(PortId(0), &received, Tick(5), &snapshot, &table);
    pipeline.process(PortId(0), &mut frames, &mut decisions, Tick(5), &snapshot, &table);
    let passage = Passage {
        number: 1,
        timestamp_unix_nanos: 7,
        generation: snapshot.generation,
        port: PortId(0),
        received: &received,
        received_len: received.len() as u32,
        look: &look,
        decision: &decisions[0],
        sent: frames[0].bytes(),
        sent_len: frames[0].bytes().len() as u32,
    };
    let exact = PacketTrace::new(&passage, &state, Some(&snapshot));
    assert!(exact.notes.is_empty() && exact.selection.is_some(), "{exact:?}");

    let changes = health(0, "b1", false).changes;
    state.apply(changes, Duration::ZERO);
    let newer = state.snapshot(&StandInMacs);
    for other in [Some(&newer), None] {
        let trace = PacketTrace::new(&passage, &state, other);
        let told = "snapshot 1 decided, and the state has changed since";
        assert!(trace.notes[0].starts_with(told), "{:?}", trace.notes);
        assert!(
            trace.selection.is_none() && trace.backend.is_none() && trace.tracking.is_none(),
            "{trace:?}"
        );
        assert_eq!(trace.selected, exact.selected);
        let rule = trace.forwarding_rule.as_ref().expect("its name is known");
        assert_eq!((&*rule.name, &*rule.matches), ("rule", ""));
        assert_eq!(
            trace.delivery.and_then(|delivery| delivery.outer),
            exact.delivery.as_ref().and_then(|d| d.outer.clone())
        );
        assert_eq!((trace.verdict, trace.egress), (exact.verdict.clone(), exact.egress.clone()));
    }
}
