//! Many connections at a time, and packets that belong to none.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use guideway::net::probe_tcp::{Counters, Limits, ProbeTcp};
use proptest::prelude::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, IpRepr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, TcpTimestampRepr};

use crate::far_end::FarEnd;
use crate::lab::{Client, Lab, PORT, own, peer, vip};

#[test]
fn a_thousand_connections_to_one_vip_reach_the_backend_that_each_is_for() {
    const BACKENDS: u32 = 500;
    let name = |backend: u32| format!("backend {backend}");
    let far = |backend| (backend, FarEnd::new(vip(), PORT, 2, name(backend).as_bytes()));
    let mut lab = Lab::new((0..BACKENDS).map(far));
    let targets: Vec<u32> = (0..BACKENDS).chain((0..BACKENDS).rev()).collect();
    let request = |index: usize| format!("request {index}\n");
    let mut clients: Vec<_> = targets
        .iter()
        .enumerate()
        .map(|(index, backend)| Client::new(&mut lab, peer(*backend), request(index).as_bytes()))
        .collect();
    assert_eq!(lab.stack.connections(), 1_000);
    lab.serve(&mut clients, Duration::from_secs(10));
    for (client, backend) in clients.iter_mut().zip(&targets) {
        assert_eq!(client.outcome.take().unwrap().unwrap(), name(*backend).as_bytes());
    }
    for (handle, far) in &lab.backends {
        let heard: HashSet<_> = far.requests().collect();
        let first = request(handle.0 as usize);
        let second = request((2 * BACKENDS - 1 - handle.0) as usize);
        assert_eq!(heard, HashSet::from([first.as_bytes(), second.as_bytes()]));
    }
    for client in &clients {
        lab.stack.abort(client.id);
    }
    lab.settle();
    assert_eq!((lab.stack.connections(), lab.stack.next_poll()), (0, None));
}

/// A TCP segment as a forger would make it.
fn forged(
    from: IpAddr,
    to: IpAddr,
    (src_port, dst_port): (u16, u16),
    control: TcpControl,
    ack: bool,
) -> Vec<u8> {
    let tcp = TcpRepr {
        src_port,
        dst_port,
        control,
        seq_number: TcpSeqNumber(12_345),
        ack_number: ack.then_some(TcpSeqNumber(54_321)),
        window_len: 1_000,
        window_scale: None,
        max_seg_size: Some(1_000),
        sack_permitted: true,
        sack_ranges: [None; 3],
        timestamp: Some(TcpTimestampRepr::new(1, 2)),
        payload: b"forged",
    };
    let ip = IpRepr::new(from.into(), to.into(), IpProtocol::Tcp, tcp.buffer_len(), 64);
    let mut packet = vec![0; ip.buffer_len()];
    let checksums = ChecksumCapabilities::default();
    ip.emit(&mut packet, &checksums);
    let mut segment = TcpPacket::new_unchecked(&mut packet[ip.header_len()..]);
    tcp.emit(&mut segment, &from.into(), &to.into(), &checksums);
    packet
}

fn own_ipv4() -> IpAddr {
    own().ipv4.unwrap().into()
}

#[test]
fn segments_to_no_connection_cost_nothing_and_are_not_answered() {
    let mut lab = Lab::new([]);
    let client = Client::new(&mut lab, peer(0), b"");
    let syn = lab.stack.transmit().unwrap().packet;
    let local_port = u16::from_be_bytes([syn[20], syn[21]]);
    let next_poll = lab.stack.next_poll();
    let mut strays = 0;
    for port in (0..=u16::MAX).step_by(5) {
        for control in [TcpControl::Syn, TcpControl::None, TcpControl::Fin, TcpControl::Rst] {
            // A stranger to any port, and the VIP to another port.
            let stranger = "198.51.100.9".parse().unwrap();
            lab.stack.handle(&forged(stranger, own_ipv4(), (PORT, port), control, true), lab.now);
            strays += 1;
            if port != local_port {
                lab.stack.handle(&forged(vip(), own_ipv4(), (PORT, port), control, true), lab.now);
                strays += 1;
            }
        }
    }
    assert_eq!(lab.stack.counters(), Counters { connections: 1, strays, ..Counters::default() });
    assert_eq!((lab.stack.connections(), lab.stack.next_poll()), (1, next_poll));
    assert_eq!(lab.stack.transmit(), None);
    let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
    assert!(lab.stack.poll_established(client.id, cx).is_pending());
}

#[test]
fn what_is_no_segment_to_an_own_address_is_unreadable() {
    let mut stack = ProbeTcp::new(own(), 1, Limits::default());
    let good = forged(vip(), own_ipv4(), (PORT, 5_000), TcpControl::Syn, false);
    let elsewhere = "192.0.2.2".parse().unwrap();
    let mut udp = good.clone();
    udp[9] = 17;
    let mut first_fragment = good.clone();
    first_fragment[6] = 0x20;
    let mut later_fragment = good.clone();
    later_fragment[7] = 1;
    let cut = good[..good.len() - 1].to_vec();
    let to_another = forged(vip(), elsewhere, (PORT, 5_000), TcpControl::Syn, false);
    let packets = [vec![], udp, first_fragment, later_fragment, cut, to_another];
    for packet in &packets {
        stack.handle(packet, Duration::ZERO);
    }
    assert_eq!(stack.counters().unreadable, packets.len() as u64);
    stack.handle(&good, Duration::ZERO);
    assert_eq!(stack.counters().strays, 1);
}

#[test]
fn a_forger_who_guesses_every_number_but_the_sequence_fills_no_queue() {
    let limits = Limits { queued_packets: 10, ..Limits::default() };
    let mut stack = ProbeTcp::new(own(), 1, limits);
    stack.connect(peer(0), Duration::ZERO).unwrap();
    let syn = stack.transmit().unwrap().packet;
    let local_port = u16::from_be_bytes([syn[20], syn[21]]);
    for _ in 0..1_000 {
        let packet = forged(vip(), own_ipv4(), (PORT, local_port), TcpControl::None, true);
        stack.handle(&packet, Duration::ZERO);
    }
    assert_eq!(std::iter::from_fn(|| stack.transmit()).count(), 10);
    assert_eq!(stack.counters().queue_full, 990);
    assert_eq!(stack.connections(), 1);
}

/// A packet to an open connection or near it, with some of its bytes changed.
fn damaged() -> impl Strategy<Value = (Vec<(prop::sample::Index, u8)>, bool, bool)> {
    (prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), any::<bool>(), any::<bool>())
}

fn noise() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 0..50)
}

proptest! {
    #[test]
    fn random_bytes_do_no_harm(packets in noise()) {
        let mut stack = ProbeTcp::new(own(), 1, Limits::default());
        stack.connect(peer(0), Duration::ZERO).unwrap();
        for packet in &packets {
            stack.handle(packet, Duration::ZERO);
        }
        prop_assert_eq!(stack.connections(), 1);
    }

    #[test]
    fn damaged_packets_do_no_harm(packets in prop::collection::vec(damaged(), 1..60)) {
        let mut lab = Lab::new([(0, FarEnd::new(vip(), PORT, 1, &[7; 9_000]))]);
        let client = Client::new(&mut lab, peer(0), b"request\n");
        let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
        for (changes, repair, keep) in packets {
            let _ = lab.stack.poll_send(client.id, b"a\n", cx);
            lab.stack.poll(lab.now);
            let far = lab.backends.values_mut().next().unwrap();
            let mut answers = Vec::new();
            while let Some(outgoing) = lab.stack.transmit() {
                answers.extend(far.turn(Some(&outgoing.packet), lab.now));
            }
            for mut answer in answers {
                if keep {
                    lab.stack.handle(&answer, lab.now);
                }
                for (index, byte) in &changes {
                    let index = index.index(answer.len());
                    answer[index] = *byte;
                }
                if repair {
                    repair_checksums(&mut answer);
                }
                lab.stack.handle(&answer, lab.now);
            }
            lab.now += Duration::from_millis(300);
        }
        prop_assert!(lab.stack.connections() == 1);
        lab.stack.abort(client.id);
        lab.stack.poll(lab.now);
        prop_assert_eq!(lab.stack.connections(), 0);
    }
}

/// Makes the checksums right, as a forger would, where the lengths still are.
fn repair_checksums(packet: &mut [u8]) {
    let Ok(mut ip) = smoltcp::wire::Ipv4Packet::new_checked(packet) else { return };
    ip.fill_checksum();
    let (from, to) = (ip.src_addr().into(), ip.dst_addr().into());
    if ip.next_header() == IpProtocol::Tcp
        && let Ok(mut tcp) = TcpPacket::new_checked(ip.payload_mut())
    {
        tcp.fill_checksum(&from, &to);
    }
}
