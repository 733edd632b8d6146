//! The network device of smoltcp's sockets: one packet in, and the queue of outgoing packets.

use std::collections::VecDeque;

use guideway_dataplane::backend::BackendHandle;
use smoltcp::phy::{Checksum, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{IpVersion, Ipv4Packet, Ipv6Packet};

use super::HOP_LIMIT;
use super::outgoing_packet::OutgoingPacket;

/// The outgoing packets that wait.
#[derive(Debug)]
pub(super) struct Queue {
    packets: VecDeque<OutgoingPacket>,
    limit: usize,
    refused: u64,
}

impl Queue {
    /// An empty queue for at most `limit` packets.
    pub(super) fn new(limit: usize) -> Self {
        Self { packets: VecDeque::new(), limit, refused: 0 }
    }

    /// Takes out the oldest packet.
    pub(super) fn pop(&mut self) -> Option<OutgoingPacket> {
        self.packets.pop_front()
    }

    /// Number of packets that found no room, and that nobody sends again.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    fn is_full(&self) -> bool {
        self.packets.len() >= self.limit
    }
}

/// The device of one connection.
pub(super) struct Wire<'a> {
    queue: &'a mut Queue,
    mtu: u16,
    backend: BackendHandle,
    incoming: Option<&'a [u8]>,
}

impl<'a> Wire<'a> {
    /// A device whose outgoing packets are for `backend`; `incoming` is received once.
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
        // The checksum of an outgoing packet is computed here, once the hop limit is set.
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
            self.queue.packets.push_back(OutgoingPacket { backend: self.backend, packet });
        }
        result
    }
}

/// Sets the hop limit of a packet. Sockets could do so for what they send, but not for immediate answers, nor for resets.
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
