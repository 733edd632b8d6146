//! A backend's end of a tunnel: takes IPIP, GRE and GUE packets, and gives the packet inside to the kernel.
//!
//! Done here because a kernel may come without the tunnel devices. The inner packet enters the kernel by a raw
//! socket and `lo`, where the VIP is; it keeps its addresses and its checksums, which the kernel verifies.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

use super::namespace::Namespace;
use super::server::{PAUSE, Server};

/// UDP port of GUE, unless configured otherwise.
const GUE_PORT: u16 = 6080;
/// Protocol number of raw sockets that only send.
const RAW: i32 = 255;
/// Bytes that a socket holds: a burst waits there, as it would in a device's ring.
const RECEIVE_BUFFER: usize = 4 << 20;

/// Bytes before the inner packet in what a socket receives.
#[derive(Clone, Copy, Debug)]
enum Outer {
    /// An IPv4 header, and this many bytes more.
    V4(usize),
    /// Bytes without an outer header: raw sockets of IPv6 and UDP sockets leave out the outer header.
    Bytes(usize),
}

#[derive(Debug)]
struct Tunnels {
    /// Sockets that receive outer packets.
    outside: Vec<(Socket, Outer)>,
    v4: Socket,
    v6: Socket,
}

/// Starts to decapsulate what comes to a backend by a tunnel.
pub(crate) fn start(namespace: &Namespace) -> Server {
    Server::start(namespace, open, serve)
}

fn open() -> Tunnels {
    const GRE_HEADER: usize = 4;
    const GUE_HEADER: usize = 4;
    let raw = |domain, protocol| socket(domain, Type::RAW, protocol);
    let gue = socket(Domain::IPV6, Type::DGRAM, 17);
    gue.set_only_v6(false).expect("IPv6 sockets may take both");
    gue.bind(&SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), GUE_PORT).into()).expect("nobody has the port");
    let outside = vec![
        (raw(Domain::IPV4, 4), Outer::V4(0)),
        (raw(Domain::IPV4, 41), Outer::V4(0)),
        (raw(Domain::IPV4, 47), Outer::V4(GRE_HEADER)),
        (raw(Domain::IPV6, 4), Outer::Bytes(0)),
        (raw(Domain::IPV6, 41), Outer::Bytes(0)),
        (raw(Domain::IPV6, 47), Outer::Bytes(GRE_HEADER)),
        (gue, Outer::Bytes(GUE_HEADER)),
    ];
    let (v4, v6) = (raw(Domain::IPV4, RAW), raw(Domain::IPV6, RAW));
    v4.set_header_included_v4(true).expect("a raw socket takes whole packets");
    v6.set_header_included_v6(true).expect("a raw socket takes whole packets");
    Tunnels { outside, v4, v6 }
}

fn socket(domain: Domain, kind: Type, protocol: i32) -> Socket {
    let socket = Socket::new(domain, kind, Some(Protocol::from(protocol)));
    let socket = socket.unwrap_or_else(|error| panic!("no socket for protocol {protocol}: {error}"));
    socket.set_nonblocking(true).expect("any socket takes the option");
    socket.set_recv_buffer_size(RECEIVE_BUFFER).expect("any socket takes the option");
    socket
}

fn serve(tunnels: &mut Tunnels) {
    let mut waiting: Vec<_> = tunnels
        .outside
        .iter()
        .map(|(socket, _)| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN))
        .collect();
    let pause = Timespec { tv_sec: 0, tv_nsec: i64::from(PAUSE.subsec_nanos()) };
    // An interrupted poll loses nothing: the next poll finds the packets.
    let _ = poll(&mut waiting, Some(&pause));
    let ready: Vec<bool> = waiting.iter().map(|socket| !socket.revents().is_empty()).collect();
    for ((socket, outer), _) in tunnels.outside.iter().zip(ready).filter(|(_, ready)| *ready) {
        let mut packet = [0; 1 << 16];
        match (&*socket).read(&mut packet) {
            Ok(length) => {
                let inner = inner(*outer, &packet[..length]);
                tunnels.deliver(inner);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("a tunnel's socket: {error}"),
        }
    }
}

fn inner(outer: Outer, packet: &[u8]) -> &[u8] {
    match outer {
        Outer::V4(more) => &packet[usize::from(packet[0] & 0xf) * 4 + more..],
        Outer::Bytes(bytes) => &packet[bytes..],
    }
}

impl Tunnels {
    /// Sends the inner packet to its destination, which is this host.
    fn deliver(&self, packet: &[u8]) {
        let (socket, address): (_, IpAddr) = match packet.first().map(|byte| byte >> 4) {
            Some(4) => (&self.v4, Ipv4Addr::from(bytes::<4>(packet, 16)).into()),
            Some(6) => (&self.v6, Ipv6Addr::from(bytes::<16>(packet, 24)).into()),
            version => panic!("the packet in the tunnel has IP version {version:?}"),
        };
        let sent = socket.send_to(packet, &SocketAddr::new(address, 0).into());
        // A full queue loses packets, as a wire does; TCP sends them again.
        if let Err(error) = sent
            && error.kind() != ErrorKind::WouldBlock
        {
            panic!("the packet in the tunnel, to {address}: {error}");
        }
    }
}

fn bytes<const N: usize>(packet: &[u8], from: usize) -> [u8; N] {
    packet[from..from + N].try_into().expect("the slice is as long as the array")
}
