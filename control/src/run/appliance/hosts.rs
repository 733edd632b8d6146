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
use crate::net::host_stack::{Answers, Counters, HostStack, Link, Outgoing, Rates};

/// Host stacks of the networks, by [`NetworkId`].
#[derive(Debug)]
pub(super) struct Hosts {
    hosts: Vec<Host>,
    /// Index of the network whose frame was sent last: each has its turn.
    sent: usize,
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
        let mut hosts = Self { hosts: Vec::new(), sent: 0 };
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
            let mut host = match before.filter(|host| has_places(&host.stack, &links)) {
                Some(mut host) => {
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
                None => {
                    let mut stack = HostStack::new(links, &vips, Rates::default());
                    stack.announce_all(now);
                    Host { network: network.name.clone(), stack }
                }
            };
            host.stack.repeat_announcements(network.garp_interval, now);
            self.hosts.push(host);
        }
        self.sent = 0;
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

    /// All host stacks, each with its network.
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

    /// Counters of all networks, added up.
    pub(super) fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.hosts.iter().for_each(|host| sum.add(host.stack.counters()));
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
