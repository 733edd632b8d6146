//! Spelling out: the lists are asked once for every case that they tell apart.

use std::collections::{BTreeSet, HashMap};

use super::budget::{Budget, FamilyBudget};
use super::cells::{Cells, Ipv4Key, Ipv6Key, Key};
use super::ranges::Ranges;
use super::{Answer, ByClient, Came, FamilyTable, InRange, Listed, PlainRule, RuleTable};
use crate::address::{Address, Prefix};
use crate::affinity::{AffinityPolicy, KeyParts, ServiceKey};
use crate::flow::{Flow, Fragment};
use crate::forwarding_rule::vip::{Candidates, Vip};
use crate::forwarding_rule::{ForwardingRules, RuleId, RuleMatch, ServiceId};
use crate::wire::protocol;

/// Ports of a range that have cells of their own at most; a longer range's have none.
const SPELLED_OUT: u32 = 64;

/// Work of any case, in the terms of [`FamilyBudget::work`].
const CASE: usize = 16;

/// Protocols of plain packets, in the order of [`InRange::others`].
const PROTOCOLS: [u8; 2] = [protocol::TCP, protocol::UDP];

/// Addresses of a VIP that is a small prefix at most: each has cells of its own, as other VIPs have.
const SMALL: u128 = 256;

/// Destinations beyond which no more small prefixes are spelled out by address.
const OWN_ADDRESSES: usize = 4_096;

/// Number of the classes of clients that the region makes.
const REGION: u32 = 0;

impl RuleTable {
    /// Spells out `rules`, whose services have these keys and policies, within a budget; returns what is left of it.
    pub(in crate::forwarding_rule) fn new(
        rules: &ForwardingRules,
        services: &[(ServiceKey, AffinityPolicy)],
        budget: Budget,
    ) -> (Self, Budget) {
        let (ipv4, left_of_ipv4) = Speller::<Ipv4Key>::new(rules, services, budget.ipv4).spell_out();
        let (ipv6, left_of_ipv6) = Speller::<Ipv6Key>::new(rules, services, budget.ipv6).spell_out();
        (Self { ipv4, ipv6 }, Budget { ipv4: left_of_ipv4, ipv6: left_of_ipv6 })
    }
}

/// State of the spelling of one family.
struct Speller<'a, K: Key> {
    rules: &'a ForwardingRules,
    services: &'a [(ServiceKey, AffinityPolicy)],
    /// Work that is left.
    work: usize,
    /// Number of cells that there is room for.
    most_cells: usize,
    cells: Vec<(K, Answer)>,
    ports: Vec<Ranges<u16, Answer>>,
    clients: Vec<ByClient>,
    classes: Vec<Ranges<K::Word, u32>>,
    /// Numbers of these: many rules have the same classes of clients, and many ports the same answers.
    known_clients: HashMap<(u32, Vec<Answer>), u32>,
    known_classes: HashMap<Vec<(K::Word, u32)>, u32>,
    /// A client of each class of the region, in order.
    region_spokesmen: Vec<K::Word>,
}

impl<'a, K: Key> Speller<'a, K> {
    fn new(
        rules: &'a ForwardingRules,
        services: &'a [(ServiceKey, AffinityPolicy)],
        budget: FamilyBudget,
    ) -> Self {
        Self {
            rules,
            services,
            work: budget.work,
            most_cells: budget.cells,
            cells: Vec::new(),
            ports: Vec::new(),
            clients: Vec::new(),
            classes: Vec::new(),
            known_clients: HashMap::new(),
            known_classes: HashMap::new(),
            region_spokesmen: Vec::new(),
        }
    }

    fn spell_out(mut self) -> (FamilyTable<K>, FamilyBudget) {
        self.spell_region();
        let own = self.destinations_of_their_own();
        for address in own.iter().copied().map(K::address) {
            let others = self.spell_destination(address, |key| key);
            for (protocol, answer) in PROTOCOLS.into_iter().zip(others) {
                self.cells.push((K::new(address, protocol, 0).of_other_ports(), answer));
            }
        }
        let destinations = self.spell_ranges(&own);
        let cells = self.most_cells.saturating_sub(self.cells.len());
        let left = FamilyBudget { work: self.work, cells };
        let table = FamilyTable {
            destinations,
            cells: Cells::new(self.cells),
            ports: self.ports,
            clients: self.clients,
            classes: self.classes,
        };
        (table, left)
    }

    /// Makes the first classes of clients those of the region: in it, and outside.
    fn spell_region(&mut self) {
        let mut starts = BTreeSet::from([K::Word::default()]);
        self.rules.region.iter().for_each(|prefix| add::<K>(&mut starts, *prefix));
        let is_inside = |start: K::Word| self.rules.in_region(K::address(start));
        let first = is_inside(K::Word::default());
        let class = |start| u32::from(is_inside(start) != first);
        let classes: Ranges<K::Word, u32> = starts.iter().map(|start| (*start, class(*start))).collect();
        let of_class = |number| classes.iter().find(|(_, class)| *class == number).map(|(start, _)| start);
        self.region_spokesmen = [0, 1].into_iter().filter_map(of_class).collect();
        let number = self.number_of(classes);
        debug_assert_eq!(number, REGION, "they are the first");
    }

    /// Destinations that have cells of their own: VIPs, and all addresses of VIPs that are small prefixes.
    fn destinations_of_their_own(&self) -> BTreeSet<K::Word> {
        let rules = self.rules;
        let of_family = |address: &Address| address.is_ipv4() == K::IS_IPV4;
        let mut own: BTreeSet<K::Word> = rules.vips.keys().filter(of_family).map(K::word).collect();
        let small = rules.vip_prefixes.keys().filter(|prefix| prefix.is_ipv4() == K::IS_IPV4);
        for prefix in small.filter(|prefix| prefix.with_host(u128::MAX).0 - prefix.network().0 < SMALL) {
            if own.len() >= OWN_ADDRESSES {
                break;
            }
            own.extend(
                (prefix.network().0..=prefix.with_host(u128::MAX).0).map(|word| K::word(Address(word))),
            );
        }
        own
    }

    /// Spells out the destinations that prefixes and routes hold, by range; `own` are those that have cells of their own.
    fn spell_ranges(&mut self, own: &BTreeSet<K::Word>) -> Ranges<K::Word, InRange> {
        const NOT_HELD: InRange = InRange::all(Answer::None);
        let rules = self.rules;
        let of_family = |prefix: &Prefix| prefix.is_ipv4() == K::IS_IPV4;
        let held = || rules.vip_prefixes.keys().chain(rules.routes.keys()).filter(of_family);
        if held().next().is_none() {
            return Ranges::all(NOT_HELD);
        }
        let mut starts = BTreeSet::from([K::Word::default()]);
        held().chain(rules.own.prefixes().filter(of_family)).for_each(|prefix| add::<K>(&mut starts, prefix));
        let ends = starts.iter().skip(1).copied().map(Some).chain([None]);
        let mut count = 0;
        let spelled = starts.iter().copied().zip(ends).map(|(start, end)| {
            let has_exceptions =
                own.range(start..).next().is_some_and(|own| end.is_none_or(|end| *own < end));
            let not_held = InRange { has_exceptions, ..NOT_HELD };
            // A destination with cells of its own would not speak for the range.
            let mut words = std::iter::successors(Some(start), |word| K::successor(*word))
                .take_while(|word| end.is_none_or(|end| *word < end));
            let Some(spokesman) = words.find(|word| !own.contains(word)) else { return not_held };
            let address = K::address(spokesman);
            let is_held = rules.vip_prefixes.holding(address).next().is_some()
                || rules.routes.holding(address).next().is_some();
            if !is_held {
                return not_held;
            }
            let cells = self.cells.len();
            let others = self.spell_destination(address, |key| key.in_range(count));
            let listed = match self.cells[cells..] {
                [] => Listed::None,
                [(key, answer)] => {
                    self.cells.pop();
                    Listed::One(key.port(), key.is_udp(), answer)
                }
                _ => {
                    count += 1;
                    Listed::InCells(count - 1)
                }
            };
            InRange { has_exceptions, listed, others }
        });
        let spelled: Vec<InRange> = spelled.collect();
        starts.into_iter().zip(spelled).collect()
    }

    /// Spells out the packets to one destination, those to listed ports under the keys that `key` makes of its own; returns
    /// the answers for all other ports.
    fn spell_destination(&mut self, destination: Address, key: impl Fn(K) -> K) -> [Answer; 2] {
        let vips: Vec<&Vip> = self.rules.vips_for(destination).collect();
        PROTOCOLS.map(|protocol| {
            // Without a budget no case is looked at: one of all ports stands for them.
            let port_starts = vips.iter().filter(|_| self.work > 0).flat_map(|vip| vip.port_starts(protocol));
            let starts: BTreeSet<u32> = port_starts.chain([0]).collect();
            let ends = starts.iter().skip(1).copied().chain([1 << 16]);
            let mut long: Vec<(u16, Answer)> = Vec::new();
            let mut short: Vec<(u32, u32, Answer)> = Vec::new();
            for (start, end) in starts.iter().copied().zip(ends) {
                let flow = Flow {
                    src: Address(0),
                    dst: destination,
                    src_port: 0,
                    dst_port: start as u16,
                    protocol,
                    fragment: Fragment::No,
                };
                let answer = self.answer(&vips, flow);
                if end - start <= SPELLED_OUT {
                    short.push((start, end, answer));
                } else {
                    long.push((start as u16, answer));
                }
            }
            let others = self.others(long);
            // Gaps between listed ports have the answer of all other ports, if these have one.
            let apart = short.into_iter().filter(|(_, _, answer)| *answer != others);
            let listed: Vec<(K, Answer)> = apart
                .flat_map(|(start, end, answer)| (start..end).map(move |port| (port as u16, answer)))
                .map(|(port, answer)| (key(K::new(destination, protocol, port)), answer))
                .collect();
            let is_spelled_out = self.work > 0 && self.cells.len() + listed.len() < self.most_cells;
            let others = if is_spelled_out { others } else { Answer::NotSpelledOut };
            self.cells.extend(listed.into_iter().filter(|_| is_spelled_out));
            others
        })
    }

    /// Answer for the ports of long ranges alone, which have these first ports.
    fn others(&mut self, mut long: Vec<(u16, Answer)>) -> Answer {
        let Some((first, _)) = long.first_mut() else { return Answer::None };
        // Ports before have cells.
        *first = 0;
        let ranges: Ranges<u16, Answer> = long.into_iter().collect();
        if let Some(only) = ranges.only() {
            return only;
        }
        self.ports.push(ranges);
        Answer::ByPort(self.ports.len() as u32 - 1)
    }

    /// Answer for the packets of one case, whoever their client is; `flow` is one of them, `vips` are those that hold its
    /// destination.
    fn answer(&mut self, vips: &[&Vip], flow: Flow) -> Answer {
        let rules = self.rules;
        let candidates = || vips.iter().flat_map(|vip| vip.preference(&flow)).flat_map(Candidates::all);
        let behind_route = rules.routes.holding(flow.dst).next().copied();
        let region_has_a_say = rules.has_region()
            && candidates()
                .map(|candidate| candidate.rule)
                .chain(behind_route)
                .any(|rule| rules.is_regional(rule));
        if !self.take(CASE) {
            return Answer::NotSpelledOut;
        }
        if candidates().any(|candidate| candidate.source.is_some()) {
            let mut starts = BTreeSet::from([K::Word::default()]);
            candidates()
                .filter_map(|candidate| candidate.source)
                .for_each(|source| add::<K>(&mut starts, source));
            if region_has_a_say {
                rules.region.iter().for_each(|prefix| add::<K>(&mut starts, *prefix));
            }
            let prefixes = candidates().count() + if region_has_a_say { rules.region.len() } else { 0 };
            if !self.take(starts.len().saturating_mul(prefixes)) {
                return Answer::NotSpelledOut;
            }
            return self.answer_by_client(&starts, &flow);
        }
        if region_has_a_say {
            // Two clients stand for all of them, however many prefixes the region has.
            let spokesmen = std::mem::take(&mut self.region_spokesmen);
            let answers = spokesmen.iter().map(|client| self.asked(*client, &flow)).collect();
            self.region_spokesmen = spokesmen;
            return self.by_class(REGION, answers);
        }
        self.asked(K::Word::default(), &flow)
    }

    /// Takes so much work from the budget; false where it is not there.
    fn take(&mut self, work: usize) -> bool {
        let left = self.work.checked_sub(work);
        self.work = left.unwrap_or(if work <= CASE { 0 } else { self.work });
        left.is_some()
    }

    /// Answer where clients change at these numbers.
    fn answer_by_client(&mut self, starts: &BTreeSet<K::Word>, flow: &Flow) -> Answer {
        let mut answers: Vec<Answer> = Vec::new();
        let mut numbers: HashMap<Answer, u32> = HashMap::new();
        let classes: Ranges<K::Word, u32> = starts
            .iter()
            .map(|start| {
                let answer = self.asked(*start, flow);
                let class = *numbers.entry(answer).or_insert(answers.len() as u32);
                if class as usize == answers.len() {
                    answers.push(answer);
                }
                (*start, class)
            })
            .collect();
        let number = self.number_of(classes);
        self.by_class(number, answers)
    }

    /// Number of classes of clients, as others may have them too.
    fn number_of(&mut self, classes: Ranges<K::Word, u32>) -> u32 {
        let next = self.classes.len() as u32;
        let number = *self.known_classes.entry(classes.iter().collect()).or_insert(next);
        if number == next {
            self.classes.push(classes);
        }
        number
    }

    /// Answer by the class of the client, of the `classes` with this number.
    fn by_class(&mut self, classes: u32, answers: Vec<Answer>) -> Answer {
        if let Some(only) = answers.first().filter(|first| answers.iter().all(|answer| answer == *first)) {
            return *only;
        }
        let next = self.clients.len() as u32;
        let number = *self.known_clients.entry((classes, answers.clone())).or_insert(next);
        if number == next {
            self.clients.push(ByClient { classes, answers: answers.into() });
        }
        Answer::ByClient(number)
    }

    /// Answer of the lists for one client.
    fn asked(&self, client: K::Word, flow: &Flow) -> Answer {
        match self.rules.lookup_in_lists(&Flow { src: K::address(client), ..*flow }) {
            RuleMatch::Rule(rule, service) => self.plain_rule(rule, service, flow.protocol, false),
            RuleMatch::Route(rule, service) => self.plain_rule(rule, service, flow.protocol, true),
            RuleMatch::OutsideRegion => Answer::OutsideRegion,
            RuleMatch::None => Answer::None,
        }
    }

    fn plain_rule(&self, rule: RuleId, service: ServiceId, protocol: u8, routed: bool) -> Answer {
        let Some((key, policy)) = self.services.get(usize::from(service.0)) else {
            return Answer::NotSpelledOut;
        };
        let treatment = policy.treatment_with_ports(protocol);
        let key = KeyParts::new(*key, treatment.tracking_tuple_with_ports(), protocol);
        let came = match (routed, policy.routes_alike()) {
            (false, _) => Came::Directly,
            (true, true) => Came::ByRoute,
            (true, false) => Came::ByRouteOneWay,
        };
        let (tracked, is_guarded) = (treatment.tracked, self.rules.targets.access_list(rule).is_some());
        let is_ordinary = tracked && came == Came::Directly && !is_guarded;
        Answer::Rule(PlainRule { rule, service, key, tracked, came, is_guarded, is_ordinary })
    }
}

/// Adds the numbers at which a prefix begins, and at which it has just ended.
fn add<K: Key>(starts: &mut BTreeSet<K::Word>, prefix: Prefix) {
    if prefix.is_ipv4() != K::IS_IPV4 {
        return;
    }
    starts.insert(K::word(prefix.network()));
    let end = K::successor(K::word(prefix.with_host(u128::MAX)));
    starts.extend(end);
    // An IPv4 address in its IPv6 form does not speak for the IPv6 addresses behind all of them.
    if let Some(end) = end.filter(|end| !K::IS_IPV4 && K::address(*end).is_ipv4()) {
        starts.extend(K::successor(K::word(Prefix::new(K::address(end), 0).with_host(u128::MAX))));
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::affinity::{LoadBalancingScheme, PersistenceOnUnhealthy, SessionAffinity, TrackingMode};
    use crate::forwarding_rule::{ForwardingRule, Route, RulePorts, RuleProtocol};

    const SERVICES: u16 = 3;

    fn addresses(is_ipv4: bool, network: u8, host: u8) -> Address {
        if is_ipv4 {
            Address::v4([203, 0, network, host])
        } else {
            Address(0x2001_0db8 << 96 | u128::from(network) << 64 | u128::from(host))
        }
    }

    /// One of few addresses, some of which are the first or the last of a prefix.
    fn address() -> impl Strategy<Value = Address> {
        // The last address before those of IPv4, and the first behind them.
        let beside_ipv4 = select(vec![Address(0xfffe_ffff_ffff), Address(1 << 48)]);
        let ordinary = (any::<bool>(), 0..3u8, select(vec![0u8, 1, 2, 127, 128, 255]))
            .prop_map(|(is_ipv4, network, host)| addresses(is_ipv4, network, host));
        prop_oneof![9 => ordinary, 1 => beside_ipv4]
    }

    fn prefix() -> impl Strategy<Value = Prefix> {
        (address(), select(vec![0u8, 1, 7, 8, 9, 10, 16, 64, 128])).prop_map(|(address, host_bits)| {
            let longest: u8 = if address.is_ipv4() { 32 } else { 128 };
            Prefix::new(address, longest.saturating_sub(host_bits))
        })
    }

    fn rule() -> impl Strategy<Value = ForwardingRule> {
        let protocol = select(vec![RuleProtocol::Tcp, RuleProtocol::Udp, RuleProtocol::L3Default]);
        let ports = prop_oneof![
            vec(select(vec![0u16, 80, 443, 500, u16::MAX]), 1..4).prop_map(RulePorts::List),
            (0..500u16, 0..2_000u16).prop_map(|(first, more)| RulePorts::Range(first, first + more)),
            Just(RulePorts::All),
        ];
        let vip = prop_oneof![2 => address().prop_map(Prefix::from), 1 => prefix()];
        (vip, protocol, ports, vec(prefix(), 0..3), any::<bool>(), 0..SERVICES).prop_map(
            |(vip, protocol, ports, source_ranges, region_only, service)| {
                let of_family = |source: &Prefix| source.is_ipv4() == vip.is_ipv4();
                ForwardingRule {
                    vip,
                    protocol,
                    ports: if protocol == RuleProtocol::L3Default { RulePorts::All } else { ports },
                    source_ranges: source_ranges.into_iter().filter(of_family).collect(),
                    region_only,
                    access_list: None,
                    service: ServiceId(service),
                }
            },
        )
    }

    fn services() -> Vec<(ServiceKey, AffinityPolicy)> {
        let affinities =
            [SessionAffinity::None, SessionAffinity::ClientIp, SessionAffinity::ClientIpNoDestination];
        let policy = |affinity| {
            AffinityPolicy::new(
                LoadBalancingScheme::External,
                affinity,
                TrackingMode::PerSession,
                PersistenceOnUnhealthy::DefaultForProtocol,
            )
        };
        (40..).map(ServiceKey).zip(affinities.map(policy)).collect()
    }

    fn listed(rules: &ForwardingRules, flow: &Flow) -> Answer {
        let services = services();
        if flow.src.is_ipv4() {
            Speller::<Ipv4Key>::new(rules, &services, Budget::WHOLE.ipv4).asked(Ipv4Key::word(flow.src), flow)
        } else {
            Speller::<Ipv6Key>::new(rules, &services, Budget::WHOLE.ipv6).asked(Ipv6Key::word(flow.src), flow)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn the_table_says_what_the_lists_say(
            rules in vec(rule(), 0..8),
            routes in vec((prefix(), any::<prop::sample::Index>()), 0..3),
            region in vec(prefix(), 0..3),
            own in vec(prefix(), 0..2),
            flows in vec(
                (address(), address(), select(vec![0u16, 79, 80, 81, 443, 499, 500, 501, 1_000, 1_064, u16::MAX]), any::<bool>()),
                100,
            ),
        ) {
            let routes: Vec<Route> = routes
                .into_iter()
                .filter(|_| !rules.is_empty())
                .map(|(dest_range, rule)| Route { dest_range, next_hop: RuleId(rule.index(rules.len()) as u16) })
                .collect();
            let rules = ForwardingRules::new(&rules, &routes, &region).with_own(own).spelled_out(&services());
            for (src, dst, dst_port, is_tcp) in flows {
                if src.is_ipv4() != dst.is_ipv4() {
                    continue;
                }
                let protocol = if is_tcp { protocol::TCP } else { protocol::UDP };
                let flow = Flow { src, dst, src_port: 0, dst_port, protocol, fragment: Fragment::No };
                prop_assert_eq!(rules.table().get(&flow), listed(&rules, &flow), "{:?}", flow);
            }
        }
    }

    #[test]
    fn cells_beyond_their_number_are_left_to_the_lists() {
        // Ports so close that the gaps are as good as listed, and a thousand VIPs among them.
        let port = |n: u16| RulePorts::Range(n * 65, n * 65 + 63);
        let around = Prefix::new(Address::v4([203, 0, 0, 0]), 16);
        let mut rules: Vec<ForwardingRule> = (0..1_000)
            .map(|n| ForwardingRule::new(around, RuleProtocol::Tcp, port(n), ServiceId(n % SERVICES)))
            .collect();
        rules.extend((0..1_000u32).map(|n| {
            let vip = Address::v4((0xcb00_0100 + n).to_be_bytes());
            ForwardingRule::new(vip, RuleProtocol::Udp, RulePorts::List(vec![53]), ServiceId(0))
        }));
        let rules = ForwardingRules::new(&rules, &[], &[]).spelled_out(&services());
        let (mut spelled, mut left) = (0, 0);
        for host in (0..1_100u32).step_by(7) {
            for dst_port in [0, 63, 64, 6_500, 64_999, u16::MAX] {
                let (src, dst) =
                    (Address::v4([192, 0, 2, 1]), Address::v4((0xcb00_0000 + host).to_be_bytes()));
                let flow =
                    Flow { src, dst, src_port: 0, dst_port, protocol: protocol::TCP, fragment: Fragment::No };
                match rules.table().get(&flow) {
                    Answer::NotSpelledOut => left += 1,
                    answer => {
                        assert_eq!(answer, listed(&rules, &flow), "{flow:?}");
                        spelled += 1;
                    }
                }
            }
        }
        assert!(spelled > 0 && left > 0, "{spelled} spelled out, {left} left");
    }

    #[test]
    fn cases_beyond_the_budget_are_left_to_the_lists() {
        let vip = Address::v4([203, 0, 113, 10]);
        let ranges = |rule: u16| {
            let source = |n: u16| Prefix::new(Address::v4([10, (rule >> 8) as u8, rule as u8, n as u8]), 32);
            ForwardingRule {
                source_ranges: (0..64).map(source).collect(),
                ..ForwardingRule::new(vip, RuleProtocol::Tcp, RulePorts::List(vec![443]), ServiceId(0))
            }
        };
        let mut rules: Vec<ForwardingRule> = (0..100).map(ranges).collect();
        rules.push(ForwardingRule::new(vip, RuleProtocol::Udp, RulePorts::All, ServiceId(1)));
        let rules = ForwardingRules::new(&rules, &[], &[]).spelled_out(&services());
        let flow = |protocol| Flow {
            src: Address::v4([10, 0, 7, 3]),
            dst: vip,
            src_port: 0,
            dst_port: 443,
            protocol,
            fragment: Fragment::No,
        };
        assert_eq!(rules.table().get(&flow(protocol::TCP)), Answer::NotSpelledOut);
        assert!(matches!(
            listed(&rules, &flow(protocol::TCP)),
            Answer::Rule(PlainRule { rule: RuleId(7), .. })
        ));
        assert_eq!(rules.table().get(&flow(protocol::UDP)), listed(&rules, &flow(protocol::UDP)));
    }
    #[test]
    fn networks_share_one_budget_of_which_small_ones_get_all_that_they_need() {
        let vip = |host: u8| Address::v4([203, 0, 113, host]);
        let listed_rule = |host| {
            ForwardingRule::new(vip(host), RuleProtocol::Tcp, RulePorts::List(vec![443]), ServiceId(0))
        };
        let budget = Budget::WHOLE.share(100);
        // A port of these takes about an eightieth of that.
        let heavy: Vec<ForwardingRule> = (0..50u16)
            .map(|n| {
                let source = Prefix::new(Address::v4([10, (n >> 8) as u8, n as u8, 0]), 24);
                let ports = RulePorts::List((0..40).map(|port| 1_000 + port).collect());
                ForwardingRule {
                    source_ranges: vec![source],
                    ..ForwardingRule::new(vip(1), RuleProtocol::Tcp, ports, ServiceId(0))
                }
            })
            .collect();
        let light = [listed_rule(1), listed_rule(2)];
        let network = |index: usize| {
            let rules: &[ForwardingRule] = if index.is_multiple_of(2) { &heavy } else { &light };
            ForwardingRules::new(rules, &[], &[])
        };
        let (spelled, left) = ForwardingRules::spell_out_within(budget, (0..16).map(network), &services());
        assert!(left.ipv4.work < budget.ipv4.work / 16, "{left:?}");
        assert_eq!(left.ipv6, budget.ipv6);
        let flow = |dst_port| Flow {
            src: Address::v4([10, 0, 7, 3]),
            dst: vip(1),
            src_port: 0,
            dst_port,
            protocol: protocol::TCP,
            fragment: Fragment::No,
        };
        let is_spelled_out =
            |rules: &ForwardingRules, port| rules.table().get(&flow(port)) != Answer::NotSpelledOut;
        let spelled_ports =
            |rules: &ForwardingRules| (1_000..1_040).filter(|port| is_spelled_out(rules, *port)).count();
        for (index, rules) in spelled.iter().enumerate() {
            if index.is_multiple_of(2) {
                assert!(spelled_ports(rules) <= 10, "{index}: {}", spelled_ports(rules));
            } else {
                assert_eq!(rules.table().get(&flow(443)), listed(rules, &flow(443)), "{index}");
            }
        }
        assert!(spelled.iter().any(|rules| spelled_ports(rules) >= 9));
        let (alone, _) = ForwardingRules::spell_out_within(budget, [network(0)], &services());
        assert_eq!(spelled_ports(&alone[0]), 40, "alone, a network has all of it");
    }
}
