//! Captures of forwarded packets, and watches of connections: who is heard, as what, and under which names.

use guideway::api::packet_filter::PacketFilter;
use guideway::api::request::{Copies, Refused, Request};
use guideway::api::view::{ConnectionState, TracedPacket, WatchedFlow, WatchedFlows};
use guideway_engine::capture::CaptureReader;
use guideway_model::trace::EntryFound;
use tokio::sync::mpsc;

use crate::operator::*;
use pcap_fixtures::packet::Packet;

/// Packet of a connection from a client to the VIP, with these flags.
fn from(client: &str, src_port: u16, flags: u8) -> Packet {
    Packet::between(client, "192.0.2.100").tcp(src_port, 80, flags)
}

fn of_client(client: &str) -> PacketFilter {
    PacketFilter { client: Some(client.parse().unwrap()), ..PacketFilter::default() }
}

/// Begins a capture of so many packets.
async fn capture(
    operator: &Operator,
    filter: PacketFilter,
    packets: u64,
) -> Result<mpsc::Receiver<bytes::Bytes>, Refused> {
    let (blocks, received) = mpsc::channel(64);
    let (reasons, copies, packets) = (Vec::new(), None::<Copies>, Some(packets));
    operator
        .ask(|reply| Request::Capture { reasons, filter, copies, packets, blocks, reply })
        .await
        .map(|()| received)
}

async fn all(mut blocks: mpsc::Receiver<bytes::Bytes>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(block) = blocks.recv().await {
        bytes.extend_from_slice(&block);
    }
    bytes
}

/// Interface and bytes of each frame of a capture.
fn frames(capture: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut reader = CaptureReader::new(capture).unwrap();
    let mut frames = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        frames.push((record.interface, record.bytes.to_vec()));
    }
    frames
}

#[test]
fn a_capture_of_one_client_has_its_packets_as_received_and_as_sent() {
    let result = with_appliance("captured-client", |mut operator| async move {
        operator.answer_arp().await;
        let blocks = capture(&operator, of_client("192.0.2.50"), 2).await.unwrap();
        let refused = capture(&operator, PacketFilter::default(), 1).await;
        assert!(matches!(refused, Err(Refused::CaptureRunning)));
        for (client, flags) in
            [("192.0.2.51", 0x02), ("192.0.2.50", 0x02), ("192.0.2.51", 0x10), ("192.0.2.50", 0x10)]
        {
            operator.send(&from(client, 1_000, flags));
        }
        let bytes = all(blocks).await;
        let frames = frames(&bytes);
        let expected = [0x02, 0x10]
            .map(|flags| from("192.0.2.50", 1_000, flags).macs([2, 0, 0, 0, 0, 9], OWN_MAC).build());
        let received: Vec<_> =
            frames.iter().filter(|(interface, _)| *interface == 0).map(|(_, frame)| frame).collect();
        assert_eq!(received, expected.iter().collect::<Vec<_>>());
        let sent: Vec<_> =
            frames.iter().filter(|(interface, _)| *interface == 1).map(|(_, frame)| frame).collect();
        assert_eq!(sent.len(), 2);
        for (sent, received) in sent.iter().zip(&expected) {
            assert_eq!(sent[6..12], OWN_MAC, "the appliance sends it");
            assert_eq!(sent[26..], received[26..], "by its MAC address alone");
        }
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("lan received") && text.contains("lan sent"), "{text}");
        assert!(text.contains("forward forwarding_rule=web backend_service=web backend="), "{text}");
        assert!(
            text.contains(" tracking=new generation=") && text.contains(" tracking=hit generation="),
            "{text}"
        );
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_capture_of_a_service_goes_on_where_a_reload_numbers_services_anew() {
    let result = with_appliance("captured-service", |mut operator| async move {
        operator.answer_arp().await;
        let filter = PacketFilter { service: Some("web".to_owned()), ..PacketFilter::default() };
        let blocks = capture(&operator, filter, 2).await.unwrap();
        operator.send(&to_vip(1_000));
        operator.receive(|frame| frame[12..14] == [8, 0]).await;
        // Another service comes before `web`, and takes its number.
        let before = "[[backend_service]]\nname = \"web\"";
        let other = "[[forwarding_rule]]\nname = \"other\"\nip_address = \"192.0.2.101\"\nports = [80]\n\
             backend_service = \"other\"\n[[backend_service]]\nname = \"other\"\nhealth_checks = [\"alive\"]\n\
             backends = [{ group = \"web\" }]\n";
        let config = CONFIG.replace(before, &format!("{other}{before}"));
        std::fs::write(&operator.config_path, config).unwrap();
        operator.ask(|reply| Request::Reload { confirms_removals: false, reply }).await.unwrap();
        operator.send(&Packet::between("192.0.2.50", "192.0.2.101").tcp(1_001, 80, 0x02));
        operator.send(&to_vip(1_002));
        let frames = frames(&all(blocks).await);
        let ports: Vec<_> =
            frames.iter().map(|(_, frame)| u16::from_be_bytes([frame[34], frame[35]])).collect();
        assert_eq!(ports, [1_000, 1_000, 1_002, 1_002]);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_watch_adds_up_the_packets_of_each_connection_and_tells_its_state() {
    let result = with_appliance("watched", |mut operator| async move {
        operator.answer_arp().await;
        let (lines, mut received) = mpsc::channel(4);
        let filter = of_client("192.0.2.48/29");
        operator.ask(|reply| Request::ConntrackWatch { filter, count: Some(1), lines, reply }).await.unwrap();
        assert!(matches!(capture(&operator, PacketFilter::default(), 1).await, Err(Refused::CaptureRunning)));
        for (client, src_port, flags) in [
            ("192.0.2.50", 1_000, 0x02),
            ("192.0.2.50", 1_000, 0x10),
            ("192.0.2.50", 1_000, 0x10),
            ("192.0.2.51", 1_001, 0x02),
            ("192.0.2.99", 1_002, 0x02),
        ] {
            operator.send(&from(client, src_port, flags));
        }
        let line = received.recv().await.unwrap();
        assert_eq!((line.last(), received.recv().await), (Some(&b'\n'), None), "it was the only one");
        let watched: WatchedFlows = serde_json::from_slice(&line).unwrap();
        assert_eq!((watched.left_out_flows, watched.missed_packets), (0, 0));
        let [first, second] = &watched.flows[..] else { panic!("{watched:?}") };
        let expected = WatchedFlow {
            protocol: "tcp".to_owned(),
            client: "192.0.2.50".parse().unwrap(),
            client_port: Some(1_000),
            vip: "192.0.2.100".parse().unwrap(),
            vip_port: Some(80),
            network: None,
            forwarding_rule: "web".to_owned(),
            service: "web".to_owned(),
            backend: first.backend.clone(),
            packets: 3,
            bytes: first.bytes,
            // The three packets came within one second, or two.
            state: first.state,
        };
        assert_eq!(*first, expected);
        let begun = [ConnectionState::Unconfirmed, ConnectionState::Established].map(Some);
        assert!(begun.contains(&first.state), "{first:?}");
        assert!(["a", "b"].contains(&&*first.backend) && first.bytes >= 3 * 54, "{first:?}");
        assert_eq!((second.client, second.packets), ("192.0.2.51".parse().unwrap(), 1));
        assert_eq!(second.state, Some(ConnectionState::HalfOpen));
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_trace_shows_every_stage_of_the_next_packets_and_ends_with_the_last() {
    let result = with_appliance("traced", |mut operator| async move {
        operator.answer_arp().await;
        let (lines, mut received) = mpsc::channel(64);
        let filter = of_client("192.0.2.50");
        operator.ask(|reply| Request::Trace { filter, count: 3, lines, reply }).await.unwrap();
        assert!(matches!(capture(&operator, PacketFilter::default(), 1).await, Err(Refused::CaptureRunning)));
        operator.send(&from("192.0.2.50", 1_000, 0x02));
        operator.send(&from("192.0.2.99", 1_000, 0x02));
        operator.send(&from("192.0.2.50", 1_000, 0x10));
        operator.send(&Packet::between("192.0.2.50", "192.0.2.100").udp(1_000, 53));
        let mut traced: Vec<TracedPacket> = Vec::new();
        while let Some(line) = received.recv().await {
            assert_eq!(line.last(), Some(&b'\n'));
            traced.push(serde_json::from_slice(&line).unwrap());
        }
        let [syn, ack, dns] = &traced[..] else { panic!("{traced:?}") };
        assert!(traced.iter().all(|traced| traced.missed_packets == 0 && traced.packet.notes.is_empty()));
        let (syn, ack, dns) = (&syn.packet, &ack.packet, &dns.packet);
        assert_eq!((syn.number, ack.number, dns.number), (1, 2, 3));
        assert_eq!(syn.frame.port_name.as_deref(), Some("lan"));
        let entry = syn.entry.as_ref().unwrap();
        assert_eq!((entry.found, &*syn.verdict), (EntryFound::NotAsked, "forward"));
        let backend = &syn.backend.as_ref().unwrap().name;
        assert_eq!(syn.selected.as_ref(), Some(backend));
        assert_eq!(syn.conntrack.as_deref(), Some(&*format!("an entry was made: to {backend}, half open")));
        let entry = ack.entry.as_ref().unwrap();
        assert_eq!((entry.found, entry.backend.as_ref()), (EntryFound::Valid, Some(backend)));
        // Established by a packet of a later second than the SYN's.
        let used = ["unconfirmed", "established"]
            .map(|stage| Some(format!("its entry was used: to {backend}, {stage}")));
        assert!(used.contains(&ack.conntrack), "{:?}", ack.conntrack);
        assert_eq!(ack.egress.as_ref().and_then(|egress| egress.port_name.as_deref()), Some("lan"));
        assert_eq!((&*dns.verdict, dns.reason.as_deref()), ("pass", Some("no_forwarding_rule")));
        assert_eq!(dns.vip_takes, ["TCP 80"]);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}
