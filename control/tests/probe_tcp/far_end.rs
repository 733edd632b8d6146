//! A backend: another stack, which listens on the VIP and answers each request with its answer.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};

/// The byte that ends a request.
pub(crate) const END: u8 = b'\n';

#[derive(Default)]
struct Queues {
    incoming: VecDeque<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
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
        let mut packet = vec![0; len];
        let result = write(&mut packet);
        self.0.push_back(packet);
        result
    }
}

impl Device for Queues {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sent<'_>)> {
        Some((Received(self.incoming.pop_front()?), Sent(&mut self.outgoing)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sent<'_>> {
        Some(Sent(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1_500;
        capabilities
    }
}

/// One accepted connection, or one that is waited for.
struct Server {
    socket: SocketHandle,
    request: Vec<u8>,
    answered: usize,
}

/// A backend.
pub(crate) struct FarEnd {
    interface: Interface,
    queues: Queues,
    sockets: SocketSet<'static>,
    servers: Vec<Server>,
    answer: Vec<u8>,
    /// True if it closes its half when the client has closed its own.
    closes_with_client: bool,
}

impl FarEnd {
    /// A host with the VIP, where `listeners` connections can be made to the port.
    pub(crate) fn new(vip: IpAddr, port: u16, listeners: usize, answer: &[u8]) -> Self {
        let mut queues = Queues::default();
        let mut interface =
            Interface::new(Config::new(HardwareAddress::Ip), &mut queues, Instant::from_micros(0));
        let len = if vip.is_ipv4() { 32 } else { 128 };
        interface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(vip.into(), len)).unwrap());
        let mut sockets = SocketSet::new(Vec::new());
        let servers = (0..listeners).map(|_| {
            let buffer = || SocketBuffer::new(vec![0; 4_096]);
            let mut socket = Socket::new(buffer(), buffer());
            socket.listen(port).unwrap();
            Server { socket: sockets.add(socket), request: Vec::new(), answered: 0 }
        });
        let servers = servers.collect();
        Self { interface, queues, sockets, servers, answer: answer.to_vec(), closes_with_client: false }
    }

    /// The host, whose server closes as soon as the client has, as most do.
    pub(crate) fn closing_with_client(self) -> Self {
        Self { closes_with_client: true, ..self }
    }

    /// Takes in a packet, if there is one; returns those that leave now.
    pub(crate) fn turn(&mut self, packet: Option<&[u8]>, now: Duration) -> Vec<Vec<u8>> {
        self.queues.incoming.extend(packet.map(<[u8]>::to_vec));
        let at = Instant::from_micros(now.as_micros() as i64);
        self.interface.poll(at, &mut self.queues, &mut self.sockets);
        for server in &mut self.servers {
            let socket = self.sockets.get_mut::<Socket<'_>>(server.socket);
            while socket.can_recv() {
                let request = &mut server.request;
                socket.recv(|bytes| (bytes.len(), request.extend_from_slice(bytes))).unwrap();
            }
            if server.request.last() == Some(&END) && socket.may_send() {
                server.answered += socket.send_slice(&self.answer[server.answered..]).unwrap();
                if server.answered == self.answer.len() {
                    socket.close();
                }
            }
            if self.closes_with_client && socket.state() == State::CloseWait {
                socket.close();
            }
        }
        self.interface.poll(at, &mut self.queues, &mut self.sockets);
        self.queues.outgoing.drain(..).collect()
    }

    /// The time at which the backend has something to do next.
    pub(crate) fn next(&mut self, now: Duration) -> Option<Duration> {
        let at = Instant::from_micros(now.as_micros() as i64);
        let due = self.interface.poll_at(at, &self.sockets)?;
        Some(Duration::from_micros(due.total_micros() as u64))
    }

    /// The requests that came.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &[u8]> {
        self.servers.iter().map(|server| server.request.as_slice()).filter(|request| !request.is_empty())
    }

    /// The state of the first connection.
    pub(crate) fn state(&self) -> State {
        self.sockets.get::<Socket<'_>>(self.servers[0].socket).state()
    }
}
