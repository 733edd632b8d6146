//! Traces: the way of one packet through every stage, in words.
//!
//! [`explain`](crate::explain) says what would become of a flow's first packet; a trace says what became of a packet that came.
//! Steps of a trace are those of `explain`, and what the packet itself adds: how it came, the conntrack entry that it met, how it left.
//! The facts are the data plane's own: a [`Look`] taken right before the decision, the decision, and the frame as it was sent.

mod conntrack_step;
mod delivery_step;

use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::pipeline::{Decision, LaterFragment, Look};
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::verdict::Verdict;
use guideway_dataplane::wire::{ethernet, tcp};
use serde::{Deserialize, Serialize};

use crate::explain::{
    BackendStep, RuleStep, SelectionStep, TrackingStep, backend_step, rule_step, selection_step,
    tracking_step, vip_takes,
};
use crate::flow_text::FlowText;
use crate::forwarding_state::ForwardingState;
use crate::names::Names;
use crate::service::{BackendState, ServiceState};

pub use conntrack_step::{EntryFound, EntryStep};
pub use delivery_step::{DeliveryStep, EgressStep};

/// Most packets of one trace.
pub const MAX_TRACED: u64 = 1_000;

/// Way of one packet through every stage, and the verdict on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PacketTrace {
    /// Number of the packet: of its frame in a capture, or among the traced ones.
    pub number: u64,
    /// Time of the packet, in nanoseconds since 1970-01-01 00:00 UTC.
    pub timestamp_unix_nanos: u64,
    /// Generation of the snapshot that decided the packet.
    pub snapshot_generation: u64,
    /// Circumstances that limit what the trace can say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Frame as it was received.
    pub frame: FrameStep,
    /// Packet in the frame; none where the frame holds no well-formed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packet: Option<PacketStep>,
    /// Flow of the packet that an ICMP error quotes, by which it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quoted: Option<String>,
    /// Way of a later fragment: `follows` the first of its datagram, or `first_unseen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub later_fragment: Option<String>,
    /// Forwarding rule that the packet belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarding_rule: Option<RuleStep>,
    /// Protocols and ports of the rules that the destination does have, where none of them takes the packet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vip_takes: Vec<String>,
    /// Tracking of the flow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking: Option<TrackingStep>,
    /// Conntrack entry that the packet met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryStep>,
    /// Selection by the hash; it decides where no entry does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<SelectionStep>,
    /// Backend that the hash chooses; it is the packet's where no entry decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selected: Option<String>,
    /// Backend that the packet goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendStep>,
    /// Standing of that backend: healthy, unhealthy, drained by the operator, or removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_standing: Option<String>,
    /// Delivery to the backend.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryStep>,
    /// Way out of the appliance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<EgressStep>,
    /// Way that the backend was found: `hit`, `new` or `off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracking_result: Option<String>,
    /// Consequence for the conntrack table, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conntrack: Option<String>,
    /// Verdict: `forward`, `pass` or `drop`.
    pub verdict: String,
    /// Reason for which the packet is passed or dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// True if the sender was told so by an ICMP error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answered: bool,
}

/// Frame as it was received.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameStep {
    /// Index of the port that the frame came by.
    pub port: u8,
    /// Name of that port, where the configuration has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_name: Option<String>,
    /// Network of the frame, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Link-layer address that the frame came from; none where the frame is too short for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_mac: Option<String>,
    /// Link-layer address that the frame came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_mac: Option<String>,
    /// VLAN of the frame's tag; 4095 where it has several tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// Length of the frame.
    pub bytes: u32,
}

/// Packet as its own headers have it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PacketStep {
    /// Flow of the packet, in the form of `explain`.
    pub flow: String,
    /// Length of the packet.
    pub bytes: u32,
    /// TTL or hop limit, as received.
    pub ttl: u8,
    /// True if routers may not fragment the packet.
    pub dont_fragment: bool,
    /// Flags of a TCP segment that open or close its connection: `SYN`, `FIN`, `RST`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tcp_flags: Vec<String>,
    /// True for an ICMP error, which quotes another packet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub icmp_error: bool,
}

/// Facts about a packet that passed the pipeline.
#[derive(Clone, Copy, Debug)]
pub struct Passage<'a> {
    /// Number of the packet.
    pub number: u64,
    /// Time of the packet, in nanoseconds since 1970-01-01 00:00 UTC.
    pub timestamp_unix_nanos: u64,
    /// Generation of the snapshot that decided; a look may be of the one before.
    pub generation: u64,
    /// Port that the frame came by.
    pub port: PortId,
    /// Frame as it was received, as far as it is known.
    pub received: &'a [u8],
    /// Length of the whole frame.
    pub received_len: u32,
    /// Look taken right before the decision.
    pub look: &'a Look,
    /// Decision.
    pub decision: &'a Decision,
    /// Frame as it was sent, as far as it is known; of no meaning where none was.
    pub sent: &'a [u8],
    /// Length of the whole frame that was sent.
    pub sent_len: u32,
}

/// Knowledge that a passage is put into words by.
#[derive(Clone, Copy)]
struct Knowledge<'a> {
    state: &'a ForwardingState,
    /// Snapshot that decided; none where it is not that of `state`, of which then nothing is said.
    snapshot: Option<&'a Snapshot>,
    names: Option<&'a Names>,
}

impl Knowledge<'_> {
    fn backend_name(&self, handle: BackendHandle) -> Option<String> {
        self.names?.backend(handle).map(ToString::to_string)
    }

    /// State of a backend of a service, as of the snapshot that decided.
    fn backend(&self, handle: BackendHandle) -> Option<(&ServiceState, &BackendState)> {
        self.snapshot?;
        let (service, _) = self.names?.service_and_backend(handle)?;
        let service = self.state.services().get(service)?;
        service.backends().find(|backend| backend.handle == handle).map(|backend| (service, backend))
    }

    fn port_name(&self, port: PortId) -> Option<String> {
        self.state.config().ports.get(usize::from(port.0)).map(|port| port.name.clone())
    }
}

impl PacketTrace {
    /// Trace of a passage. `snapshot` is that of `state` if it decided the packet; without it, the trace says what the passage
    /// alone tells, and that the state has changed since.
    pub fn new(passage: &Passage<'_>, state: &ForwardingState, snapshot: Option<&Snapshot>) -> Self {
        let &Passage { look, decision, .. } = passage;
        let generation = passage.generation;
        let is_its =
            |snapshot: &&Snapshot| snapshot.generation == generation && look.generation == generation;
        let known = Knowledge { state, snapshot: snapshot.filter(is_its), names: state.names_of(generation) };
        let (verdict, reason) = match decision.verdict {
            Verdict::Forward => ("forward", None),
            Verdict::Pass(reason) => ("pass", Some(reason.as_str())),
            Verdict::Drop(reason) => ("drop", Some(reason.as_str())),
        };
        let mut trace = Self {
            number: passage.number,
            timestamp_unix_nanos: passage.timestamp_unix_nanos,
            snapshot_generation: generation,
            notes: notes(passage, known),
            frame: frame_step(passage, known),
            packet: packet_step(look),
            quoted: look.quoted.map(|flow| FlowText(flow).to_string()),
            later_fragment: look.later_fragment.map(|way| {
                let word = match way {
                    LaterFragment::Follows(_) => "follows",
                    LaterFragment::FirstUnseen => "first_unseen",
                };
                word.to_owned()
            }),
            forwarding_rule: None,
            vip_takes: Vec::new(),
            tracking: None,
            entry: None,
            selection: None,
            selected: None,
            backend: None,
            backend_standing: None,
            delivery: None,
            egress: None,
            tracking_result: decision.backend.map(|_| decision.tracking.as_str().to_owned()),
            conntrack: None,
            verdict: verdict.to_owned(),
            reason: reason.map(str::to_owned),
            answered: decision.answered,
        };
        trace.add_rule(passage, known);
        trace.add_connection(passage, known);
        trace.add_way(passage, known);
        trace
    }

    fn add_rule(&mut self, passage: &Passage<'_>, known: Knowledge<'_>) {
        let look = passage.look;
        let flow = look.quoted.or(look.packet.map(|packet| packet.flow));
        match (look.rule, flow, look.network) {
            (Some(found), Some(flow), Some(network)) => {
                self.forwarding_rule = Some(match known.snapshot {
                    Some(_) => {
                        rule_step(known.state, network, found.rule, found.service, found.routed, &flow)
                    }
                    None => {
                        let names = known.names.and_then(|names| names.rule_and_service(found.rule));
                        let Some((rule, service)) = names else { return };
                        RuleStep {
                            name: rule.to_string(),
                            matches: String::new(),
                            route: None,
                            backend_service: service.to_string(),
                            access_list: None,
                        }
                    }
                });
            }
            (None, Some(flow), Some(network)) if known.snapshot.is_some() => {
                self.vip_takes = vip_takes(known.state.config(), network, flow.dst.into());
            }
            _ => {}
        }
    }

    fn add_connection(&mut self, passage: &Passage<'_>, known: Knowledge<'_>) {
        let Some(connection) = &passage.look.connection else { return };
        self.entry = Some(EntryStep::new(connection, passage, known));
        self.selected = connection.selected.and_then(|handle| known.backend_name(handle));
        let (Some(snapshot), Some(found)) = (known.snapshot, passage.look.rule) else { return };
        let configured = &known.state.config().services[usize::from(found.service.0)];
        let Some(service) = known.state.services().get(&configured.name) else { return };
        let compiled = snapshot.service(found.service);
        self.tracking = Some(tracking_step(&connection.hashed, compiled, configured.idle_timeout_sec));
        self.selection = Some(selection_step(&connection.hashed, compiled, service, snapshot));
    }

    fn add_way(&mut self, passage: &Passage<'_>, known: Knowledge<'_>) {
        let decision = passage.decision;
        if let (Some(handle), Some(snapshot)) = (decision.backend, known.snapshot)
            && let Some((service, backend)) = known.backend(handle)
        {
            self.backend = Some(backend_step(service, backend, snapshot));
            self.backend_standing = Some(standing(backend).to_owned());
        } else if let Some(name) = decision.backend.and_then(|handle| known.backend_name(handle)) {
            self.notes.push(format!("the packet went to backend `{name}`, of whose state nothing is said"));
        }
        self.conntrack = conntrack_step::consequence(passage, known);
        self.delivery = DeliveryStep::new(passage, known);
        self.egress = EgressStep::new(passage, known);
    }

    /// Time since another moment, in seconds with microseconds: `+3.205113 s`.
    pub fn since(&self, start_unix_nanos: u64) -> String {
        let micros = self.timestamp_unix_nanos.saturating_sub(start_unix_nanos) / 1_000;
        format!("+{}.{:06} s", micros / 1_000_000, micros % 1_000_000)
    }
}

fn notes(passage: &Passage<'_>, known: Knowledge<'_>) -> Vec<String> {
    let (look, decision) = (passage.look, passage.decision);
    let mut notes = Vec::new();
    if known.snapshot.is_none() {
        notes.push(format!(
            "snapshot {} decided, and the state has changed since: eligible backends, slot and health are left out",
            passage.generation
        ));
    }
    let differs = look.outcome().is_some_and(|(backend, _)| backend != decision.backend);
    // A packet that ended before its backend has none to compare.
    if differs && look.end.is_none() {
        notes.push("another worker was first: the entry that it made decided".to_owned());
    }
    notes
}

fn frame_step(passage: &Passage<'_>, known: Knowledge<'_>) -> FrameStep {
    let frame = passage.received;
    let has_header = frame.len() >= ethernet::HEADER_LEN;
    let network = passage.look.network.and_then(|network| known.state.network_name(network));
    FrameStep {
        port: passage.port.0,
        port_name: known.port_name(passage.port),
        network: network.filter(|_| known.snapshot.is_some()).map(str::to_owned),
        source_mac: has_header.then(|| ethernet::source(frame).to_string()),
        destination_mac: has_header.then(|| ethernet::destination(frame).to_string()),
        vlan: ethernet::vlan(frame).filter(|vlan| *vlan != 0),
        bytes: passage.received_len,
    }
}

fn packet_step(look: &Look) -> Option<PacketStep> {
    let packet = look.packet.as_ref()?;
    let flags = [("SYN", tcp::SYN), ("FIN", tcp::FIN), ("RST", tcp::RST)].into_iter();
    Some(PacketStep {
        flow: FlowText(packet.flow).to_string(),
        bytes: packet.l3_len,
        ttl: packet.ttl,
        dont_fragment: packet.dont_fragment,
        tcp_flags: flags
            .filter(|(_, bit)| packet.tcp_flags & bit != 0)
            .map(|(word, _)| word.to_owned())
            .collect(),
        icmp_error: packet.icmp_error,
    })
}

/// Standing of a backend, in words.
fn standing(backend: &BackendState) -> &'static str {
    match (backend.removed_at, backend.operator_drained, backend.healthy) {
        (Some(_), ..) => "removed, and draining",
        (None, true, true) => "healthy, drained by the operator",
        (None, true, false) => "unhealthy, drained by the operator",
        (None, false, true) => "healthy",
        (None, false, false) => "unhealthy",
    }
}
