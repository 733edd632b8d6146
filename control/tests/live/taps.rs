//! Captures, watches and traces of live traffic: one client of two, as received and as sent, with its backend.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use guideway::api::view::{EventKind, TracedPacket, WatchedFlows};
use guideway_engine::capture::CaptureReader;

use crate::lab::Lab;
use crate::lab::address::{self, Family, Vip};
use crate::lab::appliance::{Appliance, GUIDEWAY};
use crate::lab::backend::Backend;
use crate::lab::patience::{PATIENCE, within};
use crate::lab::process::Process;
use crate::lab::setup::{DeliveryMode, Setup};

/// Second address of the client, which is another client to the appliance.
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 101));

/// Length of the outer header of IP-in-IP over IPv4.
const OUTER: usize = 20;

/// Starts a verb that goes on, and waits until the appliance has noted it.
fn listen(lab: &Lab, appliance: &Appliance<'_>, words: &[&str]) -> Process {
    let mut command = lab.appliance(0).command(GUIDEWAY);
    command.args(words).arg("--socket").arg(appliance.socket());
    let process = Process::start(lab.directory(), &format!("guideway-{}", words[0]), command);
    let begun =
        || appliance.events().iter().any(|event| event.kind == EventKind::CaptureStarted).then_some(());
    within(PATIENCE, begun).expect("it begins");
    process
}

/// Sends a datagram to the VIP from the other client, and waits for the answer.
fn ask_as_other(socket: &UdpSocket) {
    let mut answer = [0; 64];
    for _ in 0..20 {
        socket.send_to(b"who?", Vip::OnLink.echo(Family::V4)).expect("there is a way to the VIP");
        if socket.recv_from(&mut answer).is_ok() {
            return;
        }
    }
    panic!("nobody answers");
}

/// The other client's socket.
fn other_client(lab: &Lab) -> UdpSocket {
    lab.client().ip(&format!("address add {OTHER}/24 dev eth0\n"));
    let socket =
        lab.client().inside(|| UdpSocket::bind(SocketAddr::new(OTHER, 30_000)).expect("a free port"));
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("it is no zero");
    socket
}

#[test]
fn forwarded_packets_of_one_client_are_captured_as_received_and_as_sent() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    let setup = Setup { delivery: DeliveryMode::Tunnel("ipip", Family::V4), ..Setup::of(1) };
    let appliance = Appliance::start(&lab, 0, &setup);
    let socket = other_client(&lab);
    let file = lab.directory().join("other.pcapng");
    let path = file.to_string_lossy();
    let client = OTHER.to_string();
    let words = ["capture", "--client", &client, "--reason", "forward", "--count", "3", "-w", &path];
    let mut capture = listen(&lab, &appliance, &words);
    for port in 0..3 {
        lab.ask(Vip::OnLink.echo(Family::V4), 20_000 + port);
        ask_as_other(&socket);
    }
    let ended = capture.finish(PATIENCE);
    assert!(ended.status.success(), "{}", ended.stderr);

    let bytes = std::fs::read(&file).expect("it was written");
    let mut reader = CaptureReader::new(&bytes[..]).expect("a capture");
    let mut frames = Vec::new();
    while let Some(record) = reader.next_record().expect("it is whole") {
        frames.push((record.interface, record.bytes.to_vec()));
    }
    let interfaces: Vec<u32> = frames.iter().map(|(interface, _)| *interface).collect();
    assert_eq!(interfaces, [0, 1, 0, 1, 0, 1], "each as received, then as sent");
    let backend = address::backend(0, Family::V4);
    for pair in frames.chunks(2) {
        let [(_, received), (_, sent)] = pair else { panic!("an even number") };
        let address =
            |frame: &[u8], at: usize| IpAddr::from([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
        assert_eq!((address(received, 26), address(received, 30)), (OTHER, Vip::OnLink.address(Family::V4)));
        assert_eq!(address(sent, 30), backend, "the tunnel ends there");
        assert_eq!(sent[26 + OUTER..], received[26..], "from the client's address on");
    }
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains(" received") && text.contains(" sent"), "both kinds of interfaces are named");
    let comment =
        text.find("forward forwarding_rule=").map(|at| text[at..].chars().take(200).collect::<String>());
    let comment = comment.expect("a comment");
    assert!(comment.contains(" backend=b0 tracking=") && comment.contains(" generation="), "{comment}");
    assert_eq!(text.matches("forward forwarding_rule=").count(), 6);
}

#[test]
fn a_watch_shows_the_connections_of_one_client_with_their_backend() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    let appliance = Appliance::start(&lab, 0, &Setup::of(1));
    let socket = other_client(&lab);
    let client = OTHER.to_string();
    let words = ["conntrack", "watch", "--client", &client, "--count", "3", "--output", "json"];
    let mut watch = listen(&lab, &appliance, &words);
    let mut port = 20_000;
    let asked_until_the_end = || {
        port += 1;
        lab.ask(Vip::OnLink.echo(Family::V4), port);
        ask_as_other(&socket);
        watch.ended()
    };
    within(PATIENCE, asked_until_the_end).expect("it ends with its third line");
    let ended = watch.finish(PATIENCE);
    assert!(ended.status.success(), "{}", ended.stderr);
    let lines: Vec<WatchedFlows> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert_eq!(lines.len(), 3);
    let flows: Vec<_> = lines.iter().flat_map(|line| &line.flows).collect();
    assert!(!flows.is_empty(), "{lines:?}");
    for flow in flows {
        assert_eq!((flow.client, flow.client_port), (OTHER, Some(30_000)));
        assert_eq!((&*flow.protocol, &*flow.backend, flow.vip_port), ("udp", "b0", Some(address::ECHO)));
        assert!(flow.packets > 0 && flow.bytes > flow.packets * 42, "{flow:?}");
    }
}

#[test]
fn a_packet_and_one_without_a_rule_are_traced_through_every_stage() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    let setup = Setup { delivery: DeliveryMode::Tunnel("ipip", Family::V4), ..Setup::of(1) };
    let appliance = Appliance::start(&lab, 0, &setup);
    let socket = other_client(&lab);
    let client = OTHER.to_string();
    let words = ["trace", "--client", &client, "--count", "3", "--output", "json"];
    let mut trace = listen(&lab, &appliance, &words);
    ask_as_other(&socket);
    ask_as_other(&socket);
    let nowhere = SocketAddr::new(Vip::OnLink.address(Family::V4), 9);
    socket.send_to(b"nobody", nowhere).expect("there is a way to the VIP");
    let ended = trace.finish(PATIENCE);
    assert!(ended.status.success(), "{}", ended.stderr);

    let line = |line| serde_json::from_str::<TracedPacket>(line).expect("a line of JSON").packet;
    let packets: Vec<_> = ended.stdout.lines().map(line).collect();
    let [first, .., last] = &packets[..] else { panic!("{}", ended.stdout) };
    let flow = format!("udp {OTHER}:30000 > {}", Vip::OnLink.echo(Family::V4));
    assert_eq!(first.packet.as_ref().map(|packet| &*packet.flow), Some(&*flow));
    assert_eq!((&*first.verdict, first.tracking_result.as_deref()), ("forward", Some("new")));
    let backend = first.backend.as_ref().expect("it was forwarded");
    assert_eq!((&*backend.name, &*backend.delivery), ("b0", "ipip"));
    let delivery = first.delivery.as_ref().expect("it was forwarded");
    let end = format!(" > {}", address::backend(0, Family::V4));
    assert!(delivery.outer.as_ref().is_some_and(|outer| outer.ends_with(&end)), "{delivery:?}");
    assert!(first.egress.as_ref().is_some_and(|egress| egress.next_hop_mac.is_some()), "{first:?}");
    assert_eq!((&*last.verdict, last.reason.as_deref()), ("pass", Some("no_forwarding_rule")));
    assert!(last.forwarding_rule.is_none() && !last.vip_takes.is_empty(), "{last:?}");
}
