//! Probes by UDP beside the connections: datagrams to a VIP for one backend, and the answers from the VIP.
//!
//! Each probe has a local port of its own, chosen at random, by which its answers are told from others'. What comes for
//! nobody is counted by nobody: anybody can send it.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::task::{Context, Poll, Waker};

use guideway_dataplane::network::OwnAddresses;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpAddress, IpProtocol, IpRepr, IpVersion, Ipv4Packet, Ipv6Packet, UdpPacket, UdpRepr};

use super::outgoing_packet::OutgoingPacket;
use super::{ConnectError, HOP_LIMIT, Peer};

/// The most probes by UDP at one time: each costs a few hundred bytes, and its answers.
pub const MAX_FLOWS: usize = 1 << 16;

/// Answers of one probe that wait to be read; more are dropped.
const MAX_ANSWERS: usize = 4;

/// Local ports that are tried for a probe, of which nearly all are free.
const TRIES: usize = 64;

/// The ends of a probe: the VIP and its port, and the local port.
pub(super) type FlowId = (IpAddr, u16, u16);

/// The probes by UDP that are under way.
#[derive(Debug)]
pub(super) struct Datagrams {
    own: OwnAddresses,
    flows: HashMap<FlowId, Flow>,
    queue: VecDeque<OutgoingPacket>,
    limit: usize,
}

#[derive(Debug)]
struct Flow {
    peer: Peer,
    own: IpAddr,
    answers: VecDeque<Vec<u8>>,
    waker: Option<Waker>,
}

impl Datagrams {
    /// No probes, from these addresses; at most `limit` packets wait to be sent.
    pub(super) fn new(own: OwnAddresses, limit: usize) -> Self {
        Self { own, flows: HashMap::new(), queue: VecDeque::new(), limit }
    }

    /// Begins a probe.
    pub(super) fn open(&mut self, peer: Peer) -> Result<FlowId, ConnectError> {
        let own = if peer.vip.is_ipv4() { self.own.ipv4 } else { self.own.ipv6 };
        let own = own.map(IpAddr::from).ok_or(ConnectError::NoOwnAddress)?;
        if !super::is_one_host(peer.vip) || peer.port == 0 {
            return Err(ConnectError::Unaddressable);
        }
        if self.flows.len() >= MAX_FLOWS {
            return Err(ConnectError::TooManyConnections);
        }
        let ids = std::iter::repeat_with(|| (peer.vip, peer.port, fastrand::u16(1_024..))).take(TRIES);
        let id = ids.into_iter().find(|id| !self.flows.contains_key(id)).ok_or(ConnectError::NoPort)?;
        self.flows.insert(id, Flow { peer, own, answers: VecDeque::new(), waker: None });
        Ok(id)
    }

    /// Ends a probe.
    pub(super) fn close(&mut self, id: FlowId) {
        self.flows.remove(&id);
    }

    /// Sends a datagram; one that finds no room is lost, as on any wire.
    pub(super) fn send(&mut self, id: FlowId, payload: &[u8]) {
        let Some(flow) = self.flows.get(&id).filter(|_| self.queue.len() < self.limit) else { return };
        let (vip, port, local_port) = id;
        let packet = packet((flow.own, local_port), (vip, port), payload);
        self.queue.push_back(OutgoingPacket { backend: flow.peer.backend, packet });
    }

    /// The next answer of a probe.
    pub(super) fn poll_answer(&mut self, id: FlowId, cx: &mut Context<'_>) -> Poll<Vec<u8>> {
        let Some(flow) = self.flows.get_mut(&id) else { return Poll::Pending };
        match flow.answers.pop_front() {
            Some(answer) => Poll::Ready(answer),
            None => {
                flow.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The next packet to deliver.
    pub(super) fn transmit(&mut self) -> Option<OutgoingPacket> {
        self.queue.pop_front()
    }

    /// Takes in an IP packet to an own address; false where it holds no UDP.
    pub(super) fn handle(&mut self, packet: &[u8]) -> bool {
        match packet.first().and_then(|_| IpVersion::of_packet(packet).ok()) {
            Some(IpVersion::Ipv4) => {
                let Ok(packet) = Ipv4Packet::new_checked(packet) else { return false };
                let is_fragment = packet.more_frags() || packet.frag_offset() != 0;
                if packet.next_header() != IpProtocol::Udp {
                    return false;
                }
                if !is_fragment {
                    self.take_in(packet.src_addr().into(), packet.dst_addr().into(), packet.payload());
                }
            }
            Some(IpVersion::Ipv6) => {
                let Ok(packet) = Ipv6Packet::new_checked(packet) else { return false };
                if packet.next_header() != IpProtocol::Udp {
                    return false;
                }
                self.take_in(packet.src_addr().into(), packet.dst_addr().into(), packet.payload());
            }
            None => return false,
        }
        true
    }

    fn take_in(&mut self, from: IpAddr, to: IpAddr, payload: &[u8]) {
        let Ok(udp) = UdpPacket::new_checked(payload) else { return };
        if !udp.verify_checksum(&from.into(), &to.into()) {
            return;
        }
        let Some(flow) = self.flows.get_mut(&(from, udp.src_port(), udp.dst_port())) else { return };
        if flow.own == to && flow.answers.len() < MAX_ANSWERS {
            flow.answers.push_back(udp.payload().to_vec());
            if let Some(waker) = flow.waker.take() {
                waker.wake();
            }
        }
    }
}

/// An IP packet with one datagram.
fn packet((own, local_port): (IpAddr, u16), (vip, port): (IpAddr, u16), payload: &[u8]) -> Vec<u8> {
    let (from, to) = (IpAddress::from(own), IpAddress::from(vip));
    let udp = UdpRepr { src_port: local_port, dst_port: port };
    let len = udp.header_len() + payload.len();
    let ip = IpRepr::new(from, to, IpProtocol::Udp, len, HOP_LIMIT);
    let mut packet = vec![0; ip.header_len() + len];
    let checksums = ChecksumCapabilities::default();
    ip.emit(&mut packet[..], &checksums);
    let mut datagram = UdpPacket::new_unchecked(&mut packet[ip.header_len()..]);
    udp.emit(&mut datagram, &from, &to, payload.len(), |room| room.copy_from_slice(payload), &checksums);
    packet
}
