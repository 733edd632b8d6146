//! TCP in user space, for probes that are addressed to a VIP and delivered to one backend, as balanced
//! packets are.
//!
//! A probe of a backend's own address says nothing of the VIP on its loopback, nor of its tunnel. A
//! connection made here goes to the address and port of a forwarding rule, and each of its packets leaves as
//! an [`OutgoingPacket`] that names the backend, for the owner to deliver as the pipeline would. The backend
//! answers from the VIP to the appliance's own address, and its answers go into [`ProbeTcp::handle`].
//!
//! ```text
//!  connect --> connection --> OutgoingPacket { backend, packet } --> transmit --> delivery --> backend
//!                  ^                                                                        |
//!                  +--------------------- handle <--- packet, VIP to own address <----------+
//! ```
//!
//! Pure: no I/O, and time is an argument. [`Stream`] is the asynchronous side of it.
//!
//! Many backends share the own address, the VIP and its port, so the local port tells their connections
//! apart. Each connection is a smoltcp socket in a set of its own, found by its port: smoltcp looks through a
//! whole set for each packet and each timer, which a thousand connections would make slow.
//!
//! Memory: a connection costs [`RECEIVE_BUFFER`] and [`SEND_BUFFER`] bytes and about one KiB, from when it is
//! made until it ends, closing included; a port in TIME-WAIT costs about 64 bytes; the queue holds at most
//! [`Limits::queued_packets`] packets of [`Limits::mtu`] bytes. What comes in costs nothing that lasts.
//!
//! Probes by UDP go the same way, without a connection: [`Datagram`].
//!
//! Deliberately absent: fragments are not put together, extension headers of IPv6 are not read, and ICMP
//! errors end no connection, so a probe needs a timeout of its own.

mod connection;
mod datagrams;
mod local_ports;
mod outgoing_packet;
mod segment;
mod stream;
mod wire;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::network::OwnAddresses;
use smoltcp::iface::{Config, Interface, PollResult, SocketSet};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};

pub use connection::{CLOSING_TIME, ConnectionId, RECEIVE_BUFFER, SEND_BUFFER};
pub use datagrams::MAX_FLOWS;
pub use local_ports::{LOCAL_PORTS, MAX_TIME_WAIT, TIME_WAIT};
pub use outgoing_packet::OutgoingPacket;
pub use stream::{Datagram, Handle, Stream};

use crate::net::schedule::Schedule;
use connection::Connection;
use local_ports::{LocalPorts, PortUser};
use segment::Segment;
use wire::{Queue, Wire};

/// The hop limit of outgoing packets; delivery takes one off, so that backends get the 64 of an ordinary host.
pub const HOP_LIMIT: u8 = 65;

/// The segments that a connection sends at once before others have their turn.
const SEGMENTS_PER_TURN: usize = 8;

/// The bounds of a [`ProbeTcp`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most connections at one time.
    pub connections: usize,
    /// The most packets that wait for [`ProbeTcp::transmit`].
    pub queued_packets: usize,
    /// The longest packet that is sent, or asked for by the maximum segment size: at least 576 bytes. Such a packet
    /// must fit every backend's path once the outer header is before it.
    pub mtu: u16,
}

impl Default for Limits {
    /// 1,280 bytes are what every link of IPv6 carries, and leave room for each outer header on an Ethernet.
    fn default() -> Self {
        Self { connections: 4_096, queued_packets: 4_096, mtu: 1_280 }
    }
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The backend that packets are delivered to.
    pub backend: BackendHandle,
    /// The address that packets are addressed to.
    pub vip: IpAddr,
    /// The TCP port that packets are addressed to.
    pub port: u16,
}

/// The reason why a connection cannot be tried; none says anything about the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectError {
    /// The appliance has no address of the VIP's family.
    NoOwnAddress,
    /// The peer's address is not one host's, or its port is 0.
    Unaddressable,
    /// The stack has [`Limits::connections`] connections already.
    TooManyConnections,
    /// Every local port is in use to this VIP and port, or in TIME-WAIT; or [`MAX_TIME_WAIT`] ports are.
    NoPort,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoOwnAddress => "the appliance has no address of the VIP's family to probe from",
            Self::Unaddressable => "no host can be probed at this address and port",
            Self::TooManyConnections => "too many probes are under way",
            Self::NoPort => "no local port is free for a probe",
        })
    }
}

impl std::error::Error for ConnectError {}

/// Counters of the connections and packets of probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that were made or tried.
    pub connections: u64,
    /// Packets to a connection.
    pub received: u64,
    /// Packets to a connection that is over; each is answered with a reset.
    pub late: u64,
    /// Packets to no connection; none is answered.
    pub strays: u64,
    /// Packets that hold no whole TCP segment to an own address.
    pub unreadable: u64,
    /// Packets that were given up because the queue was full.
    pub queue_full: u64,
}

/// The TCP of probes in the path of traffic: their connections, and the packets that wait to be delivered.
pub struct ProbeTcp {
    own: OwnAddresses,
    limits: Limits,
    interface: Interface,
    queue: Queue,
    connections: HashMap<ConnectionId, Box<Connection>>,
    ports: LocalPorts,
    /// The time at which each connection has something to do next.
    schedule: Schedule<ConnectionId>,
    /// A set without sockets: a segment that is handled with it is answered with a reset.
    nobody: SocketSet<'static>,
    next_id: u64,
    counters: Counters,
}

impl ProbeTcp {
    /// A stack without connections; `seed` makes sequence numbers and local ports hard to guess, and is to differ at
    /// each start.
    ///
    /// # Panics
    /// If an own address is not one host's, or the MTU is below 576.
    pub fn new(own: OwnAddresses, seed: u64, limits: Limits) -> Self {
        assert!(limits.mtu >= 576, "an MTU of {} carries no TCP", limits.mtu);
        let mut queue = Queue::new(limits.queued_packets);
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut wire = Wire::new(&mut queue, limits.mtu, BackendHandle(0), None);
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            let ipv4 = own.ipv4.map(|address| IpCidr::new(IpAddr::from(address).into(), 32));
            let ipv6 = own.ipv6.map(|address| IpCidr::new(IpAddr::from(address).into(), 128));
            addresses.extend(ipv4.into_iter().chain(ipv6));
        });
        Self {
            own,
            limits,
            interface,
            queue,
            connections: HashMap::new(),
            ports: LocalPorts::new(seed),
            schedule: Schedule::new(),
            nobody: SocketSet::new(Vec::new()),
            next_id: 0,
            counters: Counters::default(),
        }
    }

    /// Begins a connection, whose first packet then waits for [`ProbeTcp::transmit`].
    ///
    /// # Errors
    /// [`ConnectError`] where the appliance itself has no way to try.
    pub fn connect(&mut self, to: Peer, now: Duration) -> Result<ConnectionId, ConnectError> {
        if self.connections.len() >= self.limits.connections {
            // Connections that were aborted since the last poll make room, and one that only waits for its backend to close.
            self.poll(now);
            if self.connections.len() >= self.limits.connections {
                self.hurry(now);
            }
            if self.connections.len() >= self.limits.connections {
                return Err(ConnectError::TooManyConnections);
            }
        }
        let own = self.own_like(to.vip).ok_or(ConnectError::NoOwnAddress)?;
        if !is_one_host(to.vip) || to.port == 0 {
            return Err(ConnectError::Unaddressable);
        }
        let id = ConnectionId(self.next_id);
        let local_port = self.ports.take((to.vip, to.port), id, now).ok_or(ConnectError::NoPort)?;
        self.next_id += 1;
        let connection = Connection::open(self.interface.context(), to, (own, local_port));
        self.connections.insert(id, Box::new(connection));
        self.counters.connections += 1;
        self.serve(id, None, now);
        Ok(id)
    }

    /// Takes in an IP packet to an own address.
    pub fn handle(&mut self, ip_packet: &[u8], now: Duration) {
        let segment =
            Segment::parse(ip_packet).filter(|segment| self.own_like(segment.to) == Some(segment.to));
        let Some(segment) = segment else {
            self.counters.unreadable += 1;
            return;
        };
        match self.ports.user((segment.from, segment.from_port), segment.to_port) {
            Some(PortUser::Connection(id)) => {
                self.counters.received += 1;
                self.serve(id, Some(ip_packet), now);
            }
            // The backend may still have its half of the connection: a reset was lost, or came before its
            // answer.
            Some(PortUser::TimeWait(backend)) => {
                self.counters.late += 1;
                let mut wire = Wire::new(&mut self.queue, self.limits.mtu, backend, Some(ip_packet));
                self.interface.poll_ingress_single(instant(now), &mut wire, &mut self.nobody);
            }
            None => self.counters.strays += 1,
        }
    }

    /// Sends the segments that are due at `now`, for the first time or again.
    pub fn poll(&mut self, now: Duration) {
        // Each connection once: one that finds the queue full is due again at once.
        let due: Vec<_> = std::iter::from_fn(|| self.schedule.pop(now)).collect();
        for id in due {
            self.serve(id, None, now);
        }
    }

    /// The time at which [`ProbeTcp::poll`] has something to do next, if nothing comes in and nobody asks for anything
    /// until then.
    pub fn next_poll(&self) -> Option<Duration> {
        self.schedule.next()
    }

    /// The next packet to deliver.
    pub fn transmit(&mut self) -> Option<OutgoingPacket> {
        self.queue.pop()
    }

    /// Number of connections, with those that were aborted and not polled since.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// The counters.
    pub fn counters(&self) -> Counters {
        Counters { queue_full: self.queue.refused(), ..self.counters }
    }

    /// Hands a packet to a connection, and sends the connection's segments that are due.
    fn serve(&mut self, id: ConnectionId, incoming: Option<&[u8]>, now: Duration) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let at = instant(now);
        let mut wire = Wire::new(&mut self.queue, self.limits.mtu, connection.peer.backend, incoming);
        if incoming.is_some() {
            self.interface.poll_ingress_single(at, &mut wire, &mut connection.sockets);
        }
        connection.go_on_closing(now);
        for _ in 0..SEGMENTS_PER_TURN {
            if self.interface.poll_egress(at, &mut wire, &mut connection.sockets) == PollResult::None {
                break;
            }
        }
        if connection.is_over {
            // Its reset is on its way, or found the queue full; then a late packet of the backend brings
            // another.
            let (peer, local_port) = (connection.peer, connection.local_port);
            self.schedule.cancel(id);
            self.connections.remove(&id);
            self.ports.release((peer.vip, peer.port), local_port, peer.backend, now);
        } else {
            let due = self.interface.poll_at(at, &connection.sockets).map(duration);
            match due.into_iter().chain(connection.closes_until).min() {
                Some(due) => self.schedule.set(id, due),
                None => self.schedule.cancel(id),
            }
        }
    }

    /// The own address of the same family as `address`.
    fn own_like(&self, address: IpAddr) -> Option<IpAddr> {
        let own = if address.is_ipv4() { self.own.ipv4 } else { self.own.ipv6 };
        own.map(IpAddr::from)
    }
}

fn is_one_host(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && address != IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn instant(now: Duration) -> Instant {
    Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

fn duration(at: Instant) -> Duration {
    Duration::from_micros(u64::try_from(at.total_micros()).unwrap_or(0))
}
