//! Packets that appliances send, and what must hold for them.

use std::time::Duration;

use guideway::api::request::Request;
use tokio::task::yield_now;

use super::World;
use super::faults::STRANGER;
use crate::appliance::Appliance;
use crate::client;
use crate::frame::{self, Mac};
use crate::invariant::{self, Decision, Invariant, View};
use crate::network::Node;
use crate::scenario::Scenario;

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
        let before: u64 = running.counts().iter().map(|counts| counts.counters.pipeline.forwarded).sum();
        running.step(&mut self.dice, self.now);
        let sent = running.sent();
        let counts = running.counts();
        let wrong =
            counts.iter().enumerate().find_map(|(index, counts)| invariant::conservation(index, counts));
        if let Some(text) = wrong {
            self.break_off(number, Invariant::Conservation, text);
        }
        let forwarded = counts.iter().map(|counts| counts.counters.pipeline.forwarded).sum::<u64>() - before;
        let full: u64 = counts.iter().map(|counts| counts.counters.io.tx_full).sum();
        let mut seen = 0;
        for frame in &sent {
            self.report.frame(self.now, frame);
            seen += u64::from(is_clients(frame, number));
            self.judge(number, frame);
            if self.sites[number].running.as_ref().is_some_and(Appliance::has_link) {
                self.switch(frame, Node::Appliance(number));
            }
        }
        if seen > forwarded || (seen < forwarded && full == 0) {
            let text = format!("{forwarded} packets are counted as forwarded, and {seen} came out");
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

    /// Judges a frame that an appliance has sent.
    pub(super) fn judge(&mut self, number: usize, frame: &[u8]) {
        let (Some(packet), Some(to)) = (client::number(frame), frame::destination(frame)) else { return };
        if !is_clients(frame, number) {
            return;
        }
        let Some(offered) = self.clients.offered.get_mut(&packet) else { return };
        offered.forwarded += 1;
        let (ends, kind, datagram, damaged) = (offered.ends, offered.kind, offered.datagram, offered.damaged);
        let text = if offered.forwarded > offered.received {
            Some(format!(
                "packet {packet} was sent {} times, and received {}",
                offered.forwarded, offered.received
            ))
        } else if !damaged && !is_same(&frame[14..], &offered.packet) {
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
            if let Some((invariant, text)) = self.is_misled(number, to) {
                return self.break_off(number, invariant, text);
            }
            if to != STRANGER {
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
        if self.well_since.is_some() {
            self.reached[service as usize][backend] = true;
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

/// True if a frame of an appliance is a client's packet, and not the appliance's own word.
fn is_clients(frame: &[u8], appliance: usize) -> bool {
    let Some(to) = frame::destination(frame) else { return false };
    let own = Scenario::address(appliance);
    let own_six = [0x20, 1, 0xd, 0xb8, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 + appliance as u8];
    let is_own = match frame.get(12..14) {
        Some([8, 0]) => frame.get(26..30) == Some(&own[..]),
        Some([0x86, 0xdd]) => frame.get(22..38) == Some(&own_six[..]) || frame.get(22) == Some(&0xfe),
        _ => return false,
    };
    !is_own && to[0] & 1 == 0 && !World::is_router(to)
}

/// True if two IP packets are the same but for their TTL and its checksum.
fn is_same(sent: &[u8], offered: &[u8]) -> bool {
    let but = |packet: &[u8]| {
        let mut packet = packet.to_vec();
        match packet[0] >> 4 {
            4 => {
                packet[8] = 0;
                packet[10..12].fill(0);
            }
            _ => packet[7] = 0,
        }
        packet
    };
    sent.len() == offered.len() && but(sent) == but(offered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_is_changed_is_seen() {
        let packet = pcap_fixtures::packet::Packet::between("198.51.100.1", "203.0.113.10").tcp(1, 80, 2);
        let (offered, sent) = (packet.ip_bytes(), packet.forwarded().ip_bytes());
        assert!(is_same(&sent, &offered));
        for at in [4, 16, 30] {
            let mut changed = sent.clone();
            changed[at] ^= 1;
            assert!(!is_same(&changed, &offered), "{at}");
        }
        assert!(!is_same(&sent[..sent.len() - 1], &offered));
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
