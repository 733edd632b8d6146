//! Cases whose instructions are counted: each makes its frames, and puts them through a stage in bursts.

use std::fmt::{self, Display};
use std::sync::Arc;

use clap::ValueEnum;
use guideway_dataplane::affinity::{AffinityPolicy, TrackingHasher};
use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::counters::Counters;
use guideway_dataplane::delivery::{DeliveryMode, PlainDelivery, PlainForm, PlainPacket};
use guideway_dataplane::egress::PortId;
use guideway_dataplane::forwarding_rule::RuleProtocol;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::packet::Packet;
use guideway_dataplane::pipeline::{BURST, Decision, Tracking};
use guideway_dataplane::snapshot::{Snapshot, SnapshotBuilder};
use guideway_dataplane::time::Tick;
use guideway_engine::burst_processor::BurstProcessor;
use guideway_engine::publish::Publisher;

use super::{stage, turned};
use crate::pipeline::scenario::{
    Affinity, Family, GUE, PARTS_OF_A_FLOOD, PacketForm, Packets, RuleForm, Scenario, rule,
};
use crate::pipeline::slot::Slot;
use crate::pipeline::traffic::{Sent, Traffic};

/// Bursts that are counted: enough that no single packet's fortune in the conntrack table shows.
const BURSTS: usize = 128;

/// Connections that the table is made for: as many as there are packets.
const FLOWS: usize = BURSTS * BURST;

const BACKENDS: usize = 100;

/// Second in which every case happens. By the real clock, the machine's speed would decide how often the table is
/// swept and entries are refreshed.
const NOW: Tick = Tick(PARTS_OF_A_FLOOD as u32);

/// Second before it, in which established connections began.
const BEFORE: Tick = Tick(NOW.0 - 1);

/// Case whose instructions are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Case {
    /// Parses an IPv4 packet with the general parser
    ParseIpv4,
    /// Parses an IPv6 packet with the general parser
    ParseIpv6,
    /// Parses an IPv4 packet with a VLAN tag with the general parser
    ParseVlan,
    /// Drops a plain, untracked IPv4 packet that no backend may have: parsed, classified and hashed
    PlainIpv4,
    /// Drops a plain, untracked IPv6 packet that no backend may have: parsed, classified and hashed
    PlainIpv6,
    /// Forwards a tracked packet through the whole pipeline, IPv4 in IPv4
    HitIpipIpv4,
    /// Forwards a tracked packet through the whole pipeline, IPv6 in IPv6
    HitIpipIpv6,
    /// Forwards a tracked packet through the whole pipeline, GRE over IPv4
    HitGre,
    /// Forwards a tracked packet through the whole pipeline, GUE over IPv4
    HitGue,
    /// Forwards a tracked packet through the whole pipeline, by MAC address
    HitL2,
    /// Forwards a tracked packet through the whole pipeline, to one of five listed ports
    HitPorts,
    /// Forwards a tracked packet through the whole pipeline, to a port of a range
    HitRange,
    /// Forwards a tracked packet through the whole pipeline, for clients of the region alone
    HitRegion,
    /// Forwards a tracked packet through the whole pipeline, for ranges of clients
    HitSourceRanges,
    /// Forwards a tracked packet through the whole pipeline, to an address of a prefix
    HitPrefix,
    /// Forwards a tracked packet through the whole pipeline, by a route
    HitRoute,
    /// Forwards a tracked packet without DF through the whole pipeline
    HitMayFragment,
    /// Forwards a tracked packet with a VLAN tag through the whole pipeline
    HitVlan,
    /// Forwards a tracked packet with IP options through the whole pipeline
    HitOptions,
    /// Forwards a first fragment through the whole pipeline
    HitFragment,
    /// Forwards an ICMP error about a tracked packet through the whole pipeline
    HitIcmpError,
    /// Forwards a packet from the middle of a connection that the table doesn't have, IPv4 in IPv4
    Miss,
    /// Forwards a SYN, which makes an entry, IPv4 in IPv4
    New,
    /// Forwards a SYN against a table full of live entries, IPv4 in IPv4
    Flood,
    /// Takes a tracked packet through the whole poll loop, IPv4 in IPv4
    PollLoop,
    /// Delivers a packet, and nothing else: IPv4 in IPv4
    DeliverIpipIpv4,
    /// Delivers a packet, and nothing else: IPv6 in IPv6
    DeliverIpipIpv6,
    /// Delivers a packet, and nothing else: GUE over IPv4
    DeliverGue,
    /// Delivers a packet, and nothing else: by MAC address
    DeliverL2,
}

impl Case {
    /// Puts all packets of the case through its stage; returns their number.
    ///
    /// # Panics
    /// If packets were decided otherwise than the case's name says.
    pub(super) fn perform(self) -> usize {
        use Family::{Ipv4, Ipv6};
        let hits = |family, delivery| scenario(Packets::Hit, family, delivery);
        let by_rule = |rule| Scenario { rule, ..hits(Ipv4, DeliveryMode::Ipip) };
        let in_form = |form| Scenario { form, ..hits(Ipv4, DeliveryMode::Ipip) };
        match self {
            Self::ParseIpv4 => parse(&hits(Ipv4, DeliveryMode::L2)),
            Self::ParseIpv6 => parse(&hits(Ipv6, DeliveryMode::L2)),
            Self::ParseVlan => parse(&in_form(PacketForm::Vlan)),
            Self::PlainIpv4 => refuse(&hits(Ipv4, DeliveryMode::L2)),
            Self::PlainIpv6 => refuse(&hits(Ipv6, DeliveryMode::L2)),
            Self::HitIpipIpv4 => hit(&hits(Ipv4, DeliveryMode::Ipip)),
            Self::HitIpipIpv6 => hit(&hits(Ipv6, DeliveryMode::Ipip)),
            Self::HitGre => hit(&hits(Ipv4, DeliveryMode::Gre)),
            Self::HitGue => hit(&hits(Ipv4, GUE)),
            Self::HitL2 => hit(&hits(Ipv4, DeliveryMode::L2)),
            Self::HitPorts => hit(&by_rule(RuleForm::Ports)),
            Self::HitRange => hit(&by_rule(RuleForm::Range)),
            Self::HitRegion => hit(&by_rule(RuleForm::Region)),
            Self::HitSourceRanges => hit(&by_rule(RuleForm::SourceRanges)),
            Self::HitPrefix => hit(&by_rule(RuleForm::Prefix)),
            Self::HitRoute => hit(&by_rule(RuleForm::Route)),
            Self::HitMayFragment => hit(&in_form(PacketForm::MayFragment)),
            Self::HitVlan => hit(&in_form(PacketForm::Vlan)),
            Self::HitOptions => hit(&in_form(PacketForm::Options)),
            Self::HitFragment => hit(&in_form(PacketForm::Fragment)),
            Self::HitIcmpError => hit(&in_form(PacketForm::IcmpError)),
            Self::Miss => insert(false),
            Self::New => insert(true),
            Self::Flood => flood(),
            Self::PollLoop => turned::turn(&hits(Ipv4, DeliveryMode::Ipip), BURSTS),
            Self::DeliverIpipIpv4 => deliver(&hits(Ipv4, DeliveryMode::Ipip)),
            Self::DeliverIpipIpv6 => deliver(&hits(Ipv6, DeliveryMode::Ipip)),
            Self::DeliverGue => deliver(&hits(Ipv4, GUE)),
            Self::DeliverL2 => deliver(&hits(Ipv4, DeliveryMode::L2)),
        }
        FLOWS
    }
}

/// Writes the name that the command line, the baseline and the table have for the case.
impl Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().expect("no case is skipped").get_name())
    }
}

fn scenario(packets: Packets, family: Family, delivery: DeliveryMode) -> Scenario {
    let scenario = Scenario {
        flows: FLOWS,
        frame_len: 60,
        family,
        delivery,
        affinity: Affinity::None,
        per_session: false,
        packets,
        workers: 1,
        backends: BACKENDS,
        rules: 1,
        rule: RuleForm::Port,
        form: PacketForm::Plain,
        networks: 1,
    };
    scenario.sound()
}

/// Form of a flow's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// TCP with ACK, in the form of the scenario.
    OfScenario,
    /// TCP with ACK and nothing special.
    Plain,
    /// TCP with SYN.
    Opening,
    /// UDP.
    Udp,
}

/// Slots of a burst, and the traffic that fills them.
struct Burst {
    slots: Box<[Slot]>,
    traffic: Traffic,
    family: Family,
}

impl Burst {
    fn new(scenario: &Scenario) -> Self {
        Self {
            slots: (0..BURST).map(|_| Slot::empty()).collect(),
            traffic: Traffic::new(scenario),
            family: scenario.family,
        }
    }

    /// Receives a packet of each of these flows.
    fn receive(&mut self, flows: &[u32], form: Form) -> &mut [Slot] {
        let slots = &mut self.slots[..flows.len()];
        for (slot, flow) in slots.iter_mut().zip(flows) {
            let sent = match form {
                Form::OfScenario => Sent::InForm,
                Form::Plain | Form::Udp => Sent::Plain,
                Form::Opening => Sent::Opening,
            };
            self.traffic.receive(slot, *flow, sent);
            if form == Form::Udp {
                make_udp(slot, self.family);
            }
        }
        slots
    }
}

/// Makes a TCP packet of this family UDP, with the same ports and, by its headers, the same length.
fn make_udp(slot: &mut Slot, family: Family) {
    const UDP: u8 = 17;
    let (protocol, l4) = match family {
        Family::Ipv4 => (14 + 9, 14 + 20),
        Family::Ipv6 => (14 + 6, 14 + 40),
    };
    let bytes = slot.bytes_mut();
    let len = (bytes.len() - l4) as u16;
    bytes[protocol] = UDP;
    bytes[l4 + 4..l4 + 6].copy_from_slice(&len.to_be_bytes());
}

/// Processor of a worker's bursts, with its table and its traffic.
struct Bench {
    processor: BurstProcessor,
    burst: Burst,
    // A subscriber's snapshots are freed by their publisher, which outlives it.
    _publisher: Publisher<Snapshot>,
}

impl Bench {
    fn new(scenario: &Scenario, snapshot: Snapshot) -> Self {
        let publisher = Publisher::new(snapshot);
        let table = ConntrackTable::with_capacity(scenario.capacity()).expect("memory for the table");
        let hasher = TrackingHasher::new([11, 12, 13, 14]);
        Self {
            processor: BurstProcessor::new(publisher.feed().subscribe(), Arc::new(table), hasher, 0),
            burst: Burst::new(scenario),
            _publisher: publisher,
        }
    }

    /// Sweeps this second's share of the table: the first poll does so, and no later one.
    fn sweep(&mut self) {
        self.processor.poll::<Slot>(PortId(0), &mut [], &mut [], NOW);
    }

    /// Decides one packet of each flow, not counted; returns the flows that an entry has decided.
    fn establish(&mut self, flows: &[u32], form: Form, now: Tick) -> Vec<u32> {
        let mut hits = Vec::new();
        for flows in flows.chunks(BURST) {
            let mut decisions = [Decision::PENDING; BURST];
            let decisions = &mut decisions[..flows.len()];
            self.processor.poll(PortId(0), self.burst.receive(flows, form), decisions, now);
            let decided = flows.iter().zip(decisions);
            hits.extend(decided.filter(|(_, one)| one.tracking == Tracking::Hit).map(|(flow, _)| *flow));
        }
        hits
    }

    /// Decides a packet of each of [`FLOWS`] flows, counted by callgrind; returns the worker's counters before and
    /// after.
    fn decide(&mut self, flows: &[u32], form: Form) -> (Counters, Counters) {
        assert_eq!(flows.len(), FLOWS);
        let before = self.processor.counters().clone();
        let mut decisions = [Decision::PENDING; BURST];
        for flows in flows.chunks(BURST) {
            let frames = self.burst.receive(flows, form);
            stage::counted_decide(&mut self.processor, frames, &mut decisions, NOW);
        }
        let after = self.processor.counters().clone();
        assert_eq!(after.offered - before.offered, FLOWS as u64);
        (before, after)
    }
}

fn parse(scenario: &Scenario) {
    let mut burst = Burst::new(scenario);
    for flows in (0..FLOWS as u32).collect::<Vec<_>>().chunks(BURST) {
        let frames = burst.receive(flows, Form::OfScenario);
        assert!(frames.iter().all(|frame| Packet::parse(frame.bytes()).is_ok()));
        stage::counted_parse(frames);
    }
}

/// Decides untracked packets for a service without backends: no plain packet takes fewer steps.
fn refuse(scenario: &Scenario) {
    let mut builder = SnapshotBuilder::new();
    let nobody = builder.service(AffinityPolicy::default());
    builder.rule(rule(scenario.family, 0, RuleProtocol::Udp, nobody));
    let snapshot = builder.counted_workers(scenario.workers).build();
    let mut bench = Bench::new(scenario, snapshot);
    let flows: Vec<u32> = (0..FLOWS as u32).collect();
    bench.sweep();
    let (before, after) = bench.decide(&flows, Form::Udp);
    assert_eq!(after.dropped_total() - before.dropped_total(), FLOWS as u64);
    assert_eq!(after.conntrack.untracked - before.conntrack.untracked, FLOWS as u64);
}

fn hit(scenario: &Scenario) {
    let mut bench = Bench::new(scenario, scenario.snapshot(1));
    let flows: Vec<u32> = (0..scenario.established() as u32).collect();
    bench.establish(&flows, Form::Plain, BEFORE);
    // A second later, which confirms them. A few of them found no room in the table.
    let known = bench.establish(&flows, Form::Plain, NOW);
    let mut random = fastrand::Rng::with_seed(1);
    let flows: Vec<u32> = (0..FLOWS).map(|_| known[random.usize(..known.len())]).collect();
    let (before, after) = bench.decide(&flows, Form::OfScenario);
    assert_eq!(after.conntrack.hits - before.conntrack.hits, FLOWS as u64);
    assert_eq!(after.forwarded - before.forwarded, FLOWS as u64);
}

fn insert(opening: bool) {
    let scenario = scenario(Packets::New, Family::Ipv4, DeliveryMode::Ipip);
    let mut bench = Bench::new(&scenario, scenario.snapshot(1));
    bench.sweep();
    let flows: Vec<u32> = (0..FLOWS as u32).collect();
    let form = if opening { Form::Opening } else { Form::Plain };
    let (before, after) = bench.decide(&flows, form);
    let inserts = after.conntrack.inserts - before.conntrack.inserts;
    assert!(inserts * 100 > FLOWS as u64 * 98, "only {inserts} of {FLOWS} found room");
    assert_eq!(after.forwarded - before.forwarded, FLOWS as u64);
}

fn flood() {
    let scenario = scenario(Packets::Flood, Family::Ipv4, DeliveryMode::Ipip);
    let mut bench = Bench::new(&scenario, scenario.snapshot(1));
    let established = scenario.established() as u32;
    let flows: Vec<u32> = (0..established).collect();
    for (number, part) in scenario.parts(&flows).enumerate() {
        let (second, later) = (Tick(number as u32), Tick(number as u32 + 1));
        bench.establish(part, Form::Plain, second);
        bench.establish(part, Form::Plain, later);
    }
    let flows: Vec<u32> = (established..established + FLOWS as u32).collect();
    let (before, after) = bench.decide(&flows, Form::Opening);
    let full = after.conntrack.full - before.conntrack.full;
    assert!(full * 100 > FLOWS as u64 * 98, "only {full} of {FLOWS} found no room");
    assert_eq!(after.forwarded - before.forwarded, FLOWS as u64);
}

fn deliver(scenario: &Scenario) {
    let snapshot = scenario.snapshot(1);
    let delivery = |flow: u32| {
        let backend = snapshot.backend(BackendHandle(flow % BACKENDS as u32));
        PlainDelivery::of(&backend.expect("the scenario has so many").delivery)
    };
    let mut burst = Burst::new(scenario);
    for flows in (0..FLOWS as u32).collect::<Vec<_>>().chunks(BURST) {
        let frames = burst.receive(flows, Form::OfScenario);
        let parse = |frame: &Slot| Packet::parse(frame.bytes()).expect("it is well-formed");
        let plain = |frame: &Slot| {
            let packet = parse(frame);
            PlainPacket { l3_len: packet.l3_len as u16, form: PlainForm::new(packet.is_ipv4, false) }
        };
        let packets: Vec<PlainPacket> = frames.iter().map(plain).collect();
        let deliveries: Vec<PlainDelivery> = flows.iter().map(|flow| delivery(*flow)).collect();
        stage::counted_deliver(frames, &packets, &deliveries);
        for (frame, delivery) in frames.iter().zip(deliveries) {
            let ttl = parse(frame).ttl;
            assert_eq!(ttl, if scenario.delivery == DeliveryMode::L2 { 63 } else { 64 }, "{delivery:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_does_what_its_name_says() {
        for case in Case::value_variants() {
            assert_eq!(case.perform(), FLOWS, "{case}");
        }
    }

    #[test]
    fn a_flow_is_the_same_in_every_form() {
        let plain = scenario(Packets::Hit, Family::Ipv4, DeliveryMode::L2);
        for form in PacketForm::value_variants() {
            let mut burst = Burst::new(&Scenario { form: *form, ..plain });
            let mut packet = |form| Packet::parse(burst.receive(&[7], form)[0].bytes()).expect("well-formed");
            let (plain, in_form) = (packet(Form::Plain), packet(Form::OfScenario));
            assert_eq!(plain.l3_offset + if *form == PacketForm::Vlan { 4 } else { 0 }, in_form.l3_offset);
            let is_error = *form == PacketForm::IcmpError;
            assert_eq!(in_form.icmp_error, is_error);
            assert!(
                is_error
                    || (plain.flow.src, plain.flow.src_port) == (in_form.flow.src, in_form.flow.src_port)
            );
        }
    }
}
