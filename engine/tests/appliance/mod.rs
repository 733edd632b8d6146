//! A small appliance for tests: forwarding state made by hand, frames for every end that a packet can come to, and
//! the decisions of a worker in heap memory.
//!
//! The target `worker` and each `dpdk_*` that polls compile this module. Those of DPDK are targets of their own, because
//! EAL starts once in a process.

use std::sync::Arc;

use guideway_dataplane::address::Address;
use guideway_dataplane::affinity::{
    AffinityPolicy, LoadBalancingScheme, PersistenceOnUnhealthy, SessionAffinity, TrackingHasher,
    TrackingMode,
};
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::delivery::{Delivery, DeliveryMode, Tunnel};
use guideway_dataplane::egress::{Egress, PortId};
use guideway_dataplane::forwarding_rule::{ForwardingRule, RulePorts, RuleProtocol};
use guideway_dataplane::frame::Frame;
use guideway_dataplane::pipeline::{BURST, Decision};
use guideway_dataplane::snapshot::{Snapshot, SnapshotBuilder};
use guideway_dataplane::time::Tick;
use guideway_dataplane::verdict::Verdict;
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::burst_processor::BurstProcessor;
use guideway_engine::mbuf::Mbuf;
use guideway_engine::publish::Publisher;
use pcap_fixtures::packet::Packet;

/// TCP to 203.0.113.10:80 is rewritten at layer 2, UDP to 203.0.113.20 travels in GUE, in fragments where it must; three
/// backends each, behind `port`.
pub(crate) fn snapshot(port: PortId) -> Snapshot {
    snapshot_of(port, port)
}

/// An appliance as `start` makes it, with the backends for TCP behind one port, and those for UDP behind the other.
pub(crate) fn snapshot_of(tcp_port: PortId, udp_port: PortId) -> Snapshot {
    let mut builder = SnapshotBuilder::new();
    let own = Address::v4([198, 51, 100, 1]);
    let policy = AffinityPolicy::new(
        LoadBalancingScheme::Internal,
        SessionAffinity::None,
        TrackingMode::PerConnection,
        PersistenceOnUnhealthy::DefaultForProtocol,
    );
    let egress = |port, last| Egress { port, ..Egress::to(MacAddress([0x02, 0, 0, 0, 1, last])) };
    let (web, dns) = (builder.service(policy), builder.service(policy));
    for (last, name) in (0..).zip(["a", "b", "c"]) {
        builder.backend(web, name, 1, Delivery::l2(egress(tcp_port, last), 1500));
    }
    for (last, name) in (3..).zip(["a", "b", "c"]) {
        let endpoint = Address::v4([198, 51, 100, 10 + last]);
        let tunnel = Tunnel { endpoint, source: own, source_range: None };
        let mode = DeliveryMode::Gue { dst_port: 6080 };
        let delivery = Delivery::tunnel(mode, &tunnel, egress(udp_port, last), 1500).fragmenting(true);
        builder.backend(dns, name, 1, delivery);
    }
    let vip = |last| Address::v4([203, 0, 113, last]);
    builder.rule(ForwardingRule::new(vip(10), RuleProtocol::Tcp, RulePorts::List(vec![80]), web));
    builder.rule(ForwardingRule::new(vip(20), RuleProtocol::Udp, RulePorts::All, dns));
    builder.own(own).icmp_errors_per_sec(1000).build()
}

/// A worker with a table of its own.
pub(crate) fn worker(publisher: &Publisher<Snapshot>) -> BurstProcessor {
    let table = ConntrackTable::with_capacity(10_000).expect("240 kB");
    BurstProcessor::new(publisher.feed().subscribe(), Arc::new(table), TrackingHasher::new([1, 2, 3, 4]), 0)
}

/// Frames that are forwarded both ways, answered, passed and dropped.
pub(crate) fn frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for flow in 0..40_u16 {
        let src = format!("192.0.2.{}", flow % 7 + 1);
        let to_web = || Packet::between(&src, "203.0.113.10");
        frames.push(to_web().tcp(40_000 + flow, 80, 0x02).build());
        frames.push(to_web().tcp(40_000 + flow, 80, 0x10).payload_len(usize::from(flow) * 30).build());
        frames.push(Packet::between(&src, "203.0.113.20").udp(50_000 + flow, 53).payload_len(99).build());
        match flow % 4 {
            0 => frames.push(
                Packet::between(&src, "203.0.113.20").udp(1, 53).dont_fragment().payload_len(1450).build(),
            ),
            1 => frames.push(Packet::between(&src, "203.0.113.99").tcp(1, 80, 0x02).build()),
            2 => frames.push(to_web().ttl(1).tcp(1, 80, 0x02).build()),
            _ => frames.push(vec![0xff; 13]),
        }
    }
    frames
}

/// Ends that frames have come to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    /// Frames that leave by a port, forwarded or answered, in the order of decision.
    pub(crate) sent: Vec<Vec<u8>>,
    /// Frames that go to the control thread.
    pub(crate) passed: Vec<Vec<u8>>,
    /// Number of frames that are dropped.
    pub(crate) dropped: usize,
}

/// Decides `frames` in heap memory, in bursts of 32, as a worker does.
pub(crate) fn expected(frames: &[Vec<u8>]) -> Outcome {
    expected_in_bursts(frames, BURST)
}

/// Decides `frames` in heap memory, in bursts of `len`, as a worker does.
pub(crate) fn expected_in_bursts(frames: &[Vec<u8>], len: usize) -> Outcome {
    let publisher = Publisher::new(snapshot(PortId(0)));
    let mut worker = worker(&publisher);
    let mut outcome = Outcome::default();
    for share in frames.chunks(len) {
        let mut burst = vec![Mbuf::new(); share.len()];
        for (mbuf, bytes) in burst.iter_mut().zip(share) {
            mbuf.fill(bytes);
        }
        let mut decisions = vec![Decision::PENDING; share.len()];
        worker.poll(PortId(0), &mut burst, &mut decisions, Tick(0));
        // Of one burst, the loop sends what is forwarded before what is answered.
        let mut answers = Vec::new();
        for (mbuf, decision) in burst.iter().zip(&decisions) {
            let bytes = mbuf.bytes().to_vec();
            match decision.verdict {
                Verdict::Forward => outcome.sent.push(bytes),
                Verdict::Pass(_) => outcome.passed.push(bytes),
                Verdict::Drop(_) if decision.answered => answers.push(bytes),
                Verdict::Drop(_) => outcome.dropped += 1,
            }
        }
        outcome.sent.append(&mut answers);
    }
    assert!(!outcome.passed.is_empty() && outcome.dropped > 0);
    outcome
}
