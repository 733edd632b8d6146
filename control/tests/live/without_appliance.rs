//! The lab itself, without an appliance: failures of other tests are not the lab's doing.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use etherparse::PacketBuilder;
use socket2::{Domain, Protocol, Socket, Type};

use crate::lab::Lab;
use crate::lab::address::{self, Family, Vip, WEB};
use crate::lab::backend::Backend;
use crate::lab::conversation::Conversation;

#[test]
fn backends_serve_by_their_own_addresses() {
    let lab = Lab::new(1, 2);
    let _backends = Backend::all(&lab, 2);
    for family in Family::BOTH {
        for number in 0..2 {
            let server = SocketAddr::new(address::backend(number, family), WEB);
            assert_eq!(lab.curl(server, 3), vec![Backend::name(number); 3]);
        }
    }
    let server = SocketAddr::new(address::backend(0, Family::V4), WEB);
    let conversation = Conversation::new(&lab, server).download().finish().expect("the whole file comes");
    let mut conversation = conversation.upload().finish().expect("the whole body is taken");
    assert_eq!(conversation.who().expect("the connection lives on"), "b0");
}

#[test]
fn nobody_serves_a_vip_while_no_appliance_runs() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    for vip in Vip::BOTH.into_iter().flat_map(|vip| Family::BOTH.map(|family| vip.web(family))) {
        let connected =
            lab.client().inside(|| TcpStream::connect_timeout(&vip, Duration::from_millis(300)).map(drop));
        connected.expect_err("the appliance's kernel and the backends keep silent");
    }
}

#[test]
fn backends_take_packets_out_of_tunnels() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    for inner in Family::BOTH {
        let vip = Vip::Routed.echo(inner);
        let own = SocketAddr::new(address::client(inner), 4_000);
        let answers = lab.client().inside(|| UdpSocket::bind(own)).expect("the port is free");
        answers.set_read_timeout(Some(Duration::from_secs(5))).expect("the timeout is not zero");
        for outer in Family::BOTH {
            for kind in [Kind::Ipip, Kind::Gre, Kind::Gue] {
                kind.send(&lab, address::backend(0, outer), &question(own, vip));
                let mut answer = [0; 64];
                let (length, from) = answers
                    .recv_from(&mut answer)
                    .unwrap_or_else(|error| panic!("{kind:?}, {inner:?} in {outer:?}: {error}"));
                assert_eq!((&answer[..length], from), (&b"b0"[..], vip));
            }
        }
    }
}

#[test]
fn a_packet_with_a_wrong_checksum_is_not_answered() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    let own = SocketAddr::new(address::client(Family::V4), 4_000);
    let answers = lab.client().inside(|| UdpSocket::bind(own)).expect("the port is free");
    answers.set_read_timeout(Some(Duration::from_millis(500))).expect("the timeout is not zero");
    let right = question(own, Vip::Routed.echo(Family::V4));
    let mut wrong = right.clone();
    *wrong.last_mut().expect("the packet has a payload") ^= 1;
    let backend = address::backend(0, Family::V4);
    let mut answer = [0; 64];
    Kind::Ipip.send(&lab, backend, &wrong);
    let error = answers.recv_from(&mut answer).expect_err("the backend's kernel verifies checksums");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    Kind::Ipip.send(&lab, backend, &right);
    answers.recv_from(&mut answer).expect("the right packet is answered");
}

/// Makes a datagram with its IP header.
fn question(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let builder = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => PacketBuilder::ipv6(from.octets(), to.octets(), 64),
        _ => unreachable!("both are of one family"),
    };
    let mut packet = Vec::new();
    builder.udp(from.port(), to.port()).write(&mut packet, b"who?").expect("memory can be written");
    packet
}

/// Kind of tunnel, whose headers are made here.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Ipip,
    Gre,
    Gue,
}

impl Kind {
    fn send(self, lab: &Lab, backend: IpAddr, inner: &[u8]) {
        let is_v4 = inner[0] >> 4 == 4;
        let protocol = if is_v4 { 4 } else { 41 };
        let ether_type: u16 = if is_v4 { 0x0800 } else { 0x86dd };
        let (socket_type, number, port, header) = match self {
            Self::Ipip => (Type::RAW, protocol, 0, vec![]),
            Self::Gre => (Type::RAW, 47, 0, [[0, 0], ether_type.to_be_bytes()].concat()),
            Self::Gue => (Type::DGRAM, 17, 6080, vec![0, u8::try_from(protocol).expect("4 or 41"), 0, 0]),
        };
        let to = SocketAddr::new(backend, port);
        let open = || Socket::new(Domain::for_address(to), socket_type, Some(Protocol::from(number)));
        let socket = lab.client().inside(open).expect("root may have raw sockets");
        socket.send_to(&[&header, inner].concat(), &to.into()).expect("the backend is on the link");
    }
}
