//! What smoltcp takes for its network device: one packet in, and the queue of departures.

use std::collections::VecDeque;

use guideway_dataplane::backend::BackendHandle;
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{IpVersion, Ipv4Packet, Ipv6Packet};

use super::HOP_LIMIT;
use super::outgoing_packet::OutgoingPacket;

/// The departures that wait.
#[derive(Debug)]
pub(super) struct Queue {
    departures: VecDeque<OutgoingPacket>,
    limit: usize,
    refused: u64,
}

impl Queue {
    /// An empty queue for so many departures.
    pub(super) fn new(limit: usize) -> Self {
        Self { departures: VecDeque::new(), limit, refused: 0 }
    }

    /// Takes the oldest.
    pub(super) fn pop(&mut self) -> Option<OutgoingPacket> {
        self.departures.pop_front()
    }

    /// How many departures it had no room for and nobody tries again.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    fn is_full(&self) -> bool {
        self.departures.len() >= self.limit
    }
}

/// The device as one connection sees it.
pub(super) struct Wire<'a> {
    queue: &'a mut Queue,
    mtu: u16,
    backend: BackendHandle,
    incoming: Option<&'a [u8]>,
}

impl<'a> Wire<'a> {
    /// Packets that are sent by it are for `backend`; `incoming` is received once.
    pub(super) fn new(
        queue: &'a mut Queue,
        mtu: u16,
        backend: BackendHandle,
        incoming: Option<&'a [u8]>,
    ) -> Self {
        Self { queue, mtu, backend, incoming }
    }
}

impl Device for Wire<'_> {
    type RxToken<'t>
        = Received<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Sent<'t>
    where
        Self: 't;

    fn receive(&mut self, _: Instant) -> Option<(Received<'_>, Sent<'_>)> {
        let packet = self.incoming.take()?;
        Some((Received(packet), Sent { queue: self.queue, backend: self.backend }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sent<'_>> {
        // The connection stays due, and tries again.
        (!self.queue.is_full()).then_some(Sent { queue: self.queue, backend: self.backend })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = usize::from(self.mtu);
        // Of what is sent, it is computed here, once the hop limit is there.
        capabilities.checksum.ipv4 = Checksum::Rx;
        capabilities
    }
}

/// The packet that is received.
pub(super) struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

/// Room for a packet that is sent.
pub(super) struct Sent<'a> {
    queue: &'a mut Queue,
    backend: BackendHandle,
}

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let result = write(&mut packet);
        set_hop_limit(&mut packet);
        // Only an answer to a packet can find the queue full here: `transmit` has looked.
        if self.queue.is_full() {
            self.queue.refused += 1;
        } else {
            self.queue.departures.push_back(OutgoingPacket { backend: self.backend, packet });
        }
        result
    }
}

/// Sockets could set it for what they send, but not for their immediate answers, nor for resets.
fn set_hop_limit(packet: &mut [u8]) {
    match IpVersion::of_packet(packet) {
        Ok(IpVersion::Ipv4) => {
            let mut packet = Ipv4Packet::new_unchecked(packet);
            packet.set_hop_limit(HOP_LIMIT);
            packet.fill_checksum();
        }
        Ok(IpVersion::Ipv6) => Ipv6Packet::new_unchecked(packet).set_hop_limit(HOP_LIMIT),
        Err(_) => {}
    }
}
