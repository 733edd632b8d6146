//! Forwarding rules and routes: from a packet's destination to the rule, and so the backend service, that it
//! belongs to.
//!
//! Rules are sorted once, when a configuration is taken in, into the order in which the specification prefers them. A packet
//! then costs a hash of its destination and a binary search over its port; a plain one less, as all that the lists can
//! say of those is spelled out (`forwarding_rule/rule_table.rs`). Per VIP:
//!
//! ```text
//! own protocol, listed ports │ own protocol, all ports │ L3_DEFAULT
//!   each a sorted list of disjoint port segments,
//!     each a list of (source range, rule): longest range first, the rule without one last
//! ```
//!
//! A VIP may be a prefix. Among the rules that take a packet, those of the longest prefix come first, an address being
//! the longest; so prefixes are looked into, longest first, only for packets that no rule of the very address takes.

mod address_map;
mod own_addresses;
mod prefix_map;
mod rule_table;
mod targets;
mod vip;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::access_list::AccessListId;
use crate::address::{Address, Prefix};
use crate::affinity::{AffinityPolicy, ServiceKey};
use crate::flow::Flow;
use address_map::AddressMap;
use own_addresses::OwnAddresses;
use prefix_map::PrefixMap;
use vip::Vip;

use rule_table::Budget;
pub(crate) use rule_table::{Answer, Came, PlainRule, RuleTable};
pub use targets::Targets;

/// Index of a forwarding rule in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u16);

/// Index of a backend service in the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u16);

/// Protocol that a rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleProtocol {
    /// TCP alone.
    Tcp,
    /// UDP alone.
    Udp,
    /// Every IP protocol that no other rule of the address takes.
    L3Default,
}

/// Ports that a rule names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RulePorts {
    /// Single ports.
    List(Vec<u16>),
    /// Ports from the first to the last, both included.
    Range(u16, u16),
    /// All ports, and packets without any.
    All,
}

/// Virtual IP address or prefix with a protocol and ports, in front of one backend service.
#[derive(Clone, Debug)]
pub struct ForwardingRule {
    /// Virtual IP addresses: one, or all of a prefix.
    pub vip: Prefix,
    /// Protocol of the packets.
    pub protocol: RuleProtocol,
    /// Destination ports of the packets.
    pub ports: RulePorts,
    /// Clients that the rule takes; empty if it takes all (`source_ip_ranges`).
    pub source_ranges: Vec<Prefix>,
    /// True if the rule takes clients of the region alone: INTERNAL without `allow_global_access`.
    pub region_only: bool,
    /// Access list of the sources that the rule admits; none where it admits all.
    pub access_list: Option<AccessListId>,
    /// Service behind the rule.
    pub service: ServiceId,
}

impl ForwardingRule {
    /// Rule that takes every client.
    pub fn new(vip: impl Into<Prefix>, protocol: RuleProtocol, ports: RulePorts, service: ServiceId) -> Self {
        let vip = vip.into();
        Self {
            vip,
            protocol,
            ports,
            source_ranges: Vec::new(),
            region_only: false,
            access_list: None,
            service,
        }
    }
}

/// Destinations that are no VIPs but reach a service as their next hop.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Destinations of the packets.
    pub dest_range: Prefix,
    /// INTERNAL forwarding rule that is their next hop.
    pub next_hop: RuleId,
}

/// Answer of the rules for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleMatch {
    /// Rule that the packet belongs to, and the service behind it.
    Rule(RuleId, ServiceId),
    /// Rule that is the next hop of the packet's route, and the service behind it.
    Route(RuleId, ServiceId),
    /// Only rules for clients of the region, and the client is outside of it.
    OutsideRegion,
    /// No rule.
    None,
}

/// Name of a rule and of its service as a number, the same in every snapshot: [`RuleId`]s change with a reload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleIdentity(pub u64);

/// Forwarding rules and routes of one network, ready for lookup.
#[derive(Debug, Default)]
pub struct ForwardingRules {
    /// VIPs that are one address.
    vips: AddressMap<Vip>,
    /// VIPs that are prefixes; empty in nearly all configurations.
    vip_prefixes: PrefixMap<Vip>,
    routes: PrefixMap<RuleId>,
    targets: Arc<Targets>,
    region: Box<[Prefix]>,
    /// Own addresses of the appliance, which no route leads away from, and from which no packet is forwarded.
    own: OwnAddresses,
    /// Answers for packets with ports; none until they are spelled out.
    table: RuleTable,
}

impl ForwardingRules {
    /// Sorts `rules`, whose indices are their ids, and `routes`; `region` holds the clients of the appliance's own
    /// region, and nothing where all clients count as such.
    pub fn new(rules: &[ForwardingRule], routes: &[Route], region: &[Prefix]) -> Self {
        let ids = (0..).map(RuleId);
        Self::of_network(&Arc::new(Targets::new(rules)), ids.zip(rules), routes, region)
    }

    /// Sorts the `rules` of one network among several, with their ids, as [`Self::new`] does; `targets` are those of all
    /// networks.
    pub fn of_network<'r>(
        targets: &Arc<Targets>,
        rules: impl IntoIterator<Item = (RuleId, &'r ForwardingRule)>,
        routes: &[Route],
        region: &[Prefix],
    ) -> Self {
        let mut by_vip: BTreeMap<Prefix, Vec<(RuleId, &ForwardingRule)>> = BTreeMap::new();
        for (id, rule) in rules {
            by_vip.entry(rule.vip).or_default().push((id, rule));
        }
        let (mut vips, mut vip_prefixes) = (BTreeMap::new(), BTreeMap::new());
        for (prefix, rules) in by_vip {
            if prefix.is_one_address() {
                vips.insert(prefix.network(), Vip::new(&rules));
            } else {
                vip_prefixes.insert(prefix, Vip::new(&rules));
            }
        }
        let routes: BTreeMap<Prefix, RuleId> =
            routes.iter().map(|route| (route.dest_range, route.next_hop)).collect();
        Self {
            vips: vips.into(),
            vip_prefixes: vip_prefixes.into(),
            routes: routes.into(),
            targets: Arc::clone(targets),
            region: region.into(),
            own: OwnAddresses::default(),
            table: RuleTable::default(),
        }
    }

    /// Spells out for plain packets what the rules say; the last step, once all else is known. `services` are by
    /// [`ServiceId`].
    #[must_use]
    pub fn spelled_out(mut self, services: &[(ServiceKey, AffinityPolicy)]) -> Self {
        (self.table, _) = RuleTable::new(&self, services, Budget::WHOLE);
        self
    }

    /// Spells out the rules of several networks as [`Self::spelled_out`] does those of one, in no more time and memory in
    /// all.
    pub fn spell_out_all(
        networks: impl IntoIterator<Item = Self>,
        services: &[(ServiceKey, AffinityPolicy)],
    ) -> Vec<Self> {
        Self::spell_out_within(Budget::WHOLE, networks, services).0
    }

    /// Spells out the rules of networks within a budget; returns what is left of it.
    fn spell_out_within(
        mut left: Budget,
        networks: impl IntoIterator<Item = Self>,
        services: &[(ServiceKey, AffinityPolicy)],
    ) -> (Vec<Self>, Budget) {
        let mut networks: Vec<Self> = networks.into_iter().collect();
        let mut by_size: Vec<&mut Self> = networks.iter_mut().collect();
        // A network has an equal share of what is left, so that the large ones have what the small ones leave.
        by_size.sort_by_key(|rules| rules.size());
        for (before, rules) in (1..=by_size.len()).rev().zip(by_size) {
            let share = left.share(before);
            let (table, unused) = RuleTable::new(rules, services, share);
            rules.table = table;
            left -= share;
            left += unused;
        }
        (networks, left)
    }

    /// Number of rules and routes, each rule once for each of its lists of ports and ranges of clients.
    fn size(&self) -> usize {
        let vips = self.vips.values().chain(self.vip_prefixes.values());
        vips.map(Vip::size).sum::<usize>() + self.routes.keys().count()
    }

    /// Rules and routes for plain packets.
    #[inline(always)]
    pub(crate) fn table(&self) -> &RuleTable {
        &self.table
    }

    /// Gives the appliance these addresses: packets for them are its own, whatever routes cover them, and packets from
    /// single ones are not forwarded.
    #[must_use]
    pub fn with_own(self, own: impl IntoIterator<Item = Prefix>) -> Self {
        Self { own: OwnAddresses::new(own), ..self }
    }

    /// True if packets to `address` are for the appliance itself, unless a rule takes them.
    pub fn is_own(&self, address: Address) -> bool {
        self.own.hold(address)
    }

    /// True if packets from `address` claim to come from the appliance itself, and so are not forwarded (RFC 1812, section
    /// 5.3.7). Ranges of tunnels' sources do not count: no address of theirs is an interface's.
    #[inline]
    pub fn is_own_source(&self, address: Address) -> bool {
        self.own.have_source(address)
    }

    /// Rules by their ids, of all networks.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// Rule that `flow` belongs to, or the rule behind its longest route.
    pub fn lookup(&self, flow: &Flow) -> RuleMatch {
        let spelled_out = match flow.rule_port() {
            Some(_) => self.table.get(flow),
            None => Answer::NotSpelledOut,
        };
        match spelled_out {
            Answer::Rule(PlainRule { rule, service, came: Came::Directly, .. }) => {
                RuleMatch::Rule(rule, service)
            }
            Answer::Rule(PlainRule { rule, service, .. }) => RuleMatch::Route(rule, service),
            Answer::OutsideRegion => RuleMatch::OutsideRegion,
            Answer::None => RuleMatch::None,
            Answer::NotSpelledOut | Answer::ByPort(_) | Answer::ByClient(_) => self.lookup_in_lists(flow),
        }
    }

    /// Rule that `flow` belongs to, or the rule behind its longest route, by the lists alone.
    #[inline(never)]
    fn lookup_in_lists(&self, flow: &Flow) -> RuleMatch {
        match self.lookup_vip(flow) {
            found @ RuleMatch::Rule(..) => found,
            missed if self.is_own(flow.dst) => missed,
            missed => match self.lookup_route(flow) {
                RuleMatch::Rule(rule, service) => RuleMatch::Route(rule, service),
                RuleMatch::None => missed,
                found => found,
            },
        }
    }

    /// Rule whose VIP, protocol, ports and clients take `flow`; routes are left aside.
    pub fn lookup_vip(&self, flow: &Flow) -> RuleMatch {
        let missed = match self.vips.get(flow.dst).map_or(RuleMatch::None, |vip| self.lookup_in(vip, flow)) {
            found @ RuleMatch::Rule(..) => return found,
            missed => missed,
        };
        if self.vip_prefixes.is_empty() { missed } else { self.lookup_vip_prefix(flow, missed) }
    }

    /// Rule of a packet that no rule of its very destination takes; else `missed`, or a better reason.
    #[inline(never)]
    fn lookup_vip_prefix(&self, flow: &Flow, mut missed: RuleMatch) -> RuleMatch {
        for vip in self.vip_prefixes.holding(flow.dst) {
            match self.lookup_in(vip, flow) {
                RuleMatch::None => {}
                found @ RuleMatch::Rule(..) => return found,
                other => missed = other,
            }
        }
        missed
    }

    fn lookup_in(&self, vip: &Vip, flow: &Flow) -> RuleMatch {
        let mut missed = RuleMatch::None;
        for candidate in vip.preference(flow).flat_map(|candidates| candidates.of(flow.src)) {
            match self.admit(candidate.rule, flow.src) {
                RuleMatch::OutsideRegion => missed = RuleMatch::OutsideRegion,
                found => return found,
            }
        }
        missed
    }

    /// True if `address` is a VIP of any rule, or in a prefix that is.
    pub fn is_vip(&self, address: Address) -> bool {
        self.vips.get(address).is_some() || self.vip_prefixes.holding(address).next().is_some()
    }

    /// VIPs that hold `address`, the address itself before prefixes.
    fn vips_for(&self, address: Address) -> impl Iterator<Item = &Vip> {
        self.vips.get(address).into_iter().chain(self.vip_prefixes.holding(address))
    }

    /// True if some clients are outside of the region.
    fn has_region(&self) -> bool {
        !self.region.is_empty()
    }

    /// True if a client counts as one of the region.
    fn in_region(&self, client: Address) -> bool {
        self.region.is_empty() || self.region.iter().any(|range| range.contains(client))
    }

    /// True if a rule takes clients of the region alone.
    fn is_regional(&self, rule: RuleId) -> bool {
        self.targets.get(rule).region_only
    }

    fn lookup_route(&self, flow: &Flow) -> RuleMatch {
        self.routes
            .holding(flow.dst)
            .next()
            .map_or(RuleMatch::None, |next_hop| self.admit(*next_hop, flow.src))
    }

    fn admit(&self, rule: RuleId, client: Address) -> RuleMatch {
        let target = self.targets.get(rule);
        let inside = !target.region_only || self.in_region(client);
        if inside { RuleMatch::Rule(rule, target.service) } else { RuleMatch::OutsideRegion }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Fragment;
    use crate::wire::protocol;
    use std::net::IpAddr;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn prefix(text: &str) -> Prefix {
        let (network, length) = text.split_once('/').unwrap();
        Prefix::new(address(network), length.parse().unwrap())
    }

    fn rule(vip: &str, protocol: RuleProtocol, ports: RulePorts) -> ForwardingRule {
        let vip = if vip.contains('/') { prefix(vip) } else { address(vip).into() };
        ForwardingRule::new(vip, protocol, ports, ServiceId(0))
    }

    fn flow(src: &str, dst: &str, protocol: u8, dst_port: u16) -> Flow {
        let (src, dst) = (address(src), address(dst));
        Flow { src, dst, src_port: 40001, dst_port, protocol, fragment: Fragment::No }
    }

    fn found(rules: &ForwardingRules, flow: &Flow) -> Option<u16> {
        match rules.lookup(flow) {
            RuleMatch::Rule(RuleId(id), _) | RuleMatch::Route(RuleId(id), _) => Some(id),
            _ => None,
        }
    }

    const VIP: &str = "203.0.113.10";

    #[test]
    fn the_most_specific_rule_wins() {
        let mut steering = rule(VIP, RuleProtocol::Tcp, RulePorts::List(vec![80, 443]));
        steering.source_ranges = vec![prefix("192.0.2.0/24")];
        let mut narrow = steering.clone();
        narrow.source_ranges = vec![prefix("192.0.2.64/26")];
        let rules = ForwardingRules::new(
            &[
                rule(VIP, RuleProtocol::L3Default, RulePorts::All),
                rule(VIP, RuleProtocol::Tcp, RulePorts::All),
                rule(VIP, RuleProtocol::Tcp, RulePorts::List(vec![80, 443])),
                steering,
                narrow,
            ],
            &[],
            &[],
        );
        for (src, protocol, port, expected) in [
            ("198.51.100.1", protocol::UDP, 80, 0),
            ("198.51.100.1", protocol::ESP, 0, 0),
            ("198.51.100.1", protocol::TCP, 22, 1),
            ("192.0.2.1", protocol::TCP, 22, 1),
            ("198.51.100.1", protocol::TCP, 443, 2),
            ("192.0.2.1", protocol::TCP, 443, 3),
            ("192.0.2.65", protocol::TCP, 80, 4),
        ] {
            assert_eq!(
                found(&rules, &flow(src, VIP, protocol, port)),
                Some(expected),
                "{src} {protocol} {port}"
            );
        }
    }

    #[test]
    fn a_later_fragment_matches_only_all_ports() {
        let rules = ForwardingRules::new(
            &[
                rule(VIP, RuleProtocol::Udp, RulePorts::List(vec![53])),
                rule("203.0.113.11", RuleProtocol::Udp, RulePorts::All),
            ],
            &[],
            &[],
        );
        let fragment = |dst, fragment| Flow { fragment, ..flow("192.0.2.1", dst, protocol::UDP, 53) };
        assert_eq!(found(&rules, &fragment(VIP, Fragment::First)), Some(0));
        assert_eq!(found(&rules, &fragment(VIP, Fragment::Later)), None);
        assert_eq!(found(&rules, &fragment("203.0.113.11", Fragment::Later)), Some(1));
    }

    #[test]
    fn ranges_and_lists_that_interleave_are_told_apart() {
        let rules = ForwardingRules::new(
            &[
                rule(VIP, RuleProtocol::Tcp, RulePorts::Range(8000, 8100)),
                rule(VIP, RuleProtocol::Tcp, RulePorts::List(vec![7999, 8101, 65535])),
            ],
            &[],
            &[],
        );
        for (port, expected) in [
            (7998, None),
            (7999, Some(1)),
            (8000, Some(0)),
            (8100, Some(0)),
            (8101, Some(1)),
            (8102, None),
            (65535, Some(1)),
        ] {
            assert_eq!(found(&rules, &flow("192.0.2.1", VIP, protocol::TCP, port)), expected, "port {port}");
        }
    }

    #[test]
    fn among_the_rules_that_take_a_packet_the_longest_vip_wins() {
        let (tcp, all) = (RuleProtocol::Tcp, RulePorts::All);
        let web = || RulePorts::List(vec![80]);
        let mut abroad = rule("198.51.100.8", RuleProtocol::Udp, RulePorts::All);
        abroad.region_only = true;
        let rules = ForwardingRules::new(
            &[
                rule("198.51.100.0/24", RuleProtocol::L3Default, RulePorts::All),
                rule("198.51.100.0/28", tcp, web()),
                rule("198.51.100.7", tcp, RulePorts::List(vec![443])),
                rule("2001:db8:1234::/48", tcp, all.clone()),
                rule("2001:db8:1234::/96", tcp, web()),
                rule("2001:db8:1234::7", tcp, all),
                abroad,
            ],
            &[Route { dest_range: prefix("2001:db8::/32"), next_hop: RuleId(0) }],
            &[prefix("10.0.0.0/8")],
        );
        for (dst, protocol, port, expected) in [
            ("198.51.100.7", protocol::TCP, 443, Some(2)),
            ("198.51.100.7", protocol::TCP, 80, Some(1)),
            ("198.51.100.7", protocol::TCP, 22, Some(0)),
            ("198.51.100.7", protocol::ESP, 0, Some(0)),
            ("198.51.100.15", protocol::TCP, 80, Some(1)),
            ("198.51.100.16", protocol::TCP, 80, Some(0)),
            ("198.51.100.255", protocol::UDP, 53, Some(0)),
            ("198.51.101.0", protocol::TCP, 80, None),
            ("198.51.100.8", protocol::UDP, 53, Some(0)),
            ("2001:db8:1234::7", protocol::TCP, 80, Some(5)),
            ("2001:db8:1234::ffff:ffff", protocol::TCP, 80, Some(4)),
            ("2001:db8:1234::8", protocol::TCP, 81, Some(3)),
            ("2001:db8:1234:1::8", protocol::TCP, 80, Some(3)),
            ("2001:db8:1235::8", protocol::TCP, 80, Some(0)),
            ("2001:db8:1234::7", protocol::UDP, 80, Some(0)),
        ] {
            let src = if dst.contains(':') { "2001:db8:9::1" } else { "192.0.2.1" };
            let flow = flow(src, dst, protocol, port);
            assert_eq!(found(&rules, &flow), expected, "{dst} {protocol} {port}");
        }
        assert!(rules.is_vip(address("198.51.100.99")) && rules.is_vip(address("2001:db8:1234::99")));
        assert!(!rules.is_vip(address("198.51.99.255")) && !rules.is_vip(address("2001:db8:1235::")));
    }

    #[test]
    fn a_prefix_of_one_family_takes_no_packets_of_the_other() {
        let rules = ForwardingRules::new(&[rule("::/0", RuleProtocol::L3Default, RulePorts::All)], &[], &[]);
        assert_eq!(found(&rules, &flow("192.0.2.1", VIP, protocol::TCP, 80)), None);
        assert_eq!(found(&rules, &flow("2001:db8::1", "2001:db8::2", protocol::TCP, 80)), Some(0));
        assert!(!rules.is_vip(address(VIP)));
    }

    #[test]
    fn the_longest_route_wins_and_a_rule_comes_before_it() {
        let rules = ForwardingRules::new(
            &[
                rule("198.51.100.10", RuleProtocol::Tcp, RulePorts::List(vec![80])),
                rule("10.0.0.1", RuleProtocol::Tcp, RulePorts::List(vec![80])),
                rule("2001:db8::10", RuleProtocol::Tcp, RulePorts::All),
            ],
            &[
                Route { dest_range: prefix("198.51.0.0/16"), next_hop: RuleId(0) },
                Route { dest_range: prefix("198.51.100.0/24"), next_hop: RuleId(1) },
                Route { dest_range: prefix("::/0"), next_hop: RuleId(2) },
            ],
            &[],
        );
        let (v4, v6) = ("192.0.2.1", "2001:db8::1");
        for (claim, src, dst, protocol, port, expected) in [
            ("the VIP's own rule", v4, "198.51.100.10", protocol::TCP, 80, Some(0)),
            ("the VIP, a port without a rule", v4, "198.51.100.10", protocol::TCP, 81, Some(1)),
            ("the VIP, a protocol without a rule", v4, "198.51.100.10", protocol::ICMP, 0, Some(1)),
            ("the /24", v4, "198.51.100.77", protocol::ICMP, 0, Some(1)),
            ("the /16 around it", v4, "198.51.7.7", protocol::ICMP, 0, Some(0)),
            ("IPv4 is not in ::/0", v4, "8.8.8.8", protocol::ICMP, 0, None),
            ("all of IPv6", v6, "2001:db8::99", protocol::ICMP, 0, Some(2)),
        ] {
            assert_eq!(found(&rules, &flow(src, dst, protocol, port)), expected, "{claim}");
        }
    }

    #[test]
    fn clients_outside_of_the_region_are_turned_away_by_rule_and_by_route() {
        let mut regional = rule("10.0.0.1", RuleProtocol::Tcp, RulePorts::All);
        regional.region_only = true;
        let rules = ForwardingRules::new(
            &[regional],
            &[Route { dest_range: prefix("198.51.100.0/24"), next_hop: RuleId(0) }],
            &[prefix("10.0.0.0/8")],
        );
        for dst in ["10.0.0.1", "198.51.100.1"] {
            assert_eq!(found(&rules, &flow("10.9.9.9", dst, protocol::TCP, 80)), Some(0));
            assert_eq!(rules.lookup(&flow("192.0.2.1", dst, protocol::TCP, 80)), RuleMatch::OutsideRegion);
        }
    }

    #[test]
    fn no_route_leads_away_from_the_appliances_own_address() {
        let rules = [rule("203.0.113.10", RuleProtocol::Tcp, RulePorts::All)];
        let routes = [Route { dest_range: prefix("0.0.0.0/0"), next_hop: RuleId(0) }];
        let rules = ForwardingRules::new(&rules, &routes, &[]).with_own([address("192.0.2.1").into()]);
        let to = |dst| Flow {
            src: address("198.51.100.7"),
            dst: address(dst),
            src_port: 80,
            dst_port: 40_000,
            protocol: protocol::TCP,
            fragment: Fragment::No,
        };
        assert_eq!(rules.lookup(&to("192.0.2.1")), RuleMatch::None);
        assert_eq!(rules.lookup(&to("192.0.2.2")), RuleMatch::Route(RuleId(0), ServiceId(0)));
    }
}
