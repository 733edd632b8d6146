//! Settings of one line of the table, and the snapshot of an appliance that is configured so.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use guideway_dataplane::address::{Address, Prefix};
use guideway_dataplane::affinity::{
    AffinityPolicy, LoadBalancingScheme, PersistenceOnUnhealthy, SessionAffinity, TrackingMode,
};
use guideway_dataplane::delivery::{Delivery, DeliveryMode, Tunnel};
use guideway_dataplane::egress::{Egress, PortId};
use guideway_dataplane::forwarding_rule::{
    ForwardingRule, Route, RuleId, RulePorts, RuleProtocol, ServiceId,
};
use guideway_dataplane::snapshot::{Snapshot, SnapshotBuilder};
use guideway_dataplane::wire::ethernet::MacAddress;
use serde::{Serialize, Serializer};

/// The VIP of rule `n` among its family's: 203.0.113.0 and up, 2001:db8::1:0 and up.
pub(super) fn vip(family: Family, n: usize) -> Address {
    match family {
        Family::Ipv4 => Address::v4((0xcb00_7100 + n as u32).to_be_bytes()),
        Family::Ipv6 => Address((0x2001_0db8 << 96) | (0x1_0000 + n as u128)),
    }
}

/// The VLAN of a network among several.
pub(super) fn vlan(network: usize) -> u16 {
    100 + network as u16
}

/// The port that every rule listens on.
pub(super) const PORT: u16 = 443;

/// Number of parts in which the connections of a flood are established.
pub(super) const PARTS_OF_A_FLOOD: usize = 56;

/// Forms of the forwarding rules, all of which take every packet of the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RuleForm {
    /// One listed port
    Port,
    /// Five listed ports, of which the traffic's is the last
    Ports,
    /// A range of a thousand ports
    Range,
    /// All ports
    AllPorts,
    /// One listed port, for clients of the region alone, and a region of 16 prefixes
    Region,
    /// One listed port, for 16 ranges of clients by turns with another rule's, before a rule for all of them
    SourceRanges,
    /// One listed port of a VIP that is a prefix of 16 addresses; over IPv6 of 256
    SmallPrefix,
    /// One listed port of a VIP that is a prefix of 4,096 addresses; over IPv6 of 2^32
    Prefix,
    /// A route, whose next hop the rule is
    Route,
}

impl RuleForm {
    /// Rules of this form at the VIP with this number.
    fn rules(self, family: Family, n: usize, service: ServiceId) -> Vec<ForwardingRule> {
        let plain = rule(family, n, RuleProtocol::Tcp, service);
        let with = |ports| ForwardingRule { ports, ..plain.clone() };
        match self {
            Self::Port => vec![plain],
            Self::Ports => vec![with(RulePorts::List(vec![80, 81, 82, 83, PORT]))],
            Self::Range => vec![with(RulePorts::Range(1, 1_000))],
            Self::AllPorts => vec![with(RulePorts::All)],
            Self::Region => vec![ForwardingRule { region_only: true, ..plain }],
            Self::SourceRanges => {
                let parts = |odd| clients(family).into_iter().skip(odd).step_by(2).collect();
                let of_parts = |odd| ForwardingRule { source_ranges: parts(odd), ..plain.clone() };
                vec![of_parts(0), of_parts(1), plain.clone()]
            }
            Self::SmallPrefix => {
                let vip = Prefix::new(vip(family, n), if family == Family::Ipv4 { 28 } else { 120 });
                vec![ForwardingRule { vip, ..plain }]
            }
            Self::Prefix => {
                let vip = Prefix::new(vip(family, n), if family == Family::Ipv4 { 20 } else { 96 });
                vec![ForwardingRule { vip, ..plain }]
            }
            // The route leads to the VIPs of the other forms.
            Self::Route => vec![ForwardingRule { vip: vip(family, n + 0x8000).into(), ..plain }],
        }
    }
}

/// Prefixes that together hold all clients, in 16 parts.
fn clients(family: Family) -> [Prefix; 16] {
    std::array::from_fn(|n| client_prefix(family, 32 + 4 * n as u8, 6))
}

/// Region of 16 prefixes, of which every fourth holds clients of the traffic.
fn region(family: Family) -> impl Iterator<Item = Prefix> {
    let clients = [32, 48, 64, 80].map(|first| client_prefix(family, first, 4));
    let others = (0..12).map(move |n| client_prefix(family, 100 + 2 * n, 8));
    clients.into_iter().chain(others)
}

/// Prefix of so many bits of the part of an address that tells clients apart.
fn client_prefix(family: Family, first: u8, bits: u8) -> Prefix {
    match family {
        Family::Ipv4 => Prefix::new(Address::v4([first, 0, 0, 0]), bits),
        Family::Ipv6 => Prefix::new(Address(0x2001_0db8 << 96 | u128::from(first) << 24), 96 + bits),
    }
}

/// Rule `n` of a family.
pub(super) fn rule(family: Family, n: usize, protocol: RuleProtocol, service: ServiceId) -> ForwardingRule {
    ForwardingRule::new(vip(family, n), protocol, RulePorts::List(vec![PORT]), service)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Family {
    Ipv4,
    Ipv6,
}

/// Delivery by GUE, to the port that backends decapsulate on by default.
pub(super) const GUE: DeliveryMode = DeliveryMode::Gue { dst_port: 6080 };

/// Parses the name of a delivery mode.
pub(super) fn delivery_modes() -> impl TypedValueParser<Value = DeliveryMode> {
    let modes = [DeliveryMode::L2, DeliveryMode::Ipip, DeliveryMode::Gre, GUE];
    let named = move |name: String| modes.into_iter().find(|mode| mode.as_str() == name);
    PossibleValuesParser::new(modes.map(DeliveryMode::as_str))
        .map(move |name| named(name).expect("the name is one of these"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Affinity {
    None,
    ClientIpPortProto,
    ClientIpProto,
    ClientIp,
    ClientIpNoDestination,
}

/// Forms of the packets of established connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PacketForm {
    /// Acknowledgements without anything special; over IPv4 with DF
    Plain,
    /// Acknowledgements without DF, as routers may fragment them; IPv4 alone
    MayFragment,
    /// Acknowledgements with a VLAN tag
    Vlan,
    /// Acknowledgements with IP options, or with an extension header over IPv6
    Options,
    /// First fragments; IPv4 alone
    Fragment,
    /// ICMP errors about packets of the VIP; IPv4 alone
    IcmpError,
}

/// Work that the packets give the conntrack table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Packets {
    /// Each belongs to a connection that the table has.
    Hit,
    /// Each is the first of its connection, and the table has room.
    New,
    /// Each is a SYN of a new connection, and the table is full of live ones.
    Flood,
}

/// One line of the table: what is measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Scenario {
    pub(super) flows: usize,
    pub(super) frame_len: usize,
    pub(super) family: Family,
    #[serde(serialize_with = "by_name")]
    pub(super) delivery: DeliveryMode,
    pub(super) affinity: Affinity,
    /// Sessions are tracked by the selection hash (`PER_SESSION`), and so shared by the workers.
    pub(super) per_session: bool,
    pub(super) packets: Packets,
    pub(super) workers: usize,
    pub(super) backends: usize,
    pub(super) rules: usize,
    pub(super) rule: RuleForm,
    pub(super) form: PacketForm,
    /// Networks that the flows are spread over; of several, each is a VLAN with rules and backends of its own.
    pub(super) networks: usize,
}

impl Scenario {
    /// The same, where a frame is as long as its headers at least.
    pub(super) fn sound(self) -> Self {
        let least = if self.family == Family::Ipv6 { 74 } else { 60 };
        Self { frame_len: self.frame_len.max(least), ..self }
    }

    /// The connections that the table is made for: half its slots are taken, as in most benchmarks of hash tables; in
    /// a flood, all of them.
    pub(super) fn capacity(&self) -> usize {
        match self.packets {
            Packets::Hit | Packets::New => (self.flows * 4).div_ceil(3),
            Packets::Flood => self.flows,
        }
    }

    /// Number of connections established beforehand: where the table is to be full, more than it has slots for.
    pub(super) fn established(&self) -> usize {
        match self.packets {
            Packets::Hit => self.flows,
            Packets::New => 0,
            Packets::Flood => self.flows * 3,
        }
    }

    /// Parts of the flows in which connections are established, two packets of each a second apart: the later one confirms an
    /// entry, which until then gives way to others. Few at a time, where there are more of them than slots: so hardly
    /// two contend for one. A minute is enough for all, as connections end that are idle for longer.
    pub(super) fn parts<'f>(&self, flows: &'f [u32]) -> std::slice::Chunks<'f, u32> {
        let parts = if self.packets == Packets::Flood { PARTS_OF_A_FLOOD } else { 1 };
        flows.chunks(flows.len().div_ceil(parts).max(1))
    }

    /// The forwarding state of an appliance that is configured so.
    pub(super) fn snapshot(&self, generation: u64) -> Snapshot {
        let mut builder = SnapshotBuilder::new();
        let mut first_rule = RuleId(0);
        for network in 0..self.networks {
            if self.networks > 1 {
                builder.network(PortId(0), Some(vlan(network)));
            }
            first_rule = self.add_network(&mut builder, network, first_rule);
        }
        builder.generation(generation).counted_workers(self.workers).build()
    }

    /// Adds what is in a network, whose first rule has this number; returns that of the next one's.
    fn add_network(&self, builder: &mut SnapshotBuilder, network: usize, first_rule: RuleId) -> RuleId {
        let mode = if self.per_session { TrackingMode::PerSession } else { TrackingMode::PerConnection };
        let service = builder.service(AffinityPolicy::new(
            LoadBalancingScheme::External,
            self.affinity.into(),
            mode,
            PersistenceOnUnhealthy::DefaultForProtocol,
        ));
        // As many as in one network, so that nothing but the networks differs.
        for n in (network..self.backends).step_by(self.networks) {
            builder.backend(service, &format!("backend-{n}"), 1, self.delivery(n));
        }
        let mut next = first_rule;
        for rule in (0..self.rules).flat_map(|n| self.rule.rules(self.family, n, service)) {
            next = RuleId(builder.rule(rule).0 + 1);
        }
        if self.rule == RuleForm::Region {
            for prefix in region(self.family) {
                builder.region(prefix);
            }
        }
        if self.rule == RuleForm::Route {
            let dest_range =
                Prefix::new(vip(self.family, 0), if self.family == Family::Ipv4 { 24 } else { 112 });
            builder.route(Route { dest_range, next_hop: first_rule });
        }
        for family in [Family::Ipv4, Family::Ipv6] {
            builder.own(source(family));
        }
        next
    }

    fn delivery(&self, n: usize) -> Delivery {
        let egress = Egress {
            source: Some(MacAddress([2, 0, 0, 0, 0, 1])),
            ..Egress::to(MacAddress([2, 1, 0, 0, (n >> 8) as u8, n as u8]))
        };
        if self.delivery == DeliveryMode::L2 {
            return Delivery::l2(egress, 1500);
        }
        let endpoint = match self.family {
            Family::Ipv4 => Address::v4((0x0a64_0000 + n as u32).to_be_bytes()),
            Family::Ipv6 => Address((0x2001_0db8 << 96) | (0x64_0000 + n as u128)),
        };
        let tunnel = Tunnel { endpoint, source: source(self.family), source_range: None };
        Delivery::tunnel(self.delivery, &tunnel, egress, 1600)
    }
}

fn by_name<S: Serializer>(mode: &DeliveryMode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(mode.as_str())
}

/// The appliance's own address.
fn source(family: Family) -> Address {
    match family {
        Family::Ipv4 => Address::v4([10, 99, 0, 1]),
        Family::Ipv6 => Address((0x2001_0db8 << 96) | 0x63_0001),
    }
}

impl From<Affinity> for SessionAffinity {
    fn from(affinity: Affinity) -> Self {
        match affinity {
            Affinity::None => Self::None,
            Affinity::ClientIpPortProto => Self::ClientIpPortProto,
            Affinity::ClientIpProto => Self::ClientIpProto,
            Affinity::ClientIp => Self::ClientIp,
            Affinity::ClientIpNoDestination => Self::ClientIpNoDestination,
        }
    }
}
