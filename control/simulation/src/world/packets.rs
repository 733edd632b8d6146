//! Packets that appliances send, and what must hold for them.

use std::time::Duration;

use guideway::api::request::Request;
use guideway_engine::counters::WorkerCounters;
use tokio::task::yield_now;

use super::World;
use super::faults::claimed_by;
use crate::appliance::{Appliance, WorkerCounts};
use crate::client::{self, Kind};
use crate::frame::{self, Mac};
use crate::invariant::{self, Decision, Invariant, View};
use crate::network::Node;
use crate::scenario::Scenario;
use crate::tunnel;

/// Time for which a backend's former link-layer address may still be believed: it is asked for again every 30 seconds.
const BELIEVED: Duration = Duration::from_secs(40);

/// Turns that other tasks get until an answer is given up: the control thread does not run.
const TURNS: usize = 40;

impl World {
    /// Has an appliance's workers poll, and looks at all that they send.
    pub(super) async fn step_site(&mut self, number: usize) {
        if !self.see_backends(number).await {
            return;
        }
        let site = &mut self.sites[number];
        let Some(running) = &mut site.running else { return };
        let before = totals(&running.counts());
        running.step(&mut self.dice, self.now);
        let sent = running.sent();
        let counts = running.counts();
        let wrong =
            counts.iter().enumerate().find_map(|(index, counts)| invariant::conservation(index, counts));
        if let Some(text) = wrong {
            self.break_off(number, Invariant::Conservation, text);
        }
        let [forwarded, full, refused] = totals(&counts);
        let (forwarded, full, refused) = (forwarded - before[0], full - before[1], refused - before[2]);
        if full > 0 || refused > 0 {
            self.sites[number].sights.iter_mut().for_each(|sight| sight.note_trouble(self.now));
        }
        let mut seen = 0;
        for frame in &sent {
            self.report.frame(self.now, frame);
            for (sight, backend) in self.sites[number].sights.iter_mut().zip(&self.backends) {
                sight.take_in(frame, backend.mac, self.now);
            }
            seen += u64::from(self.judge_sent(number, frame));
            if self.sites[number].running.as_ref().is_some_and(Appliance::has_link) {
                self.switch(frame, Node::Appliance(number));
            }
        }
        if let Some(text) = invariant::forwarded(forwarded, seen, full) {
            self.break_off(number, Invariant::Conservation, text);
        }
        self.report.counts.forwarded += forwarded;
        self.suspect(number);
    }

    /// Notes packets that the workers have taken and not sent on: where nobody has answered for the backend's address, such a
    /// packet has chosen a backend all the same, and is dropped.
    fn suspect(&mut self, number: usize) {
        let site = &mut self.sites[number];
        if site.running.as_ref().is_none_or(|running| running.has_stalled_worker(self.now)) {
            return;
        }
        for packet in site.waiting.drain(..) {
            let Some(offered) = self.clients.offered.get(&packet) else { continue };
            if offered.forwarded < offered.received {
                let (service, client, port) = offered.ends;
                let (kind, datagram) = (offered.kind, offered.datagram);
                let decision = Decision { service, client, port, kind, datagram, backend: 0 };
                site.choices.suspect(&decision, &site.views, self.now);
            }
        }
    }

    /// Asks for the backends where workers are about to find another snapshot. False where nobody answers.
    async fn see_backends(&mut self, number: usize) -> bool {
        for _ in 0..5 {
            let site = &mut self.sites[number];
            let Some(running) = &mut site.running else { return false };
            let generation = running.generation();
            if site.seen_generation == Some(generation) || site.stops_since.is_some() {
                return true;
            }
            if running.control_stalled_until() > self.now {
                return false;
            }
            let asked = running.ask(|reply| Request::BackendList { service: None, reply });
            let Some(mut answer) = asked else { return false };
            let mut answered = None;
            for _ in 0..TURNS {
                yield_now().await;
                if let Ok(list) = answer.try_recv() {
                    answered = Some(list);
                    break;
                }
            }
            let Some(Ok(list)) = answered else { return false };
            let site = &mut self.sites[number];
            let Some(running) = &mut site.running else { return false };
            if running.generation() != generation {
                continue;
            }
            site.seen_generation = Some(generation);
            self.report.counts.snapshots += 1;
            let view = View::from(&list);
            self.report.tell(self.now, format_args!("appliance {number}: snapshot {generation}, {view}"));
            if let Some((invariant, text)) = site.take_in(view, self.now) {
                self.break_off(number, invariant, text);
            }
            return true;
        }
        false
    }

    /// Judges a frame that an appliance has sent, in its tunnel where it has one. True if it is a client's packet.
    pub(super) fn judge_sent(&mut self, number: usize, frame: &[u8]) -> bool {
        let Some(opened) = tunnel::open(frame).filter(|_| is_own(frame, number)) else {
            let is_clients = is_clients(frame, number);
            if is_clients && self.scenario.has_tunnels() {
                let text = format!("a packet goes without a tunnel: {frame:02x?}");
                self.break_off(number, Invariant::Tunnel, text);
            }
            self.judge(number, frame);
            return is_clients;
        };
        let owner = frame::destination(frame).and_then(|to| self.backend_of(to));
        let goes_astray = owner.is_some_and(|owner| !self.backends[owner].has(opened.destination));
        if opened.delivery != self.scenario.delivery || goes_astray {
            let text = format!("to b{owner:?} by {:?} for {}", opened.delivery, opened.destination);
            self.break_off(number, Invariant::Tunnel, text);
        }
        if let Some(fault) = &opened.fault {
            self.break_off(number, Invariant::Tunnel, format!("{fault}: {frame:02x?}"));
        }
        self.judge_in(number, &opened.frame, frame);
        is_clients(&opened.frame, number)
    }

    /// Judges a frame on the link.
    pub(super) fn judge(&mut self, number: usize, frame: &[u8]) {
        self.judge_in(number, frame, frame);
    }

    /// Judges a frame that was sent in another one, or as itself.
    fn judge_in(&mut self, number: usize, frame: &[u8], outer: &[u8]) {
        let (Some(packet), Some(to)) = (client::number(frame), frame::destination(frame)) else { return };
        if !is_clients(frame, number) {
            return;
        }
        let Some(offered) = self.clients.offered.get_mut(&packet) else { return };
        offered.forwarded += 1;
        let (ends, kind, datagram, damaged) = (offered.ends, offered.kind, offered.datagram, offered.damaged);
        let (flow, begins) = (offered.flow, matches!(offered.kind, Kind::Syn | Kind::Datagram | Kind::First));
        let text = if offered.forwarded > offered.received {
            Some(format!(
                "packet {packet} was sent {} times, and received {}",
                offered.forwarded, offered.received
            ))
        } else if !damaged && frame[14..] != after_a_hop(&offered.packet) {
            Some(format!(
                "packet {packet} came out as {:02x?}, and was {:02x?}",
                &frame[14..],
                offered.packet
            ))
        } else {
            None
        };
        if let Some(text) = text {
            return self.break_off(number, Invariant::Delivery, text);
        }
        let (service, client, port) = ends;
        let Some(backend) = self.backend_of(to) else {
            if let Some((invariant, text)) = self.misled(number, outer) {
                return self.break_off(number, invariant, text);
            }
            if claimed_by(to).is_none() {
                let text = format!("packet {packet} goes to {to:02x?}, which no backend has");
                self.break_off(number, Invariant::NextHop, text);
            }
            // For whichever backend that was, the flow is tracked.
            let decision = Decision { service, client, port, kind, datagram, backend: 0 };
            return self.sites[number].choices.doubt(&decision);
        };
        let site = &mut self.sites[number];
        // An appliance that stops answers nobody's questions.
        if site.stops_since.is_some() {
            return;
        }
        let decision = Decision { service, client, port, kind, datagram, backend };
        if damaged {
            return site.choices.doubt(&decision);
        }
        let broken = site.choices.take_in(&decision, &site.views, &mut self.precedents, self.now);
        if let Some((invariant, text)) = broken {
            return self.break_off(number, invariant, text);
        }
        if begins && self.well_since.is_some_and(|(_, last_before)| flow > last_before) {
            self.reached.insert((number, service, backend));
        }
    }

    /// Backend that has a link-layer address, or had it of late.
    fn backend_of(&self, mac: Mac) -> Option<usize> {
        let has = |(known, until): &(Mac, Duration)| *known == mac && self.now < *until + BELIEVED;
        let found =
            self.backends.iter().find(|backend| backend.mac == mac || backend.former_macs.iter().any(has));
        found.map(|backend| backend.number)
    }
}

/// Totals of all workers: packets forwarded, frames for which no room was where they leave, and before the control thread.
fn totals(counts: &[WorkerCounts]) -> [u64; 3] {
    let total = |count: fn(&WorkerCounters) -> u64| counts.iter().map(|worker| count(&worker.counters)).sum();
    [total(|one| one.pipeline.forwarded), total(|one| one.io.tx_full), total(|one| one.io.host_full)]
}

/// True if a frame of an appliance is a client's packet, and not the appliance's own word.
fn is_clients(frame: &[u8], appliance: usize) -> bool {
    let Some(to) = frame::destination(frame) else { return false };
    is_ip(frame) && !is_own(frame, appliance) && to[0] & 1 == 0 && !World::is_router(to)
}

fn is_ip(frame: &[u8]) -> bool {
    matches!(frame.get(12..14), Some([8, 0] | [0x86, 0xdd]))
}

/// True if a frame is from an address of an appliance's own.
fn is_own(frame: &[u8], appliance: usize) -> bool {
    let own = Scenario::address(appliance);
    let own_six = [0x20, 1, 0xd, 0xb8, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 + appliance as u8];
    match frame.get(12..14) {
        Some([8, 0]) => frame.get(26..30) == Some(&own[..]),
        Some([0x86, 0xdd]) => frame.get(22..38) == Some(&own_six[..]) || frame.get(22) == Some(&0xfe),
        _ => false,
    }
}

/// IP packet after a hop: its TTL is one less, and the header's checksum is right for it.
pub(super) fn after_a_hop(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 {
        packet[8] -= 1;
        packet[10..12].fill(0);
        let checksum = checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    } else {
        packet[7] -= 1;
    }
    packet
}

/// Checksum of a header of IPv4 without options (RFC 1071).
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_is_changed_is_seen() {
        let packet = pcap_fixtures::packet::Packet::between("198.51.100.1", "203.0.113.10").tcp(1, 80, 2);
        let (offered, sent) = (packet.ip_bytes(), packet.forwarded().ip_bytes());
        assert_eq!(sent, after_a_hop(&offered));
        // Among them the TTL and the header's checksum.
        for at in [4, 8, 10, 11, 16, 30] {
            let mut changed = sent.clone();
            changed[at] ^= 1;
            assert_ne!(changed, after_a_hop(&offered), "{at}");
        }
        // A sum whose carry has a carry.
        assert_eq!(checksum(&[0xff, 0xff, 0xff, 0xff, 0, 2]), 0xfffd);
        assert_eq!(checksum(&[[0xff; 2], [0xff; 2], [0, 1], [0, 0]].concat()), 0xfffe);
    }

    #[test]
    fn an_appliances_own_frames_are_not_clients() {
        let frame = |from: &str, to: Mac| {
            let packet = pcap_fixtures::packet::Packet::between(from, "203.0.113.10").tcp(1, 80, 2);
            packet.macs(Scenario::mac(0), to).build()
        };
        assert!(is_clients(&frame("198.51.100.1", [2, 0, 0, 0, 1, 0]), 0));
        assert!(!is_clients(&frame("192.0.2.1", [2, 0, 0, 0, 1, 0]), 0));
        assert!(!is_clients(&frame("198.51.100.1", crate::router::MAC), 0));
    }
}
