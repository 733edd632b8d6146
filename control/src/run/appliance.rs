//! The live appliance as the control thread has it: configuration, state and neighbours in, snapshots out.
//!
//! No I/O and no clock: frames, changes and times are arguments, and what changes is published to the workers.

mod links;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use guideway_dataplane::address::{Address, Prefix};
use guideway_dataplane::egress::PortId;
use guideway_dataplane::ingress::NetworkId;
use guideway_dataplane::snapshot::Snapshot;
use guideway_engine::publish::{Feed, Publisher};
use guideway_model::config::{Config, NeighborReplies, VipRange};
use guideway_model::config_diff;
use guideway_model::forwarding_state::{Applied, ForwardingState, Setup, StateChange};
use guideway_model::path_mtu::PathMtu;

use crate::net::host_stack::{Answers, Conflict, FrameKind, HostStack, NextHop, Outgoing, Rates, Vip};

pub use links::{Nic, needs_udp_checksum};

/// Live appliance: forwarding state, publisher and host stack.
#[derive(Debug)]
pub struct Appliance {
    state: ForwardingState,
    publisher: Publisher<Snapshot>,
    host: HostStack,
    /// By port.
    nics: Vec<Nic>,
    /// Next hops that are being resolved.
    watched: BTreeSet<NextHop>,
    /// Number of next hops that found no room among the watched.
    unwatched: usize,
    /// Number of times that another host has claimed an address of the appliance, by what holds the address: itself, or a
    /// VIP's prefix.
    conflicts: BTreeMap<Prefix, u64>,
}

impl Appliance {
    /// An appliance with this configuration, on ports with these devices, in the order of the configuration.
    pub fn new(config: Config, nics: &[Nic], setup: Setup, now: Duration) -> Self {
        let host = HostStack::new(links::links(&config, nics), &vips(&config), Rates::default());
        let mut appliance = Self {
            state: ForwardingState::new(config, setup, now),
            publisher: Publisher::new(Snapshot::default()),
            host,
            nics: nics.to_vec(),
            watched: BTreeSet::new(),
            unwatched: 0,
            conflicts: BTreeMap::new(),
        };
        appliance.watch(now);
        appliance.host.announce_all(now);
        appliance.host.repeat_announcements(appliance.state.config().networks[0].garp_interval, now);
        appliance.publish();
        appliance
    }

    /// Feed that workers get their snapshots from.
    pub fn feed(&self) -> Feed<Snapshot> {
        self.publisher.feed()
    }

    /// Takes over another configuration, publishes it, and returns the differences.
    ///
    /// Settings that hold from the start stay as they are; where they differ, the difference says that it takes a restart.
    pub fn reload(&mut self, config: Config, now: Duration) -> Vec<config_diff::Change> {
        let own = |config: &Config| {
            let network = &config.networks[0];
            (network.ipv4_address, network.ipv6_address, network.mac_address)
        };
        let own_before = own(self.state.config());
        let Applied { config: changes, .. } = self.state.apply([StateChange::Config(Box::new(config))], now);
        let known: BTreeSet<Prefix> = self.host.vips().map(|(vip, _)| vip.addresses).collect();
        let vips = vips(self.state.config());
        self.host.set_links(links::links(self.state.config(), &self.nics), &vips);
        for vip in vips.iter().filter(|vip| vip.answers == Answers::Always && !known.contains(&vip.addresses))
        {
            // A VIP that is an address of the appliance itself was announced at the start.
            let _ = self.host.announce(vip.addresses, now);
        }
        if own(self.state.config()) != own_before {
            self.host.announce_all(now);
        }
        self.host.repeat_announcements(self.state.config().networks[0].garp_interval, now);
        self.watch(now);
        self.publish();
        changes
    }

    /// Takes in changes that happen together: what probes have found, what an operator says. A new configuration comes
    /// by [`Self::reload`].
    pub fn apply(&mut self, changes: impl IntoIterator<Item = StateChange>, now: Duration) -> Applied {
        self.state.apply(changes, now)
    }

    /// Takes in a frame that a worker has passed on.
    pub fn handle(&mut self, port: PortId, frame: &[u8], now: Duration) -> FrameKind {
        let kind = self.host.handle(port, frame, now);
        if kind == FrameKind::AddressConflict
            && let Some(conflict) = self.host.last_conflict()
        {
            *self.conflicts.entry(conflict.held).or_default() += 1;
        }
        kind
    }

    /// Takes in a frame that was passed and may hold an ICMP error about a tunnel packet of the appliance. Returns the
    /// endpoint whose path MTU is lower from now on, if there is one.
    pub fn take_in_tunnel_error(&mut self, frame: &[u8], now: Duration) -> Option<(Address, PathMtu)> {
        self.state.take_in_tunnel_error(NetworkId::FIRST, frame, now)
    }

    /// Latest claim of another host to an address of the appliance, where it is the first to this address, or to its VIP's prefix.
    pub fn new_conflict(&self) -> Option<Conflict> {
        self.host.last_conflict().filter(|conflict| self.conflicts(conflict.held) == 1)
    }

    /// Does what is due at `now`, and publishes what has changed.
    pub fn poll(&mut self, now: Duration) {
        self.host.poll(now);
        self.publish_changes(now);
    }

    /// Publishes what has changed since the latest snapshot, if anything has.
    pub fn publish_changes(&mut self, now: Duration) {
        if !self.host.events().is_empty() {
            self.state.apply([StateChange::Egress], now);
        }
        if self.state.is_stale() {
            self.publish();
        }
    }

    /// Does what is due every now and then: ends what has drained, frees what no worker reads any more.
    pub fn tidy(&mut self, now: Duration) {
        if self.state.expire(now) {
            self.watch(now);
        }
        self.state.expire_path_mtus(now);
        self.publisher.reclaim();
        self.state.close_unused_counters();
    }

    /// Takes the next frame that the appliance sends on its own behalf.
    pub fn transmit(&mut self) -> Option<Outgoing> {
        self.host.transmit()
    }

    /// Host stack: the appliance as a host on its links.
    pub fn host(&self) -> &HostStack {
        &self.host
    }

    /// Host stack, to announce and withdraw VIPs.
    pub fn host_mut(&mut self) -> &mut HostStack {
        &mut self.host
    }

    /// Forwarding state: configuration, services, names, totals.
    pub fn state(&self) -> &ForwardingState {
        &self.state
    }

    /// Configuration that is in force.
    pub fn config(&self) -> &Config {
        self.state.config()
    }

    /// Number of replaced snapshots that are not freed yet.
    pub fn unreclaimed_snapshots(&self) -> usize {
        self.publisher.unreclaimed()
    }

    /// Number of times that another host has claimed this address of the appliance, or one of this prefix.
    pub fn conflicts(&self, held: Prefix) -> u64 {
        self.conflicts.get(&held).copied().unwrap_or(0)
    }

    /// Number of next hops that are not known yet, those included that there is no room to ask for.
    pub fn unresolved_next_hops(&self) -> usize {
        let unknown = self.watched.iter().filter(|next_hop| self.host.mac(**next_hop).is_none());
        unknown.count() + self.unwatched
    }

    /// Resolves the next hops of all backends whose MAC addresses are not configured, and of no one else.
    fn watch(&mut self, now: Duration) {
        let backends = self.state.services().iter().flat_map(|(_, service)| service.backends());
        let unnamed = backends.filter(|backend| backend.next_hop_mac().is_none());
        let wanted: BTreeSet<NextHop> = unnamed
            .filter_map(|backend| self.host.next_hop(Address::from(backend.endpoint.address)))
            .collect();
        for next_hop in self.watched.difference(&wanted) {
            self.host.forget(*next_hop);
        }
        self.unwatched = wanted.len();
        self.watched =
            wanted.into_iter().filter(|next_hop| self.host.resolve(*next_hop, now).is_ok()).collect();
        self.unwatched -= self.watched.len();
    }

    fn publish(&mut self) {
        let snapshot = self.state.snapshot(&self.host);
        self.publisher.publish(snapshot);
    }
}

/// The VIPs, each once: rules of one VIP agree on who answers for it.
fn vips(config: &Config) -> Vec<Vip> {
    let answers = |replies| match replies {
        NeighborReplies::Always => Answers::Always,
        NeighborReplies::WhenAnnounced => Answers::WhenAnnounced,
        NeighborReplies::Never => Answers::Never,
    };
    let by_vip: BTreeMap<VipRange, NeighborReplies> =
        config.rules.iter().map(|rule| (rule.vip, rule.neighbor_replies)).collect();
    let vip = |(vip, replies): (VipRange, _)| Vip { addresses: vip.into(), answers: answers(replies) };
    by_vip.into_iter().map(vip).collect()
}
