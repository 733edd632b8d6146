//! Random configurations, and their TOML.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::dice::Dice;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    External,
    Internal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Affinity {
    None,
    ClientIpPortProto,
    ClientIpProto,
    ClientIp,
    ClientIpNoDestination,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persistence {
    DefaultForProtocol,
    NeverPersist,
    AlwaysPersist,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RuleProtocol {
    Tcp,
    Udp,
    L3Default,
}

#[derive(Clone, Debug)]
pub(crate) enum Ports {
    List(Vec<u16>),
    Range(u16, u16),
    All,
}

/// A network: in a setup of several, its frames are those of its VLAN, or those without a tag.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// Number by which the nouns of a scenario's setups know their network, whatever its name is.
    pub(crate) key: usize,
    pub(crate) name: String,
    pub(crate) vlan: Option<u16>,
    pub(crate) region: Vec<IpNet>,
}

#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) network: usize,
    pub(crate) name: String,
    pub(crate) scheme: Scheme,
    /// Virtual IP address, as a prefix of its full length, or prefix.
    pub(crate) vip: IpNet,
    pub(crate) protocol: RuleProtocol,
    pub(crate) ports: Ports,
    pub(crate) source_ranges: Vec<IpNet>,
    pub(crate) global: bool,
    pub(crate) service: String,
}

#[derive(Clone, Debug)]
pub(crate) struct Failover {
    pub(crate) ratio: f64,
    pub(crate) drop: bool,
    pub(crate) void_on_switch: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) network: usize,
    pub(crate) name: String,
    pub(crate) scheme: Scheme,
    pub(crate) affinity: Affinity,
    pub(crate) per_session: bool,
    pub(crate) persistence: Persistence,
    pub(crate) idle_timeout: Option<u64>,
    pub(crate) draining_timeout: u64,
    pub(crate) weighted: bool,
    /// Number of backends that each client meets, where there are more; none where it meets all.
    pub(crate) subset_size: Option<u16>,
    /// Failover policy, which counts only if a member is a failover group.
    pub(crate) failover: Failover,
    /// Names of groups; true marks a failover group.
    pub(crate) members: Vec<(String, bool)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    pub(crate) weight: u16,
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) network: usize,
    pub(crate) name: String,
    pub(crate) delivery: &'static str,
    pub(crate) endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) network: usize,
    pub(crate) name: String,
    pub(crate) range: IpNet,
    pub(crate) next_hop: String,
}

/// A configuration.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Networks in the order of the file, at least one.
    pub(crate) networks: Vec<Network>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) services: Vec<Service>,
    pub(crate) groups: Vec<Group>,
    pub(crate) routes: Vec<Route>,
}

/// Weights from which endpoints get theirs.
pub(crate) const WEIGHTS: [u16; 7] = [0, 1, 1, 2, 5, 100, 1000];
/// Draining timeouts in seconds from which services get theirs.
pub(crate) const DRAINING: [u64; 5] = [0, 0, 4, 5, 30];

/// VLANs that networks and packets have, and none.
pub(crate) const VLANS: [Option<u16>; 4] = [None, Some(100), Some(200), Some(300)];

/// VIP of this number in a family, in every network.
pub(crate) fn vip(is_ipv4: bool, number: usize) -> IpAddr {
    let text =
        if is_ipv4 { format!("203.0.113.{}", 10 + number) } else { format!("2001:db8::{:x}", 0x10 + number) };
    text.parse().expect("an address")
}

/// Prefixes of several lengths that hold some of the VIPs, and neither clients nor destinations of routes.
fn vip_prefixes(is_ipv4: bool) -> [IpNet; 2] {
    let texts = match is_ipv4 {
        true => ["203.0.113.0/24", "203.0.113.12/30"],
        false => ["2001:db8::/64", "2001:db8::12/127"],
    };
    texts.map(net)
}

/// Client of this number in a family: even ones are in the region, those below 8 in ranges that rules steer by.
pub(crate) fn client(is_ipv4: bool, number: usize) -> IpAddr {
    let (side, host) = (number % 2, number + 1);
    let text = if is_ipv4 { format!("192.0.{side}.{host}") } else { format!("2001:db8:c:{side}::{host:x}") };
    text.parse().expect("an address")
}

/// Address of the appliance in each network.
pub(crate) fn own(is_ipv4: bool) -> IpAddr {
    let text = if is_ipv4 { "192.0.2.1" } else { "2001:db8:1::1" };
    text.parse().expect("an address")
}

/// Destination behind a route; the near one is also behind a longer route.
pub(crate) fn routed(is_ipv4: bool, near: bool) -> IpAddr {
    let text = match (is_ipv4, near) {
        (true, true) => "198.51.100.130",
        (true, false) => "198.51.100.5",
        (false, true) => "2001:db8:99:1::5",
        (false, false) => "2001:db8:99:2::5",
    };
    text.parse().expect("an address")
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

impl Setup {
    /// A random setup over one family or both, in one to three networks, all of whose addresses are the same.
    pub(crate) fn random(dice: &mut Dice) -> Self {
        let families = dice.pick(&[vec![true], vec![true], vec![false], vec![true, false]]);
        let networks = dice.pick(&[1, 1, 2, 3]);
        let mut vlans = VLANS.to_vec();
        vlans.rotate_left(dice.below(VLANS.len()));
        let mut setup = Self {
            networks: Vec::new(),
            rules: Vec::new(),
            services: Vec::new(),
            groups: Vec::new(),
            routes: Vec::new(),
        };
        for (key, vlan) in vlans.into_iter().take(networks).enumerate() {
            let (name, vlan) = match networks {
                1 => ("default".to_owned(), None),
                _ => (format!("network-{key}"), vlan),
            };
            setup.add_network(dice, Network { key, name, vlan, region: Vec::new() }, &families);
        }
        setup
    }

    /// Adds a network, with all that is in it.
    fn add_network(&mut self, dice: &mut Dice, mut network: Network, families: &[bool]) {
        let one_family = (families.len() == 1).then(|| families[0]);
        let key = network.key;
        let groups: Vec<Group> =
            (0..2 + dice.below(3)).map(|i| Group::random(dice, key, i, one_family)).collect();
        self.services.extend((0..1 + dice.below(4)).map(|i| Service::random(dice, key, i, &groups)));
        self.groups.extend(groups);
        if dice.chance(50) {
            network.region = vec![net("192.0.0.0/24"), net("2001:db8:c::/64")];
        }
        self.networks.push(network);
        for &is_ipv4 in families {
            for number in 0..3 {
                self.add_rules(dice, key, vip(is_ipv4, number).into());
            }
            if dice.chance(50) {
                for prefix in vip_prefixes(is_ipv4) {
                    self.add_rules(dice, key, prefix);
                }
            }
            self.add_routes(dice, key, is_ipv4);
        }
    }

    /// Services of a network.
    fn services_of(&self, network: usize) -> Vec<Service> {
        self.services.iter().filter(|service| service.network == network).cloned().collect()
    }

    /// Adds rules of each protocol and kind of ports on one VIP, some of them with rules that steer by source.
    fn add_rules(&mut self, dice: &mut Dice, network: usize, vip: IpNet) {
        let services = self.services_of(network);
        for protocol in [RuleProtocol::Tcp, RuleProtocol::Udp, RuleProtocol::L3Default] {
            for all in [false, true] {
                if dice.chance(45) || protocol == RuleProtocol::L3Default && !all {
                    continue;
                }
                let service = dice.pick(&services);
                let ports = match (all, service.scheme) {
                    (true, _) => Ports::All,
                    (false, Scheme::External) if dice.chance(40) => {
                        Ports::Range(80, 442 + dice.below(2) as u16)
                    }
                    (false, _) => Ports::List(dice.pick(&[vec![80], vec![80, 443], vec![443, 8081]])),
                };
                let base = Rule {
                    network,
                    name: format!("rule-{}", self.rules.len()),
                    scheme: service.scheme,
                    vip,
                    protocol,
                    ports,
                    source_ranges: Vec::new(),
                    global: dice.chance(50),
                    service: service.name,
                };
                self.rules.push(base.clone());
                self.add_steering(dice, &base);
            }
        }
    }

    fn add_steering(&mut self, dice: &mut Dice, base: &Rule) {
        let of_network = self.services_of(base.network).into_iter();
        let external: Vec<Service> =
            of_network.filter(|service| service.scheme == Scheme::External).collect();
        let ranges = match base.vip {
            IpNet::V4(_) => ["192.0.0.0/16", "192.0.0.0/29", "192.0.1.0/29", "192.0.1.2/32"],
            IpNet::V6(_) => {
                ["2001:db8:c::/48", "2001:db8:c::/125", "2001:db8:c:1::/125", "2001:db8:c:1::2/128"]
            }
        };
        let mut ranges: Vec<IpNet> = ranges.into_iter().map(net).filter(|_| dice.chance(40)).collect();
        while base.scheme == Scheme::External && !ranges.is_empty() && dice.chance(60) {
            let own = ranges.split_off(dice.below(ranges.len()));
            self.rules.push(Rule {
                name: format!("rule-{}", self.rules.len()),
                source_ranges: own,
                service: dice.pick(&external).name,
                ..base.clone()
            });
        }
    }

    fn add_routes(&mut self, dice: &mut Dice, network: usize, is_ipv4: bool) {
        let hops: Vec<Rule> = self
            .rules
            .iter()
            .filter(|rule| rule.network == network && rule.scheme == Scheme::Internal)
            .filter(|rule| rule.vip.addr().is_ipv4() == is_ipv4)
            .cloned()
            .collect();
        let ranges = if is_ipv4 {
            ["198.51.100.0/24", "198.51.100.128/25", "192.0.0.0/23"]
        } else {
            ["2001:db8:99::/48", "2001:db8:99:1::/64", "2001:db8:c::/48"]
        };
        // There and back mostly by the same next hop, as a firewall needs it.
        let usual = (!hops.is_empty()).then(|| dice.pick(&hops).name);
        for range in ranges {
            if !hops.is_empty() && dice.chance(60) {
                let name = format!("route-{}", self.routes.len());
                let next_hop = usual.clone().filter(|_| dice.chance(70));
                let next_hop = next_hop.unwrap_or_else(|| dice.pick(&hops).name);
                self.routes.push(Route { network, name, range: net(range), next_hop });
            }
        }
    }

    /// Removes a service, and the rules and routes that lead to it.
    pub(crate) fn remove_service(&mut self, name: &str) {
        self.services.retain(|service| service.name != name);
        self.rules.retain(|rule| rule.service != name);
        self.remove_stranded_routes();
    }

    /// Removes the routes whose next hop is gone.
    pub(crate) fn remove_stranded_routes(&mut self) {
        let rules = &self.rules;
        self.routes.retain(|route| rules.iter().any(|rule| rule.name == route.next_hop));
    }

    /// Removes a network, with all that is in it.
    pub(crate) fn remove_network(&mut self, key: usize) {
        self.networks.retain(|network| network.key != key);
        self.rules.retain(|rule| rule.network != key);
        self.services.retain(|service| service.network != key);
        self.groups.retain(|group| group.network != key);
        self.routes.retain(|route| route.network != key);
    }

    /// Adds a network with all that is in it in another setup, under a name and a VLAN that nobody has.
    pub(crate) fn restore_network(&mut self, key: usize, from: &Self) {
        let Some(network) = from.networks.iter().find(|network| network.key == key) else { return };
        let mut network = network.clone();
        while self.networks.iter().any(|other| other.name == network.name) {
            network.name += "-again";
        }
        let is_free = |vlan: &Option<u16>| self.networks.iter().all(|other| other.vlan != *vlan);
        let mut vlans = std::iter::once(network.vlan).chain(VLANS);
        network.vlan = vlans.find(is_free).expect("there are more VLANs than networks");
        self.networks.push(network);
        self.rules.extend(from.rules.iter().filter(|rule| rule.network == key).cloned());
        self.services.extend(from.services.iter().filter(|service| service.network == key).cloned());
        self.groups.extend(from.groups.iter().filter(|group| group.network == key).cloned());
        self.routes.extend(from.routes.iter().filter(|route| route.network == key).cloned());
    }

    /// True if this is a network of the setup.
    pub(crate) fn has_network(&self, key: usize) -> bool {
        self.networks.iter().any(|network| network.key == key)
    }

    /// True if the setup has several networks, of which decisions name theirs.
    pub(crate) fn has_several_networks(&self) -> bool {
        self.networks.len() > 1
    }

    /// Line by which a noun names its network, which may be left out where that is the first.
    fn network_line(&self, key: usize) -> String {
        match self.networks.iter().position(|network| network.key == key) {
            Some(index @ 1..) => format!("network = \"{}\"\n", self.networks[index].name),
            _ => String::new(),
        }
    }

    fn write_networks(&self, out: &mut String) -> fmt::Result {
        let is_named = |network: &Network| self.has_several_networks() || network.name != "default";
        if self.networks.iter().any(|network| network.vlan.is_some()) || self.has_several_networks() {
            writeln!(out, "[[port]]\nname = \"trunk\"\ndevice = \"net_null0\"")?;
        }
        for network in &self.networks {
            writeln!(
                out,
                "[[network]]\nipv4_address = \"{}\"\nipv6_address = \"{}\"",
                own(true),
                own(false)
            )?;
            writeln!(out, "region_ranges = {}", quoted(&network.region))?;
            if is_named(network) {
                writeln!(out, "name = \"{}\"", network.name)?;
            }
            if let Some(vlan) = network.vlan {
                writeln!(out, "vlan = {vlan}")?;
            }
        }
        Ok(())
    }

    /// Endpoints of a service; true marks those of a failover group.
    pub(crate) fn endpoints<'s>(
        &'s self,
        service: &'s Service,
    ) -> impl Iterator<Item = (&'s Endpoint, bool)> {
        service.members.iter().flat_map(|(name, failover)| {
            let group = self.groups.iter().find(|group| group.name == *name);
            group.into_iter().flat_map(|group| &group.endpoints).map(|endpoint| (endpoint, *failover))
        })
    }

    /// Text of the configuration file.
    pub(crate) fn toml(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a string takes everything");
        text
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        self.write_networks(out)?;
        writeln!(out, "[conntrack]\nmax_entries = 16384")?;
        self.rules.iter().try_for_each(|rule| rule.write(&self.network_line(rule.network), out))?;
        self.services
            .iter()
            .try_for_each(|service| service.write(&self.network_line(service.network), out))?;
        for group in &self.groups {
            writeln!(out, "[[backend_group]]\nname = \"{}\"\ndelivery = \"{}\"", group.name, group.delivery)?;
            write!(out, "{}", self.network_line(group.network))?;
            let endpoint = |Endpoint { name, address, weight }: &Endpoint| {
                format!("{{ name = \"{name}\", ip_address = \"{address}\", weight = {weight} }}")
            };
            writeln!(
                out,
                "endpoints = [{}]",
                group.endpoints.iter().map(endpoint).collect::<Vec<_>>().join(", ")
            )?;
        }
        writeln!(out, "[[health_check]]\nname = \"check\"\ntype = \"HTTP\"\nport = 8080")?;
        for Route { network, name, range, next_hop } in &self.routes {
            writeln!(
                out,
                "[[route]]\nname = \"{name}\"\ndest_range = \"{range}\"\nnext_hop_ilb = \"{next_hop}\""
            )?;
            write!(out, "{}", self.network_line(*network))?;
        }
        Ok(())
    }
}

fn quoted(items: &[impl fmt::Display]) -> String {
    format!("[{}]", items.iter().map(|item| format!("\"{item}\"")).collect::<Vec<_>>().join(", "))
}

impl Scheme {
    fn word(self) -> &'static str {
        match self {
            Self::External => "EXTERNAL",
            Self::Internal => "INTERNAL",
        }
    }
}

impl Rule {
    fn write(&self, network: &str, out: &mut String) -> fmt::Result {
        let protocol = match self.protocol {
            RuleProtocol::Tcp => "TCP",
            RuleProtocol::Udp => "UDP",
            RuleProtocol::L3Default => "L3_DEFAULT",
        };
        writeln!(out, "[[forwarding_rule]]\nname = \"{}\"", self.name)?;
        write!(out, "{network}")?;
        writeln!(out, "load_balancing_scheme = \"{}\"", self.scheme.word())?;
        writeln!(out, "ip_address = \"{}\"\nip_protocol = \"{protocol}\"", self.vip)?;
        writeln!(out, "backend_service = \"{}\"", self.service)?;
        match &self.ports {
            Ports::List(ports) => writeln!(out, "ports = {ports:?}")?,
            Ports::Range(first, last) => writeln!(out, "port_range = \"{first}-{last}\"")?,
            Ports::All => writeln!(out, "all_ports = true")?,
        }
        if !self.source_ranges.is_empty() {
            writeln!(out, "source_ip_ranges = {}", quoted(&self.source_ranges))?;
        }
        if self.scheme == Scheme::Internal {
            writeln!(out, "allow_global_access = {}", self.global)?;
        }
        Ok(())
    }
}

impl Service {
    fn random(dice: &mut Dice, network: usize, number: usize, groups: &[Group]) -> Self {
        let scheme = dice.pick(&[Scheme::External, Scheme::Internal]);
        let mut affinities =
            vec![Affinity::None, Affinity::ClientIpPortProto, Affinity::ClientIpProto, Affinity::ClientIp];
        if scheme == Scheme::Internal {
            affinities.push(Affinity::ClientIpNoDestination);
        }
        let affinity = dice.pick(&affinities);
        let per_session = dice.chance(50);
        let mut persistences = vec![Persistence::DefaultForProtocol, Persistence::NeverPersist];
        if !per_session {
            persistences.push(Persistence::AlwaysPersist);
        }
        let is_narrow = !matches!(affinity, Affinity::None | Affinity::ClientIpPortProto);
        let settable = scheme == Scheme::Internal && per_session && is_narrow;
        let mut members: Vec<(String, bool)> =
            groups.iter().map(|group| (group.name.clone(), dice.chance(40))).collect();
        members.rotate_left(dice.below(groups.len()));
        members.truncate(1 + dice.below(groups.len()));
        members[0].1 = false;
        let weighted = dice.chance(40);
        let has_subsets = scheme == Scheme::Internal && !weighted && dice.chance(60);
        Self {
            network,
            name: format!("service-{network}-{number}"),
            scheme,
            affinity,
            per_session,
            persistence: dice.pick(&persistences),
            idle_timeout: (settable && dice.chance(60)).then(|| dice.pick(&[600, 700, 900])),
            draining_timeout: dice.pick(&DRAINING),
            weighted,
            subset_size: has_subsets.then(|| dice.pick(&[1, 2, 3])),
            failover: Failover {
                ratio: dice.pick(&[0.0, 0.0, 0.3, 0.5, 0.75, 1.0]),
                drop: dice.chance(30),
                void_on_switch: dice.chance(50),
            },
            members,
        }
    }

    /// True if a group of the service is a failover group.
    pub(crate) fn has_failover(&self) -> bool {
        self.members.iter().any(|(_, failover)| *failover)
    }

    fn write(&self, network: &str, out: &mut String) -> fmt::Result {
        let affinity = match self.affinity {
            Affinity::None => "NONE",
            Affinity::ClientIpPortProto => "CLIENT_IP_PORT_PROTO",
            Affinity::ClientIpProto => "CLIENT_IP_PROTO",
            Affinity::ClientIp => "CLIENT_IP",
            Affinity::ClientIpNoDestination => "CLIENT_IP_NO_DESTINATION",
        };
        let persistence = match self.persistence {
            Persistence::DefaultForProtocol => "DEFAULT_FOR_PROTOCOL",
            Persistence::NeverPersist => "NEVER_PERSIST",
            Persistence::AlwaysPersist => "ALWAYS_PERSIST",
        };
        let member =
            |(group, failover): &(String, bool)| format!("{{ group = \"{group}\", failover = {failover} }}");
        let members = self.members.iter().map(member).collect::<Vec<_>>().join(", ");
        writeln!(out, "[[backend_service]]\nname = \"{}\"\nprotocol = \"UNSPECIFIED\"", self.name)?;
        write!(out, "{network}")?;
        writeln!(out, "load_balancing_scheme = \"{}\"", self.scheme.word())?;
        writeln!(out, "session_affinity = \"{affinity}\"\nhealth_checks = [\"check\"]")?;
        let policy = if self.weighted { "WEIGHTED_MAGLEV" } else { "MAGLEV" };
        writeln!(out, "locality_lb_policy = \"{policy}\"\nbackends = [{members}]")?;
        if let Some(size) = self.subset_size {
            let policy = "CONSISTENT_HASH_SUBSETTING";
            writeln!(out, "subsetting = {{ policy = \"{policy}\", subset_size = {size} }}")?;
        }
        let mode = if self.per_session { "PER_SESSION" } else { "PER_CONNECTION" };
        writeln!(out, "[backend_service.connection_tracking_policy]\ntracking_mode = \"{mode}\"")?;
        writeln!(out, "connection_persistence_on_unhealthy_backends = \"{persistence}\"")?;
        if let Some(seconds) = self.idle_timeout {
            writeln!(out, "idle_timeout_sec = {seconds}")?;
        }
        let seconds = self.draining_timeout;
        writeln!(out, "[backend_service.connection_draining]\ndraining_timeout_sec = {seconds}")?;
        if self.has_failover() {
            let Failover { ratio, drop, void_on_switch } = self.failover;
            writeln!(out, "[backend_service.failover_policy]\nfailover_ratio = {ratio:?}")?;
            writeln!(out, "drop_traffic_if_unhealthy = {drop}")?;
            writeln!(out, "disable_connection_drain_on_failover = {void_on_switch}")?;
        }
        Ok(())
    }
}

impl Group {
    /// A random group, of one family if there is one; endpoints of both families are reached by tunnels.
    fn random(dice: &mut Dice, network: usize, number: usize, family: Option<bool>) -> Self {
        let deliveries: &[&str] = match family {
            Some(_) => &["l2", "ipip", "gre", "gue"],
            None => &["ipip", "gre", "gue"],
        };
        let endpoint = |dice: &mut Dice, host: usize| {
            let text = if family.unwrap_or(host.is_multiple_of(2)) {
                format!("10.1.{number}.{}", host + 1)
            } else {
                format!("fd00:{number}::{:x}", host + 1)
            };
            Endpoint {
                name: format!("backend-{number}-{host}"),
                address: text.parse().expect("an address"),
                weight: dice.pick(&WEIGHTS),
            }
        };
        let endpoints = (0..dice.pick(&[0, 1, 2, 3, 4, 6])).map(|host| endpoint(dice, host)).collect();
        let name = format!("group-{network}-{number}");
        Self { network, name, delivery: dice.pick(deliveries), endpoints }
    }
}
