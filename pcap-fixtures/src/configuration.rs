//! Configurations of the fixtures' appliance, built part by part and written as TOML.
//!
//! The lines of each table are TOML as they stand; what a test must know to tell where a packet ends up (which rule
//! leads to which service, where each backend is and how it is reached) is said in words beside them.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::delivery_mode::Mode;

/// IPv4 address of the appliance itself in every fixture.
pub const OWN_V4: &str = "192.0.2.1";
/// IPv6 address of the appliance itself in every fixture.
pub const OWN_V6: &str = "2001:db8:1::1";
/// MAC address of the tunnels' next hop in every fixture.
pub const GATEWAY_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0xfe];

/// Configuration of an appliance; [`Configuration::toml`] writes its file.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    network: Vec<String>,
    /// Lines of the `[conntrack]` table.
    conntrack: Vec<String>,
    pub(crate) own_mac: Option<[u8; 6]>,
    /// Prefixes that tunnels take their sources from, at most one of each family.
    pub(crate) tunnel_sources: Vec<(IpAddr, u8)>,
    /// Networks, each a VLAN; none where there is one network, which needs no word.
    networks: Vec<Network>,
    services: Vec<Service>,
    /// Access lists, each as the lines of its table.
    access_lists: Vec<String>,
    routes: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct Network {
    name: &'static str,
    vlan: u16,
}

#[derive(Clone, Debug)]
struct Service {
    name: &'static str,
    /// Name of its network, if that is not the first.
    network: Option<&'static str>,
    scheme: &'static str,
    lines: &'static str,
    rules: Vec<(&'static str, &'static str)>,
    groups: Vec<Group>,
}

#[derive(Clone, Debug)]
struct Group {
    name: &'static str,
    failover: bool,
    mode: Mode,
    lines: &'static str,
    endpoints: Vec<Endpoint>,
}

/// Backend of a service, with its address and delivery mode.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: &'static str,
    pub(crate) address: IpAddr,
    pub(crate) mode: Mode,
    weight: Option<u16>,
}

impl Endpoint {
    /// MAC address of the backend: on the appliance's own segment, its last byte is that of the IP address.
    pub(crate) fn mac(&self) -> [u8; 6] {
        let last = match self.address {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[15],
        };
        [0x02, 0, 0, 0, 0x01, last]
    }
}

impl Configuration {
    /// Makes the configuration of an appliance without services.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds lines to the `[network]` table.
    pub fn network(mut self, lines: &str) -> Self {
        self.network.push(lines.to_owned());
        self
    }

    /// Adds lines to the `[conntrack]` table.
    pub fn conntrack(mut self, lines: &str) -> Self {
        self.conntrack.push(lines.to_owned());
        self
    }

    /// Sets the MAC address that the appliance sends from; without it, frames leave from the address that they came
    /// to.
    pub fn own_mac(mut self, mac: [u8; 6]) -> Self {
        self.own_mac = Some(mac);
        self
    }

    /// Sets the prefixes that tunnels take their sources from, at most one of each family.
    pub fn tunnel_sources(mut self, prefixes: &[(&str, u8)]) -> Self {
        let parse = |text: &str| text.parse().expect("an IP address");
        self.tunnel_sources = prefixes.iter().map(|(network, length)| (parse(network), *length)).collect();
        self
    }

    /// Adds a network that is a VLAN; the services that are added next are its own.
    pub fn vlan_network(mut self, name: &'static str, vlan: u16) -> Self {
        self.networks.push(Network { name, vlan });
        self
    }

    /// Adds an EXTERNAL backend service with lines of its table; the rules and groups that are added next are its
    /// own.
    pub fn external(self, name: &'static str, lines: &'static str) -> Self {
        self.service(name, "EXTERNAL", lines)
    }

    /// Adds an INTERNAL backend service, as [`Configuration::external`] adds an external one.
    pub fn internal(self, name: &'static str, lines: &'static str) -> Self {
        self.service(name, "INTERNAL", lines)
    }

    fn service(mut self, name: &'static str, scheme: &'static str, lines: &'static str) -> Self {
        let network = self.networks.last().map(|network| network.name).filter(|_| self.networks.len() > 1);
        self.services.push(Service { name, network, scheme, lines, rules: Vec::new(), groups: Vec::new() });
        self
    }

    /// Adds an access list with lines of its table.
    pub fn access_list(mut self, name: &str, lines: &str) -> Self {
        self.access_lists.push(format!("name = '{name}'\n{lines}\n"));
        self
    }

    /// Adds a forwarding rule to the service that was added last.
    pub fn rule(mut self, name: &'static str, lines: &'static str) -> Self {
        self.last().rules.push((name, lines));
        self
    }

    /// Adds a primary backend group to the service that was added last.
    pub fn group(self, name: &'static str, mode: Mode, endpoints: &[(&'static str, &str)]) -> Self {
        self.any_group(name, false, mode, endpoints)
    }

    /// Adds a failover backend group to the service that was added last.
    pub fn failover_group(self, name: &'static str, mode: Mode, endpoints: &[(&'static str, &str)]) -> Self {
        self.any_group(name, true, mode, endpoints)
    }

    /// Adds lines to the group that was added last.
    pub fn group_lines(mut self, lines: &'static str) -> Self {
        self.last().groups.last_mut().expect("a group first").lines = lines;
        self
    }

    /// Sets the weights of the endpoints of the group that was added last.
    pub fn weights(mut self, weights: &[u16]) -> Self {
        let endpoints = &mut self.last().groups.last_mut().expect("a group first").endpoints;
        endpoints.iter_mut().zip(weights).for_each(|(endpoint, weight)| endpoint.weight = Some(*weight));
        self
    }

    /// Adds a route to a rule.
    pub fn route(mut self, name: &str, dest_range: &str, rule: &str) -> Self {
        let of_rule = |service: &&Service| service.rules.iter().any(|(name, _)| *name == rule);
        let network = in_network(self.services.iter().find(of_rule).and_then(|service| service.network));
        let lines =
            format!("name = '{name}'\n{network}dest_range = '{dest_range}'\nnext_hop_ilb = '{rule}'\n");
        self.routes.push(lines);
        self
    }

    fn any_group(
        mut self,
        name: &'static str,
        failover: bool,
        mode: Mode,
        endpoints: &[(&'static str, &str)],
    ) -> Self {
        let endpoint = |(name, address): &(&'static str, &str)| {
            let address = address.parse().expect("an IP address");
            Endpoint { name, address, mode, weight: None }
        };
        let endpoints = endpoints.iter().map(endpoint).collect();
        self.last().groups.push(Group { name, failover, mode, lines: "", endpoints });
        self
    }

    fn last(&mut self) -> &mut Service {
        self.services.last_mut().expect("a service first")
    }

    /// Finds the service behind a rule.
    pub(crate) fn service_of_rule(&self, rule: &str) -> Option<&'static str> {
        let has = |service: &&Service| service.rules.iter().any(|(name, _)| *name == rule);
        self.services.iter().find(has).map(|service| service.name)
    }

    /// Finds the service that has a backend of this name.
    pub(crate) fn service_of_backend(&self, backend: &str) -> Option<&'static str> {
        let has = |service: &&Service| service.endpoints().any(|endpoint| endpoint.name == backend);
        self.services.iter().find(has).map(|service| service.name)
    }

    /// Finds the backend of this name.
    pub(crate) fn endpoint(&self, backend: &str) -> Option<&Endpoint> {
        self.services.iter().flat_map(Service::endpoints).find(|endpoint| endpoint.name == backend)
    }

    /// Finds the network of a frame with a tag of this VLAN, or without one, where there are several.
    pub(crate) fn network_of(&self, vlan: Option<u16>) -> Option<&'static str> {
        let several = Some(&self.networks).filter(|networks| networks.len() > 1)?;
        several.iter().find(|network| Some(network.vlan) == vlan).map(|network| network.name)
    }

    /// Writes the configuration file.
    pub fn toml(&self) -> String {
        let mut text = String::new();
        if self.networks.is_empty() {
            text.push_str("[network]\n");
            self.write_network(&mut text);
        }
        for Network { name, vlan } in &self.networks {
            let gap = if text.is_empty() { "" } else { "\n" };
            let _ = write!(text, "{gap}[[network]]\nname = '{name}'\nvlan = {vlan}\n");
            self.write_network(&mut text);
        }
        text.push_str("\n[conntrack]\nmax_entries = 1024\n");
        self.conntrack.iter().for_each(|lines| text.push_str(&ended(lines)));
        for service in &self.services {
            service.write(&mut text);
        }
        for list in &self.access_lists {
            let _ = write!(text, "\n[[access_list]]\n{list}");
        }
        for route in &self.routes {
            let _ = write!(text, "\n[[route]]\n{route}");
        }
        text.push_str("\n[[health_check]]\nname = 'alive'\ntype = 'HTTP'\nport = 8080\n");
        text
    }

    /// Writes the keys that all networks have alike.
    fn write_network(&self, text: &mut String) {
        let _ = write!(
            text,
            "ipv4_address = '{OWN_V4}'\nipv6_address = '{OWN_V6}'\ngateway_mac_address = '{}'\n",
            mac(GATEWAY_MAC)
        );
        if let Some(own) = self.own_mac {
            let _ = writeln!(text, "mac_address = '{}'", mac(own));
        }
        if !self.tunnel_sources.is_empty() {
            let prefixes: Vec<_> =
                self.tunnel_sources.iter().map(|(network, length)| format!("'{network}/{length}'")).collect();
            let _ = writeln!(text, "tunnel_source_ranges = [{}]", prefixes.join(", "));
        }
        self.network.iter().for_each(|lines| text.push_str(&ended(lines)));
    }
}

impl Service {
    fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.groups.iter().flat_map(|group| &group.endpoints)
    }

    fn write(&self, text: &mut String) {
        let Self { name, scheme, .. } = self;
        let network = in_network(self.network);
        for (rule, lines) in &self.rules {
            let _ = write!(
                text,
                "\n\
                 [[forwarding_rule]]\n\
                 name = '{rule}'\n\
                 {network}\
                 load_balancing_scheme = '{scheme}'\n\
                 {}backend_service = '{name}'\n",
                ended(lines)
            );
        }
        let member = |group: &Group| {
            let failover = if group.failover { ", failover = true" } else { "" };
            format!("{{ group = '{}'{failover} }}", group.name)
        };
        let members: Vec<_> = self.groups.iter().map(member).collect();
        let _ = write!(
            text,
            "\n\
             [[backend_service]]\n\
             name = '{name}'\n\
             {network}\
             load_balancing_scheme = '{scheme}'\n\
             health_checks = ['alive']\n\
             backends = [{}]\n\
             {}",
            members.join(", "),
            ended(self.lines)
        );
        for group in &self.groups {
            let _ = write!(
                text,
                "\n[[backend_group]]\nname = '{}'\n{network}delivery = '{}'\n{}",
                group.name,
                group.mode.word(),
                ended(group.lines)
            );
            if let Mode::Gue { dst_port } = group.mode
                && group.mode != Mode::GUE
            {
                let _ = writeln!(text, "gue_port = {dst_port}");
            }
            text.push_str("endpoints = [\n");
            for endpoint in &group.endpoints {
                let _ =
                    write!(text, "    {{ name = '{}', ip_address = '{}'", endpoint.name, endpoint.address);
                if group.mode == Mode::L2 {
                    let _ = write!(text, ", mac_address = '{}'", mac(endpoint.mac()));
                }
                if let Some(weight) = endpoint.weight {
                    let _ = write!(text, ", weight = {weight}");
                }
                text.push_str(" },\n");
            }
            text.push_str("]\n");
        }
    }
}

/// Line that names a network, if it has to be named.
fn in_network(name: Option<&str>) -> String {
    name.map(|name| format!("network = '{name}'\n")).unwrap_or_default()
}

/// Appends an end of line, if there are any lines.
fn ended(lines: &str) -> String {
    let lines = lines.trim_end();
    if lines.is_empty() { String::new() } else { format!("{lines}\n") }
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}
