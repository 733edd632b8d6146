//! A hand-made appliance: VIPs of both families, each before a service with one backend in one delivery mode.

use guideway_dataplane::address::{Address, Prefix};
use guideway_dataplane::affinity::{
    AffinityPolicy, LoadBalancingScheme, PersistenceOnUnhealthy, SessionAffinity, TrackingHasher,
    TrackingMode,
};
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::delivery::{Delivery, DeliveryMode, Tunnel};
use guideway_dataplane::egress::{Egress, PortId};
use guideway_dataplane::forwarding_rule::{ForwardingRule, RulePorts, RuleProtocol};
use guideway_dataplane::frame::Frame;
use guideway_dataplane::pipeline::{Decision, Look, Pipeline};
use guideway_dataplane::snapshot::{Snapshot, SnapshotBuilder};
use guideway_dataplane::time::Tick;
use guideway_dataplane::wire::ethernet::MacAddress;

/// The appliance's own IPv4 address.
pub(crate) const OWN_V4: &str = "192.0.2.1";
/// The appliance's own IPv6 address.
pub(crate) const OWN_V6: &str = "2001:db8:1::1";
/// Every backend's IPv4 address.
pub(crate) const BACKEND_V4: &str = "10.1.0.7";
/// Every backend's IPv6 address.
pub(crate) const BACKEND_V6: &str = "fd00::7";
/// Link-layer address that frames to every backend go to.
pub(crate) const NEXT_HOP: [u8; 6] = [0x02, 0, 0, 0, 0, 0x77];
const EGRESS: Egress = Egress::to(MacAddress(NEXT_HOP));
/// The path MTU to every backend.
pub(crate) const MTU: u16 = 1500;
/// Number of ICMP errors that a worker may send in a second.
pub(crate) const ICMP_ERRORS_PER_SEC: u32 = 3;

/// Backend, or none, behind the VIP with this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// A backend on the same segment.
    L2 = 1,
    Ipip4 = 2,
    Gre4 = 3,
    Gue4 = 4,
    Ipip6 = 5,
    Gre6 = 6,
    Gue6 = 7,
    /// Nobody who is eligible.
    Nobody = 8,
    /// A backend for clients of the region alone.
    RegionOnly = 9,
    /// A backend in `gue` over IPv4, with sources that tell flows apart.
    Spread = 10,
}

impl Behind {
    pub(crate) const ALL: [Self; 10] = [
        Self::L2,
        Self::Ipip4,
        Self::Gre4,
        Self::Gue4,
        Self::Ipip6,
        Self::Gre6,
        Self::Gue6,
        Self::Nobody,
        Self::RegionOnly,
        Self::Spread,
    ];

    /// The VIP.
    pub(crate) fn vip(self, is_ipv4: bool) -> String {
        if is_ipv4 { format!("203.0.113.{}", self as u8) } else { format!("2001:db8::{:x}", self as u8) }
    }

    fn delivery(self, mtu: u16) -> Delivery {
        let (mode, endpoint, source) = match self {
            Self::L2 | Self::Nobody | Self::RegionOnly => {
                return Delivery::l2(EGRESS, mtu);
            }
            Self::Ipip4 => (DeliveryMode::Ipip, BACKEND_V4, OWN_V4),
            Self::Gre4 => (DeliveryMode::Gre, BACKEND_V4, OWN_V4),
            Self::Gue4 | Self::Spread => (DeliveryMode::Gue { dst_port: 6080 }, BACKEND_V4, OWN_V4),
            Self::Ipip6 => (DeliveryMode::Ipip, BACKEND_V6, OWN_V6),
            Self::Gre6 => (DeliveryMode::Gre, BACKEND_V6, OWN_V6),
            Self::Gue6 => (DeliveryMode::Gue { dst_port: 6080 }, BACKEND_V6, OWN_V6),
        };
        let source_range = (self == Self::Spread).then(|| Prefix::new(address("10.64.0.0"), 16));
        let tunnel = Tunnel { endpoint: address(endpoint), source: address(source), source_range };
        Delivery::tunnel(mode, &tunnel, EGRESS, mtu)
    }
}

/// A worker of the appliance, and all that it needs.
pub(crate) struct Appliance {
    pub(crate) pipeline: Pipeline,
    snapshot: Snapshot,
    table: ConntrackTable,
}

impl Appliance {
    pub(crate) fn new() -> Self {
        Self::with(|delivery| delivery)
    }

    /// An appliance whose deliveries are made by `change` of the usual ones.
    pub(crate) fn with(change: impl Fn(Delivery) -> Delivery) -> Self {
        Self {
            pipeline: Pipeline::new(TrackingHasher::new([1, 2, 3, 4]), 0),
            snapshot: snapshot(MTU, change),
            table: ConntrackTable::with_capacity(4096).expect("memory for a small table"),
        }
    }

    /// An appliance whose paths take packets of `mtu` bytes.
    pub(crate) fn with_mtu(mtu: u16) -> Self {
        Self { snapshot: snapshot(mtu, |delivery| delivery), ..Self::new() }
    }

    /// Decides a burst at `now`. Of a single packet, a look at it before must have come to what is decided.
    pub(crate) fn process<F: Frame>(&mut self, frames: &mut [F], decisions: &mut [Decision], now: u32) {
        let Self { pipeline, snapshot, table } = self;
        let look = match frames {
            [frame] => Some(pipeline.look(PortId(0), frame.bytes(), Tick(now), snapshot, table)),
            _ => None,
        };
        pipeline.process(PortId(0), frames, decisions, Tick(now), snapshot, table);
        if let Some(look) = look {
            assert_foreseen(&look, &decisions[0]);
        }
    }
}

/// Fails where a look came to another end, rule, backend or way to it than the decision did.
pub(crate) fn assert_foreseen(look: &Look, decision: &Decision) {
    let rule = look.rule.map(|found| (found.rule, found.service));
    assert_eq!(rule, decision.rule, "{look:?}");
    match look.outcome() {
        Some((backend, tracking)) => {
            assert_eq!(
                (look.end, backend, tracking),
                (None, decision.backend, decision.tracking),
                "{look:?}"
            );
        }
        None => assert_eq!((look.end, None), (Some(decision.verdict), decision.backend), "{look:?}"),
    }
}

fn snapshot(mtu: u16, change: impl Fn(Delivery) -> Delivery) -> Snapshot {
    let mut builder = SnapshotBuilder::new();
    for behind in Behind::ALL {
        let service = builder.service(AffinityPolicy::new(
            LoadBalancingScheme::External,
            SessionAffinity::ClientIpPortProto,
            TrackingMode::PerConnection,
            PersistenceOnUnhealthy::DefaultForProtocol,
        ));
        builder.backend(
            service,
            "backend",
            u16::from(behind != Behind::Nobody),
            change(behind.delivery(mtu)),
        );
        for is_ipv4 in [true, false] {
            let vip = address(&behind.vip(is_ipv4));
            builder.rule(ForwardingRule {
                region_only: behind == Behind::RegionOnly,
                ..ForwardingRule::new(vip, RuleProtocol::L3Default, RulePorts::All, service)
            });
        }
    }
    builder
        .region(Prefix::new(address("192.0.2.0"), 24))
        .own(address(OWN_V4))
        .own(address(OWN_V6))
        .icmp_errors_per_sec(ICMP_ERRORS_PER_SEC)
        .build()
}

fn address(text: &str) -> Address {
    text.parse::<std::net::IpAddr>().expect("an address").into()
}

/// A frame in memory, with as much headroom as a test gives it.
pub(crate) struct Memory {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Memory {
    /// `frame` behind `headroom` bytes.
    pub(crate) fn new(frame: &[u8], headroom: usize) -> Self {
        let bytes = [&vec![0xee; headroom], frame].concat();
        Self { start: headroom, end: bytes.len(), bytes }
    }
}

impl Frame for Memory {
    fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }

    fn prepend(&mut self, count: usize) -> bool {
        let Some(start) = self.start.checked_sub(count) else { return false };
        self.start = start;
        true
    }

    fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }
}
