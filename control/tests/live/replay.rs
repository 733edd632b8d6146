//! One capture through `guideway replay`, and through `guideway run` on a port that reads it: both send the same
//! frames, byte by byte, and count the same verdicts.

#![allow(clippy::unwrap_used)] // A test that cannot set its scene fails there.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use guideway_engine::capture::{CaptureReader, CaptureWriter};
use pcap_fixtures::packet::Packet;
use serde_json::Value;

use crate::lab::patience::{PATIENCE, within};
use crate::lab::process::Ended;
use crate::lab::scratch::{Scratch, free_port};

/// MAC address of net_pcap's ports; the frames of the capture are addressed to it.
const OWN_MAC: &str = "02:70:63:61:70:00";

/// A configuration with every delivery. It names the MAC address of each next hop, as nobody is there to be asked.
fn config() -> String {
    let mut text = format!(
        r#"
[engine]
worker_cores = [0]
no_huge = true
memory_mib = 128
[conntrack]
max_entries = 100_000
[[port]]
name = "capture"
device = "net_pcap0,rx_pcap=DIRECTORY/in.pcap,tx_pcap=DIRECTORY/live.pcap"
[admin]
socket = "DIRECTORY/admin.sock"
[metrics]
listen = "127.0.0.1:{metrics_port}"
[network]
ipv4_address = "192.0.2.1"
ipv6_address = "2001:db8:1::1"
mac_address = "{OWN_MAC}"
gateway_mac_address = "02:00:00:00:00:fe"
icmp_errors_per_sec = 0
[[health_check]]
name = "alive"
type = "TCP"
port = 80
# Probes would leave by the port among the packets that are compared; on the loopback they lead nowhere.
transport = "kernel"
bind_device = "lo"
"#,
        metrics_port = free_port()
    );
    let rules = [
        ("l2", "203.0.113.1", "192.0.2.1", "TCP", "ports = [80, 443]", "NONE"),
        ("ipip", "203.0.113.2", "198.51.100.1", "UDP", "all_ports = true", "CLIENT_IP_PROTO"),
        ("gre", "2001:db8::3", "198.51.101.1", "L3_DEFAULT", "all_ports = true", "CLIENT_IP"),
        ("gue", "2001:db8::4", "2001:db8:2::1", "TCP", "port_range = \"8000-8100\"", "CLIENT_IP_PORT_PROTO"),
    ];
    for (index, (delivery, vip, backend, protocol, ports, affinity)) in rules.into_iter().enumerate() {
        let service = if protocol == "L3_DEFAULT" { "UNSPECIFIED" } else { protocol };
        text += &format!(
            "[[forwarding_rule]]\nname = \"{delivery}\"\n\
             ip_address = \"{vip}\"\nip_protocol = \"{protocol}\"\n{ports}\n\
             neighbor_replies = \"NEVER\"\nbackend_service = \"{delivery}\"\n\
             [[backend_service]]\nname = \"{delivery}\"\nprotocol = \"{service}\"\nhealth_checks = [\"alive\"]\n\
             session_affinity = \"{affinity}\"\nbackends = [{{ group = \"{delivery}\" }}]\n\
             [[backend_group]]\nname = \"{delivery}\"\ndelivery = \"{delivery}\"\nendpoints = [\n",
        );
        for number in 1..=5 {
            text += &format!(
                "{{ name = \"b{number}\", ip_address = \"{backend}{number}\", \
                 mac_address = \"02:00:00:00:0{index}:0{number}\" }},\n"
            );
        }
        text += "]\n";
    }
    text
}

/// Packets for every rule, and packets that are passed or dropped.
fn frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for flow in 0..500_u16 {
        let (v4, v6) = (format!("198.18.{}.7", flow % 90), format!("2001:db8:f::{:x}", flow % 70));
        let port = 20_000 + flow;
        let to = |vip: &str| Packet::between(if vip.contains(':') { &v6 } else { &v4 }, vip);
        frames.push(to("203.0.113.1").tcp(port, 443, 0x02).build());
        frames.push(to("203.0.113.2").udp(port, 53).payload_len(usize::from(flow)).build());
        frames.push(to("2001:db8::3").esp(u32::from(flow)).build());
        frames.push(to("2001:db8::4").tcp(port, 8000 + flow % 120, 0x02).build());
        frames.push(to("203.0.113.1").tcp(port, 443, 0x10).payload_len(700).build());
        frames.push(match flow % 6 {
            0 => to("203.0.113.9").tcp(port, 80, 0x02).build(),
            1 => to("203.0.113.1").ttl(1).tcp(port, 80, 0x02).build(),
            2 => to("2001:db8::4")
                .quoting(&Packet::between("2001:db8::4", &v6).tcp(8001, port, 0x10), 48)
                .build(),
            3 => to("203.0.113.2").udp(port, 53).payload_len(900).fragment(0, true).build(),
            4 => to("2001:db8::3").echo_request(flow, 1).build(),
            _ => to("203.0.113.1").tcp(port, 81, 0x02).build(),
        });
    }
    frames
}

fn write_capture(path: &Path, frames: &[Vec<u8>]) {
    let mut capture = CaptureWriter::new(File::create(path).unwrap()).unwrap();
    for frame in frames {
        capture.write(0, frame, frame.len() as u32).unwrap();
    }
    capture.finish().unwrap();
}

/// Frames of a capture, sorted by their bytes: a live port sends a burst's ICMP errors after the packets that it
/// forwards.
fn sorted_frames(path: &Path) -> Vec<Vec<u8>> {
    let mut capture = CaptureReader::open(path).unwrap();
    let mut frames = Vec::new();
    while let Some(record) = capture.next_record().unwrap() {
        frames.push(record.bytes.to_vec());
    }
    frames.sort_unstable();
    frames
}

fn json(ended: &Ended) -> Option<Value> {
    ended.status.success().then(|| serde_json::from_str(&ended.stdout).ok())?
}

/// Counts by reason, without zeros.
fn nonzero(counts: &Value) -> BTreeMap<String, u64> {
    let counts = counts.as_object().expect("counts by reason");
    let counts = counts.iter().map(|(reason, count)| (reason.clone(), count.as_u64().expect("a count")));
    counts.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn a_live_port_and_a_replay_send_and_count_alike() {
    let scratch = Scratch::new(&config());
    let [captured, replayed, live] =
        ["in.pcap", "replayed.pcap", "live.pcap"].map(|name| scratch.path().join(name));
    let frames = frames();
    write_capture(&captured, &frames);

    let config = scratch.config();
    let [config, input, output] =
        [&config, &captured, &replayed].map(|path| path.to_str().expect("a plain path"));
    let ended =
        scratch.verb(&["replay", "--config", config, "--pcap", input, "--out", output, "--output", "json"]);
    let summary = json(&ended).unwrap_or_else(|| panic!("{ended:?}"));

    let mut running = scratch.start(scratch.run());
    let stats = within(PATIENCE, || {
        let offered = |stats: &Value| stats["total"]["offered"].as_u64() == Some(frames.len() as u64);
        json(&scratch.ask(&["stats", "--output", "json"])).filter(offered)
    });
    let stats = stats.expect("the port reads the whole capture");
    let stopped = scratch.ask(&["stop"]);
    assert!(stopped.status.success(), "{stopped:?}");
    // The capture that the port writes is whole once the port is closed.
    assert!(running.finish(PATIENCE).status.success());

    let total = &stats["total"];
    assert_eq!(total["forwarded"], summary["forwarded"]);
    assert_eq!(nonzero(&total["passed"]), nonzero(&summary["passed"]));
    assert_eq!(nonzero(&total["dropped"]), nonzero(&summary["dropped"]));
    assert_eq!(stats["conntrack"]["hits"], summary["conntrack"]["hits"]);
    assert_eq!(stats["conntrack"]["inserts"], summary["conntrack"]["new"]);
    let [mut live, replayed] = [live, replayed].map(|path| sorted_frames(&path));
    // The live appliance also announces its own addresses, by multicast.
    live.retain(|frame| frame[0] & 1 == 0);
    assert!(live.len() > 2_000, "{} frames", live.len());
    let differing: Vec<_> = live.iter().zip(&replayed).filter(|(live, replayed)| live != replayed).collect();
    assert!(differing.is_empty(), "{} differ, the first is {:?}", differing.len(), differing[0]);
    assert_eq!(live.len(), replayed.len());
}
