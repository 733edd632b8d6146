//! The delivery of a traced packet to its backend, and its way out of the appliance.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use guideway_dataplane::delivery::TooLong;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::flow::Flow;
use guideway_dataplane::packet::{Packet, flow_of_headers};
use guideway_dataplane::snapshot::Backend;
use guideway_dataplane::verdict::Verdict;
use guideway_dataplane::wire::ethernet;
use serde::{Deserialize, Serialize};

use super::{Knowledge, Passage};

/// Delivery of a packet to its backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeliveryStep {
    /// Delivery mode; none where the state has changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Ends of the tunnel that the packet was sent in, by its outer header: `192.0.2.1 > 198.51.100.12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outer: Option<String>,
    /// Length of the packet without an outer header.
    pub packet_bytes: u32,
    /// Length of the longest packet that fits the path; none where the state has changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_packet: Option<usize>,
    /// Treatment of a packet that does not fit the path, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub too_long: Option<String>,
    /// Length of the frame that was sent; of all its fragments together, where it left in fragments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_bytes: Option<u32>,
    /// MTU by which the frame was cut into fragments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragment_mtu: Option<u16>,
}

/// Way of a packet out of the appliance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EgressStep {
    /// Index of the port that sends.
    pub port: u8,
    /// Name of that port, where the configuration has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_name: Option<String>,
    /// Link-layer address of the backend, or of the router on the way to it; none while nobody has answered for it.
    pub next_hop_mac: Option<String>,
    /// Link-layer address that the frame was sent from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_mac: Option<String>,
}

impl DeliveryStep {
    /// Delivery of a packet that has a backend.
    pub(super) fn new(passage: &Passage<'_>, known: Knowledge<'_>) -> Option<Self> {
        let decision = passage.decision;
        let handle = decision.backend?;
        let packet = passage.look.packet.as_ref()?;
        let compiled = compiled(passage, known);
        let is_sent = decision.verdict == Verdict::Forward;
        let sent = is_sent.then(|| flow_of_headers(passage.sent)).flatten();
        // A frame that is sent in a tunnel has another flow outside.
        let outer = sent.filter(|outer| *outer != packet.flow);
        Some(Self {
            mode: known.backend(handle).map(|(_, backend)| backend.delivery.as_str().to_owned()),
            outer: outer.map(ends),
            packet_bytes: packet.l3_len,
            largest_packet: compiled.map(|backend| backend.delivery.inner_mtu()),
            too_long: compiled
                .filter(|backend| !backend.delivery.fits(packet))
                .map(|backend| too_long(backend, packet, passage)),
            sent_bytes: is_sent.then_some(passage.sent_len),
            fragment_mtu: decision.fragment_mtu.map(NonZeroU16::get),
        })
    }
}

impl EgressStep {
    /// Way out of a packet that has a backend: that of the frame where one was sent, else that which it would have taken.
    pub(super) fn new(passage: &Passage<'_>, known: Knowledge<'_>) -> Option<Self> {
        let decision = passage.decision;
        decision.backend?;
        let of_port = |port: PortId, next_hop_mac, source_mac| Self {
            port: port.0,
            port_name: known.port_name(port),
            next_hop_mac,
            source_mac,
        };
        if decision.verdict == Verdict::Forward && passage.sent.len() >= ethernet::HEADER_LEN {
            let next_hop = ethernet::destination(passage.sent).to_string();
            let source = ethernet::source(passage.sent).to_string();
            return Some(of_port(decision.egress, Some(next_hop), Some(source)));
        }
        let egress = compiled(passage, known)?.delivery.egress();
        Some(of_port(egress.port, egress.next_hop.map(|mac| mac.to_string()), None))
    }
}

/// Ends of an outer header, with its ports where it has some.
fn ends(outer: Flow) -> String {
    if outer.rule_port().is_some() {
        let (src, dst) = (IpAddr::from(outer.src), IpAddr::from(outer.dst));
        format!("{} > {}", SocketAddr::new(src, outer.src_port), SocketAddr::new(dst, outer.dst_port))
    } else {
        format!("{} > {}", outer.src, outer.dst)
    }
}

/// Backend of a passage as packets saw it.
fn compiled<'a>(passage: &Passage<'_>, known: Knowledge<'a>) -> Option<&'a Backend> {
    known.snapshot?.backend(passage.decision.backend?)
}

/// Treatment of a packet that does not fit the path, in words.
fn too_long(backend: &Backend, packet: &Packet, passage: &Passage<'_>) -> String {
    let delivery = &backend.delivery;
    match delivery.too_long(packet) {
        TooLong::Refuse if passage.decision.answered => {
            format!("refused; the sender is told an MTU of {}", delivery.told_mtu(packet))
        }
        TooLong::Refuse => {
            "refused; the sender is not told, by the limit on ICMP errors or as none may answer".to_owned()
        }
        TooLong::Drop => {
            "dropped: its sender can make it no shorter, and the tunnel does not fragment".to_owned()
        }
        TooLong::Fragment => format!("its outer packet leaves in fragments for an MTU of {}", delivery.mtu()),
        TooLong::Forward => "sent whole, to be fragmented on the path".to_owned(),
    }
}
