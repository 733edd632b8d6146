//! Health checks as the control thread drives them: probes go out as packets do, and their outcomes change the services.

use std::net::IpAddr;
use std::time::Duration;

use guideway_dataplane::frame::Frame;
use guideway_dataplane::ingress::NetworkId;
use guideway_dataplane::network::OwnAddresses;
use guideway_dataplane::packet::Packet;
use guideway_dataplane::snapshot::Snapshot;
use guideway_engine::publish::Subscriber;
use guideway_model::config::{Config, Network};
use tokio::sync::mpsc;

use super::event_log::Note;
use super::stalls::ProbeTime;
use super::workers::Workers;
use crate::api::view::EventKind;
use crate::health::change::HealthChange;
use crate::health::descriptors;
use crate::health::monitor::{Monitor, Stacks};
use crate::health::scheduler::ProbeReport;
use crate::net::probe_tcp::{Handle, Limits, ProbeTcp};
use crate::run::appliance::Appliance;
use crate::run::ports::Ports;

/// The health checks of the configuration in force, and the way of their probes to the backends.
#[derive(Debug)]
pub(super) struct Probes {
    monitor: Monitor,
    /// Probes' ways into the networks.
    networks: Vec<NetworkProbes>,
    /// The snapshots that probes are delivered by.
    snapshots: Subscriber<Snapshot>,
}

/// The way of probes into a network.
#[derive(Debug)]
struct NetworkProbes {
    network: NetworkId,
    /// The addresses that probes come from.
    own: OwnAddresses,
    limits: Limits,
    /// The VLAN that probes are sent in.
    vlan: Option<u16>,
    stack: Handle,
}

/// Changes that health checks have come to, for the appliance to take over.
#[derive(Debug, Default)]
pub(super) struct HealthUpdate {
    pub(super) changes: Vec<HealthChange>,
    /// An event for each change.
    pub(super) notes: Vec<Note>,
    /// End of the first probe that decided any of the changes; none where no probe did.
    pub(super) decided: Option<Duration>,
}

impl HealthUpdate {
    /// Adds changes; `error` is the outcome of the probe that turned a backend unhealthy, if one did.
    fn add(&mut self, changes: Vec<HealthChange>, error: Option<&str>) {
        self.notes.extend(changes.iter().map(|change| note(change, error)));
        self.changes.extend(changes);
    }

    /// Notes that a probe, which ended at this time, has decided something.
    fn decide(&mut self, ended: Duration) {
        self.decided = Some(self.decided.map_or(ended, |decided| decided.min(ended)));
    }
}

impl Probes {
    /// Begins the checks of the appliance's configuration. Outcomes of probes go to `reports`, from where they are to come
    /// back to [`Self::take_in`].
    ///
    /// # Panics
    /// Outside of a [`tokio::task::LocalSet`].
    pub(super) fn new(
        appliance: &Appliance,
        reports: mpsc::Sender<ProbeReport>,
        now: Duration,
    ) -> (Self, HealthUpdate) {
        let monitor = Monitor::new(Stacks::new(), reports);
        let mut probes = Self { monitor, networks: Vec::new(), snapshots: appliance.feed().subscribe() };
        let update = probes.configure(appliance, now);
        (probes, update)
    }

    /// Replaces the checks by those of the appliance's configuration; returns what changes for backends that stay.
    pub(super) fn configure(&mut self, appliance: &Appliance, now: Duration) -> HealthUpdate {
        let config = appliance.config();
        self.replace_stacks(config);
        // Where there are too few all the same, `descriptors::warning` says so.
        let _ = descriptors::provide(descriptors::wanted(config));
        let mut update = HealthUpdate::default();
        update.add(self.monitor.configure(config, appliance.state().services(), now), None);
        update
    }

    /// Makes stacks for networks that are new, or have other own addresses; keeps those of all others.
    fn replace_stacks(&mut self, config: &Config) {
        let mut known: Vec<_> = std::mem::take(&mut self.networks);
        let mut wakes = known.first().map(|network| network.stack.clone());
        let mut changed = Vec::new();
        for (index, network) in config.networks.iter().enumerate() {
            let (own, limits) = (own_addresses(config, index), limits(network));
            let is_same = |known: &NetworkProbes| (known.own, known.limits) == (own, limits);
            let kept = known.iter().position(|known| known.network == network.id && is_same(known));
            let stack = match kept {
                Some(kept) => known.swap_remove(kept).stack,
                None => {
                    changed.push(network.id);
                    let stack = ProbeTcp::new(own, fastrand::u64(..), limits);
                    match &wakes {
                        Some(wakes) => wakes.beside(stack),
                        None => Handle::new(stack),
                    }
                }
            };
            wakes.get_or_insert_with(|| stack.clone());
            let (network, vlan) = (network.id, network.vlan);
            self.networks.push(NetworkProbes { network, own, limits, vlan, stack });
        }
        let stacks = self.networks.iter().map(|network| (network.network, network.stack.clone()));
        self.monitor.replace_stacks(stacks.collect(), &changed);
    }

    /// Takes in the outcomes of probes, in the order in which these ended.
    pub(super) fn take_in(&mut self, reports: &[ProbeReport], now: Duration) -> HealthUpdate {
        let ended = |report: &ProbeReport| now.saturating_sub(report.ended.elapsed());
        let mut update = HealthUpdate::default();
        for report in reports {
            let changes = self.monitor.take_in(report, now);
            if !changes.is_empty() {
                update.decide(ended(report));
            }
            update.add(changes, report.result.failure());
        }
        let standing = self.monitor.end_first_rounds(now);
        if let Some(first) = reports.first().filter(|_| !standing.is_empty()) {
            update.decide(ended(first));
        }
        update.add(standing, None);
        update
    }

    /// The time of a probe that has ended, and the threads that it went by.
    pub(super) fn time_of(&self, report: &ProbeReport, now: Duration) -> ProbeTime {
        let ended = now.saturating_sub(report.ended.elapsed());
        let by_workers = self.monitor.is_in_path(&report.id);
        ProbeTime { began: ended.saturating_sub(report.latency), ended, by_workers }
    }

    /// Ends the first rounds whose time is over, though no probe has ended since.
    pub(super) fn end_first_rounds(&mut self, now: Duration) -> HealthUpdate {
        let mut update = HealthUpdate::default();
        update.add(self.monitor.end_first_rounds(now), None);
        update
    }

    /// Hands a frame of a network for the appliance itself to the probes' connections there: it may be a backend's answer.
    pub(super) fn receive(&self, network: NetworkId, frame: &[u8]) {
        let Some(network) = self.networks.iter().find(|known| known.network == network) else { return };
        let Ok(packet) = Packet::parse(frame) else { return };
        let start = usize::from(packet.l3_offset);
        // Without what pads a short frame.
        if let Some(bytes) = frame.get(start..start + packet.l3_len as usize) {
            network.stack.receive(bytes);
        }
    }

    /// Sends the packets of probes in the path of traffic, each to its backend as a packet of traffic is sent.
    pub(super) fn send<P: Ports>(&mut self, workers: &mut Workers<P>) {
        let snapshot = self.snapshots.repin();
        for NetworkProbes { stack, vlan, .. } in &self.networks {
            stack.poll();
            while let Some(outgoing) = stack.transmit() {
                let Some(backend) = snapshot.backend(outgoing.backend) else { continue };
                let Some(mut frame) = workers.frame(&outgoing.into_frame(*vlan)) else { continue };
                let Ok(packet) = Packet::parse(frame.bytes()) else { continue };
                // A next hop that nobody answers for loses the probe as it would lose traffic.
                if backend.delivery.deliver(&mut frame, &packet, &packet.flow).is_ok() {
                    workers.send(backend.delivery.port(), frame);
                }
            }
        }
    }

    /// The connections of probes in the path of traffic, in any network: whoever waits for one waits for all.
    pub(super) fn stack(&self) -> Option<&Handle> {
        self.networks.first().map(|network| &network.stack)
    }

    /// The health of the backends, and how late probes begin.
    pub(super) fn monitor(&self) -> &Monitor {
        &self.monitor
    }
}

/// The event of a change; `error` is the outcome of the probe that decided it, if one did.
fn note(change: &HealthChange, error: Option<&str>) -> Note {
    match change {
        HealthChange::Health { service, backend, healthy: true } => {
            Note::of_backend(EventKind::BackendHealthy, service, backend, "it is healthy")
        }
        HealthChange::Health { service, backend, healthy: false } => {
            let reason = error.unwrap_or("its checks have changed");
            let text = format!("it is unhealthy: {reason}");
            Note::of_backend(EventKind::BackendUnhealthy, service, backend, text)
        }
        HealthChange::Weight { service, backend, weight } => {
            let text = format!("its health checks come to a weight of {weight}");
            Note::of_backend(EventKind::WeightChanged, service, backend, text)
        }
        HealthChange::Weights { service, valid: true } => {
            let text = "all that answer report weights again, which count";
            Note::of_service(EventKind::WeightsValid, service, text)
        }
        HealthChange::Weights { service, valid: false } => {
            let text = "a backend answers without a usable weight: the service runs with equal weights";
            Note::of_service(EventKind::WeightsInvalid, service, text)
        }
    }
}

/// The addresses that probes come from in a network: those of its table, else those of its first link that has any.
fn own_addresses(config: &Config, network: usize) -> OwnAddresses {
    let own_links = || config.links().filter(|link| link.network == network);
    let of_links = || own_links().flat_map(|link| link.addresses).map(ipnet::IpNet::addr);
    let ipv4 = of_links().find_map(|address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    let ipv6 = of_links().find_map(|address| match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    });
    OwnAddresses {
        ipv4: config.networks[network].ipv4_address.or(ipv4).map(|address| IpAddr::V4(address).into()),
        ipv6: config.networks[network].ipv6_address.or(ipv6).map(|address| IpAddr::V6(address).into()),
    }
}

/// The bounds of the probes' TCP in a network: no packet is longer than the network takes.
fn limits(network: &Network) -> Limits {
    let any = Limits::default();
    Limits { mtu: any.mtu.min(network.mtu), ..any }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_come_from_the_first_address_of_a_port_unless_the_network_table_has_one() {
        let own = |network: &str| {
            let text = format!(
                "{network}[[port]]\nname = \"a\"\ndevice = \"net_null0\"\nip_addresses = [\"192.0.2.1/24\"]\n\
                 [[port]]\nname = \"b\"\ndevice = \"net_null1\"\n\
                 ip_addresses = [\"192.0.2.129/28\", \"2001:db8::1/64\"]\n"
            );
            own_addresses(&Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}")), 0)
        };
        let address = |text: &str| Some(text.parse::<IpAddr>().expect("an address").into());
        let ipv6 = address("2001:db8::1");
        assert_eq!(own(""), OwnAddresses { ipv4: address("192.0.2.1"), ipv6 });
        let network = "[network]\nipv4_address = \"192.0.2.9\"\n";
        assert_eq!(own(network), OwnAddresses { ipv4: address("192.0.2.9"), ipv6 });
    }

    #[test]
    fn probes_are_as_long_as_every_link_of_ipv6_takes_or_as_their_network_does() {
        let mtus = |mtu: u16| {
            let text = format!("[network]\nmtu = {mtu}\n");
            let config = Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"));
            limits(&config.networks[0]).mtu
        };
        assert_eq!([576, 1_000, 1_280, 1_500, 9_000].map(mtus), [576, 1_000, 1_280, 1_280, 1_280]);
    }

    #[test]
    fn an_update_was_decided_by_its_first_probe() {
        let mut update = HealthUpdate::default();
        update.decide(Duration::from_millis(7));
        update.decide(Duration::from_millis(5));
        update.decide(Duration::from_millis(6));
        assert_eq!(update.decided, Some(Duration::from_millis(5)));
    }
}
