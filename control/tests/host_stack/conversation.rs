//! The appliance and a host of smoltcp's on one wire.

use std::time::Duration;

use guideway::net::host_stack::{FrameKind, HostStack, Rates};
use guideway_dataplane::wire::ethernet::MacAddress;

use crate::peer::Peer;
use crate::{PEER_MAC, PORT, address, appliance, secs};

fn peer() -> Peer {
    Peer::new(PEER_MAC, &["192.0.2.7/24", "2001:db8::7/64"])
}

/// Lets both talk from `from` to `to`, in tenths of a second.
fn talk(stack: &mut HostStack, peer: &mut Peer, from: Duration, to: Duration) {
    let mut now = from;
    while now < to {
        // A few turns each, so that a question, its answer and what waited for it fit one instant.
        for _ in 0..4 {
            stack.poll(now);
            while let Some(frame) = stack.transmit() {
                assert_eq!(frame.port, PORT);
                peer.receive(frame.bytes);
            }
            for frame in peer.poll(now) {
                stack.handle(PORT, &frame, now);
            }
        }
        now += Duration::from_millis(100);
    }
}

#[test]
fn a_host_finds_the_appliance_and_its_vips_and_pings_them() {
    for target in ["192.0.2.10", "192.0.2.100", "2001:db8::10", "2001:db8::100"] {
        let (mut stack, mut peer) = (appliance(Rates::default()), peer());
        peer.ping(target);
        talk(&mut stack, &mut peer, secs(0), secs(4));
        assert_eq!(peer.replies(), [target]);
        assert_eq!(stack.counters().received(FrameKind::Echo), 1);
        assert_eq!(stack.counters().received(FrameKind::Malformed), 0);
    }
}

#[test]
fn the_appliance_resolves_a_host_and_keeps_it_fresh_without_a_gap() {
    for backend in ["192.0.2.7", "2001:db8::7"] {
        let (mut stack, mut peer) = (appliance(Rates::default()), peer());
        let next_hop = stack.next_hop(address(backend)).unwrap();
        stack.resolve(next_hop, secs(0)).unwrap();
        talk(&mut stack, &mut peer, secs(0), secs(1));
        let events = stack.events();
        assert_eq!((events.len(), events[0].mac), (1, Some(MacAddress(PEER_MAC))), "{backend}");

        talk(&mut stack, &mut peer, secs(1), secs(100));
        assert_eq!(stack.events(), [], "{backend}");
        // One at first, and one every 24 seconds.
        assert_eq!(stack.counters().probes, 5, "{backend}");
    }
}

#[test]
fn a_host_with_a_new_card_is_found_again() {
    for backend in ["192.0.2.7", "2001:db8::7"] {
        let (mut stack, mut peer) = (appliance(Rates::default()), peer());
        let next_hop = stack.next_hop(address(backend)).unwrap();
        stack.resolve(next_hop, secs(0)).unwrap();
        talk(&mut stack, &mut peer, secs(0), secs(10));
        stack.events();

        let new_mac = [0x02, 0, 0, 0, 0, 0x70];
        peer.set_mac(new_mac);
        talk(&mut stack, &mut peer, secs(10), secs(32));
        let events = stack.events();
        assert_eq!((events.len(), events[0].mac), (1, Some(MacAddress(new_mac))), "{backend}");
    }
}

#[test]
fn a_host_that_leaves_is_lost_after_its_time_and_found_when_it_returns() {
    let (mut stack, mut peer) = (appliance(Rates::default()), peer());
    let next_hop = stack.next_hop(address("192.0.2.7")).unwrap();
    stack.resolve(next_hop, secs(0)).unwrap();
    talk(&mut stack, &mut peer, secs(0), secs(1));
    stack.events();

    let mut nobody = Peer::new([0x02, 0, 0, 0, 0, 0x99], &["192.0.2.99/24"]);
    talk(&mut stack, &mut nobody, secs(1), secs(29));
    assert_eq!(stack.events(), []);
    talk(&mut stack, &mut nobody, secs(29), secs(32));
    assert_eq!(stack.events().iter().map(|event| event.mac).collect::<Vec<_>>(), [None]);

    talk(&mut stack, &mut peer, secs(32), secs(70));
    assert_eq!(stack.mac(next_hop), Some(MacAddress(PEER_MAC)));
}
