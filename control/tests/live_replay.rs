//! The same packets through `guideway replay` and through `guideway run` on a port that reads a capture: what leaves is the
//! same, byte by byte, and so is what became of the rest.

#![allow(clippy::unwrap_used)] // A test that cannot set its scene fails there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use guideway_engine::capture::{CaptureReader, CaptureWriter};
use pcap_fixtures::packet::Packet;
use serde_json::Value;

const GUIDEWAY: &str = env!("CARGO_BIN_EXE_guideway");

/// The MAC address of net_pcap's ports, which the replayed frames are addressed to as well.
const OWN_MAC: &str = "02:70:63:61:70:00";

/// Forwarding state with every delivery; all next hops are named, as nobody is there to be asked.
fn config(directory: &Path, metrics_port: u16) -> String {
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
device = "net_pcap0,rx_pcap={0}/in.pcap,tx_pcap={0}/live.pcap"
[admin]
socket = "{0}/admin.sock"
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
        directory.display()
    );
    let rules = [
        ("l2", "203.0.113.1", "192.0.2.1", "TCP", "ports = [80, 443]"),
        ("ipip", "203.0.113.2", "198.51.100.1", "UDP", "all_ports = true"),
        ("gre", "2001:db8::3", "198.51.101.1", "L3_DEFAULT", "all_ports = true"),
        ("gue", "2001:db8::4", "2001:db8:2::1", "TCP", "port_range = \"8000-8100\""),
    ];
    for (place, (delivery, vip, backend, protocol, ports)) in rules.into_iter().enumerate() {
        let service = if protocol == "L3_DEFAULT" { "UNSPECIFIED" } else { protocol };
        text += &format!(
            "[[forwarding_rule]]\nname = \"{delivery}\"\nip_address = \"{vip}\"\nip_protocol = \"{protocol}\"\n{ports}\n\
             neighbor_replies = \"NEVER\"\nbackend_service = \"{delivery}\"\n\
             [[backend_service]]\nname = \"{delivery}\"\nprotocol = \"{service}\"\nhealth_checks = [\"alive\"]\n\
             session_affinity = \"{affinity}\"\nbackends = [{{ group = \"{delivery}\" }}]\n\
             [[backend_group]]\nname = \"{delivery}\"\ndelivery = \"{delivery}\"\nendpoints = [\n",
            affinity = ["NONE", "CLIENT_IP_PROTO", "CLIENT_IP", "CLIENT_IP_PORT_PROTO"][place],
        );
        for number in 1..=5 {
            text += &format!(
                "{{ name = \"b{number}\", ip_address = \"{backend}{number}\", \
                 mac_address = \"02:00:00:00:0{place}:0{number}\" }},\n"
            );
        }
        text += "]\n";
    }
    text
}

/// Packets for every rule, for none, and for no one.
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

/// The frames of a capture in the order of their bytes: a burst's answers are sent after what it forwards.
fn sorted_frames(path: &Path) -> Vec<Vec<u8>> {
    let mut capture = CaptureReader::open(path).unwrap();
    let mut frames = Vec::new();
    while let Some(record) = capture.next_record().unwrap() {
        frames.push(record.bytes.to_vec());
    }
    frames.sort_unstable();
    frames
}

fn guideway(arguments: &[&str]) -> Output {
    Command::new(GUIDEWAY).args(arguments).output().expect("the binary runs")
}

fn json(output: &Output) -> Option<Value> {
    output.status.success().then(|| serde_json::from_slice(&output.stdout).ok())?
}

/// Ends the appliance where the test does not get as far as telling it to stop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory of this test's own, which goes with it.
struct Workplace(PathBuf);

impl Drop for Workplace {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Counts by reason, without those that are zero.
fn nonzero(counts: &Value) -> BTreeMap<String, u64> {
    let counts = counts.as_object().expect("counts by reason");
    let counts = counts.iter().map(|(reason, count)| (reason.clone(), count.as_u64().expect("a count")));
    counts.filter(|(_, count)| *count > 0).collect()
}

#[test]
fn a_live_port_and_a_replay_make_the_same_of_a_capture() {
    let directory = std::env::temp_dir().join(format!("guideway-live-replay-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let workplace = Workplace(directory);
    let path = |name: &str| workplace.0.join(name).to_str().expect("a plain path").to_owned();
    let free_port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let frames = frames();
    fs::write(path("guideway.toml"), config(&workplace.0, free_port)).unwrap();
    write_capture(Path::new(&path("in.pcap")), &frames);

    let config_path = path("guideway.toml");
    let replayed = guideway(&[
        "replay",
        "--config",
        &config_path,
        "--pcap",
        &path("in.pcap"),
        "--out",
        &path("replayed.pcap"),
        "--output",
        "json",
    ]);
    let summary = json(&replayed).unwrap_or_else(|| panic!("{replayed:?}"));

    let log = File::create(path("log")).unwrap();
    let mut command = Command::new(GUIDEWAY);
    command.args(["run", "--config", &config_path]).stdout(Stdio::null()).stderr(log);
    let mut running = Running(command.spawn().expect("the binary runs"));
    let socket = path("admin.sock");
    let deadline = Instant::now() + Duration::from_secs(30);
    let stats = loop {
        let stats = json(&guideway(&["stats", "--socket", &socket, "--output", "json"]));
        let offered = |stats: &Value| stats["total"]["offered"].as_u64() == Some(frames.len() as u64);
        match stats.filter(offered) {
            Some(stats) => break stats,
            None => assert!(Instant::now() < deadline, "{}", fs::read_to_string(path("log")).unwrap()),
        }
        thread::sleep(Duration::from_millis(50));
    };
    let stopped = guideway(&["stop", "--socket", &socket]);
    assert!(stopped.status.success(), "{stopped:?}");
    // The capture that the port writes is whole once the port is closed.
    assert!(running.0.wait().unwrap().success());

    let total = &stats["total"];
    assert_eq!(total["forwarded"], summary["forwarded"]);
    assert_eq!(nonzero(&total["passed"]), nonzero(&summary["passed"]));
    assert_eq!(nonzero(&total["dropped"]), nonzero(&summary["dropped"]));
    assert_eq!(stats["conntrack"]["hits"], summary["conntrack"]["hits"]);
    assert_eq!(stats["conntrack"]["inserts"], summary["conntrack"]["new"]);
    let [mut live, replayed] =
        ["live.pcap", "replayed.pcap"].map(|name| sorted_frames(Path::new(&path(name))));
    // The live appliance announces its own addresses too, to groups.
    live.retain(|frame| frame[0] & 1 == 0);
    assert!(live.len() > 2_000, "{} frames", live.len());
    let differing: Vec<_> = live.iter().zip(&replayed).filter(|(live, replayed)| live != replayed).collect();
    assert!(differing.is_empty(), "{} differ, the first is {:?}", differing.len(), differing[0]);
    assert_eq!(live.len(), replayed.len());
}
