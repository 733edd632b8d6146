//! One connection: made, used, closed, refused, reset, and with nobody at the other end.

use std::io::ErrorKind;
use std::net::IpAddr;
use std::task::{Context, Waker};
use std::time::Duration;

use guideway::net::probe_tcp::{CLOSING_TIME, ConnectError, Limits, Peer, ProbeTcp};
use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::network::OwnAddresses;
use smoltcp::socket::tcp::State;
use smoltcp::wire::{Ipv4Packet, TcpPacket};

use crate::far_end::FarEnd;
use crate::lab::{Client, Lab, PORT, Wire, own, peer, vip};

const REQUEST: &[u8] = b"how are you?\n";

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn answer(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index % 251) as u8).collect()
}

fn flags(packet: &[u8]) -> (bool, bool, bool, bool) {
    let packet = Ipv4Packet::new_checked(packet).unwrap();
    let tcp = TcpPacket::new_checked(packet.payload()).unwrap();
    (tcp.syn(), tcp.ack(), tcp.fin(), tcp.rst())
}

#[test]
fn a_backend_of_either_family_gets_the_request_and_is_heard() {
    for vip in [vip(), "2001:db8:ffff::10".parse::<IpAddr>().unwrap()] {
        let mut lab = Lab::new([(3, FarEnd::new(vip, PORT, 1, b"well"))]);
        let peer = Peer { backend: BackendHandle(3), vip, port: PORT };
        let mut clients = [Client::new(&mut lab, peer, REQUEST)];
        lab.serve(&mut clients, secs(5));
        assert_eq!(clients[0].outcome.take().unwrap().unwrap(), b"well");
        assert_eq!(lab.backends[&peer.backend].requests().collect::<Vec<_>>(), [REQUEST]);
        assert!(lab.sent.iter().all(|(backend, _)| *backend == peer.backend));
    }
}

#[test]
fn a_connection_that_both_ends_closed_is_over_without_a_reset() {
    for appliance_closes_first in [false, true] {
        let mut lab = Lab::new([(0, FarEnd::new(vip(), PORT, 1, b"well"))]);
        let mut clients = [Client::new(&mut lab, peer(0), b"")];
        lab.settle();
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(lab.stack.poll_send(clients[0].id, REQUEST, cx).is_ready());
        if appliance_closes_first {
            lab.stack.close(clients[0].id);
        }
        lab.serve(&mut clients, secs(5));
        assert_eq!(clients[0].outcome.take().unwrap().unwrap(), b"well");
        lab.stack.close(clients[0].id);
        lab.run_until(lab.now + secs(1));
        let state = lab.backends[&BackendHandle(0)].state();
        assert_eq!(state, if appliance_closes_first { State::Closed } else { State::TimeWait });
        lab.stack.abort(clients[0].id);
        lab.run_until(lab.now + secs(1));
        assert_eq!(lab.stack.connections(), 0);
        assert!(lab.sent.iter().any(|(_, packet)| flags(packet).2), "a FIN");
        assert!(lab.sent.iter().all(|(_, packet)| !flags(packet).3), "no RST");
    }
}

/// True if a packet with this flag left.
fn sent(lab: &Lab, flag: fn((bool, bool, bool, bool)) -> bool) -> bool {
    lab.sent.iter().any(|(_, packet)| flag(flags(packet)))
}

#[test]
fn a_finished_connection_closes_in_order_and_gives_its_memory_back() {
    // The server closes first, having answered; or after the client, who has heard nothing, or only a part.
    for (request, answer) in [(REQUEST, answer(4)), (b"", answer(4)), (REQUEST, answer(20_000))] {
        let mut lab = Lab::new([(0, FarEnd::new(vip(), PORT, 1, &answer).closing_with_client())]);
        let client = Client::new(&mut lab, peer(0), b"");
        lab.settle();
        let cx = &mut Context::from_waker(Waker::noop());
        if !request.is_empty() {
            assert!(lab.stack.poll_send(client.id, request, cx).is_ready());
            lab.settle();
        }
        lab.stack.finish(client.id, lab.now);
        lab.run_until(lab.now + CLOSING_TIME / 2);
        assert_eq!((lab.stack.connections(), lab.stack.next_poll()), (0, None), "{}", answer.len());
        lab.run_until(lab.now + secs(60));
        let state = lab.backends[&BackendHandle(0)].state();
        assert!(matches!(state, State::Closed | State::TimeWait), "{state:?}");
        assert!(sent(&lab, |(_, _, fin, _)| fin) && !sent(&lab, |(.., rst)| rst), "{}", answer.len());
    }
}

#[test]
fn a_finished_connection_whose_packets_are_lost_closes_in_order() {
    for loses in 3..12 {
        let mut lab = Lab::new([(0, FarEnd::new(vip(), PORT, 1, b"well").closing_with_client())]);
        lab.wire = Wire { loses: Some(loses), ..Wire::default() };
        let mut clients = [Client::new(&mut lab, peer(0), REQUEST)];
        lab.serve(&mut clients, secs(20));
        lab.stack.finish(clients[0].id, lab.now);
        lab.run_until(lab.now + CLOSING_TIME);
        assert_eq!(lab.stack.connections(), 0);
        assert!(sent(&lab, |(_, _, fin, _)| fin) && !sent(&lab, |(.., rst)| rst), "one in {loses} is lost");
    }
}

#[test]
fn a_backend_that_does_not_close_is_reset_after_a_while() {
    let mut lab = Lab::new([(0, FarEnd::new(vip(), PORT, 1, b"well"))]);
    let client = Client::new(&mut lab, peer(0), b"");
    lab.settle();
    lab.stack.finish(client.id, lab.now);
    lab.run_until(lab.now + CLOSING_TIME / 2);
    assert_eq!(lab.backends[&BackendHandle(0)].state(), State::CloseWait);
    assert!(!sent(&lab, |(.., rst)| rst));
    lab.run_until(lab.now + CLOSING_TIME);
    assert!(sent(&lab, |(.., rst)| rst));
    assert_eq!((lab.stack.connections(), lab.backends[&BackendHandle(0)].state()), (0, State::Closed));
}

#[test]
fn an_aborted_connection_is_reset_and_gives_its_memory_back() {
    let mut lab = Lab::new([(0, FarEnd::new(vip(), PORT, 1, b"well"))]);
    let client = Client::new(&mut lab, peer(0), REQUEST);
    lab.settle();
    assert_eq!(lab.backends[&BackendHandle(0)].state(), State::Established);
    lab.stack.abort(client.id);
    assert_eq!(lab.stack.next_poll(), Some(Duration::ZERO));
    lab.settle();
    assert_eq!((lab.stack.connections(), lab.stack.next_poll()), (0, None));
    assert!(flags(&lab.sent.last().unwrap().1).3);
    // A listener of smoltcp's that is reset is closed, and does not listen again.
    assert_eq!(lab.backends[&BackendHandle(0)].state(), State::Closed);
    let cx = &mut Context::from_waker(Waker::noop());
    let gone = lab.stack.poll_receive(client.id, &mut [0; 8], cx);
    assert!(matches!(gone, std::task::Poll::Ready(Err(error)) if error.kind() == ErrorKind::NotConnected));
}

#[test]
fn a_syn_to_nobody_is_repeated_less_and_less_until_the_caller_gives_up() {
    let mut lab = Lab::new([]);
    let client = Client::new(&mut lab, peer(9), REQUEST);
    lab.run_until(secs(31));
    let pending = lab.stack.poll_established(client.id, &mut Context::from_waker(Waker::noop()));
    assert!(pending.is_pending());
    // After 1, 3, 7, 15 and 31 seconds, and the one at first.
    assert_eq!(lab.sent.len(), 6);
    assert!(lab.sent.iter().all(|(_, packet)| flags(packet) == (true, false, false, false)));
    lab.stack.abort(client.id);
    lab.run_until(secs(200));
    assert_eq!((lab.stack.connections(), lab.stack.next_poll()), (0, None));
    assert!(lab.sent.len() <= 7, "at most a reset after that");
}

#[test]
fn a_backend_that_does_not_listen_refuses() {
    let mut lab = Lab::new([(0, FarEnd::new(vip(), 81, 1, b"well"))]);
    let mut clients = [Client::new(&mut lab, peer(0), REQUEST)];
    lab.serve(&mut clients, secs(5));
    let error = clients[0].outcome.take().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(
        error.to_string(),
        "the backend refused a connection to 203.0.113.10:80: it answered with a reset"
    );
    assert_eq!(lab.now, Duration::ZERO, "at once");
}

#[test]
fn a_backend_without_the_vip_is_as_silent_as_nobody() {
    let elsewhere = "203.0.113.11".parse().unwrap();
    let mut lab = Lab::new([(0, FarEnd::new(elsewhere, PORT, 1, b"well"))]);
    let mut clients = [Client::new(&mut lab, peer(0), REQUEST)];
    lab.serve(&mut clients, secs(5));
    assert!(clients[0].outcome.is_none());
}

#[test]
fn an_established_connection_that_the_backend_resets_fails() {
    let mut lab = Lab::new([(0, FarEnd::new(vip(), PORT, 1, b"well"))]);
    let client = Client::new(&mut lab, peer(0), b"");
    lab.settle();
    // Another host takes the backend's place and knows nothing of the connection.
    lab.backends.insert(BackendHandle(0), FarEnd::new(vip(), PORT, 0, b""));
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(lab.stack.poll_send(client.id, REQUEST, cx).is_ready());
    lab.settle();
    let read = lab.stack.poll_receive(client.id, &mut [0; 8], cx);
    assert!(matches!(read, std::task::Poll::Ready(Err(error)) if error.kind() == ErrorKind::ConnectionReset));
    let write = lab.stack.poll_send(client.id, REQUEST, cx);
    assert!(
        matches!(write, std::task::Poll::Ready(Err(error)) if error.kind() == ErrorKind::ConnectionReset)
    );
}

#[test]
fn an_answer_may_be_longer_than_the_buffers() {
    let long = answer(100_000);
    let mut lab = Lab::new([(0, FarEnd::new(vip(), PORT, 1, &long))]);
    let request = [&[b'x'; 10_000][..], b"\n"].concat();
    let mut clients = [Client::new(&mut lab, peer(0), &request)];
    lab.serve(&mut clients, secs(60));
    assert_eq!(clients[0].outcome.take().unwrap().unwrap(), long);
    assert!(lab.now < secs(1), "who reads says at once that there is room: {:?}", lab.now);
    assert!(lab.sent.iter().all(|(_, packet)| packet.len() <= 1_280), "no packet is longer than the MTU");
}

#[test]
fn what_is_lost_or_overtaken_still_gets_there() {
    let long = answer(30_000);
    let request = [&[b'x'; 5_000][..], b"\n"].concat();
    for every in 3..12 {
        for wire in [
            Wire { loses: Some(every), delays: None },
            Wire { loses: None, delays: Some(every) },
            Wire { loses: Some(every), delays: Some(every + 1) },
        ] {
            let mut lab = Lab::new([(0, FarEnd::new(vip(), PORT, 1, &long))]);
            lab.wire = wire;
            let mut clients = [Client::new(&mut lab, peer(0), &request)];
            lab.serve(&mut clients, secs(3_600));
            assert_eq!(clients[0].outcome.take().expect("an end").unwrap(), long, "every {every}th");
            assert_eq!(lab.backends[&BackendHandle(0)].requests().collect::<Vec<_>>(), [request.as_slice()]);
        }
    }
}

#[test]
fn a_backend_that_answers_too_late_is_told_that_nobody_waits() {
    let mut lab = Lab::new([(0, FarEnd::new(vip(), PORT, 1, b"well"))]);
    let client = Client::new(&mut lab, peer(0), REQUEST);
    let syn = lab.stack.transmit().unwrap().packet;
    lab.stack.abort(client.id);
    lab.stack.poll(lab.now);
    // The reset overtakes the SYN, and says nothing to a host that has not heard of the connection.
    assert!(flags(&lab.stack.transmit().unwrap().packet).3);
    let answers = lab.backends.get_mut(&BackendHandle(0)).unwrap().turn(Some(&syn), lab.now);
    assert_eq!(flags(&answers[0]), (true, true, false, false));
    assert_eq!(lab.backends[&BackendHandle(0)].state(), State::SynReceived);
    lab.stack.handle(&answers[0], lab.now);
    assert_eq!(lab.stack.counters().late, 1);
    lab.settle();
    assert_eq!(lab.backends[&BackendHandle(0)].state(), State::Listen);
}

#[test]
fn what_the_appliance_cannot_try_is_no_fault_of_the_backend() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let own = OwnAddresses { ipv6: None, ..own() };
    let mut stack = ProbeTcp::new(own, 1, limits);
    let v6 = Peer { vip: "2001:db8::10".parse().unwrap(), ..peer(0) };
    assert_eq!(stack.connect(v6, secs(0)), Err(ConnectError::NoOwnAddress));
    for vip in ["0.0.0.0", "224.0.0.1", "255.255.255.255"] {
        let peer = Peer { vip: vip.parse().unwrap(), ..peer(0) };
        assert_eq!(stack.connect(peer, secs(0)), Err(ConnectError::Unaddressable));
    }
    assert_eq!(stack.connect(Peer { port: 0, ..peer(0) }, secs(0)), Err(ConnectError::Unaddressable));
    let first = stack.connect(peer(0), secs(0)).unwrap();
    stack.connect(peer(1), secs(0)).unwrap();
    assert_eq!(stack.connect(peer(2), secs(0)), Err(ConnectError::TooManyConnections));
    stack.abort(first);
    assert!(stack.connect(peer(2), secs(0)).is_ok(), "one that was aborted makes room at once");
    assert_eq!(stack.connections(), 2);
}

#[test]
fn a_full_queue_delays_what_is_sent() {
    let mut stack = ProbeTcp::new(own(), 1, Limits { queued_packets: 2, ..Limits::default() });
    for backend in 0..5 {
        stack.connect(peer(backend), secs(0)).unwrap();
    }
    let mut backends = Vec::new();
    for _ in 0..3 {
        let packets: Vec<_> = std::iter::from_fn(|| stack.transmit()).collect();
        assert!(packets.len() <= 2);
        backends.extend(packets.iter().map(|packet| packet.backend.0));
        stack.poll(secs(0));
    }
    assert_eq!(backends, [0, 1, 2, 3, 4]);
    assert_eq!(stack.counters().queue_full, 0, "nothing was given up");
}
