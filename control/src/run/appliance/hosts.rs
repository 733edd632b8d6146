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
use crate::net::host_stack::{
    Answers, Counters, FrameKind, HostStack, Link, NeighbourEvent, NextHop, Outgoing, Rates, RefusedClaims,
};

/// Host stacks of the networks, in the order of the configuration.
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
    network: NetworkId,
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
        for (index, network) in config.networks.iter().enumerate() {
            let (links, vips) = (links(config, index, nics), vips(config, index));
            let before = known.iter().position(|host| host.network == network.id);
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
                    Host { network: network.id, stack }
                }
            };
            host.stack.repeat_announcements(network.garp_interval, now);
            self.hosts.push(host);
        }
        // Counters never go back.
        known.iter().for_each(|host| self.gone.add(host.stack.counters()));
        self.sent = 0;
    }

    /// Notes in every network that frames were lost.
    pub(super) fn note_lost_frames(&mut self, now: Duration) {
        self.hosts.iter_mut().for_each(|host| host.stack.note_lost_frames(now));
    }

    /// Counts a frame that is of no network; nobody answers it.
    pub(super) fn count_foreign(&mut self) {
        self.foreign += 1;
    }

    /// True if there is a network of this number.
    pub(super) fn has(&self, network: NetworkId) -> bool {
        self.hosts.iter().any(|host| host.network == network)
    }

    /// Host stack of a network.
    pub(super) fn get(&self, network: NetworkId) -> &HostStack {
        let host = self.hosts.iter().find(|host| host.network == network);
        &host.expect(CONFIGURED).stack
    }

    /// Host stack of a network, to be changed.
    pub(super) fn get_mut(&mut self, network: NetworkId) -> &mut HostStack {
        let host = self.hosts.iter_mut().find(|host| host.network == network);
        &mut host.expect(CONFIGURED).stack
    }

    /// Host stacks, each with its network.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NetworkId, &HostStack)> {
        self.hosts.iter().map(|host| (host.network, &host.stack))
    }

    /// Does what is due at `now`.
    pub(super) fn poll(&mut self, now: Duration) {
        self.hosts.iter_mut().for_each(|host| host.stack.poll(now));
    }

    /// Asks at once if the neighbour that packets to `destination` are sent to is still where it was.
    pub(super) fn doubt(&mut self, network: NetworkId, destination: Address, now: Duration) {
        let stack = self.get_mut(network);
        if let Some(next_hop) = stack.next_hop(destination) {
            stack.doubt(next_hop, now);
        }
    }

    /// Neighbours that are known, have changed, or are lost since the last call.
    pub(super) fn events(&mut self) -> Vec<(NetworkId, NeighbourEvent)> {
        let of_host = |host: &mut Host| {
            let network = host.network;
            host.stack.events().into_iter().map(move |event| (network, event))
        };
        self.hosts.iter_mut().flat_map(of_host).collect()
    }

    /// Claims to neighbours' addresses that were refused since the last call.
    pub(super) fn take_refused_claims(&mut self) -> Vec<(NetworkId, NextHop, RefusedClaims)> {
        let of_host = |host: &mut Host| {
            let network = host.network;
            let refused = host.stack.take_refused_claims().into_iter();
            refused.map(move |(next_hop, claims)| (network, next_hop, claims))
        };
        self.hosts.iter_mut().flat_map(of_host).collect()
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

/// Reason why the host stack of a network is there: nobody has a number of any other.
const CONFIGURED: &str = "every network of the configuration has a host stack";

/// True if the links of a host stack are at these places: on these ports, in these VLANs.
fn has_places(stack: &HostStack, links: &[Link]) -> bool {
    stack.links().map(|link| (link.port, link.vlan)).eq(links.iter().map(|link| (link.port, link.vlan)))
}

#[cfg(test)]
mod tests {
    use guideway_dataplane::address::Prefix;
    use guideway_dataplane::egress::PortId;
    use guideway_dataplane::wire::ethernet::MacAddress;
    use guideway_model::forwarding_state::{ForwardingState, StateChange};
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

    /// Hosts of an appliance, whose forwarding state numbers its networks.
    struct Appliance {
        state: ForwardingState,
        hosts: Hosts,
    }

    impl Appliance {
        fn new(networks: &[(&str, u16)]) -> Self {
            let state = ForwardingState::offline(config(networks));
            let hosts = Hosts::new(state.config(), &NICS, Duration::ZERO);
            Self { state, hosts }
        }

        fn reload(&mut self, networks: &[(&str, u16)]) {
            self.state.apply([StateChange::Config(Box::new(config(networks)))], Duration::ZERO);
            self.hosts.configure(self.state.config(), &NICS, Duration::ZERO);
        }

        /// True for each VIP, in the order of the networks, that is announced.
        fn announced(&self) -> Vec<bool> {
            self.hosts.iter().flat_map(|(_, stack)| stack.vips().map(|(_, announced)| announced)).collect()
        }

        fn handle(&mut self, network: u8, vlan: u16) -> FrameKind {
            self.hosts.get_mut(NetworkId(network)).handle(PortId(0), &echo_request(vlan), Duration::ZERO)
        }
    }

    const NICS: [Nic; 1] = [Nic { mac: MacAddress(MAC), offloads_udp_checksum: false }];

    fn echo_request(vlan: u16) -> Vec<u8> {
        let request = Packet::between("192.0.2.50", "192.0.2.1").macs([2, 0, 0, 0, 0, 9], MAC);
        request.vlan(vlan).echo_request(1, 1).payload_len(40).build()
    }

    fn vip() -> Prefix {
        Prefix::from(Address::v4([192, 0, 2, 100]))
    }

    #[test]
    fn a_network_that_moves_to_another_vlan_keeps_what_was_announced_and_answers_there_alone() {
        let mut appliance = Appliance::new(&[("blue", 100), ("red", 200)]);
        appliance.hosts.get_mut(NetworkId(1)).announce(vip(), Duration::ZERO).expect("it is announceable");
        appliance.reload(&[("blue", 100), ("red", 201)]);
        assert_eq!(appliance.announced(), [false, true]);
        let kinds = (appliance.handle(1, 200), appliance.handle(1, 201));
        assert_eq!(kinds, (FrameKind::UnknownVlan, FrameKind::Echo));
        appliance.reload(&[("red", 201), ("green", 300), ("blue", 100)]);
        assert_eq!(appliance.announced(), [true, false, false]);
    }

    #[test]
    fn a_next_hop_in_doubt_is_asked_at_once_and_alone() {
        let secs = Duration::from_secs;
        let mut appliance = Appliance::new(&[("blue", 100)]);
        let host = appliance.hosts.get_mut(NetworkId(0));
        let backend = Address::v4([192, 0, 2, 12]);
        let neighbour = host.next_hop(backend).expect("it is on the link");
        host.resolve(neighbour, secs(0)).expect("there is room");
        let mac = MacAddress([2, 0, 0, 0, 0, 0xb]);
        let head = [&MAC[..], &mac.0, &[0x81, 0, 0, 100, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2]].concat();
        let reply = [&head[..], &mac.0, &[192, 0, 2, 12], &MAC, &[192, 0, 2, 1], &[0; 18]].concat();
        host.handle(PortId(0), &reply, secs(0));
        let mut asked = |doubts: bool, at: u64| {
            if doubts {
                appliance.hosts.doubt(NetworkId(0), backend, secs(at));
            }
            appliance.hosts.poll(secs(at));
            let sent = std::iter::from_fn(|| appliance.hosts.transmit());
            sent.filter(|frame| frame.bytes[..6] == mac.0).count()
        };
        assert_eq!((asked(false, 5), asked(true, 5), asked(true, 5)), (0, 1, 0));
    }

    #[test]
    fn a_sole_network_that_is_renamed_keeps_its_neighbours_and_what_was_announced() {
        let mut appliance = Appliance::new(&[("blue", 100)]);
        let host = appliance.hosts.get_mut(NetworkId(0));
        host.announce(vip(), Duration::ZERO).expect("it is announceable");
        let neighbour = host.next_hop(Address::v4([192, 0, 2, 12])).expect("it is on the link");
        host.resolve(neighbour, Duration::ZERO).expect("there is room");
        let mac = MacAddress([2, 0, 0, 0, 0, 0xb]);
        let head = [&MAC[..], &mac.0, &[0x81, 0, 0, 100, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2]].concat();
        let reply = [&head[..], &mac.0, &[192, 0, 2, 12], &MAC, &[192, 0, 2, 1], &[0; 18]].concat();
        host.handle(PortId(0), &reply, Duration::ZERO);
        assert_eq!(host.mac(neighbour), Some(mac));

        appliance.reload(&[("red", 100)]);
        assert_eq!(appliance.announced(), [true]);
        assert_eq!(appliance.hosts.get(NetworkId(0)).mac(neighbour), Some(mac));
        // A network among several is known by its name alone.
        appliance.reload(&[("blue", 100), ("green", 200)]);
        assert_eq!(appliance.announced(), [false, false]);
    }

    #[test]
    fn counters_never_go_back_and_have_the_frames_of_no_network() {
        let mut appliance = Appliance::new(&[("blue", 100), ("red", 200)]);
        appliance.handle(0, 100);
        appliance.handle(1, 200);
        appliance.hosts.count_foreign();
        let counted = |appliance: &Appliance| {
            let counters = appliance.hosts.counters();
            (counters.received(FrameKind::Echo), counters.received(FrameKind::UnknownVlan), counters.answered)
        };
        assert_eq!(counted(&appliance), (2, 1, 2));
        appliance.reload(&[("red", 201)]);
        assert_eq!(counted(&appliance), (2, 1, 2), "one is gone, and one has moved");
        appliance.handle(1, 201);
        assert_eq!(counted(&appliance), (3, 1, 3));
    }
}
