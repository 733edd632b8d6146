//! The appliance as a host in each of its networks: a host stack of its own, with links, addresses, VIPs and neighbours that
//! may be those of another network too.

use std::time::Duration;

use guideway_dataplane::address::Address;
use guideway_dataplane::egress::Egress;
use guideway_dataplane::ingress::NetworkId;
use guideway_model::config::Config;
use guideway_model::egress_lookup::EgressLookup;

use super::Nic;
use super::links::links;
use super::vips::vips;
use crate::net::host_stack::{Answers, Counters, FrameKind, HostStack, Link, Outgoing, Rates};

/// Host stacks of the networks, by [`NetworkId`].
#[derive(Debug)]
pub(super) struct Hosts {
    hosts: Vec<Host>,
    /// Index of the network whose frame was sent last: each has its turn.
    sent: usize,
    /// Counters of networks that are gone, or were on other links.
    gone: Counters,
    /// Frames of no network.
    foreign: u64,
}

/// Host stack of a network.
#[derive(Debug)]
struct Host {
    /// Name of the network, by which it is known over a reload.
    network: String,
    stack: HostStack,
}

impl Hosts {
    /// Host stacks of a configuration's networks, on ports with these devices; they announce their addresses.
    pub(super) fn new(config: &Config, nics: &[Nic], now: Duration) -> Self {
        let mut hosts = Self { hosts: Vec::new(), sent: 0, gone: Counters::default(), foreign: 0 };
        hosts.configure(config, nics, now);
        hosts
    }

    /// Takes over another configuration. What is known of neighbours stays in a network that stays on its links.
    pub(super) fn configure(&mut self, config: &Config, nics: &[Nic], now: Duration) {
        let mut known = std::mem::take(&mut self.hosts);
        let ids = (0..).map(NetworkId);
        for (id, network) in ids.zip(&config.networks) {
            let (links, vips) = (links(config, id, nics), vips(config, id));
            let before = known.iter().position(|host| host.network == network.name);
            let before = before.map(|index| known.swap_remove(index));
            let mut host = match before {
                Some(mut host) if has_places(&host.stack, &links) => {
                    let held = |stack: &HostStack| -> Vec<(Address, _)> {
                        stack
                            .links()
                            .flat_map(|link| link.addresses.iter().map(|own| (own.address, link.mac)))
                            .collect()
                    };
                    let (held_before, announced): (_, Vec<_>) =
                        (held(&host.stack), host.stack.vips().map(|(vip, _)| vip.addresses).collect());
                    host.stack.set_links(links, &vips);
                    let is_new = |vip: &&crate::net::host_stack::Vip| {
                        vip.answers == Answers::Always && !announced.contains(&vip.addresses)
                    };
                    for vip in vips.iter().filter(is_new) {
                        // A VIP that is an address of the appliance itself was announced at the start.
                        let _ = host.stack.announce(vip.addresses, now);
                    }
                    if held(&host.stack) != held_before {
                        host.stack.announce_all(now);
                    }
                    host
                }
                moved => {
                    let mut stack = HostStack::new(links, &vips, Rates::default());
                    // VIPs that an operator has announced stay so where the network goes.
                    let announced = moved.iter().flat_map(|host| host.stack.vips());
                    for (vip, _) in announced.filter(|(_, announced)| *announced) {
                        // An address that is no VIP any more, or has other `neighbor_replies`, is not announced.
                        let _ = stack.announce(vip.addresses, now);
                    }
                    stack.announce_all(now);
                    known.extend(moved);
                    Host { network: network.name.clone(), stack }
                }
            };
            host.stack.repeat_announcements(network.garp_interval, now);
            self.hosts.push(host);
        }
        // Counters never go back.
        known.iter().for_each(|host| self.gone.add(host.stack.counters()));
        self.sent = 0;
    }

    /// Counts a frame that is of no network; nobody answers it.
    pub(super) fn count_foreign(&mut self) {
        self.foreign += 1;
    }

    /// Names of the networks.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|host| &*host.network)
    }

    /// Number of the network of this name.
    pub(super) fn named(&self, name: &str) -> Option<NetworkId> {
        self.names().position(|network| network == name).map(|index| NetworkId(index as u8))
    }

    /// Host stack of a network.
    pub(super) fn get(&self, network: NetworkId) -> &HostStack {
        &self.hosts[usize::from(network.0)].stack
    }

    /// Host stack of a network, to be changed.
    pub(super) fn get_mut(&mut self, network: NetworkId) -> &mut HostStack {
        &mut self.hosts[usize::from(network.0)].stack
    }

    /// Host stacks, each with its network.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NetworkId, &HostStack)> {
        (0..).map(NetworkId).zip(self.hosts.iter().map(|host| &host.stack))
    }

    /// Does what is due at `now`.
    pub(super) fn poll(&mut self, now: Duration) {
        self.hosts.iter_mut().for_each(|host| host.stack.poll(now));
    }

    /// True where a neighbour is known, has changed, or is lost since the last call.
    pub(super) fn has_events(&mut self) -> bool {
        let events = self.hosts.iter_mut().map(|host| host.stack.events().len());
        events.sum::<usize>() > 0
    }

    /// The next frame to send, of the networks in turn.
    pub(super) fn transmit(&mut self) -> Option<Outgoing> {
        for _ in 0..self.hosts.len() {
            self.sent = (self.sent + 1) % self.hosts.len();
            if let Some(frame) = self.hosts[self.sent].stack.transmit() {
                return Some(frame);
            }
        }
        None
    }

    /// Counters of all networks since the start, added up.
    pub(super) fn counters(&self) -> Counters {
        let mut sum = self.gone.clone();
        self.hosts.iter().for_each(|host| sum.add(host.stack.counters()));
        sum.received[FrameKind::UnknownVlan as usize] += self.foreign;
        sum
    }
}

impl EgressLookup for Hosts {
    fn egress(&self, network: NetworkId, destination: Address) -> Egress {
        self.get(network).egress(destination)
    }
}

/// True if the links of a host stack are at these places: on these ports, in these VLANs.
fn has_places(stack: &HostStack, links: &[Link]) -> bool {
    stack.links().map(|link| (link.port, link.vlan)).eq(links.iter().map(|link| (link.port, link.vlan)))
}

#[cfg(test)]
mod tests {
    use guideway_dataplane::address::Prefix;
    use guideway_dataplane::egress::PortId;
    use guideway_dataplane::wire::ethernet::MacAddress;
    use pcap_fixtures::packet::Packet;

    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn config(networks: &[(&str, u16)]) -> Config {
        let network = |(name, vlan): &(&str, u16)| {
            format!(
                "[[network]]\nname = \"{name}\"\nvlan = {vlan}\nip_addresses = [\"192.0.2.1/24\"]\n\
                 [[forwarding_rule]]\nname = \"{name}\"\nnetwork = \"{name}\"\nip_address = \"192.0.2.100\"\n\
                 ports = [80]\nneighbor_replies = \"WHEN_ANNOUNCED\"\nbackend_service = \"{name}\"\n\
                 [[backend_service]]\nname = \"{name}\"\nnetwork = \"{name}\"\nhealth_checks = [\"alive\"]\n\
                 backends = [{{ group = \"{name}\" }}]\n\
                 [[backend_group]]\nname = \"{name}\"\nnetwork = \"{name}\"\nendpoints = []\n"
            )
        };
        let head = "[[port]]\nname = \"trunk\"\ndevice = \"net_null0\"\n\
                    [[health_check]]\nname = \"alive\"\ntype = \"TCP\"\n";
        let text = networks.iter().fold(head.to_owned(), |text, one| text + &network(one));
        Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn hosts(networks: &[(&str, u16)]) -> Hosts {
        Hosts::new(&config(networks), &NICS, Duration::ZERO)
    }

    const NICS: [Nic; 1] = [Nic { mac: MacAddress(MAC), offloads_udp_checksum: false }];

    fn echo_request(vlan: u16) -> Vec<u8> {
        let request = Packet::between("192.0.2.50", "192.0.2.1").macs([2, 0, 0, 0, 0, 9], MAC);
        request.vlan(vlan).echo_request(1, 1).payload_len(40).build()
    }

    #[test]
    fn a_network_that_moves_to_another_vlan_keeps_what_was_announced_and_answers_there_alone() {
        let mut hosts = hosts(&[("blue", 100), ("red", 200)]);
        let (red, vip) = (NetworkId(1), Prefix::from(Address::v4([192, 0, 2, 100])));
        hosts.get_mut(red).announce(vip, Duration::ZERO).expect("it is announceable");
        hosts.configure(&config(&[("blue", 100), ("red", 201)]), &NICS, Duration::ZERO);
        let announced = |hosts: &Hosts| -> Vec<Vec<bool>> {
            hosts.iter().map(|(_, stack)| stack.vips().map(|(_, announced)| announced).collect()).collect()
        };
        assert_eq!(announced(&hosts), [[false], [true]]);
        let mut handle = |vlan| hosts.get_mut(red).handle(PortId(0), &echo_request(vlan), Duration::ZERO);
        assert_eq!((handle(200), handle(201)), (FrameKind::UnknownVlan, FrameKind::Echo));
        // Numbers change where networks come and go; what is known by name does not.
        hosts.configure(&config(&[("red", 201), ("green", 300), ("blue", 100)]), &NICS, Duration::ZERO);
        assert_eq!(announced(&hosts), [[true], [false], [false]]);
    }

    #[test]
    fn counters_never_go_back_and_have_the_frames_of_no_network() {
        let mut hosts = hosts(&[("blue", 100), ("red", 200)]);
        hosts.get_mut(NetworkId(0)).handle(PortId(0), &echo_request(100), Duration::ZERO);
        hosts.get_mut(NetworkId(1)).handle(PortId(0), &echo_request(200), Duration::ZERO);
        hosts.count_foreign();
        let counted = |hosts: &Hosts| {
            let counters = hosts.counters();
            (counters.received(FrameKind::Echo), counters.received(FrameKind::UnknownVlan), counters.answered)
        };
        assert_eq!(counted(&hosts), (2, 1, 2));
        hosts.configure(&config(&[("red", 201)]), &NICS, Duration::ZERO);
        assert_eq!(counted(&hosts), (2, 1, 2), "one is gone, and one has moved");
        hosts.get_mut(NetworkId(0)).handle(PortId(0), &echo_request(201), Duration::ZERO);
        assert_eq!(counted(&hosts), (3, 1, 3));
    }
}
