//! Health checks as the control thread drives them: probes go out as packets do, and what they find changes the services.

use std::net::IpAddr;

use guideway_dataplane::frame::Frame;
use guideway_dataplane::packet::Packet;
use guideway_dataplane::snapshot::OwnAddresses;
use tokio::sync::mpsc;

use super::event_log::Note;
use super::{Next, Ports, REPORTS_AT_ONCE, Supervisor};
use crate::api::view::EventKind;
use crate::health::demand::Excess;
use crate::health::descriptors;
use crate::health::monitor::Monitor;
use crate::health::scheduler::ProbeReport;
use crate::health::state::HealthChange;
use crate::net::probe_tcp::{Handle, Limits, ProbeTcp};

impl<P: Ports> Supervisor<P> {
    /// Begins to watch the backends; what probes find goes to `reports`, from where it is to come back to
    /// [`Supervisor::run`].
    ///
    /// # Panics
    /// Outside of a [`tokio::task::LocalSet`].
    pub fn watch(&mut self, reports: mpsc::Sender<ProbeReport>) {
        self.probing_from = self.own_addresses();
        self.monitor = Some(Monitor::new(stack_of(self.probing_from), reports));
        self.configure_checks();
    }

    /// Has the checks be those of the configuration that is in force.
    pub(super) fn configure_checks(&mut self) {
        let (now, own) = (self.now(), self.own_addresses());
        for excess in Excess::of(self.appliance.config()) {
            tracing::warn!("{excess}");
        }
        let Some(monitor) = &mut self.monitor else { return };
        if own != self.probing_from {
            self.probing_from = own;
            monitor.replace_stack(stack_of(own));
        }
        let wanted = descriptors::wanted(self.appliance.config());
        if let Err(limit) = descriptors::provide(wanted) {
            tracing::warn!(
                "the health checks by the kernel may take {wanted} open files, and the limit is {limit}: probes that \
                 find none do not begin; raise the hard limit (LimitNOFILE=, ulimit -Hn)"
            );
        }
        let changes = monitor.configure(self.appliance.config(), self.appliance.services(), now);
        self.apply(changes, None);
    }

    /// Takes in how a probe ended, and all others that have ended meanwhile.
    ///
    /// What one probe alone changes is published at once. Where several have ended together more are about to, and what
    /// they change is published with the next turn: backends that turn together make few snapshots, not one each.
    pub(super) fn take_in(&mut self, first: ProbeReport, more: &mut mpsc::Receiver<ProbeReport>) -> Next {
        let now = self.now();
        let first_ended = first.ended;
        // What finds no place here waits for the next time.
        let others = std::iter::from_fn(|| more.try_recv().ok()).take(REPORTS_AT_ONCE - 1);
        let mut taken = 0;
        for report in std::iter::once(first).chain(others) {
            taken += 1;
            let Some(monitor) = &mut self.monitor else { break };
            let changes = monitor.take_in(&report, now);
            if !changes.is_empty() {
                self.publish_latency.decide(now.saturating_sub(report.ended.elapsed()));
            }
            self.apply(changes, report.result.failure());
        }
        let standing = self.monitor.as_mut().map(|monitor| monitor.end_first_rounds(now)).unwrap_or_default();
        if !standing.is_empty() {
            self.publish_latency.decide(now.saturating_sub(first_ended.elapsed()));
        }
        self.apply(standing, None);
        if taken == 1 {
            self.appliance.publish_changes();
        }
        Next::Turn
    }

    /// Ends the first rounds whose time is over, though no probe has ended since.
    pub(super) fn end_first_rounds(&mut self) {
        let now = self.now();
        if let Some(monitor) = &mut self.monitor {
            let changes = monitor.end_first_rounds(now);
            self.apply(changes, None);
        }
    }

    fn apply(&mut self, changes: Vec<HealthChange>, error: Option<&str>) {
        for change in changes {
            let applied = match &change {
                HealthChange::Health { service, backend, healthy: true } => {
                    self.note(Note::of_backend(EventKind::BackendHealthy, service, backend, "it is healthy"));
                    self.appliance.set_health(service, backend, true)
                }
                HealthChange::Health { service, backend, healthy: false } => {
                    let reason = error.unwrap_or("its checks have changed");
                    let text = format!("it is unhealthy: {reason}");
                    self.note(Note::of_backend(EventKind::BackendUnhealthy, service, backend, text));
                    self.appliance.set_health(service, backend, false)
                }
                HealthChange::Weight { service, backend, weight } => {
                    let text = format!("its health checks come to a weight of {weight}");
                    self.note(Note::of_backend(EventKind::WeightChanged, service, backend, text));
                    self.appliance.report_weight(service, backend, *weight)
                }
                HealthChange::Weights { service, valid } => {
                    let (kind, text) = if *valid {
                        (EventKind::WeightsValid, "all that answer report weights again, which count")
                    } else {
                        let text = "a backend answers without a weight: the service runs with equal weights";
                        (EventKind::WeightsInvalid, text)
                    };
                    self.note(Note::of_service(kind, service, text));
                    Ok(())
                }
            };
            // Checks are made of the services' own backends, and with them.
            if let Err(unknown) = applied {
                tracing::debug!("{unknown}");
            }
        }
    }

    /// Sends what probes in the path of traffic have to send, each packet to its backend as one of traffic.
    pub(super) fn exchange_probes(&mut self) -> Next {
        let Some(stack) = self.monitor.as_ref().map(|monitor| monitor.stack().clone()) else {
            return Next::Turn;
        };
        stack.poll();
        let sender = self.sender();
        let snapshot = self.snapshots.repin();
        while let Some(outgoing) = stack.transmit() {
            let Some(backend) = snapshot.backend(outgoing.backend) else { continue };
            let Some(mut frame) = self.ports.frame(&outgoing.into_frame()) else {
                self.unsent += 1;
                continue;
            };
            let Ok(packet) = Packet::parse(frame.bytes()) else { continue };
            // A next hop that nobody answers for loses the probe as it would lose traffic.
            if backend.delivery.deliver(&mut frame, &packet, &packet.flow).is_ok()
                && let Some(worker) = self.workers.get_mut(sender)
            {
                self.unsent += u64::from(!worker.host.send(backend.delivery.port(), frame));
            }
        }
        Next::Turn
    }

    /// The addresses that probes come from: those of the network table, else those of the first port that has any.
    fn own_addresses(&self) -> OwnAddresses {
        let config = self.appliance.config();
        let of_ports = || config.ports.iter().flat_map(|port| &port.addresses).map(ipnet::IpNet::addr);
        let ipv4 = of_ports().find_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        let ipv6 = of_ports().find_map(|address| match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        });
        OwnAddresses {
            ipv4: config.network.ipv4_address.or(ipv4).map(|address| IpAddr::V4(address).into()),
            ipv6: config.network.ipv6_address.or(ipv6).map(|address| IpAddr::V6(address).into()),
        }
    }
}

/// A stack for probes that come from these addresses.
fn stack_of(own: OwnAddresses) -> Handle {
    Handle::new(ProbeTcp::new(own, fastrand::u64(..), Limits::default()))
}

/// Hands a packet for the appliance itself to the probes' connections: it may be a backend's answer.
pub(super) fn receive(monitor: &Monitor, frame: &[u8]) {
    let Ok(packet) = Packet::parse(frame) else { return };
    let start = usize::from(packet.l3_offset);
    // Without what pads a short frame.
    if let Some(bytes) = frame.get(start..start + packet.l3_len as usize) {
        monitor.stack().receive(bytes);
    }
}
