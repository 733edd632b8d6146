//! Another host on the link, which is smoltcp's.

use std::collections::VecDeque;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::icmp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpAddress, IpCidr};

/// A smoltcp host with a socket that pings.
pub(crate) struct Peer {
    interface: Interface,
    wire: Wire,
    sockets: SocketSet<'static>,
    ping: SocketHandle,
}

#[derive(Default)]
struct Wire {
    to_peer: VecDeque<Vec<u8>>,
    from_peer: VecDeque<Vec<u8>>,
}

const IDENTIFIER: u16 = 77;

impl Peer {
    pub(crate) fn new(mac: [u8; 6], addresses: &[&str]) -> Self {
        let mut wire = Wire::default();
        let config = Config::new(EthernetAddress(mac).into());
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|own| {
            for text in addresses {
                own.push(text.parse::<IpCidr>().expect("an address and a length")).expect("two addresses");
            }
        });
        let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 4_096]);
        let mut socket = icmp::Socket::new(buffer(), buffer());
        socket.bind(icmp::Endpoint::Ident(IDENTIFIER)).expect("a new socket");
        let mut sockets = SocketSet::new(Vec::new());
        let ping = sockets.add(socket);
        Self { interface, wire, sockets, ping }
    }

    pub(crate) fn set_mac(&mut self, mac: [u8; 6]) {
        self.interface.set_hardware_addr(EthernetAddress(mac).into());
    }

    pub(crate) fn ping(&mut self, target: &str) {
        let target: IpAddress = target.parse().expect("an IP address");
        let checksums = ChecksumCapabilities::default();
        let socket = self.sockets.get_mut::<icmp::Socket>(self.ping);
        let data = b"0123456789";
        if let IpAddress::Ipv6(destination) = target {
            let source = self.interface.get_source_address_ipv6(&destination);
            let message = Icmpv6Repr::EchoRequest { ident: IDENTIFIER, seq_no: 1, data };
            let buffer = socket.send(message.buffer_len(), target).expect("room for one");
            message.emit(&source, &destination, &mut Icmpv6Packet::new_unchecked(buffer), &checksums);
        } else {
            let message = Icmpv4Repr::EchoRequest { ident: IDENTIFIER, seq_no: 1, data };
            let buffer = socket.send(message.buffer_len(), target).expect("room for one");
            message.emit(&mut Icmpv4Packet::new_unchecked(buffer), &checksums);
        }
    }

    /// Addresses that replied to a ping since the last call.
    pub(crate) fn replies(&mut self) -> Vec<String> {
        let socket = self.sockets.get_mut::<icmp::Socket>(self.ping);
        std::iter::from_fn(|| socket.recv().ok().map(|(_, from)| from.to_string())).collect()
    }

    pub(crate) fn receive(&mut self, frame: Vec<u8>) {
        self.wire.to_peer.push_back(frame);
    }

    pub(crate) fn poll(&mut self, now: Duration) -> Vec<Vec<u8>> {
        let now = Instant::from_micros(now.as_micros() as i64);
        self.interface.poll(now, &mut self.wire, &mut self.sockets);
        self.wire.from_peer.drain(..).collect()
    }
}

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received, Sent<'_>)> {
        let frame = self.to_peer.pop_front()?;
        Some((Received(frame), Sent(&mut self.from_peer)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sent<'_>> {
        Some(Sent(&mut self.from_peer))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1_514;
        capabilities
    }
}

struct Received(Vec<u8>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Sent<'a>(&'a mut VecDeque<Vec<u8>>);

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut frame = vec![0; len];
        let result = write(&mut frame);
        self.0.push_back(frame);
        result
    }
}
