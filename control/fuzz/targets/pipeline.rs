//! No capture makes the packet path panic, lose count of a packet, or damage one that it forwards.
//!
//! The input is a capture, so that captures are the seeds, and what is found can be replayed. The time of its first
//! frame picks the delivery.

#![no_main]

use std::sync::OnceLock;

use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::delivery::fragments::fragments;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::flow::Fragment;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::packet::Packet;
use guideway_dataplane::pipeline::{BURST, Decision, Pipeline};
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::time::Tick;
use guideway_dataplane::verdict::{PassReason, Verdict};
use guideway_dataplane::wire::checksum;
use guideway_dataplane::wire::ipv4::Ipv4Header;
use guideway_engine::capture::CaptureReader;
use guideway_engine::mbuf::Mbuf;
use guideway_model::config::Config;
use guideway_model::egress_lookup::StandInMacs;
use guideway_model::forwarding_state::ForwardingState;
use libfuzzer_sys::fuzz_target;
use zerocopy::IntoBytes;

fuzz_target!(|capture: &[u8]| {
    let Ok(mut reader) = CaptureReader::new(capture) else { return };
    let (mut frames, mut start) = (Vec::new(), None);
    while let Ok(Some(record)) = reader.next_record() {
        // The capture's own target has the long frames; here they would only cost time.
        if record.wire_len > 4096 || frames.len() == 64 {
            break;
        }
        let first = *start.get_or_insert(record.timestamp_nanos);
        let mut frame = Mbuf::new();
        frame.fill_padded(record.bytes, record.wire_len as usize);
        frames.push((Tick::from_secs(record.timestamp_nanos.saturating_sub(first) / 1_000_000_000), frame));
    }
    let appliances = APPLIANCES.get_or_init(appliances);
    let appliance = &appliances[start.unwrap_or(0) as usize % appliances.len()];
    let mut pipeline = Pipeline::new(TrackingHasher::new([1, 2, 3, 4]), 0);
    let table = ConntrackTable::with_capacity(64).expect("memory for a small table");
    for burst in frames.chunks(BURST) {
        let mut processed: Vec<Mbuf> = burst.iter().map(|(_, frame)| frame.clone()).collect();
        let mut decisions = vec![Decision::PENDING; burst.len()];
        pipeline.process(PortId(0), &mut processed, &mut decisions, burst[0].0, &appliance.snapshot, &table);
        for ((before, after), decision) in burst.iter().zip(&processed).zip(&decisions) {
            appliance.inspect(before.1.bytes(), after.bytes(), decision);
        }
    }
    let counters = pipeline.counters();
    assert_eq!(counters.offered, frames.len() as u64);
    assert_eq!(counters.offered, counters.forwarded + counters.passed_total() + counters.dropped_total());
});

/// A configuration that takes every packet and delivers it in one way.
struct Appliance {
    snapshot: Snapshot,
    /// Bytes between the outer IP header and the packet; none without a tunnel.
    shim_len: Option<usize>,
    /// True if packets too long for the tunnel may leave in fragments.
    fragments: bool,
}

/// MTU of every path.
const MTU: usize = 1340;

static APPLIANCES: OnceLock<Vec<Appliance>> = OnceLock::new();

fn appliances() -> Vec<Appliance> {
    let modes = [("l2", None), ("ipip", Some(0)), ("gre", Some(4)), ("gue", Some(12))];
    let directions = [("10.1.0", "fd00:"), ("fd00:", "10.1.0")];
    let mut found = Vec::new();
    for (delivery, shim_len) in modes {
        for (v4_hosts, v6_hosts) in directions {
            // On one segment, a family stays with itself.
            if shim_len.is_none() && v4_hosts != "10.1.0" {
                continue;
            }
            for fragments in [false, true] {
                let snapshot = snapshot(delivery, [v4_hosts, v6_hosts], fragments, &[None]);
                found.push(Appliance { snapshot, shim_len, fragments });
            }
            let snapshot = snapshot(delivery, [v4_hosts, v6_hosts], false, &[None, Some(100)]);
            found.push(Appliance { snapshot, shim_len, fragments: false });
        }
    }
    found
}

/// Snapshot of networks with these VLANs, or untagged, which have the same addresses.
fn snapshot(
    delivery: &str,
    [v4_hosts, v6_hosts]: [&str; 2],
    fragments: bool,
    vlans: &[Option<u16>],
) -> Snapshot {
    let mut text = "[[health_check]]\nname = \"check\"\ntype = \"TCP\"\n".to_owned();
    for (index, vlan) in vlans.iter().enumerate() {
        text += &format!(
            "[[network]]\nname = \"n{index}\"\n{}ipv4_address = \"192.0.2.1\"\nipv6_address = \"2001:db8:1::1\"\n\
             mtu = {MTU}\nfragment_tunnels = {fragments}\n",
            vlan.map(|vlan| format!("vlan = {vlan}\n")).unwrap_or_default()
        );
        add_services(&mut text, delivery, [v4_hosts, v6_hosts], index);
    }
    let config =
        Config::parse("fuzz.toml", &text).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    ForwardingState::offline(config).snapshot(&StandInMacs)
}

/// Adds rules, services, groups and routes of both families to the network with this index.
fn add_services(text: &mut String, delivery: &str, [v4_hosts, v6_hosts]: [&str; 2], index: usize) {
    let network = format!("network = \"n{index}\"\n");
    for (name, vip, vip_prefix, range, hosts) in [
        ("v4", "192.0.2.10", "203.0.113.0/24", "0.0.0.0/0", v4_hosts),
        ("v6", "2001:db8::10", "2001:db8:1234::/96", "::/0", v6_hosts),
    ] {
        let separator = if hosts.contains(':') { ":" } else { "." };
        *text += &format!(
            "[[forwarding_rule]]\nname = \"{name}-{index}\"\n{network}load_balancing_scheme = \"INTERNAL\"\n\
             ip_address = \"{vip}\"\nip_protocol = \"L3_DEFAULT\"\nall_ports = true\nbackend_service = \"{name}-{index}\"\n\
             [[forwarding_rule]]\nname = \"prefix-{name}-{index}\"\n{network}load_balancing_scheme = \"INTERNAL\"\n\
             ip_address = \"{vip_prefix}\"\nip_protocol = \"TCP\"\nall_ports = true\n\
             backend_service = \"{name}-{index}\"\n\
             [[backend_service]]\nname = \"{name}-{index}\"\n{network}load_balancing_scheme = \"INTERNAL\"\n\
             protocol = \"UNSPECIFIED\"\nhealth_checks = [\"check\"]\nbackends = [{{ group = \"{name}-{index}\" }}]\n\
             [[backend_group]]\nname = \"{name}-{index}\"\n{network}delivery = \"{delivery}\"\nendpoints = [\
             {{ name = \"a\", ip_address = \"{hosts}{separator}1\" }}, \
             {{ name = \"b\", ip_address = \"{hosts}{separator}2\" }}]\n\
             [[route]]\nname = \"{name}-{index}\"\n{network}dest_range = \"{range}\"\nnext_hop_ilb = \"{name}-{index}\"\n"
        );
    }
}

impl Appliance {
    fn inspect(&self, before: &[u8], after: &[u8], decision: &Decision) {
        match decision.verdict {
            Verdict::Forward => {
                self.inspect_forwarded(before, after);
                self.inspect_length(after, decision);
            }
            _ if decision.answered => {
                let (packet, answer) = (parse(before), parse(after));
                assert!(answer.icmp_error, "the answer is an ICMP error");
                assert_eq!(answer.flow.dst, packet.flow.src, "to the sender");
                assert!(answer.l3_len <= if answer.is_ipv4 { 576 } else { 1280 });
            }
            verdict => {
                assert_eq!(before, after, "{verdict:?} leaves the frame alone");
                let own = self.snapshot.networks.first().own;
                let is_routed = Packet::parse(before)
                    .is_ok_and(|packet| ![own.ipv4, own.ipv6].contains(&Some(packet.flow.dst)));
                assert!(
                    !is_routed || verdict != Verdict::Pass(PassReason::NoForwardingRule),
                    "everything is routed but what is for the appliance itself"
                );
            }
        }
    }

    /// Asserts that a frame which leaves by a tunnel fits its path, or that its fragments do and put together are the same.
    fn inspect_length(&self, after: &[u8], decision: &Decision) {
        let outer = parse(after);
        let fits = outer.l3_len as usize <= MTU;
        let Some(mtu) = decision.fragment_mtu else {
            assert!(fits || self.shim_len.is_none(), "what is too long is dropped");
            return;
        };
        assert!(self.fragments && self.shim_len.is_some() && !fits);
        assert_eq!(usize::from(mtu.get()), MTU);
        let mut whole = Vec::new();
        for fragment in fragments(after, MTU) {
            let part = parse(&[fragment.headers(), fragment.piece].concat());
            assert!(part.l3_len as usize <= MTU);
            assert_ne!(part.flow.fragment, Fragment::No);
            assert_eq!((part.flow.src, part.flow.dst), (outer.flow.src, outer.flow.dst));
            whole.extend_from_slice(fragment.piece);
        }
        assert_eq!(whole, after[usize::from(outer.l4_offset)..]);
    }

    fn inspect_forwarded(&self, before: &[u8], after: &[u8]) {
        let packet = parse(before);
        let start = usize::from(packet.l3_offset);
        let before = &before[start..start + packet.l3_len as usize];
        let outer = parse(after);
        let inner = match self.shim_len {
            None => &after[usize::from(outer.l3_offset)..][..outer.l3_len as usize],
            Some(len) => {
                assert_eq!(outer.ttl, 64);
                assert_eq!(outer.traffic_class, packet.traffic_class);
                // No outer header has options.
                let start = usize::from(outer.l4_offset) + len;
                let inner = &after[start..];
                assert_eq!(usize::from(outer.l3_offset) + outer.l3_len as usize, after.len(), "no padding");
                inner
            }
        };
        assert_eq!(inner.len(), before.len());
        if packet.is_ipv4 {
            assert_eq!((inner[8], &inner[..8]), (before[8] - 1, &before[..8]));
            assert_eq!((inner[9], &inner[12..]), (before[9], &before[12..]));
            assert_eq!(
                header_sum(inner),
                header_sum(before),
                "a right checksum stays right, a wrong one wrong"
            );
        } else {
            assert_eq!((inner[7], &inner[..7], &inner[8..]), (before[7] - 1, &before[..7], &before[8..]));
        }
    }
}

fn parse(frame: &[u8]) -> Packet {
    Packet::parse(frame).expect("what is forwarded or answered is well-formed, before and after")
}

/// Sum of the words of an IPv4 header without its options, modulo 0xffff: both zeros are one.
fn header_sum(packet: &[u8]) -> u16 {
    let header = Ipv4Header::parse(packet).expect("a header");
    let sum = checksum::finish(checksum::sum(header.as_bytes()));
    if sum == 0xffff { 0 } else { sum }
}
