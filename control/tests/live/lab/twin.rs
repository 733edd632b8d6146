//! The twin of a live appliance: a replay under the same configuration, of the frames that the appliance gets.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use guideway_engine::capture::{CaptureReader, CaptureWriter};
use serde_json::Value;

use super::patience::{PATIENCE, within};
use super::process::Ended;
use super::scratch::{Scratch, free_port};

/// MAC address of net_pcap's ports, and of the appliance; frames are addressed to it.
pub(crate) const OWN_MAC: &str = "02:70:63:61:70:00";

/// Configuration with every delivery, and one port of these keys. It names the MAC address of each next hop, as nobody is
/// there to be asked.
pub(crate) fn config(port: &str) -> String {
    let mut text = format!(
        r#"
[engine]
worker_cores = [0]
no_huge = true
memory_mib = 256
[conntrack]
max_entries = 100_000
[[port]]
name = "port"
{port}
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
        ("web", "l2", "203.0.113.1", "192.0.2.1", "TCP", "ports = [80, 443]", "NONE"),
        ("dns", "ipip", "203.0.113.2", "198.51.100.1", "UDP", "all_ports = true", "CLIENT_IP_PROTO"),
        ("any", "gre", "2001:db8::3", "198.51.101.1", "L3_DEFAULT", "all_ports = true", "CLIENT_IP"),
        (
            "app",
            "gue",
            "2001:db8::4",
            "2001:db8:2::1",
            "TCP",
            "port_range = \"8000-8100\"",
            "CLIENT_IP_PORT_PROTO",
        ),
        ("sip", "l2", "203.0.113.5", "192.0.2.2", "UDP", "ports = [5060]", "NONE"),
        ("sip6", "l2", "2001:db8::6", "2001:db8:1::2", "UDP", "ports = [5060]", "CLIENT_IP"),
    ];
    for (index, (name, delivery, vip, backend, protocol, ports, affinity)) in rules.into_iter().enumerate() {
        let service = if protocol == "L3_DEFAULT" { "UNSPECIFIED" } else { protocol };
        text += &format!(
            "[[forwarding_rule]]\nname = \"{name}\"\n\
             ip_address = \"{vip}\"\nip_protocol = \"{protocol}\"\n{ports}\n\
             neighbor_replies = \"NEVER\"\nbackend_service = \"{name}\"\n\
             [[backend_service]]\nname = \"{name}\"\nprotocol = \"{service}\"\nhealth_checks = [\"alive\"]\n\
             session_affinity = \"{affinity}\"\nbackends = [{{ group = \"{name}\" }}]\n\
             [[backend_group]]\nname = \"{name}\"\ndelivery = \"{delivery}\"\nendpoints = [\n",
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

/// Result of a replay.
#[derive(Debug)]
pub(crate) struct Replayed {
    pub(crate) summary: Value,
    /// Frames that it sends, sorted by their bytes: a live port sends a burst's ICMP errors after the packets that it
    /// forwards.
    pub(crate) sent: Vec<Vec<u8>>,
}

/// Replays these frames, which it leaves in `in.pcap`.
pub(crate) fn replay(scratch: &Scratch, frames: &[Vec<u8>]) -> Replayed {
    let [captured, sent] = ["in.pcap", "replayed.pcap"].map(|name| scratch.path().join(name));
    write_capture(&captured, frames);
    let config = scratch.config();
    let [config, input, output] =
        [&config, &captured, &sent].map(|path| path.to_str().expect("a plain path"));
    let ended =
        scratch.verb(&["replay", "--config", config, "--pcap", input, "--out", output, "--output", "json"]);
    let summary = json(&ended).unwrap_or_else(|| panic!("{ended:?}"));
    Replayed { summary, sent: sorted_frames(&sent) }
}

/// Counters of the appliance once this many packets have been offered to it.
pub(crate) fn stats_after(scratch: &Scratch, offered: usize) -> Value {
    let mut last = None;
    let found = within(PATIENCE, || {
        let stats = json(&scratch.ask(&["stats", "--output", "json"]))?;
        let is_all = stats["total"]["offered"].as_u64() == Some(offered as u64);
        last = Some(stats.clone());
        is_all.then_some(stats)
    });
    found.unwrap_or_else(|| panic!("{offered} packets are to be offered: {last:#?}"))
}

/// Holds the counters of a live appliance against those of its twin.
pub(crate) fn compare(stats: &Value, summary: &Value) {
    let total = &stats["total"];
    assert_eq!(total["forwarded"], summary["forwarded"]);
    assert_eq!(nonzero(&total["passed"]), nonzero(&summary["passed"]));
    assert_eq!(nonzero(&total["dropped"]), nonzero(&summary["dropped"]));
    assert_eq!(total["fragments"]["followed"], summary["fragments_followed"]);
    assert_eq!(total["fragments"]["first_unseen"], summary["fragments_first_unseen"]);
    assert_eq!(stats["conntrack"]["hits"], summary["conntrack"]["hits"]);
    assert_eq!(stats["conntrack"]["inserts"], summary["conntrack"]["new"]);
}

/// Counts by reason, without zeros.
pub(crate) fn nonzero(counts: &Value) -> BTreeMap<String, u64> {
    let counts = counts.as_object().expect("counts by reason");
    let counts = counts.iter().map(|(reason, count)| (reason.clone(), count.as_u64().expect("a count")));
    counts.filter(|(_, count)| *count > 0).collect()
}

/// Frames of a capture, sorted by their bytes.
pub(crate) fn sorted_frames(path: &Path) -> Vec<Vec<u8>> {
    let mut capture = CaptureReader::open(path).expect("the capture can be read");
    let mut frames = Vec::new();
    while let Some(record) = capture.next_record().expect("the capture is whole") {
        frames.push(record.bytes.to_vec());
    }
    frames.sort_unstable();
    frames
}

fn write_capture(path: &Path, frames: &[Vec<u8>]) {
    let file = File::create(path).expect("the directory can be written");
    let mut capture = CaptureWriter::new(file).expect("a file can be written");
    for frame in frames {
        capture.write(0, frame, frame.len() as u32).expect("a file can be written");
    }
    capture.finish().expect("a file can be written");
}

fn json(ended: &Ended) -> Option<Value> {
    ended.status.success().then(|| serde_json::from_str(&ended.stdout).ok())?
}
