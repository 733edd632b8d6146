//! Devices of the ports: told the addresses and VLANs that they are to take, looked at, and reset or removed step by step.

use std::collections::BTreeSet;
use std::time::Duration;

use guideway_dataplane::egress::PortId;
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_model::config::Port;

use super::Supervisor;
use super::port_watch::Step;
use crate::run::ports::Ports;

impl<P: Ports> Supervisor<P> {
    /// Tells workers the appliance's own addresses, and the ports' devices which addresses they are to take frames for.
    pub(super) fn tell_addresses(&self) {
        let own = self.appliance.hosts().flat_map(|(_, host)| host.links());
        self.workers.set_own_addresses(own.flat_map(|link| &link.addresses).map(|own| own.address).collect());
        for (index, name) in self.port_watch.names().enumerate() {
            let ports = self.workers.ports();
            let mac = self.appliance.config().mac_of_port(index).map(MacAddress);
            let groups: BTreeSet<MacAddress> =
                self.appliance.hosts().flat_map(|(_, host)| host.groups(PortId(index as u8))).collect();
            let groups: Vec<MacAddress> = groups.into_iter().collect();
            let remarks = ports.adopt_mac(index, mac).into_iter().chain(ports.listen(index, &groups));
            remarks.for_each(|remark| tracing::warn!(port = name, "{remark}"));
        }
    }

    /// Looks at the ports' devices, and takes the step that is due of each.
    pub(super) fn watch_ports(&mut self, now: Duration) {
        for port in 0..self.port_watch.len() {
            let ports = self.workers.ports();
            let signals = ports.take_signals(port);
            let watch = &mut self.port_watch;
            let notes = match watch.look(port, signals, || ports.is_paused(port), now) {
                Some(Step::ReadLink) => {
                    let changed = watch.see_link(port, ports.link(port), now);
                    changed.into_iter().chain(watch.see_members(port, ports.members(port))).collect()
                }
                Some(Step::Pause) => {
                    ports.pause(port);
                    continue;
                }
                Some(Step::BeginRestart) => match ports.begin_restart(port) {
                    Ok(()) => continue,
                    Err(cause) => watch.end_restart(port, Err(cause), now),
                },
                Some(Step::EndRestart) => {
                    let Some(result) = ports.end_restart(port) else { continue };
                    let notes = watch.end_restart(port, result, now);
                    // For the log, if the device refuses one now.
                    self.tell_vlans();
                    notes
                }
                // A removal may take a while, in which nothing else is done.
                Some(Step::Remove) => {
                    let result = ports.remove(port);
                    self.port_watch.end_removal(port, result, self.now()).into_iter().collect()
                }
                None => continue,
            };
            self.note_all(notes);
        }
    }

    /// Tells the ports' devices the VLANs of the networks; logs what they refuse, and returns it.
    pub(super) fn tell_vlans(&self) -> Vec<String> {
        let config = self.appliance.config();
        let refusal = |(index, port): (usize, &Port)| {
            let of_port = config.links().filter(|link| link.port == index);
            let vlans: BTreeSet<u16> = of_port.filter_map(|link| link.vlan).collect();
            let refusal = self.workers.ports().take_vlans(index, &vlans)?;
            tracing::warn!(port = port.name, "{refusal}");
            Some(format!("port `{}`: {refusal}", port.name))
        };
        config.ports.iter().enumerate().filter_map(refusal).collect()
    }
}
