//! The live appliance as the control thread has it: configuration, state and neighbours in, snapshots out.
//!
//! No I/O and no clock: frames, changes and times are arguments, and what changes is published to the workers.

mod hosts;
mod links;
mod neighbour_news;
mod pace;
mod vips;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use guideway_dataplane::address::{Address, Prefix};
use guideway_dataplane::egress::PortId;
use guideway_dataplane::ingress::NetworkId;
use guideway_dataplane::snapshot::Snapshot;
use guideway_engine::publish::{Feed, Publisher};
use guideway_model::config::Config;
use guideway_model::config_diff;
use guideway_model::forwarding_state::{Applied, ForwardingState, Prepared, Setup, StateChange};
use guideway_model::path_mtu::PathMtu;

use crate::net::host_stack::{Conflict, Counters, FrameKind, HostStack, NextHop, Outgoing};
use hosts::Hosts;
use neighbour_news::NeighbourNews;
use pace::Pace;

pub use links::{Nic, needs_udp_checksum};
pub use neighbour_news::{NeighbourChange, NeighbourUsers};

/// Live appliance: forwarding state, publisher and host stack.
#[derive(Debug)]
pub struct Appliance {
    state: ForwardingState,
    publisher: Publisher<Snapshot>,
    pace: Pace,
    hosts: Hosts,
    /// By port.
    nics: Vec<Nic>,
    /// Next hops that are being resolved.
    watched: BTreeSet<(NetworkId, NextHop)>,
    /// Number of next hops that found no room among the watched.
    unwatched: usize,
    neighbour_news: NeighbourNews,
    /// Number of times that another host has claimed an address of the appliance, by the network and what holds the address:
    /// itself, or a VIP's prefix.
    conflicts: BTreeMap<(NetworkId, Prefix), u64>,
}

impl Appliance {
    /// An appliance with this configuration, on ports with these devices, in the order of the configuration.
    pub fn new(config: Config, nics: &[Nic], setup: Setup, now: Duration) -> Self {
        let hosts = Hosts::new(&config, nics, now);
        let mut appliance = Self {
            state: ForwardingState::new(config, setup, now),
            publisher: Publisher::new(Snapshot::default()),
            pace: Pace::new(),
            hosts,
            nics: nics.to_vec(),
            watched: BTreeSet::new(),
            unwatched: 0,
            neighbour_news: NeighbourNews::default(),
            conflicts: BTreeMap::new(),
        };
        appliance.watch(now);
        appliance.publish(now);
        appliance
    }

    /// Feed that workers get their snapshots from.
    pub fn feed(&self) -> Feed<Snapshot> {
        self.publisher.feed()
    }

    /// Takes in what was made ahead for a configuration, before it is taken over.
    pub fn adopt(&mut self, prepared: Prepared) {
        self.state.adopt(prepared);
    }

    /// Takes over another configuration, publishes it, and returns the differences.
    ///
    /// Settings that hold from the start stay as they are; where they differ, the difference says that it takes a restart.
    pub fn reload(&mut self, config: Config, now: Duration) -> Vec<config_diff::Change> {
        let Applied { config: changes, .. } = self.state.apply([StateChange::Config(Box::new(config))], now);
        self.hosts.configure(self.state.config(), &self.nics, now);
        self.watched.retain(|(network, _)| self.hosts.has(*network));
        self.conflicts.retain(|(network, _), _| self.hosts.has(*network));
        self.watch(now);
        self.publish(now);
        changes
    }

    /// Takes in changes that happen together: what probes have found, what an operator says. A new configuration comes
    /// by [`Self::reload`].
    pub fn apply(&mut self, changes: impl IntoIterator<Item = StateChange>, now: Duration) -> Applied {
        let (state, pace) = (&mut self.state, &mut self.pace);
        let mut applied = Applied::default();
        for change in changes {
            if let Some(service) = change.service() {
                if !change.is_of_probe() {
                    pace.hurry(service);
                } else if state.is_service_stale(service) {
                    pace.coalesce();
                }
            }
            let Applied { config, unknown } = state.apply([change], now);
            applied.config.extend(config);
            applied.unknown.extend(unknown);
        }
        applied
    }

    /// Network of a frame that came by a port; `None` if it is of no network, which is counted.
    pub fn network_of(&mut self, port: PortId, frame: &[u8]) -> Option<NetworkId> {
        let network = self.state.network_of(port, frame);
        if network.is_none() {
            self.hosts.count_foreign();
        }
        network
    }

    /// Takes in a frame of a network that a worker has passed on.
    pub fn handle(&mut self, network: NetworkId, port: PortId, frame: &[u8], now: Duration) -> FrameKind {
        let host = self.hosts.get_mut(network);
        let kind = host.handle(port, frame, now);
        if kind == FrameKind::AddressConflict
            && let Some(conflict) = host.last_conflict()
        {
            *self.conflicts.entry((network, conflict.held)).or_default() += 1;
        }
        kind
    }

    /// Takes in a frame of a network that was passed and may hold an ICMP error about a tunnel packet of the appliance.
    /// Returns the endpoint whose path MTU is lower from now on, if there is one.
    pub fn take_in_tunnel_error(
        &mut self,
        network: NetworkId,
        frame: &[u8],
        now: Duration,
    ) -> Option<(Address, PathMtu)> {
        self.state.take_in_tunnel_error(network, frame, now)
    }

    /// Latest claim of another host in a network to an address of the appliance, where it is the first to this address, or to
    /// its VIP's prefix.
    pub fn new_conflict(&self, network: NetworkId) -> Option<Conflict> {
        let latest = self.hosts.get(network).last_conflict();
        latest.filter(|conflict| self.conflicts(network, conflict.held) == 1)
    }

    /// Notes that frames for the appliance itself were lost before this moment: a neighbour may have answered unheard.
    pub fn note_lost_frames(&mut self, now: Duration) {
        self.hosts.note_lost_frames(now);
    }

    /// True if a claim to a neighbour's address waits for the word of the known MAC address.
    pub fn has_claimed_neighbours(&self) -> bool {
        self.hosts.iter().any(|(_, host)| host.has_claimed_neighbours())
    }

    /// Does what is due at `now`, and publishes what has changed.
    pub fn poll(&mut self, now: Duration) {
        self.hosts.poll(now);
        self.publish_changes(now);
    }

    /// Publishes what has changed since the latest snapshot, if anything has, and if it is not slowed as repetition.
    pub fn publish_changes(&mut self, now: Duration) {
        let events = self.hosts.events();
        if !events.is_empty() {
            self.neighbour_news.take_in(events);
            self.state.apply([StateChange::Egress], now);
        }
        if !self.state.is_stale() {
            return;
        }
        self.state.settle();
        // New changes are not slowed by those that repeat themselves.
        let is_first = |stale: &str| self.pace.is_first(stale, now);
        let is_new = self.state.is_egress_stale()
            || self.state.stale_services().is_none_or(|mut stale| stale.any(is_first));
        // Workers may have given some back since.
        if !self.pace.has_room(self.publisher.unreclaimed(), is_new, now) {
            self.publisher.reclaim();
        }
        if !self.pace.has_room(self.publisher.unreclaimed(), is_new, now) {
            return;
        }
        // Without services, everything is stale, by a configuration.
        let due = self.state.stale_services().map(|stale| self.pace.due(stale, now));
        match due {
            None => self.publish(now),
            Some(due) if due.is_empty() && !self.state.is_egress_stale() => {}
            Some(due) => {
                let snapshot = self.state.snapshot_of(&self.hosts, |service| due.contains(service));
                self.publisher.publish(snapshot);
                self.pace.published(now);
            }
        }
    }

    /// Does what is due every now and then: ends what has drained, frees what no worker reads any more, takes
    /// a sample of the traffic.
    pub fn tidy(&mut self, now: Duration) {
        if self.state.expire(now) {
            self.watch(now);
        }
        self.state.expire_path_mtus(now);
        self.publisher.reclaim();
        self.state.close_unused_counters();
        self.state.sample_traffic(now);
    }

    /// Takes the next frame that the appliance sends on its own behalf.
    pub fn transmit(&mut self) -> Option<Outgoing> {
        self.hosts.transmit()
    }

    /// Host stack of a network: the appliance as a host on its links there.
    pub fn host(&self, network: NetworkId) -> &HostStack {
        self.hosts.get(network)
    }

    /// Host stack of a network, to announce and withdraw VIPs.
    pub fn host_mut(&mut self, network: NetworkId) -> &mut HostStack {
        self.hosts.get_mut(network)
    }

    /// Host stacks of all networks.
    pub fn hosts(&self) -> impl Iterator<Item = (NetworkId, &HostStack)> {
        self.hosts.iter()
    }

    /// Counters of the host stacks, added up over the networks.
    pub fn host_counters(&self) -> Counters {
        self.hosts.counters()
    }

    /// Forwarding state: configuration, services, names, totals.
    pub fn state(&self) -> &ForwardingState {
        &self.state
    }

    /// Configuration that is in force.
    pub fn config(&self) -> &Config {
        self.state.config()
    }

    /// Number of changes by probes that came while an earlier one of their service waited for a snapshot.
    pub fn coalesced_changes(&self) -> u64 {
        self.pace.coalesced()
    }

    /// Number of replaced snapshots that are not freed yet.
    pub fn unreclaimed_snapshots(&self) -> usize {
        self.publisher.unreclaimed()
    }

    /// True if workers hold as many snapshots as they ever may.
    pub fn holds_most_snapshots(&self) -> bool {
        self.unreclaimed_snapshots() >= 2 * pace::MOST_HELD
    }

    /// Number of times that another host in a network has claimed this address of the appliance, or one of this prefix.
    pub fn conflicts(&self, network: NetworkId, held: Prefix) -> u64 {
        self.conflicts.get(&(network, held)).copied().unwrap_or(0)
    }

    /// Asks at once if a backend's next hop is still where it was, as a probe of the backend has failed.
    pub fn doubt_next_hop(&mut self, service: &str, backend: &str, now: Duration) {
        let Some(service) = self.state.services().get(service) else { return };
        let Some(backend) = service.backends().find(|known| known.endpoint.name == backend) else { return };
        let (network, address) = (service.network(), Address::from(backend.endpoint.address));
        self.hosts.doubt(network, address, now);
    }

    /// Number of next hops that are not known yet, those included that there is no room to ask for.
    pub fn unresolved_next_hops(&self) -> usize {
        let unknown =
            self.watched.iter().filter(|(network, next_hop)| self.host(*network).mac(*next_hop).is_none());
        unknown.count() + self.unwatched
    }

    /// Resolves the next hops of all backends whose MAC addresses are not configured, and of no one else.
    fn watch(&mut self, now: Duration) {
        let backends = self
            .state
            .services()
            .iter()
            .flat_map(|(_, service)| service.backends().map(|backend| (service.network(), backend)));
        let unnamed = backends.filter(|(_, backend)| backend.next_hop_mac().is_none());
        let wanted: BTreeSet<(NetworkId, NextHop)> = unnamed
            .filter_map(|(network, backend)| {
                let next_hop = self.host(network).next_hop(Address::from(backend.endpoint.address))?;
                Some((network, next_hop))
            })
            .collect();
        for (network, next_hop) in self.watched.difference(&wanted) {
            self.hosts.get_mut(*network).forget(*next_hop);
        }
        self.unwatched = wanted.len();
        let hosts = &mut self.hosts;
        let resolves = |(network, next_hop): &(NetworkId, NextHop)| {
            hosts.get_mut(*network).resolve(*next_hop, now).is_ok()
        };
        self.watched = wanted.into_iter().filter(resolves).collect();
        self.unwatched -= self.watched.len();
    }

    fn publish(&mut self, now: Duration) {
        let snapshot = self.state.snapshot(&self.hosts);
        self.publisher.publish(snapshot);
        self.pace.published(now);
    }
}
