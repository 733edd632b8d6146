//! Tests of networks over reloads: what belongs to one stays with it.

use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::pipeline::{Decision, Pipeline};
use guideway_dataplane::verdict::Verdict;

use super::*;

/// Networks of these names, VLANs of ports of these names; the service `web` is in `network`.
fn networks(places: &[(&str, &str, u16)], network: &str) -> Config {
    let ports: BTreeSet<&str> = places.iter().map(|(_, port, _)| *port).collect();
    let port = |port: &str| {
        format!("[[port]]\nname = \"{port}\"\ndevice = \"net_pcap{}\"\n", port.as_bytes()[0] - b'a')
    };
    let network_table = |(name, port, vlan): &(&str, &str, u16)| {
        format!(
            "[[network]]\nname = \"{name}\"\nport = \"{port}\"\nvlan = {vlan}\nipv4_address = \"192.0.2.1\"\n"
        )
    };
    let ports: String = ports.into_iter().map(port).collect();
    let tables: String = places.iter().map(network_table).collect();
    let own = format!("network = \"{network}\"\n");
    let text = format!(
        "{ports}{tables}[[health_check]]\nname = \"hc\"\ntype = \"TCP\"\nport = 80\n\
         [[forwarding_rule]]\nname = \"web\"\n{own}ip_address = \"203.0.113.10\"\nports = [80]\n\
         backend_service = \"web\"\n[[backend_service]]\nname = \"web\"\n{own}health_checks = [\"hc\"]\n\
         backends = [{{ group = \"web\" }}]\n[[backend_group]]\nname = \"web\"\n{own}delivery = \"ipip\"\n\
         endpoints = [{{ name = \"a\", ip_address = \"198.18.0.1\" }}]\n"
    );
    Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// An entry that the service's backend has now.
fn entry_of(snapshot: &Snapshot, handle: BackendHandle) -> Entry {
    let backend = snapshot.backend(handle).expect("the backend is there");
    Entry {
        backend: handle,
        generation: backend.generation_for(true),
        persists: true,
        stage: Stage::Established,
        seen: Tick(0),
    }
}

#[test]
fn a_service_that_moves_to_another_network_is_another_one() {
    let places = [("blue", "a", 100), ("red", "a", 200)];
    let mut state = ForwardingState::offline(networks(&places, "blue"));
    let before = state.snapshot(&StandInMacs);
    let entry = entry_of(&before, handle(&state, "web"));
    let (key, network) = (before.services[0].key, before.services[0].network);
    assert_eq!((network, before.standing(&entry, Tick(1))), (NetworkId(0), Standing::Live));

    state.apply([StateChange::Config(Box::new(networks(&places, "red")))], Duration::ZERO);
    let after = state.snapshot(&StandInMacs);
    assert_eq!(after.services[0].network, NetworkId(1));
    assert_ne!(after.services[0].key, key, "no packet has the name of a connection of before");
    assert_eq!(after.standing(&entry, Tick(1)), Standing::Void);
}

#[test]
fn a_sole_network_that_is_given_another_name_keeps_its_connections() {
    let mut state = ForwardingState::offline(networks(&[("blue", "a", 100)], "blue"));
    let before = state.snapshot(&StandInMacs);
    let entry = entry_of(&before, handle(&state, "web"));
    state.apply([StateChange::Config(Box::new(networks(&[("red", "a", 100)], "red")))], Duration::ZERO);
    let after = state.snapshot(&StandInMacs);
    assert_eq!(after.services[0].key, before.services[0].key);
    assert_eq!(after.standing(&entry, Tick(1)), Standing::Live);
    let two = [("blue", "a", 100), ("red", "a", 200)];
    state.apply([StateChange::Config(Box::new(networks(&two, "blue")))], Duration::ZERO);
    assert_eq!(state.snapshot(&StandInMacs).standing(&entry, Tick(1)), Standing::Void, "`red` was its name");
}

#[test]
fn a_network_is_known_by_its_name_and_keeps_its_number() {
    let before = [("blue", "a", 100), ("red", "a", 200)];
    let mut state = ForwardingState::offline(networks(&before, "blue"));
    let snapshot = state.snapshot(&StandInMacs);
    let (key, entry) = (snapshot.services[0].key, entry_of(&snapshot, handle(&state, "web")));

    let after = [("green", "a", 300), ("red", "a", 200), ("blue", "a", 100)];
    state.apply([StateChange::Config(Box::new(networks(&after, "blue")))], Duration::ZERO);
    let snapshot = state.snapshot(&StandInMacs);
    assert_eq!((snapshot.services[0].network, snapshot.services[0].key), (NetworkId(0), key));
    assert_eq!(snapshot.standing(&entry, Tick(1)), Standing::Live);
    let tagged = pcap_fixtures::packet::Packet::between("192.0.2.7", "203.0.113.10").vlan(100).tcp(1, 80, 0);
    assert_eq!(state.network_of(PortId(0), &tagged.build()), Some(NetworkId(0)));
    assert_eq!(state.network_named(None), Ok(NetworkId(2)), "the first is a new one");
    assert_eq!(state.network_name(NetworkId(2)), Some("green"));
}

#[test]
fn a_network_that_is_left_over_has_every_frame_under_its_number() {
    let places = [("blue", "a", 100), ("red", "a", 200)];
    let mut state = ForwardingState::offline(networks(&places, "red"));
    let key = state.snapshot(&StandInMacs).services[0].key;
    let mut sole = networks(&[("red", "a", 200)], "red");
    sole.networks = vec![Arc::new(Network { port: None, vlan: None, ..(*sole.networks[0]).clone() })];
    state.apply([StateChange::Config(Box::new(sole))], Duration::ZERO);
    let frame = pcap_fixtures::packet::Packet::between("192.0.2.7", "203.0.113.10").tcp(1, 80, 0).build();
    assert_eq!(state.network_of(PortId(3), &frame), Some(NetworkId(1)));
    let snapshot = state.snapshot(&StandInMacs);
    assert_eq!((snapshot.services[0].key, snapshot.services[0].network), (key, NetworkId(1)));
    assert_eq!(snapshot.networks.first().id, NetworkId(1));
}

#[test]
fn a_reload_finds_the_ports_of_networks_among_those_that_there_are() {
    let setup = Setup { starts_once: true, ..Setup::OFFLINE };
    let before = networks(&[("blue", "a", 100), ("red", "b", 100)], "blue");
    let mut state = ForwardingState::new(before, setup, Duration::ZERO);
    // Port `b` is gone, `c` is new, and `red` is on it; `blue` comes behind.
    let after = networks(&[("red", "c", 100), ("blue", "a", 100)], "blue");
    let mut reordered = after.clone();
    reordered.ports.reverse();
    reordered.networks = after
        .networks
        .iter()
        .map(|network| Arc::new(Network { port: network.port.map(|port| 1 - port), ..(**network).clone() }))
        .collect();
    for config in [after, reordered] {
        state.apply([StateChange::Config(Box::new(config))], Duration::ZERO);
        let ports: Vec<_> = state.config().networks.iter().map(|network| network.port).collect();
        assert_eq!(ports, [Some(Network::NO_PORT), Some(0)], "`red` waits for the next start");
        assert_eq!(state.config().ports.len(), 2);
        let frame =
            pcap_fixtures::packet::Packet::between("192.0.2.7", "203.0.113.10").vlan(100).tcp(1, 80, 0);
        let of = |port| state.network_of(PortId(port), &frame.build());
        assert_eq!((of(0), of(1)), (Some(NetworkId(0)), None));
        let egress = *state.snapshot(&StandInMacs).backend(handle(&state, "web")).unwrap().delivery.egress();
        assert_eq!(egress.port, PortId(0));
    }
}

#[test]
fn a_path_mtu_is_learnt_in_the_network_whose_router_told_of_it() {
    use pcap_fixtures::packet::Packet as Built;
    let config = networks(&[("blue", "a", 100), ("red", "a", 200)], "red");
    let mut state = ForwardingState::offline(config);
    let inner = Built::between("192.0.2.7", "203.0.113.10").dont_fragment().tcp(1, 80, 0).payload_len(1_360);
    let sent =
        Built::between("192.0.2.1", "198.18.0.1").dont_fragment().protocol(4).payload(&inner.ip_bytes());
    let told = Built::between("192.0.2.254", "192.0.2.1").packet_too_big(1_400, &sent, 100).build();
    let endpoint = Address::v4([198, 18, 0, 1]);
    let second = Duration::from_secs;
    assert_eq!(state.take_in_tunnel_error(NetworkId(0), &told, second(1)), None, "no such tunnel in blue");
    assert!(state.take_in_tunnel_error(NetworkId(1), &told, second(2)).is_some());
    let learnt = |network| state.path_mtus().learnt(NetworkId(network), endpoint).map(|learnt| learnt.mtu);
    assert_eq!((learnt(0), learnt(1)), (None, Some(1_400)));
    let snapshot = state.snapshot(&StandInMacs);
    assert_eq!(snapshot.backend(handle(&state, "web")).unwrap().delivery.mtu(), 1_400);
    let mut reload = |places: &[(&str, &str, u16)]| {
        state.apply([StateChange::Config(Box::new(networks(places, places[0].0)))], second(3));
        let learnt = state.path_mtus().learnt(NetworkId(1), endpoint).map(|learnt| learnt.mtu);
        let snapshot = state.snapshot(&StandInMacs);
        (learnt, snapshot.backend(handle(&state, "web")).unwrap().delivery.mtu())
    };
    let green = ("green", "a", 300);
    assert_eq!(reload(&[("red", "a", 200), green, ("blue", "a", 100)]), (Some(1_400), 1_400), "one comes");
    assert_eq!(reload(&[("red", "a", 200)]), (Some(1_400), 1_400), "all others go");
    assert_eq!(reload(&[("pink", "a", 200)]), (Some(1_400), 1_400), "a sole one has another name");
    assert_eq!(reload(&[("red", "a", 200), green]), (None, 1_500), "of several, it is another one");
}

#[test]
fn later_fragments_follow_their_first_while_networks_come_and_go() {
    use pcap_fixtures::packet::Packet as Built;
    let mut pipeline = Pipeline::new(TrackingHasher::new([1, 2, 3, 4]), 0);
    let table = ConntrackTable::with_capacity(1_024).expect("memory for a small table");
    let mut forwarded = |state: &mut ForwardingState, packet: &Built| {
        let mut frames = [Mbuf::new()];
        frames[0].fill(&packet.clone().vlan(200).build());
        let mut decisions = [Decision::PENDING];
        let snapshot = state.snapshot(&StandInMacs);
        pipeline.process(PortId(0), &mut frames, &mut decisions, Tick(5), &snapshot, &table);
        decisions[0].verdict == Verdict::Forward
    };
    let part = |number, offset, more| {
        let packet = Built::between("192.0.2.7", "203.0.113.10").identification(number);
        packet.tcp(1_000, 80, 0x10).fragment(offset, more)
    };
    let (blue, red, green) = (("blue", "a", 100), ("red", "a", 200), ("green", "a", 300));
    let mut state = ForwardingState::offline(networks(&[blue, red], "red"));
    assert!(forwarded(&mut state, &part(7, 0, true)));
    assert!(!forwarded(&mut state, &part(8, 1_480, false)), "the rule has ports, which this one has not");
    for places in [&[red, blue][..], &[green, red], &[red], &[("pink", "a", 200)]] {
        let config = networks(places, if places.contains(&red) { "red" } else { "pink" });
        state.apply([StateChange::Config(Box::new(config))], Duration::ZERO);
        assert!(forwarded(&mut state, &part(7, 1_480, false)), "{places:?}");
    }
}
